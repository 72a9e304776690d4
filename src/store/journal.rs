//! Where the owner of one build writes. Every write carries the owner's lease epoch and touches the lease row with
//! `FOR SHARE`: a new owner's claim waits for writes under way and those that come later touch no row. Without the lock a
//! new owner could read the journal and miss a line that commits a moment later.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::PgConnection;
use zeroize::Zeroizing;

use super::Store;
use super::sealed::{Sealed, SecretKind};
use super::templates::put_blob;
use super::text::{from_json, parse, storable, to_json};
use crate::domain::error::Result as StoreResult;
use crate::domain::failure::Failure;
use crate::domain::hold::Hold;
use crate::domain::ids::{Attempt, BuildId, LeaseEpoch, RunId, StepName};
use crate::domain::image::{CommitRecord, RunFile};
use crate::domain::journal::{Control, Ending, Journal, JournalEntry, JournalError, JournalEvent, LogLine, StagedAmi};
use crate::domain::state::CleanupState;

/// A run file may have this many bytes at most.
pub const MAX_FILE_BYTES: usize = 64 * 1024 * 1024;

/// The journal of one build in `PostgreSQL`, for one owner.
#[derive(Clone)]
pub struct PgJournal {
    pub(super) store: Store,
    pub(super) build: BuildId,
    pub(super) run: RunId,
    pub(super) epoch: LeaseEpoch,
}

impl PgJournal {
    /// The run that the build belongs to.
    #[must_use]
    pub fn run_id(&self) -> RunId {
        self.run
    }

    /// Whether this owner still has the build; for saying why a write touched no row.
    async fn held(&self, connection: &mut PgConnection) -> Result<(), JournalError> {
        let held = sqlx::query_scalar!(
            r#"SELECT EXISTS (SELECT 1 FROM build_leases WHERE build_id = $1 AND epoch = $2 AND owner IS NOT NULL)
               AS "held!""#,
            self.build.0,
            self.epoch.0
        )
        .fetch_one(connection)
        .await?;
        if held { Ok(()) } else { Err(JournalError::LeaseLost) }
    }

    /// Inserts entries under the fence, leaves those that are there already, and says how many were new.
    pub(super) async fn insert_entries(
        &self,
        connection: &mut PgConnection,
        entries: &[JournalEntry],
    ) -> Result<u64, JournalError> {
        let (mut seqs, mut attempts, mut steps) = (Vec::new(), Vec::new(), Vec::new());
        let (mut events, mut data, mut times) = (Vec::new(), Vec::new(), Vec::new());
        for entry in entries {
            seqs.push(entry.seq);
            attempts.push(entry.attempt.0);
            steps.push(entry.step.as_ref().map(|step| step.0.clone()));
            events.push(entry.event.name().to_owned());
            data.push(to_json(&entry.event)?);
            times.push(entry.at);
        }
        let done = sqlx::query!(
            "INSERT INTO step_journal (build_id, seq, attempt, step, event, data, epoch, at)
             SELECT lease.build_id, entry.seq, entry.attempt, entry.step, entry.event, entry.data, lease.epoch, entry.at
             FROM (SELECT build_id, epoch FROM build_leases
                   WHERE build_id = $1 AND epoch = $2 AND owner IS NOT NULL FOR SHARE) AS lease,
                  UNNEST($3::bigint[], $4::integer[], $5::text[], $6::text[], $7::jsonb[], $8::timestamptz[])
                      AS entry (seq, attempt, step, event, data, at)
             ON CONFLICT (build_id, seq) DO NOTHING",
            self.build.0,
            self.epoch.0,
            &seqs,
            &attempts,
            &steps as &[Option<String>],
            &events,
            &data,
            &times
        )
        .execute(connection)
        .await?;
        Ok(done.rows_affected())
    }

    /// Whether the journal already holds exactly these entries.
    pub(super) async fn expect_entries(
        &self,
        connection: &mut PgConnection,
        entries: &[JournalEntry],
    ) -> Result<(), JournalError> {
        let seqs: Vec<i64> = entries.iter().map(|entry| entry.seq).collect();
        let rows = sqlx::query_as!(
            EntryRecord,
            "SELECT seq, attempt, step, data, at FROM step_journal WHERE build_id = $1 AND seq = ANY($2)",
            self.build.0,
            &seqs
        )
        .fetch_all(connection)
        .await?;
        for entry in entries {
            let wanted = to_json(&entry.event)?;
            let equal = rows.iter().any(|row| {
                row.seq == entry.seq
                    && row.attempt == entry.attempt.0
                    && row.step.as_deref() == entry.step.as_ref().map(|step| step.0.as_str())
                    && row.data == wanted
                    // PostgreSQL keeps microseconds.
                    && row.at.timestamp_micros() == entry.at.timestamp_micros()
            });
            if !equal {
                return Err(JournalError::Inconsistent(format!(
                    "line {} of build {} is not the {:?} that its owner wrote",
                    entry.seq,
                    self.build,
                    entry.event.name()
                )));
            }
        }
        Ok(())
    }

    async fn insert_log(&self, connection: &mut PgConnection, lines: &[LogLine]) -> Result<u64, JournalError> {
        let (mut seqs, mut times, mut steps) = (Vec::new(), Vec::new(), Vec::new());
        let (mut streams, mut texts) = (Vec::new(), Vec::new());
        for line in lines {
            seqs.push(line.seq);
            times.push(line.at);
            steps.push(line.step.clone());
            streams.push(line.stream.as_str().to_owned());
            texts.push(storable(&line.text).into_owned());
        }
        let done = sqlx::query!(
            "INSERT INTO build_log (build_id, seq, at, step, stream, text)
             SELECT lease.build_id, line.seq, line.at, line.step, line.stream, line.text
             FROM (SELECT build_id FROM build_leases
                   WHERE build_id = $1 AND epoch = $2 AND owner IS NOT NULL FOR SHARE) AS lease,
                  UNNEST($3::bigint[], $4::timestamptz[], $5::text[], $6::text[], $7::text[])
                      AS line (seq, at, step, stream, text)
             ON CONFLICT (build_id, seq) DO NOTHING",
            self.build.0,
            self.epoch.0,
            &seqs,
            &times,
            &steps as &[Option<String>],
            &streams,
            &texts
        )
        .execute(connection)
        .await?;
        Ok(done.rows_affected())
    }

    async fn expect_log(&self, connection: &mut PgConnection, lines: &[LogLine]) -> Result<(), JournalError> {
        let seqs: Vec<i64> = lines.iter().map(|line| line.seq).collect();
        let rows = sqlx::query!(
            "SELECT seq, stream, text FROM build_log WHERE build_id = $1 AND seq = ANY($2)",
            self.build.0,
            &seqs
        )
        .fetch_all(connection)
        .await?;
        for line in lines {
            let text = storable(&line.text);
            if !rows.iter().any(|row| row.seq == line.seq && row.stream == line.stream.as_str() && row.text == text) {
                return Err(JournalError::Inconsistent(format!(
                    "log line {} of build {} is not the one that its owner wrote",
                    line.seq, self.build
                )));
            }
        }
        Ok(())
    }
}

/// A journal line as it is stored.
pub(super) struct EntryRecord {
    pub seq: i64,
    pub attempt: i32,
    pub step: Option<String>,
    pub data: Value,
    pub at: DateTime<Utc>,
}

impl EntryRecord {
    pub(super) fn read(self) -> StoreResult<JournalEntry> {
        Ok(JournalEntry {
            seq: self.seq,
            attempt: Attempt(self.attempt),
            step: self.step.map(StepName),
            event: from_json("journal entry", self.data)?,
            at: self.at,
        })
    }
}

impl Store {
    /// A build's journal, in order.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn journal(&self, build: BuildId) -> StoreResult<Vec<JournalEntry>> {
        sqlx::query_as!(
            EntryRecord,
            "SELECT seq, attempt, step, data, at FROM step_journal WHERE build_id = $1 ORDER BY seq",
            build.0
        )
        .fetch_all(&self.pool)
        .await?
        .into_iter()
        .map(EntryRecord::read)
        .collect()
    }

    /// A build's log lines after `after_seq` (0: from the start), at most `limit`, in order.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn log(&self, build: BuildId, after_seq: i64, limit: i64) -> StoreResult<Vec<LogLine>> {
        let rows = sqlx::query!(
            "SELECT seq, at, step, stream, text FROM build_log WHERE build_id = $1 AND seq > $2 ORDER BY seq LIMIT $3",
            build.0,
            after_seq,
            limit
        )
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter()
            .map(|row| {
                let stream = parse("log stream", &row.stream)?;
                Ok(LogLine { seq: row.seq, at: row.at, step: row.step, stream, text: row.text })
            })
            .collect()
    }
}

#[async_trait]
impl Journal for PgJournal {
    fn build_id(&self) -> BuildId {
        self.build
    }

    fn epoch(&self) -> LeaseEpoch {
        self.epoch
    }

    async fn load(&self) -> Result<Vec<JournalEntry>, JournalError> {
        Ok(self.store.journal(self.build).await?)
    }

    async fn append(&self, entries: &[JournalEntry]) -> Result<(), JournalError> {
        let moves = |event: &JournalEvent| {
            use JournalEvent::{Committed, Held, Resumed, Unwinding};
            matches!(event, Committed | Unwinding { .. } | Held { .. } | Resumed { .. })
        };
        if let Some(entry) = entries.iter().find(|entry| moves(&entry.event)) {
            let name = entry.event.name();
            return Err(JournalError::Inconsistent(format!("{name:?} moves the build and can't be appended alone")));
        }
        if entries.is_empty() {
            return Ok(());
        }
        // One statement is one transaction, and one round trip.
        let mut connection = self.store.pool.acquire().await?;
        if self.insert_entries(&mut connection, entries).await? == entries.len() as u64 {
            return Ok(());
        }
        self.held(&mut connection).await?;
        self.expect_entries(&mut connection, entries).await
    }

    async fn heartbeat(&self) -> Result<bool, JournalError> {
        let done = sqlx::query!(
            "UPDATE build_leases SET expires_at = now() + interval '60 seconds'
             WHERE build_id = $1 AND epoch = $2 AND owner IS NOT NULL",
            self.build.0,
            self.epoch.0
        )
        .execute(&self.store.pool)
        .await?;
        Ok(done.rows_affected() == 1)
    }

    async fn control(&self) -> Result<Control, JournalError> {
        self.store.controls.of(self.build).await
    }

    async fn store_private_key(&self, attempt: Attempt, pem: &str) -> Result<(), JournalError> {
        let kind = SecretKind::PrivateKey(attempt);
        let sealed = self.store.sealer.seal(self.build, kind, pem.as_bytes())?;
        let mut connection = self.store.pool.acquire().await?;
        let done = sqlx::query!(
            "INSERT INTO build_secrets (build_id, kind, key_id, nonce, ciphertext)
             SELECT lease.build_id, $3, $4, $5, $6
             FROM (SELECT build_id FROM build_leases
                   WHERE build_id = $1 AND epoch = $2 AND owner IS NOT NULL FOR SHARE) AS lease
             ON CONFLICT (build_id, kind) DO NOTHING",
            self.build.0,
            self.epoch.0,
            kind.to_string(),
            sealed.key_id,
            sealed.nonce,
            sealed.ciphertext
        )
        .execute(&mut *connection)
        .await?;
        if done.rows_affected() == 1 { Ok(()) } else { self.held(&mut connection).await }
    }

    async fn private_key(&self, attempt: Attempt) -> Result<Option<String>, JournalError> {
        let kind = SecretKind::PrivateKey(attempt);
        let Some(opened) = self.store.open_secret(self.build, kind).await? else { return Ok(None) };
        let text = String::from_utf8(opened.to_vec());
        text.map(Some)
            .map_err(|_| JournalError::Inconsistent(format!("secret {kind} of build {} is no text", self.build)))
    }

    async fn last_log_seq(&self) -> Result<i64, JournalError> {
        let last = sqlx::query_scalar!(
            r#"SELECT COALESCE(max(seq), 0) AS "last!" FROM build_log WHERE build_id = $1"#,
            self.build.0
        )
        .fetch_one(&self.store.pool)
        .await?;
        Ok(last)
    }

    async fn append_log(&self, lines: &[LogLine]) -> Result<(), JournalError> {
        if lines.is_empty() {
            return Ok(());
        }
        let mut connection = self.store.pool.acquire().await?;
        if self.insert_log(&mut connection, lines).await? == lines.len() as u64 {
            return Ok(());
        }
        self.held(&mut connection).await?;
        self.expect_log(&mut connection, lines).await
    }

    async fn staged(&self, ami_ids: &[String]) -> Result<Vec<StagedAmi>, JournalError> {
        let mut connection = self.store.pool.acquire().await?;
        staged(&mut connection, ami_ids).await
    }

    async fn give_up(&self, ami_ids: &[String]) -> Result<Vec<StagedAmi>, JournalError> {
        let mut tx = self.store.begin().await?;
        self.held(&mut tx).await?;
        // Moves of a family's stages take its row first.
        sqlx::query!(
            "SELECT f.name FROM families f
             WHERE f.name IN (SELECT i.family FROM image_copies c JOIN images i ON i.id = c.image_id
                              WHERE c.ami_id = ANY($1))
             ORDER BY f.name FOR NO KEY UPDATE",
            ami_ids
        )
        .fetch_all(&mut *tx)
        .await?;
        let found = staged(&mut tx, ami_ids).await?;
        if found.is_empty() {
            sqlx::query!("UPDATE image_copies SET state = 'deregistered' WHERE ami_id = ANY($1)", ami_ids)
                .execute(&mut *tx)
                .await?;
            tx.commit().await?;
        }
        Ok(found)
    }

    async fn store_file(&self, file: &RunFile) -> Result<(), JournalError> {
        let size = file_size(file)?;
        let now = self.store.now();
        let mut connection = self.store.pool.acquire().await?;
        self.held(&mut connection).await?;
        // Content is stored by its hash, so a blob that nothing refers to yet does no harm.
        let sha256 = put_blob(&mut *connection, &file.bytes, now).await?;
        let done = sqlx::query!(
            "INSERT INTO run_files (run_id, build_id, name, blob_sha256, size_bytes, created_at)
             SELECT $3, lease.build_id, $4, $5, $6, $7
             FROM (SELECT build_id FROM build_leases
                   WHERE build_id = $1 AND epoch = $2 AND owner IS NOT NULL FOR SHARE) AS lease
             ON CONFLICT (build_id, name) DO UPDATE
             SET blob_sha256 = EXCLUDED.blob_sha256, size_bytes = EXCLUDED.size_bytes, created_at = EXCLUDED.created_at",
            self.build.0,
            self.epoch.0,
            self.run.0,
            file.name,
            sha256,
            size,
            now
        )
        .execute(connection.as_mut())
        .await?;
        if done.rows_affected() == 1 { Ok(()) } else { Err(JournalError::LeaseLost) }
    }

    async fn begin_unwinding(&self, entry: &JournalEntry, failure: Option<&Failure>) -> Result<(), JournalError> {
        self.move_to_unwinding(entry, failure).await
    }

    async fn commit(&self, entry: &JournalEntry, record: &CommitRecord) -> Result<(), JournalError> {
        self.move_to_succeeded(entry, record).await
    }

    async fn end(&self, ending: &Ending, cleanup: CleanupState) -> Result<(), JournalError> {
        self.move_to_end(ending, cleanup).await
    }

    async fn hold(&self, entry: &JournalEntry, hold: &Hold) -> Result<(), JournalError> {
        self.begin_hold(entry, hold).await
    }

    async fn resume(&self, entry: &JournalEntry) -> Result<(), JournalError> {
        self.end_hold(entry).await
    }

    async fn finish_cleanup(&self, cleanup: CleanupState, reason: Option<&str>) -> Result<(), JournalError> {
        self.note_cleanup(cleanup, reason).await
    }

    async fn release(&self) -> Result<(), JournalError> {
        let done = sqlx::query!(
            "UPDATE build_leases SET owner = NULL, expires_at = NULL WHERE build_id = $1 AND epoch = $2",
            self.build.0,
            self.epoch.0
        )
        .execute(&self.store.pool)
        .await?;
        if done.rows_affected() == 1 { Ok(()) } else { Err(JournalError::LeaseLost) }
    }
}

pub(super) fn file_size(file: &RunFile) -> Result<i64, JournalError> {
    let size = file.bytes.len();
    if size > MAX_FILE_BYTES {
        return Err(JournalError::Inconsistent(format!(
            "{:?} has {size} bytes; a run file has 64 MiB at most",
            file.name
        )));
    }
    i64::try_from(size).map_err(|_| JournalError::Inconsistent("a file is too long".into()))
}

impl Store {
    /// Opens a build's secret; `None` when it was deleted.
    pub(super) async fn open_secret(
        &self,
        build: BuildId,
        kind: SecretKind,
    ) -> StoreResult<Option<Zeroizing<Vec<u8>>>> {
        let row = sqlx::query_as!(
            Sealed,
            "SELECT key_id, nonce, ciphertext FROM build_secrets WHERE build_id = $1 AND kind = $2",
            build.0,
            kind.to_string()
        )
        .fetch_optional(&self.pool)
        .await?;
        row.map(|sealed| self.sealer.open(build, kind, &sealed)).transpose()
    }
}

async fn staged(connection: &mut PgConnection, ami_ids: &[String]) -> Result<Vec<StagedAmi>, JournalError> {
    Ok(sqlx::query_as!(
        StagedAmi,
        "SELECT c.ami_id, p.family, p.stage FROM image_copies c JOIN stage_pointers p ON p.image_id = c.image_id
         WHERE c.ami_id = ANY($1) ORDER BY c.ami_id, p.stage",
        ami_ids
    )
    .fetch_all(connection)
    .await?)
}
