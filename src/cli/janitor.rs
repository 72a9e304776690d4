//! `ingot janitor`: what should not be there, what it costs, and sweeps on request.

use clap::{Args, Subcommand};
use serde::Deserialize;
use serde_json::{Value, json};

use super::client::Client;
use super::error::{CliError, CliResult};
use super::exit::Exit;
use super::lists::{Filters, Limit};
use super::table::{Table, facts};
use super::{Context, given, typed};

#[derive(Debug, Args)]
pub struct JanitorArgs {
    #[command(subcommand)]
    action: Option<Action>,
    #[command(flatten)]
    show: ShowArgs,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Sweep now, and tell what was removed (admin).
    Sweep {
        /// Only tell what would be removed.
        #[arg(long)]
        dry_run: bool,
        /// Only this account.
        #[arg(long, value_name = "NAME")]
        account: Option<String>,
        /// Only this region.
        #[arg(long, value_name = "REGION")]
        region: Option<String>,
    },
}

/// Which findings to show.
#[derive(Debug, Args)]
struct ShowArgs {
    #[command(flatten)]
    limit: Limit,
    /// Only findings in this account.
    #[arg(long, value_name = "NAME")]
    account: Option<String>,
    /// Only findings in this region.
    #[arg(long, value_name = "REGION")]
    region: Option<String>,
    /// Only this kind: instance, image, snapshot, volume, network-interface, security-group, key-pair, launch-template,
    /// instance-profile or role.
    #[arg(long, value_name = "KIND")]
    kind: Option<String>,
    /// Only for this reason: left-behind, unknown-build, held or packer-leftover.
    #[arg(long, value_name = "REASON")]
    why: Option<String>,
    /// Which ones: open, gone or all.
    #[arg(long, value_name = "STATE")]
    state: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Shown {
    #[serde(default)]
    last_sweep: Option<Sweep>,
    #[serde(default)]
    next_sweep_at: Option<String>,
    totals: Totals,
    findings: Vec<Finding>,
    #[serde(default)]
    next_cursor: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Totals {
    findings: i64,
    cost_estimate: Cost,
    #[serde(default)]
    unpriced: i64,
}

#[derive(Debug, Deserialize)]
struct Cost {
    usd_per_month: f64,
}

#[derive(Debug, Deserialize)]
struct Sweep {
    state: String,
    #[serde(default)]
    asked_by: Option<String>,
    #[serde(default)]
    dry_run: bool,
    #[serde(default)]
    ended_at: Option<String>,
    #[serde(default)]
    places: Vec<Place>,
    #[serde(default)]
    findings: Vec<Finding>,
}

#[derive(Debug, Deserialize)]
struct Place {
    account: String,
    region: String,
    #[serde(default)]
    error: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Finding {
    account: String,
    region: String,
    kind: String,
    resource_id: String,
    why: String,
    action: String,
    #[serde(default)]
    detail: Option<String>,
    #[serde(default)]
    created_at: Option<String>,
    #[serde(default)]
    cost_estimate: Option<Cost>,
}

impl JanitorArgs {
    pub(super) async fn run(self, context: &Context) -> CliResult<Exit> {
        let client = context.client()?;
        match self.action {
            None => self.show.run(context, &client).await?,
            Some(Action::Sweep { .. }) if self.show.narrows() => {
                let complaint = "what the sweep is to be confined to comes after the word: ingot janitor sweep --account … --region …";
                return Err(CliError::Usage(complaint.to_owned()));
            }
            Some(Action::Sweep { dry_run, account, region }) => {
                let order =
                    given([("dry_run", json!(dry_run)), ("account", json!(account)), ("region", json!(region))]);
                let answer: Value = client.post(&["janitor", "sweep"], Some(&order.into()), None).await?;
                context.print_answer(&client, &answer, swept)?;
            }
        }
        Ok(Exit::Success)
    }
}

impl ShowArgs {
    /// Whether anything is said about which findings to show.
    fn narrows(&self) -> bool {
        [&self.account, &self.region, &self.kind, &self.why, &self.state].into_iter().any(Option::is_some)
            || self.limit.count != Limit::default().count
    }

    /// The first page tells of sweeps and totals; further ones have more findings.
    async fn run(self, context: &Context, client: &Client) -> CliResult<()> {
        const PAGE: usize = 100;
        let wanted = self.limit.count.max(1);
        let filters = self.filters();
        let ask = async |limit: usize, cursor: Option<String>| -> CliResult<Value> {
            let mut query = filters.query();
            query.push(("limit", limit.min(PAGE).to_string()));
            query.extend(cursor.map(|cursor| ("cursor", cursor)));
            client.get(&["janitor"], &query).await
        };
        let mut first = ask(wanted, None).await?;
        let mut shown: Shown = typed(client, &first)?;
        let mut cursor = shown.next_cursor.take();
        while let Some(at) = cursor.take().filter(|_| shown.findings.len() < wanted) {
            let mut page = ask(wanted - shown.findings.len(), Some(at)).await?;
            let further: Shown = typed(client, &page)?;
            shown.findings.extend(further.findings);
            if let (Some(all), Some(more)) = (first["findings"].as_array_mut(), page["findings"].as_array_mut()) {
                all.append(more);
            }
            first["next_cursor"] = page["next_cursor"].take();
            cursor = further.next_cursor;
        }
        if context.json() { context.print_json(&first) } else { context.print(&overview(&shown)) }
    }

    fn filters(self) -> Filters {
        Filters::new([
            ("account", self.account),
            ("region", self.region),
            ("kind", self.kind),
            ("why", self.why),
            ("state", self.state),
        ])
    }
}

fn overview(shown: &Shown) -> String {
    let Totals { findings, cost_estimate, unpriced } = &shown.totals;
    let more = if *unpriced > 0 { format!(", {unpriced} without a known price") } else { String::new() };
    let cost = format!("about {:.2} USD a month (us-east-1 list prices{more})", cost_estimate.usd_per_month);
    let mut text = facts(&[
        ("last sweep", shown.last_sweep.as_ref().map(summary)),
        ("next sweep", shown.next_sweep_at.clone()),
        ("findings", Some(findings.to_string())),
        ("cost", Some(cost)),
    ]);
    text.push_str(&shown.last_sweep.as_ref().map(errors).unwrap_or_default());
    if !shown.findings.is_empty() {
        text.push('\n');
        text.push_str(&table(&shown.findings).render());
    }
    text
}

fn swept(sweep: &Sweep) -> String {
    let mut text = facts(&[("sweep", Some(summary(sweep)))]);
    text.push_str(&errors(sweep));
    if sweep.findings.is_empty() {
        text.push_str("Nothing was found.\n");
    } else {
        text.push_str(&table(&sweep.findings).render());
    }
    text
}

fn summary(sweep: &Sweep) -> String {
    let by = sweep.asked_by.as_ref().map(|who| format!(" for {who}")).unwrap_or_default();
    let dry = if sweep.dry_run { " (dry run)" } else { "" };
    let at = sweep.ended_at.as_ref().map(|at| format!(" {at}")).unwrap_or_default();
    format!("{}{at}{by}{dry}, {} regions", sweep.state, sweep.places.len())
}

/// A line for each region that could not be looked at.
fn errors(sweep: &Sweep) -> String {
    let failed = sweep.places.iter().filter_map(|place| Some((place, place.error.as_ref()?)));
    let line = |(place, error): (&Place, &String)| {
        facts(&[("not looked at", Some(format!("{} {}: {error}", place.account, place.region)))])
    };
    failed.map(line).collect()
}

fn table(findings: &[Finding]) -> Table {
    let mut table = Table::new(&["KIND", "ID", "PLACE", "WHY", "ACTION", "SINCE", "USD/MONTH", "DETAIL"]);
    for finding in findings {
        table.row([
            finding.kind.clone(),
            finding.resource_id.clone(),
            format!("{} {}", finding.account, finding.region),
            finding.why.clone(),
            finding.action.clone(),
            finding.created_at.clone().unwrap_or_default(),
            finding.cost_estimate.as_ref().map_or_else(|| "?".to_owned(), |cost| format!("{:.2}", cost.usd_per_month)),
            finding.detail.clone().unwrap_or_default(),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use wiremock::matchers::{body_json, method, path, query_param};
    use wiremock::{Mock, MockServer, ResponseTemplate};

    use super::super::test_support::{context, parsed};
    use super::*;

    fn sweep() -> Value {
        json!({"id": "s1", "state": "done", "asked_by": "ada", "dry_run": true, "ended_at": "2026-07-29T10:00:00Z",
               "places": [{"account": "prod", "region": "eu-west-1", "error": null, "found": 1, "removed": 0, "failed": 0},
                          {"account": "prod", "region": "us-east-1", "error": "DescribeImages: Throttled", "found": 0}],
               "findings": [
                   {"account": "prod", "region": "eu-west-1", "kind": "instance", "resource_id": "i-1",
                    "why": "packer-leftover", "action": "reported", "detail": "i-9 uses it", "created_at": "2026-07-20T10:00:00Z",
                    "cost_estimate": {"usd_per_hour": 0.0104, "usd_per_month": 7.592}},
                   {"account": "prod", "region": "eu-west-1", "kind": "volume", "resource_id": "vol-1", "why": "left-behind",
                    "action": "would-remove", "detail": null, "created_at": null, "cost_estimate": null}]})
    }

    #[test]
    fn findings_and_sweeps_for_people() {
        let mut answer = json!({"next_sweep_at": "2026-07-29T10:05:00Z", "next_cursor": null,
            "totals": {"findings": 2, "cost_estimate": {"usd_per_hour": 0.0104, "usd_per_month": 7.592}, "unpriced": 1}});
        answer["last_sweep"] = sweep();
        answer["findings"] = sweep()["findings"].clone();
        let shown: Shown = serde_json::from_value(answer).unwrap();
        insta::assert_snapshot!(overview(&shown), @"
        last sweep  done 2026-07-29T10:00:00Z for ada (dry run), 2 regions
        next sweep  2026-07-29T10:05:00Z
        findings    2
        cost        about 7.59 USD a month (us-east-1 list prices, 1 without a known price)
        not looked at  prod us-east-1: DescribeImages: Throttled

        KIND      ID     PLACE           WHY              ACTION        SINCE                 USD/MONTH  DETAIL
        instance  i-1    prod eu-west-1  packer-leftover  reported      2026-07-20T10:00:00Z  7.59       i-9 uses it
        volume    vol-1  prod eu-west-1  left-behind      would-remove                        ?
        ");
    }

    #[tokio::test]
    async fn a_sweep_is_asked_for_as_the_line_says() {
        let server = MockServer::start().await;
        Mock::given(method("POST"))
            .and(path("/v1/janitor/sweep"))
            .and(body_json(json!({"dry_run": true, "region": "eu-west-1"})))
            .respond_with(ResponseTemplate::new(200).set_body_json(sweep()))
            .expect(1)
            .mount(&server)
            .await;
        Mock::given(method("GET"))
            .and(path("/v1/janitor"))
            .and(query_param("why", "held"))
            .and(query_param("limit", "20"))
            .respond_with(ResponseTemplate::new(200).set_body_json(json!({"last_sweep": null, "next_sweep_at": null,
                "totals": {"findings": 0, "cost_estimate": {"usd_per_month": 0.0}}, "findings": [], "next_cursor": null})))
            .expect(1)
            .mount(&server)
            .await;
        let args: JanitorArgs = parsed("sweep --dry-run --region eu-west-1");
        assert_eq!(args.run(&context(&server)).await.unwrap(), Exit::Success);
        let args: JanitorArgs = parsed("--why held");
        assert_eq!(args.run(&context(&server)).await.unwrap(), Exit::Success);
    }
}
