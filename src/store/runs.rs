//! Runs and their builds, as people read them.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::PgConnection;
use uuid::Uuid;

use super::text::{from_json, parse};
use super::{Page, Store};
use crate::domain::dedupe::Explanation;
use crate::domain::error::{Error, Result};
use crate::domain::failure::Failure;
use crate::domain::hold::{Hold, RunOptions};
use crate::domain::ids::{BuildId, ImageId, RunId, ScheduleId, TemplateId};
use crate::domain::image::ImageState;
use crate::domain::plan::Plan;
use crate::domain::state::{BuildState, CleanupState, RunState};

/// A run with its builds.
#[derive(Debug, Clone, PartialEq)]
pub struct RunRow {
    pub id: RunId,
    pub template_id: TemplateId,
    /// The template's name.
    pub template: String,
    pub version: i32,
    pub account: String,
    pub trigger: String,
    pub state: RunState,
    pub variables: Value,
    pub git_sha: Option<String>,
    pub labels: Value,
    /// Stages that the image is promoted to once it is built.
    pub channels: Vec<String>,
    pub only: Vec<String>,
    pub except: Vec<String>,
    pub timeout_seconds: Option<i64>,
    pub options: RunOptions,
    /// Higher is claimed first.
    pub priority: i32,
    /// That of the first build that failed.
    pub error: Option<Value>,
    pub cancel_requested_at: Option<DateTime<Utc>>,
    /// The schedule that started it.
    pub schedule_id: Option<ScheduleId>,
    /// The schedule's time that it is for; `None` when it was triggered by hand.
    pub slot: Option<DateTime<Utc>>,
    pub created_by: String,
    pub created_at: DateTime<Utc>,
    pub started_at: Option<DateTime<Utc>>,
    pub finished_at: Option<DateTime<Utc>>,
    /// In the template's order.
    pub builds: Vec<BuildRow>,
    pub image: ImageRef,
    /// Why the request that asked about other runs got this one; `None`: it did not ask.
    pub dedupe: Option<Explanation>,
    /// Requests that got this run after it was made.
    pub joined_by: i64,
}

/// The image that a run makes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageRef {
    pub id: ImageId,
    pub family: String,
    pub number: i64,
    pub state: ImageState,
}

/// A build of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct BuildRow {
    pub id: BuildId,
    pub run_id: RunId,
    pub name: String,
    pub builder_type: String,
    pub region: String,
    pub account: String,
    pub state: BuildState,
    pub attempt: i32,
    pub cleanup: CleanupState,
    /// Where the build waits for a person.
    pub hold: Option<Hold>,
    /// Until when what the build made is left in place, for `kept`.
    pub kept_until: Option<DateTime<Utc>>,
    /// Why a person has to look.
    pub stuck_reason: Option<String>,
    pub error: Option<Failure>,
    /// Packer's artifact id.
    pub artifact_id: Option<String>,
    pub artifacts: Vec<ArtifactRow>,
    pub plan: Plan,
    pub created_at: DateTime<Utc>,
    /// Start of the present attempt.
    pub started_at: Option<DateTime<Utc>>,
    pub finished_at: Option<DateTime<Utc>>,
}

/// What a build made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArtifactRow {
    /// `ami`, `volume`, `snapshot`.
    pub kind: &'static str,
    pub id: String,
    pub account: String,
    pub region: String,
}

/// Which runs to list; what is `None` does not matter.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct RunFilter {
    /// The template's name.
    pub template: Option<String>,
    pub state: Option<RunState>,
    pub account: Option<String>,
    pub git_sha: Option<String>,
    pub schedule: Option<ScheduleId>,
    /// A JSON object; all its labels must be there.
    pub labels: Option<Value>,
}

impl Store {
    /// One run.
    ///
    /// # Errors
    /// `run-not-found`, or the database is away.
    pub async fn run(&self, id: RunId) -> Result<RunRow> {
        let mut tx = self.snapshot().await?;
        by_id(&mut tx, id).await
    }

    /// Runs, newest first.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn runs(&self, page: &Page, filter: &RunFilter) -> Result<Vec<RunRow>> {
        let mut tx = self.snapshot().await?;
        select(&mut tx, None, page, filter).await
    }

    /// One build.
    ///
    /// # Errors
    /// `build-not-found`, or the database is away.
    pub async fn build(&self, id: BuildId) -> Result<BuildRow> {
        let run = sqlx::query_scalar!("SELECT run_id FROM builds WHERE id = $1", id.0)
            .fetch_optional(&self.pool)
            .await?
            .ok_or_else(build_not_found)?;
        self.builds_of(RunId(run)).await?.into_iter().find(|build| build.id == id).ok_or_else(build_not_found)
    }

    /// A run's builds, in the template's order.
    ///
    /// # Errors
    /// `run-not-found`, or the database is away.
    pub async fn builds_of(&self, run: RunId) -> Result<Vec<BuildRow>> {
        let mut tx = self.snapshot().await?;
        let mut builds = builds_by_run(&mut tx, &[run.0]).await?;
        builds.remove(&run.0).ok_or_else(run_not_found)
    }
}

pub(super) fn run_not_found() -> Error {
    Error::not_found("run-not-found", "There is no such run.")
}

pub(super) fn build_not_found() -> Error {
    Error::not_found("build-not-found", "There is no such build.")
}

pub(super) async fn by_id(connection: &mut PgConnection, id: RunId) -> Result<RunRow> {
    let found = select(connection, Some(id), &Page::first(1), &RunFilter::default()).await?;
    found.into_iter().next().ok_or_else(run_not_found)
}

async fn select(
    connection: &mut PgConnection,
    id: Option<RunId>,
    page: &Page,
    filter: &RunFilter,
) -> Result<Vec<RunRow>> {
    let records = sqlx::query!(
        r#"SELECT r.id, r.template_id, t.name AS template, v.version, r.account, r.trigger, r.state, r.variables, r.git_sha,
                r.labels, r.channels, r.only_builds, r.except_builds, r.timeout_seconds, r.options, r.priority, r.error, r.cancel_requested_at, r.created_by, r.schedule_id, r.slot,
                r.created_at, r.started_at, r.finished_at, r.image_id, i.family, i.number, i.state AS image_state,
                r.dedupe, (SELECT count(*) FROM run_joins j WHERE j.run_id = r.id) AS "joined_by!"
         FROM runs r
         JOIN templates t ON t.id = r.template_id
         JOIN template_versions v ON v.id = r.template_version_id
         JOIN images i ON i.id = r.image_id
         WHERE ($1::uuid IS NULL OR r.id = $1)
           AND ($2::text IS NULL OR t.name = $2)
           AND ($3::text IS NULL OR r.state = $3)
           AND ($4::text IS NULL OR r.account = $4)
           AND ($5::text IS NULL OR r.git_sha = $5)
           AND ($6::jsonb IS NULL OR r.labels @> $6)
           AND ($7::timestamptz IS NULL OR (r.created_at, r.id) < ($7, $8::uuid))
           AND ($10::uuid IS NULL OR r.schedule_id = $10)
         ORDER BY r.created_at DESC, r.id DESC
         LIMIT $9"#,
        id.map(|id| id.0),
        filter.template,
        filter.state.map(RunState::as_str),
        filter.account,
        filter.git_sha,
        filter.labels,
        page.before_at(),
        page.before_id(),
        page.limit,
        filter.schedule.map(|schedule| schedule.0)
    )
    .fetch_all(&mut *connection)
    .await?;
    let ids: Vec<Uuid> = records.iter().map(|record| record.id).collect();
    let mut builds = builds_by_run(connection, &ids).await?;
    records
        .into_iter()
        .map(|record| {
            Ok(RunRow {
                id: RunId(record.id),
                template_id: TemplateId(record.template_id),
                template: record.template,
                version: record.version,
                account: record.account,
                trigger: record.trigger,
                state: parse("run state", &record.state)?,
                variables: record.variables,
                git_sha: record.git_sha,
                labels: record.labels,
                channels: record.channels,
                only: record.only_builds,
                except: record.except_builds,
                timeout_seconds: record.timeout_seconds,
                options: from_json("run options", record.options)?,
                priority: record.priority,
                error: record.error,
                cancel_requested_at: record.cancel_requested_at,
                schedule_id: record.schedule_id.map(ScheduleId),
                slot: record.slot,
                created_by: record.created_by,
                created_at: record.created_at,
                started_at: record.started_at,
                finished_at: record.finished_at,
                builds: builds.remove(&record.id).unwrap_or_default(),
                image: ImageRef {
                    id: ImageId(record.image_id),
                    family: record.family,
                    number: record.number,
                    state: parse("image state", &record.image_state)?,
                },
                dedupe: record.dedupe.map(|dedupe| from_json("explanation", dedupe)).transpose()?,
                joined_by: record.joined_by,
            })
        })
        .collect()
}

async fn builds_by_run(connection: &mut PgConnection, runs: &[Uuid]) -> Result<HashMap<Uuid, Vec<BuildRow>>> {
    let mut artifacts = artifacts_by_build(connection, runs).await?;
    let records = sqlx::query!(
        "SELECT b.id, b.run_id, b.name, b.builder_type, b.region, r.account, b.state, b.attempt, b.cleanup, b.hold, b.kept_until, b.stuck_reason,
                b.error, b.artifact_id, b.plan, b.created_at, b.started_at, b.finished_at
         FROM builds b JOIN runs r ON r.id = b.run_id
         WHERE b.run_id = ANY($1)
         ORDER BY b.run_id, b.position",
        runs
    )
    .fetch_all(&mut *connection)
    .await?;
    let mut by_run: HashMap<Uuid, Vec<BuildRow>> = HashMap::new();
    for record in records {
        let mut made = artifacts.remove(&record.id).unwrap_or_default();
        made.extend(volumes_and_snapshots(record.artifact_id.as_deref(), &record.account));
        by_run.entry(record.run_id).or_default().push(BuildRow {
            id: BuildId(record.id),
            run_id: RunId(record.run_id),
            name: record.name,
            builder_type: record.builder_type,
            region: record.region,
            account: record.account,
            state: parse("build state", &record.state)?,
            attempt: record.attempt,
            cleanup: parse("clean-up state", &record.cleanup)?,
            hold: record.hold.map(|hold| from_json("hold", hold)).transpose()?,
            kept_until: record.kept_until,
            stuck_reason: record.stuck_reason,
            error: record.error.map(|error| from_json("failure", error)).transpose()?,
            artifact_id: record.artifact_id,
            artifacts: made,
            plan: from_json("plan", record.plan)?,
            created_at: record.created_at,
            started_at: record.started_at,
            finished_at: record.finished_at,
        });
    }
    Ok(by_run)
}

/// What a build made besides AMIs, which the registry has copies of: its artifact's id names it.
fn volumes_and_snapshots(artifact_id: Option<&str>, account: &str) -> Vec<ArtifactRow> {
    let parts = artifact_id.unwrap_or_default().split(',').filter_map(|part| part.split_once(':'));
    let artifacts = parts.filter_map(|(region, id)| {
        let kind = match id.split('-').next() {
            Some("vol") => "volume",
            Some("snap") => "snapshot",
            _ => return None,
        };
        Some(ArtifactRow { kind, id: id.to_owned(), account: account.to_owned(), region: region.to_owned() })
    });
    artifacts.collect()
}

async fn artifacts_by_build(connection: &mut PgConnection, runs: &[Uuid]) -> Result<HashMap<Uuid, Vec<ArtifactRow>>> {
    let records = sqlx::query!(
        "SELECT c.build_id, c.ami_id, c.account, c.region
         FROM image_copies c JOIN builds b ON b.id = c.build_id
         WHERE b.run_id = ANY($1)
         ORDER BY c.build_id, c.region",
        runs
    )
    .fetch_all(connection)
    .await?;
    let mut by_build: HashMap<Uuid, Vec<ArtifactRow>> = HashMap::new();
    for record in records {
        by_build.entry(record.build_id).or_default().push(ArtifactRow {
            kind: "ami",
            id: record.ami_id,
            account: record.account,
            region: record.region,
        });
    }
    Ok(by_build)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_artifacts_id_names_volumes_and_snapshots() {
        let made = |id: Option<&str>| -> Vec<(&'static str, String, String)> {
            let rows = volumes_and_snapshots(id, "default").into_iter();
            rows.map(|row| (row.kind, row.region, row.id)).collect()
        };
        let expected =
            [("snapshot", "eu-west-1".into(), "snap-2".into()), ("volume", "eu-west-1".into(), "vol-1".into())];
        assert_eq!(made(Some("eu-west-1:snap-2,eu-west-1:vol-1")), expected);
        for nothing in [None, Some(""), Some("Null"), Some("eu-west-1:ami-1,us-east-1:ami-2")] {
            assert_eq!(made(nothing), [], "{nothing:?}");
        }
    }
}
