//! What there is in one region of one account that may be the janitor's business: things with our tags, and old things with
//! Packer's marks.

use std::collections::HashSet;

use chrono::{DateTime, Utc};

use super::{packer, prices};
use crate::cloud::{
    Cloud, CloudResult, Filter, ImageQuery, Instance, InstanceState, KeyPair, SecurityGroup, Tags, Volume,
};
use crate::domain::ids::{Attempt, BuildId, DeploymentId};
use crate::domain::janitor::FindingKind;
use crate::domain::tags;

/// The most values that EC2 takes in a filter.
const MOST_VALUES: usize = 200;
/// States of instances that are there, and not on their way out.
const LIVE: [&str; 4] = ["pending", "running", "stopping", "stopped"];

/// Something that was found.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Thing {
    pub kind: FindingKind,
    pub id: String,
    pub name: Option<String>,
    pub tags: Tags,
    pub created_at: Option<DateTime<Utc>>,
    pub usd_per_hour: Option<f64>,
    pub origin: Origin,
}

/// Whose it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Origin {
    /// This deployment's, and temporary. `None`: the tag is not there, or can't be read.
    Ours { build: Option<BuildId>, attempt: Option<Attempt> },
    /// An old one of Packer's. `used_by`: what is not Packer's leftover and needs it.
    Packer { used_by: Option<String> },
}

/// Looks for all of it. `packer_before`: what of Packer's was made later is left out, for it may be at work.
pub(super) async fn look(
    cloud: &dyn Cloud,
    region: &str,
    deployment: DeploymentId,
    (now, packer_before): (DateTime<Utc>, DateTime<Utc>),
) -> CloudResult<Vec<Thing>> {
    let (mut things, packers) =
        tokio::try_join!(ours(cloud, region, deployment), packers(cloud, region, now, packer_before))?;
    things.extend(packers);
    things.sort_by_key(|thing| thing.kind as u8);
    Ok(things)
}

async fn ours(cloud: &dyn Cloud, region: &str, deployment: DeploymentId) -> CloudResult<Vec<Thing>> {
    let filters = vec![Filter::tag(tags::DEPLOYMENT, &deployment.to_string()), Filter::tag(tags::TEMPORARY, "true")];
    let images = ImageQuery { owners: vec!["self".into()], filters: filters.clone(), include_deprecated: true };
    let (instances, images, snapshots, volumes, interfaces, groups, keys) = tokio::try_join!(
        cloud.find_instances(region, &filters),
        cloud.find_images(region, &images),
        cloud.find_snapshots(region, &filters),
        cloud.find_volumes(region, &filters),
        cloud.find_network_interfaces(region, &filters),
        cloud.find_security_groups(region, &filters),
        cloud.find_key_pairs(region, &filters),
    )?;
    let mut things = Vec::new();
    things.extend(instances.into_iter().filter(is_live).map(|one| instance(one, Origin::of)));
    things.extend(images.into_iter().map(|image| {
        let made = DateTime::parse_from_rfc3339(&image.creation_date).ok().map(|at| at.to_utc());
        // An image costs nothing by itself; its snapshots do.
        thing(FindingKind::Image, image.id, Some(image.name), image.tags, (made, Some(0.0)), Origin::of)
    }));
    things.extend(snapshots.into_iter().map(|snapshot| {
        let facts = (snapshot.created_at, prices::snapshot(&snapshot));
        thing(FindingKind::Snapshot, snapshot.id, None, snapshot.tags, facts, Origin::of)
    }));
    things.extend(volumes.into_iter().filter(|volume| volume.state != "deleting").map(|one| volume(one, Origin::of)));
    things.extend(interfaces.into_iter().map(|interface| {
        thing(FindingKind::NetworkInterface, interface.id, None, interface.tags, (None, Some(0.0)), Origin::of)
    }));
    things.extend(groups.into_iter().map(|one| group(one, None, Origin::of)));
    things.extend(keys.into_iter().map(|one| key(one, None, Origin::of)));
    Ok(things)
}

impl Origin {
    /// What our tags say.
    pub(super) fn of(tags: &Tags) -> Self {
        let number = |attempt: &str| attempt.parse().ok().map(Attempt);
        Self::Ours {
            build: tags::value(tags, tags::BUILD_ID).and_then(|id| id.parse().ok()),
            attempt: tags::value(tags, tags::ATTEMPT).and_then(number),
        }
    }
}

async fn packers(
    cloud: &dyn Cloud,
    region: &str,
    now: DateTime<Utc>,
    before: DateTime<Utc>,
) -> CloudResult<Vec<Thing>> {
    let named = Filter::tag("Name", packer::BUILDER_NAME);
    let prefix = format!("{}*", packer::PREFIX);
    // Those on their way out, too: what they still hold is a leftover as they are.
    let states = Filter::new("instance-state-name", LIVE.iter().chain(&["shutting-down"]).copied());
    let (instance_filters, volume_filters) = ([named.clone(), states], std::slice::from_ref(&named));
    let (group_filters, key_filters) =
        ([Filter::new("group-name", [prefix.clone()])], [Filter::new("key-name", [prefix])]);
    let (instances, volumes, groups, keys) = tokio::try_join!(
        cloud.find_instances(region, &instance_filters),
        cloud.find_volumes(region, volume_filters),
        cloud.find_security_groups(region, &group_filters),
        cloud.find_key_pairs(region, &key_filters),
    )?;
    let is_old = |made: Option<DateTime<Utc>>| made.is_some_and(|made| made <= before);
    let is_packers = |tags: &Tags| !packer::has_other_owner(tags);
    let instances: Vec<Instance> =
        instances.into_iter().filter(|one| is_old(one.launched_at) && is_packers(&one.tags)).collect();
    let groups: Vec<SecurityGroup> =
        groups.into_iter().filter(|one| is_old(packer::made_at(&one.name, now)) && is_packers(&one.tags)).collect();
    let keys: Vec<KeyPair> =
        keys.into_iter().filter(|one| is_old(packer::made_at(&one.name, now)) && is_packers(&one.tags)).collect();
    let leftover: HashSet<&str> = instances.iter().map(|one| one.id.as_str()).collect();
    let users = Users {
        of_keys: users_of_keys(cloud, region, &keys, &leftover).await?,
        of_groups: users_of_groups(cloud, region, &groups, &leftover).await?,
    };
    let mut things = Vec::new();
    for one in volumes.into_iter().filter(|one| one.state != "deleting") {
        if is_old(one.created_at) && is_packers(&one.tags) {
            let used_by = one.instance_ids.iter().find(|id| !leftover.contains(id.as_str())).cloned();
            things.push(volume(one, |_| Origin::Packer { used_by }));
        }
    }
    for one in groups {
        let used_by = users.of_groups.iter().find(|(id, _)| *id == one.id).map(|(_, user)| user.clone());
        let made = packer::made_at(&one.name, now);
        things.push(group(one, made, |_| Origin::Packer { used_by }));
    }
    for one in keys {
        let used_by = users.of_keys.iter().find(|(name, _)| *name == one.name).map(|(_, user)| user.clone());
        let made = packer::made_at(&one.name, now);
        things.push(key(one, made, |_| Origin::Packer { used_by }));
    }
    let live = instances.into_iter().filter(is_live);
    things.extend(live.map(|one| instance(one, |_| Origin::Packer { used_by: None })));
    Ok(things)
}

/// What needs Packer's keys and groups, and is no leftover itself: name of the key, or id of the group, and the user's id.
struct Users {
    of_keys: Vec<(String, String)>,
    of_groups: Vec<(String, String)>,
}

async fn users_of_keys(
    cloud: &dyn Cloud,
    region: &str,
    keys: &[KeyPair],
    leftover: &HashSet<&str>,
) -> CloudResult<Vec<(String, String)>> {
    let mut users = Vec::new();
    for keys in keys.chunks(MOST_VALUES - LIVE.len()) {
        let names = Filter::new("key-name", keys.iter().map(|key| &key.name));
        let instances = cloud.find_instances(region, &[names, Filter::new("instance-state-name", LIVE)]).await?;
        let others = instances.into_iter().filter(|one| is_live(one) && !leftover.contains(one.id.as_str()));
        users.extend(others.filter_map(|one| Some((one.key_name?, one.id))));
    }
    Ok(users)
}

async fn users_of_groups(
    cloud: &dyn Cloud,
    region: &str,
    groups: &[SecurityGroup],
    leftover: &HashSet<&str>,
) -> CloudResult<Vec<(String, String)>> {
    let mut users = Vec::new();
    for groups in groups.chunks(MOST_VALUES) {
        let ids = Filter::new("group-id", groups.iter().map(|group| &group.id));
        for interface in cloud.find_network_interfaces(region, &[ids]).await? {
            // One without an instance is another service's.
            let user = interface.instance_id.unwrap_or(interface.id);
            if !leftover.contains(user.as_str()) {
                users.extend(interface.group_ids.into_iter().map(|group| (group, user.clone())));
            }
        }
    }
    Ok(users)
}

/// Not on its way out.
fn is_live(instance: &Instance) -> bool {
    !matches!(instance.state, InstanceState::ShuttingDown | InstanceState::Terminated)
}

pub(super) fn thing(
    kind: FindingKind,
    id: String,
    name: Option<String>,
    tags: Tags,
    (created_at, usd_per_hour): (Option<DateTime<Utc>>, Option<f64>),
    origin: impl FnOnce(&Tags) -> Origin,
) -> Thing {
    let origin = origin(&tags);
    let name = name.or_else(|| tags::value(&tags, "Name").map(ToOwned::to_owned));
    Thing { kind, id, name, tags, created_at, usd_per_hour, origin }
}

fn instance(instance: Instance, origin: impl FnOnce(&Tags) -> Origin) -> Thing {
    let facts = (instance.launched_at, prices::instance(&instance));
    thing(FindingKind::Instance, instance.id, None, instance.tags, facts, origin)
}

fn volume(volume: Volume, origin: impl FnOnce(&Tags) -> Origin) -> Thing {
    let facts = (volume.created_at, prices::volume(&volume));
    thing(FindingKind::Volume, volume.id, None, volume.tags, facts, origin)
}

fn group(group: SecurityGroup, made: Option<DateTime<Utc>>, origin: impl FnOnce(&Tags) -> Origin) -> Thing {
    thing(FindingKind::SecurityGroup, group.id, Some(group.name), group.tags, (made, Some(0.0)), origin)
}

fn key(key: KeyPair, made: Option<DateTime<Utc>>, origin: impl FnOnce(&Tags) -> Origin) -> Thing {
    let made = made.or(key.created_at);
    thing(FindingKind::KeyPair, key.id, Some(key.name), key.tags, (made, Some(0.0)), origin)
}
