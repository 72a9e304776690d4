//! Attributes of images and snapshots.

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::GuardedCloud;
use crate::cloud::{CloudResult, FastLaunchStatus, Grantee, ImageRules, NewFastLaunch};

#[async_trait]
impl ImageRules for GuardedCloud {
    async fn share_image(&self, region: &str, image_id: &str, with: &[Grantee]) -> CloudResult<()> {
        self.change(region, "ModifyImageAttribute", self.inner.share_image(region, image_id, with)).await
    }
    async fn share_snapshot(&self, region: &str, snapshot_id: &str, with: &[Grantee]) -> CloudResult<()> {
        self.change(region, "ModifySnapshotAttribute", self.inner.share_snapshot(region, snapshot_id, with)).await
    }
    async fn add_product_codes(&self, region: &str, image_id: &str, codes: &[String]) -> CloudResult<()> {
        self.change(region, "ModifyImageAttribute", self.inner.add_product_codes(region, image_id, codes)).await
    }
    async fn require_imds_v2(&self, region: &str, image_id: &str) -> CloudResult<()> {
        self.change(region, "ModifyImageAttribute", self.inner.require_imds_v2(region, image_id)).await
    }
    async fn deprecate_image(&self, region: &str, image_id: &str, at: DateTime<Utc>) -> CloudResult<()> {
        self.change(region, "EnableImageDeprecation", self.inner.deprecate_image(region, image_id, at)).await
    }
    async fn protect_image(&self, region: &str, image_id: &str, with_cooldown: bool) -> CloudResult<()> {
        let call = self.inner.protect_image(region, image_id, with_cooldown);
        self.change(region, "EnableImageDeregistrationProtection", call).await
    }
    async fn unprotect_image(&self, region: &str, image_id: &str) -> CloudResult<()> {
        let call = self.inner.unprotect_image(region, image_id);
        self.change(region, "DisableImageDeregistrationProtection", call).await
    }
    async fn enable_fast_launch(&self, region: &str, request: &NewFastLaunch) -> CloudResult<()> {
        self.change(region, "EnableFastLaunch", self.inner.enable_fast_launch(region, request)).await
    }
    async fn disable_fast_launch(&self, region: &str, image_id: &str) -> CloudResult<()> {
        self.change(region, "DisableFastLaunch", self.inner.disable_fast_launch(region, image_id)).await
    }
    async fn fast_launch(&self, region: &str, image_id: &str) -> CloudResult<Option<FastLaunchStatus>> {
        self.look(region, "DescribeFastLaunchImages", self.inner.fast_launch(region, image_id)).await
    }
}
