//! `RunInstances` for one instance, from [`NewInstance`]. The same request makes the same bytes, as its token demands.

use aws_sdk_ec2::Client;
use aws_sdk_ec2::operation::run_instances::builders::RunInstancesFluentBuilder;
use aws_sdk_ec2::types as ec2;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::convert::tag_specifications;
use crate::cloud::{Machine, NewInstance};
use crate::domain::config::amazon_ebs::{BlockDevice, MetadataOptions, ShutdownBehavior};
use crate::domain::config::launch::{CapacityReservation, Placement};

/// What a machine consists of, in EC2's types. They are there twice, with the same fields: for launches, and for launch
/// templates, to which `spot` puts a machine.
macro_rules! parts_of_machine {
    (
        block_device: $Mapping:ident with $Volume:ident,
        metadata_options: $Options:ident with $Endpoint:ident, $Tokens:ident, $InstanceTags:ident,
        placement: $Placement:ident,
        capacity_reservation: $Reservation:ident,
        license: $License:ident,
        instance_profile: $Profile:ident $(,)?
    ) => {
        fn block_device(device: &BlockDevice) -> ec2::$Mapping {
            let builder = ec2::$Mapping::builder().device_name(&device.device_name);
            if device.no_device {
                return builder.no_device("").build();
            }
            if let Some(name) = &device.virtual_name {
                return builder.virtual_name(name).build();
            }
            let volume = ec2::$Volume::builder()
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

        fn metadata_options(options: &MetadataOptions) -> ec2::$Options {
            use ec2::{$Endpoint as Endpoint, $InstanceTags as InstanceTags, $Tokens as Tokens};
            let tags = if options.instance_metadata_tags { InstanceTags::Enabled } else { InstanceTags::Disabled };
            ec2::$Options::builder()
                .http_endpoint(if options.http_endpoint_enabled { Endpoint::Enabled } else { Endpoint::Disabled })
                .http_tokens(if options.http_tokens_required { Tokens::Required } else { Tokens::Optional })
                .http_put_response_hop_limit(options.http_put_response_hop_limit)
                .instance_metadata_tags(tags)
                .build()
        }

        fn placement(wanted: &Placement, availability_zone: Option<&String>) -> Option<ec2::$Placement> {
            if availability_zone.is_none() && *wanted == Placement::default() {
                return None;
            }
            let placement = ec2::$Placement::builder()
                .set_availability_zone(availability_zone.cloned())
                .set_tenancy(wanted.tenancy.as_deref().map(ec2::Tenancy::from))
                .set_host_id(wanted.host_id.clone())
                .set_host_resource_group_arn(wanted.host_resource_group_arn.clone());
            Some(placement.build())
        }

        fn capacity_reservation(wanted: &CapacityReservation) -> ec2::$Reservation {
            use ec2::CapacityReservationPreference as Preference;
            let builder = ec2::$Reservation::builder();
            match wanted {
                CapacityReservation::None => builder.capacity_reservation_preference(Preference::None).build(),
                CapacityReservation::Open => builder.capacity_reservation_preference(Preference::Open).build(),
                target => {
                    let target = $crate::cloud::aws::launch::reservation_target(target);
                    builder.set_capacity_reservation_target(target).build()
                }
            }
        }

        fn licenses(arns: &[String]) -> Option<Vec<ec2::$License>> {
            let one = |arn: &String| ec2::$License::builder().license_configuration_arn(arn).build();
            (!arns.is_empty()).then(|| arns.iter().map(one).collect())
        }

        fn instance_profile(profile: &str) -> ec2::$Profile {
            let builder = ec2::$Profile::builder();
            if profile.starts_with("arn:") { builder.arn(profile).build() } else { builder.name(profile).build() }
        }
    };
}

pub(super) use parts_of_machine;

parts_of_machine!(
    block_device: BlockDeviceMapping with EbsBlockDevice,
    metadata_options: InstanceMetadataOptionsRequest with
        InstanceMetadataEndpointState, HttpTokensState, InstanceMetadataTagsState,
    placement: Placement,
    capacity_reservation: CapacityReservationSpecification,
    license: LicenseConfigurationRequest,
    instance_profile: IamInstanceProfileSpecification,
);

pub(super) fn run_instances(client: &Client, request: &NewInstance) -> RunInstancesFluentBuilder {
    let machine = &request.machine;
    let call = client
        .run_instances()
        .min_count(1)
        .max_count(1)
        .client_token(&request.client_token)
        .image_id(&machine.image_id)
        .instance_type(ec2::InstanceType::from(request.instance_type.as_str()))
        .set_key_name(machine.key_name.clone())
        .set_iam_instance_profile(machine.iam_instance_profile.as_deref().map(instance_profile))
        .set_user_data(user_data(machine))
        .set_block_device_mappings(block_devices(&machine.block_devices))
        .set_ebs_optimized(machine.ebs_optimized.then_some(true))
        .set_placement(placement(&machine.placement, request.availability_zone.as_ref()))
        .set_capacity_reservation_specification(machine.capacity_reservation.as_ref().map(capacity_reservation))
        .set_license_specifications(licenses(&machine.license_configurations))
        .set_credit_specification(machine.unlimited_credits.then(unlimited_credits))
        .set_enclave_options(machine.nitro_enclave.then(|| ec2::EnclaveOptionsRequest::builder().enabled(true).build()))
        .instance_initiated_shutdown_behavior(shutdown_behavior(machine.shutdown_behavior))
        .metadata_options(metadata_options(&machine.metadata_options))
        .set_tag_specifications(tag_specifications([
            (ec2::ResourceType::Instance, &machine.instance_tags),
            (ec2::ResourceType::Volume, &machine.volume_tags),
            (ec2::ResourceType::NetworkInterface, &machine.interface_tags),
        ]));
    with_network(call, request)
}

/// Whether the address is public can be said of an interface only, and then subnet and groups belong to it too.
fn with_network(call: RunInstancesFluentBuilder, request: &NewInstance) -> RunInstancesFluentBuilder {
    let machine = &request.machine;
    let groups = (!machine.security_group_ids.is_empty()).then(|| machine.security_group_ids.clone());
    if request.subnet_id.is_none() && machine.associate_public_ip_address.is_none() {
        return call.set_security_group_ids(groups);
    }
    let interface = ec2::InstanceNetworkInterfaceSpecification::builder()
        .device_index(0)
        .delete_on_termination(true)
        .set_subnet_id(request.subnet_id.clone())
        .set_associate_public_ip_address(machine.associate_public_ip_address)
        .set_groups(groups)
        .build();
    call.network_interfaces(interface)
}

pub(super) fn user_data(machine: &Machine) -> Option<String> {
    machine.user_data.as_deref().map(|data| STANDARD.encode(data))
}

pub(super) fn shutdown_behavior(behavior: ShutdownBehavior) -> ec2::ShutdownBehavior {
    match behavior {
        ShutdownBehavior::Stop => ec2::ShutdownBehavior::Stop,
        ShutdownBehavior::Terminate => ec2::ShutdownBehavior::Terminate,
    }
}

/// A named reservation. EC2 refuses a preference beside it.
pub(super) fn reservation_target(wanted: &CapacityReservation) -> Option<ec2::CapacityReservationTarget> {
    let target = ec2::CapacityReservationTarget::builder();
    match wanted {
        CapacityReservation::None | CapacityReservation::Open => None,
        CapacityReservation::Id(id) => Some(target.capacity_reservation_id(id).build()),
        CapacityReservation::Group(arn) => Some(target.capacity_reservation_resource_group_arn(arn).build()),
    }
}

pub(super) fn unlimited_credits() -> ec2::CreditSpecificationRequest {
    ec2::CreditSpecificationRequest::builder().cpu_credits("unlimited").build()
}

/// `None` for none, which leaves the image's own.
pub(super) fn block_devices(devices: &[BlockDevice]) -> Option<Vec<ec2::BlockDeviceMapping>> {
    (!devices.is_empty()).then(|| devices.iter().map(block_device).collect())
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::cloud::aws) fn machine() -> Machine {
        Machine {
            image_id: "ami-1".into(),
            key_name: Some("key".into()),
            security_group_ids: vec!["sg-1".into()],
            instance_tags: vec![("a".into(), "b".into())],
            ..Machine::default()
        }
    }

    pub(in crate::cloud::aws) fn client() -> Client {
        let config = aws_sdk_ec2::Config::builder()
            .behavior_version(aws_sdk_ec2::config::BehaviorVersion::latest())
            .region(aws_sdk_ec2::config::Region::from_static("us-east-1"))
            .build();
        Client::from_conf(config)
    }

    fn request() -> NewInstance {
        NewInstance {
            client_token: "token".into(),
            instance_type: "t3.micro".into(),
            machine: machine(),
            ..NewInstance::default()
        }
    }

    #[test]
    fn hardware_reservations_and_licences_are_sent_as_given_and_else_not_at_all() {
        let plain = run_instances(&client(), &request());
        assert_eq!(*plain.get_placement(), None);
        assert_eq!(*plain.get_capacity_reservation_specification(), None);
        assert_eq!((plain.get_credit_specification(), plain.get_enclave_options()), (&None, &None));
        assert_eq!(*plain.get_license_specifications(), None);

        let mut full = request();
        full.availability_zone = Some("us-east-1a".into());
        full.machine.placement = Placement {
            tenancy: Some("host".into()),
            host_id: Some("h-1".into()),
            host_resource_group_arn: Some("arn:aws:resource-groups:us-east-1:1:group/hosts".into()),
        };
        full.machine.license_configurations =
            vec!["arn:aws:license-manager:us-east-1:1:license-configuration:1".into()];
        full.machine.unlimited_credits = true;
        full.machine.nitro_enclave = true;
        let call = run_instances(&client(), &full);
        let placement = call.get_placement().as_ref().unwrap();
        assert_eq!((placement.availability_zone(), placement.host_id()), (Some("us-east-1a"), Some("h-1")));
        assert_eq!(placement.tenancy(), Some(&ec2::Tenancy::Host));
        assert!(placement.host_resource_group_arn().unwrap().ends_with(":group/hosts"));
        let license = &call.get_license_specifications().as_ref().unwrap()[0];
        assert!(license.license_configuration_arn().unwrap().ends_with(":1"));
        assert_eq!(call.get_credit_specification().as_ref().unwrap().cpu_credits(), Some("unlimited"));
        assert_eq!(call.get_enclave_options().as_ref().unwrap().enabled(), Some(true));
    }

    #[test]
    fn a_named_reservation_has_no_preference_beside_it() {
        use ec2::CapacityReservationPreference as Preference;
        let of = |wanted| {
            let specification = capacity_reservation(&wanted);
            let target = specification.capacity_reservation_target().cloned();
            (specification.capacity_reservation_preference().cloned(), target)
        };
        assert_eq!(of(CapacityReservation::None), (Some(Preference::None), None));
        assert_eq!(of(CapacityReservation::Open), (Some(Preference::Open), None));
        let (preference, target) = of(CapacityReservation::Id("cr-1".into()));
        assert_eq!((preference, target.unwrap().capacity_reservation_id()), (None, Some("cr-1")));
        let (preference, target) = of(CapacityReservation::Group("arn:x".into()));
        assert_eq!((preference, target.unwrap().capacity_reservation_resource_group_arn()), (None, Some("arn:x")));
    }

    #[test]
    fn groups_go_to_the_interface_when_there_is_one() {
        let plain = run_instances(&client(), &request());
        assert_eq!(plain.get_security_group_ids().as_deref(), Some(&["sg-1".to_owned()][..]));
        assert!(plain.get_network_interfaces().is_none());

        let mut in_subnet = request();
        in_subnet.subnet_id = Some("subnet-1".into());
        in_subnet.machine.associate_public_ip_address = Some(true);
        let call = run_instances(&client(), &in_subnet);
        assert!(call.get_security_group_ids().is_none() && call.get_subnet_id().is_none());
        let interface = &call.get_network_interfaces().as_ref().unwrap()[0];
        assert_eq!((interface.subnet_id(), interface.groups()), (Some("subnet-1"), &["sg-1".to_owned()][..]));
        assert_eq!((interface.associate_public_ip_address(), interface.device_index()), (Some(true), Some(0)));
    }

    #[test]
    fn profiles_devices_and_user_data_take_ec2s_form() {
        let mut full = request();
        full.machine.iam_instance_profile = Some("arn:aws:iam::1:instance-profile/p".into());
        full.machine.user_data = Some(b"#!/bin/sh".to_vec());
        full.machine.block_devices = vec![
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
