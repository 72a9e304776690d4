//! A [`Cloud`] whose changing calls are sent only while the build's lease allows it.

use std::sync::Arc;

use async_trait::async_trait;

use super::lease::Lease;
use crate::cloud::{
    Cloud, CloudError, CloudErrorClass, CloudResult, Filter, Image, ImageQuery, Instance, InstanceType, KeyPair,
    MUTATION_LIMIT, NetworkInterface, NewImage, NewImageCopy, NewInstance, NewSecurityGroup, SecurityGroup, Snapshot,
    Subnet, Tags, Volume,
};

pub struct GuardedCloud {
    inner: Arc<dyn Cloud>,
    lease: Arc<Lease>,
}

impl GuardedCloud {
    #[must_use]
    pub fn new(inner: Arc<dyn Cloud>, lease: Arc<Lease>) -> Self {
        Self { inner, lease }
    }

    async fn guarded<T>(
        &self,
        operation: &'static str,
        call: impl Future<Output = CloudResult<T>> + Send,
    ) -> CloudResult<T> {
        if self.lease.permit().await.is_err() {
            return Err(CloudError {
                class: CloudErrorClass::Unavailable,
                operation,
                code: "lease-lost".into(),
                message: "another server has this build; the call was not sent".into(),
                request_id: None,
            });
        }
        // The cloud keeps the limit itself; this is the wall behind it. Its second more lets the cloud's own, more
        // telling answer come first, and is covered by the margin between the owner's deadline and the lease's end.
        match tokio::time::timeout(MUTATION_LIMIT + std::time::Duration::from_secs(1), call).await {
            Ok(answer) => answer,
            Err(_) => Err(CloudError {
                class: CloudErrorClass::UnknownOutcome,
                operation,
                code: "timeout".into(),
                message: format!("no answer within {} seconds", MUTATION_LIMIT.as_secs()),
                request_id: None,
            }),
        }
    }
}

#[async_trait]
impl Cloud for GuardedCloud {
    async fn account_id(&self) -> CloudResult<String> {
        self.inner.account_id().await
    }
    async fn regions(&self, region: &str) -> CloudResult<Vec<String>> {
        self.inner.regions(region).await
    }
    async fn find_images(&self, region: &str, query: &ImageQuery) -> CloudResult<Vec<Image>> {
        self.inner.find_images(region, query).await
    }
    async fn find_instances(&self, region: &str, filters: &[Filter]) -> CloudResult<Vec<Instance>> {
        self.inner.find_instances(region, filters).await
    }
    async fn find_subnets(&self, region: &str, filters: &[Filter]) -> CloudResult<Vec<Subnet>> {
        self.inner.find_subnets(region, filters).await
    }
    async fn default_vpc(&self, region: &str) -> CloudResult<Option<String>> {
        self.inner.default_vpc(region).await
    }
    async fn find_security_groups(&self, region: &str, filters: &[Filter]) -> CloudResult<Vec<SecurityGroup>> {
        self.inner.find_security_groups(region, filters).await
    }
    async fn find_key_pairs(&self, region: &str, filters: &[Filter]) -> CloudResult<Vec<KeyPair>> {
        self.inner.find_key_pairs(region, filters).await
    }
    async fn find_snapshots(&self, region: &str, filters: &[Filter]) -> CloudResult<Vec<Snapshot>> {
        self.inner.find_snapshots(region, filters).await
    }
    async fn find_volumes(&self, region: &str, filters: &[Filter]) -> CloudResult<Vec<Volume>> {
        self.inner.find_volumes(region, filters).await
    }
    async fn find_network_interfaces(&self, region: &str, filters: &[Filter]) -> CloudResult<Vec<NetworkInterface>> {
        self.inner.find_network_interfaces(region, filters).await
    }
    async fn instance_type(&self, region: &str, instance_type: &str) -> CloudResult<Option<InstanceType>> {
        self.inner.instance_type(region, instance_type).await
    }
    async fn console_output(&self, region: &str, instance_id: &str) -> CloudResult<String> {
        self.inner.console_output(region, instance_id).await
    }
    async fn import_key_pair(&self, region: &str, name: &str, public_key: &str, tags: &Tags) -> CloudResult<KeyPair> {
        self.guarded("ImportKeyPair", self.inner.import_key_pair(region, name, public_key, tags)).await
    }
    async fn delete_key_pair(&self, region: &str, key_pair_id: &str) -> CloudResult<()> {
        self.guarded("DeleteKeyPair", self.inner.delete_key_pair(region, key_pair_id)).await
    }
    async fn create_security_group(&self, region: &str, request: &NewSecurityGroup) -> CloudResult<String> {
        self.guarded("CreateSecurityGroup", self.inner.create_security_group(region, request)).await
    }
    async fn authorize_ingress(&self, region: &str, group_id: &str, port: u16, cidrs: &[String]) -> CloudResult<()> {
        self.guarded("AuthorizeIngress", self.inner.authorize_ingress(region, group_id, port, cidrs)).await
    }
    async fn delete_security_group(&self, region: &str, group_id: &str) -> CloudResult<()> {
        self.guarded("DeleteSecurityGroup", self.inner.delete_security_group(region, group_id)).await
    }
    async fn run_instance(&self, region: &str, request: &NewInstance) -> CloudResult<Instance> {
        self.guarded("RunInstance", self.inner.run_instance(region, request)).await
    }
    async fn stop_instance(&self, region: &str, instance_id: &str) -> CloudResult<()> {
        self.guarded("StopInstance", self.inner.stop_instance(region, instance_id)).await
    }
    async fn terminate_instance(&self, region: &str, instance_id: &str) -> CloudResult<()> {
        self.guarded("TerminateInstance", self.inner.terminate_instance(region, instance_id)).await
    }
    async fn set_ena_support(&self, region: &str, instance_id: &str, enabled: bool) -> CloudResult<()> {
        self.guarded("SetEnaSupport", self.inner.set_ena_support(region, instance_id, enabled)).await
    }
    async fn delete_volume(&self, region: &str, volume_id: &str) -> CloudResult<()> {
        self.guarded("DeleteVolume", self.inner.delete_volume(region, volume_id)).await
    }
    async fn delete_network_interface(&self, region: &str, interface_id: &str) -> CloudResult<()> {
        self.guarded("DeleteNetworkInterface", self.inner.delete_network_interface(region, interface_id)).await
    }
    async fn create_image(&self, region: &str, request: &NewImage) -> CloudResult<String> {
        self.guarded("CreateImage", self.inner.create_image(region, request)).await
    }
    async fn copy_image(&self, region: &str, request: &NewImageCopy) -> CloudResult<String> {
        self.guarded("CopyImage", self.inner.copy_image(region, request)).await
    }
    async fn deregister_image(&self, region: &str, image_id: &str) -> CloudResult<()> {
        self.guarded("DeregisterImage", self.inner.deregister_image(region, image_id)).await
    }
    async fn delete_snapshot(&self, region: &str, snapshot_id: &str) -> CloudResult<()> {
        self.guarded("DeleteSnapshot", self.inner.delete_snapshot(region, snapshot_id)).await
    }
    async fn share_image(&self, region: &str, image_id: &str, account_ids: &[String]) -> CloudResult<()> {
        self.guarded("ShareImage", self.inner.share_image(region, image_id, account_ids)).await
    }
    async fn share_snapshot(&self, region: &str, snapshot_id: &str, account_ids: &[String]) -> CloudResult<()> {
        self.guarded("ShareSnapshot", self.inner.share_snapshot(region, snapshot_id, account_ids)).await
    }
    async fn set_image_description(&self, region: &str, image_id: &str, description: &str) -> CloudResult<()> {
        self.guarded("SetImageDescription", self.inner.set_image_description(region, image_id, description)).await
    }
    async fn require_imds_v2(&self, region: &str, image_id: &str) -> CloudResult<()> {
        self.guarded("RequireImdsV2", self.inner.require_imds_v2(region, image_id)).await
    }
    async fn create_tags(&self, region: &str, resource_ids: &[String], tags: &Tags) -> CloudResult<()> {
        self.guarded("CreateTags", self.inner.create_tags(region, resource_ids, tags)).await
    }
    async fn delete_tags(&self, region: &str, resource_ids: &[String], keys: &[String]) -> CloudResult<()> {
        self.guarded("DeleteTags", self.inner.delete_tags(region, resource_ids, keys)).await
    }
}
