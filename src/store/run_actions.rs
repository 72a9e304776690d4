//! What people do to a run: cancel it, retry it, and free what is stuck.

use chrono::{DateTime, TimeDelta, Utc};
use secrecy::SecretString;
use serde_json::json;
use sqlx::PgConnection;

use super::audit::{self, Deed};
use super::runs::{self, BuildRow, RunRow, build_not_found, run_not_found};
use super::sealed::SecretKind;
use super::text::{from_json, storable, to_json};
use super::transition::{LockedBuild, LockedRun, check_move, lock_build, lock_run, recompute};
use super::{Actor, Store};
use crate::domain::error::{Error, Result};
use crate::domain::failure::{Failure, FailureClass};
use crate::domain::hold::{Hold, HoldReason, Resume, ResumeAction};
use crate::domain::ids::{Attempt, BuildId, RunId};
use crate::domain::journal::{JournalEvent, UnwindReason};
use crate::domain::state::{BuildState, CleanupState, RunState};

/// How long the secrets of a build without success stay, so that it can be retried.
pub const SECRETS_KEPT: TimeDelta = TimeDelta::hours(24);

impl Store {
    /// Asks a run to stop. Builds that wait are cancelled at once; those at work see the request and undo what they made.
    /// Asking twice is the same as once.
    ///
    /// # Errors
    /// `run-not-found`; `run-is-over` when nothing is left to cancel; or the database is away.
    pub async fn request_cancel(&self, id: RunId, actor: &Actor) -> Result<RunRow> {
        let now = self.now();
        let mut tx = self.begin().await?;
        let mut run = lock_run(&mut tx, id).await?.ok_or_else(run_not_found)?;
        if run.state.is_over() {
            return Err(Error::conflict(
                "run-is-over",
                format!("The run has {}; there is nothing to cancel.", run.state),
            ));
        }
        if !run.cancel_requested {
            sqlx::query!(
                "UPDATE runs SET cancel_requested_at = $2, cancel_requested_by = $3 WHERE id = $1",
                id.0,
                now,
                actor.principal
            )
            .execute(&mut *tx)
            .await?;
            run.cancel_requested = true;
            cancel_queued(&mut tx, id, now).await?;
            let after = recompute(&mut tx, &run, now, &actor.principal).await?;
            let deed = Deed {
                action: "run.cancel",
                subject: format!("run/{id}"),
                before: Some(json!({"state": run.state})),
                after: Some(json!({"state": after})),
            };
            audit::write(&mut tx, now, actor, deed).await?;
        }
        let row = runs::by_id(&mut tx, id).await?;
        tx.commit().await?;
        Ok(row)
    }

    /// Queues the failed and cancelled builds of a run again, as the next attempt of the same frozen plan. `stages`: those that
    /// the run's image may go to from now on, of those it was to go to; `None`: all.
    ///
    /// # Errors
    /// `run-not-found`; `run-not-retryable` when it has not failed and was not cancelled; `secrets-gone` when the sealed
    /// configuration was deleted; or the database is away.
    pub async fn retry(&self, id: RunId, stages: Option<&[String]>, actor: &Actor) -> Result<RunRow> {
        let now = self.now();
        let mut tx = self.begin().await?;
        let mut run = lock_run(&mut tx, id).await?.ok_or_else(run_not_found)?;
        if !matches!(run.state, RunState::Failed | RunState::Cancelled) {
            return Err(Error::conflict(
                "run-not-retryable",
                format!("The run is {}; only a failed or cancelled run can be retried.", run.state),
            ));
        }
        check_nothing_kept(&mut tx, id).await?;
        check_secrets(&mut tx, id, now).await?;
        sqlx::query!(
            "UPDATE builds
             SET state = 'queued', attempt = attempt + 1, attempts_allowed = GREATEST(attempts_allowed, attempt) + 1,
                 cleanup = 'none', stuck_reason = NULL, error = NULL, started_at = NULL, deadline = NULL, finished_at = NULL
             WHERE run_id = $1 AND state IN ('failed', 'cancelled')",
            id.0
        )
        .execute(&mut *tx)
        .await?;
        sqlx::query!(
            "UPDATE build_secrets SET delete_after = NULL
             WHERE build_id IN (SELECT id FROM builds WHERE run_id = $1 AND state = 'queued')",
            id.0
        )
        .execute(&mut *tx)
        .await?;
        sqlx::query!("UPDATE runs SET cancel_requested_at = NULL, cancel_requested_by = NULL WHERE id = $1", id.0)
            .execute(&mut *tx)
            .await?;
        run.cancel_requested = false;
        if let Some(stages) = stages {
            let left = run.channels.iter().take_while(|stage| stages.contains(stage)).count();
            run.channels.truncate(left);
            sqlx::query!("UPDATE runs SET channels = $2 WHERE id = $1", id.0, &run.channels).execute(&mut *tx).await?;
        }
        let after = recompute(&mut tx, &run, now, &actor.principal).await?;
        let deed = Deed {
            action: "run.retry",
            subject: format!("run/{id}"),
            before: Some(json!({"state": run.state})),
            after: Some(json!({"state": after})),
        };
        audit::write(&mut tx, now, actor, deed).await?;
        let row = runs::by_id(&mut tx, id).await?;
        tx.commit().await?;
        Ok(row)
    }

    /// Answers a build that holds, or lets what a failed build left in place be removed now. `meant`: the number of the hold
    /// that is meant, so that an answer that is sent twice can't hit the next one.
    ///
    /// # Errors
    /// `build-not-found`; `build-not-held`; `action-not-possible` for `retry` where nothing failed and such; or the
    /// database is away.
    pub async fn resume_build(
        &self,
        id: BuildId,
        action: ResumeAction,
        meant: Option<i64>,
        actor: &Actor,
    ) -> Result<BuildRow> {
        let now = self.now();
        let run_id = self.run_of(id).await?;
        let mut tx = self.begin().await?;
        let run = lock_run(&mut tx, run_id).await?.ok_or_else(run_not_found)?;
        let build = lock_build(&mut tx, id).await?.ok_or_else(build_not_found)?;
        let stored = sqlx::query_scalar!("SELECT hold FROM builds WHERE id = $1", id.0).fetch_one(&mut *tx).await?;
        match stored.map(|hold| from_json::<Hold>("hold", hold)).transpose()? {
            Some(hold) if meant.is_some_and(|seq| seq != hold.seq) => {
                return Err(Error::conflict(
                    "build-not-held",
                    format!(
                        "The hold that this answers is over; now the build holds at {}, or is left in place.",
                        hold.step
                    ),
                ));
            }
            _ if build.cleanup == CleanupState::Kept.as_str() => let_go(&mut tx, id, action).await?,
            Some(hold) => answer_hold(&mut tx, id, &hold, action, actor).await?,
            None => {
                let cancel = if run.state.is_over() { "" } else { " To stop it, cancel its run." };
                return Err(Error::conflict(
                    "build-not-held",
                    format!("The build is {} and waits for nobody's answer.{cancel}", build.state),
                ));
            }
        }
        let deed = Deed {
            action: "build.resume",
            subject: format!("build/{id}"),
            before: Some(json!({"state": build.state, "cleanup": build.cleanup})),
            after: Some(json!({"action": action})),
        };
        audit::write(&mut tx, now, actor, deed).await?;
        tx.commit().await?;
        self.build(id).await
    }

    /// The private key of the machine of a build that holds or was left in place, for the person who looks at it. The
    /// audit says who took it.
    ///
    /// # Errors
    /// `build-not-found`; `build-not-held`; `key-missing` when the build has no temporary key; or the database is away.
    pub async fn take_ssh_key(&self, id: BuildId, actor: &Actor) -> Result<SecretString> {
        let row = self.build(id).await?;
        if row.hold.is_none() && row.cleanup != CleanupState::Kept {
            return Err(Error::conflict(
                "build-not-held",
                format!("The build is {}; the key of its machine is shown only while the build holds.", row.state),
            ));
        }
        let missing = || Error::not_found("key-missing", "The build has made no temporary key pair (yet).");
        let kind = SecretKind::PrivateKey(Attempt(row.attempt));
        let key = self.open_secret(id, kind).await?.ok_or_else(missing)?;
        let key = String::from_utf8(key.to_vec()).map_err(|_| Error::internal("a private key is no text"))?;
        let mut connection = self.pool.acquire().await?;
        let deed = Deed { action: "build.ssh-key", subject: format!("build/{id}"), before: None, after: None };
        audit::write(&mut connection, self.now(), actor, deed).await?;
        Ok(SecretString::from(key))
    }

    async fn run_of(&self, id: BuildId) -> Result<RunId> {
        sqlx::query_scalar!("SELECT run_id FROM builds WHERE id = $1", id.0)
            .fetch_optional(&self.pool)
            .await?
            .map(RunId)
            .ok_or_else(build_not_found)
    }

    /// An operator's "try again" for a build that is stuck, or whose clean-up is: its undo goes on where it stopped. A new
    /// `Unwinding` line in the journal says so, from which failed undos are counted anew.
    ///
    /// # Errors
    /// `build-not-found`; `build-not-stuck`; or the database is away.
    pub async fn retry_stuck(&self, id: BuildId, actor: &Actor) -> Result<BuildRow> {
        let now = self.now();
        let run_id = self.run_of(id).await?;
        let mut tx = self.begin().await?;
        let run = lock_run(&mut tx, run_id).await?.ok_or_else(run_not_found)?;
        let build = lock_build(&mut tx, id).await?.ok_or_else(build_not_found)?;
        free_stuck(&mut tx, &run, id, &build, now).await?;
        recompute(&mut tx, &run, now, &actor.principal).await?;
        let deed = Deed {
            action: "build.retry-stuck",
            subject: format!("build/{id}"),
            before: Some(json!({"state": build.state, "cleanup": build.cleanup, "reason": build.stuck_reason})),
            after: None,
        };
        audit::write(&mut tx, now, actor, deed).await?;
        tx.commit().await?;
        self.build(id).await
    }
}

async fn answer_hold(
    connection: &mut PgConnection,
    id: BuildId,
    hold: &Hold,
    action: ResumeAction,
    actor: &Actor,
) -> Result<()> {
    if !hold.reason.answers().contains(&action) {
        let public = if hold.reason == HoldReason::Failure {
            format!("Step {} failed, so the build can't continue; answer retry, cleanup or abort.", hold.step)
        } else {
            format!("The build holds before {} and nothing failed; answer continue, cleanup or abort.", hold.step)
        };
        return Err(not_possible(public));
    }
    let resume = Resume { seq: hold.seq, action, by: actor.principal.clone() };
    let done = sqlx::query!(
        // An answer in the last moments would cross the end of the hold.
        "UPDATE builds SET resume = $2
         WHERE id = $1 AND (resume IS NULL OR resume ->> 'seq' <> $3 OR resume ->> 'action' = $4)
           AND (hold ->> 'until')::timestamptz > now() + interval '2 seconds'",
        id.0,
        to_json(&resume)?,
        hold.seq.to_string(),
        action.as_str()
    )
    .execute(connection)
    .await?;
    if done.rows_affected() == 0 {
        return Err(Error::conflict(
            "build-already-answered",
            "Somebody has answered this hold already, or its time is over.",
        ));
    }
    Ok(())
}

/// The next claim of any server removes what was left in place.
async fn let_go(connection: &mut PgConnection, id: BuildId, action: ResumeAction) -> Result<()> {
    if action != ResumeAction::Cleanup {
        return Err(not_possible(
            "The build is over and what it made is left in place; the one possible answer is cleanup.".to_owned(),
        ));
    }
    sqlx::query!("UPDATE builds SET cleanup = 'pending', hold = NULL WHERE id = $1", id.0).execute(connection).await?;
    Ok(())
}

fn not_possible(public: String) -> Error {
    Error::conflict("action-not-possible", public)
}

pub(super) fn cancelled() -> Failure {
    Failure::new(FailureClass::Cancelled, "cancelled", "The run was cancelled.")
}

/// Builds that wait have made nothing, so they are over at once.
async fn cancel_queued(connection: &mut PgConnection, run: RunId, now: DateTime<Utc>) -> Result<()> {
    let builds = sqlx::query_scalar!(
        "UPDATE builds SET state = 'cancelled', error = $2, finished_at = $3
         WHERE run_id = $1 AND state = 'queued'
         RETURNING id",
        run.0,
        to_json(&cancelled())?,
        now
    )
    .fetch_all(&mut *connection)
    .await?;
    sqlx::query!("UPDATE build_secrets SET delete_after = $2 WHERE build_id = ANY($1)", &builds, now + SECRETS_KEPT)
        .execute(connection)
        .await?;
    Ok(())
}

/// What a build has left in place must go before the next attempt begins.
async fn check_nothing_kept(connection: &mut PgConnection, run: RunId) -> Result<()> {
    let kept = sqlx::query!(
        "SELECT id, name, cleanup FROM builds
         WHERE run_id = $1 AND state = 'failed' AND cleanup IN ('kept', 'pending', 'stuck')
         ORDER BY position
         LIMIT 1",
        run.0
    )
    .fetch_optional(connection)
    .await?;
    match kept {
        None => Ok(()),
        Some(build) => {
            let id = build.id;
            let how = match build.cleanup.as_str() {
                "kept" => format!(
                    "POST /v1/builds/{id}/resume with {{\"action\": \"cleanup\"}}, wait until its cleanup is done"
                ),
                "stuck" => {
                    format!("Its removal is stuck: POST /v1/builds/{id}/try-again, wait until its cleanup is done")
                }
                _ => "It is being removed: wait until its cleanup is done".to_owned(),
            };
            let public = format!(
                "What build {} made is still in place (cleanup: {}). {how}, then retry.",
                build.name, build.cleanup
            );
            Err(Error::conflict("build-left-in-place", public))
        }
    }
}

async fn check_secrets(connection: &mut PgConnection, run: RunId, now: DateTime<Utc>) -> Result<()> {
    let gone = sqlx::query_scalar!(
        "SELECT b.name FROM builds b
         WHERE b.run_id = $1 AND b.state IN ('failed', 'cancelled')
           AND NOT EXISTS (SELECT 1 FROM build_secrets s
                           WHERE s.build_id = b.id AND s.kind = 'config'
                             AND (s.delete_after IS NULL OR s.delete_after > $2))
         ORDER BY b.position
         LIMIT 1",
        run.0,
        now
    )
    .fetch_optional(connection)
    .await?;
    match gone {
        None => Ok(()),
        Some(build) => Err(Error::conflict(
            "secrets-gone",
            format!(
                "The sealed configuration of build {build} was deleted 24 hours after it ended, so it can't be retried; \
                 start a new run of the same template version."
            ),
        )),
    }
}

async fn free_stuck(
    connection: &mut PgConnection,
    run: &LockedRun,
    id: BuildId,
    build: &LockedBuild,
    now: DateTime<Utc>,
) -> Result<()> {
    let after_end = matches!(build.state, BuildState::Succeeded | BuildState::Failed) && build.cleanup == "stuck";
    if build.state != BuildState::Stuck && !after_end {
        return Err(Error::conflict("build-not-stuck", format!("The build is {}, not stuck.", build.state)));
    }
    // Nobody owns a stuck build; the lock keeps it so until the line is written.
    let epoch = sqlx::query_scalar!(
        "UPDATE build_leases SET owner = NULL, expires_at = NULL WHERE build_id = $1 RETURNING epoch",
        id.0
    )
    .fetch_one(&mut *connection)
    .await?;
    let event = unwinding_again(connection, id, build).await?;
    sqlx::query!(
        "INSERT INTO step_journal (build_id, seq, attempt, event, data, epoch, at)
         SELECT $1, COALESCE(max(seq), 0) + 1, $2, $3, $4, $5, $6 FROM step_journal WHERE build_id = $1",
        id.0,
        build.attempt,
        event.name(),
        to_json(&event)?,
        epoch,
        now
    )
    .execute(&mut *connection)
    .await?;
    if after_end {
        sqlx::query!("UPDATE builds SET cleanup = 'pending', stuck_reason = NULL WHERE id = $1", id.0)
            .execute(connection)
            .await?;
    } else {
        check_move(id, build.state, BuildState::Unwinding)?;
        sqlx::query!("UPDATE builds SET state = 'unwinding', stuck_reason = NULL WHERE id = $1", id.0)
            .execute(connection)
            .await?;
    }
    debug_assert!(!run.state.is_over() || after_end, "a run with a stuck build is not over");
    Ok(())
}

/// The reason for which the attempt was being undone, said once more; a build that stuck on its way forward is undone
/// because of that.
async fn unwinding_again(connection: &mut PgConnection, id: BuildId, build: &LockedBuild) -> Result<JournalEvent> {
    let last = sqlx::query_scalar!(
        "SELECT data FROM step_journal
         WHERE build_id = $1 AND attempt = $2 AND event = 'unwinding'
         ORDER BY seq DESC
         LIMIT 1",
        id.0,
        build.attempt
    )
    .fetch_optional(connection)
    .await?;
    if let Some(data) = last {
        return from_json("journal entry", data);
    }
    let reason = build.stuck_reason.as_deref().unwrap_or("The build was stuck.");
    let failure = Failure::ours("stuck", storable(reason));
    Ok(JournalEvent::Unwinding { reason: UnwindReason::Failed, failure: Some(failure) })
}
