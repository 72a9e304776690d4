//! How long changes of state take.

use std::time::Duration;

use tokio::time::Instant;

/// When a change that has begun is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Latency {
    /// So many lists still show the old state.
    Observations(u32),
    /// By tokio's clock, which tests may pause.
    After(Duration),
}

/// How long the world's changes take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FakeTimings {
    /// Pending to running.
    pub boot: Latency,
    /// Stopping to stopped, and shutting down to terminated.
    pub stop: Latency,
    /// Pending to available, of `CreateImage`.
    pub image: Latency,
    /// Pending to available, of `CopyImage`.
    pub copy: Latency,
}

impl Default for FakeTimings {
    /// Everything is done by the next look.
    fn default() -> Self {
        let at_once = Latency::Observations(0);
        Self { boot: at_once, stop: at_once, image: at_once, copy: at_once }
    }
}

/// A change under way to a state.
#[derive(Debug, Clone)]
pub(super) struct Change<S> {
    pub to: S,
    pub reason: Option<String>,
    latency: Latency,
    since: Instant,
    seen: u32,
}

impl<S> Change<S> {
    pub(super) fn begin(to: S, latency: Latency) -> Self {
        Self { to, reason: None, latency, since: Instant::now(), seen: 0 }
    }

    /// Why it happens, as the state's reason says it.
    pub(super) fn because(self, reason: impl Into<String>) -> Self {
        Self { reason: Some(reason.into()), ..self }
    }

    pub(super) fn due(&self, now: Instant) -> bool {
        match self.latency {
            Latency::Observations(count) => self.seen >= count,
            Latency::After(duration) => now.duration_since(self.since) >= duration,
        }
    }

    /// A list showed the old state.
    pub(super) fn seen(&mut self) {
        self.seen += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_due_by_the_clock_or_by_looks() {
        let boot = Duration::from_secs(6);
        let timed = Change::begin((), Latency::After(boot));
        assert!(!timed.due(timed.since + boot - Duration::from_millis(1)));
        assert!(timed.due(timed.since + boot));
        let mut counted = Change::begin((), Latency::Observations(1));
        let later = counted.since + Duration::from_hours(1);
        assert!(!counted.due(later));
        counted.seen();
        assert!(counted.due(later));
    }
}
