//! `ingot runs`: list, show, why, cancel, retry.

use std::fmt::Write as _;

use clap::{Args, Subcommand};
use serde_json::Value;

use super::client::Client;
use super::error::CliResult;
use super::exit::Exit;
use super::inputs::assignment;
use super::lists::{Filters, Limit, print_list};
use super::table::{Table, facts, number};
use super::wire::{Build, Run, Why};
use super::{Context, typed};

#[derive(Debug, Args)]
pub struct RunsArgs {
    #[command(subcommand)]
    action: Option<Action>,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// The newest runs (also without `list`).
    List(ListArgs),
    /// One run with its builds.
    Show {
        id: String,
        /// The steps of each build, too.
        #[arg(long)]
        steps: bool,
    },
    /// Why a run was made anew, and who has joined it.
    Why { id: String },
    /// Ask a run to stop; what it made is removed.
    Cancel { id: String },
    /// Try the failed and cancelled builds of a run again, for the same image.
    Retry { id: String },
}

#[derive(Debug, Default, Args)]
struct ListArgs {
    #[command(flatten)]
    limit: Limit,
    /// Only runs in this state.
    #[arg(long, value_name = "STATE")]
    state: Option<String>,
    /// Only runs of this template.
    #[arg(long, value_name = "NAME")]
    template: Option<String>,
    /// Only runs in this account.
    #[arg(long, value_name = "NAME")]
    account: Option<String>,
    /// Only runs of this commit.
    #[arg(long, value_name = "SHA")]
    git_sha: Option<String>,
    /// Only runs with this label; may be repeated.
    #[arg(long = "label", value_name = "NAME=VALUE", value_parser = assignment)]
    labels: Vec<(String, String)>,
}

impl RunsArgs {
    pub(super) async fn run(self, context: &Context) -> CliResult<Exit> {
        let client = context.client()?;
        match self.action.unwrap_or_else(|| Action::List(ListArgs::default())) {
            Action::List(args) => args.run(context, &client).await?,
            Action::Show { id, steps } => show(context, &client, &id, steps).await?,
            Action::Why { id } => {
                let answer: Value = client.get(&["runs", &id, "why"], &[]).await?;
                context.print_answer(&client, &answer, why)?;
            }
            Action::Cancel { id } => change(context, &client, &id, "cancel").await?,
            Action::Retry { id } => change(context, &client, &id, "retry").await?,
        }
        Ok(Exit::Success)
    }
}

impl ListArgs {
    async fn run(self, context: &Context, client: &Client) -> CliResult<()> {
        let options =
            [("state", self.state), ("template", self.template), ("account", self.account), ("git_sha", self.git_sha)];
        let filters = Filters::new(options).with("label.", self.labels);
        print_list(context, client, &["runs"], (&filters, self.limit.count), table).await
    }
}

async fn show(context: &Context, client: &Client, id: &str, steps: bool) -> CliResult<()> {
    let answer: Value = client.get(&["runs", id], &[]).await?;
    if context.json() && !steps {
        return context.print_json(&answer);
    }
    let run: Run = typed(client, &answer)?;
    let mut steps_of_builds = Vec::new();
    if steps {
        for build in &run.builds {
            let steps: Value = client.get(&["builds", &build.id, "steps"], &[]).await?;
            steps_of_builds.push((build.name.clone(), steps));
        }
    }
    if context.json() {
        let mut answer = answer;
        answer["steps"] = Value::Object(steps_of_builds.into_iter().collect());
        return context.print_json(&answer);
    }
    let mut text = shown(&run);
    for (name, steps) in &steps_of_builds {
        let _ = write!(text, "\n{name}\n{}", steps_table(steps).render());
    }
    context.print(&text)
}

async fn change(context: &Context, client: &Client, id: &str, verb: &str) -> CliResult<()> {
    let answer: Value = client.post(&["runs", id, verb], None, None).await?;
    let what = if verb == "cancel" { "is asked to stop" } else { "is tried again" };
    context.print_answer(client, &answer, |run: &Run| {
        format!("Run {} {what}; its state is {}. {}\n", run.id, run.state, how_to_follow(&run.id))
    })
}

fn why(why: &Why) -> String {
    let mut text = format!("{}\n", why.reason);
    let differs = why.compared_with.iter().flat_map(|compared| &compared.differs);
    let mut parts = Table::new(&["PART", "WHAT DIFFERS"]);
    let mut any = false;
    for difference in differs {
        parts.row([difference.part.clone(), difference.words.clone()]);
        any = true;
    }
    if any {
        let _ = write!(text, "\n{}", parts.render());
    }
    if !why.joined.is_empty() {
        let mut joined = Table::new(&["AT", "WHO", "OUTCOME"]);
        for join in &why.joined {
            joined.row([join.at.clone(), join.principal.clone(), join.outcome.clone()]);
        }
        let _ = write!(text, "\n{}", joined.render());
    }
    text
}

/// The sentence for whoever has started a run.
pub(super) fn how_to_follow(run: &str) -> String {
    format!("Follow it with: ingot logs -f {run}")
}

fn table(runs: &[Run]) -> Table {
    let mut table = Table::new(&["ID", "STATE", "TEMPLATE", "IMAGE", "ACCOUNT", "CREATED", "BUILDS"]);
    for run in runs {
        table.row([
            run.id.clone(),
            run.state.clone(),
            template(run),
            image(run),
            run.account.clone().unwrap_or_default(),
            run.created_at.clone().unwrap_or_default(),
            builds(&run.builds),
        ]);
    }
    table
}

fn template(run: &Run) -> String {
    let name = run.template.clone().unwrap_or_default();
    run.version.map_or_else(|| name.clone(), |version| format!("{name} v{version}"))
}

fn image(run: &Run) -> String {
    run.image.as_ref().map_or_else(String::new, |image| format!("{} #{}", image.family, image.number))
}

/// `2 succeeded, 1 failed`.
fn builds(builds: &[Build]) -> String {
    let mut counts: Vec<(&str, usize)> = Vec::new();
    for build in builds {
        match counts.iter_mut().find(|(state, _)| *state == build.state) {
            Some((_, count)) => *count += 1,
            None => counts.push((&build.state, 1)),
        }
    }
    counts.iter().map(|(state, count)| format!("{count} {state}")).collect::<Vec<_>>().join(", ")
}

fn shown(run: &Run) -> String {
    let mut text = facts(&[
        ("run", Some(run.id.clone())),
        ("state", Some(run.state.clone())),
        ("template", Some(template(run))),
        (
            "image",
            run.image
                .as_ref()
                .map(|image| format!("{} #{} {} ({})", image.family, image.number, image.state, image.id)),
        ),
        ("account", run.account.clone()),
        ("git sha", run.git_sha.clone()),
        ("created", run.created_at.clone()),
        ("started", run.started_at.clone()),
        ("finished", run.finished_at.clone()),
    ]);
    let mut table = Table::new(&["BUILD", "ID", "STATE", "ATTEMPT", "CLEANUP", "ARTIFACTS"]);
    for build in &run.builds {
        let artifacts = build.artifacts.iter().map(|artifact| {
            artifact.region.as_ref().map_or_else(|| artifact.id.clone(), |region| format!("{region}:{}", artifact.id))
        });
        table.row([
            build.name.clone(),
            build.id.clone(),
            build.state.clone(),
            number(build.attempt),
            build.cleanup.clone().unwrap_or_default(),
            artifacts.collect::<Vec<_>>().join(" "),
        ]);
    }
    let _ = write!(text, "\n{}", table.render());
    for build in &run.builds {
        if let Some(error) = &build.error {
            let code = error.code.as_ref().map_or_else(String::new, |code| format!(" ({code})"));
            let _ = writeln!(text, "\n{}: {}{code}", build.name, error.message);
            if let Some(advice) = &error.advice {
                let _ = writeln!(text, "  {advice}");
            }
        }
        if let Some(hold) = build.hold.as_ref().filter(|_| build.kept_until.is_none()) {
            let (name, step, reason, until) = (&build.name, &hold.step, &hold.reason, &hold.until);
            let _ =
                writeln!(text, "\n{name}: holds at {step} ({reason}) until {until}; see: ingot resume {}", build.id);
        }
        if let Some(until) = &build.kept_until {
            let name = &build.name;
            let _ =
                writeln!(text, "\n{name}: what it made is left in place until {until}; see: ingot resume {}", build.id);
        }
        if let Some(reason) = &build.stuck_reason {
            let _ = writeln!(text, "\n{} is stuck: {reason}", build.name);
        }
    }
    text
}

fn steps_table(steps: &Value) -> Table {
    let empty = Vec::new();
    let rows = steps.get("items").unwrap_or(steps).as_array().unwrap_or(&empty);
    let mut table = Table::new(&["ATTEMPT", "STEP", "STATE", "SECONDS", "FAILURE"]);
    for step in rows {
        let text = |name: &str| match &step[name] {
            Value::String(text) => text.clone(),
            Value::Null => String::new(),
            other => other.to_string(),
        };
        let seconds =
            step["duration_ms"].as_u64().map_or_else(String::new, |ms| format!("{}.{}", ms / 1000, ms % 1000 / 100));
        let failure = step["failure"]["message"].as_str().unwrap_or_default().to_owned();
        table.row([text("attempt"), text("name"), text("state"), seconds, failure]);
    }
    table
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn run() -> Run {
        serde_json::from_value(json!({"id": "0190aaaa", "state": "failed", "template": "web", "version": 3, "account": "default",
            "trigger": "api", "variables": {}, "git_sha": "abc", "created_at": "2026-07-29T10:00:00Z", "started_at": null,
            "finished_at": null, "error": null, "builds": [
                {"id": "b1", "name": "amazon-ebs.a", "type": "amazon-ebs", "state": "succeeded", "attempt": 1, "cleanup": "done",
                 "error": null, "artifacts": [{"kind": "ami", "id": "ami-1", "account": "default", "region": "eu-west-1"}]},
                {"id": "b2", "name": "amazon-ebs.b", "type": "amazon-ebs", "state": "failed", "attempt": 2, "cleanup": "none",
                 "error": {"class": "cloud", "code": "Blocked", "message": "EC2 said no.", "advice": "Ask AWS."}, "artifacts": []}],
            "image": {"id": "i1", "family": "web", "number": 7, "state": "incomplete"}}))
        .unwrap()
    }

    #[test]
    fn a_list() {
        insta::assert_snapshot!(table(&[run()]).render(), @"
        ID        STATE   TEMPLATE  IMAGE   ACCOUNT  CREATED               BUILDS
        0190aaaa  failed  web v3    web #7  default  2026-07-29T10:00:00Z  1 succeeded, 1 failed
        ");
    }

    #[test]
    fn one_run() {
        insta::assert_snapshot!(shown(&run()), @"
        run       0190aaaa
        state     failed
        template  web v3
        image     web #7 incomplete (i1)
        account   default
        git sha   abc
        created   2026-07-29T10:00:00Z

        BUILD         ID  STATE      ATTEMPT  CLEANUP  ARTIFACTS
        amazon-ebs.a  b1  succeeded  1        done     eu-west-1:ami-1
        amazon-ebs.b  b2  failed     2        none

        amazon-ebs.b: EC2 said no. (Blocked)
          Ask AWS.
        ");
    }

    #[test]
    fn why_it_was_made() {
        let explained: Why = serde_json::from_value(json!({"run": "r2", "dedupe": "join", "outcome": "made",
            "reason": "Made anew: no run in progress has the same content.",
            "compared_with": {"run": "r1", "state": "running", "differs": [
                {"part": "variable:region", "words": "the variable `region`"}]},
            "joined": [{"at": "2026-07-29T10:00:00Z", "principal": "ada", "mode": "join", "outcome": "joined", "reason": "…"}]}))
        .unwrap();
        insta::assert_snapshot!(why(&explained), @"
        Made anew: no run in progress has the same content.
        
        PART             WHAT DIFFERS
        variable:region  the variable `region`
        
        AT                    WHO  OUTCOME
        2026-07-29T10:00:00Z  ada  joined
        ");
    }

    #[test]
    fn steps() {
        let steps = json!({"items": [
            {"attempt": 1, "name": "launch", "state": "succeeded", "duration_ms": 1234},
            {"attempt": 1, "name": "connect", "state": "failed", "duration_ms": null, "failure": {"message": "no answer"}}]});
        insta::assert_snapshot!(steps_table(&steps).render(), @"
        ATTEMPT  STEP     STATE      SECONDS  FAILURE
        1        launch   succeeded  1.2
        1        connect  failed              no answer
        ");
    }
}
