//! The tags that Ingot puts on everything it makes. Templates may not set `ingot:` tags, so these can be trusted.

use super::ids::{Attempt, BuildId, DeploymentId};

pub const PREFIX: &str = "ingot:";
pub const DEPLOYMENT: &str = "ingot:deployment";
pub const BUILD_ID: &str = "ingot:build-id";
pub const RUN_ID: &str = "ingot:run-id";
pub const ATTEMPT: &str = "ingot:attempt";
/// On what must be gone when the build is over; the janitor removes nothing without it.
pub const TEMPORARY: &str = "ingot:temporary";
pub const FAMILY: &str = "ingot:family";
pub const NUMBER: &str = "ingot:number";
pub const SHA: &str = "ingot:sha";
pub const TIME: &str = "ingot:time";
pub const OS: &str = "ingot:os";
pub const BUILDER: &str = "ingot:builder";
pub const STAGE: &str = "ingot:stage";
/// On a snapshot that was made of a volume by itself: the device's name. EC2 gives such a snapshot no name of its own.
pub const DEVICE: &str = "ingot:device";

/// Tag keys and values, in order.
pub type TagList = Vec<(String, String)>;

/// Whose resource it is: the tags by which a build finds its own things again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ownership {
    pub deployment: DeploymentId,
    pub build: BuildId,
    pub attempt: Attempt,
}

impl Ownership {
    #[must_use]
    pub fn tags(&self) -> TagList {
        vec![
            (DEPLOYMENT.into(), self.deployment.to_string()),
            (BUILD_ID.into(), self.build.to_string()),
            (ATTEMPT.into(), self.attempt.to_string()),
        ]
    }

    /// For what must be gone when the build is over.
    #[must_use]
    pub fn temporary_tags(&self) -> TagList {
        let mut tags = self.tags();
        tags.push((TEMPORARY.into(), "true".into()));
        tags
    }

    /// Whether a resource's tags say that it belongs to this attempt of this build.
    #[must_use]
    pub fn owns(&self, tags: &[(String, String)]) -> bool {
        self.tags().iter().all(|tag| tags.contains(tag))
    }
}

/// The value of a tag.
#[must_use]
pub fn value<'t>(tags: &'t [(String, String)], key: &str) -> Option<&'t str> {
    tags.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
}
