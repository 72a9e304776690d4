//! What is said of an image or a snapshot after it was made: who may use it, how long it is kept, how fast it starts.

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use crate::domain::config::image::LaunchTemplate;

use super::CloudResult;

/// Part of [`super::Cloud`]. All of it may be repeated; it sets what may be set already.
#[async_trait]
pub trait ImageRules: Send + Sync {
    /// Lets others launch an image. EC2 refuses it for images encrypted with the AWS-managed key, and `all` for any
    /// encrypted one.
    async fn share_image(&self, region: &str, image_id: &str, with: &[Grantee]) -> CloudResult<()>;
    /// Lets accounts, or the group `all`, make volumes of a snapshot; other grantees are `Invalid`.
    async fn share_snapshot(&self, region: &str, snapshot_id: &str, with: &[Grantee]) -> CloudResult<()>;
    /// Product codes can't be taken off an image again.
    async fn add_product_codes(&self, region: &str, image_id: &str, codes: &[String]) -> CloudResult<()>;
    /// `ImdsSupport: v2.0`; it can't be taken back.
    async fn require_imds_v2(&self, region: &str, image_id: &str) -> CloudResult<()>;
    /// From `at` on (EC2 rounds to the minute) others' searches don't show the image. A time in the past is `Invalid`.
    async fn deprecate_image(&self, region: &str, image_id: &str, at: DateTime<Utc>) -> CloudResult<()>;
    /// Nobody can deregister the image while this is on.
    async fn protect_image(&self, region: &str, image_id: &str, with_cooldown: bool) -> CloudResult<()>;
    /// Ends [`ImageRules::protect_image`]; one with a cooldown protects for 24 hours more
    /// (`docs.aws.amazon.com/AWSEC2/latest/UserGuide/ami-deregistration-protection.html`).
    async fn unprotect_image(&self, region: &str, image_id: &str) -> CloudResult<()>;
    /// Windows images only. EC2 then launches instances of the image and keeps snapshots of them.
    async fn enable_fast_launch(&self, region: &str, request: &NewFastLaunch) -> CloudResult<()>;
    /// The snapshots that EC2 keeps for it go, too. An image without fast launch is `Invalid`.
    async fn disable_fast_launch(&self, region: &str, image_id: &str) -> CloudResult<()>;
    /// `None`: the image has no fast launch.
    async fn fast_launch(&self, region: &str, image_id: &str) -> CloudResult<Option<FastLaunchStatus>>;
}

/// Who may use an image or a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Grantee {
    /// By its number.
    Account(String),
    /// Only `all`, which makes it public.
    Group(String),
    /// An organization's ARN.
    Organization(String),
    /// The ARN of an organizational unit.
    OrganizationalUnit(String),
}

impl Grantee {
    /// One for each number.
    #[must_use]
    pub fn accounts(ids: &[String]) -> Vec<Self> {
        ids.iter().cloned().map(Self::Account).collect()
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewFastLaunch {
    pub image_id: String,
    /// What EC2 launches its instances with; `None`: a template of EC2's own.
    pub template: Option<LaunchTemplate>,
    /// At least 6; `None`: EC2's default.
    pub max_parallel_launches: Option<i32>,
    /// How many snapshots are kept ready; `None`: EC2's default.
    pub target_resource_count: Option<i32>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FastLaunchStatus {
    pub state: FastLaunchState,
    /// Why it is in this state.
    pub reason: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FastLaunchState {
    Enabling,
    Enabled,
    /// It could not be switched on, or broke later.
    Failed,
    /// On its way out, or stuck there.
    Disabling,
}
