//! `RunInstances` for one instance, from [`NewInstance`]. The same request makes the same bytes, as its token demands.

use aws_sdk_ec2::Client;
use aws_sdk_ec2::operation::run_instances::builders::RunInstancesFluentBuilder;
use aws_sdk_ec2::types as ec2;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::convert::tag_specifications;
use crate::cloud::NewInstance;
use crate::domain::config::amazon_ebs::{BlockDevice, MetadataOptions, ShutdownBehavior};

pub(super) fn run_instances(client: &Client, request: &NewInstance) -> RunInstancesFluentBuilder {
    let devices = request.block_devices.iter().map(block_device).collect::<Vec<_>>();
    let call = client
        .run_instances()
        .min_count(1)
        .max_count(1)
        .client_token(&request.client_token)
        .image_id(&request.image_id)
        .instance_type(ec2::InstanceType::from(request.instance_type.as_str()))
        .set_key_name(request.key_name.clone())
        .set_iam_instance_profile(request.iam_instance_profile.as_deref().map(instance_profile))
        .set_user_data(request.user_data.as_deref().map(|data| STANDARD.encode(data)))
        .set_block_device_mappings((!devices.is_empty()).then_some(devices))
        .set_ebs_optimized(request.ebs_optimized.then_some(true))
        .set_placement(
            request.availability_zone.as_ref().map(|zone| ec2::Placement::builder().availability_zone(zone).build()),
        )
        .instance_initiated_shutdown_behavior(match request.shutdown_behavior {
            ShutdownBehavior::Stop => ec2::ShutdownBehavior::Stop,
            ShutdownBehavior::Terminate => ec2::ShutdownBehavior::Terminate,
        })
        .metadata_options(metadata_options(&request.metadata_options))
        .set_tag_specifications(tag_specifications([
            (ec2::ResourceType::Instance, &request.instance_tags),
            (ec2::ResourceType::Volume, &request.volume_tags),
            (ec2::ResourceType::NetworkInterface, &request.interface_tags),
        ]));
    with_network(call, request)
}

/// Whether the address is public can be said of an interface only, and then subnet and groups belong to it too.
fn with_network(call: RunInstancesFluentBuilder, request: &NewInstance) -> RunInstancesFluentBuilder {
    let groups = (!request.security_group_ids.is_empty()).then(|| request.security_group_ids.clone());
    if request.subnet_id.is_none() && request.associate_public_ip_address.is_none() {
        return call.set_security_group_ids(groups);
    }
    let interface = ec2::InstanceNetworkInterfaceSpecification::builder()
        .device_index(0)
        .delete_on_termination(true)
        .set_subnet_id(request.subnet_id.clone())
        .set_associate_public_ip_address(request.associate_public_ip_address)
        .set_groups(groups)
        .build();
    call.network_interfaces(interface)
}

fn instance_profile(profile: &str) -> ec2::IamInstanceProfileSpecification {
    let builder = ec2::IamInstanceProfileSpecification::builder();
    if profile.starts_with("arn:") { builder.arn(profile).build() } else { builder.name(profile).build() }
}

fn metadata_options(options: &MetadataOptions) -> ec2::InstanceMetadataOptionsRequest {
    use ec2::{HttpTokensState, InstanceMetadataEndpointState, InstanceMetadataTagsState};
    let endpoint = if options.http_endpoint_enabled {
        InstanceMetadataEndpointState::Enabled
    } else {
        InstanceMetadataEndpointState::Disabled
    };
    let tokens = if options.http_tokens_required { HttpTokensState::Required } else { HttpTokensState::Optional };
    let tags = if options.instance_metadata_tags {
        InstanceMetadataTagsState::Enabled
    } else {
        InstanceMetadataTagsState::Disabled
    };
    ec2::InstanceMetadataOptionsRequest::builder()
        .http_endpoint(endpoint)
        .http_tokens(tokens)
        .http_put_response_hop_limit(options.http_put_response_hop_limit)
        .instance_metadata_tags(tags)
        .build()
}

fn block_device(device: &BlockDevice) -> ec2::BlockDeviceMapping {
    let builder = ec2::BlockDeviceMapping::builder().device_name(&device.device_name);
    if device.no_device {
        return builder.no_device("").build();
    }
    if let Some(name) = &device.virtual_name {
        return builder.virtual_name(name).build();
    }
    let volume = ec2::EbsBlockDevice::builder()
        .delete_on_termination(device.delete_on_termination)
        .set_encrypted(device.encrypted)
        .set_kms_key_id(device.kms_key_id.clone())
        .set_iops(device.iops)
        .set_throughput(device.throughput)
        .set_snapshot_id(device.snapshot_id.clone())
        .set_volume_size(device.volume_size)
        .set_volume_type(device.volume_type.as_deref().map(ec2::VolumeType::from))
        .build();
    builder.ebs(volume).build()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client() -> Client {
        let config = aws_sdk_ec2::Config::builder()
            .behavior_version(aws_sdk_ec2::config::BehaviorVersion::latest())
            .region(aws_sdk_ec2::config::Region::from_static("us-east-1"))
            .build();
        Client::from_conf(config)
    }

    fn request() -> NewInstance {
        NewInstance {
            client_token: "token".into(),
            image_id: "ami-1".into(),
            instance_type: "t3.micro".into(),
            key_name: Some("key".into()),
            security_group_ids: vec!["sg-1".into()],
            subnet_id: None,
            availability_zone: None,
            associate_public_ip_address: None,
            iam_instance_profile: None,
            user_data: None,
            block_devices: vec![],
            ebs_optimized: false,
            shutdown_behavior: ShutdownBehavior::Terminate,
            metadata_options: MetadataOptions::default(),
            instance_tags: vec![("a".into(), "b".into())],
            volume_tags: vec![],
            interface_tags: vec![],
        }
    }

    #[test]
    fn groups_go_to_the_interface_when_there_is_one() {
        let plain = run_instances(&client(), &request());
        assert_eq!(plain.get_security_group_ids().as_deref(), Some(&["sg-1".to_owned()][..]));
        assert!(plain.get_network_interfaces().is_none());

        let mut in_subnet = request();
        in_subnet.subnet_id = Some("subnet-1".into());
        in_subnet.associate_public_ip_address = Some(true);
        let call = run_instances(&client(), &in_subnet);
        assert!(call.get_security_group_ids().is_none() && call.get_subnet_id().is_none());
        let interface = &call.get_network_interfaces().as_ref().unwrap()[0];
        assert_eq!((interface.subnet_id(), interface.groups()), (Some("subnet-1"), &["sg-1".to_owned()][..]));
        assert_eq!((interface.associate_public_ip_address(), interface.device_index()), (Some(true), Some(0)));
    }

    #[test]
    fn profiles_devices_and_user_data_take_ec2s_form() {
        let mut full = request();
        full.iam_instance_profile = Some("arn:aws:iam::1:instance-profile/p".into());
        full.user_data = Some("#!/bin/sh".into());
        full.block_devices = vec![
            BlockDevice { device_name: "/dev/sda1".into(), volume_size: Some(9), ..BlockDevice::default() },
            BlockDevice { device_name: "/dev/sdb".into(), no_device: true, ..BlockDevice::default() },
            BlockDevice {
                device_name: "/dev/sdc".into(),
                virtual_name: Some("ephemeral0".into()),
                ..BlockDevice::default()
            },
        ];
        let call = run_instances(&client(), &full);
        assert!(call.get_iam_instance_profile().as_ref().unwrap().name().is_none());
        assert_eq!(call.get_user_data().as_deref(), Some("IyEvYmluL3No"));
        let devices = call.get_block_device_mappings().as_ref().unwrap();
        assert_eq!(devices[0].ebs().unwrap().volume_size(), Some(9));
        assert!(devices[1].ebs().is_none() && devices[1].no_device() == Some(""));
        assert_eq!((devices[2].ebs(), devices[2].virtual_name()), (None, Some("ephemeral0")));
        assert_eq!(instance_profile("web").name(), Some("web"));
    }

    #[test]
    fn metadata_needs_tokens_by_default() {
        let options = metadata_options(&MetadataOptions::default());
        assert_eq!(options.http_tokens(), Some(&ec2::HttpTokensState::Required));
        assert_eq!(options.http_endpoint(), Some(&ec2::InstanceMetadataEndpointState::Enabled));
        assert_eq!(options.http_put_response_hop_limit(), Some(1));
    }
}
