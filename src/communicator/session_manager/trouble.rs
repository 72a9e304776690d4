//! When a session whose websocket breaks is to go on, and when that has taken too long.

use std::time::Duration;

use tokio::time::Instant;

/// How long a broken session may take to go on. SSH's own keep-alives give up sooner unless they are set wider.
const LIMIT: Duration = Duration::from_secs(120);
const FIRST_DELAY: Duration = Duration::from_millis(200);
const LONGEST_DELAY: Duration = Duration::from_secs(5);
/// A websocket that still lives after this time is a good one. One that opens, says something and breaks is not.
const STANDS: Duration = Duration::from_secs(10);

/// The attempts since the last good websocket.
#[derive(Debug, Default)]
pub(super) struct Trouble(Option<Attempts>);

#[derive(Debug, Clone, Copy)]
struct Attempts {
    since: Instant,
    /// Before the next one.
    delay: Duration,
}

impl Trouble {
    /// The pause before the next attempt, the first one comes at once; `None` when they have taken too long.
    pub(super) fn attempt(&mut self, now: Instant) -> Option<Duration> {
        let Attempts { since, delay } = self.0.unwrap_or(Attempts { since: now, delay: Duration::ZERO });
        if now + delay > since + LIMIT {
            return None;
        }
        self.0 = Some(Attempts { since, delay: (delay * 2).clamp(FIRST_DELAY, LONGEST_DELAY) });
        Some(delay)
    }

    /// The present websocket stands since `began`; the last sign of life came at `heard`.
    pub(super) fn lives(&mut self, began: Instant, heard: Instant) {
        if heard >= began + STANDS {
            self.0 = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The pauses when each websocket lives so long.
    fn pauses(life: Duration, most: usize) -> Vec<u128> {
        let (mut now, mut trouble) = (Instant::now(), Trouble::default());
        let mut pauses = Vec::new();
        while let Some(pause) = trouble.attempt(now).filter(|_| pauses.len() < most) {
            pauses.push(pause.as_millis());
            now += pause;
            trouble.lives(now, now);
            trouble.lives(now, now + life);
            now += life;
        }
        pauses
    }

    #[test]
    fn websockets_that_break_again_and_again_are_given_up() {
        for life in [Duration::ZERO, Duration::from_millis(50)] {
            let pauses = pauses(life, 100);
            assert_eq!(pauses[..8], [0, 200, 400, 800, 1600, 3200, 5000, 5000]);
            assert!((28..=30).contains(&pauses.len()), "for two minutes: {}", pauses.len());
        }
        assert!(pauses(STANDS.saturating_sub(Duration::from_millis(1)), 100).len() < 15);
    }

    #[test]
    fn one_that_stood_ends_the_trouble_even_when_nothing_but_pongs_came() {
        assert_eq!(pauses(Duration::from_secs(20), 50), [0; 50]);
        assert_eq!(pauses(Duration::from_mins(30), 50), [0; 50], "however long it was quiet");
    }
}
