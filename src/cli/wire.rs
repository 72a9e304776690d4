//! The API's answers as this client reads them. It takes what it shows and passes over the rest, so that an older
//! client goes on working with a newer server.

use serde::Deserialize;
use serde_json::{Map, Value};

use super::complaint::Complaint;

/// A run.
#[derive(Debug, Clone, Deserialize)]
pub struct Run {
    pub id: String,
    pub state: String,
    #[serde(default)]
    pub template: Option<String>,
    #[serde(default)]
    pub version: Option<i64>,
    #[serde(default)]
    pub account: Option<String>,
    #[serde(default)]
    pub git_sha: Option<String>,
    #[serde(default)]
    pub created_at: Option<String>,
    #[serde(default)]
    pub started_at: Option<String>,
    #[serde(default)]
    pub finished_at: Option<String>,
    #[serde(default)]
    pub builds: Vec<Build>,
    #[serde(default)]
    pub image: Option<ImageRef>,
    /// Stages that the image is promoted to once it is built.
    #[serde(default)]
    pub channels: Vec<String>,
    #[serde(default)]
    pub dedupe: Option<Deduped>,
    /// In the answer to its request.
    #[serde(default)]
    pub warnings: Vec<Complaint>,
}

impl Run {
    /// Whether it was there before the request that it answers.
    pub fn was_there(&self) -> bool {
        self.dedupe.as_ref().is_some_and(|dedupe| dedupe.outcome != "made")
    }
}

/// What became of a request that asked about other runs.
#[derive(Debug, Clone, Deserialize)]
pub struct Deduped {
    pub outcome: String,
    pub reason: String,
}

/// Why a run was made.
#[derive(Debug, Clone, Deserialize)]
pub struct Why {
    pub reason: String,
    #[serde(default)]
    pub compared_with: Option<ComparedRun>,
    #[serde(default)]
    pub joined: Vec<Joined>,
}

/// The run that another one was compared with.
#[derive(Debug, Clone, Deserialize)]
pub struct ComparedRun {
    #[serde(default)]
    pub differs: Vec<DifferentPart>,
}

/// One thing that is not the same.
#[derive(Debug, Clone, Deserialize)]
pub struct DifferentPart {
    pub part: String,
    pub words: String,
}

/// A request that got a run which was there already.
#[derive(Debug, Clone, Deserialize)]
pub struct Joined {
    pub at: String,
    pub principal: String,
    pub outcome: String,
}

/// A build of a run.
#[derive(Debug, Clone, Deserialize)]
pub struct Build {
    pub id: String,
    pub name: String,
    /// Packer's builder type.
    #[serde(default, rename = "type")]
    pub kind: String,
    pub state: String,
    #[serde(default)]
    pub attempt: Option<i64>,
    #[serde(default)]
    pub cleanup: Option<String>,
    #[serde(default)]
    pub stuck_reason: Option<String>,
    #[serde(default)]
    pub error: Option<BuildError>,
    #[serde(default)]
    pub artifacts: Vec<Artifact>,
    /// Where it waits for a person.
    #[serde(default)]
    pub hold: Option<Hold>,
    /// Until when what a failed build made is left in place.
    #[serde(default)]
    pub kept_until: Option<String>,
}

/// A build that waits for a person.
#[derive(Debug, Clone, Deserialize)]
pub struct Hold {
    #[serde(default)]
    pub seq: Option<i64>,
    pub step: String,
    pub reason: String,
    #[serde(default)]
    pub note: Option<String>,
    pub until: String,
    #[serde(default)]
    pub actions: Vec<String>,
    #[serde(default)]
    pub failure: Option<BuildError>,
    #[serde(default)]
    pub machine: Option<HeldMachine>,
}

/// The machine of a build that waits.
#[derive(Debug, Clone, Deserialize)]
pub struct HeldMachine {
    pub instance_id: String,
    pub instance_type: String,
    pub region: String,
    #[serde(default)]
    pub host: Option<String>,
    #[serde(default)]
    pub port: Option<u16>,
    #[serde(default)]
    pub username: Option<String>,
    #[serde(default)]
    pub usd_per_hour: Option<f64>,
}

/// Why a build failed.
#[derive(Debug, Clone, Deserialize)]
pub struct BuildError {
    #[serde(default)]
    pub class: Option<String>,
    #[serde(default)]
    pub code: Option<String>,
    pub message: String,
    #[serde(default)]
    pub advice: Option<String>,
    #[serde(default)]
    pub step: Option<String>,
}

/// Something that a build made to last.
#[derive(Debug, Clone, Deserialize)]
pub struct Artifact {
    pub kind: String,
    pub id: String,
    #[serde(default)]
    pub region: Option<String>,
}

/// The registry's entry for what a run makes.
#[derive(Debug, Clone, Deserialize)]
pub struct ImageRef {
    pub id: String,
    pub family: String,
    pub number: i64,
    pub state: String,
}

/// An image of the registry.
#[derive(Debug, Clone, Deserialize)]
#[expect(clippy::struct_field_names, reason = "the API's names")]
pub struct Image {
    pub id: String,
    pub family: String,
    pub number: i64,
    pub state: String,
    #[serde(default)]
    pub stage: Option<String>,
    /// All that hold it.
    #[serde(default)]
    pub stages: Vec<String>,
    #[serde(default)]
    pub tags_pending: bool,
    /// Why its tags could not be written at the last try.
    #[serde(default)]
    pub tags_error: Option<String>,
    #[serde(default)]
    pub stob: Option<Stob>,
    #[serde(default)]
    pub source_image: Option<Value>,
    #[serde(default)]
    pub copies: Vec<Copy>,
    #[serde(default)]
    pub run_id: Option<String>,
    #[serde(default)]
    pub created_at: Option<String>,
}

/// The four facts of an image.
#[derive(Debug, Clone, Deserialize)]
pub struct Stob {
    #[serde(default)]
    pub sha: Option<String>,
    #[serde(default)]
    pub time: Option<String>,
    #[serde(default)]
    pub os: Option<String>,
    #[serde(default)]
    pub builder: Option<String>,
}

/// An image in one region.
#[derive(Debug, Clone, Deserialize)]
pub struct Copy {
    #[serde(default)]
    pub build: Option<String>,
    #[serde(default)]
    pub arch: Option<String>,
    #[serde(default)]
    pub account: Option<String>,
    pub region: String,
    pub ami_id: String,
    #[serde(default)]
    pub state: Option<String>,
}

/// A token without its secret.
#[derive(Debug, Clone, Deserialize)]
#[expect(clippy::struct_field_names, reason = "the API's names")]
pub struct Token {
    pub id: String,
    pub name: String,
    pub role: String,
    #[serde(default)]
    pub created_by: Option<String>,
    #[serde(default)]
    pub expires_at: Option<String>,
    #[serde(default)]
    pub revoked_at: Option<String>,
    #[serde(default)]
    pub last_used_at: Option<String>,
    #[serde(default)]
    pub rotated_at: Option<String>,
    /// Until when the secret before the rotation is honoured.
    #[serde(default)]
    pub previous_valid_until: Option<String>,
    /// Only in the answer to its creation.
    #[serde(default)]
    pub token: Option<secrecy::SecretString>,
}

/// The AMI that a stage approves.
#[derive(Debug, Clone, Deserialize)]
pub struct Latest {
    pub ami_id: String,
    #[serde(default)]
    pub region: Option<String>,
    #[serde(default)]
    pub account: Option<String>,
    #[serde(default)]
    pub arch: Option<String>,
    #[serde(default)]
    pub platform: Option<String>,
    #[serde(default)]
    pub stage: Option<String>,
    #[serde(default)]
    pub generation: Option<i64>,
    #[serde(default)]
    pub since: Option<String>,
    pub image: Image,
    #[serde(default)]
    pub copies: Vec<Copy>,
}

/// Something that happened to an image.
#[derive(Debug, Clone, Deserialize)]
pub struct ImageEvent {
    pub at: String,
    pub event: String,
    #[serde(default)]
    pub principal: Option<String>,
    #[serde(default)]
    pub stage: Option<String>,
    #[serde(default)]
    pub generation: Option<i64>,
    #[serde(default)]
    pub comment: Option<String>,
}

/// A stage.
#[derive(Debug, Clone, Deserialize)]
pub struct Stage {
    pub name: String,
    #[serde(default)]
    pub families: Option<i64>,
    #[serde(default)]
    pub newest_change_at: Option<String>,
}

/// What a stage holds of one family.
#[derive(Debug, Clone, Deserialize)]
pub struct StageEntry {
    pub family: String,
    pub generation: i64,
    pub image: StagedImage,
    #[serde(default)]
    pub since: Option<String>,
    #[serde(default)]
    pub principal: Option<String>,
    #[serde(default)]
    pub comment: Option<String>,
}

/// A change of what a stage holds.
#[derive(Debug, Clone, Deserialize)]
pub struct Promotion {
    /// `promote`, `demote` or `rollback`.
    pub action: String,
    pub family: String,
    pub stage: String,
    pub generation: i64,
    /// `None`: the stage holds nothing of the family any more.
    #[serde(default)]
    pub image: Option<StagedImage>,
    #[serde(default)]
    pub previous_image: Option<StagedImage>,
    #[serde(default)]
    pub principal: Option<String>,
    #[serde(default)]
    pub comment: Option<String>,
    #[serde(default)]
    pub at: Option<String>,
}

/// An image as stages tell of it; its family is theirs.
#[derive(Debug, Clone, Deserialize)]
pub struct StagedImage {
    pub number: i64,
    #[serde(default)]
    pub ami_ids: Vec<String>,
    #[serde(default)]
    pub copies: Vec<Copy>,
}

/// A schedule.
#[derive(Debug, Clone, Deserialize)]
pub struct Schedule {
    pub id: String,
    pub name: String,
    pub template: String,
    /// `None`: the newest at each time.
    #[serde(default)]
    pub pinned_version: Option<i64>,
    pub cron: String,
    pub time_zone: String,
    pub enabled: bool,
    #[serde(default)]
    pub overlap: Option<String>,
    #[serde(default)]
    pub catch_up: Option<String>,
    #[serde(default)]
    pub jitter_seconds: i64,
    #[serde(default)]
    pub account: Option<String>,
    #[serde(default)]
    pub family: Option<String>,
    #[serde(default)]
    pub git_sha: Option<String>,
    #[serde(default)]
    pub variables: Map<String, Value>,
    #[serde(default)]
    pub env: Map<String, Value>,
    #[serde(default)]
    pub only: Vec<String>,
    #[serde(default)]
    pub except: Vec<String>,
    #[serde(default)]
    pub timeout_seconds: Option<i64>,
    #[serde(default)]
    pub labels: Map<String, Value>,
    #[serde(default)]
    pub next: Vec<NextTime>,
    #[serde(default)]
    pub last_firing: Option<Firing>,
    #[serde(default)]
    pub created_by: Option<String>,
    #[serde(default)]
    pub created_at: Option<String>,
    #[serde(default)]
    pub updated_at: Option<String>,
}

/// A time to come of a cron line.
#[derive(Debug, Clone, Deserialize)]
pub struct NextTime {
    pub utc: String,
    /// With the offset of the schedule's time zone.
    pub local: String,
}

/// The times to come of a cron line that may be no schedule's.
#[derive(Debug, Clone, Deserialize)]
pub struct Preview {
    pub next: Vec<NextTime>,
}

/// What became of one time of a schedule.
#[derive(Debug, Clone, Deserialize)]
pub struct Firing {
    /// `None`: triggered by hand.
    #[serde(default)]
    pub slot: Option<String>,
    pub at: String,
    pub outcome: String,
    #[serde(default)]
    pub reason: Option<String>,
    #[serde(default)]
    pub run: Option<RunRef>,
    #[serde(default)]
    pub principal: Option<String>,
}

/// The run of a schedule's time.
#[derive(Debug, Clone, Deserialize)]
pub struct RunRef {
    pub id: String,
    pub state: String,
}

/// A deed.
#[derive(Debug, Clone, Deserialize)]
pub struct AuditEntry {
    pub at: String,
    pub principal: String,
    pub action: String,
    pub subject: String,
    #[serde(default)]
    pub request_id: Option<String>,
}

/// A page of a list.
#[derive(Debug, Clone, Deserialize)]
pub struct Page {
    pub items: Vec<Value>,
    #[serde(default)]
    pub next_cursor: Option<String>,
}

/// `event: log`.
#[derive(Debug, Clone, Deserialize)]
pub struct LogEvent {
    #[serde(default)]
    pub build: Option<String>,
    #[serde(default)]
    pub at: Option<String>,
    #[serde(default)]
    pub stream: Option<String>,
    #[serde(default)]
    pub text: String,
}

/// `event: state`.
#[derive(Debug, Clone, Deserialize)]
pub struct StateEvent {
    #[serde(default)]
    pub run_state: String,
    #[serde(default)]
    pub builds: Vec<BuildProgress>,
}

/// One build within `event: state`.
#[derive(Debug, Clone, Deserialize)]
pub struct BuildProgress {
    pub name: String,
    pub state: String,
    #[serde(default)]
    pub step: Option<String>,
}
