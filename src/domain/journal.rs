//! The journal: the append-only record of a build's steps. With the plan it is all that is needed to carry on after a
//! crash. [`Fold`] is the journal read from the start; [`Journal`] is where an owner writes it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::failure::Failure;
use super::hold::{Held, Hold, HoldReason, Resume, ResumeAction, RunOptions};
use super::ids::{Attempt, BuildId, LeaseEpoch, StepName};
use super::image::{CommitRecord, RunFile};
use super::state::{BuildState, CleanupState};

/// One line of the journal. `seq` counts from 1 for the whole build, all attempts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JournalEntry {
    pub seq: i64,
    pub attempt: Attempt,
    /// `None` for what concerns the whole attempt.
    pub step: Option<StepName>,
    pub event: JournalEvent,
    pub at: DateTime<Utc>,
}

/// What happened. An intent names the handles (tokens, names) by which the effect can be found again, so it is written
/// before the step acts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum JournalEvent {
    Started {
        intent: Value,
    },
    Succeeded {
        output: Value,
    },
    /// `effect_unknown`: no answer came to the call that makes the step's resource, so it may be there.
    Failed {
        failure: Failure,
        effect_unknown: bool,
    },
    /// The attempt is given up; everything it started gets undone.
    Unwinding {
        reason: UnwindReason,
        failure: Option<Failure>,
    },
    /// `found`: ids that are about to be removed and could not be found again by what remains (an image's snapshots).
    UndoStarted {
        found: Vec<String>,
    },
    /// `removed`: ids of what was found and removed.
    Undone {
        removed: Vec<String>,
    },
    UndoFailed {
        failure: Failure,
    },
    /// The build waits for a person before it goes on with the step, or because the step failed.
    Held {
        reason: HoldReason,
        until: DateTime<Utc>,
    },
    /// A person answered, or the time was over.
    Resumed {
        action: ResumeAction,
        by: String,
    },
    /// Image, copies and tags are there: from here on the build has succeeded.
    Committed,
}

impl JournalEvent {
    /// As the store's `event` column has it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Started { .. } => "started",
            Self::Succeeded { .. } => "succeeded",
            Self::Failed { .. } => "failed",
            Self::Unwinding { .. } => "unwinding",
            Self::UndoStarted { .. } => "undo_started",
            Self::Undone { .. } => "undone",
            Self::UndoFailed { .. } => "undo_failed",
            Self::Held { .. } => "held",
            Self::Resumed { .. } => "resumed",
            Self::Committed => "committed",
        }
    }
}

/// Why an attempt is undone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UnwindReason {
    Failed,
    Cancelled,
    TimedOut,
    /// The server died in a step that can't be trusted half done: the next attempt follows while attempts remain.
    Interrupted,
}

/// How far one step of an attempt is.
#[derive(Debug, Clone, PartialEq)]
pub enum Progress {
    Started { intent: Value },
    Succeeded { intent: Value, output: Value },
    Failed { intent: Value, failure: Failure, effect_unknown: bool },
    Undone,
}

/// A step of an attempt as the journal tells it.
#[derive(Debug, Clone, PartialEq)]
pub struct StepRecord {
    pub progress: Progress,
    /// When it was begun; `None` in journals without its beginning.
    pub started_at: Option<DateTime<Utc>>,
    /// How often its undo has failed in a row.
    pub undo_failures: u32,
    pub last_undo_failure: Option<Failure>,
    /// Ids that an undo was about to remove.
    pub found: Vec<String>,
}

impl StepRecord {
    #[must_use]
    pub fn intent(&self) -> Option<&Value> {
        match &self.progress {
            Progress::Started { intent } | Progress::Succeeded { intent, .. } | Progress::Failed { intent, .. } => {
                Some(intent)
            }
            Progress::Undone => None,
        }
    }

    #[must_use]
    pub fn output(&self) -> Option<&Value> {
        match &self.progress {
            Progress::Succeeded { output, .. } => Some(output),
            _ => None,
        }
    }
}

/// The journal of one attempt, read from its start.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Fold {
    pub steps: BTreeMap<StepName, StepRecord>,
    pub unwinding: Option<(UnwindReason, Option<Failure>)>,
    pub committed: bool,
    /// The build waits for a person.
    pub held: Option<Held>,
    /// The hold that a person ended with `cleanup` or `abort`, or that nobody ended in time.
    pub given_up: Option<(Held, ResumeAction)>,
    /// Steps at whose breakpoint, or before which, the build has held already.
    pub passed: BTreeSet<StepName>,
    /// How often a step was done again because a person asked for it.
    pub retries: BTreeMap<StepName, u32>,
    /// The next line's number.
    pub next_seq: i64,
}

impl Fold {
    /// Reads the entries of one attempt; entries of other attempts only advance the numbering.
    #[must_use]
    pub fn of(entries: &[JournalEntry], attempt: Attempt) -> Self {
        let mut fold = Self { next_seq: 1, ..Self::default() };
        for entry in entries {
            fold.next_seq = fold.next_seq.max(entry.seq + 1);
            if entry.attempt == attempt {
                fold.apply(entry);
            }
        }
        fold
    }

    /// Lets undos that failed for an earlier owner be tried as often again. Whoever takes a build over begins anew, so
    /// that an operator's "try again" is one.
    pub fn forgive_undo_failures(&mut self) {
        for record in self.steps.values_mut() {
            record.undo_failures = 0;
        }
    }

    /// Adds one entry of this attempt.
    pub fn apply(&mut self, entry: &JournalEntry) {
        self.next_seq = self.next_seq.max(entry.seq + 1);
        match (&entry.step, &entry.event) {
            (None, JournalEvent::Committed) => self.committed = true,
            (None, JournalEvent::Unwinding { reason, failure }) => self.unwinding = Some((*reason, failure.clone())),
            (Some(step), JournalEvent::Held { reason, until }) => {
                self.held = Some(Held { seq: entry.seq, step: step.clone(), reason: *reason, until: *until });
            }
            (Some(_), JournalEvent::Resumed { action, .. }) => self.resume(*action),
            (Some(step), event) => self.apply_step(step, event, entry.at),
            (None, _) => {}
        }
    }

    fn resume(&mut self, action: ResumeAction) {
        let Some(held) = self.held.take() else { return };
        match action {
            ResumeAction::Cleanup | ResumeAction::Abort => self.given_up = Some((held, action)),
            ResumeAction::Retry | ResumeAction::Continue if held.reason == HoldReason::Failure => {
                self.steps.remove(&held.step);
                *self.retries.entry(held.step).or_default() += 1;
            }
            ResumeAction::Retry | ResumeAction::Continue => {
                self.passed.insert(held.step);
            }
        }
    }

    fn apply_step(&mut self, step: &StepName, event: &JournalEvent, at: DateTime<Utc>) {
        if let JournalEvent::Started { intent } = event {
            let progress = Progress::Started { intent: intent.clone() };
            self.steps.insert(
                step.clone(),
                StepRecord {
                    progress,
                    started_at: Some(at),
                    undo_failures: 0,
                    last_undo_failure: None,
                    found: Vec::new(),
                },
            );
            return;
        }
        // An event without its `Started` would be a hole in the journal; there is nothing it could refer to.
        let Some(record) = self.steps.get_mut(step) else { return };
        let intent = record.intent().cloned().unwrap_or(Value::Null);
        match event {
            JournalEvent::Succeeded { output } => {
                record.progress = Progress::Succeeded { intent, output: output.clone() }
            }
            JournalEvent::Failed { failure, effect_unknown } => {
                record.progress =
                    Progress::Failed { intent, failure: failure.clone(), effect_unknown: *effect_unknown };
            }
            JournalEvent::UndoStarted { found } => record.found.extend(found.iter().cloned()),
            JournalEvent::Undone { .. } => record.progress = Progress::Undone,
            JournalEvent::UndoFailed { failure } => {
                record.undo_failures += 1;
                record.last_undo_failure = Some(failure.clone());
            }
            _ => {}
        }
    }

    #[must_use]
    pub fn output(&self, step: &StepName) -> Option<&Value> {
        self.steps.get(step).and_then(StepRecord::output)
    }
}

/// Why an owner could not write.
#[derive(Debug, Clone, thiserror::Error)]
pub enum JournalError {
    /// Another owner has the build: touch nothing more.
    #[error("the lease on this build is lost")]
    LeaseLost,
    /// The store did not answer; the write may or may not have happened. Writing the same again is safe.
    #[error("the journal can't be reached: {0}")]
    Unavailable(String),
    /// What stands in the journal contradicts the write; a fault of ours.
    #[error("the journal is inconsistent: {0}")]
    Inconsistent(String),
}

/// An operation without an answer by then is given up and made again: a database that has moved does not tell those who wait
/// on its old connections. Longer than the database gives a statement (30 s).
pub const ANSWER_LIMIT: Duration = Duration::from_secs(40);

impl JournalError {
    /// Nothing came within [`ANSWER_LIMIT`].
    #[must_use]
    pub fn unanswered() -> Self {
        Self::Unavailable(format!("no answer within {} s", ANSWER_LIMIT.as_secs()))
    }
}

/// What a person asked of a build, and its limits. All its times are the database's, so that no server's clock matters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Control {
    /// When this was read.
    pub now: DateTime<Utc>,
    pub cancel_requested: bool,
    /// After this instant the build is undone as timed out.
    pub deadline: Option<DateTime<Utc>>,
    pub attempts_left: bool,
    pub options: RunOptions,
    /// The last answer to a hold of this build.
    pub resume: Option<Resume>,
    /// The build is over, as failed, and what it had left in place is to be removed now.
    pub abandoned: bool,
}

impl Control {
    /// Whether the attempt's time limit is over. A build that holds has no time limit but the hold's.
    #[must_use]
    pub fn is_late(&self, fold: &Fold) -> bool {
        fold.held.is_none() && self.deadline.is_some_and(|deadline| self.now >= deadline)
    }
}

/// One line of a build's log. `seq` counts from 1 for the whole build.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    pub seq: i64,
    pub at: DateTime<Utc>,
    /// The step that said it.
    pub step: Option<String>,
    pub stream: LogStream,
    pub text: String,
}

super::state::text_enum! {
    /// Who speaks in a log line.
    LogStream {
        /// Ingot about what it does.
        Say = "say",
        Stdout = "stdout",
        Stderr = "stderr",
        Error = "error",
    }
}

/// How a build ends when it does not succeed.
#[derive(Debug, Clone, PartialEq)]
pub enum Ending {
    /// The same build is queued again as the next attempt; nothing of this one is left.
    NextAttempt,
    Over {
        state: BuildState,
        failure: Option<Failure>,
    },
    /// It failed, and what it made is left in place until then.
    Abandoned {
        failure: Option<Failure>,
        until: DateTime<Utc>,
        /// For people who look at it.
        hold: Box<Hold>,
    },
    Stuck {
        reason: String,
    },
}

/// An AMI whose image a stage holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StagedAmi {
    pub ami_id: String,
    pub family: String,
    pub stage: String,
}

/// Where the owner of one build writes. Every write is fenced by the owner's epoch and fails with
/// [`JournalError::LeaseLost`] when another owner has taken over; writing the same entry twice is success.
#[async_trait]
pub trait Journal: Send + Sync {
    fn build_id(&self) -> BuildId;
    fn epoch(&self) -> LeaseEpoch;

    /// All entries of the build, in order.
    async fn load(&self) -> Result<Vec<JournalEntry>, JournalError>;
    async fn append(&self, entries: &[JournalEntry]) -> Result<(), JournalError>;

    /// Extends the lease. `false`: another owner has it.
    async fn heartbeat(&self) -> Result<bool, JournalError>;
    async fn control(&self) -> Result<Control, JournalError>;

    /// Keeps an attempt's private key (OpenSSH PEM), encrypted. An attempt has at most one: if one is there already
    /// it is left, and [`Journal::private_key`] returns it.
    async fn store_private_key(&self, attempt: Attempt, pem: &str) -> Result<(), JournalError>;
    async fn private_key(&self, attempt: Attempt) -> Result<Option<String>, JournalError>;

    /// The last log line's number, 0 for none.
    async fn last_log_seq(&self) -> Result<i64, JournalError>;
    async fn append_log(&self, lines: &[LogLine]) -> Result<(), JournalError>;

    /// Those of these AMIs whose image a stage holds.
    async fn staged(&self, ami_ids: &[String]) -> Result<Vec<StagedAmi>, JournalError>;
    /// Notes that these AMIs are about to be deregistered, so that no stage takes their images from then on. When one of them
    /// is in a stage, nothing is noted and the answer says which.
    async fn give_up(&self, ami_ids: &[String]) -> Result<Vec<StagedAmi>, JournalError>;

    /// Keeps a file that the build made or fetched (a download, a manifest).
    async fn store_file(&self, file: &RunFile) -> Result<(), JournalError>;

    /// Journals `Unwinding` and moves the build to `unwinding`, in one transaction.
    async fn begin_unwinding(&self, entry: &JournalEntry, failure: Option<&Failure>) -> Result<(), JournalError>;
    /// Journals `Committed`, writes the image's copies and run files and moves the build to `succeeded` with
    /// `cleanup: pending`, in one transaction. Deletes the build's secrets.
    async fn commit(&self, entry: &JournalEntry, record: &CommitRecord) -> Result<(), JournalError>;
    /// Ends an attempt that did not succeed.
    async fn end(&self, ending: &Ending, cleanup: CleanupState) -> Result<(), JournalError>;
    /// Journals `Held` and shows the hold.
    async fn hold(&self, entry: &JournalEntry, hold: &Hold) -> Result<(), JournalError>;
    /// Journals `Resumed` and takes the hold away; the attempt's deadline moves by the time that it took.
    async fn resume(&self, entry: &JournalEntry) -> Result<(), JournalError>;
    /// Says how the removal of what was left after the build's end (success, or `Abandoned`) went, and gives the lease back.
    async fn finish_cleanup(&self, cleanup: CleanupState, reason: Option<&str>) -> Result<(), JournalError>;
    /// Gives the lease back so that another server can take over at once.
    async fn release(&self) -> Result<(), JournalError>;
}
