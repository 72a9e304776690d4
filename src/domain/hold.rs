//! How a run is steered while it is at work: what happens on an error, where it stops and waits for a person, and what
//! the person answers. A held build is a running build with a [`Hold`]; it is no state of its own, and it ends by itself.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::failure::Failure;
use super::ids::StepName;
use super::state::text_enum;

/// How long a machine is held when the run does not say.
pub const DEFAULT_HOLD: Duration = Duration::from_secs(3600);
/// The longest time that a run may ask for.
pub const LONGEST_HOLD: Duration = Duration::from_secs(7 * 24 * 3600);

text_enum! {
    /// What happens when a step fails; Packer's `-on-error`.
    OnError {
        /// The `error-cleanup-provisioner` runs, then all that was made is removed.
        Cleanup = "cleanup",
        /// Everything stays as it is for [`RunOptions::hold_limit`], and the build is over.
        Abort = "abort",
        /// The build holds and waits for a person.
        Ask = "ask",
        /// As `abort`, after the `error-cleanup-provisioner`.
        RunCleanupProvisioner = "run-cleanup-provisioner",
    }
}

text_enum! {
    /// Why a build holds.
    HoldReason {
        /// A step failed, and the run said `on_error: ask`.
        Failure = "failure",
        /// The template's `breakpoint` provisioner.
        Breakpoint = "breakpoint",
        /// The run said `debug`: it holds before each wave of steps.
        Debug = "debug",
        /// The build is over as failed, and what it made is left in place.
        Abort = "abort",
    }
}

text_enum! {
    /// What a person wants of a build that holds.
    ResumeAction {
        /// Do the failed step again.
        Retry = "retry",
        /// Go on after a breakpoint, or in debug mode.
        Continue = "continue",
        /// Remove all that was made and end the build.
        Cleanup = "cleanup",
        /// End the build and leave everything as it is for a while.
        Abort = "abort",
    }
}

impl HoldReason {
    /// What a person can answer; what lets the build go on comes first.
    #[must_use]
    pub fn answers(self) -> &'static [ResumeAction] {
        use ResumeAction::{Abort, Cleanup, Continue, Retry};
        match self {
            Self::Failure => &[Retry, Cleanup, Abort],
            Self::Breakpoint | Self::Debug => &[Continue, Cleanup, Abort],
            Self::Abort => &[Cleanup],
        }
    }
}

/// How a run wants to be carried out; frozen when it is accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RunOptions {
    pub on_error: OnError,
    /// Hold before each wave of steps.
    pub debug: bool,
    /// How long a build holds at one place, and how long things stay after an `abort`, in seconds.
    pub hold_limit_seconds: u64,
    /// Time limit of each step, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step_timeout_seconds: Option<u64>,
    /// How many of the run's builds are at work at once; `None`: as many as the servers take.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parallel_builds: Option<u32>,
}

impl Default for RunOptions {
    fn default() -> Self {
        Self {
            on_error: OnError::Cleanup,
            debug: false,
            hold_limit_seconds: DEFAULT_HOLD.as_secs(),
            step_timeout_seconds: None,
            parallel_builds: None,
        }
    }
}

impl RunOptions {
    #[must_use]
    pub fn hold_limit(&self) -> Duration {
        Duration::from_secs(self.hold_limit_seconds)
    }

    #[must_use]
    pub fn step_timeout(&self) -> Option<Duration> {
        self.step_timeout_seconds.map(Duration::from_secs)
    }

    /// Whether a server that knows nothing of these options would do the same.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        let Self { on_error, debug, hold_limit_seconds: _, step_timeout_seconds, parallel_builds } = self;
        *on_error == OnError::Cleanup && !debug && step_timeout_seconds.is_none() && parallel_builds.is_none()
    }
}

/// A build that waits for a person, as the journal tells it.
#[derive(Debug, Clone, PartialEq)]
pub struct Held {
    /// The journal line that began it; an answer names it, so that it can't hit a later hold.
    pub seq: i64,
    /// The step that failed, or the one that would come next.
    pub step: StepName,
    pub reason: HoldReason,
    pub until: DateTime<Utc>,
}

/// A person's answer to a hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resume {
    /// [`Held::seq`].
    pub seq: i64,
    pub action: ResumeAction,
    /// Who answered.
    pub by: String,
}

/// A held build, or what a failed one has left in place, as the API shows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Hold {
    /// [`Held::seq`]; 0 of a build that is over.
    pub seq: i64,
    pub step: String,
    pub reason: HoldReason,
    /// The template's words at a breakpoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    pub since: DateTime<Utc>,
    /// Then it is cleaned up.
    pub until: DateTime<Utc>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    /// `None` while there is no machine yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub machine: Option<HeldMachine>,
}

/// How to reach a held build's machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldMachine {
    pub instance_id: String,
    pub instance_type: String,
    pub region: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_read_what_an_older_server_wrote() {
        let options: RunOptions = serde_json::from_str("{}").unwrap();
        assert_eq!(options, RunOptions::default());
        assert!(options.is_plain());
        let ask: RunOptions = serde_json::from_str(r#"{"on_error": "run-cleanup-provisioner"}"#).unwrap();
        assert_eq!(ask.on_error, OnError::RunCleanupProvisioner);
        assert!(!ask.is_plain());
        assert_eq!(serde_json::from_value::<RunOptions>(serde_json::to_value(&ask).unwrap()).unwrap(), ask);
    }
}
