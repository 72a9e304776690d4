//! The API's answers as this client reads them. It takes what it shows and passes over the rest, so that an older
//! client goes on working with a newer server.

use serde::Deserialize;
use serde_json::Value;

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
}

/// A build of a run.
#[derive(Debug, Clone, Deserialize)]
pub struct Build {
    pub id: String,
    pub name: String,
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
    /// Only in the answer to its creation.
    #[serde(default)]
    pub token: Option<secrecy::SecretString>,
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
