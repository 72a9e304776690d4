//! Moving a build from one state to the next, and its run and image with it. Whoever moves a build holds its run's lock, so
//! what is computed from the builds' states stays true until commit.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use sqlx::PgConnection;
use uuid::Uuid;

use super::text::parse;
use super::{Actor, stage_moves};
use crate::domain::error::{Error, Result};
use crate::domain::ids::{BuildId, ImageId, RunId};
use crate::domain::image::ImageState;
use crate::domain::state::{BuildState, RunState, run_state};

/// The principal of what Ingot does by itself.
pub(super) const ENGINE: &str = "ingot";

/// A run whose row this transaction has locked.
pub(super) struct LockedRun {
    pub id: RunId,
    pub image_id: Uuid,
    pub account: String,
    pub state: RunState,
    pub cancel_requested: bool,
    pub timeout_seconds: Option<i64>,
    /// Stages that its image is promoted to once it is built.
    pub channels: Vec<String>,
    pub created_by: String,
}

pub(super) async fn lock_run(connection: &mut PgConnection, id: RunId) -> Result<Option<LockedRun>> {
    let row = sqlx::query!(
        r#"SELECT image_id, account, state, cancel_requested_at IS NOT NULL AS "cancel_requested!", timeout_seconds,
                  channels, created_by
           FROM runs WHERE id = $1 FOR NO KEY UPDATE"#,
        id.0
    )
    .fetch_optional(connection)
    .await?;
    row.map(|row| {
        Ok(LockedRun {
            id,
            image_id: row.image_id,
            account: row.account,
            state: parse("run state", &row.state)?,
            cancel_requested: row.cancel_requested,
            timeout_seconds: row.timeout_seconds,
            channels: row.channels,
            created_by: row.created_by,
        })
    })
    .transpose()
}

/// A build whose row this transaction has locked, after its run's.
pub(super) struct LockedBuild {
    pub state: BuildState,
    pub attempt: i32,
    pub cleanup: String,
    pub stuck_reason: Option<String>,
}

pub(super) async fn lock_build(connection: &mut PgConnection, id: BuildId) -> Result<Option<LockedBuild>> {
    let row =
        sqlx::query!("SELECT state, attempt, cleanup, stuck_reason FROM builds WHERE id = $1 FOR NO KEY UPDATE", id.0)
            .fetch_optional(connection)
            .await?;
    row.map(|row| {
        Ok(LockedBuild {
            state: parse("build state", &row.state)?,
            attempt: row.attempt,
            cleanup: row.cleanup,
            stuck_reason: row.stuck_reason,
        })
    })
    .transpose()
}

/// Writes what the run and its image are now that one of its builds has moved.
pub(super) async fn recompute(
    connection: &mut PgConnection,
    run: &LockedRun,
    now: DateTime<Utc>,
    principal: &str,
) -> Result<RunState> {
    let builds = sqlx::query!("SELECT state, error FROM builds WHERE run_id = $1 ORDER BY position", run.id.0)
        .fetch_all(&mut *connection)
        .await?;
    let states: Vec<BuildState> =
        builds.iter().map(|build| parse("build state", &build.state)).collect::<Result<_>>()?;
    let state = run_state(&states, run.cancel_requested);
    let error: Option<&Value> = match state {
        RunState::Failed | RunState::Cancelled => builds.iter().find_map(|build| build.error.as_ref()),
        _ => None,
    };
    sqlx::query!(
        "UPDATE runs
         SET state = $2, error = $3, finished_at = CASE WHEN $4::boolean THEN COALESCE(finished_at, $5) END
         WHERE id = $1",
        run.id.0,
        state.as_str(),
        error,
        state.is_over(),
        now
    )
    .execute(&mut *connection)
    .await?;
    let image = match state {
        RunState::Succeeded => ImageState::Built,
        state if state.is_over() => ImageState::Incomplete,
        _ => ImageState::Building,
    };
    let changed =
        sqlx::query!("UPDATE images SET state = $2 WHERE id = $1 AND state <> $2", run.image_id, image.as_str())
            .execute(&mut *connection)
            .await?;
    if changed.rows_affected() > 0 {
        image_event(connection, run.image_id, now, image.as_str(), principal, &json!({"run_id": run.id})).await?;
        if image == ImageState::Built && !run.channels.is_empty() {
            let actor = Actor { principal: run.created_by.clone(), request_id: None };
            stage_moves::follow_channels(connection, ImageId(run.image_id), &run.channels, &actor, now).await?;
        }
    }
    Ok(state)
}

pub(super) async fn image_event(
    connection: &mut PgConnection,
    image: Uuid,
    at: DateTime<Utc>,
    event: &str,
    principal: &str,
    data: &Value,
) -> Result<()> {
    sqlx::query!(
        "INSERT INTO image_events (image_id, at, event, principal, data) VALUES ($1, $2, $3, $4, $5)",
        image,
        at,
        event,
        principal,
        data
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Refuses a move that the domain does not know.
pub(super) fn check_move(build: BuildId, from: BuildState, to: BuildState) -> Result<()> {
    if from.may_become(to) {
        return Ok(());
    }
    Err(Error::internal(format!("build {build} is {from} and can't become {to}")))
}
