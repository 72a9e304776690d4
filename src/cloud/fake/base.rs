//! What is there at first: a default VPC with two zones, instance types, and base images, among them one that only looks
//! like Canonical's.

use std::collections::{BTreeMap, BTreeSet};

use super::REGIONS;
use super::disks::Disk;
use super::world::{FakeGroup, FakeImage, FakeSubnet, FakeVpc, World};
use crate::cloud::{Image, ImageState, InstanceType, SecurityGroup, Subnet, Tags, Vpc};

pub(super) const CANONICAL: &str = "099720109477";
pub(super) const AMAZON: &str = "137112412989";
/// Publishes an image by Canonical's name, newer than Canonical's own.
pub(super) const STRANGER: &str = "666666666666";

/// An image that somebody else publishes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BaseImage {
    pub name: &'static str,
    pub owner_id: &'static str,
    pub owner_alias: Option<&'static str>,
    pub architecture: &'static str,
    pub root_device_name: &'static str,
    /// RFC 3339.
    pub creation_date: &'static str,
    pub deprecated: bool,
}

const fn image(
    owner_id: &'static str,
    name: &'static str,
    architecture: &'static str,
    root_device_name: &'static str,
    creation_date: &'static str,
) -> BaseImage {
    BaseImage { name, owner_id, owner_alias: None, architecture, root_device_name, creation_date, deprecated: false }
}

const fn amazon(name: &'static str, creation_date: &'static str) -> BaseImage {
    BaseImage { owner_alias: Some("amazon"), ..image(AMAZON, name, "x86_64", "/dev/xvda", creation_date) }
}

const IMAGES: [BaseImage; 8] = [
    BaseImage {
        deprecated: true,
        ..image(
            CANONICAL,
            "ubuntu/images/hvm-ssd/ubuntu-jammy-22.04-amd64-server-20220609",
            "x86_64",
            "/dev/sda1",
            "2022-06-09T12:00:00.000Z",
        )
    },
    image(
        CANONICAL,
        "ubuntu/images/hvm-ssd/ubuntu-jammy-22.04-amd64-server-20240101",
        "x86_64",
        "/dev/sda1",
        "2024-01-01T12:00:00.000Z",
    ),
    image(
        CANONICAL,
        "ubuntu/images/hvm-ssd/ubuntu-jammy-22.04-amd64-server-20240301",
        "x86_64",
        "/dev/sda1",
        "2024-03-01T12:00:00.000Z",
    ),
    image(
        CANONICAL,
        "ubuntu/images/hvm-ssd/ubuntu-jammy-22.04-arm64-server-20240301",
        "arm64",
        "/dev/sda1",
        "2024-03-01T12:30:00.000Z",
    ),
    image(
        STRANGER,
        "ubuntu/images/hvm-ssd/ubuntu-jammy-22.04-amd64-server-20991231",
        "x86_64",
        "/dev/sda1",
        "2024-06-01T12:00:00.000Z",
    ),
    amazon("amzn2-ami-hvm-2.0.20231218.0-x86_64-gp2", "2023-12-18T12:00:00.000Z"),
    amazon("amzn2-ami-hvm-2.0.20240223.0-x86_64-gp2", "2024-02-23T12:00:00.000Z"),
    amazon("al2023-ami-2023.3.20240304.0-kernel-6.1-x86_64", "2024-03-04T12:00:00.000Z"),
];

const X86: [&str; 7] = ["t2.micro", "t3.nano", "t3.micro", "t3.small", "t3.medium", "m5.large", "c5.xlarge"];
const ARM: [&str; 3] = ["t4g.micro", "t4g.small", "m7g.medium"];

/// What a region knows of a type.
pub(super) fn instance_type(name: &str) -> Option<InstanceType> {
    let architecture = match name {
        _ if X86.contains(&name) => "x86_64",
        _ if ARM.contains(&name) => "arm64",
        _ => return None,
    };
    Some(InstanceType { name: name.to_owned(), architectures: vec![architecture.to_owned()] })
}

pub(super) fn fill(world: &mut World) {
    for region in REGIONS {
        for image in IMAGES {
            add_image(world, region, image);
        }
    }
}

pub(super) fn add_image(world: &mut World, region: &str, base: BaseImage) -> String {
    let id = world.id("ami");
    let snapshot = world.id("snap");
    let shown = Image {
        id: id.clone(),
        name: base.name.to_owned(),
        state: ImageState::Available,
        state_reason: None,
        owner_id: base.owner_id.to_owned(),
        owner_alias: base.owner_alias.map(str::to_owned),
        creation_date: base.creation_date.to_owned(),
        architecture: base.architecture.to_owned(),
        platform: None,
        platform_details: Some("Linux/UNIX".to_owned()),
        description: String::new(),
        root_device_type: "ebs".to_owned(),
        root_device_name: Some(base.root_device_name.to_owned()),
        virtualization_type: "hvm".to_owned(),
        ena_support: true,
        devices: Vec::new(),
        snapshot_ids: Vec::new(),
        public: true,
        deprecation_time: None,
        deregistration_protection: false,
        tags: Tags::new(),
    };
    let disks = vec![Disk::root(base.root_device_name, snapshot)];
    let image = FakeImage { base: true, deprecated: base.deprecated, ..FakeImage::new(shown, region, disks) };
    world.images.insert(id.clone(), image);
    id
}

impl World {
    pub(super) fn add_default_vpc(&mut self, account: &str, region: &str) {
        let vpc = self.id("vpc");
        self.region(account, region).default_vpc = Some(vpc.clone());
        for zone in ["a", "b"] {
            self.add_subnet(account, region, &vpc, &format!("{region}{zone}"), true, true);
        }
    }

    /// Every VPC has a group named `default`, which is made with its first subnet here.
    pub(super) fn add_subnet(
        &mut self,
        account: &str,
        region: &str,
        vpc_id: &str,
        zone: &str,
        default_for_az: bool,
        maps_public_ip: bool,
    ) -> String {
        let (id, group_id) = (self.id("subnet"), self.id("sg"));
        let world = self.region(account, region);
        let is_default = world.default_vpc.as_deref() == Some(vpc_id);
        world.vpcs.entry(vpc_id.to_owned()).or_insert_with(|| {
            let cidr = if is_default { "172.31.0.0/16" } else { "10.0.0.0/16" }.to_owned();
            FakeVpc { shown: Vpc { id: vpc_id.to_owned(), is_default, cidr, tags: Tags::new() }, hidden: 0 }
        });
        let shown = Subnet {
            id: id.clone(),
            vpc_id: vpc_id.to_owned(),
            availability_zone: zone.to_owned(),
            default_for_az,
            maps_public_ip,
            available_addresses: 251,
        };
        world.subnets.insert(id.clone(), FakeSubnet { shown, tags: Tags::new(), hidden: 0 });
        if !world.groups.values().any(|group| group.base && group.shown.vpc_id.as_deref() == Some(vpc_id)) {
            let shown = SecurityGroup {
                id: group_id.clone(),
                name: "default".to_owned(),
                vpc_id: Some(vpc_id.to_owned()),
                tags: Tags::new(),
            };
            let description = "default VPC security group".to_owned();
            world
                .groups
                .insert(group_id, FakeGroup { shown, description, rules: BTreeSet::new(), base: true, hidden: 0 });
        }
        id
    }
}

/// Sets tags as `CreateTags` does: a key that is there gets the new value.
pub(super) fn merge_tags(old: &mut Tags, new: &Tags) {
    let added: BTreeMap<&str, &str> = new.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    old.retain(|(key, _)| !added.contains_key(key.as_str()));
    old.extend(new.iter().cloned());
}
