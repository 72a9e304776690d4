//! What there is.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use tokio::time::Instant;

use super::filters::{Listed, one, optional};
use super::timing::{Change, FakeTimings};
use crate::cloud::denial::Denial;
use crate::cloud::{
    CloudResult, FleetInstance, Image, ImageState, Instance, InstanceState, KeyPair, LaunchTemplate, NetworkInterface,
    NewFleet, NewImageCopy, NewInstance, NewLaunchTemplate, SecurityGroup, Snapshot, Subnet, Tags, Volume,
};

#[derive(Default)]
pub(super) struct World {
    counter: u64,
    /// Names to numbers.
    pub accounts: BTreeMap<String, String>,
    /// By account number and region.
    pub(super) regions: BTreeMap<(String, String), Region>,
    /// Of all accounts and regions, for some are public or shared.
    pub images: BTreeMap<String, FakeImage>,
    /// When what is made from now on is made; none: EC2 does not say.
    pub now: Option<DateTime<Utc>>,
    pub timings: FakeTimings,
    pub invisible_for: u32,
    pub full_zones: BTreeSet<String>,
    /// Instance types without spot capacity.
    pub no_spot: BTreeSet<String>,
    /// USD an hour; none: below any limit.
    pub spot_price: Option<f64>,
    pub failing_boots: Vec<String>,
    pub failing_images: Vec<String>,
    pub console: String,
    /// By their encoded form.
    pub denials: BTreeMap<String, Denial>,
}

#[derive(Default)]
pub(super) struct Region {
    pub default_vpc: Option<String>,
    pub subnets: BTreeMap<String, FakeSubnet>,
    pub groups: BTreeMap<String, FakeGroup>,
    pub keys: BTreeMap<String, FakeKey>,
    pub instances: BTreeMap<String, FakeInstance>,
    pub volumes: BTreeMap<String, FakeVolume>,
    pub interfaces: BTreeMap<String, FakeInterface>,
    pub snapshots: BTreeMap<String, FakeSnapshot>,
    /// Tokens outlive what they made.
    pub launches: BTreeMap<String, (NewInstance, String)>,
    pub copies: BTreeMap<String, (NewImageCopy, String)>,
    pub templates: BTreeMap<String, FakeLaunchTemplate>,
    /// By their tokens, with what was answered.
    pub fleets: BTreeMap<String, (NewFleet, CloudResult<FleetInstance>)>,
}

pub(super) struct FakeSubnet {
    pub shown: Subnet,
    pub tags: Tags,
    pub hidden: u32,
}

pub(super) struct FakeGroup {
    pub shown: SecurityGroup,
    pub description: String,
    pub rules: BTreeSet<(u16, String)>,
    pub base: bool,
    pub hidden: u32,
}

pub(super) struct FakeKey {
    pub shown: KeyPair,
    pub hidden: u32,
}

pub(super) struct FakeInstance {
    pub shown: Instance,
    pub request: NewInstance,
    pub vpc_id: String,
    pub subnet_id: String,
    pub groups: Vec<String>,
    pub change: Option<Change<InstanceState>>,
    pub ena_support: bool,
    pub hidden: u32,
}

pub(super) struct FakeLaunchTemplate {
    pub shown: LaunchTemplate,
    pub request: NewLaunchTemplate,
    pub hidden: u32,
}

pub(super) struct FakeVolume {
    pub shown: Volume,
    pub zone: String,
    pub instance: Option<String>,
    pub delete_on_termination: bool,
    pub hidden: u32,
}

pub(super) struct FakeInterface {
    pub shown: NetworkInterface,
    pub subnet_id: String,
    pub groups: Vec<String>,
    pub instance: Option<String>,
    pub hidden: u32,
}

pub(super) struct FakeSnapshot {
    pub shown: Snapshot,
    /// The image that was made with it.
    pub image: String,
    pub shared_with: BTreeSet<String>,
    pub hidden: u32,
}

#[expect(clippy::struct_excessive_bools, reason = "facts of an image that do not depend on each other")]
pub(super) struct FakeImage {
    pub shown: Image,
    pub region: String,
    pub public: bool,
    pub base: bool,
    pub deprecated: bool,
    pub imds_v2: bool,
    pub shared_with: BTreeSet<String>,
    pub change: Option<Change<ImageState>>,
    pub hidden: u32,
}

impl FakeImage {
    pub(super) fn visible_to(&self, account: &str) -> bool {
        self.public || self.shown.owner_id == account || self.shared_with.contains(account)
    }
}

impl World {
    /// The next number; all ids and dates come from it.
    pub(super) fn next(&mut self) -> u64 {
        self.counter += 1;
        self.counter
    }

    /// `i-00000000000000007`.
    pub(super) fn id(&mut self, prefix: &str) -> String {
        format!("{prefix}-{:017x}", self.next())
    }

    /// The account's part of a region, with its default VPC made on first use.
    pub(super) fn region(&mut self, account: &str, region: &str) -> &mut Region {
        let key = (account.to_owned(), region.to_owned());
        if !self.regions.contains_key(&key) {
            self.regions.insert(key.clone(), Region::default());
            self.add_default_vpc(account, region);
        }
        self.regions.entry(key).or_default()
    }

    /// Ends all changes whose time has come.
    pub(super) fn settle(&mut self) {
        let now = Instant::now();
        for region in self.regions.values_mut() {
            region.settle(now);
        }
        for image in self.images.values_mut() {
            let Some(change) = image.change.take_if(|change| change.due(now)) else { continue };
            image.shown.state = change.to;
            image.shown.state_reason = change.reason;
            let state = if change.to == ImageState::Available { "completed" } else { "error" };
            let Some(region) = self.regions.get_mut(&(image.shown.owner_id.clone(), image.region.clone())) else {
                continue;
            };
            for snapshot in region.snapshots.values_mut().filter(|snapshot| snapshot.image == image.shown.id) {
                state.clone_into(&mut snapshot.shown.state);
                snapshot.shown.progress = Some("100%".to_owned());
            }
        }
    }

    pub(super) fn instances(&mut self) -> Vec<(String, Instance)> {
        self.settle();
        let regions = self.regions.iter();
        regions
            .flat_map(|((_, name), region)| region.instances.values().map(|i| (name.clone(), i.shown.clone())))
            .collect()
    }

    pub(super) fn snapshot_shared_with(&self, id: &str) -> Vec<String> {
        let found = self.regions.values().find_map(|region| region.snapshots.get(id));
        found.map(|snapshot| snapshot.shared_with.iter().cloned().collect()).unwrap_or_default()
    }

    pub(super) fn ingress_of(&self, id: &str) -> Vec<(u16, String)> {
        let found = self.regions.values().find_map(|region| region.groups.get(id));
        found.map(|group| group.rules.iter().cloned().collect()).unwrap_or_default()
    }

    pub(super) fn leftovers(&mut self, wanted: impl Fn(&Tags) -> bool) -> Vec<String> {
        self.settle();
        let mut found = Vec::new();
        let mut add = |region: &str, kind: &str, id: &str, tags: &Tags| {
            if wanted(tags) {
                let tags: Vec<String> = tags.iter().map(|(key, value)| format!("{key}={value}")).collect();
                found.push(format!("{region} {kind} {id} {{{}}}", tags.join(", ")));
            }
        };
        for ((_, name), region) in &self.regions {
            for instance in region.instances.values().filter(|instance| !instance.ends()) {
                add(name, "instance", &instance.shown.id, &instance.shown.tags);
            }
            for volume in region
                .volumes
                .values()
                .filter(|volume| !(volume.delete_on_termination && region.ends(volume.instance.as_ref())))
            {
                add(name, "volume", &volume.shown.id, &volume.shown.tags);
            }
            for interface in region.interfaces.values().filter(|interface| !region.ends(interface.instance.as_ref())) {
                add(name, "interface", &interface.shown.id, &interface.shown.tags);
            }
            for key in region.keys.values() {
                add(name, "key-pair", &key.shown.id, &key.shown.tags);
            }
            for group in region.groups.values().filter(|group| !group.base) {
                add(name, "security-group", &group.shown.id, &group.shown.tags);
            }
            for template in region.templates.values() {
                add(name, "launch-template", &template.shown.id, &template.shown.tags);
            }
            for snapshot in region.snapshots.values() {
                add(name, "snapshot", &snapshot.shown.id, &snapshot.shown.tags);
            }
        }
        for image in self.images.values().filter(|image| !image.base) {
            add(&image.region, "image", &image.shown.id, &image.shown.tags);
        }
        found
    }
}

impl Region {
    /// Whether what belongs to the instance goes with it.
    fn ends(&self, instance: Option<&String>) -> bool {
        instance.and_then(|id| self.instances.get(id)).is_some_and(FakeInstance::ends)
    }
}

impl FakeInstance {
    /// It is terminated or on its way there.
    pub(super) fn ends(&self) -> bool {
        matches!(self.shown.state, InstanceState::ShuttingDown | InstanceState::Terminated)
    }
}

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

listed!(FakeSnapshot, Snapshot, |snapshot, filter| match filter {
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
    "is-public" => one(image.public),
    "platform" => optional(image.shown.platform.as_ref()),
    "platform-details" => optional(image.shown.platform_details.as_ref()),
    "root-device-name" => optional(image.shown.root_device_name.as_ref()),
    "root-device-type" => one(&image.shown.root_device_type),
    "virtualization-type" => one(&image.shown.virtualization_type),
    "block-device-mapping.snapshot-id" => Some(image.shown.snapshot_ids.clone()),
    _ => None,
});
