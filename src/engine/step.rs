//! What a step is: one thing done to the world, with its undo beside it. The executor journals a step's intent before
//! [`Step::act`] and its output after, so both must be plain data, and an intent must name the handles by which the effect
//! can be found again: a function of (build, attempt, step), never of the server or the lease.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use secrecy::SecretString;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::lease::Lease;
use super::session::Session;
use super::shared_looks::{Place, SharedLooks};
use super::watcher::Watcher;
use crate::cloud::{Cloud, CloudError};
use crate::domain::bundle::Bundle;
use crate::domain::clock::Clock;
use crate::domain::config::{AmazonEbs, BuildConfig, SshConfig};
use crate::domain::failure::Failure;
use crate::domain::hold::HeldMachine;
use crate::domain::ids::{Attempt, StepName};
use crate::domain::image::{CommitRecord, RunFile};
use crate::domain::journal::{JournalError, StagedAmi};
use crate::domain::plan::{Plan, StepKind};
use crate::domain::run::BuildFacts;
use crate::domain::tags::Ownership;
use crate::logs::StepLog;

/// Why a step did not do its work.
#[derive(Debug)]
pub enum StepError {
    /// It failed, and what it would have made is not there.
    Failed(Failure),
    /// It failed without an answer: what it would have made may be there.
    FailedUnknown(Failure),
    /// Cancel, time limit or drain: nothing is known to have failed. What it started counts as started.
    Interrupted,
    /// Another server has the build.
    LeaseLost,
}

impl StepError {
    /// The same error of a later part of a step, after the step's resource was made.
    #[must_use]
    pub fn after_effect(self) -> Self {
        match self {
            Self::Failed(failure) => Self::FailedUnknown(failure),
            other => other,
        }
    }
}

impl From<Failure> for StepError {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl From<JournalError> for StepError {
    fn from(error: JournalError) -> Self {
        match error {
            JournalError::LeaseLost => Self::LeaseLost,
            other => Self::Failed(Failure::ours("journal", other.to_string())),
        }
    }
}

impl From<CloudError> for StepError {
    fn from(error: CloudError) -> Self {
        super::failures::from_cloud(&error)
    }
}

pub type StepResult<T> = Result<T, StepError>;

/// What is known, when a step is undone, of the thing it makes.
#[derive(Debug, Clone, PartialEq)]
pub enum Made<O> {
    /// It was made, and this came of it.
    Yes(O),
    /// The cloud said no.
    No,
    /// The server died, or no answer came.
    Unknown,
}

impl<O> Made<O> {
    /// What came of it, where that is known.
    pub fn output(&self) -> Option<&O> {
        match self {
            Self::Yes(output) => Some(output),
            Self::No | Self::Unknown => None,
        }
    }
}

/// One kind of step. `act` may be called again after a crash with the same intent and must then find or repeat the same
/// thing; `undo` must leave nothing behind and succeed when there is nothing (left) to remove.
#[async_trait]
pub trait Step: Send + Sync {
    type Intent: Serialize + DeserializeOwned + Send + Sync;
    type Output: Serialize + DeserializeOwned + Send + Sync;

    /// # Errors
    /// When the configuration and what earlier steps found don't fit together.
    fn intent(&self, context: &StepContext) -> Result<Self::Intent, Failure>;

    /// What can be waited for before the step counts as begun: an interruption here costs a step nothing that can't be trusted
    /// when it is half done. Called before [`Step::intent`] is journaled; changes nothing.
    ///
    /// # Errors
    /// When the wait was cut short, or what the step needs is not to be had; the step then fails without acting.
    async fn prepare(&self, _context: &StepContext) -> StepResult<()> {
        Ok(())
    }

    async fn act(&self, context: &StepContext, intent: &Self::Intent) -> StepResult<Self::Output>;

    /// Removes what the step made; answers what was found and removed. `found`: ids that an earlier undo of the same
    /// step journaled through [`StepContext::journal_found`] before it died.
    async fn undo(
        &self,
        _context: &StepContext,
        _intent: &Self::Intent,
        _made: Made<Self::Output>,
        _found: &[String],
    ) -> StepResult<Vec<String>> {
        Ok(Vec::new())
    }
}

/// A [`Step`] without its types.
#[async_trait]
pub trait AnyStep: Send + Sync {
    /// # Errors
    /// As [`Step::intent`].
    fn intent(&self, context: &StepContext) -> Result<Value, Failure>;
    /// # Errors
    /// As [`Step::prepare`].
    async fn prepare(&self, context: &StepContext) -> StepResult<()>;
    async fn act(&self, context: &StepContext, intent: &Value) -> StepResult<Value>;
    async fn undo(
        &self,
        context: &StepContext,
        intent: &Value,
        made: Made<Value>,
        found: &[String],
    ) -> StepResult<Vec<String>>;
}

#[async_trait]
impl<S: Step> AnyStep for S {
    fn intent(&self, context: &StepContext) -> Result<Value, Failure> {
        to_value(&Step::intent(self, context)?)
    }

    async fn prepare(&self, context: &StepContext) -> StepResult<()> {
        Step::prepare(self, context).await
    }

    async fn act(&self, context: &StepContext, intent: &Value) -> StepResult<Value> {
        let intent = from_value(intent)?;
        Ok(to_value(&Step::act(self, context, &intent).await?)?)
    }

    async fn undo(
        &self,
        context: &StepContext,
        intent: &Value,
        made: Made<Value>,
        found: &[String],
    ) -> StepResult<Vec<String>> {
        let intent = from_value(intent)?;
        let made = match made {
            Made::Yes(output) => Made::Yes(from_value(&output)?),
            Made::No => Made::No,
            Made::Unknown => Made::Unknown,
        };
        Step::undo(self, context, &intent, made, found).await
    }
}

fn to_value(value: &impl Serialize) -> Result<Value, Failure> {
    serde_json::to_value(value)
        .map_err(|error| Failure::ours("journal-form", format!("a step's record can't be written: {error}")))
}

fn from_value<T: DeserializeOwned>(value: &Value) -> Result<T, Failure> {
    serde_json::from_value(value.clone()).map_err(|error| {
        Failure::ours("journal-form", format!("a step's record in the journal can't be read: {error}"))
    })
}

/// The steps that exist; `steps/` implements it, so that the engine does not depend on any one step.
#[async_trait]
pub trait StepRegistry: Send + Sync {
    fn step(&self, kind: &StepKind) -> Box<dyn AnyStep>;

    /// Where the build's machine is, as far as it has come; for people who look at a held build.
    fn machine(&self, context: &StepContext) -> Option<HeldMachine>;

    /// Takes `ingot:temporary` off the artifacts and gathers what the commit writes. Doing it twice is the same.
    async fn prepare_commit(&self, context: &StepContext) -> StepResult<CommitRecord>;
}

/// What the network configuration says about who may reach a build's machine.
#[derive(Debug, Clone, Default)]
pub struct Network {
    /// `[network] source_cidrs`; empty: the server's own address.
    pub source_cidrs: Vec<String>,
}

/// Writes that a step may do itself while it works; implemented by the engine over the build's journal.
#[async_trait]
pub trait StepRecords: Send + Sync {
    async fn store_private_key(&self, attempt: Attempt, pem: &SecretString) -> Result<(), JournalError>;
    async fn private_key(&self, attempt: Attempt) -> Result<Option<SecretString>, JournalError>;
    async fn store_file(&self, file: &RunFile) -> Result<(), JournalError>;
    /// Those of these AMIs whose image a stage holds.
    async fn staged(&self, ami_ids: &[String]) -> Result<Vec<StagedAmi>, JournalError>;
    /// Keeps stages from taking the images of these AMIs; answers those that are in one, and then nothing was done.
    async fn give_up(&self, ami_ids: &[String]) -> Result<Vec<StagedAmi>, JournalError>;
    /// Journals ids that the undo of `step` is about to remove.
    async fn found(&self, step: &StepName, ids: &[String]) -> Result<(), JournalError>;
}

/// All that a step may use.
#[derive(Clone)]
pub struct StepContext {
    pub step: StepName,
    pub facts: Arc<BuildFacts>,
    /// `None` once the build's secrets are deleted; only the removal of temporary things goes on then.
    pub config: Option<Arc<BuildConfig>>,
    pub plan: Arc<Plan>,
    pub bundle: Arc<Bundle>,
    /// Outputs of the steps that have succeeded in this attempt.
    pub outputs: Arc<BTreeMap<StepName, Value>>,
    /// The build's account; changing calls wait for the lease.
    pub cloud: Arc<dyn Cloud>,
    pub watcher: Watcher,
    /// What each build asks of the cloud once, asked for all of them together.
    pub looks: SharedLooks,
    pub session: Arc<Session>,
    pub records: Arc<dyn StepRecords>,
    pub log: StepLog,
    /// The database's time.
    pub clock: Arc<dyn Clock>,
    /// When this step was begun, by this server or another, in the database's time.
    pub started_at: Option<DateTime<Utc>>,
    /// The build has succeeded: what is undone now is only what was temporary.
    pub committed: bool,
    /// How often a person has asked for this step to be done again in this attempt.
    pub retries: u32,
    pub network: Arc<Network>,
    /// This server's own `[policy] shell_local`; the one that accepted the run may have another.
    pub shell_local: bool,
    pub lease: Arc<Lease>,
    /// Somebody cancelled, or a time limit is over: stop waiting, stop running commands.
    pub cancel: CancellationToken,
    /// The server is being stopped: stop waiting (another server goes on), let running commands finish.
    pub drain: CancellationToken,
}

impl StepContext {
    /// The frozen configuration.
    ///
    /// # Errors
    /// When the build's secrets are deleted.
    pub fn config(&self) -> Result<&BuildConfig, Failure> {
        self.config
            .as_deref()
            .ok_or_else(|| Failure::ours("secrets-gone", "the build's configuration is deleted already"))
    }

    /// What the amazon builders' configurations share.
    ///
    /// # Errors
    /// As [`StepContext::config`], and when the build has another builder.
    pub fn ebs(&self) -> Result<&AmazonEbs, Failure> {
        let builder = &self.config()?.builder;
        builder.ebs().ok_or_else(|| {
            Failure::ours(
                "plan-order",
                format!("step {} is for amazon builders, this is {}", self.step, builder.builder_type()),
            )
        })
    }

    /// How the build's machine is reached.
    ///
    /// # Errors
    /// As [`StepContext::config`], and when the build has none.
    pub fn communicator(&self) -> Result<&SshConfig, Failure> {
        let builder = &self.config()?.builder;
        builder.communicator().ok_or_else(|| {
            Failure::ours(
                "plan-order",
                format!("step {} needs a machine, {} has none", self.step, builder.builder_type()),
            )
        })
    }

    /// A region of the build's account.
    #[must_use]
    pub fn place(&self, region: &str) -> Place {
        Place { account: self.facts.account.clone(), region: region.to_owned() }
    }

    #[must_use]
    pub fn ownership(&self) -> Ownership {
        Ownership { deployment: self.facts.deployment, build: self.facts.build, attempt: self.facts.attempt }
    }

    /// What an earlier step found.
    ///
    /// # Errors
    /// When the plan has no such step before this one; a fault of ours.
    pub fn output<T: DeserializeOwned>(&self, step: &str) -> Result<T, Failure> {
        self.output_if_any(step)?.ok_or_else(|| {
            Failure::ours(
                "plan-order",
                format!("step {} needs the output of {step}, which has not succeeded", self.step),
            )
        })
    }

    /// As [`StepContext::output`], `None` when the plan has no such step.
    ///
    /// # Errors
    /// When the journal's record can't be read.
    pub fn output_if_any<T: DeserializeOwned>(&self, step: &str) -> Result<Option<T>, Failure> {
        self.outputs.get(&StepName::from(step)).map(from_value).transpose()
    }

    /// How long ago this step was begun, on whatever server.
    #[must_use]
    pub fn spent(&self) -> Duration {
        let spent = self.started_at.map(|began| self.clock.now() - began);
        spent.and_then(|spent| spent.to_std().ok()).unwrap_or_default()
    }

    /// Waits, unless the build is cancelled, handed over or lost.
    ///
    /// # Errors
    /// When the wait was cut short.
    pub async fn pause(&self, time: Duration) -> StepResult<()> {
        tokio::select! {
            () = tokio::time::sleep(time) => Ok(()),
            () = self.cancel.cancelled() => Err(StepError::Interrupted),
            () = self.drain.cancelled() => Err(StepError::Interrupted),
            () = self.lease.lost().cancelled() => Err(StepError::LeaseLost),
        }
    }

    /// Runs a future that waits for something, unless the build is cancelled, handed over or lost.
    ///
    /// # Errors
    /// When the wait was cut short.
    pub async fn waiting<T>(&self, wait: impl Future<Output = T> + Send) -> StepResult<T> {
        tokio::select! {
            value = wait => Ok(value),
            () = self.cancel.cancelled() => Err(StepError::Interrupted),
            () = self.drain.cancelled() => Err(StepError::Interrupted),
            () = self.lease.lost().cancelled() => Err(StepError::LeaseLost),
        }
    }

    /// Journals ids that this step's undo is about to remove and could not find again otherwise.
    ///
    /// # Errors
    /// When the journal can't be written.
    pub async fn journal_found(&self, ids: &[String]) -> StepResult<()> {
        Ok(self.records.found(&self.step, ids).await?)
    }
}
