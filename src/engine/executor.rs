//! Carries one build from where its journal stands to its end. All choices are [`decide`]'s; what is here is doing them:
//! running waves, writing the journal around each step, undoing, committing; `holding` waits for people.

mod holding;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use tokio_util::sync::CancellationToken;

use super::build_journal::BuildJournal;
use super::guarded_cloud::GuardedCloud;
use super::lease::Lease;
use super::session::{Dialer, Session};
use super::shared_looks::SharedLooks;
use super::step::{Made, Network, StepContext, StepError, StepRegistry};
use super::watcher::Watcher;
use crate::cloud::Accounts;
use crate::domain::bundle::Bundle;
use crate::domain::clock::Clock;
use crate::domain::config::BuildConfig;
use crate::domain::failure::Failure;
use crate::domain::ids::StepName;
use crate::domain::journal::{
    Control, Ending, Fold, Journal, JournalError, JournalEvent, LogStream, Progress, UnwindReason,
};
use crate::domain::plan::{Effect, PLAN_FORMAT, Plan, PlannedStep, StepKind};
use crate::domain::recovery::{Decision, decide};
use crate::domain::run::{BuildFacts, Takeover};
use crate::domain::state::{BuildState, CleanupState};
use crate::logs::{BuildLog, Redactor};

/// How often a build's owner looks whether somebody cancelled it.
const CONTROL_INTERVAL: Duration = Duration::from_secs(1);
/// Pauses after a failed undo: 1, 2, 4 … seconds.
const LONGEST_UNDO_PAUSE: Duration = Duration::from_secs(30);

/// What all builds of this server share.
pub struct Surroundings {
    pub accounts: Arc<dyn Accounts>,
    pub registry: Arc<dyn StepRegistry>,
    pub dialer: Arc<dyn Dialer>,
    pub watcher: Watcher,
    pub looks: SharedLooks,
    pub clock: Arc<dyn Clock>,
    pub network: Arc<Network>,
    /// Whether templates may run scripts on this server.
    pub shell_local: bool,
    /// Fires when the server is asked to stop.
    pub drain: CancellationToken,
}

/// One claimed build.
pub struct Workload {
    pub journal: Arc<dyn Journal>,
    pub facts: BuildFacts,
    pub plan: Plan,
    /// `None` when its secrets are deleted already.
    pub config: Option<BuildConfig>,
    /// Values to mask in the log.
    pub sensitive: Vec<String>,
    pub bundle: Bundle,
    pub takeover: Takeover,
    /// When the claim was sent, on the boot-time clock.
    pub claimed_at: Duration,
}

/// How this server's part in a build ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Departure {
    /// Nothing more is to be done, or the next attempt is queued.
    Done,
    /// Handed back for another server.
    Released,
    /// Another server has it.
    Lost,
}

/// Works on a build until it is over, handed back or lost.
pub async fn drive(surroundings: &Surroundings, work: Workload) -> Departure {
    let lease = Arc::new(Lease::new(surroundings.clock.clone(), work.claimed_at));
    let over = CancellationToken::new();
    let keeper = tokio::spawn({
        let (lease, journal, over) = (lease.clone(), work.journal.clone(), over.clone());
        async move { lease.keep(&*journal, &over).await }
    });
    let (build_id, epoch) = (work.facts.build, work.journal.epoch().0);
    let departure = match Owner::new(surroundings, work, lease).await {
        Ok(owner) => owner.work().await,
        Err(_) => Departure::Lost,
    };
    over.cancel();
    // It ends at once; a panic in it is already reported by the runtime.
    let _ = keeper.await;
    if departure == Departure::Lost {
        tracing::warn!(%build_id, epoch, "the lease on a build is lost; whoever has it now carries it on");
    }
    tracing::debug!(%build_id, ?departure, "left the build");
    departure
}

/// Ends the work on a build here.
enum Stop {
    Lost,
    /// The journal contradicts us.
    Broken(String),
}

impl From<JournalError> for Stop {
    fn from(error: JournalError) -> Self {
        match error {
            JournalError::LeaseLost => Self::Lost,
            JournalError::Unavailable(reason) | JournalError::Inconsistent(reason) => Self::Broken(reason),
        }
    }
}

struct Owner<'s> {
    surroundings: &'s Surroundings,
    raw_journal: Arc<dyn Journal>,
    journal: Arc<BuildJournal>,
    lease: Arc<Lease>,
    log: BuildLog,
    session: Arc<Session>,
    cloud: Option<Arc<GuardedCloud>>,
    facts: Arc<BuildFacts>,
    plan: Arc<Plan>,
    config: Option<Arc<BuildConfig>>,
    bundle: Arc<Bundle>,
    takeover: Takeover,
    cancel: CancellationToken,
}

impl<'s> Owner<'s> {
    async fn new(surroundings: &'s Surroundings, work: Workload, lease: Arc<Lease>) -> Result<Self, JournalError> {
        let redactor = Redactor::new(work.sensitive.iter().map(String::as_str));
        let journal =
            BuildJournal::open(work.journal.clone(), lease.clone(), surroundings.clock.clone(), work.facts.attempt)
                .await?;
        let log = BuildLog::start(work.journal.clone(), journal.time(), redactor);
        let builder = work.config.as_ref().map(|config| &config.builder);
        let role = builder.and_then(|builder| builder.ebs()).and_then(|ebs| ebs.assume_role.as_ref());
        let cloud = match role {
            // What is left to remove without a configuration, the account's own role removes.
            None => surroundings.accounts.account(&work.facts.account),
            Some(role) => surroundings.accounts.account_with_role(&work.facts.account, role),
        };
        Ok(Self {
            surroundings,
            raw_journal: work.journal,
            journal: Arc::new(journal),
            cloud: cloud.map(|cloud| Arc::new(GuardedCloud::new(cloud, lease.clone()))),
            lease,
            log,
            session: Arc::new(Session::new(surroundings.dialer.clone())),
            facts: Arc::new(work.facts),
            plan: Arc::new(work.plan),
            config: work.config.map(Arc::new),
            bundle: Arc::new(work.bundle),
            takeover: work.takeover,
            cancel: CancellationToken::new(),
        })
    }

    async fn work(self) -> Departure {
        let listening = CancellationToken::new();
        let listener = tokio::spawn(listen_for_cancel(self.journal.clone(), self.cancel.clone(), listening.clone()));
        let result = self.until_over().await;
        listening.cancel();
        let _ = listener.await;
        self.session.close().await;
        match result {
            Ok(departure) => departure,
            Err(Stop::Lost) => Departure::Lost,
            Err(Stop::Broken(reason)) => {
                tracing::error!(build_id = %self.facts.build, reason, "the build's journal can't be carried on");
                let stuck = Ending::Stuck { reason: format!("The build's journal can't be carried on: {reason}") };
                self.log.flush().await;
                match self.journal.end(&stuck, CleanupState::Pending).await {
                    Ok(()) => Departure::Done,
                    Err(_) => Departure::Lost,
                }
            }
        }
    }

    async fn until_over(&self) -> Result<Departure, Stop> {
        if self.plan.format > PLAN_FORMAT {
            return Err(Stop::Broken(format!(
                "its plan has form {}, this server knows {PLAN_FORMAT}",
                self.plan.format
            )));
        }
        self.tell_takeover().await;
        loop {
            if self.lease.lost().is_cancelled() {
                return Err(Stop::Lost);
            }
            if self.surroundings.drain.is_cancelled() {
                return self.release().await;
            }
            let control = self.journal.control().await?;
            let fold = self.journal.fold().await;
            match decide(&self.plan, &fold, &control) {
                Decision::Run(steps) => self.run_wave(&steps, &fold, &control).await?,
                Decision::Hold(reason, step) => self.hold(reason, step, &fold, &control).await?,
                Decision::Wait(held) => self.wait_for_answer(&held, control.now).await,
                Decision::Resume(answer) => self.resume(&answer).await?,
                Decision::Abandon(failure) => {
                    self.abandon(failure, &fold, &control).await?;
                    return Ok(Departure::Done);
                }
                Decision::Unwind(reason, failure) => {
                    if let Some(failure) = &failure {
                        self.tell_failure(failure).await;
                    }
                    self.journal.begin_unwinding(reason, failure.map(|failure| self.redacted(failure))).await?;
                }
                Decision::Undo(steps) => self.undo_wave(&steps, &fold).await?,
                Decision::Commit => self.commit(&fold).await?,
                Decision::NextAttempt => {
                    self.log.say(None, LogStream::Say, "Nothing of this attempt is left; the next one follows.").await;
                    self.end(&Ending::NextAttempt, CleanupState::None).await?;
                    return Ok(Departure::Done);
                }
                Decision::Finish(state, _) if state == BuildState::Succeeded || control.abandoned => {
                    if control.abandoned {
                        self.say("Everything that was left in place is removed.").await;
                    }
                    self.log.flush().await;
                    self.journal.finish_cleanup(CleanupState::Done, None).await?;
                    return Ok(Departure::Done);
                }
                Decision::Finish(state, failure) => {
                    self.say(&format!("Build {state}. Everything it had made is removed.")).await;
                    self.end(&Ending::Over { state, failure }, CleanupState::Done).await?;
                    return Ok(Departure::Done);
                }
                Decision::Stuck(reason) => {
                    let reason = self.log.redactor().redact(&reason);
                    self.say(&format!("This needs a person: {reason}")).await;
                    if fold.committed || control.abandoned {
                        self.log.flush().await;
                        self.journal.finish_cleanup(CleanupState::Stuck, Some(&reason)).await?;
                    } else {
                        self.end(&Ending::Stuck { reason }, CleanupState::Stuck).await?;
                    }
                    return Ok(Departure::Done);
                }
            }
        }
    }

    async fn release(&self) -> Result<Departure, Stop> {
        self.log.flush().await;
        match self.raw_journal.release().await {
            Ok(()) => Ok(Departure::Released),
            // The lease runs out by itself.
            Err(_) => Ok(Departure::Lost),
        }
    }

    async fn end(&self, ending: &Ending, cleanup: CleanupState) -> Result<(), Stop> {
        self.log.flush().await;
        Ok(self.journal.end(ending, cleanup).await?)
    }

    async fn say(&self, text: &str) {
        self.log.say(None, LogStream::Say, text).await;
    }

    /// A log in which lines may be missing says so.
    async fn tell_takeover(&self) {
        match &self.takeover {
            Takeover::New => {}
            Takeover::HandedBack => self.say("Another server goes on with this build; none of its log is lost.").await,
            Takeover::Orphaned(owner) => {
                self.say(&format!(
                    "The server {owner} that worked on this build is gone. Another one goes on; lines that were printed in the last moments before may be missing here."
                ))
                .await;
            }
        }
    }

    async fn tell_failure(&self, failure: &Failure) {
        let mut text = match &failure.step {
            Some(step) => format!("Build failed in step {step}: {}", failure.message),
            None => failure.message.clone(),
        };
        if let Some(advice) = &failure.advice {
            text.push(' ');
            text.push_str(advice);
        }
        self.log.say(failure.step.as_deref(), LogStream::Error, &text).await;
    }

    fn redacted(&self, mut failure: Failure) -> Failure {
        failure.message = self.log.redactor().redact(&failure.message);
        failure.advice = failure.advice.map(|advice| self.log.redactor().redact(&advice));
        failure
    }

    fn context(&self, step: &StepName, fold: &Fold, cancel: CancellationToken) -> Result<StepContext, Failure> {
        let cloud = self.cloud.clone().ok_or_else(|| {
            Failure::ours(
                "unknown-account",
                format!("account {:?} is not configured on this server", self.facts.account),
            )
            .with_advice("Put the account back into the configuration, then let the build try again.")
        })?;
        let outputs: BTreeMap<_, _> =
            fold.steps.iter().filter_map(|(name, record)| Some((name.clone(), record.output()?.clone()))).collect();
        Ok(StepContext {
            step: step.clone(),
            facts: self.facts.clone(),
            config: self.config.clone(),
            plan: self.plan.clone(),
            bundle: self.bundle.clone(),
            outputs: Arc::new(outputs),
            cloud,
            watcher: self.surroundings.watcher.clone(),
            looks: self.surroundings.looks.clone(),
            session: self.session.clone(),
            records: self.journal.clone(),
            log: self.log.for_step(&step.0),
            clock: self.journal.time(),
            started_at: fold.steps.get(step).and_then(|record| record.started_at),
            committed: fold.committed,
            retries: fold.retries.get(step).copied().unwrap_or_default(),
            network: self.surroundings.network.clone(),
            shell_local: self.surroundings.shell_local,
            lease: self.lease.clone(),
            cancel,
            drain: self.surroundings.drain.clone(),
        })
    }

    async fn run_wave(&self, steps: &[&PlannedStep], fold: &Fold, control: &Control) -> Result<(), Stop> {
        // Past its deadline an owner starts nothing.
        self.lease.permit().await.map_err(|_| Stop::Lost)?;
        if self.cancel.is_cancelled() {
            // The request to stop was seen by the listener first; the next look at the control has it too.
            tokio::time::sleep(Duration::from_millis(100)).await;
            return Ok(());
        }
        if let [step] = steps
            && step.kind == StepKind::ErrorCleanup
        {
            self.say("A provisioner failed. Running the error-cleanup-provisioner before anything is removed…").await;
        }
        let limit = control.options.step_timeout();
        join_all(steps.iter().map(|step| self.run_step(step, fold, limit))).await.into_iter().collect()
    }

    async fn run_step(&self, step: &PlannedStep, fold: &Fold, limit: Option<Duration>) -> Result<(), Stop> {
        let name = &step.name;
        let implementation = self.surroundings.registry.step(&step.kind);
        let context = match self.context(name, fold, self.cancel.child_token()) {
            Ok(context) => context,
            Err(failure) => return self.fail_before_acting(name, failure).await,
        };
        let mut ready = Ok(());
        let intent = match fold.steps.get(name).and_then(|record| record.intent()) {
            Some(intent) => intent.clone(),
            None => match implementation.intent(&context) {
                Ok(intent) => {
                    ready = match implementation.prepare(&context).await {
                        Err(StepError::Interrupted) => return Ok(()),
                        Err(StepError::LeaseLost) => return Err(Stop::Lost),
                        other => other,
                    };
                    self.journal.append(name, JournalEvent::Started { intent: intent.clone() }).await?;
                    intent
                }
                Err(failure) => return self.fail_before_acting(name, failure).await,
            },
        };
        let began = self.surroundings.clock.since_boot();
        let result = match ready {
            Ok(()) => self.within(limit, step, &context, implementation.act(&context, &intent)).await,
            Err(error) => Err(error),
        };
        self.note_duration(name, began, result.is_ok());
        context.log.finish_lines().await;
        // What is journaled as done has its log saved: a server that dies right after loses no line of it.
        self.log.flush().await;
        if let (StepKind::ErrorCleanup, Err(StepError::Failed(failure) | StepError::FailedUnknown(failure))) =
            (&step.kind, &result)
        {
            let text = format!("{} The clean-up goes on without it.", failure.message);
            self.log.say(Some(&name.0), LogStream::Error, &text).await;
        }
        let event = match result {
            Ok(output) => JournalEvent::Succeeded { output },
            Err(StepError::Failed(failure)) => {
                JournalEvent::Failed { failure: self.redacted(failure), effect_unknown: false }
            }
            Err(StepError::FailedUnknown(failure)) => {
                JournalEvent::Failed { failure: self.redacted(failure), effect_unknown: true }
            }
            Err(StepError::Interrupted) => return Ok(()),
            Err(StepError::LeaseLost) => return Err(Stop::Lost),
        };
        Ok(self.journal.append(name, event).await?)
    }

    /// Lets a step work until its time limit, counted from its beginning on whatever server. A step that is stopped by it
    /// has failed, and what it makes may be there.
    async fn within(
        &self,
        limit: Option<Duration>,
        step: &PlannedStep,
        context: &StepContext,
        act: impl Future<Output = Result<serde_json::Value, StepError>>,
    ) -> Result<serde_json::Value, StepError> {
        let Some(limit) = limit else { return act.await };
        tokio::pin!(act);
        tokio::select! {
            result = &mut act => return result,
            () = tokio::time::sleep(limit.saturating_sub(context.spent())) => context.cancel.cancel(),
        }
        match act.await {
            Err(StepError::Interrupted) if !self.cancel.is_cancelled() && !self.surroundings.drain.is_cancelled() => {
                let failure = step_timed_out(&step.name, limit);
                let effect = step.kind.effect() != Effect::Nothing;
                Err(if effect { StepError::FailedUnknown(failure) } else { StepError::Failed(failure) })
            }
            result => result,
        }
    }

    /// By what the step does: `provision:2` and `copy:eu-west-1` count as `provision` and `copy`.
    fn note_duration(&self, step: &StepName, began: Duration, ok: bool) {
        let took = self.surroundings.clock.since_boot().saturating_sub(began);
        let kind = step.0.split(':').next().unwrap_or_default().to_owned();
        let labels = [("step", kind), ("outcome", if ok { "succeeded" } else { "failed" }.to_owned())];
        metrics::histogram!("ingot_step_duration_seconds", &labels).record(took.as_secs_f64());
    }

    async fn fail_before_acting(&self, step: &StepName, failure: Failure) -> Result<(), Stop> {
        self.journal.append(step, JournalEvent::Started { intent: serde_json::Value::Null }).await?;
        let failure = self.redacted(failure);
        Ok(self.journal.append(step, JournalEvent::Failed { failure, effect_unknown: false }).await?)
    }

    async fn undo_wave(&self, steps: &[&PlannedStep], fold: &Fold) -> Result<(), Stop> {
        self.lease.permit().await.map_err(|_| Stop::Lost)?;
        join_all(steps.iter().map(|step| self.undo_step(step, fold))).await.into_iter().collect()
    }

    async fn undo_step(&self, step: &PlannedStep, fold: &Fold) -> Result<(), Stop> {
        let name = &step.name;
        let Some(record) = fold.steps.get(name) else { return Ok(()) };
        let (intent, made) = match &record.progress {
            Progress::Started { intent } | Progress::Failed { intent, effect_unknown: true, .. } => {
                (intent, Made::Unknown)
            }
            Progress::Failed { intent, .. } => (intent, Made::No),
            Progress::Succeeded { intent, output } => (intent, Made::Yes(output.clone())),
            Progress::Undone => return Ok(()),
        };
        if intent.is_null() {
            // It failed before it had an intent, so it never acted.
            return Ok(self.journal.append(name, JournalEvent::Undone { removed: Vec::new() }).await?);
        }
        let never = CancellationToken::new();
        let result = match self.context(name, fold, never) {
            Ok(context) => {
                self.surroundings.registry.step(&step.kind).undo(&context, intent, made, &record.found).await
            }
            Err(failure) => Err(StepError::Failed(failure)),
        };
        match result {
            Ok(removed) => Ok(self.journal.append(name, JournalEvent::Undone { removed }).await?),
            Err(StepError::Interrupted) => Ok(()),
            Err(StepError::LeaseLost) => Err(Stop::Lost),
            Err(StepError::Failed(failure) | StepError::FailedUnknown(failure)) => {
                let failure = self.redacted(failure);
                tracing::warn!(build_id = %self.facts.build, step = %name, code = failure.code, message = failure.message, "undo failed");
                self.log
                    .say(Some(&name.0), LogStream::Error, &format!("Could not undo {name}: {}", failure.message))
                    .await;
                self.journal.append(name, JournalEvent::UndoFailed { failure }).await?;
                self.pause_after_failed_undo(record.undo_failures).await
            }
        }
    }

    async fn pause_after_failed_undo(&self, failures: u32) -> Result<(), Stop> {
        let pause = Duration::from_secs(1 << failures.min(5)).min(LONGEST_UNDO_PAUSE);
        tokio::select! {
            () = tokio::time::sleep(pause) => Ok(()),
            () = self.surroundings.drain.cancelled() => Ok(()),
            () = self.lease.lost().cancelled() => Err(Stop::Lost),
        }
    }

    async fn commit(&self, fold: &Fold) -> Result<(), Stop> {
        let name = StepName::from("commit");
        let context = match self.context(&name, fold, self.cancel.clone()) {
            Ok(context) => context,
            Err(failure) => return self.give_up(failure).await,
        };
        match self.surroundings.registry.prepare_commit(&context).await {
            Ok(record) => {
                self.log.flush().await;
                Ok(self.journal.commit(&record).await?)
            }
            Err(StepError::Interrupted) => Ok(()),
            Err(StepError::LeaseLost) => Err(Stop::Lost),
            Err(StepError::Failed(failure) | StepError::FailedUnknown(failure)) => self.give_up(failure).await,
        }
    }

    async fn give_up(&self, mut failure: Failure) -> Result<(), Stop> {
        failure.step.get_or_insert_with(|| "commit".to_owned());
        let failure = self.redacted(failure);
        self.tell_failure(&failure).await;
        Ok(self.journal.begin_unwinding(UnwindReason::Failed, Some(failure)).await?)
    }
}

/// Fires `cancel` when somebody asked for the build to stop or its time is over.
async fn listen_for_cancel(journal: Arc<BuildJournal>, cancel: CancellationToken, over: CancellationToken) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(until_next_look(journal.time().since_boot())) => {}
            () = over.cancelled() => return,
        }
        // The fold first: a hold that ends in between moves the deadline, and the control then has the new one.
        let fold = journal.fold().await;
        let control: Control = tokio::select! {
            control = journal.control() => match control {
                Ok(control) => control,
                Err(_) => return,
            },
            () = over.cancelled() => return,
        };
        if control.cancel_requested || control.is_late(&fold) {
            cancel.cancel();
            return;
        }
    }
}

/// All builds of a server look at the same instants, so that one query answers them.
fn until_next_look(since_boot: Duration) -> Duration {
    let past = since_boot.subsec_nanos();
    CONTROL_INTERVAL.saturating_sub(Duration::from_nanos(u64::from(past)))
}

fn step_timed_out(step: &StepName, limit: Duration) -> Failure {
    let message = format!("The step {step} took longer than the run's limit of {limit:?} for one step.");
    Failure::user("step-timeout", message)
        .with_advice("Raise `step_timeout` of the run, or look in the log for what took so long.")
}
