//! The journal of one build as its owner holds it: numbers the entries, keeps the fold up to date, and repeats writes that
//! the database did not answer until they are there or the lease is lost.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::Mutex;

use super::database_time::DatabaseTime;
use super::lease::Lease;
use super::step::StepRecords;
use crate::domain::clock::Clock;
use crate::domain::failure::Failure;
use crate::domain::hold::{Hold, Resume};
use crate::domain::ids::{Attempt, StepName};
use crate::domain::image::{CommitRecord, RunFile};
use crate::domain::journal::{
    ANSWER_LIMIT, Control, Ending, Fold, Journal, JournalEntry, JournalError, JournalEvent, StagedAmi, UnwindReason,
};
use crate::domain::state::CleanupState;

pub struct BuildJournal {
    journal: Arc<dyn Journal>,
    lease: Arc<Lease>,
    time: Arc<DatabaseTime>,
    attempt: Attempt,
    /// Held while an entry is written, so that steps of a wave get their numbers one after the other.
    fold: Mutex<Fold>,
}

impl BuildJournal {
    /// Reads what is there.
    ///
    /// # Errors
    /// When the lease is lost.
    pub async fn open(
        journal: Arc<dyn Journal>,
        lease: Arc<Lease>,
        clock: Arc<dyn Clock>,
        attempt: Attempt,
    ) -> Result<Self, JournalError> {
        // Each try has a time of its own: an outage may lie between the first and the one that is answered.
        let (control, asked_at) = persist(&lease, || async {
            let asked_at = clock.since_boot();
            Ok((journal.control().await?, asked_at))
        })
        .await?;
        let time = Arc::new(DatabaseTime::new(clock, control.now, asked_at));
        let entries = persist(&lease, || journal.load()).await?;
        let mut fold = Fold::of(&entries, attempt);
        fold.forgive_undo_failures();
        Ok(Self { journal, lease, time, attempt, fold: Mutex::new(fold) })
    }

    /// The database's time.
    #[must_use]
    pub fn time(&self) -> Arc<DatabaseTime> {
        self.time.clone()
    }

    pub async fn fold(&self) -> Fold {
        self.fold.lock().await.clone()
    }

    /// Appends one event.
    ///
    /// # Errors
    /// When the lease is lost or the journal contradicts it.
    pub async fn append(&self, step: &StepName, event: JournalEvent) -> Result<(), JournalError> {
        let mut fold = self.fold.lock().await;
        let entry = self.entry(&fold, Some(step.clone()), event);
        let entries = [entry];
        persist(&self.lease, || self.journal.append(&entries)).await?;
        fold.apply(&entries[0]);
        Ok(())
    }

    /// Gives the attempt up.
    ///
    /// # Errors
    /// As [`BuildJournal::append`].
    pub async fn begin_unwinding(&self, reason: UnwindReason, failure: Option<Failure>) -> Result<(), JournalError> {
        let mut fold = self.fold.lock().await;
        let entry = self.entry(&fold, None, JournalEvent::Unwinding { reason, failure: failure.clone() });
        persist(&self.lease, || self.journal.begin_unwinding(&entry, failure.as_ref())).await?;
        fold.apply(&entry);
        Ok(())
    }

    /// Commits the build.
    ///
    /// # Errors
    /// As [`BuildJournal::append`].
    pub async fn commit(&self, record: &CommitRecord) -> Result<(), JournalError> {
        let mut fold = self.fold.lock().await;
        let entry = self.entry(&fold, None, JournalEvent::Committed);
        persist(&self.lease, || self.journal.commit(&entry, record)).await?;
        fold.apply(&entry);
        Ok(())
    }

    /// # Errors
    /// When the lease is lost.
    pub async fn control(&self) -> Result<Control, JournalError> {
        let (control, asked_at) = persist(&self.lease, || async {
            let asked_at = self.time.since_boot();
            Ok((self.journal.control().await?, asked_at))
        })
        .await?;
        self.time.learn(control.now, asked_at);
        Ok(control)
    }

    /// Holds the build at a step. `hold` is what people see; its `seq` is set here.
    ///
    /// # Errors
    /// As [`BuildJournal::append`].
    pub async fn hold(&self, mut hold: Hold) -> Result<(), JournalError> {
        let mut fold = self.fold.lock().await;
        let event = JournalEvent::Held { reason: hold.reason, until: hold.until };
        let entry = self.entry(&fold, Some(StepName(hold.step.clone())), event);
        hold.seq = entry.seq;
        persist(&self.lease, || self.journal.hold(&entry, &hold)).await?;
        fold.apply(&entry);
        Ok(())
    }

    /// Ends a hold.
    ///
    /// # Errors
    /// As [`BuildJournal::append`].
    pub async fn resume(&self, answer: &Resume) -> Result<(), JournalError> {
        let mut fold = self.fold.lock().await;
        let Some(held) = fold.held.clone() else { return Ok(()) };
        let event = JournalEvent::Resumed { action: answer.action, by: answer.by.clone() };
        let entry = self.entry(&fold, Some(held.step), event);
        persist(&self.lease, || self.journal.resume(&entry)).await?;
        fold.apply(&entry);
        Ok(())
    }

    /// # Errors
    /// When the lease is lost.
    pub async fn end(&self, ending: &Ending, cleanup: CleanupState) -> Result<(), JournalError> {
        persist(&self.lease, || self.journal.end(ending, cleanup)).await
    }

    /// # Errors
    /// When the lease is lost.
    pub async fn finish_cleanup(&self, cleanup: CleanupState, reason: Option<&str>) -> Result<(), JournalError> {
        persist(&self.lease, || self.journal.finish_cleanup(cleanup, reason)).await
    }

    fn entry(&self, fold: &Fold, step: Option<StepName>, event: JournalEvent) -> JournalEntry {
        JournalEntry { seq: fold.next_seq, attempt: self.attempt, step, event, at: self.time.now() }
    }
}

#[async_trait]
impl StepRecords for BuildJournal {
    async fn store_private_key(&self, attempt: Attempt, pem: &SecretString) -> Result<(), JournalError> {
        persist(&self.lease, || self.journal.store_private_key(attempt, pem.expose_secret())).await
    }

    async fn private_key(&self, attempt: Attempt) -> Result<Option<SecretString>, JournalError> {
        Ok(persist(&self.lease, || self.journal.private_key(attempt)).await?.map(SecretString::from))
    }

    async fn store_file(&self, file: &RunFile) -> Result<(), JournalError> {
        persist(&self.lease, || self.journal.store_file(file)).await
    }

    async fn staged(&self, ami_ids: &[String]) -> Result<Vec<StagedAmi>, JournalError> {
        persist(&self.lease, || self.journal.staged(ami_ids)).await
    }

    async fn give_up(&self, ami_ids: &[String]) -> Result<Vec<StagedAmi>, JournalError> {
        persist(&self.lease, || self.journal.give_up(ami_ids)).await
    }

    async fn found(&self, step: &StepName, ids: &[String]) -> Result<(), JournalError> {
        self.append(step, JournalEvent::UndoStarted { found: ids.to_vec() }).await
    }
}

/// Does a journal operation until it is done or can't be. Every write of a [`Journal`] may be repeated.
pub(super) async fn persist<T, F>(lease: &Lease, mut operation: impl FnMut() -> F) -> Result<T, JournalError>
where
    F: Future<Output = Result<T, JournalError>>,
{
    let mut pause = Duration::from_millis(100);
    loop {
        if lease.lost().is_cancelled() {
            return Err(JournalError::LeaseLost);
        }
        let answer = tokio::time::timeout(ANSWER_LIMIT, operation()).await;
        match answer.unwrap_or_else(|_| Err(JournalError::unanswered())) {
            Err(JournalError::Unavailable(reason)) => {
                tracing::warn!(reason, "the journal can't be reached; trying again");
                tokio::select! {
                    () = tokio::time::sleep(pause) => {}
                    () = lease.lost().cancelled() => return Err(JournalError::LeaseLost),
                }
                pause = (pause * 2).min(Duration::from_secs(5));
            }
            Err(JournalError::LeaseLost) => {
                lease.lose();
                return Err(JournalError::LeaseLost);
            }
            other => return other,
        }
    }
}
