//! `ingot audit`: who did what.

use clap::Args;

use super::Context;
use super::error::CliResult;
use super::exit::Exit;
use super::lists::{Filters, Limit, instant, print_list};
use super::table::Table;
use super::wire::AuditEntry;

#[derive(Debug, Args)]
pub struct AuditArgs {
    #[command(flatten)]
    limit: Limit,
    /// Only what this token did.
    #[arg(long, value_name = "NAME")]
    principal: Option<String>,
    /// Only this action, such as image.promote, or all that begin alike: 'image.*'.
    #[arg(long, value_name = "ACTION")]
    action: Option<String>,
    /// Only what was done to this, such as run/ID, schedule/ID or stage/STAGE/FAMILY.
    #[arg(long, value_name = "KIND/ID")]
    subject: Option<String>,
    /// Only what this request did; problems and logs tell its id.
    #[arg(long, value_name = "ID")]
    request_id: Option<String>,
    /// Only what was done after this time (RFC 3339, or a date in UTC).
    #[arg(long, value_name = "TIME", value_parser = instant)]
    after: Option<String>,
    /// Only what was done before this time (RFC 3339, or a date in UTC).
    #[arg(long, value_name = "TIME", value_parser = instant)]
    before: Option<String>,
}

impl AuditArgs {
    pub(super) async fn run(self, context: &Context) -> CliResult<Exit> {
        let client = context.client()?;
        let limit = self.limit.count;
        print_list(context, &client, &["audit"], (&self.filters(), limit), table).await?;
        Ok(Exit::Success)
    }

    fn filters(self) -> Filters {
        Filters::new([
            ("principal", self.principal),
            ("action", self.action),
            ("subject", self.subject),
            ("request_id", self.request_id),
            ("after", self.after),
            ("before", self.before),
        ])
    }
}

fn table(entries: &[AuditEntry]) -> Table {
    let mut table = Table::new(&["AT", "PRINCIPAL", "ACTION", "SUBJECT", "REQUEST"]);
    for entry in entries {
        table.row([
            entry.at.clone(),
            entry.principal.clone(),
            entry.action.clone(),
            entry.subject.clone(),
            entry.request_id.clone().unwrap_or_default(),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::test_support::{parsed, try_parsed};
    use super::*;

    #[test]
    fn deeds_in_a_table() {
        let entries: Vec<AuditEntry> = serde_json::from_value(json!([
            {"id": "a2", "at": "2026-07-29T10:00:01Z", "principal": "ada", "request_id": "0190-abc", "action": "image.promote",
             "subject": "image/i7", "before": null, "after": {"stage": "prod"}},
            {"id": "a1", "at": "2026-07-29T10:00:00Z", "principal": "ingot:local", "request_id": null, "action": "token.create",
             "subject": "token/t1", "before": null, "after": null}]))
        .unwrap();
        insta::assert_snapshot!(table(&entries).render(), @"
        AT                    PRINCIPAL    ACTION         SUBJECT   REQUEST
        2026-07-29T10:00:01Z  ada          image.promote  image/i7  0190-abc
        2026-07-29T10:00:00Z  ingot:local  token.create   token/t1
        ");
    }

    #[test]
    fn filters_are_what_was_given() {
        let args: AuditArgs = parsed("--principal ada --action image.* --after 2026-07-29");
        let expected = [("principal", "ada"), ("action", "image.*"), ("after", "2026-07-29T00:00:00Z")];
        assert_eq!(args.filters(), Filters::new(expected.map(|(name, value)| (name, Some(value.to_owned())))));
        let complaint = try_parsed::<AuditArgs>("--before tomorrow").unwrap_err();
        assert!(complaint.contains("is not a time"), "{complaint}");
    }
}
