//! When a schedule starts runs. `cron` reads lines and computes times; `due` says what to do at a given instant about the
//! times that have come. A **slot** is one time of the cron line, an instant; each slot has exactly one outcome.

pub mod cron;
pub mod due;

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;
use sha2::{Digest as _, Sha256};

use self::cron::CronLine;
use super::ids::ScheduleId;
use super::state::text_enum;

text_enum! {
    /// What happens at a slot when a run of the slot before is still at work.
    Overlap {
        /// The slot is passed over.
        Skip = "skip",
        /// Its run starts when the others are over.
        Queue = "queue",
        /// The others are cancelled, and its run starts.
        CancelRunning = "cancel_running",
    }
}

text_enum! {
    /// What happens to slots that came while no server was there.
    CatchUp {
        None = "none",
        /// The last of them gets a run.
        Last = "last",
        /// Each of them gets a run, one after the other.
        All = "all",
    }
}

text_enum! {
    /// What became of a slot.
    FiringOutcome {
        /// It has its run.
        Started = "started",
        /// Its run starts when those before are over.
        Waiting = "waiting",
        /// Passed over, because a run was still at work.
        Skipped = "skipped",
        /// It came while no server was there.
        Missed = "missed",
        /// Its run could not be accepted; the reason says why.
        Failed = "failed",
    }
}

/// The longest jitter: half a day, so that a daily schedule keeps its order.
pub const LONGEST_JITTER: Duration = Duration::from_hours(12);

/// A cron line on the clock of a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cadence {
    pub line: CronLine,
    pub zone: Tz,
}

impl Cadence {
    /// The slots after an instant, in order.
    pub fn after(&self, instant: DateTime<Utc>) -> impl Iterator<Item = DateTime<Utc>> {
        self.line.after(instant, self.zone)
    }
}

/// Reads an IANA time zone.
///
/// # Errors
/// What is wrong with it, with a name that was perhaps meant.
pub fn parse_zone(text: &str) -> Result<Tz, String> {
    if let Ok(zone) = text.parse::<Tz>() {
        return Ok(zone);
    }
    let wanted = text.to_ascii_lowercase().replace(' ', "_");
    let folded = chrono_tz::TZ_VARIANTS.iter().find(|zone| zone.name().to_ascii_lowercase() == wanted);
    let city = chrono_tz::TZ_VARIANTS
        .iter()
        .find(|zone| zone.name().rsplit('/').next().is_some_and(|city| city.to_ascii_lowercase() == wanted));
    Err(match folded.or(city) {
        Some(zone) => format!("{text:?} is not a time zone; did you mean {:?}?", zone.name()),
        None => format!("{text:?} is not an IANA time zone, such as UTC or Europe/Berlin."),
    })
}

/// How much later than its slot a run starts: fixed for a slot, spread over the jitter, so that schedules of the same time
/// do not start all at once and every server comes to the same answer.
#[must_use]
pub fn jitter_offset(schedule: ScheduleId, slot: DateTime<Utc>, jitter: Duration) -> TimeDelta {
    let seconds = jitter.as_secs();
    if seconds == 0 {
        return TimeDelta::zero();
    }
    let mut hash = Sha256::new();
    hash.update(schedule.0.as_bytes());
    hash.update(slot.timestamp().to_be_bytes());
    let hash: [u8; 32] = hash.finalize().into();
    let mut first = [0; 8];
    first.copy_from_slice(&hash[..8]);
    let offset = u64::from_be_bytes(first) % seconds;
    TimeDelta::try_seconds(i64::try_from(offset).unwrap_or(0)).unwrap_or_default()
}

#[cfg(test)]
mod tests;
