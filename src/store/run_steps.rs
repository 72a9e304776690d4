//! A build's steps as people read them: the journal laid over the plan.

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::Store;
use crate::domain::error::Result;
use crate::domain::failure::Failure;
use crate::domain::ids::{Attempt, BuildId, StepName};
use crate::domain::journal::{JournalEntry, JournalEvent};
use crate::domain::plan::Plan;
use crate::domain::state::text_enum;

text_enum! {
    /// How far a step is.
    StepState {
        /// Not begun yet.
        Pending = "pending",
        Started = "started",
        Succeeded = "succeeded",
        Failed = "failed",
        /// Its undo is under way.
        Undoing = "undoing",
        Undone = "undone",
        /// Its undo failed, and is tried again unless the build is stuck.
        UndoFailed = "undo_failed",
    }
}

/// One step of one attempt.
#[derive(Debug, Clone, PartialEq)]
pub struct StepRow {
    pub attempt: i32,
    pub name: String,
    pub state: StepState,
    pub started_at: Option<DateTime<Utc>>,
    /// When it succeeded or failed; undoing it later does not change this.
    pub finished_at: Option<DateTime<Utc>>,
    pub duration_ms: Option<i64>,
    pub undone_at: Option<DateTime<Utc>>,
    pub intent: Option<Value>,
    pub output: Option<Value>,
    /// Its own failure, or that of its undo.
    pub failure: Option<Failure>,
}

impl StepRow {
    fn pending(attempt: Attempt, name: &StepName) -> Self {
        Self {
            attempt: attempt.0,
            name: name.0.clone(),
            state: StepState::Pending,
            started_at: None,
            finished_at: None,
            duration_ms: None,
            undone_at: None,
            intent: None,
            output: None,
            failure: None,
        }
    }

    fn apply(&mut self, entry: &JournalEntry) {
        match &entry.event {
            JournalEvent::Started { intent } => {
                self.state = StepState::Started;
                self.started_at.get_or_insert(entry.at);
                self.intent = Some(intent.clone());
            }
            JournalEvent::Succeeded { output } => {
                self.state = StepState::Succeeded;
                self.output = Some(output.clone());
                self.finish(entry.at);
            }
            JournalEvent::Failed { failure, .. } => {
                self.state = StepState::Failed;
                self.failure = Some(failure.clone());
                self.finish(entry.at);
            }
            JournalEvent::UndoStarted { .. } => self.state = StepState::Undoing,
            JournalEvent::Undone { .. } => {
                self.state = StepState::Undone;
                self.undone_at = Some(entry.at);
            }
            JournalEvent::UndoFailed { failure } => {
                self.state = StepState::UndoFailed;
                self.failure = Some(failure.clone());
            }
            JournalEvent::Unwinding { .. }
            | JournalEvent::Committed
            | JournalEvent::Held { .. }
            | JournalEvent::Resumed { .. } => {}
        }
    }

    fn finish(&mut self, at: DateTime<Utc>) {
        self.finished_at = Some(at);
        self.duration_ms = self.started_at.map(|started| (at - started).num_milliseconds());
    }
}

/// The steps of all attempts up to `current`, in the plan's order. Earlier attempts show what they began; the current one
/// also shows what it has not.
#[must_use]
pub fn steps_of(plan: &Plan, journal: &[JournalEntry], current: Attempt) -> Vec<StepRow> {
    let mut rows = Vec::new();
    for attempt in (1..=current.0).map(Attempt) {
        for step in plan.steps() {
            let mut row = StepRow::pending(attempt, &step.name);
            let own =
                journal.iter().filter(|entry| entry.attempt == attempt && entry.step.as_ref() == Some(&step.name));
            own.for_each(|entry| row.apply(entry));
            if row.state != StepState::Pending || attempt == current {
                rows.push(row);
            }
        }
    }
    rows
}

impl Store {
    /// A build's steps, see [`steps_of`].
    ///
    /// # Errors
    /// `build-not-found`, or the database is away.
    pub async fn steps(&self, build: BuildId) -> Result<Vec<StepRow>> {
        let row = self.build(build).await?;
        let journal = self.journal(build).await?;
        Ok(steps_of(&row.plan, &journal, Attempt(row.attempt)))
    }
}
