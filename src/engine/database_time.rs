//! The database's calendar time as an owner of a build knows it: what the database last said, and the boot-time clock
//! since. Journals, logs and limits go by it, so that a step of one server's calendar clock changes nothing.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use crate::domain::clock::Clock;

/// See the module's documentation.
pub struct DatabaseTime {
    boot: Arc<dyn Clock>,
    /// The database's time, and the boot-time clock when it was asked.
    anchor: Mutex<(DateTime<Utc>, Duration)>,
}

impl DatabaseTime {
    /// `now`: the database's answer to a question that was asked at `asked_at` (boot time).
    #[must_use]
    pub fn new(boot: Arc<dyn Clock>, now: DateTime<Utc>, asked_at: Duration) -> Self {
        Self { boot, anchor: Mutex::new((now, asked_at)) }
    }

    /// Takes a newer answer. Time never goes back here: an answer that would lead back is left out.
    pub fn learn(&self, now: DateTime<Utc>, asked_at: Duration) {
        let known = self.at(asked_at);
        if now > known {
            *self.anchor.lock().unwrap_or_else(PoisonError::into_inner) = (now, asked_at);
        }
    }

    fn at(&self, boot: Duration) -> DateTime<Utc> {
        let (now, asked_at) = *self.anchor.lock().unwrap_or_else(PoisonError::into_inner);
        TimeDelta::from_std(boot.saturating_sub(asked_at)).map_or(now, |since| now + since)
    }
}

impl Clock for DatabaseTime {
    fn now(&self) -> DateTime<Utc> {
        self.at(self.boot.since_boot())
    }

    fn since_boot(&self) -> Duration {
        self.boot.since_boot()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

    #[derive(Default)]
    struct SteppingClock {
        calendar: AtomicI64,
        boot: AtomicU64,
    }

    impl Clock for SteppingClock {
        fn now(&self) -> DateTime<Utc> {
            DateTime::from_timestamp(self.calendar.load(Ordering::SeqCst), 0).unwrap()
        }
        fn since_boot(&self) -> Duration {
            Duration::from_secs(self.boot.load(Ordering::SeqCst))
        }
    }

    #[test]
    fn a_step_of_the_calendar_changes_nothing() {
        let clock = Arc::new(SteppingClock::default());
        let start = DateTime::from_timestamp(1_000_000, 0).unwrap();
        let time = DatabaseTime::new(clock.clone(), start, Duration::ZERO);
        clock.boot.store(10, Ordering::SeqCst);
        clock.calendar.store(5_000_000, Ordering::SeqCst);
        assert_eq!(time.now(), start + TimeDelta::seconds(10));
        time.learn(start + TimeDelta::seconds(3), Duration::from_secs(10));
        assert_eq!(time.now(), start + TimeDelta::seconds(10), "it never goes back");
        time.learn(start + TimeDelta::seconds(12), Duration::from_secs(10));
        clock.boot.store(11, Ordering::SeqCst);
        assert_eq!(time.now(), start + TimeDelta::seconds(13));
    }
}
