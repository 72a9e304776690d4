//! What to do about slots that have come: a pure function of the schedule and the time.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use super::{Cadence, CatchUp};

/// Slots this old, beyond their jitter, came while no server was there; younger ones are just being served.
pub const LATE_AFTER: TimeDelta = TimeDelta::minutes(1);
/// With `catch_up: all`, so many missed slots get their runs, the newest ones.
pub const MOST_CAUGHT_UP: usize = 100;
/// Slots that are counted one by one after an outage. Beyond, only the newest matter.
const MOST_COUNTED: usize = 10_000;
/// Where to look for the newest slots of a line that has more than [`MOST_COUNTED`] of them.
const RECENT: TimeDelta = TimeDelta::days(8);

/// The next thing to do for a schedule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Due {
    /// Nothing has come yet.
    Nothing,
    /// These slots are written off, in one go.
    Missed { oldest: DateTime<Utc>, newest: DateTime<Utc>, count: usize, next: Option<DateTime<Utc>> },
    /// This slot's run is to be started; `next` is the slot after it.
    Fire { slot: DateTime<Utc>, next: Option<DateTime<Utc>> },
}

/// What to do at `now` for a schedule whose next slot is `slot`. Asked again after each answer was carried out, until it
/// says [`Due::Nothing`].
#[must_use]
pub fn due(cadence: &Cadence, slot: DateTime<Utc>, jitter: Duration, catch_up: CatchUp, now: DateTime<Utc>) -> Due {
    if slot > now {
        return Due::Nothing;
    }
    let jitter = TimeDelta::from_std(jitter).unwrap_or_default();
    let (come, next) = slots_until(cadence, slot, now);
    let missed_before = now - LATE_AFTER - jitter;
    let missed = come.iter().filter(|slot| **slot < missed_before).count();
    // Of several at once, those before the last are made up for only when all are.
    let before_the_last = come.len() - 1;
    let written_off = match catch_up {
        CatchUp::None => missed.max(before_the_last),
        CatchUp::Last => before_the_last,
        CatchUp::All => missed.saturating_sub(MOST_CAUGHT_UP),
    };
    let following = |index: usize| come.get(index).copied().or(next);
    if written_off == 0 {
        return Due::Fire { slot, next: following(1) };
    }
    Due::Missed { oldest: slot, newest: come[written_off - 1], count: written_off, next: following(written_off) }
}

/// The slots from `slot` until `now`, and the one after them.
fn slots_until(
    cadence: &Cadence,
    slot: DateTime<Utc>,
    now: DateTime<Utc>,
) -> (Vec<DateTime<Utc>>, Option<DateTime<Utc>>) {
    let mut come = vec![slot];
    for time in cadence.after(slot) {
        if time > now {
            return (come, Some(time));
        }
        come.push(time);
        if come.len() == MOST_COUNTED {
            // So many slots came within the outage that a few days hold some, too.
            let recent = cadence.after((now - RECENT).max(time));
            let (recent, later): (Vec<_>, Vec<_>) =
                recent.take(MOST_COUNTED * 2).take_while_inclusive(|time| *time <= now).partition(|time| *time <= now);
            come.extend(recent);
            return (come, later.first().copied());
        }
    }
    (come, None)
}

trait TakeWhileInclusive: Iterator + Sized {
    /// As `take_while`, with the first that does not match.
    fn take_while_inclusive(self, mut keep: impl FnMut(&Self::Item) -> bool) -> impl Iterator<Item = Self::Item> {
        let mut over = false;
        self.take_while(move |item| {
            let take = !over;
            over = !keep(item);
            take
        })
    }
}

impl<I: Iterator> TakeWhileInclusive for I {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::schedule::cron::CronLine;

    fn hourly() -> Cadence {
        Cadence { line: CronLine::parse("0 * * * *").unwrap(), zone: chrono_tz::UTC }
    }

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    fn ask(catch_up: CatchUp, slot: &str, now: &str) -> Due {
        due(&hourly(), at(slot), Duration::ZERO, catch_up, at(now))
    }

    #[test]
    fn a_slot_in_time_fires_whatever_is_to_be_caught_up() {
        for catch_up in CatchUp::ALL {
            let fire = Due::Fire { slot: at("2026-01-02T10:00:00Z"), next: Some(at("2026-01-02T11:00:00Z")) };
            assert_eq!(ask(*catch_up, "2026-01-02T10:00:00Z", "2026-01-02T10:00:01Z"), fire);
            assert_eq!(ask(*catch_up, "2026-01-02T10:00:00Z", "2026-01-02T09:59:59Z"), Due::Nothing);
        }
    }

    #[test]
    fn after_an_outage_none_writes_all_late_slots_off() {
        let missed = Due::Missed {
            oldest: at("2026-01-02T10:00:00Z"),
            newest: at("2026-01-02T12:00:00Z"),
            count: 3,
            next: Some(at("2026-01-02T13:00:00Z")),
        };
        assert_eq!(ask(CatchUp::None, "2026-01-02T10:00:00Z", "2026-01-02T12:30:00Z"), missed);
        // The one of half a minute ago is in time.
        let Due::Missed { count, next, .. } = ask(CatchUp::None, "2026-01-02T10:00:00Z", "2026-01-02T12:00:30Z") else {
            panic!()
        };
        assert_eq!((count, next), (2, Some(at("2026-01-02T12:00:00Z"))));
    }

    #[test]
    fn last_starts_one_run_and_all_starts_each() {
        let Due::Missed { count, next, .. } = ask(CatchUp::Last, "2026-01-02T10:00:00Z", "2026-01-02T12:30:00Z") else {
            panic!()
        };
        assert_eq!((count, next), (2, Some(at("2026-01-02T12:00:00Z"))));
        let fire = Due::Fire { slot: at("2026-01-02T12:00:00Z"), next: Some(at("2026-01-02T13:00:00Z")) };
        assert_eq!(ask(CatchUp::Last, "2026-01-02T12:00:00Z", "2026-01-02T12:30:00Z"), fire);
        let fire = Due::Fire { slot: at("2026-01-02T10:00:00Z"), next: Some(at("2026-01-02T11:00:00Z")) };
        assert_eq!(ask(CatchUp::All, "2026-01-02T10:00:00Z", "2026-01-02T12:30:00Z"), fire);
    }

    #[test]
    fn a_long_outage_does_not_start_thousands() {
        let Due::Missed { count, next, .. } = ask(CatchUp::All, "2026-01-01T00:00:00Z", "2026-01-11T00:30:00Z") else {
            panic!()
        };
        assert_eq!((count, next), (241 - MOST_CAUGHT_UP, Some(at("2026-01-06T21:00:00Z"))));
    }

    #[test]
    fn a_year_of_minutes_is_written_off_at_once() {
        let minutely = Cadence { line: CronLine::parse("* * * * *").unwrap(), zone: chrono_tz::Europe::Berlin };
        let now = at("2027-01-02T00:00:30Z");
        let answer = due(&minutely, at("2026-01-01T00:00:00Z"), Duration::ZERO, CatchUp::Last, now);
        let Due::Missed { newest, next, .. } = answer else { panic!() };
        assert_eq!((newest, next), (at("2027-01-01T23:59:00Z"), Some(at("2027-01-02T00:00:00Z"))));
    }

    #[test]
    fn jitter_makes_nobody_late() {
        let jitter = Duration::from_mins(30);
        let answer = due(&hourly(), at("2026-01-02T10:00:00Z"), jitter, CatchUp::None, at("2026-01-02T10:29:00Z"));
        assert!(matches!(answer, Due::Fire { .. }));
    }
}
