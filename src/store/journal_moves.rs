//! The writes of an owner that move its build to another state. Each is one short transaction that locks run, build and
//! lease in this order, and each may be repeated when its reply was lost.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;
use sqlx::{PgConnection, Postgres, Transaction};

use super::journal::{PgJournal, file_size};
use super::run_actions::{SECRETS_KEPT, cancelled};
use super::templates::put_blob;
use super::text::{storable, storable_json, to_json};
use super::transition::{self, ENGINE, LockedBuild, LockedRun, check_move, recompute};
use crate::domain::failure::Failure;
use crate::domain::hold::Hold;
use crate::domain::image::CommitRecord;
use crate::domain::journal::{Ending, JournalEntry, JournalError};
use crate::domain::state::{BuildState, CleanupState};

/// When what an unknown outcome may have left is looked for once more.
const SEARCH_AGAIN_AFTER: TimeDelta = TimeDelta::minutes(10);

struct Locked {
    tx: Transaction<'static, Postgres>,
    run: LockedRun,
    build: LockedBuild,
    /// False: this owner has given the lease back already, so the move may be a repetition.
    held: bool,
}

/// A stored file, ready to be named by a row.
struct StoredFile {
    name: String,
    sha256: Vec<u8>,
    size: i64,
}

impl PgJournal {
    async fn lock(&self) -> Result<Locked, JournalError> {
        let missing = || JournalError::Inconsistent(format!("build {} is not in the database", self.build));
        let mut tx = self.store.begin().await?;
        let run = transition::lock_run(&mut tx, self.run).await?.ok_or_else(missing)?;
        let build = transition::lock_build(&mut tx, self.build).await?.ok_or_else(missing)?;
        let lease = sqlx::query!(
            r#"SELECT epoch, owner IS NOT NULL AS "held!" FROM build_leases WHERE build_id = $1 FOR NO KEY UPDATE"#,
            self.build.0
        )
        .fetch_one(&mut *tx)
        .await?;
        if lease.epoch != self.epoch.0 {
            return Err(JournalError::LeaseLost);
        }
        Ok(Locked { tx, run, build, held: lease.held })
    }

    /// Writes the entry of a move; the same entry twice is fine.
    async fn write_entry(&self, connection: &mut PgConnection, entry: &JournalEntry) -> Result<(), JournalError> {
        let one = std::slice::from_ref(entry);
        if self.insert_entries(connection, one).await? == 1 {
            Ok(())
        } else {
            self.expect_entries(connection, one).await
        }
    }

    async fn free_lease(&self, connection: &mut PgConnection) -> Result<(), JournalError> {
        sqlx::query!("UPDATE build_leases SET owner = NULL, expires_at = NULL WHERE build_id = $1", self.build.0)
            .execute(connection)
            .await?;
        Ok(())
    }

    pub(super) async fn move_to_unwinding(
        &self,
        entry: &JournalEntry,
        failure: Option<&Failure>,
    ) -> Result<(), JournalError> {
        let now = self.store.now();
        let Locked { mut tx, run, build, held } = self.lock().await?;
        if !held {
            return Err(JournalError::LeaseLost);
        }
        if build.state == BuildState::Unwinding {
            return self.expect_entries(&mut tx, std::slice::from_ref(entry)).await;
        }
        check_move(self.build, build.state, BuildState::Unwinding)?;
        self.write_entry(&mut tx, entry).await?;
        sqlx::query!(
            "UPDATE builds SET state = 'unwinding', error = $2, hold = NULL WHERE id = $1",
            self.build.0,
            failure.map(to_json).transpose()?
        )
        .execute(&mut *tx)
        .await?;
        recompute(&mut tx, &run, now, ENGINE).await?;
        Ok(tx.commit().await?)
    }

    pub(super) async fn move_to_succeeded(
        &self,
        entry: &JournalEntry,
        record: &CommitRecord,
    ) -> Result<(), JournalError> {
        let now = self.store.now();
        // Before any lock: files may be large, and a blob that nothing refers to does no harm.
        let mut files = Vec::with_capacity(record.files.len());
        for file in &record.files {
            let size = file_size(file)?;
            let sha256 = put_blob(&self.store.pool, &file.bytes, now).await?;
            files.push(StoredFile { name: file.name.clone(), sha256, size });
        }
        let Locked { mut tx, run, build, held } = self.lock().await?;
        if build.state == BuildState::Succeeded {
            return self.expect_entries(&mut tx, std::slice::from_ref(entry)).await;
        }
        if !held {
            return Err(JournalError::LeaseLost);
        }
        check_move(self.build, build.state, BuildState::Succeeded)?;
        self.write_entry(&mut tx, entry).await?;
        self.write_image(&mut tx, &run, record, now).await?;
        self.write_files(&mut tx, &files, now).await?;
        self.write_manifest(&mut tx, record).await?;
        sqlx::query!(
            "UPDATE builds SET state = 'succeeded', cleanup = 'pending', artifact_id = $2, error = NULL, finished_at = $3
             WHERE id = $1",
            self.build.0,
            record.artifact_id,
            now
        )
        .execute(&mut *tx)
        .await?;
        sqlx::query!("DELETE FROM build_secrets WHERE build_id = $1", self.build.0).execute(&mut *tx).await?;
        let data = json!({"build_id": self.build, "artifact_id": record.artifact_id});
        transition::image_event(&mut tx, run.image_id, now, "build-committed", ENGINE, &data).await?;
        recompute(&mut tx, &run, now, ENGINE).await?;
        Ok(tx.commit().await?)
    }

    async fn write_image(
        &self,
        connection: &mut PgConnection,
        run: &LockedRun,
        record: &CommitRecord,
        now: DateTime<Utc>,
    ) -> Result<(), JournalError> {
        sqlx::query!(
            "UPDATE images SET os = COALESCE(os, $2), source_image = COALESCE(source_image, $3) WHERE id = $1",
            run.image_id,
            Some(storable(&record.os).into_owned()).filter(|os| !os.is_empty()),
            record.source.as_ref().map(to_json).transpose()?
        )
        .execute(&mut *connection)
        .await?;
        for copy in &record.copies {
            sqlx::query!(
                "INSERT INTO image_copies
                     (image_id, build_id, account, region, ami_id, snapshot_ids, platform, arch, state, created_at)
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 'available', $9)",
                run.image_id,
                self.build.0,
                run.account,
                copy.region,
                copy.ami_id,
                &copy.snapshot_ids,
                copy.platform,
                copy.architecture,
                now
            )
            .execute(&mut *connection)
            .await?;
        }
        // One key once: an upsert may not meet the same row twice.
        let tags: BTreeMap<&str, &str> =
            record.tags.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        let (keys, values): (Vec<String>, Vec<String>) =
            tags.into_iter().map(|(key, value)| (storable(key).into_owned(), storable(value).into_owned())).unzip();
        sqlx::query!(
            "INSERT INTO image_tags (image_id, key, value)
             SELECT $1, tag.key, tag.value FROM UNNEST($2::text[], $3::text[]) AS tag (key, value)
             ON CONFLICT (image_id, key) DO UPDATE SET value = EXCLUDED.value",
            run.image_id,
            &keys,
            &values
        )
        .execute(&mut *connection)
        .await?;
        sqlx::query!(
            "INSERT INTO build_tags (build_id, image_id, key, value)
             SELECT $1, $2, tag.key, tag.value FROM UNNEST($3::text[], $4::text[]) AS tag (key, value)
             ON CONFLICT (build_id, key) DO UPDATE SET value = EXCLUDED.value",
            self.build.0,
            run.image_id,
            &keys,
            &values
        )
        .execute(connection)
        .await?;
        Ok(())
    }

    async fn write_files(
        &self,
        connection: &mut PgConnection,
        files: &[StoredFile],
        now: DateTime<Utc>,
    ) -> Result<(), JournalError> {
        for file in files {
            sqlx::query!(
                "INSERT INTO run_files (run_id, build_id, name, blob_sha256, size_bytes, created_at)
                 VALUES ($1, $2, $3, $4, $5, $6)
                 ON CONFLICT (build_id, name) DO UPDATE
                 SET blob_sha256 = EXCLUDED.blob_sha256, size_bytes = EXCLUDED.size_bytes,
                     created_at = EXCLUDED.created_at",
                self.run.0,
                self.build.0,
                file.name,
                file.sha256,
                file.size,
                now
            )
            .execute(&mut *connection)
            .await?;
        }
        Ok(())
    }

    async fn write_manifest(&self, connection: &mut PgConnection, record: &CommitRecord) -> Result<(), JournalError> {
        for (position, entry) in (0_i32..).zip(&record.manifest) {
            sqlx::query!(
                // As text: a JSON parameter would travel as jsonb, which sorts the keys.
                "INSERT INTO manifest_entries (run_id, build_id, position, output, build)
                 VALUES ($1, $2, $3, $4, $5::text::json)",
                self.run.0,
                self.build.0,
                position,
                entry.output,
                storable_json(entry.build.clone()).to_string()
            )
            .execute(&mut *connection)
            .await?;
        }
        Ok(())
    }

    pub(super) async fn move_to_end(&self, ending: &Ending, cleanup: CleanupState) -> Result<(), JournalError> {
        let now = self.store.now();
        let Locked { mut tx, run, build, held } = self.lock().await?;
        let cancelled_failure = Some(cancelled());
        let (target, failure) = match ending {
            // Somebody cancelled while the last thing was being removed: nobody would cancel the queued build again.
            Ending::NextAttempt if run.cancel_requested => (BuildState::Cancelled, &cancelled_failure),
            Ending::NextAttempt => (BuildState::Queued, &None),
            Ending::Over { state, failure } => (*state, failure),
            Ending::Abandoned { failure, .. } => (BuildState::Failed, failure),
            Ending::Stuck { .. } => (BuildState::Stuck, &None),
        };
        if !held {
            // The same owner ended it before, and the reply was lost.
            return if build.state == target { Ok(()) } else { Err(JournalError::LeaseLost) };
        }
        if let Ending::Stuck { reason } = ending
            && build.state.is_over()
        {
            // Its clean-up can't go on; the build is what it was.
            sqlx::query!(
                "UPDATE builds SET cleanup = 'stuck', stuck_reason = $2, hold = NULL, kept_until = NULL WHERE id = $1",
                self.build.0,
                storable(reason).into_owned()
            )
            .execute(&mut *tx)
            .await?;
            self.free_lease(&mut tx).await?;
            return Ok(tx.commit().await?);
        }
        check_move(self.build, build.state, target)?;
        match ending {
            Ending::Stuck { reason } => {
                sqlx::query!(
                    "UPDATE builds SET state = 'stuck', stuck_reason = $2, hold = NULL WHERE id = $1",
                    self.build.0,
                    storable(reason).into_owned()
                )
                .execute(&mut *tx)
                .await?;
            }
            _ if target == BuildState::Queued => {
                sqlx::query!(
                    "UPDATE builds SET state = 'queued', attempt = attempt + 1, deadline = NULL, error = NULL,
                            started_at = NULL, cleanup = 'none'
                     WHERE id = $1",
                    self.build.0
                )
                .execute(&mut *tx)
                .await?;
            }
            _ => self.write_over(&mut tx, target, failure.as_ref(), cleanup, now).await?,
        }
        if let Ending::Abandoned { until, hold, .. } = ending {
            // The undo needs the secrets, so they outlive what is left in place.
            sqlx::query!(
                "WITH kept AS (UPDATE builds SET kept_until = $2, hold = $4 WHERE id = $1)
                 UPDATE build_secrets SET delete_after = GREATEST(delete_after, $3) WHERE build_id = $1",
                self.build.0,
                // Somebody who cancelled meanwhile wants nothing left in place.
                if run.cancel_requested { hold.since } else { *until },
                *until + SECRETS_KEPT,
                to_json(hold)?
            )
            .execute(&mut *tx)
            .await?;
        }
        self.free_lease(&mut tx).await?;
        recompute(&mut tx, &run, now, ENGINE).await?;
        Ok(tx.commit().await?)
    }

    async fn write_over(
        &self,
        connection: &mut PgConnection,
        state: BuildState,
        failure: Option<&Failure>,
        cleanup: CleanupState,
        now: DateTime<Utc>,
    ) -> Result<(), JournalError> {
        sqlx::query!(
            "UPDATE builds SET state = $2, error = $3, finished_at = $4, cleanup = $5, search_again_at = $6,
                    hold = NULL, kept_until = CASE WHEN $5::text = 'kept' THEN $4::timestamptz END
             WHERE id = $1",
            self.build.0,
            state.as_str(),
            failure.map(to_json).transpose()?,
            now,
            cleanup.as_str(),
            now + SEARCH_AGAIN_AFTER
        )
        .execute(&mut *connection)
        .await?;
        sqlx::query!(
            "UPDATE build_secrets SET delete_after = $2 WHERE build_id = $1",
            self.build.0,
            now + SECRETS_KEPT
        )
        .execute(connection)
        .await?;
        Ok(())
    }

    pub(super) async fn begin_hold(&self, entry: &JournalEntry, hold: &Hold) -> Result<(), JournalError> {
        let Locked { mut tx, held, .. } = self.lock().await?;
        if !held {
            return Err(JournalError::LeaseLost);
        }
        self.write_entry(&mut tx, entry).await?;
        sqlx::query!(
            // A repetition, after a reply was lost, must not take away what somebody has answered meanwhile.
            "UPDATE builds SET hold = $2, resume = CASE WHEN resume ->> 'seq' = $3 THEN resume END WHERE id = $1",
            self.build.0,
            to_json(hold)?,
            hold.seq.to_string()
        )
        .execute(&mut *tx)
        .await?;
        Ok(tx.commit().await?)
    }

    pub(super) async fn end_hold(&self, entry: &JournalEntry) -> Result<(), JournalError> {
        let Locked { mut tx, held, .. } = self.lock().await?;
        if !held {
            return Err(JournalError::LeaseLost);
        }
        self.write_entry(&mut tx, entry).await?;
        // A repetition finds no hold and moves nothing.
        sqlx::query!(
            "UPDATE builds
             SET deadline = deadline + (now() - (hold ->> 'since')::timestamptz), hold = NULL
             WHERE id = $1 AND hold IS NOT NULL",
            self.build.0
        )
        .execute(&mut *tx)
        .await?;
        Ok(tx.commit().await?)
    }

    pub(super) async fn note_cleanup(&self, cleanup: CleanupState, reason: Option<&str>) -> Result<(), JournalError> {
        let now = self.store.now();
        let Locked { mut tx, build, held, .. } = self.lock().await?;
        if !held {
            return if build.cleanup == cleanup.as_str() { Ok(()) } else { Err(JournalError::LeaseLost) };
        }
        let left_over = build.state == BuildState::Failed && build.cleanup != CleanupState::Done.as_str();
        if build.state != BuildState::Succeeded && !left_over {
            return Err(JournalError::Inconsistent(format!(
                "build {} is {}; only a build that is over has a clean-up of its own",
                self.build, build.state
            )));
        }
        sqlx::query!(
            "UPDATE builds SET cleanup = $2, stuck_reason = $3, search_again_at = $4, kept_until = NULL, hold = NULL WHERE id = $1",
            self.build.0,
            cleanup.as_str(),
            reason.map(|reason| storable(reason).into_owned()),
            now + SEARCH_AGAIN_AFTER
        )
        .execute(&mut *tx)
        .await?;
        self.free_lease(&mut tx).await?;
        Ok(tx.commit().await?)
    }
}
