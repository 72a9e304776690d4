//! The builders besides `amazon-ebs`. Names, defaults and limits are Packer's.

use serde::{Deserialize, Serialize};

use super::amazon_ebs::BlockDevice;
use super::{AmazonEbs, LateString, LateTags, Locations, SshConfig};

/// `null`: runs the provisioners on a host that is there already, or nothing at all.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Null {
    /// Its `host` is given unless the communicator is `none`.
    pub communicator: SshConfig,
    pub locations: Locations,
}

/// `file`: one file, kept with the run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FileBuild {
    /// Its name among the run's files.
    pub target: String,
    pub content: FileContent,
    pub locations: Locations,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FileContent {
    /// `content`.
    Text(String),
    /// `source`: a path in the bundle; it was seen to exist.
    Bundle(String),
}

/// `amazon-ebsvolume`: volumes that provisioners filled, and snapshots of them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AmazonEbsVolume {
    /// The machine that fills them; `skip_create_ami` is set. Its `launch_block_device_mappings` are the volumes'.
    pub machine: AmazonEbs,
    pub volumes: Vec<EbsVolume>,
}

/// One of `ebs_volumes`, besides its device.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct EbsVolume {
    pub device_name: String,
    /// Of the volume once the machine runs.
    pub tags: LateTags,
    /// Whether a snapshot is made of it.
    pub snapshot: bool,
    pub snapshot_description: LateString,
    pub snapshot_tags: LateTags,
    /// Account ids.
    pub snapshot_users: Vec<String>,
    pub snapshot_groups: Vec<String>,
}

/// `amazon-ebssurrogate`: an image of a volume beside the machine's own root.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AmazonEbsSurrogate {
    pub machine: AmazonEbs,
    /// `ami_root_device`.
    pub root: BlockDevice,
    /// The device on the machine that becomes the image's root; one of `launch_block_device_mappings`.
    pub source_device_name: String,
    /// Devices on the machine that are not in the image (`omit_from_artifact`).
    pub omitted: Vec<String>,
    pub snapshot_description: LateString,
    /// `x86_64`, `arm64`, `i386`, `x86_64_mac` or `arm64_mac`.
    pub architecture: String,
    /// `legacy-bios`, `uefi` or `uefi-preferred`.
    pub boot_mode: Option<String>,
    /// Base64.
    pub uefi_data: Option<String>,
    /// Only `v2.0`.
    pub tpm_support: Option<String>,
}
