//! What there is.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use tokio::time::Instant;

use super::disks::Disk;
use super::identities::Iam;
use super::sessions::FakeSession;
use super::timing::{Change, FakeTimings};
use crate::cloud::denial::Denial;
use crate::cloud::{
    CloudResult, FastLaunchState, FastLaunchStatus, FleetInstance, Grantee, IAM_BUDGET, Image, ImageState, Instance,
    InstanceState, KeyPair, LaunchTemplate, NetworkInterface, NewFastLaunch, NewFleet, NewImage, NewImageCopy,
    NewInstance, NewLaunchTemplate, NewRegistration, Parameter, SecretValue, SecurityGroup, Snapshot, Subnet, Tags,
    Volume, Vpc,
};
use crate::domain::config::launch::AssumeRole;

#[derive(Default)]
pub(super) struct World {
    counter: u64,
    /// Names to numbers.
    pub accounts: BTreeMap<String, String>,
    /// By account number.
    pub(super) iam: BTreeMap<String, Iam>,
    /// Roles that templates may have assumed, with their external ids.
    pub assumable: BTreeMap<String, Option<String>>,
    pub assumed: Vec<AssumeRole>,
    /// By account number and region.
    pub(super) regions: BTreeMap<(String, String), Region>,
    /// Of all accounts and regions, for some are public or shared.
    pub images: BTreeMap<String, FakeImage>,
    /// When what is made from now on is made; none: EC2 does not say.
    pub now: Option<DateTime<Utc>>,
    pub timings: FakeTimings,
    pub invisible_for: u32,
    pub full_zones: BTreeSet<String>,
    /// Zones and the instance types that they don't have.
    pub lacking: BTreeSet<(String, String)>,
    /// Instance types without spot capacity.
    pub no_spot: BTreeSet<String>,
    /// USD an hour; none: below any limit.
    pub spot_price: Option<f64>,
    pub failing_boots: Vec<String>,
    pub failing_images: Vec<String>,
    pub failing_fast_launches: Vec<String>,
    pub failing_snapshots: u32,
    pub image_requests: Vec<NewImage>,
    pub registrations: Vec<NewRegistration>,
    pub console: String,
    pub sessions: Vec<FakeSession>,
    /// By their encoded form.
    pub denials: BTreeMap<String, Denial>,
}

#[derive(Default)]
pub(super) struct Region {
    pub default_vpc: Option<String>,
    pub vpcs: BTreeMap<String, FakeVpc>,
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
    /// Their versions, the newest last.
    pub parameters: BTreeMap<String, Vec<Parameter>>,
    pub secrets: BTreeMap<String, Vec<SecretValue>>,
    pub templates: BTreeMap<String, FakeLaunchTemplate>,
    /// By their tokens, with what was answered.
    pub fleets: BTreeMap<String, (NewFleet, CloudResult<FleetInstance>)>,
}

pub(super) struct FakeVpc {
    pub shown: Vpc,
    pub hidden: u32,
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
    pub sriov_support: bool,
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
    pub disk: Disk,
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
    /// None: its image's state is its own.
    pub change: Option<Change<()>>,
    /// It ends so when it is made by itself.
    pub fails: bool,
    pub description: String,
    pub volume_id: Option<String>,
    pub grants: Vec<Grantee>,
    pub hidden: u32,
}

pub(super) struct FakeImage {
    pub shown: Image,
    pub region: String,
    pub disks: Vec<Disk>,
    pub base: bool,
    pub deprecated: bool,
    pub imds_v2: bool,
    pub grants: Vec<Grantee>,
    pub product_codes: Vec<String>,
    pub protection: Protection,
    pub fast_launch: Option<FakeFastLaunch>,
    pub change: Option<Change<ImageState>>,
    pub hidden: u32,
}

/// Whether an image can be deregistered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Protection {
    Off,
    On {
        with_cooldown: bool,
    },
    /// Switched off, and still there for 24 hours.
    Cooldown,
}

pub(super) struct FakeFastLaunch {
    pub shown: FastLaunchStatus,
    pub request: NewFastLaunch,
    pub change: Change<FastLaunchState>,
}

impl FakeImage {
    /// As it is when it was just made.
    pub(super) fn new(shown: Image, region: &str, disks: Vec<Disk>) -> Self {
        let mut image = Self {
            shown,
            region: region.to_owned(),
            disks,
            base: false,
            deprecated: false,
            imds_v2: false,
            grants: Vec::new(),
            product_codes: Vec::new(),
            protection: Protection::Off,
            fast_launch: None,
            change: None,
            hidden: 0,
        };
        image.shown.devices = image.disks.iter().map(Disk::shown).collect();
        image.shown.snapshot_ids = image.disks.iter().filter_map(|disk| disk.snapshot_id.clone()).collect();
        image.shown.deprecation_time = None;
        image.shown.deregistration_protection = false;
        image
    }

    pub(super) fn visible_to(&self, account: &str) -> bool {
        let has_it = |grantee: &Grantee| matches!(grantee, Grantee::Account(id) if id == account);
        self.shown.public || self.shown.owner_id == account || self.grants.iter().any(has_it)
    }

    pub(super) fn is_deprecated(&self, now: Option<DateTime<Utc>>) -> bool {
        self.deprecated || self.shown.deprecation_time.zip(now).is_some_and(|(at, now)| at <= now)
    }

    pub(super) fn protect(&mut self, protection: Protection) {
        self.protection = protection;
        self.shown.deregistration_protection = protection != Protection::Off;
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
            for snapshot in region.snapshots.values_mut() {
                if snapshot.change.take_if(|change| change.due(now)).is_some() {
                    let state = if snapshot.fails { "error" } else { "completed" };
                    snapshot.end(state);
                }
            }
        }
        for image in self.images.values_mut() {
            let Some(change) = image.change.take_if(|change| change.due(now)) else { continue };
            image.shown.state = change.to;
            image.shown.state_reason = change.reason;
            let state = if change.to == ImageState::Available { "completed" } else { "error" };
            let Some(region) = self.regions.get_mut(&(image.shown.owner_id.clone(), image.region.clone())) else {
                continue;
            };
            for snapshot in region.snapshots.values_mut() {
                if image.shown.snapshot_ids.contains(&snapshot.shown.id) && snapshot.shown.state == "pending" {
                    snapshot.end(state);
                }
            }
        }
        self.settle_fast_launches(now);
    }

    fn settle_fast_launches(&mut self, now: Instant) {
        for fast in self.images.values_mut().filter_map(|image| image.fast_launch.as_mut()) {
            if fast.shown.state == FastLaunchState::Enabling && fast.change.due(now) {
                fast.shown = FastLaunchStatus { state: fast.change.to, reason: fast.change.reason.clone() };
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
                .filter(|volume| !(volume.disk.delete_on_termination && region.ends(volume.instance.as_ref())))
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
        for iam in self.iam.values() {
            for role in iam.roles.values() {
                add(IAM_BUDGET, "iam-role", &role.shown.name, &role.shown.tags);
            }
            for profile in iam.profiles.values().filter(|profile| !profile.base) {
                add(IAM_BUDGET, "instance-profile", &profile.shown.name, &profile.shown.tags);
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

impl FakeSnapshot {
    pub(super) fn end(&mut self, state: &str) {
        state.clone_into(&mut self.shown.state);
        self.shown.progress = Some("100%".to_owned());
    }
}

impl FakeInstance {
    /// It is terminated or on its way there.
    pub(super) fn ends(&self) -> bool {
        matches!(self.shown.state, InstanceState::ShuttingDown | InstanceState::Terminated)
    }
}
