//! The owner's side of a build's lease. The database decides who owns a build; this decides, by the boot-time clock,
//! until when this server may act on that without asking again.
//!
//! The lease lives 60 s from its last heartbeat (database time). The owner's own deadline is 30 s from the moment the
//! last good heartbeat was *sent*, and a call that changes the cloud is not sent with less than 15 s to it: whatever an
//! old owner sent has landed before a new owner can exist.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::cloud::MUTATION_LIMIT;
use crate::domain::clock::Clock;
use crate::domain::journal::Journal;

/// How often the lease is extended.
pub const HEARTBEAT: Duration = Duration::from_secs(10);
/// From sending a heartbeat to the owner's own deadline.
pub const OWNER_DEADLINE: Duration = Duration::from_secs(30);
/// How long a lease lives in the database.
pub const LEASE_TTL: Duration = Duration::from_secs(60);
/// A heartbeat without an answer by then is tried again.
const HEARTBEAT_LIMIT: Duration = Duration::from_secs(5);

/// Another owner has the build.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the lease on this build is lost")]
pub struct LeaseLost;

/// Shared by everything that works on one build.
pub struct Lease {
    clock: Arc<dyn Clock>,
    /// Milliseconds on the boot-time clock.
    deadline: AtomicU64,
    renewed: Notify,
    lost: CancellationToken,
}

impl Lease {
    /// A lease that was claimed by a request sent at `claimed_at` (boot time).
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>, claimed_at: Duration) -> Self {
        let deadline = AtomicU64::new(millis(claimed_at + OWNER_DEADLINE));
        Self { clock, deadline, renewed: Notify::new(), lost: CancellationToken::new() }
    }

    /// Fires when another owner was seen.
    #[must_use]
    pub fn lost(&self) -> &CancellationToken {
        &self.lost
    }

    fn remaining(&self) -> Duration {
        Duration::from_millis(self.deadline.load(Ordering::Acquire).saturating_sub(millis(self.clock.since_boot())))
    }

    /// Waits until a call that changes the cloud may be sent.
    ///
    /// # Errors
    /// When the lease is lost.
    pub async fn permit(&self) -> Result<(), LeaseLost> {
        loop {
            let renewed = self.renewed.notified();
            if self.lost.is_cancelled() {
                return Err(LeaseLost);
            }
            if self.remaining() >= MUTATION_LIMIT {
                return Ok(());
            }
            tokio::select! {
                () = renewed => {}
                () = self.lost.cancelled() => return Err(LeaseLost),
                // The clock may move without a renewal being announced only in tests; look again anyway.
                () = tokio::time::sleep(Duration::from_secs(1)) => {}
            }
        }
    }

    /// Notes that a heartbeat sent at `sent_at` (boot time) found our epoch.
    pub fn renew(&self, sent_at: Duration) {
        self.deadline.fetch_max(millis(sent_at + OWNER_DEADLINE), Ordering::AcqRel);
        self.renewed.notify_waiters();
    }

    /// Notes that another owner was seen.
    pub fn lose(&self) {
        self.lost.cancel();
        self.renewed.notify_waiters();
    }

    /// Extends the lease until it is lost or `stop` fires.
    pub async fn keep(&self, journal: &dyn Journal, stop: &CancellationToken) {
        let mut pause = HEARTBEAT;
        loop {
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = stop.cancelled() => return,
                () = self.lost.cancelled() => return,
            }
            let sent_at = self.clock.since_boot();
            match tokio::time::timeout(HEARTBEAT_LIMIT, journal.heartbeat()).await {
                Ok(Ok(true)) => {
                    self.renew(sent_at);
                    pause = HEARTBEAT;
                }
                Ok(Ok(false)) => {
                    // By another server, or by this one: a heartbeat may be on its way while the build's end is written.
                    tracing::debug!(build_id = %journal.build_id(), epoch = journal.epoch().0, "the lease is taken or given back");
                    self.lose();
                    return;
                }
                Ok(Err(error)) => {
                    tracing::warn!(build_id = %journal.build_id(), %error, "heartbeat failed; trying again");
                    pause = Duration::from_secs(1);
                }
                Err(_) => {
                    tracing::warn!(build_id = %journal.build_id(), "heartbeat got no answer; trying again");
                    pause = Duration::from_secs(1);
                }
            }
        }
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::{DateTime, Utc};

    struct ManualClock(AtomicU64);

    impl Clock for ManualClock {
        fn now(&self) -> DateTime<Utc> {
            DateTime::UNIX_EPOCH
        }
        fn since_boot(&self) -> Duration {
            Duration::from_millis(self.0.load(Ordering::SeqCst))
        }
    }

    #[tokio::test(start_paused = true)]
    async fn no_call_is_sent_near_the_deadline_and_a_heartbeat_lets_it_go_on() {
        let clock = Arc::new(ManualClock(AtomicU64::new(0)));
        let lease = Arc::new(Lease::new(clock.clone(), Duration::ZERO));
        lease.permit().await.unwrap();

        clock.0.store(15_001, Ordering::SeqCst);
        let waiting = tokio::spawn({
            let lease = lease.clone();
            async move { lease.permit().await }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished(), "less than the time limit of a call is left");

        lease.renew(Duration::from_secs(15));
        waiting.await.unwrap().unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_lost_lease_permits_nothing() {
        let clock = Arc::new(ManualClock(AtomicU64::new(60_000)));
        let lease = Arc::new(Lease::new(clock, Duration::ZERO));
        let waiting = tokio::spawn({
            let lease = lease.clone();
            async move { lease.permit().await }
        });
        lease.lose();
        assert_eq!(waiting.await.unwrap(), Err(LeaseLost));
    }

    #[test]
    fn a_late_answer_never_shortens_the_deadline() {
        let clock = Arc::new(ManualClock(AtomicU64::new(0)));
        let lease = Lease::new(clock, Duration::from_secs(10));
        lease.renew(Duration::from_secs(2));
        assert_eq!(lease.remaining(), Duration::from_secs(40));
    }
}
