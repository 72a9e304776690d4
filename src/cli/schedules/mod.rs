//! `ingot schedules`: runs that start at times. `settings` reads what a schedule is to be, `shown` says what it is.

mod settings;
mod shown;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use self::settings::{CreateArgs, UpdateArgs};
use super::Context;
use super::client::Client;
use super::error::CliResult;
use super::exit::Exit;
use super::lists::{Filters, Limit, print_list};
use super::runs::how_to_follow;
use super::wire::{Preview, Run, Schedule};

#[derive(Debug, Args)]
pub struct SchedulesArgs {
    #[command(subcommand)]
    action: Option<Action>,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// The schedules (also without `list`).
    List(ListArgs),
    /// One schedule with its next times.
    Show(Named),
    /// Make a schedule.
    // Its --version is the template's.
    #[command(disable_version_flag = true)]
    Create(Box<CreateArgs>),
    /// Change what is given of a schedule.
    #[command(disable_version_flag = true)]
    Update(Box<UpdateArgs>),
    /// Start no more runs, until it is resumed.
    Pause(Named),
    /// Start runs again.
    Resume(Named),
    /// Start a run now, beside the times.
    Trigger(Named),
    /// Take a schedule away; its runs stay.
    Delete(Named),
    /// What became of each time, the newest first.
    Runs {
        #[command(flatten)]
        named: Named,
        #[command(flatten)]
        limit: Limit,
    },
    /// The next times of a cron line.
    Preview {
        /// Minute, hour, day of the month, month and day of the week, in quotes: '0 6 * * 1'.
        #[arg(value_name = "CRON")]
        cron: String,
        /// The time zone whose clock it goes by, such as Europe/Berlin.
        #[arg(long, default_value = "UTC", value_name = "ZONE")]
        time_zone: String,
    },
}

#[derive(Debug, Default, Args)]
struct ListArgs {
    #[command(flatten)]
    limit: Limit,
    /// Only schedules of this template.
    #[arg(long, value_name = "NAME")]
    template: Option<String>,
    /// Only those that are enabled (true) or paused (false).
    #[arg(long, value_name = "BOOL")]
    enabled: Option<bool>,
}

#[derive(Debug, Args)]
struct Named {
    /// The schedule's name or id.
    #[arg(value_name = "SCHEDULE")]
    schedule: String,
}

impl SchedulesArgs {
    pub(super) async fn run(self, context: &Context) -> CliResult<Exit> {
        let client = context.client()?;
        match self.action.unwrap_or_else(|| Action::List(ListArgs::default())) {
            Action::List(args) => args.run(context, &client).await?,
            Action::Show(Named { schedule }) => {
                let answer: Value = client.get(&["schedules", &schedule], &[]).await?;
                context.print_answer(&client, &answer, shown::one)?;
            }
            Action::Create(args) => {
                let answer: Value = client.post_once(&["schedules"], Some(&args.body(own_variable)?.into())).await?;
                context.print_answer(&client, &answer, |schedule| shown::changed(schedule, "is made"))?;
            }
            Action::Update(args) => {
                let body = args.body(own_variable)?.into();
                let answer: Value = client.patch(&["schedules", &args.schedule], &body).await?;
                context.print_answer(&client, &answer, |schedule| shown::changed(schedule, "is changed"))?;
            }
            Action::Pause(named) => switch(context, &client, &named, ("pause", "is paused")).await?,
            Action::Resume(named) => switch(context, &client, &named, ("resume", "goes on")).await?,
            Action::Trigger(Named { schedule }) => {
                let answer: Value = client.post_once(&["schedules", &schedule, "trigger"], None).await?;
                context.print_answer(&client, &answer, |run: &Run| {
                    format!("Run {} of schedule {schedule} is {}. {}\n", run.id, run.state, how_to_follow(&run.id))
                })?;
            }
            Action::Delete(Named { schedule }) => {
                client.delete(&["schedules", &schedule]).await?;
                if !context.json() {
                    context.print(&format!("Schedule {schedule} is deleted.\n"))?;
                }
            }
            Action::Runs { named, limit } => {
                let path = ["schedules", &named.schedule, "runs"];
                print_list(context, &client, &path, (&Filters::default(), limit.count), shown::firings).await?;
            }
            Action::Preview { cron, time_zone } => {
                let body = json!({"cron": cron, "time_zone": time_zone});
                let answer: Value = client.post(&["schedules", "preview"], Some(&body), None).await?;
                context.print_answer(&client, &answer, |preview: &Preview| {
                    shown::times(&preview.next, &time_zone).render()
                })?;
            }
        }
        Ok(Exit::Success)
    }
}

impl ListArgs {
    async fn run(self, context: &Context, client: &Client) -> CliResult<()> {
        let enabled = self.enabled.map(|enabled| enabled.to_string());
        let filters = Filters::new([("template", self.template), ("enabled", enabled)]);
        print_list(context, client, &["schedules"], (&filters, self.limit.count), shown::table).await
    }
}

async fn switch(context: &Context, client: &Client, named: &Named, (verb, what): (&str, &str)) -> CliResult<()> {
    let answer: Value = client.post(&["schedules", &named.schedule, verb], None, None).await?;
    context.print_answer(client, &answer, |schedule: &Schedule| shown::changed(schedule, what))
}

fn own_variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

#[cfg(test)]
mod tests {
    use wiremock::matchers::{body_json, header_exists, method, path, query_param};
    use wiremock::{Mock, MockServer, ResponseTemplate};

    use super::super::test_support::{context, parsed};
    use super::*;

    fn answer(body: Value) -> ResponseTemplate {
        ResponseTemplate::new(200).set_body_json(body)
    }

    fn schedule() -> Value {
        json!({"id": "s1", "name": "w", "template": "web", "cron": "@daily", "time_zone": "UTC", "enabled": true})
    }

    async fn done(server: &MockServer, line: &str) {
        let args: SchedulesArgs = parsed(line);
        assert_eq!(args.run(&context(server)).await.unwrap(), Exit::Success, "{line}");
    }

    #[tokio::test]
    async fn each_command_asks_its_question() {
        let server = MockServer::start().await;
        let asked = |verb: &str, at: &str| Mock::given(method(verb)).and(path(format!("/v1/schedules{at}")));
        let empty = || answer(json!({"items": [], "next_cursor": null}));
        let run = answer(json!({"id": "r1", "state": "queued"}));
        let created = json!({"name": "w", "template": "web", "cron": "@daily"});
        let previewed = json!({"cron": "@daily", "time_zone": "Europe/Berlin"});
        let mocks = [
            asked("GET", "")
                .and(query_param("template", "web"))
                .and(query_param("enabled", "false"))
                .respond_with(empty()),
            asked("GET", "/w").respond_with(answer(schedule())),
            asked("POST", "")
                .and(header_exists("idempotency-key"))
                .and(body_json(created))
                .respond_with(answer(schedule())),
            asked("PATCH", "/w").and(body_json(json!({"cron": "@hourly"}))).respond_with(answer(schedule())),
            asked("POST", "/w/pause").respond_with(answer(schedule())),
            asked("POST", "/w/resume").respond_with(answer(schedule())),
            asked("POST", "/w/trigger").and(header_exists("idempotency-key")).respond_with(run),
            asked("DELETE", "/w").respond_with(ResponseTemplate::new(204)),
            asked("GET", "/w/runs").respond_with(empty()),
            asked("POST", "/preview").and(body_json(previewed)).respond_with(answer(json!({"next": []}))),
        ];
        for mock in mocks {
            mock.expect(1).mount(&server).await;
        }
        for line in [
            "list --template web --enabled false",
            "show w",
            "create --name w --template web --cron @daily",
            "update w --cron @hourly",
            "pause w",
            "resume w",
            "trigger w",
            "delete w",
            "runs w",
            "preview @daily --time-zone Europe/Berlin",
        ] {
            done(&server, line).await;
        }
    }
}
