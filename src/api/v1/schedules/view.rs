//! Schedules as the API shows them.

use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::domain::schedule::Cadence;
use crate::store::schedule_firings::FiringRow;
use crate::store::schedules::ScheduleRow;

/// How many times are shown ahead.
const AHEAD: usize = 5;

/// What starts runs at given times.
#[derive(Debug, Serialize, ToSchema)]
pub struct Schedule {
    pub id: Uuid,
    pub name: String,
    /// The template's name.
    pub template: String,
    /// `newest`: at each time the newest version then; or `pinned`.
    pub version: &'static str,
    #[schema(required)]
    pub pinned_version: Option<i32>,
    pub cron: String,
    pub time_zone: String,
    pub enabled: bool,
    /// `skip`, `queue` or `cancel_running`.
    pub overlap: &'static str,
    /// `none`, `last` or `all`.
    pub catch_up: &'static str,
    pub jitter_seconds: u64,
    #[schema(required)]
    pub account: Option<Value>,
    #[schema(required)]
    pub family: Option<Value>,
    /// `<sensitive>` stands for values that are hidden.
    #[schema(value_type = Object)]
    pub variables: Value,
    /// Names, with hidden values.
    #[schema(value_type = Object)]
    pub env: Value,
    #[schema(value_type = Vec<String>)]
    pub var_files: Value,
    #[schema(value_type = Vec<String>)]
    pub only: Value,
    #[schema(value_type = Vec<String>)]
    pub except: Value,
    #[schema(required)]
    pub git_sha: Option<Value>,
    #[schema(value_type = Object)]
    pub labels: Value,
    #[schema(required)]
    pub timeout_seconds: Option<Value>,
    #[schema(value_type = bool)]
    pub clean_image: Value,
    /// The next five times, without jitter; none while it is paused.
    pub next: Vec<ScheduleTime>,
    #[schema(required)]
    pub last_firing: Option<Firing>,
    pub created_by: String,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

/// A time of a schedule.
#[derive(Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct ScheduleTime {
    pub utc: DateTime<Utc>,
    /// By the clock of the schedule's zone, with its offset.
    pub local: String,
}

/// What became of a time of a schedule.
#[derive(Debug, Serialize, ToSchema)]
pub struct Firing {
    /// The time; null: triggered by hand.
    #[schema(required)]
    pub slot: Option<DateTime<Utc>>,
    pub at: DateTime<Utc>,
    /// `started`, `waiting`, `skipped`, `missed` or `failed`.
    pub outcome: &'static str,
    #[schema(required)]
    pub reason: Option<String>,
    #[schema(required)]
    pub run: Option<FiringRun>,
    pub principal: String,
}

/// The run of a time.
#[derive(Debug, Serialize, ToSchema)]
pub struct FiringRun {
    pub id: Uuid,
    pub state: &'static str,
}

impl Schedule {
    #[must_use]
    pub fn of(row: ScheduleRow) -> Self {
        let shown = |key: &str| row.shown.get(key).cloned().unwrap_or_default();
        let given = |key: &str| row.shown.get(key).filter(|value| !value.is_null()).cloned();
        let timing = &row.timing;
        let next = row.next_slot.map_or_else(Vec::new, |slot| times(&timing.cadence, slot));
        Self {
            account: given("account"),
            family: given("family"),
            variables: shown("variables"),
            env: shown("env"),
            var_files: shown("var_files"),
            only: shown("only"),
            except: shown("except"),
            git_sha: given("git_sha"),
            labels: shown("labels"),
            timeout_seconds: given("timeout_seconds"),
            clean_image: shown("clean_image"),
            next,
            cron: timing.cadence.line.as_str().to_owned(),
            time_zone: timing.cadence.zone.name().to_owned(),
            overlap: timing.overlap.as_str(),
            catch_up: timing.catch_up.as_str(),
            jitter_seconds: timing.jitter.as_secs(),
            version: if row.pinned_version.is_some() { "pinned" } else { "newest" },
            pinned_version: row.pinned_version,
            id: row.id.0,
            name: row.name,
            template: row.template,
            enabled: row.enabled,
            last_firing: row.last_firing.map(Firing::of),
            created_by: row.created_by,
            created_at: row.created_at,
            updated_at: row.updated_at,
        }
    }
}

impl Firing {
    #[must_use]
    pub fn of(row: FiringRow) -> Self {
        Self {
            slot: row.slot,
            at: row.at,
            outcome: row.outcome.as_str(),
            reason: row.reason,
            run: row.run.map(|(id, state)| FiringRun { id: id.0, state: state.as_str() }),
            principal: row.principal,
        }
    }
}

/// The five times from `first` on.
#[must_use]
pub fn times(cadence: &Cadence, first: DateTime<Utc>) -> Vec<ScheduleTime> {
    let time = |utc: DateTime<Utc>| ScheduleTime {
        utc,
        local: utc.with_timezone(&cadence.zone).to_rfc3339_opts(SecondsFormat::Secs, false),
    };
    std::iter::once(first).chain(cadence.after(first)).take(AHEAD).map(time).collect()
}
