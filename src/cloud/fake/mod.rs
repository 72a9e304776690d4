//! An EC2 world that remembers, for tests of what uses the cloud: several accounts and regions in memory, ids from a
//! counter, states that take time (virtual under a paused tokio clock, or counted in looks), client tokens that outlive
//! their instance, names that are taken, and faults on demand. Start reading at [`FakeCloud`]; `world` holds what there
//! is, `listed` what lists show of it, `api` answers the calls, and the others know EC2's rules, such as `instances`.

mod api;
mod base;
mod calls;
mod disks;
mod filters;
mod identities;
mod image_rules;
mod images;
mod instances;
mod listed;
mod network;
mod sessions;
mod snapshots;
mod spot;
#[cfg(test)]
mod tests;
#[cfg(test)]
pub(crate) use tests::{sample_launch, sample_registration};
mod timing;
mod values;
mod world;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};

use super::denial::Denial;
use super::{Accounts, Cloud, CloudErrorClass, CloudResult, Grantee, Image, Instance, Tags};
use crate::domain::config::launch::AssumeRole;
use crate::domain::tags;

pub use base::BaseImage;
pub use calls::{CallRecord, FaultKind, Gate, Phase, Then};
pub use sessions::FakeSession;
pub use timing::{FakeTimings, Latency};

use calls::Calls;
use world::World;

/// The number of the account named `default`.
pub const DEFAULT_ACCOUNT_ID: &str = "123456789012";

/// Regions that exist.
pub const REGIONS: [&str; 4] = ["us-east-1", "us-west-2", "eu-west-1", "eu-central-1"];

/// A handle on the world, as one of its accounts sees it (`default` at first). Clones share the world. As [`Cloud`] it is
/// the handle's account, as [`Accounts`] all of them.
#[derive(Clone)]
pub struct FakeCloud {
    world: Arc<Mutex<World>>,
    calls: Arc<Calls>,
    account: String,
    /// The identity is a role that was assumed for a template.
    assumed: Option<Arc<AssumeRole>>,
    gate: Gate,
}

impl Default for FakeCloud {
    fn default() -> Self {
        Self::new()
    }
}

impl FakeCloud {
    /// A world with the one account `default`, a default VPC with two zones in each region, and the base images.
    #[must_use]
    pub fn new() -> Self {
        let mut world = World::default();
        base::fill(&mut world);
        world.accounts.insert("default".to_owned(), DEFAULT_ACCOUNT_ID.to_owned());
        Self {
            world: Arc::new(Mutex::new(world)),
            calls: Arc::new(Calls::default()),
            account: "default".to_owned(),
            assumed: None,
            gate: Gate::default(),
        }
    }

    /// Adds an account.
    #[must_use]
    pub fn with_account(self, name: &str, id: &str) -> Self {
        self.world().accounts.insert(name.to_owned(), id.to_owned());
        self
    }

    #[must_use]
    pub fn with_timings(self, timings: FakeTimings) -> Self {
        self.set_timings(timings);
        self
    }

    /// The same world as a server sees it that can be frozen.
    #[must_use]
    pub fn behind(&self, gate: Gate) -> Self {
        Self { gate, ..self.clone() }
    }

    /// The same world as another account sees it.
    ///
    /// # Panics
    /// When there is no such account.
    #[must_use]
    pub fn on_account(&self, name: &str) -> Self {
        assert!(self.world().accounts.contains_key(name), "no account {name} in this world");
        Self { account: name.to_owned(), ..self.clone() }
    }

    // ---- how the world behaves ----

    /// For changes that begin from now on.
    pub fn set_timings(&self, timings: FakeTimings) {
        self.world().timings = timings;
    }

    /// What is made from now on says that it was made then. It says nothing before this is called.
    pub fn set_now(&self, now: DateTime<Utc>) {
        self.world().now = Some(now);
    }

    /// New resources stay unseen by the first `looks` lists that would hold them (calls that name their id work).
    pub fn set_invisible_for(&self, looks: u32) {
        self.world().invisible_for = looks;
    }

    /// Every call takes this long.
    pub fn set_call_latency(&self, latency: Duration) {
        self.calls.set_latency(latency);
    }

    /// `RunInstances` in this zone has no room from now on.
    pub fn take_capacity_of(&self, zone: &str) {
        self.world().full_zones.insert(zone.to_owned());
    }

    /// A zone has no instances of a type.
    pub fn take_type_from(&self, zone: &str, instance_type: &str) {
        self.world().lacking.insert((zone.to_owned(), instance_type.to_owned()));
    }

    /// The next instance goes from pending to terminated, for this reason (`Client.InvalidKMSKey.InvalidState: …`).
    pub fn fail_next_boot(&self, reason: &str) {
        self.world().failing_boots.push(reason.to_owned());
    }

    /// The next image or copy goes from pending to failed, for this reason.
    pub fn fail_next_image(&self, reason: &str) {
        self.world().failing_images.push(reason.to_owned());
    }

    /// Each of the next `times` calls of an operation (`RunInstances`; `*`: any) meets the fault. Faults queue up.
    pub fn fail_next(&self, operation: &str, fault: FaultKind, times: usize) {
        self.calls.fail_next(operation, fault, times);
    }

    /// No call meets a fault of [`FakeCloud::fail_next`] any more.
    pub fn forget_faults(&self) {
        self.calls.forget_faults();
    }

    /// Called twice for every call: before anything happens, and when the effect has landed but the caller does not know
    /// yet. [`Then::Hang`] never answers: the task that called is as good as dead and can be cut off there.
    pub fn on_call(&self, hook: impl Fn(&CallRecord) -> Then + Send + Sync + 'static) {
        self.calls.set_hook(Some(Arc::new(hook)));
    }

    /// Ends [`FakeCloud::on_call`].
    pub fn forget_hook(&self) {
        self.calls.set_hook(None);
    }

    // ---- changing the world by hand ----

    /// A role that the account's identity may assume, with this external id if one is given. The account of the role's
    /// number must be there for calls to work.
    pub fn add_assumable_role(&self, role_arn: &str, external_id: Option<&str>) {
        self.world().assumable.insert(role_arn.to_owned(), external_id.map(str::to_owned));
    }

    /// Adds a subnet to a VPC (by id; a new id makes a new VPC). Returns the subnet's id.
    #[must_use]
    pub fn add_subnet(&self, region: &str, vpc_id: &str, zone: &str, maps_public_ip: bool) -> String {
        let account = self.account_number();
        self.world().add_subnet(&account, region, vpc_id, zone, false, maps_public_ip)
    }

    /// How many addresses a subnet has left.
    pub fn set_free_addresses(&self, region: &str, subnet_id: &str, addresses: i32) {
        let account = self.account_number();
        if let Some(subnet) = self.world().region(&account, region).subnets.get_mut(subnet_id) {
            subnet.shown.available_addresses = addresses;
        }
    }

    /// The account has no default VPC in this region any more.
    pub fn remove_default_vpc(&self, region: &str) {
        let account = self.account_number();
        let mut world = self.world();
        let region = world.region(&account, region);
        if let Some(vpc) = region.default_vpc.take() {
            region.vpcs.remove(&vpc);
            region.subnets.retain(|_, subnet| subnet.shown.vpc_id != vpc);
        }
    }

    /// Makes an image of somebody else's, that all can see. Returns its id.
    #[must_use]
    pub fn add_public_image(&self, region: &str, image: BaseImage) -> String {
        base::add_image(&mut self.world(), region, image)
    }

    /// Takes a tag off all images and snapshots, as a commit does.
    pub fn untag_artifacts(&self, key: &str) {
        let mut world = self.world();
        for image in world.images.values_mut() {
            image.shown.tags.retain(|(present, _)| present != key);
        }
        for region in world.regions.values_mut() {
            for snapshot in region.snapshots.values_mut() {
                snapshot.shown.tags.retain(|(present, _)| present != key);
            }
        }
    }

    /// The machine shuts itself down, which stops or terminates it as its launch said.
    pub fn guest_shutdown(&self, region: &str, instance_id: &str) {
        let account = self.account_number();
        self.world().guest_shutdown(&account, region, instance_id);
    }

    /// What consoles show from now on.
    pub fn set_console_output(&self, text: &str) {
        text.clone_into(&mut self.world().console);
    }

    /// What an encoded refusal says when it is decoded.
    pub fn set_denial(&self, encoded: &str, denial: Denial) {
        self.world().denials.insert(encoded.to_owned(), denial);
    }

    // ---- looking without calling ----

    /// All calls so far, in order.
    #[must_use]
    pub fn calls(&self) -> Vec<CallRecord> {
        self.calls.log()
    }

    /// How often an operation was called so far.
    #[must_use]
    pub fn count_of(&self, operation: &str) -> usize {
        self.calls.log().iter().filter(|call| call.operation == operation).count()
    }

    /// The newest base image of a family (`jammy`, `amzn2`, …) in a region.
    #[must_use]
    pub fn base_image(&self, region: &str, name_part: &str) -> Option<Image> {
        let world = self.world();
        let base = world.images.values().filter(|image| image.base && image.region == region);
        let named = base.filter(|image| image.shown.name.contains(name_part) && image.shown.owner_id != base::STRANGER);
        named.max_by_key(|image| image.shown.creation_date.clone()).map(|image| image.shown.clone())
    }

    /// All instances of all accounts with their regions, terminated ones included.
    #[must_use]
    pub fn instances(&self) -> Vec<(String, Instance)> {
        self.world().instances()
    }

    /// What a build of ours made that can be launched or will be: region and image, in all accounts.
    #[must_use]
    pub fn images_of(&self, build_id: &str) -> Vec<(String, Image)> {
        let world = self.world();
        let own =
            world.images.values().filter(|image| tags::value(&image.shown.tags, tags::BUILD_ID) == Some(build_id));
        own.map(|image| (image.region.clone(), image.shown.clone())).collect()
    }

    /// Accounts that may launch an image.
    #[must_use]
    pub fn image_shared_with(&self, image_id: &str) -> Vec<String> {
        let account = |grantee: Grantee| if let Grantee::Account(id) = grantee { Some(id) } else { None };
        self.image_grants(image_id).into_iter().filter_map(account).collect()
    }

    /// Whether instances of an image need the metadata service's version 2.
    #[must_use]
    pub fn image_requires_imds_v2(&self, image_id: &str) -> bool {
        self.world().images.get(image_id).is_some_and(|image| image.imds_v2)
    }

    /// Roles as templates had them assumed, in order.
    #[must_use]
    pub fn assumed_roles(&self) -> Vec<AssumeRole> {
        self.world().assumed.clone()
    }

    /// The rules of a group: port and range.
    #[must_use]
    pub fn ingress_of(&self, group_id: &str) -> Vec<(u16, String)> {
        self.world().ingress_of(group_id)
    }

    /// Everything in all accounts and regions that was not there at first and stays: instances that neither are nor get
    /// terminated, volumes, interfaces, key pairs, groups, launch templates, roles, instance profiles,
    /// images and snapshots. Each as `region kind id {tags}`.
    #[must_use]
    pub fn leftovers(&self) -> Vec<String> {
        self.world().leftovers(|_| true)
    }

    /// Those of [`FakeCloud::leftovers`] that have a tag.
    #[must_use]
    pub fn leftovers_with_tag(&self, key: &str, value: &str) -> Vec<String> {
        self.world().leftovers(|found: &Tags| tags::value(found, key) == Some(value))
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the account lets the template's role be assumed.
    fn check_identity(&self) -> CloudResult<()> {
        let Some(role) = &self.assumed else { return Ok(()) };
        let world = self.world();
        let known = world.assumable.get(&role.role_arn);
        if known.is_some_and(|id| id.is_none() || *id == role.external_id) && world.accounts.contains_key(&self.account)
        {
            return Ok(());
        }
        let message = format!("AssumeRole: not authorized to perform: sts:AssumeRole on resource: {}", role.role_arn);
        Err(filters::refuse(CloudErrorClass::Unauthorized, "AccessDenied", message))
    }

    fn account_number(&self) -> String {
        self.world().accounts.get(&self.account).cloned().unwrap_or_default()
    }
}

impl Accounts for FakeCloud {
    fn account(&self, name: &str) -> Option<Arc<dyn Cloud>> {
        let known = self.world().accounts.contains_key(name);
        known.then(|| Arc::new(self.on_account(name)) as Arc<dyn Cloud>)
    }

    fn account_with_role(&self, name: &str, role: &AssumeRole) -> Option<Arc<dyn Cloud>> {
        let mut world = self.world();
        if !world.accounts.contains_key(name) {
            return None;
        }
        world.assumed.push(role.clone());
        let number = role.role_arn.split(':').nth(4).unwrap_or_default();
        let account = world.accounts.iter().find(|(_, known)| *known == number).map(|(name, _)| name.clone());
        let account = account.unwrap_or_default();
        Some(Arc::new(Self { account, assumed: Some(Arc::new(role.clone())), ..self.clone() }))
    }

    fn names(&self) -> Vec<String> {
        self.world().accounts.keys().cloned().collect()
    }

    fn regions(&self, name: &str) -> Vec<String> {
        let known = self.world().accounts.contains_key(name);
        if known { REGIONS.map(str::to_owned).to_vec() } else { Vec::new() }
    }
}
