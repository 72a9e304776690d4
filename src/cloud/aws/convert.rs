//! From and to the SDK's types.

use aws_sdk_ec2::primitives;
use aws_sdk_ec2::types as ec2;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Utc};

use crate::cloud::{
    Filter, Image, ImageDevice, ImageState, Instance, InstanceDevice, InstanceState, InstanceType, KeyPair,
    LaunchTemplate, NetworkInterface, SecurityGroup, Snapshot, Subnet, Tags, Volume, Vpc,
};

/// What is kept of a console's output, in bytes (as much as EC2 keeps).
const CONSOLE_TAIL: usize = 64 * 1024;

pub(super) fn filters(filters: &[Filter]) -> Option<Vec<ec2::Filter>> {
    let one =
        |filter: &Filter| ec2::Filter::builder().name(&filter.name).set_values(Some(filter.values.clone())).build();
    (!filters.is_empty()).then(|| filters.iter().map(one).collect())
}

pub(super) fn to_tags(tags: &Tags) -> Vec<ec2::Tag> {
    tags.iter().map(|(key, value)| ec2::Tag::builder().key(key).value(value).build()).collect()
}

/// The tags of what a call makes, each kind with its own. EC2 refuses a specification without tags.
pub(super) fn tag_specifications<const N: usize>(
    kinds: [(ec2::ResourceType, &Tags); N],
) -> Option<Vec<ec2::TagSpecification>> {
    let specifications: Vec<_> = kinds
        .into_iter()
        .filter(|(_, tags)| !tags.is_empty())
        .map(|(kind, tags)| ec2::TagSpecification::builder().resource_type(kind).set_tags(Some(to_tags(tags))).build())
        .collect();
    (!specifications.is_empty()).then_some(specifications)
}

fn from_tags(tags: &[ec2::Tag]) -> Tags {
    tags.iter().map(|tag| (text(tag.key()), text(tag.value()))).collect()
}

fn text(text: Option<&str>) -> String {
    text.unwrap_or_default().to_owned()
}

pub(super) fn time(time: Option<&primitives::DateTime>) -> Option<DateTime<Utc>> {
    time.and_then(|time| DateTime::from_timestamp(time.secs(), time.subsec_nanos()))
}

/// EC2 gives empty texts for what is not there (a private instance's public name).
fn some(text: Option<&str>) -> Option<String> {
    text.filter(|text| !text.is_empty()).map(str::to_owned)
}

/// `Client.InvalidKMSKey.InvalidState: The KMS key …`; EC2's message often begins with the code already.
fn reason(reason: Option<&ec2::StateReason>) -> Option<String> {
    let reason = reason?;
    match (some(reason.code()), some(reason.message())) {
        (Some(code), Some(message)) if !message.starts_with(&code) => Some(format!("{code}: {message}")),
        (code, message) => message.or(code),
    }
}

pub(super) fn image(image: &ec2::Image) -> Image {
    let devices: Vec<ImageDevice> = image.block_device_mappings().iter().filter_map(image_device).collect();
    Image {
        id: text(image.image_id()),
        name: text(image.name()),
        state: match image.state() {
            Some(ec2::ImageState::Pending) => ImageState::Pending,
            Some(ec2::ImageState::Available) => ImageState::Available,
            Some(ec2::ImageState::Failed) => ImageState::Failed,
            _ => ImageState::Other,
        },
        state_reason: reason(image.state_reason()),
        owner_id: text(image.owner_id()),
        owner_alias: some(image.image_owner_alias()),
        creation_date: text(image.creation_date()),
        architecture: text(image.architecture().map(ec2::ArchitectureValues::as_str)),
        platform: some(image.platform().map(ec2::PlatformValues::as_str)),
        platform_details: some(image.platform_details()),
        description: text(image.description()),
        root_device_type: text(image.root_device_type().map(ec2::DeviceType::as_str)),
        root_device_name: some(image.root_device_name()),
        virtualization_type: text(image.virtualization_type().map(ec2::VirtualizationType::as_str)),
        ena_support: image.ena_support().unwrap_or_default(),
        snapshot_ids: devices.iter().filter_map(|device| device.snapshot_id.clone()).collect(),
        devices,
        public: image.public().unwrap_or_default(),
        deprecation_time: image
            .deprecation_time()
            .and_then(|at| DateTime::parse_from_rfc3339(at).ok())
            .map(|at| at.to_utc()),
        // `disabled`, `enabled-without-cooldown` and the like; while a cooldown lasts it is not `disabled`.
        deregistration_protection: image.deregistration_protection().is_some_and(|state| state != "disabled"),
        tags: from_tags(image.tags()),
    }
}

fn image_device(device: &ec2::BlockDeviceMapping) -> Option<ImageDevice> {
    let volume = device.ebs()?;
    Some(ImageDevice {
        device_name: text(device.device_name()),
        snapshot_id: some(volume.snapshot_id()),
        size_gib: volume.volume_size(),
        volume_type: text(volume.volume_type().map(ec2::VolumeType::as_str)),
        iops: volume.iops(),
        throughput: volume.throughput(),
        encrypted: volume.encrypted().unwrap_or_default(),
        delete_on_termination: volume.delete_on_termination().unwrap_or_default(),
    })
}

fn instance_device(device: &ec2::InstanceBlockDeviceMapping) -> Option<InstanceDevice> {
    let volume = device.ebs()?;
    Some(InstanceDevice {
        device_name: text(device.device_name()),
        volume_id: some(volume.volume_id())?,
        delete_on_termination: volume.delete_on_termination().unwrap_or_default(),
    })
}

pub(super) fn instance(instance: &ec2::Instance) -> Instance {
    let devices: Vec<InstanceDevice> = instance.block_device_mappings().iter().filter_map(instance_device).collect();
    let interfaces = instance.network_interfaces();
    let ipv6 = || {
        interfaces
            .iter()
            .flat_map(ec2::InstanceNetworkInterface::ipv6_addresses)
            .find_map(|address| some(address.ipv6_address()))
    };
    Instance {
        id: text(instance.instance_id()),
        state: match instance.state().and_then(ec2::InstanceState::name) {
            Some(ec2::InstanceStateName::Running) => InstanceState::Running,
            Some(ec2::InstanceStateName::Stopping) => InstanceState::Stopping,
            Some(ec2::InstanceStateName::Stopped) => InstanceState::Stopped,
            Some(ec2::InstanceStateName::ShuttingDown) => InstanceState::ShuttingDown,
            Some(ec2::InstanceStateName::Terminated) => InstanceState::Terminated,
            _ => InstanceState::Pending,
        },
        state_reason: reason(instance.state_reason()),
        client_token: some(instance.client_token()),
        public_ip: some(instance.public_ip_address()),
        private_ip: some(instance.private_ip_address()),
        public_dns: some(instance.public_dns_name()),
        private_dns: some(instance.private_dns_name()),
        ipv6: some(instance.ipv6_address()).or_else(ipv6),
        availability_zone: some(instance.placement().and_then(ec2::Placement::availability_zone)),
        volume_ids: devices.iter().map(|device| device.volume_id.clone()).collect(),
        devices,
        interface_ids: interfaces.iter().filter_map(|interface| some(interface.network_interface_id())).collect(),
        instance_type: text(instance.instance_type().map(ec2::InstanceType::as_str)),
        key_name: some(instance.key_name()),
        spot: instance.instance_lifecycle() == Some(&ec2::InstanceLifecycleType::Spot),
        launched_at: time(instance.launch_time()),
        tags: from_tags(instance.tags()),
    }
}

pub(super) fn launch_template(template: &ec2::LaunchTemplate) -> LaunchTemplate {
    LaunchTemplate {
        id: text(template.launch_template_id()),
        name: text(template.launch_template_name()),
        created_at: time(template.create_time()),
        tags: from_tags(template.tags()),
    }
}

pub(super) fn subnet(subnet: &ec2::Subnet) -> Subnet {
    Subnet {
        id: text(subnet.subnet_id()),
        vpc_id: text(subnet.vpc_id()),
        availability_zone: text(subnet.availability_zone()),
        default_for_az: subnet.default_for_az().unwrap_or_default(),
        maps_public_ip: subnet.map_public_ip_on_launch().unwrap_or_default(),
        available_addresses: subnet.available_ip_address_count().unwrap_or_default(),
    }
}

pub(super) fn vpc(vpc: &ec2::Vpc) -> Vpc {
    Vpc {
        id: text(vpc.vpc_id()),
        is_default: vpc.is_default().unwrap_or_default(),
        cidr: text(vpc.cidr_block()),
        tags: from_tags(vpc.tags()),
    }
}

pub(super) fn security_group(group: &ec2::SecurityGroup) -> SecurityGroup {
    SecurityGroup {
        id: text(group.group_id()),
        name: text(group.group_name()),
        vpc_id: some(group.vpc_id()),
        tags: from_tags(group.tags()),
    }
}

pub(super) fn key_pair(pair: &ec2::KeyPairInfo) -> KeyPair {
    KeyPair {
        id: text(pair.key_pair_id()),
        name: text(pair.key_name()),
        fingerprint: text(pair.key_fingerprint()),
        created_at: time(pair.create_time()),
        tags: from_tags(pair.tags()),
    }
}

pub(super) fn snapshot(snapshot: &ec2::Snapshot) -> Snapshot {
    Snapshot {
        id: text(snapshot.snapshot_id()),
        state: text(snapshot.state().map(ec2::SnapshotState::as_str)),
        progress: some(snapshot.progress()),
        size_gib: snapshot.volume_size(),
        encrypted: snapshot.encrypted().unwrap_or_default(),
        kms_key_id: some(snapshot.kms_key_id()),
        created_at: time(snapshot.start_time()),
        tags: from_tags(snapshot.tags()),
    }
}

pub(super) fn volume(volume: &ec2::Volume) -> Volume {
    Volume {
        id: text(volume.volume_id()),
        state: text(volume.state().map(ec2::VolumeState::as_str)),
        volume_type: text(volume.volume_type().map(ec2::VolumeType::as_str)),
        size_gib: volume.size(),
        iops: volume.iops(),
        created_at: time(volume.create_time()),
        instance_ids: volume.attachments().iter().filter_map(|attached| some(attached.instance_id())).collect(),
        tags: from_tags(volume.tags()),
    }
}

pub(super) fn network_interface(interface: &ec2::NetworkInterface) -> NetworkInterface {
    NetworkInterface {
        id: text(interface.network_interface_id()),
        state: text(interface.status().map(ec2::NetworkInterfaceStatus::as_str)),
        instance_id: some(interface.attachment().and_then(ec2::NetworkInterfaceAttachment::instance_id)),
        group_ids: interface.groups().iter().filter_map(|group| some(group.group_id())).collect(),
        tags: from_tags(interface.tag_set()),
    }
}

pub(super) fn instance_type(info: &ec2::InstanceTypeInfo) -> InstanceType {
    let architectures = info.processor_info().map(ec2::ProcessorInfo::supported_architectures).unwrap_or_default();
    InstanceType {
        name: text(info.instance_type().map(ec2::InstanceType::as_str)),
        architectures: architectures.iter().map(|architecture| architecture.as_str().to_owned()).collect(),
    }
}

/// The end of a console's output, which EC2 sends as base64 of whatever the machine wrote.
pub(super) fn console_text(output: Option<&str>) -> String {
    let bytes = STANDARD.decode(output.unwrap_or_default().trim()).unwrap_or_default();
    String::from_utf8_lossy(&bytes[bytes.len().saturating_sub(CONSOLE_TAIL)..]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_consoles_end_is_text_whatever_it_holds() {
        assert_eq!(console_text(None), "");
        assert_eq!(console_text(Some("bG9naW46Cg==\n")), "login:\n");
        assert_eq!(console_text(Some(&STANDARD.encode(b"a\xffb"))), "a\u{fffd}b");
        let long = [b"x".repeat(CONSOLE_TAIL), b"end".to_vec()].concat();
        let kept = console_text(Some(&STANDARD.encode(long)));
        assert_eq!(kept.len(), CONSOLE_TAIL);
        assert!(kept.ends_with("xend"));
    }

    #[test]
    fn a_specification_without_tags_is_left_out() {
        let tags: Tags = vec![("Name".into(), "builder".into())];
        let none = Tags::new();
        let made =
            tag_specifications([(ec2::ResourceType::Image, &tags), (ec2::ResourceType::Snapshot, &none)]).unwrap();
        assert_eq!(made.len(), 1);
        assert_eq!(made[0].resource_type(), Some(&ec2::ResourceType::Image));
        assert_eq!(tag_specifications([(ec2::ResourceType::Snapshot, &none)]), None);
    }

    #[test]
    fn a_state_reason_names_its_code_once() {
        let make =
            |code: &str, message: &str| reason(Some(&ec2::StateReason::builder().code(code).message(message).build()));
        assert_eq!(make("Server.SpotInstanceTermination", "gone").unwrap(), "Server.SpotInstanceTermination: gone");
        assert_eq!(make("Client.X", "Client.X: why").unwrap(), "Client.X: why");
        assert_eq!(make("", ""), None);
    }

    #[test]
    fn an_image_tells_its_devices_and_how_it_is_kept() {
        let volume = ec2::EbsBlockDevice::builder().snapshot_id("snap-1").volume_size(8).encrypted(true).build();
        let made = ec2::Image::builder()
            .block_device_mappings(ec2::BlockDeviceMapping::builder().device_name("/dev/xvda").ebs(volume).build())
            .block_device_mappings(ec2::BlockDeviceMapping::builder().device_name("/dev/sdb").virtual_name("e").build())
            .deprecation_time("2027-01-02T03:04:00.000Z")
            .deregistration_protection("enabled-with-cooldown");
        let plain = image(&made.clone().deregistration_protection("disabled").build());
        assert!(!plain.deregistration_protection && !plain.public);
        let kept = image(&made.build());
        assert!(kept.deregistration_protection);
        assert_eq!(kept.deprecation_time.unwrap().to_rfc3339(), "2027-01-02T03:04:00+00:00");
        assert_eq!((kept.devices.len(), kept.snapshot_ids), (1, vec!["snap-1".to_owned()]));
        assert!(kept.devices[0].encrypted && !kept.devices[0].delete_on_termination);
    }

    #[test]
    fn a_private_instance_has_no_public_address() {
        let private =
            ec2::Instance::builder().instance_id("i-1").public_dns_name("").private_ip_address("10.0.0.4").build();
        let converted = instance(&private);
        assert_eq!(converted.public_dns, None);
        assert_eq!(converted.private_ip.as_deref(), Some("10.0.0.4"));
    }
}
