//! Claims builds and drives them, a bounded number at once. Queued builds and those that lost their owner are two claims
//! with two limits: in one ordered query, expired leases would starve the queue.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument as _;

use super::EngineSettings;
use super::executor::{Departure, Surroundings, Workload, drive};
use super::lease::LEASE_TTL;
use crate::domain::clock::Clock;
use crate::domain::error::{Error, ErrorKind, Result};
use crate::domain::ids::{Attempt, BuildId};
use crate::domain::journal::Journal as _;
use crate::store::Store;
use crate::store::leases::ClaimedBuild;

/// How often the queue is looked at when nobody says that there is something.
const QUEUE_INTERVAL: Duration = Duration::from_millis(500);
/// How often this server looks for builds without an owner.
const ORPHAN_INTERVAL: Duration = Duration::from_secs(1);
/// A claim without an answer by then is given up, so that it is not carried out when an outage is over that has cost other
/// servers their leases. Shorter than a lease's life by more than the pause between heartbeats.
const CLAIM_LIMIT: Duration = Duration::from_secs(20);
/// After the database did not answer.
const OUTAGE_PAUSE: Duration = Duration::from_secs(2);

#[derive(Clone)]
pub struct Pool {
    store: Store,
    surroundings: Arc<Surroundings>,
    clock: Arc<dyn Clock>,
    server_name: Arc<str>,
    build_limits: Arc<BTreeMap<String, u32>>,
    queued: Arc<Semaphore>,
    orphaned: Arc<Semaphore>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Pool {
    #[must_use]
    pub fn new(
        store: Store,
        surroundings: Arc<Surroundings>,
        clock: Arc<dyn Clock>,
        settings: &EngineSettings,
        tasks: TaskTracker,
        stop: CancellationToken,
    ) -> Self {
        Self {
            store,
            surroundings,
            clock,
            server_name: settings.server_name.as_str().into(),
            build_limits: Arc::new(settings.build_limits.clone()),
            queued: Arc::new(Semaphore::new(settings.max_builds)),
            orphaned: Arc::new(Semaphore::new(settings.max_builds)),
            tasks,
            stop,
        }
    }

    /// Takes builds from the queue until the server stops.
    pub async fn claim_queued(self, wake: Arc<Notify>) {
        while let Some(permit) = self.permit(&self.queued).await {
            let claimed_at = self.clock.since_boot();
            let claim = self.store.claim_queued(&self.server_name, &self.build_limits);
            let pause = match within_limit(claim).await {
                Ok(Some(build)) => {
                    self.note_wait(&build);
                    self.take(build, claimed_at, permit);
                    continue;
                }
                Ok(None) => QUEUE_INTERVAL,
                Err(error) => {
                    tracing::warn!(error = error.for_log(), "queued builds can't be claimed");
                    OUTAGE_PAUSE
                }
            };
            drop(permit);
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = wake.notified() => {}
                () = self.stop.cancelled() => return,
            }
        }
    }

    /// Takes over builds that were handed back, and builds whose owner is gone. The latter only after this server's own
    /// link to the database was good for one lease's life, so that an outage of the database does not restart every build.
    pub async fn claim_orphaned(self) {
        let mut link_good_since = self.clock.since_boot();
        let mut last_look = link_good_since;
        while let Some(permit) = self.permit(&self.orphaned).await {
            let claimed_at = self.clock.since_boot();
            // All places were taken, or this server was frozen: nobody has looked at the link the while, and other servers,
            // frozen with it, may be about to extend their leases.
            if claimed_at.saturating_sub(last_look) > CLAIM_LIMIT {
                link_good_since = claimed_at;
            }
            let claim = if claimed_at.saturating_sub(link_good_since) >= LEASE_TTL {
                within_limit(self.store.claim_expired(&self.server_name)).await
            } else {
                within_limit(self.store.claim_released(&self.server_name)).await
            };
            last_look = self.clock.since_boot();
            let pause = match claim {
                Ok(Some(build)) => {
                    tracing::info!(build_id = %build.facts.build, attempt = build.facts.attempt.0, "took over a build");
                    self.take(build, claimed_at, permit);
                    continue;
                }
                Ok(None) => ORPHAN_INTERVAL,
                Err(error) => {
                    if error.kind == ErrorKind::Unavailable {
                        link_good_since = self.clock.since_boot();
                    }
                    tracing::warn!(error = error.for_log(), "builds without an owner can't be claimed");
                    OUTAGE_PAUSE
                }
            };
            drop(permit);
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.stop.cancelled() => return,
            }
        }
    }

    /// A place for one more build; `None` when the server stops.
    async fn permit(&self, places: &Arc<Semaphore>) -> Option<OwnedSemaphorePermit> {
        tokio::select! {
            biased;
            () = self.stop.cancelled() => None,
            permit = places.clone().acquire_owned() => permit.ok(),
        }
    }

    /// How long a first attempt waited for its turn.
    fn note_wait(&self, build: &ClaimedBuild) {
        if build.facts.attempt == Attempt::FIRST {
            let waited = (self.clock.now() - build.facts.accepted_at).to_std().unwrap_or_default();
            metrics::histogram!("ingot_build_wait_seconds", "account" => build.facts.account.clone())
                .record(waited.as_secs_f64());
        }
    }

    /// How long an attempt took from its claim to its end, by what came of it.
    async fn note_end(&self, build: BuildId) {
        match self.store.build(build).await {
            Ok(build) => {
                if let (Some(began), Some(ended)) = (build.started_at, build.finished_at) {
                    let took = (ended - began).to_std().unwrap_or_default();
                    let labels = [("account", build.account), ("outcome", build.state.to_string())];
                    metrics::histogram!("ingot_build_duration_seconds", &labels).record(took.as_secs_f64());
                }
            }
            Err(error) => {
                tracing::debug!(build_id = %build, error = error.for_log(), "a build's duration is not known");
            }
        }
    }

    fn take(&self, build: ClaimedBuild, claimed_at: Duration, permit: OwnedSemaphorePermit) {
        let pool = self.clone();
        let facts = &build.facts;
        let span = tracing::info_span!("build", run_id = %facts.run, build_id = %facts.build, account = facts.account);
        let work = async move {
            let build_id = build.facts.build;
            match pool.drive(build, claimed_at).await {
                Ok(departure) => {
                    tracing::info!(%build_id, ?departure, "done with a build");
                    if departure == Departure::Done {
                        pool.note_end(build_id).await;
                    }
                }
                // The lease runs out by itself, and the build is claimed again.
                Err(error) => tracing::error!(%build_id, error = error.for_log(), "a claimed build could not be begun"),
            }
            drop(permit);
        };
        self.tasks.spawn(work.instrument(span));
    }

    async fn drive(&self, build: ClaimedBuild, claimed_at: Duration) -> Result<Departure> {
        let bundle = match self.store.bundle(build.bundle_version).await {
            Ok(bundle) => bundle,
            Err(error) => {
                // Otherwise the build would wait for its lease to run out.
                let _ = build.journal.release().await;
                return Err(error);
            }
        };
        let work = Workload {
            journal: Arc::new(build.journal),
            facts: build.facts,
            plan: build.plan,
            config: build.config,
            sensitive: build.sensitive,
            bundle,
            takeover: build.takeover,
            claimed_at,
        };
        Ok(drive(&self.surroundings, work).await)
    }
}

/// A claim that takes longer than [`CLAIM_LIMIT`] has failed.
async fn within_limit<T>(claim: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::time::timeout(CLAIM_LIMIT, claim)
        .await
        .unwrap_or_else(|_| Err(Error::database_unavailable(format!("no answer within {} s", CLAIM_LIMIT.as_secs()))))
}
