//! Options of the amazon builders that decide what is done with the finished image. Names and limits are Packer's.

use chrono::{DateTime, Utc};
use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

/// Who besides `ami_users` may use the image, and who its snapshots.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Sharing {
    /// `ami_groups`: `all` makes the image public.
    pub ami_groups: Vec<String>,
    pub ami_org_arns: Vec<String>,
    pub ami_ou_arns: Vec<String>,
    pub ami_product_codes: Vec<String>,
    /// Account ids.
    pub snapshot_users: Vec<String>,
    /// `all` makes the snapshots public.
    pub snapshot_groups: Vec<String>,
}

/// `force_deregister`: images of the account that have the new image's name, and that nothing points to, go before it is
/// made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Replace {
    /// `force_delete_snapshot`: their snapshots too.
    pub delete_snapshots: bool,
}

/// How the image is kept once it is there.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Keeping {
    /// `deprecate_at`: EC2 hides the image from others' searches from then on.
    pub deprecate_at: Option<DateTime<Utc>>,
    pub deregistration_protection: Option<DeregistrationProtection>,
}

/// `deregistration_protection` that is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct DeregistrationProtection {
    /// It lasts for 24 hours after it was switched off.
    pub with_cooldown: bool,
}

/// How copies are made.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Copying {
    /// `region_kms_key_ids`; an empty key is the region's default key.
    pub region_kms_key_ids: IndexMap<String, String>,
    /// `snapshot_copy_duration_minutes`: a multiple of 15, at most 2,880.
    pub snapshot_copy_duration_minutes: Option<i32>,
    /// `skip_save_build_region`: the image in the build's region is only what the copies are made of.
    pub skip_save_build_region: bool,
}

/// `fast_launch` that is on: Windows images of which EC2 keeps instances half started.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct FastLaunch {
    pub template: Option<LaunchTemplate>,
    /// By region; `None`: not in that region.
    pub regions: IndexMap<String, Option<LaunchTemplate>>,
    /// At least 6.
    pub max_parallel_launches: Option<i32>,
    pub target_resource_count: Option<i32>,
}

/// A launch template of the account; neither id nor name: EC2's own.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct LaunchTemplate {
    pub id: Option<String>,
    pub name: Option<String>,
    /// `None`: the latest.
    pub version: Option<i32>,
}
