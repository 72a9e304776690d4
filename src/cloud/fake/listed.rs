//! What lists show of each kind, and the filters that it has.

use super::filters::{Listed, one, optional};
use super::world::{
    FakeGroup, FakeImage, FakeInstance, FakeInterface, FakeKey, FakeLaunchTemplate, FakeSnapshot, FakeSubnet,
    FakeVolume, FakeVpc,
};
use crate::cloud::{
    Image, ImageState, Instance, InstanceState, KeyPair, LaunchTemplate, NetworkInterface, SecurityGroup, Snapshot,
    Subnet, Tags, Volume, Vpc,
};

/// What is the same for all kinds.
macro_rules! listed {
    ($kind:ty, $shown:ty, $tags:expr, $tags_mut:expr, $seen:expr, $attribute:expr) => {
        impl Listed for $kind {
            type Shown = $shown;

            fn shown(&self) -> &$shown {
                &self.shown
            }

            fn tags(&self) -> &Tags {
                let tags: fn(&Self) -> &Tags = $tags;
                tags(self)
            }

            fn tags_mut(&mut self) -> &mut Tags {
                let tags: fn(&mut Self) -> &mut Tags = $tags_mut;
                tags(self)
            }

            fn attribute(&self, filter: &str) -> Option<Vec<String>> {
                let attribute: fn(&Self, &str) -> Option<Vec<String>> = $attribute;
                attribute(self, filter)
            }

            fn hidden(&mut self) -> &mut u32 {
                &mut self.hidden
            }

            fn seen(&mut self) {
                let seen: fn(&mut Self) = $seen;
                seen(self);
            }
        }
    };
    ($kind:ty, $shown:ty, $attribute:expr) => {
        listed!($kind, $shown, |one| &one.shown.tags, |one| &mut one.shown.tags, |_| {}, $attribute);
    };
    (changing $kind:ty, $shown:ty, $attribute:expr) => {
        listed!(
            $kind,
            $shown,
            |one| &one.shown.tags,
            |one| &mut one.shown.tags,
            |one| {
                if let Some(change) = &mut one.change {
                    change.seen();
                }
            },
            $attribute
        );
    };
}

listed!(FakeSubnet, Subnet, |one| &one.tags, |one| &mut one.tags, |_| {}, |subnet, filter| match filter {
    "subnet-id" => one(&subnet.shown.id),
    "vpc-id" => one(&subnet.shown.vpc_id),
    "availability-zone" => one(&subnet.shown.availability_zone),
    "default-for-az" => one(subnet.shown.default_for_az),
    "map-public-ip-on-launch" => one(subnet.shown.maps_public_ip),
    "state" => one("available"),
    _ => None,
});

listed!(FakeVpc, Vpc, |vpc, filter| match filter {
    "vpc-id" => one(&vpc.shown.id),
    "is-default" => one(vpc.shown.is_default),
    "cidr" | "cidr-block-association.cidr-block" => one(&vpc.shown.cidr),
    "state" => one("available"),
    _ => None,
});

listed!(FakeGroup, SecurityGroup, |group, filter| match filter {
    "group-id" => one(&group.shown.id),
    "group-name" => one(&group.shown.name),
    "vpc-id" => optional(group.shown.vpc_id.as_ref()),
    "description" => one(&group.description),
    _ => None,
});

listed!(FakeKey, KeyPair, |key, filter| match filter {
    "key-pair-id" => one(&key.shown.id),
    "key-name" => one(&key.shown.name),
    "fingerprint" => one(&key.shown.fingerprint),
    _ => None,
});

listed!(FakeVolume, Volume, |volume, filter| match filter {
    "volume-id" => one(&volume.shown.id),
    "status" => one(&volume.shown.state),
    "availability-zone" => one(&volume.zone),
    "attachment.instance-id" => optional(volume.instance.as_ref()),
    _ => None,
});

listed!(FakeInterface, NetworkInterface, |interface, filter| match filter {
    "network-interface-id" => one(&interface.shown.id),
    "status" => one(&interface.shown.state),
    "subnet-id" => one(&interface.subnet_id),
    "group-id" => Some(interface.groups.clone()),
    "attachment.instance-id" => optional(interface.instance.as_ref()),
    _ => None,
});

listed!(FakeLaunchTemplate, LaunchTemplate, |template, filter| match filter {
    "launch-template-id" => one(&template.shown.id),
    "launch-template-name" => one(&template.shown.name),
    _ => None,
});

listed!(changing FakeSnapshot, Snapshot, |snapshot, filter| match filter {
    "snapshot-id" => one(&snapshot.shown.id),
    "status" => one(&snapshot.shown.state),
    _ => None,
});

listed!(changing FakeInstance, Instance, |instance, filter| match filter {
    "instance-id" => one(&instance.shown.id),
    "instance-state-name" => one(match instance.shown.state {
        InstanceState::Pending => "pending",
        InstanceState::Running => "running",
        InstanceState::Stopping => "stopping",
        InstanceState::Stopped => "stopped",
        InstanceState::ShuttingDown => "shutting-down",
        InstanceState::Terminated => "terminated",
    }),
    "client-token" => optional(instance.shown.client_token.as_ref()),
    "image-id" => one(&instance.request.machine.image_id),
    "instance-type" => one(&instance.request.instance_type),
    "instance-lifecycle" => Some(if instance.shown.spot { vec!["spot".to_owned()] } else { Vec::new() }),
    "key-name" => optional(instance.request.machine.key_name.as_ref()),
    "vpc-id" => one(&instance.vpc_id),
    "subnet-id" => one(&instance.subnet_id),
    "availability-zone" => optional(instance.shown.availability_zone.as_ref()),
    "instance.group-id" | "network-interface.group-id" => Some(instance.groups.clone()),
    _ => None,
});

listed!(changing FakeImage, Image, |image, filter| match filter {
    "image-id" => one(&image.shown.id),
    "name" => one(&image.shown.name),
    "state" => one(match image.shown.state {
        ImageState::Pending => "pending",
        ImageState::Available => "available",
        ImageState::Failed => "failed",
        ImageState::Other => "invalid",
    }),
    "owner-id" => one(&image.shown.owner_id),
    "owner-alias" => optional(image.shown.owner_alias.as_ref()),
    "architecture" => one(&image.shown.architecture),
    "creation-date" => one(&image.shown.creation_date),
    "description" => one(&image.shown.description),
    "ena-support" => one(image.shown.ena_support),
    "hypervisor" => one("xen"),
    "image-type" => one("machine"),
    "is-public" => one(image.shown.public),
    "platform" => optional(image.shown.platform.as_ref()),
    "platform-details" => optional(image.shown.platform_details.as_ref()),
    "root-device-name" => optional(image.shown.root_device_name.as_ref()),
    "root-device-type" => one(&image.shown.root_device_type),
    "virtualization-type" => one(&image.shown.virtualization_type),
    "block-device-mapping.snapshot-id" => Some(image.shown.snapshot_ids.clone()),
    _ => None,
});
