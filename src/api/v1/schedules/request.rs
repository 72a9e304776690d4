//! What a schedule is to be, from a request to make one or to change one. Both are checked by evaluating the template as a
//! run would, so that what is wrong is told now and not on Monday at six.

use std::time::Duration;

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::api::ApiState;
use crate::api::body::given::Given;
use crate::config::units::parse_duration;
use crate::domain::diagnostic::Diagnostic;
use crate::domain::error::{Error, Result};
use crate::domain::schedule::cron::CronLine;
use crate::domain::schedule::{Cadence, CatchUp, LONGEST_JITTER, Overlap, parse_zone};
use crate::engine::accept::{SENSITIVE, check_name, dry_run};
use crate::engine::scheduled_request::{Known, ScheduledRequest};
use crate::store::schedules::{ScheduleContent, ScheduleRow, Timing};

/// Longest cron line, in bytes.
const LONGEST_LINE: usize = 1_000;
/// What runs ask for is kept with the schedule, and read for each.
const LARGEST_REQUEST: usize = 32 << 10;
/// A path of its own, so that no schedule can have it for a name.
const RESERVED: &str = "preview";

/// A schedule to be made or changed. When it is changed, what is left out stays as it is, and null goes back to the default.
#[derive(Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ScheduleRequest {
    /// Needed for a new one.
    pub name: Option<String>,
    /// A stored template; needed for a new one.
    pub template: Option<String>,
    /// `newest` (when left out): at each time the newest version then; or `pinned`.
    #[schema(value_type = Option<String>)]
    pub version: Given<String>,
    /// With `pinned`; the newest version now when left out.
    pub pinned_version: Option<i32>,
    /// A Unix cron line of 5 fields, or `@weekly` and its kin; needed for a new one. `0 6 * * 1` is Monday at 06:00.
    pub cron: Option<String>,
    /// An IANA time zone; `UTC` when left out.
    #[schema(value_type = Option<String>)]
    pub time_zone: Given<String>,
    /// True when left out.
    #[schema(value_type = Option<bool>)]
    pub enabled: Given<bool>,
    /// While a run is still at work, a time is passed over (`skip`, when left out), waits (`queue`), or has the others
    /// cancelled (`cancel_running`).
    #[schema(value_type = Option<String>)]
    pub overlap: Given<String>,
    /// Of times that came while no server was there, the last gets a run (`last`, when left out), or `none`, or `all`
    /// (with `overlap: queue`).
    #[schema(value_type = Option<String>)]
    pub catch_up: Given<String>,
    /// Each run starts up to so much later, such as `10m`; at most 12h.
    #[schema(value_type = Option<String>)]
    pub jitter: Given<String>,
    /// As for runs, like all below.
    #[schema(value_type = Option<String>)]
    pub account: Given<String>,
    #[schema(value_type = Option<String>)]
    pub family: Given<String>,
    #[schema(value_type = Option<Object>)]
    pub variables: Given<IndexMap<String, Value>>,
    #[schema(value_type = Option<Object>)]
    pub env: Given<IndexMap<String, String>>,
    #[schema(value_type = Option<Vec<String>>)]
    pub var_files: Given<Vec<String>>,
    #[schema(value_type = Option<Vec<String>>)]
    pub only: Given<Vec<String>>,
    #[schema(value_type = Option<Vec<String>>)]
    pub except: Given<Vec<String>>,
    #[schema(value_type = Option<String>)]
    pub git_sha: Given<String>,
    #[schema(value_type = Option<Object>)]
    pub labels: Given<IndexMap<String, String>>,
    #[schema(value_type = Option<String>)]
    pub timeout: Given<String>,
    #[schema(value_type = Option<bool>)]
    pub clean_image: Given<bool>,
}

impl ScheduleRequest {
    /// A new schedule.
    ///
    /// # Errors
    /// What is missing or wrong, also of the template and its variables.
    pub async fn into_new(self, state: &ApiState) -> Result<ScheduleContent> {
        for (field, missing) in
            [("name", self.name.is_none()), ("template", self.template.is_none()), ("cron", self.cron.is_none())]
        {
            if missing {
                let public = format!("The request is not complete: a schedule needs {field:?}.");
                return Err(Error::bad_request("request-invalid", public));
            }
        }
        self.into_content(state, None).await
    }

    /// A schedule as it is after a change.
    ///
    /// # Errors
    /// As [`ScheduleRequest::into_new`].
    pub async fn into_changed(self, state: &ApiState, before: &ScheduleRow) -> Result<ScheduleContent> {
        self.into_content(state, Some(before)).await
    }

    async fn into_content(mut self, state: &ApiState, before: Option<&ScheduleRow>) -> Result<ScheduleContent> {
        let name = self.name.take().or_else(|| before.map(|before| before.name.clone())).unwrap_or_default();
        check_name("schedule name", &name)?;
        if name == RESERVED || name.parse::<uuid::Uuid>().is_ok() {
            return Err(Error::unprocessable("name-invalid", format!("A schedule can't be named {name:?}.")));
        }
        let timing = self.timing(before.map(|before| &before.timing))?;
        let template = self.template.take().or_else(|| before.map(|before| before.template.clone()));
        let template = state.store.template(&template.unwrap_or_default()).await?;
        let same_template = before.filter(|before| before.template_id == template.id);
        let pinned_before = same_template.and_then(|before| before.pinned_version);
        let pinned_version = self.pinned_version(template.newest_version, pinned_before)?;
        let enabled = self.enabled.clone().or(before.map(|before| before.enabled)).unwrap_or(true);
        let stored = match before {
            Some(before) => {
                ScheduledRequest::from_bytes(&state.store.schedule_request(before.id, before.revision).await?)?
            }
            None => ScheduledRequest::default(),
        };
        let known = before.map(|before| Known { variables: stored.variables.clone(), shown: &before.shown });
        let request = self.request(stored)?;
        let sealed = request.to_bytes()?;
        if sealed.len() > LARGEST_REQUEST {
            let public = "Variables, environment and the like of a schedule are larger than 32 KiB; put what is large into the template's files.";
            return Err(Error::unprocessable("schedule-invalid", public));
        }
        let trial = request.clone().into_accept(&template.name, pinned_version);
        let trial = dry_run(&state.store, &state.accept, trial, state.clock.as_ref()).await?;
        Ok(ScheduleContent {
            name,
            template_id: template.id,
            pinned_version,
            timing,
            enabled,
            shown: request.shown(&trial.variables, known.as_ref()),
            request: sealed,
        })
    }

    fn timing(&self, before: Option<&Timing>) -> Result<Timing> {
        let line = match &self.cron {
            Some(text) => Some(parse_line(text)?),
            None => before.map(|before| before.cadence.line.clone()),
        };
        let line = line.ok_or_else(|| Error::internal("a schedule without a cron line"))?;
        let zone = match &self.time_zone {
            Given::Value(text) => read_zone(text)?,
            Given::Null => chrono_tz::UTC,
            Given::LeftOut => before.map_or(chrono_tz::UTC, |before| before.cadence.zone),
        };
        let wrong =
            |field: &str, error: String| Error::unprocessable("schedule-invalid", format!("{field:?}: {error}."));
        let overlap = match &self.overlap {
            Given::Value(text) => text.parse().map_err(|error| wrong("overlap", error))?,
            Given::Null => Overlap::Skip,
            Given::LeftOut => before.map_or(Overlap::Skip, |before| before.overlap),
        };
        let catch_up = match &self.catch_up {
            Given::Value(text) => text.parse().map_err(|error| wrong("catch_up", error))?,
            Given::Null => CatchUp::Last,
            Given::LeftOut => before.map_or(CatchUp::Last, |before| before.catch_up),
        };
        if catch_up == CatchUp::All && overlap != Overlap::Queue {
            let why = "\"all\" gives each missed time a run, one after the other, so it needs \"overlap\": \"queue\"";
            return Err(wrong("catch_up", why.to_owned()));
        }
        let jitter = match &self.jitter {
            Given::Value(text) => parse_duration(text).map_err(|error| wrong("jitter", error))?,
            Given::Null => Duration::ZERO,
            Given::LeftOut => before.map_or(Duration::ZERO, |before| before.jitter),
        };
        if jitter > LONGEST_JITTER {
            return Err(wrong("jitter", "it may be 12h at most".to_owned()));
        }
        Ok(Timing { cadence: Cadence { line, zone }, overlap, catch_up, jitter })
    }

    /// `before`: what the schedule had, when it keeps its template.
    fn pinned_version(&self, newest: i32, before: Option<i32>) -> Result<Option<i32>> {
        let wrong = |public: &str| Error::unprocessable("schedule-invalid", public);
        let version = match &self.version {
            Given::Value(version) => Some(version.as_str()),
            Given::Null => Some("newest"),
            Given::LeftOut => None,
        };
        match (version, self.pinned_version) {
            (Some("newest"), None) => Ok(None),
            (Some("newest"), Some(_)) => {
                Err(wrong("\"pinned_version\" belongs to \"version\": \"pinned\", not to \"newest\"."))
            }
            (Some("pinned") | None, Some(version)) if (1..=newest).contains(&version) => Ok(Some(version)),
            (Some("pinned") | None, Some(version)) => {
                let public = format!("The template has no version {version}; it has 1 to {newest}.");
                Err(Error::not_found("template-version-not-found", public))
            }
            (Some("pinned"), None) => Ok(Some(newest)),
            (None, None) => Ok(before),
            (Some(other), _) => Err(wrong(&format!("\"version\": {other:?} is not one of newest, pinned."))),
        }
    }

    fn request(self, mut stored: ScheduledRequest) -> Result<ScheduledRequest> {
        self.account.change(&mut stored.account);
        self.family.change(&mut stored.family);
        self.git_sha.change(&mut stored.git_sha);
        self.clean_image.change(&mut stored.clean_image);
        self.var_files.replace(&mut stored.var_files);
        self.only.replace(&mut stored.only);
        self.except.replace(&mut stored.except);
        self.labels.replace(&mut stored.labels);
        keep_hidden(self.variables, &mut stored.variables, |value| value == SENSITIVE)?;
        keep_hidden(self.env, &mut stored.env, |value| value == SENSITIVE)?;
        match self.timeout {
            Given::LeftOut => {}
            Given::Null => stored.timeout_seconds = None,
            Given::Value(text) => stored.timeout_seconds = Some(read_timeout(&text)?),
        }
        Ok(stored)
    }
}

/// Changes values as the request says; what is shown in the place of a secret, sent back, keeps it.
fn keep_hidden<T: Clone>(
    given: Given<IndexMap<String, T>>,
    stored: &mut IndexMap<String, T>,
    stands_for_secret: impl Fn(&T) -> bool,
) -> Result<()> {
    let known = stored.clone();
    given.replace(stored);
    for (name, value) in stored {
        if stands_for_secret(value) {
            *value = known.get(name).cloned().ok_or_else(|| placeholder(name))?;
        }
    }
    Ok(())
}

fn placeholder(name: &str) -> Error {
    let public =
        format!("{name:?}: {SENSITIVE:?} stands for a hidden value, and there is none to keep; give the value.");
    Error::unprocessable("schedule-invalid", public)
}

/// Reads a cron line.
///
/// # Errors
/// `cron-invalid`, with the field and the reason.
pub(super) fn parse_line(text: &str) -> Result<CronLine> {
    if text.len() > LONGEST_LINE {
        let public = format!("The cron line is longer than {LONGEST_LINE} characters.");
        return Err(Error::unprocessable("cron-invalid", public));
    }
    CronLine::parse(text).map_err(|error| {
        let public = format!("The cron line {text:?} can't be used: {error}.");
        Error::unprocessable("cron-invalid", public).with_diagnostics(vec![Diagnostic::error(error.to_string())])
    })
}

pub(super) fn read_zone(text: &str) -> Result<chrono_tz::Tz> {
    parse_zone(text)
        .map_err(|error| Error::unprocessable("time-zone-invalid", format!("The time zone can't be used: {error}")))
}

fn read_timeout(text: &str) -> Result<u64> {
    parse_duration(text)
        .map(|timeout| timeout.as_secs())
        .map_err(|error| Error::unprocessable("timeout-invalid", format!("The timeout {error}.")))
}
