//! Volumes and snapshots by themselves, and images made of snapshots.

use async_trait::async_trait;

use crate::domain::config::amazon_ebs::BlockDevice;

use super::{CloudResult, Tags};

/// Part of [`super::Cloud`].
#[async_trait]
pub trait Disks: Send + Sync {
    /// Returns the new snapshot's id. EC2 knows neither token nor name for it, so a call whose answer was lost is not sent
    /// again: whoever asks looks by tags for what it made.
    async fn create_snapshot(&self, region: &str, request: &NewSnapshot) -> CloudResult<String>;
    /// Makes an image of snapshots, which must be complete. Returns its id. A used name is `Duplicate`.
    async fn register_image(&self, region: &str, request: &NewRegistration) -> CloudResult<String>;
    /// Takes a volume off an instance. One that is off already is `Busy`.
    async fn detach_volume(&self, region: &str, instance_id: &str, volume_id: &str) -> CloudResult<()>;
    /// Puts a volume on an instance. One that is on already is `Busy`.
    async fn attach_volume(
        &self,
        region: &str,
        instance_id: &str,
        volume_id: &str,
        device_name: &str,
    ) -> CloudResult<()>;
}

/// One `CreateSnapshot` request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewSnapshot {
    pub volume_id: String,
    pub description: String,
    pub tags: Tags,
}

/// One `RegisterImage` request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewRegistration {
    pub name: String,
    pub description: String,
    /// `x86_64`, `arm64`, `i386`, `x86_64_mac` or `arm64_mac`.
    pub architecture: String,
    /// `hvm` or `paravirtual`.
    pub virtualization_type: String,
    pub ena_support: bool,
    /// Intel's older enhanced networking.
    pub sriov_support: bool,
    /// `legacy-bios`, `uefi` or `uefi-preferred`.
    pub boot_mode: Option<String>,
    /// Base64.
    pub uefi_data: Option<String>,
    /// `v2.0`, with boot mode `uefi` only.
    pub tpm_support: Option<String>,
    /// Instances need the metadata service's version 2.
    pub imds_v2: bool,
    pub root_device_name: String,
    /// The root with its snapshot, and others.
    pub block_devices: Vec<BlockDevice>,
    pub image_tags: Tags,
}
