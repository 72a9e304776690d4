//! What a run needs of its surroundings when its builds are carried out.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::ids::{Attempt, BuildId, DeploymentId, RunId};

/// How a server came by a build that was begun already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Takeover {
    /// It was queued.
    New,
    /// Its last owner gave it back.
    HandedBack,
    /// Its last owner, by this name, was not heard of for the life of a lease.
    Orphaned(String),
}

/// The facts of a build that its steps need besides its configuration. Frozen when the run is accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuildFacts {
    pub deployment: DeploymentId,
    pub run: RunId,
    pub build: BuildId,
    pub attempt: Attempt,
    /// Packer's build name.
    pub build_name: String,
    pub account: String,
    pub family: String,
    pub number: i64,
    /// `unknown` when the run gave none.
    pub git_sha: String,
    /// STOB's builder identity: `ingot/<version> (<deployment>)`.
    pub builder: String,
    /// When the run was accepted: the build time of STOB, the same for all attempts.
    pub accepted_at: DateTime<Utc>,
}
