//! How a server ends, and what it tells the time by.
//!
//! The first SIGTERM or SIGINT is the **soft stop**: no build is claimed any more, readiness says no, waiting builds are
//! handed back, and requests and running scripts get the grace. When it is over, or at the second signal, comes the
//! **hard stop**: the process ends. What it was doing is no more lost than at a `kill -9`: another server, or this one
//! after its start, carries on when the leases have run out.
//!
//! `ingot serve` ends with 0 after a soft stop, also when the grace was not enough; with 1 when it could not start or
//! lost its listener; with 3 when the database could not be reached at the start; with 130 after a second signal.
//! The other commands' codes are in [`crate::cli::exit`].

use std::future::Future;
use std::io;
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::domain::clock::Clock;

/// How long requests and running scripts may go on after the soft stop. Kubernetes kills after 30 s, too.
pub const GRACE: Duration = Duration::from_secs(30);

/// The machine's clocks.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the calendar clock")]
    fn now(&self) -> DateTime<Utc> {
        Utc::now()
    }

    fn since_boot(&self) -> Duration {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        // The kernel gives no negative time since boot.
        let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
        Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or_default())
    }
}

/// The two stops.
#[derive(Debug, Clone, Default)]
pub struct Lifecycle {
    /// Begin nothing new.
    pub soft_stop: CancellationToken,
    /// Let go of everything.
    pub hard_stop: CancellationToken,
}

/// How the drain ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drained {
    /// Everything was done.
    Complete,
    /// The grace was over first.
    GraceOver,
    /// A second signal came first.
    Interrupted,
}

impl Lifecycle {
    /// Both stops, connected to SIGTERM and SIGINT.
    ///
    /// # Errors
    /// When the signals can't be listened to.
    pub fn from_signals() -> io::Result<Self> {
        let lifecycle = Self::default();
        let signals = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        tokio::spawn(lifecycle.clone().listen(signals));
        Ok(lifecycle)
    }

    async fn listen(self, (mut terminate, mut interrupt): (Signal, Signal)) {
        for stop in [&self.soft_stop, &self.hard_stop] {
            let name = tokio::select! {
                _ = terminate.recv() => "SIGTERM",
                _ = interrupt.recv() => "SIGINT",
            };
            tracing::info!(signal = name, soft = !self.soft_stop.is_cancelled(), "asked to stop");
            stop.cancel();
        }
    }

    /// Waits for the soft stop, then for `work` to end: at most for the grace, and no longer than until the hard stop.
    pub async fn drain(&self, work: impl Future<Output = ()>, grace: Duration) -> Drained {
        tokio::pin!(work);
        self.soft_stop.cancelled().await;
        tokio::select! {
            biased;
            () = &mut work => Drained::Complete,
            () = self.hard_stop.cancelled() => Drained::Interrupted,
            () = tokio::time::sleep(grace) => {
                self.hard_stop.cancel();
                Drained::GraceOver
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_since_boot_goes_on() {
        let first = SystemClock.since_boot();
        assert!(first > Duration::ZERO && SystemClock.since_boot() >= first);
    }

    #[tokio::test]
    async fn work_that_ends_in_time_is_a_complete_drain() {
        let lifecycle = Lifecycle::default();
        lifecycle.soft_stop.cancel();
        let drained = lifecycle.drain(async {}, GRACE).await;
        assert_eq!((drained, lifecycle.hard_stop.is_cancelled()), (Drained::Complete, false));
    }

    #[tokio::test]
    async fn the_grace_ends_in_the_hard_stop() {
        let lifecycle = Lifecycle::default();
        lifecycle.soft_stop.cancel();
        let drained = lifecycle.drain(std::future::pending(), Duration::ZERO).await;
        assert_eq!((drained, lifecycle.hard_stop.is_cancelled()), (Drained::GraceOver, true));
    }

    #[tokio::test]
    async fn a_second_signal_cuts_the_grace_short() {
        let lifecycle = Lifecycle::default();
        lifecycle.soft_stop.cancel();
        lifecycle.hard_stop.cancel();
        assert_eq!(lifecycle.drain(std::future::pending(), GRACE).await, Drained::Interrupted);
    }
}
