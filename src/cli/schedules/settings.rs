//! What a schedule is to be, from the command line to the API's fields.

use std::str::FromStr;

use clap::{Args, ValueEnum};
use serde_json::{Map, Value, json};

use super::super::error::{CliError, CliResult};
use super::super::inputs::{assignment, environment_variable};
use super::super::{given, name, object};

#[derive(Debug, Args)]
pub struct CreateArgs {
    /// The schedule's name.
    #[arg(long, value_name = "NAME")]
    name: String,
    /// The stored template.
    #[arg(long, value_name = "NAME")]
    template: String,
    /// Minute, hour, day of the month, month and day of the week, in quotes: '0 6 * * 1'.
    #[arg(long, value_name = "CRON")]
    cron: String,
    #[command(flatten)]
    settings: Settings,
}

#[derive(Debug, Args)]
pub struct UpdateArgs {
    /// The schedule's name or id.
    #[arg(value_name = "SCHEDULE")]
    pub schedule: String,
    /// Another name.
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Another stored template.
    #[arg(long, value_name = "NAME")]
    template: Option<String>,
    /// Other times, in quotes: '0 6 * * 1'.
    #[arg(long, value_name = "CRON")]
    cron: Option<String>,
    #[command(flatten)]
    settings: Settings,
    /// Take a setting away; comma-separated, may be repeated.
    #[arg(long, value_enum, value_name = "SETTING", value_delimiter = ',')]
    clear: Vec<Clearable>,
}

/// What can be left out. Of an update, --var, --env and --label replace all that were there.
#[derive(Debug, Args)]
struct Settings {
    /// The template's version: newest (at each time), pinned (the newest now), or a number.
    #[arg(long = "version", value_name = "newest|pinned|N")]
    template_version: Option<TemplateVersion>,
    /// The time zone whose clock the cron line goes by, such as Europe/Berlin; at first UTC.
    #[arg(long, value_name = "ZONE")]
    time_zone: Option<String>,
    /// A variable's value; may be repeated. An update replaces them all.
    #[arg(long = "var", value_name = "NAME=VALUE", value_parser = assignment, allow_hyphen_values = true)]
    vars: Vec<(String, String)>,
    /// A variable of the runs' environment, for the template's `env()`; without a value it is taken from this environment.
    /// An update replaces them all.
    #[arg(long = "env", value_name = "NAME[=VALUE]")]
    env: Vec<String>,
    /// The account to build in.
    #[arg(long, value_name = "NAME")]
    account: Option<String>,
    /// The line of images that the runs' images belong to; at first the template's name.
    #[arg(long, value_name = "NAME")]
    family: Option<String>,
    /// Only the builds whose names match; comma-separated, `*` as wildcard.
    #[arg(long, value_name = "NAME", value_delimiter = ',', conflicts_with = "except")]
    only: Vec<String>,
    /// All builds (and post-processors) but those whose names match; comma-separated, `*` as wildcard.
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    except: Vec<String>,
    /// The commit that the template is of.
    #[arg(long, value_name = "SHA")]
    git_sha: Option<String>,
    /// A label of the runs; may be repeated. An update replaces them all.
    #[arg(long = "label", value_name = "NAME=VALUE", value_parser = assignment)]
    labels: Vec<(String, String)>,
    /// How long each build may take, such as 2h or 90m.
    #[arg(long, value_name = "DURATION")]
    timeout: Option<String>,
    /// What to do at a time when a run of the time before is still at work; at first skip.
    #[arg(long, value_enum, value_name = "WHAT")]
    overlap: Option<Overlap>,
    /// What to do about times that came while no server was there; at first last.
    #[arg(long, value_enum, value_name = "WHICH")]
    catch_up: Option<CatchUp>,
    /// Start each run by up to this much later, such as 10m, so that not all start at once.
    #[arg(long, value_name = "DURATION")]
    jitter: Option<String>,
    /// Start no runs until it is resumed.
    #[arg(long)]
    disabled: bool,
}

/// `--version`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TemplateVersion {
    Newest,
    /// The newest when the request arrives.
    PinnedNow,
    Pinned(u32),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
enum Overlap {
    /// Pass over the time.
    Skip,
    /// Start its run when the others are over.
    Queue,
    /// Cancel the others and start its run.
    #[value(alias = "cancel-running")]
    CancelRunning,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum CatchUp {
    /// Nothing.
    None,
    /// Start a run for the last of them.
    Last,
    /// Start a run for each of them, one after the other.
    All,
}

/// What an update can take away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Clearable {
    Variables,
    Env,
    Account,
    Family,
    Only,
    Except,
    GitSha,
    Labels,
    Timeout,
    Jitter,
}

impl FromStr for TemplateVersion {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "newest" => Ok(Self::Newest),
            "pinned" => Ok(Self::PinnedNow),
            number => number
                .parse()
                .ok()
                .filter(|number| *number > 0)
                .map(Self::Pinned)
                .ok_or_else(|| format!("{text:?} is no version; write newest, pinned, or a number such as 3")),
        }
    }
}

impl Clearable {
    /// The API's field, and what it is when there is none.
    fn field(self) -> (&'static str, Value) {
        match self {
            Self::Variables => ("variables", json!({})),
            Self::Env => ("env", json!({})),
            Self::Account => ("account", Value::Null),
            Self::Family => ("family", Value::Null),
            Self::Only => ("only", json!([])),
            Self::Except => ("except", json!([])),
            Self::GitSha => ("git_sha", Value::Null),
            Self::Labels => ("labels", json!({})),
            Self::Timeout => ("timeout", Value::Null),
            Self::Jitter => ("jitter", Value::Null),
        }
    }
}

impl CreateArgs {
    /// The request. `own`: variables of our own environment.
    ///
    /// # Errors
    /// When `--env` can't be followed.
    pub fn body(&self, own: impl Fn(&str) -> Option<String>) -> CliResult<Map<String, Value>> {
        let mut body =
            given([("name", json!(self.name)), ("template", json!(self.template)), ("cron", json!(self.cron))]);
        body.extend(self.settings.body(own)?);
        Ok(body)
    }
}

impl UpdateArgs {
    /// The request: the fields that are to change. `own`: variables of our own environment.
    ///
    /// # Errors
    /// When nothing is to change, the same is set and cleared, or `--env` can't be followed.
    pub fn body(&self, own: impl Fn(&str) -> Option<String>) -> CliResult<Map<String, Value>> {
        let mut body =
            given([("name", json!(self.name)), ("template", json!(self.template)), ("cron", json!(self.cron))]);
        body.extend(self.settings.body(own)?);
        for (field, nothing) in self.clear.iter().map(|clear| clear.field()) {
            if body.insert(field.to_owned(), nothing.clone()).is_some_and(|value| value != nothing) {
                return Err(CliError::Usage(format!("{field} can't be both set and cleared")));
            }
        }
        if body.is_empty() {
            let complaint = "nothing is to change: give an option, such as --cron '0 6 * * 1' or --clear jitter";
            return Err(CliError::Usage(complaint.to_owned()));
        }
        Ok(body)
    }
}

impl Settings {
    fn body(&self, own: impl Fn(&str) -> Option<String>) -> CliResult<Map<String, Value>> {
        let env = self.env.iter().map(|text| environment_variable(text, &own)).collect::<CliResult<Vec<_>>>()?;
        let (version, pinned_version) = match self.template_version {
            None => (None, None),
            Some(TemplateVersion::Newest) => (Some("newest"), None),
            Some(TemplateVersion::PinnedNow) => (Some("pinned"), None),
            Some(TemplateVersion::Pinned(number)) => (Some("pinned"), Some(number)),
        };
        Ok(given([
            ("version", json!(version)),
            ("pinned_version", json!(pinned_version)),
            ("time_zone", json!(self.time_zone)),
            ("variables", object(&self.vars)),
            ("env", object(&env)),
            ("account", json!(self.account)),
            ("family", json!(self.family)),
            ("only", json!(self.only)),
            ("except", json!(self.except)),
            ("git_sha", json!(self.git_sha)),
            ("labels", object(&self.labels)),
            ("timeout", json!(self.timeout)),
            ("overlap", json!(self.overlap.as_ref().map(name))),
            ("catch_up", json!(self.catch_up.as_ref().map(name))),
            ("jitter", json!(self.jitter)),
            ("enabled", json!(self.disabled.then_some(false))),
        ]))
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::exit::Exit;
    use super::super::super::test_support::{parsed, try_parsed};
    use super::*;

    fn own(name: &str) -> Option<String> {
        (name == "STAGE").then(|| "dev".to_owned())
    }

    fn update(words: &str) -> CliResult<Value> {
        parsed::<UpdateArgs>(words).body(own).map(Value::Object)
    }

    #[test]
    fn a_new_schedule_is_what_was_said_and_nothing_else() {
        let create = |words: &str| {
            let args: CreateArgs = parsed(&format!("--name w --template web --cron @daily {words}"));
            Value::Object(args.body(own).unwrap())
        };
        assert_eq!(create(""), json!({"name": "w", "template": "web", "cron": "@daily"}));
        let all = "--version 3 --time-zone Europe/Berlin --var a=1 --var b=-x=2 --env STAGE --env X=y --account prod --family f \
            --only x,y --git-sha abc --label team=web --timeout 2h --overlap cancel-running --catch-up none --jitter 10m --disabled";
        assert_eq!(
            create(all),
            json!({"name": "w", "template": "web", "cron": "@daily", "version": "pinned", "pinned_version": 3,
                "time_zone": "Europe/Berlin", "variables": {"a": "1", "b": "-x=2"}, "env": {"STAGE": "dev", "X": "y"},
                "account": "prod", "family": "f", "only": ["x", "y"], "git_sha": "abc", "labels": {"team": "web"},
                "timeout": "2h", "overlap": "cancel_running", "catch_up": "none", "jitter": "10m", "enabled": false})
        );
    }

    #[test]
    fn a_version_is_a_word_or_a_number() {
        assert_eq!(update("w --version newest").unwrap(), json!({"version": "newest"}));
        assert_eq!(update("w --version pinned").unwrap(), json!({"version": "pinned"}));
        for wrong in ["0", "-1", "oldest", "v3"] {
            let complaint = try_parsed::<UpdateArgs>(&format!("w --version={wrong}")).unwrap_err();
            assert!(complaint.contains("newest, pinned, or a number"), "{wrong}: {complaint}");
        }
    }

    #[test]
    fn an_update_sets_and_clears() {
        assert_eq!(
            update("w --name v --overlap queue --clear jitter,variables --clear only").unwrap(),
            json!({"name": "v", "overlap": "queue", "jitter": null, "variables": {}, "only": []})
        );
        assert_eq!(update("w --clear jitter --clear jitter").unwrap(), json!({"jitter": null}));
        for (wrong, complaint) in [
            ("w", "nothing is to change"),
            ("w --jitter 5m --clear jitter", "jitter can't be both set and cleared"),
            ("w --env NOWHERE", "no such variable"),
        ] {
            let error = update(wrong).unwrap_err();
            assert!(error.exit() == Exit::Usage && error.to_string().contains(complaint), "{wrong}: {error}");
        }
    }
}
