//! A journal in memory with the same fencing as the real one, and instants at which its owner can be made to die.

use std::collections::BTreeMap;
use std::future::pending;
use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;

use chrono::{DateTime, Utc};

use crate::cloud::fake::Gate;
use crate::domain::clock::Clock;
use crate::domain::failure::Failure;
use crate::domain::hold::{Hold, Resume, RunOptions};
use crate::domain::ids::{Attempt, BuildId, LeaseEpoch, StepName};
use crate::domain::image::{CommitRecord, RunFile};
use crate::domain::journal::{
    Control, Ending, Fold, Journal, JournalEntry, JournalError, JournalEvent, LogLine, StagedAmi,
};
use crate::domain::state::{BuildState, CleanupState};

/// What the database would hold of one build.
#[derive(Debug)]
pub struct Row {
    pub build: BuildId,
    pub epoch: i64,
    pub attempt: Attempt,
    pub attempts_allowed: i32,
    pub state: BuildState,
    pub cleanup: CleanupState,
    pub stuck_reason: Option<String>,
    pub failure: Option<Failure>,
    pub entries: Vec<JournalEntry>,
    pub log: Vec<LogLine>,
    pub keys: BTreeMap<Attempt, String>,
    pub files: Vec<RunFile>,
    pub record: Option<CommitRecord>,
    pub cancel_requested: bool,
    pub options: RunOptions,
    pub deadline: Option<DateTime<Utc>>,
    pub hold: Option<Hold>,
    pub resume: Option<Resume>,
    /// Until when a failed build's things are left in place.
    pub kept_until: Option<DateTime<Utc>>,
    pub secrets_deleted: bool,
    /// AMIs whose images are in stages.
    pub staged: Vec<StagedAmi>,
    /// AMIs that no stage can take any more.
    pub given_up: Vec<String>,
    /// Counts writes of all owners.
    pub writes: usize,
    /// Which write wrote which entry, by its place in `entries`.
    pub written_by: Vec<usize>,
    /// Somebody cancels when this step has succeeded.
    pub cancel_after: Option<StepName>,
    /// The owner dies when it wants to write that this step is undone; once.
    pub die_before_undone: Option<StepName>,
    /// The owner dies at this write: before it lands, or after it has.
    pub die_at: Option<(usize, Landed)>,
    /// Answers "unavailable" to this many writes, after carrying out every second of them.
    pub outage: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Landed {
    No,
    Yes,
}

#[derive(Clone)]
pub struct MemoryJournal {
    pub row: Arc<Mutex<Row>>,
    build: BuildId,
    epoch: i64,
    clock: Arc<dyn Clock>,
    gate: Gate,
    pub died: Arc<tokio::sync::Notify>,
}

impl MemoryJournal {
    /// Claims the build for a new owner.
    pub fn claim(row: &Arc<Mutex<Row>>, clock: Arc<dyn Clock>, gate: Gate) -> Self {
        let mut locked = row.lock().unwrap();
        locked.epoch += 1;
        if locked.state == BuildState::Queued {
            locked.state = BuildState::Running;
        }
        Self { row: row.clone(), build: locked.build, epoch: locked.epoch, clock, gate, died: Arc::default() }
    }

    fn row(&self) -> MutexGuard<'_, Row> {
        self.row.lock().unwrap()
    }

    fn fence<'r>(&self, row: MutexGuard<'r, Row>) -> Result<MutexGuard<'r, Row>, JournalError> {
        if row.epoch == self.epoch { Ok(row) } else { Err(JournalError::LeaseLost) }
    }

    async fn write<T>(
        &self,
        change: impl FnOnce(&mut Row) -> Result<T, JournalError> + Send,
    ) -> Result<T, JournalError> {
        self.gate.pass().await;
        let number = {
            let mut row = self.row();
            row.writes += 1;
            row.writes
        };
        let dies = |landed| self.row().die_at == Some((number, landed));
        if dies(Landed::No) {
            self.died.notify_one();
            pending::<()>().await;
        }
        let (answer, lost) = {
            let mut row = self.fence(self.row())?;
            let outage = row.outage;
            row.outage = outage.saturating_sub(1);
            if outage > 0 && outage.is_multiple_of(2) {
                return Err(JournalError::Unavailable("the database is away".into()));
            }
            (change(&mut row)?, outage > 0)
        };
        if dies(Landed::Yes) {
            self.died.notify_one();
            pending::<()>().await;
        }
        if lost { Err(JournalError::Unavailable("the answer was lost".into())) } else { Ok(answer) }
    }
}

impl Row {
    fn add(&mut self, entry: &JournalEntry) -> Result<(), JournalError> {
        match self.entries.iter().find(|present| present.seq == entry.seq) {
            Some(present) if present == entry => return Ok(()),
            Some(present) => return Err(JournalError::Inconsistent(format!("{present:?} is there, not {entry:?}"))),
            None => {}
        }
        if matches!(entry.event, JournalEvent::Succeeded { .. }) && entry.step == self.cancel_after {
            self.cancel_requested = true;
        }
        self.written_by.push(self.writes);
        assert_eq!(entry.seq, self.entries.last().map_or(1, |last| last.seq + 1), "the journal has no holes");
        self.entries.push(entry.clone());
        Ok(())
    }

    /// The journal of the present attempt.
    pub fn fold(&self) -> Fold {
        Fold::of(&self.entries, self.attempt)
    }

    fn become_state(&mut self, next: BuildState) -> Result<(), JournalError> {
        if self.state == next {
            return Ok(());
        }
        if !self.state.may_become(next) {
            return Err(JournalError::Inconsistent(format!("{} can't become {next}", self.state)));
        }
        self.state = next;
        Ok(())
    }
}

#[async_trait]
impl Journal for MemoryJournal {
    fn build_id(&self) -> BuildId {
        self.build
    }

    fn epoch(&self) -> LeaseEpoch {
        LeaseEpoch(self.epoch)
    }

    async fn load(&self) -> Result<Vec<JournalEntry>, JournalError> {
        self.gate.pass().await;
        Ok(self.row().entries.clone())
    }

    async fn append(&self, entries: &[JournalEntry]) -> Result<(), JournalError> {
        let forgets = |entry: &JournalEntry| matches!(entry.event, JournalEvent::Undone { .. }) && entry.step.is_some();
        for entry in entries.iter().filter(|entry| forgets(entry)) {
            let dies = self.row().die_before_undone.take_if(|step| entry.step.as_ref() == Some(step)).is_some();
            if dies {
                self.died.notify_one();
                pending::<()>().await;
            }
        }
        self.write(|row| entries.iter().try_for_each(|entry| row.add(entry))).await
    }

    async fn heartbeat(&self) -> Result<bool, JournalError> {
        self.gate.pass().await;
        Ok(self.row().epoch == self.epoch)
    }

    async fn control(&self) -> Result<Control, JournalError> {
        self.gate.pass().await;
        let row = self.row();
        Ok(Control {
            now: self.clock.now(),
            cancel_requested: row.cancel_requested,
            deadline: row.deadline,
            attempts_left: row.attempt.0 < row.attempts_allowed,
            options: row.options.clone(),
            resume: row.resume.clone(),
            abandoned: row.state == BuildState::Failed && row.cleanup == CleanupState::Pending,
        })
    }

    async fn store_private_key(&self, attempt: Attempt, pem: &str) -> Result<(), JournalError> {
        self.write(|row| {
            row.keys.entry(attempt).or_insert_with(|| pem.to_owned());
            Ok(())
        })
        .await
    }

    async fn private_key(&self, attempt: Attempt) -> Result<Option<String>, JournalError> {
        self.gate.pass().await;
        Ok(self.row().keys.get(&attempt).cloned())
    }

    async fn staged(&self, ami_ids: &[String]) -> Result<Vec<StagedAmi>, JournalError> {
        self.gate.pass().await;
        Ok(self.row().staged.iter().filter(|one| ami_ids.contains(&one.ami_id)).cloned().collect())
    }

    async fn give_up(&self, ami_ids: &[String]) -> Result<Vec<StagedAmi>, JournalError> {
        self.write(|row| {
            let staged: Vec<StagedAmi> =
                row.staged.iter().filter(|one| ami_ids.contains(&one.ami_id)).cloned().collect();
            if staged.is_empty() {
                row.given_up.extend_from_slice(ami_ids);
            }
            Ok(staged)
        })
        .await
    }

    async fn last_log_seq(&self) -> Result<i64, JournalError> {
        self.gate.pass().await;
        Ok(self.row().log.last().map_or(0, |line| line.seq))
    }

    async fn append_log(&self, lines: &[LogLine]) -> Result<(), JournalError> {
        self.gate.pass().await;
        let mut row = self.fence(self.row())?;
        row.log.extend_from_slice(lines);
        Ok(())
    }

    async fn store_file(&self, file: &RunFile) -> Result<(), JournalError> {
        self.write(|row| {
            row.files.push(file.clone());
            Ok(())
        })
        .await
    }

    async fn begin_unwinding(&self, entry: &JournalEntry, failure: Option<&Failure>) -> Result<(), JournalError> {
        self.write(|row| {
            row.add(entry)?;
            row.failure = failure.cloned();
            row.become_state(BuildState::Unwinding)
        })
        .await
    }

    async fn commit(&self, entry: &JournalEntry, record: &CommitRecord) -> Result<(), JournalError> {
        self.write(|row| {
            let again = row.entries.contains(entry);
            assert!(
                again || !row.entries.iter().any(|entry| entry.event == JournalEvent::Committed),
                "a build commits once"
            );
            row.add(entry)?;
            row.record = Some(record.clone());
            row.cleanup = CleanupState::Pending;
            row.secrets_deleted = true;
            row.become_state(BuildState::Succeeded)
        })
        .await
    }

    async fn end(&self, ending: &Ending, cleanup: CleanupState) -> Result<(), JournalError> {
        self.write(|row| {
            row.cleanup = cleanup;
            match ending {
                Ending::NextAttempt => {
                    if row.state == BuildState::Unwinding {
                        row.attempt = row.attempt.next();
                    }
                    row.become_state(BuildState::Queued)
                }
                Ending::Over { state, failure } => {
                    row.failure.clone_from(failure);
                    row.become_state(*state)
                }
                Ending::Abandoned { failure, until, hold } => {
                    row.failure.clone_from(failure);
                    row.kept_until = Some(*until);
                    row.hold = Some((**hold).clone());
                    row.become_state(BuildState::Failed)
                }
                Ending::Stuck { reason } => {
                    row.stuck_reason = Some(reason.clone());
                    row.become_state(BuildState::Stuck)
                }
            }
        })
        .await
    }

    async fn hold(&self, entry: &JournalEntry, hold: &Hold) -> Result<(), JournalError> {
        self.write(|row| {
            row.add(entry)?;
            row.hold = Some(hold.clone());
            Ok(())
        })
        .await
    }

    async fn resume(&self, entry: &JournalEntry) -> Result<(), JournalError> {
        self.write(|row| {
            row.add(entry)?;
            if let (Some(deadline), Some(hold)) = (row.deadline, &row.hold) {
                row.deadline = Some(deadline + (entry.at - hold.since));
            }
            row.hold = None;
            Ok(())
        })
        .await
    }

    async fn finish_cleanup(&self, cleanup: CleanupState, reason: Option<&str>) -> Result<(), JournalError> {
        self.write(|row| {
            row.cleanup = cleanup;
            row.stuck_reason = reason.map(str::to_owned);
            Ok(())
        })
        .await
    }

    async fn release(&self) -> Result<(), JournalError> {
        Ok(())
    }
}
