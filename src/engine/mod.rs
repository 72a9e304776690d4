//! What carries builds out. `executor` drives one build by `domain::recovery::decide`; `worker` claims builds for it;
//! `lease` says until when this server may act; `watcher` waits for the cloud on behalf of all builds, and `shared_looks`
//! makes for all of them what each asks once; `janitor` removes what should not be there any more; `accept` is how a run gets
//! in (`run_request` what is asked for, `prepared` what it comes to, `channels` to which stages its image goes), `scheduler` starts those of schedules; `stage_tagger` writes stages on AMIs. The engine knows steps only as
//! [`step::AnyStep`]; `steps/` implements them. Start reading at `executor`.

pub mod accept;
pub mod build_journal;
pub mod channels;
pub mod content;
pub mod data_sources;
pub mod database_time;
mod evaluation;
pub mod executor;
pub mod failures;
pub mod guarded_cloud;
pub mod janitor;
pub mod lease;
pub mod lint;
pub mod pipeline_metrics;
mod prepared;
mod run_request;
pub mod scheduled_request;
pub mod scheduler;
pub mod session;
pub mod shared_looks;
pub mod source_ami;
pub mod stage_tagger;
pub mod step;
pub mod validate;
pub mod watcher;
pub mod worker;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::cloud::Accounts;
use crate::domain::clock::Clock;
use crate::domain::ids::DeploymentId;
use crate::domain::janitor::SweepSettings;
use crate::domain::stage::StageOrder;
use crate::provisioner;
use crate::store::Store;
use accept::AcceptSettings;
use executor::Surroundings;
use janitor::{Further, Janitor};
use scheduler::Scheduler;
use session::Dialer;
use shared_looks::SharedLooks;
use stage_tagger::StageTagger;
use step::{Network, StepRegistry};
use watcher::Watcher;

/// What the engine is made of.
pub struct EngineParts {
    pub store: Store,
    pub accounts: Arc<dyn Accounts>,
    pub registry: Arc<dyn StepRegistry>,
    pub dialer: Arc<dyn Dialer>,
    pub clock: Arc<dyn Clock>,
    pub accept: Arc<AcceptSettings>,
    pub stages: Arc<StageOrder>,
    pub settings: EngineSettings,
    /// Counts the engine's tasks; when all are done after a soft stop, the server may go.
    pub tasks: TaskTracker,
    /// Claim nothing more, hand waiting builds back, let running scripts finish.
    pub soft_stop: CancellationToken,
}

#[derive(Debug, Clone)]
pub struct EngineSettings {
    pub deployment: DeploymentId,
    /// Names this server as the owner of leases, for people.
    pub server_name: String,
    /// Builds at once on this server.
    pub max_builds: usize,
    /// Builds at once of an account, on all servers together.
    pub build_limits: BTreeMap<String, u32>,
    /// `[network] source_cidrs`.
    pub source_cidrs: Vec<String>,
    /// `[policy] shell_local`.
    pub shell_local: bool,
    /// `[janitor]`.
    pub janitor: SweepSettings,
}

/// The running engine as the API sees it.
#[derive(Clone)]
pub struct EngineHandle {
    wake: Arc<Notify>,
}

impl EngineHandle {
    /// Of a server that has no engine: nobody is woken.
    #[must_use]
    pub fn none() -> Self {
        Self { wake: Arc::default() }
    }

    /// Says that a run was accepted or retried, so that this server looks at once. Other servers look twice a second.
    pub fn wake(&self) {
        self.wake.notify_one();
    }
}

/// Starts workers, scheduler, tagger and janitor.
#[must_use]
pub fn start(parts: EngineParts) -> EngineHandle {
    let EngineParts { store, accounts, registry, dialer, clock, accept, stages, settings, tasks, soft_stop } = parts;
    let wake = Arc::new(Notify::new());
    let engine = EngineHandle { wake: wake.clone() };
    // Builds that are being handed back still wait for nothing, so the watcher stops with the claims.
    let watcher = Watcher::new(accounts.clone(), soft_stop.clone());
    let surroundings = Arc::new(Surroundings {
        accounts: accounts.clone(),
        registry,
        dialer,
        watcher,
        looks: SharedLooks::new(accounts.clone()),
        clock: clock.clone(),
        network: Arc::new(Network { source_cidrs: settings.source_cidrs.clone() }),
        shell_local: settings.shell_local,
        drain: soft_stop.clone(),
    });
    if settings.shell_local {
        tasks.spawn_blocking(provisioner::shell_local::remove_leftovers);
    }
    let pool =
        worker::Pool::new(store.clone(), surroundings, clock.clone(), &settings, tasks.clone(), soft_stop.clone());
    tasks.spawn(pool.clone().claim_queued(wake.clone()));
    tasks.spawn(pool.claim_orphaned());
    let scheduler = Scheduler { store: store.clone(), settings: accept, clock: clock.clone(), engine: engine.clone() };
    tasks.spawn(scheduler.run(soft_stop.clone()));
    let tagger = StageTagger { store: store.clone(), accounts: accounts.clone(), stages, clock: clock.clone() };
    tasks.spawn(tagger.run(soft_stop.clone()));
    let janitor = Janitor {
        store,
        accounts,
        clock,
        deployment: settings.deployment,
        server: settings.server_name,
        settings: settings.janitor,
        further: Further::default(),
    };
    tasks.spawn(janitor.run(soft_stop));
    engine
}
