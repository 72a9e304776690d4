//! A run as the API shows it.

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;
use uuid::Uuid;

use super::dedupe::Deduped;
use crate::api::problem::Complaint;
use crate::domain::diagnostic::Diagnostic;
use crate::domain::failure::Failure;
use crate::domain::hold::Hold;
use crate::engine::janitor::prices;
use crate::store::runs::{ArtifactRow, BuildRow, ImageRef, RunRow};

/// One request to build one template version.
#[derive(Debug, Serialize, ToSchema)]
pub struct Run {
    pub id: Uuid,
    /// `queued`, `running`, `unwinding`, `stuck`, `cancelled`, `failed` or `succeeded`.
    pub state: &'static str,
    /// The template's name.
    pub template: String,
    pub version: i32,
    pub account: String,
    /// `api`, `schedule`, `webhook` or `cascade`.
    pub trigger: String,
    /// The schedule that started it.
    #[schema(required)]
    pub schedule_id: Option<Uuid>,
    /// The schedule's time that it is for; null when it was triggered by hand.
    #[schema(required)]
    pub slot: Option<DateTime<Utc>>,
    /// Evaluated variables; `<sensitive>` stands for values that are hidden.
    #[schema(value_type = Object)]
    pub variables: Value,
    #[schema(required)]
    pub git_sha: Option<String>,
    #[schema(value_type = Object)]
    pub labels: Value,
    /// Stages that its image is promoted to once it is built: `channels` of the template's `hcp_packer_registry`, as far as the
    /// run may move them.
    pub channels: Vec<String>,
    pub only: Vec<String>,
    pub except: Vec<String>,
    /// Time limit of each attempt of each build.
    #[schema(required)]
    pub timeout_seconds: Option<i64>,
    /// Time limit of each step.
    #[schema(required)]
    pub step_timeout_seconds: Option<u64>,
    /// How many of its builds are at work at once; null: as many as the servers take.
    #[schema(required)]
    pub parallel_builds: Option<u32>,
    /// `cleanup`, `abort`, `ask` or `run-cleanup-provisioner`.
    pub on_error: &'static str,
    /// The builds hold before each wave of steps.
    pub debug: bool,
    /// How long a build holds at one place, and things stay in place after an `abort`.
    pub hold_limit_seconds: u64,
    /// Higher is built first.
    pub priority: i32,
    pub created_by: String,
    pub created_at: DateTime<Utc>,
    #[schema(required)]
    pub started_at: Option<DateTime<Utc>>,
    #[schema(required)]
    pub finished_at: Option<DateTime<Utc>>,
    #[schema(required)]
    pub cancel_requested_at: Option<DateTime<Utc>>,
    /// That of the first build that failed.
    #[schema(required, value_type = Option<BuildError>)]
    pub error: Option<Value>,
    pub builds: Vec<Build>,
    pub image: RunImage,
    /// Requests that got this run after it was made; `GET /v1/runs/{id}/why` lists them.
    pub joined_by: i64,
    /// What became of the request's `dedupe`; left out when it had none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dedupe: Option<Deduped>,
    /// About the template; only in the answer to the request that made the run.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<Complaint>,
}

/// One source of a run.
#[derive(Debug, Serialize, ToSchema)]
pub struct Build {
    pub id: Uuid,
    pub run_id: Uuid,
    /// Packer's build name.
    pub name: String,
    /// Packer's builder type.
    #[serde(rename = "type")]
    pub kind: String,
    pub account: String,
    pub region: String,
    /// `queued`, `running`, `unwinding`, `succeeded`, `failed`, `cancelled` or `stuck`.
    pub state: &'static str,
    pub attempt: i32,
    /// Whether the temporary things are gone: `none`, `pending`, `done`, `stuck`, or `kept` (left in place until
    /// `kept_until` because the run wanted it so).
    pub cleanup: &'static str,
    #[schema(required)]
    pub kept_until: Option<DateTime<Utc>>,
    /// Where the build waits for an answer to `POST /v1/builds/{id}/resume`, or what a failed one has left in place; null
    /// otherwise.
    #[schema(required)]
    pub hold: Option<BuildHold>,
    /// Why a person has to look.
    #[schema(required)]
    pub stuck_reason: Option<String>,
    #[schema(required, value_type = Option<BuildError>)]
    pub error: Option<Failure>,
    /// Packer's artifact id: `region:ami,region:ami`, of `amazon-ebsvolume` `region:snap-…,region:vol-…`.
    #[schema(required)]
    pub artifact_id: Option<String>,
    pub artifacts: Vec<Artifact>,
    pub created_at: DateTime<Utc>,
    /// Start of the present attempt.
    #[schema(required)]
    pub started_at: Option<DateTime<Utc>>,
    #[schema(required)]
    pub finished_at: Option<DateTime<Utc>>,
}

/// A build that waits for a person.
#[derive(Debug, Serialize, ToSchema)]
pub struct BuildHold {
    /// Tells holds of a build apart: an answer can name the one it is for. 0 of a build that is over.
    pub seq: i64,
    /// The step that failed, or the one that comes next.
    pub step: String,
    /// `failure`, `breakpoint`, `debug`, or `abort` when the build is over and its things are left in place.
    pub reason: &'static str,
    /// The breakpoint's note.
    #[schema(required)]
    pub note: Option<String>,
    pub since: DateTime<Utc>,
    /// Then it is cleaned up by itself.
    pub until: DateTime<Utc>,
    /// What can be answered.
    pub actions: Vec<&'static str>,
    #[schema(required, value_type = Option<BuildError>)]
    pub failure: Option<Failure>,
    /// Null while there is no machine yet.
    #[schema(required)]
    pub machine: Option<BuildMachine>,
}

/// How to reach the machine of a build that holds; its key is at `GET /v1/builds/{id}/ssh-key`.
#[derive(Debug, Serialize, ToSchema)]
pub struct BuildMachine {
    pub instance_id: String,
    pub instance_type: String,
    pub region: String,
    #[schema(required)]
    pub host: Option<String>,
    #[schema(required)]
    pub port: Option<u16>,
    #[schema(required)]
    pub username: Option<String>,
    /// What the machine costs while it is held: an estimate at us-east-1 list prices, without its volumes. Null when the
    /// price of its type is not known.
    #[schema(required)]
    pub usd_per_hour: Option<f64>,
}

impl BuildHold {
    fn of(hold: Hold) -> Self {
        Self {
            seq: hold.seq,
            step: hold.step,
            reason: hold.reason.as_str(),
            note: hold.note,
            since: hold.since,
            until: hold.until,
            actions: hold.reason.answers().iter().map(|action| action.as_str()).collect(),
            failure: hold.failure,
            machine: hold.machine.map(|machine| BuildMachine {
                usd_per_hour: prices::instance_type(&machine.instance_type),
                instance_id: machine.instance_id,
                instance_type: machine.instance_type,
                region: machine.region,
                host: machine.host,
                port: machine.port,
                username: machine.username,
            }),
        }
    }
}

/// Why a build did not succeed.
#[derive(Debug, Serialize, ToSchema)]
pub struct BuildError {
    /// Whose fault it is: `user`, `cloud`, `capacity`, `ours` or `cancelled`.
    pub class: String,
    /// The cloud's error code, or Ingot's own in kebab-case.
    pub code: String,
    pub message: String,
    /// What to do.
    pub advice: Option<String>,
    /// The step it happened in.
    pub step: Option<String>,
}

/// Something that a build made to last.
#[derive(Debug, Serialize, ToSchema)]
pub struct Artifact {
    /// `ami`, `volume` or `snapshot`.
    pub kind: &'static str,
    pub id: String,
    pub account: String,
    pub region: String,
}

/// The registry's entry for what the run makes.
#[derive(Debug, Serialize, ToSchema)]
pub struct RunImage {
    pub id: Uuid,
    pub family: String,
    pub number: i64,
    /// `building`, `built` or `incomplete`.
    pub state: &'static str,
}

impl Run {
    #[must_use]
    pub fn of(run: RunRow) -> Self {
        Self {
            joined_by: run.joined_by,
            dedupe: run.dedupe.map(|explanation| Deduped::of(run.id, explanation)),
            id: run.id.0,
            state: run.state.as_str(),
            template: run.template,
            version: run.version,
            account: run.account,
            trigger: run.trigger,
            schedule_id: run.schedule_id.map(|schedule| schedule.0),
            slot: run.slot,
            variables: run.variables,
            git_sha: run.git_sha,
            labels: run.labels,
            channels: run.channels,
            only: run.only,
            except: run.except,
            timeout_seconds: run.timeout_seconds,
            step_timeout_seconds: run.options.step_timeout_seconds,
            parallel_builds: run.options.parallel_builds,
            on_error: run.options.on_error.as_str(),
            debug: run.options.debug,
            hold_limit_seconds: run.options.hold_limit_seconds,
            priority: run.priority,
            created_by: run.created_by,
            created_at: run.created_at,
            started_at: run.started_at,
            finished_at: run.finished_at,
            cancel_requested_at: run.cancel_requested_at,
            error: run.error,
            builds: run.builds.into_iter().map(Build::of).collect(),
            image: RunImage::of(run.image),
            warnings: Vec::new(),
        }
    }

    #[must_use]
    pub fn with_warnings(mut self, warnings: &[Diagnostic]) -> Self {
        self.warnings = warnings.iter().map(Complaint::from).collect();
        self
    }
}

impl Build {
    #[must_use]
    pub fn of(build: BuildRow) -> Self {
        Self {
            id: build.id.0,
            run_id: build.run_id.0,
            name: build.name,
            kind: build.builder_type,
            account: build.account,
            region: build.region,
            state: build.state.as_str(),
            attempt: build.attempt,
            cleanup: build.cleanup.as_str(),
            kept_until: build.kept_until,
            hold: build.hold.map(BuildHold::of),
            stuck_reason: build.stuck_reason,
            error: build.error,
            artifact_id: build.artifact_id,
            artifacts: build.artifacts.into_iter().map(Artifact::of).collect(),
            created_at: build.created_at,
            started_at: build.started_at,
            finished_at: build.finished_at,
        }
    }
}

impl Artifact {
    fn of(artifact: ArtifactRow) -> Self {
        Self { kind: artifact.kind, id: artifact.id, account: artifact.account, region: artifact.region }
    }
}

impl RunImage {
    fn of(image: ImageRef) -> Self {
        Self { id: image.id.0, family: image.family, number: image.number, state: image.state.as_str() }
    }
}
