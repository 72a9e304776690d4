//! Snapshots of volumes, and images of snapshots.

use async_trait::async_trait;
use aws_sdk_ec2::Client;
use aws_sdk_ec2::operation::register_image::builders::RegisterImageFluentBuilder;
use aws_sdk_ec2::types as ec2;

use super::account::{AwsAccount, description};
use super::convert::tag_specifications;
use super::errors::incomplete;
use super::launch;
use crate::cloud::{CloudResult, Disks, NewRegistration, NewSnapshot};

#[async_trait]
impl Disks for AwsAccount {
    async fn create_snapshot(&self, region: &str, request: &NewSnapshot) -> CloudResult<String> {
        const OPERATION: &str = "CreateSnapshot";
        let request = self
            .client(region)
            .create_snapshot()
            .volume_id(&request.volume_id)
            .set_description(description(&request.description))
            .set_tag_specifications(tag_specifications([(ec2::ResourceType::Snapshot, &request.tags)]));
        let answer = self.call(OPERATION, region).change_once(|| request.clone().send()).await?;
        answer.snapshot_id.ok_or_else(|| incomplete(OPERATION, "snapshot id", true))
    }

    async fn register_image(&self, region: &str, request: &NewRegistration) -> CloudResult<String> {
        const OPERATION: &str = "RegisterImage";
        let request = register_image(&self.client(region), request);
        let answer = self.call(OPERATION, region).change(|| request.clone().send()).await?;
        answer.image_id.ok_or_else(|| incomplete(OPERATION, "image id", true))
    }

    async fn detach_volume(&self, region: &str, instance_id: &str, volume_id: &str) -> CloudResult<()> {
        let request = self.client(region).detach_volume().instance_id(instance_id).volume_id(volume_id);
        self.call("DetachVolume", region).change(|| request.clone().send()).await.map(drop)
    }

    async fn attach_volume(
        &self,
        region: &str,
        instance_id: &str,
        volume_id: &str,
        device_name: &str,
    ) -> CloudResult<()> {
        let request = self.client(region).attach_volume().instance_id(instance_id).volume_id(volume_id);
        let request = request.device(device_name);
        self.call("AttachVolume", region).change(|| request.clone().send()).await.map(drop)
    }
}

fn register_image(client: &Client, request: &NewRegistration) -> RegisterImageFluentBuilder {
    client
        .register_image()
        .name(&request.name)
        .set_description(description(&request.description))
        .architecture(ec2::ArchitectureValues::from(request.architecture.as_str()))
        .virtualization_type(&request.virtualization_type)
        .ena_support(request.ena_support)
        .set_sriov_net_support(request.sriov_support.then(|| "simple".to_owned()))
        .set_boot_mode(request.boot_mode.as_deref().map(ec2::BootModeValues::from))
        .set_uefi_data(request.uefi_data.clone())
        .set_tpm_support(request.tpm_support.as_deref().map(ec2::TpmSupportValues::from))
        .set_imds_support(request.imds_v2.then_some(ec2::ImdsSupportValues::V20))
        .root_device_name(&request.root_device_name)
        .set_block_device_mappings(launch::block_devices(&request.block_devices))
        .set_tag_specifications(tag_specifications([(ec2::ResourceType::Image, &request.image_tags)]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cloud::aws::launch::tests::client;
    use crate::domain::config::amazon_ebs::BlockDevice;

    #[test]
    fn a_registration_says_what_the_snapshot_can_do() {
        let mut request = NewRegistration {
            name: "golden".into(),
            description: String::new(),
            architecture: "arm64".into(),
            virtualization_type: "hvm".into(),
            ena_support: true,
            sriov_support: false,
            boot_mode: None,
            uefi_data: None,
            tpm_support: None,
            imds_v2: false,
            root_device_name: "/dev/xvda".into(),
            block_devices: vec![BlockDevice {
                device_name: "/dev/xvda".into(),
                snapshot_id: Some("snap-1".into()),
                ..BlockDevice::default()
            }],
            image_tags: vec![("a".into(), "b".into())],
        };
        let plain = register_image(&client(), &request);
        assert_eq!(*plain.get_architecture(), Some(ec2::ArchitectureValues::Arm64));
        assert_eq!((plain.get_description(), plain.get_sriov_net_support()), (&None, &None));
        assert_eq!((plain.get_boot_mode(), plain.get_tpm_support(), plain.get_imds_support()), (&None, &None, &None));
        let device = &plain.get_block_device_mappings().as_ref().unwrap()[0];
        assert_eq!(device.ebs().unwrap().snapshot_id(), Some("snap-1"));
        request.boot_mode = Some("uefi".into());
        request.tpm_support = Some("v2.0".into());
        request.uefi_data = Some("AAAA".into());
        request.imds_v2 = true;
        request.sriov_support = true;
        let full = register_image(&client(), &request);
        assert_eq!(*full.get_boot_mode(), Some(ec2::BootModeValues::Uefi));
        assert_eq!(*full.get_tpm_support(), Some(ec2::TpmSupportValues::V20));
        assert_eq!(*full.get_imds_support(), Some(ec2::ImdsSupportValues::V20));
        assert_eq!(
            (full.get_uefi_data().as_deref(), full.get_sriov_net_support().as_deref()),
            (Some("AAAA"), Some("simple"))
        );
    }
}
