//! Lists of the API: what narrows them, their pages, and how they are printed.

use chrono::{DateTime, NaiveDate, NaiveTime, SecondsFormat, Utc};
use clap::Args;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::client::Client;
use super::error::CliResult;
use super::table::Table;
use super::{Context, typed, wire};

/// `--limit`.
#[derive(Debug, Clone, Copy, Args)]
pub struct Limit {
    /// How many at most.
    #[arg(long = "limit", default_value_t = Limit::default().count, value_name = "N")]
    pub count: usize,
}

impl Default for Limit {
    fn default() -> Self {
        Self { count: 20 }
    }
}

/// What is asked of the items, as parameters of the query.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filters(Vec<(String, String)>);

impl Filters {
    /// Those that are given.
    #[must_use]
    pub fn new(options: impl IntoIterator<Item = (&'static str, Option<String>)>) -> Self {
        Self(options.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect())
    }

    /// And these, under names that begin with `prefix` (`tag.`).
    #[must_use]
    pub fn with(mut self, prefix: &str, pairs: Vec<(String, String)>) -> Self {
        self.0.extend(pairs.into_iter().map(|(name, value)| (format!("{prefix}{name}"), value)));
        self
    }

    /// As [`Client::get`] takes them.
    #[must_use]
    pub fn query(&self) -> Vec<(&str, String)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.clone())).collect()
    }
}

/// A time of the command line, as the API takes it: RFC 3339, or a date, which is its midnight in UTC.
///
/// # Errors
/// When it is neither.
pub fn instant(text: &str) -> Result<String, String> {
    let midnight = |date: NaiveDate| date.and_time(NaiveTime::MIN).and_utc();
    let instant: DateTime<Utc> = text
        .parse()
        .or_else(|_| text.parse().map(midnight))
        .map_err(|_| format!("{text:?} is not a time; write it like 2026-11-30T06:00:00Z or 2026-11-30"))?;
    Ok(instant.to_rfc3339_opts(SecondsFormat::AutoSi, true))
}

/// Prints up to `limit` items: for programs as the API gives them, for people as `table` shows them.
///
/// # Errors
/// Of the requests and the output.
pub(super) async fn print_list<T: DeserializeOwned>(
    context: &Context,
    client: &Client,
    path: &[&str],
    (filters, limit): (&Filters, usize),
    table: impl FnOnce(&[T]) -> Table,
) -> CliResult<()> {
    let items = list(client, path, filters, limit).await?;
    if context.json() {
        return context.print_json(&Value::Array(items));
    }
    let items = items.iter().map(|item| typed(client, item)).collect::<CliResult<Vec<T>>>()?;
    context.print(&table(&items).render())
}

/// A list, page by page, up to `limit` items.
async fn list(client: &Client, path: &[&str], filters: &Filters, limit: usize) -> CliResult<Vec<Value>> {
    const PAGE: usize = 100;
    let mut items = Vec::new();
    let mut cursor: Option<String> = None;
    while items.len() < limit {
        let mut query = filters.query();
        query.push(("limit", (limit - items.len()).min(PAGE).to_string()));
        query.extend(cursor.take().map(|cursor| ("cursor", cursor)));
        let page: wire::Page = client.get(path, &query).await?;
        items.extend(page.items);
        match page.next_cursor {
            Some(next) => cursor = Some(next),
            None => break,
        }
    }
    items.truncate(limit);
    Ok(items)
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use wiremock::matchers::{method, query_param, query_param_is_missing};
    use wiremock::{Mock, MockServer, ResponseTemplate};

    use super::*;

    #[tokio::test]
    async fn pages_are_joined_and_filters_go_with_each() {
        let server = MockServer::start().await;
        let page = |items: Value, next: Option<&str>| {
            ResponseTemplate::new(200).set_body_json(json!({"items": items, "next_cursor": next}))
        };
        Mock::given(method("GET"))
            .and(query_param_is_missing("cursor"))
            .and(query_param("family", "web"))
            .and(query_param("tag.team", "a&b"))
            .and(query_param("limit", "3"))
            .respond_with(page(json!([1, 2]), Some("after 2")))
            .expect(1)
            .mount(&server)
            .await;
        Mock::given(method("GET"))
            .and(query_param("cursor", "after 2"))
            .and(query_param("family", "web"))
            .and(query_param("limit", "1"))
            // More than was asked for.
            .respond_with(page(json!([3, 4]), Some("after 4")))
            .expect(1)
            .mount(&server)
            .await;
        let client = Client::new(&server.uri(), None).unwrap().impatient();
        let filters = Filters::new([("family", Some("web".to_owned())), ("state", None)])
            .with("tag.", vec![("team".to_owned(), "a&b".to_owned())]);
        assert_eq!(list(&client, &["images"], &filters, 3).await.unwrap(), [1, 2, 3]);
    }

    #[test]
    fn times_are_rfc_3339_or_dates() {
        assert_eq!(instant("2026-11-30T07:00:00+01:00").unwrap(), "2026-11-30T06:00:00Z");
        assert_eq!(instant("2026-11-30").unwrap(), "2026-11-30T00:00:00Z");
        for wrong in ["", "yesterday", "2026-11-31", "2026-11-30T25:00:00Z"] {
            assert!(instant(wrong).unwrap_err().contains("2026-11-30T06:00:00Z"), "{wrong}");
        }
    }
}
