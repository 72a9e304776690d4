//! What the janitor finds, and what becomes of it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::state::text_enum;

text_enum! {
    /// What was found, in the order of removal: what holds other things goes first.
    FindingKind {
        Instance = "instance",
        Image = "image",
        Snapshot = "snapshot",
        Volume = "volume",
        NetworkInterface = "network-interface",
        SecurityGroup = "security-group",
        KeyPair = "key-pair",
        LaunchTemplate = "launch-template",
        InstanceProfile = "instance-profile",
        Role = "role",
    }
}

text_enum! {
    /// Why something is a finding.
    Why {
        /// Ours and temporary, of a build that is over.
        LeftBehind = "left-behind",
        /// Our tag, and temporary, of a build (or an attempt) that this database does not know: another installation of
        /// the same backup may be at work on it.
        UnknownBuild = "unknown-build",
        /// An instance of a build that has been at work for long: held, stuck or slow.
        Held = "held",
        /// Packer's marks, and old.
        PackerLeftover = "packer-leftover",
    }
}

text_enum! {
    /// What the last sweep that saw it did about it.
    FindingAction {
        Removed = "removed",
        /// It is left for a person.
        Reported = "reported",
        /// A dry run: a sweep would remove it.
        WouldRemove = "would-remove",
        /// Something that goes first still uses it; the next sweep tries again.
        Waiting = "waiting",
        /// The cloud refused; the next sweep tries again.
        Failed = "failed",
    }
}

text_enum! {
    /// The life of a sweep.
    SweepState {
        /// Somebody asked for it and no server has begun it.
        Asked = "asked",
        Running = "running",
        Done = "done",
        /// Its server stopped before the end.
        Interrupted = "interrupted",
        /// No server came to begin it.
        Abandoned = "abandoned",
    }
}

/// What an administrator decides about sweeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SweepSettings {
    /// From the beginning of one sweep of everything to the next.
    pub interval: Duration,
    /// From which age on something with Packer's marks is a leftover.
    pub packer_leftover_age: Duration,
    /// Whether such leftovers are removed; otherwise they are reported.
    pub remove_packer_leftovers: bool,
}

impl Default for SweepSettings {
    fn default() -> Self {
        Self {
            interval: Duration::from_mins(5),
            packer_leftover_age: Duration::from_hours(24),
            remove_packer_leftovers: false,
        }
    }
}

/// How a sweep went in one region of one account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SweptPlace {
    pub account: String,
    pub region: String,
    /// Why it could not be looked at, in a person's words; nothing was removed there then.
    pub error: Option<String>,
    pub found: u32,
    pub removed: u32,
    /// The cloud refused to remove them.
    pub failed: u32,
}
