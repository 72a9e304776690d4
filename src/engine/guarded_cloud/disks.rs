//! Snapshots of volumes, and images of snapshots.

use async_trait::async_trait;

use super::GuardedCloud;
use crate::cloud::{CloudResult, Disks, NewRegistration, NewSnapshot};

#[async_trait]
impl Disks for GuardedCloud {
    async fn create_snapshot(&self, region: &str, request: &NewSnapshot) -> CloudResult<String> {
        self.change(region, "CreateSnapshot", self.inner.create_snapshot(region, request)).await
    }
    async fn register_image(&self, region: &str, request: &NewRegistration) -> CloudResult<String> {
        self.change(region, "RegisterImage", self.inner.register_image(region, request)).await
    }
    async fn detach_volume(&self, region: &str, instance_id: &str, volume_id: &str) -> CloudResult<()> {
        self.change(region, "DetachVolume", self.inner.detach_volume(region, instance_id, volume_id)).await
    }
    async fn attach_volume(
        &self,
        region: &str,
        instance_id: &str,
        volume_id: &str,
        device_name: &str,
    ) -> CloudResult<()> {
        let call = self.inner.attach_volume(region, instance_id, volume_id, device_name);
        self.change(region, "AttachVolume", call).await
    }
}
