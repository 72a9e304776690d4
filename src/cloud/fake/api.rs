//! The fake's answers to the calls.

use std::collections::BTreeMap;

use async_trait::async_trait;

use super::base::{self, merge_tags};
use super::calls::{CallRecord, Phase};
use super::filters::{Listed, invalid, list, not_found, refuse};
use super::world::World;
use super::{FakeCloud, REGIONS};
use crate::cloud::denial::Denial;
use crate::cloud::{
    Cloud, CloudErrorClass, CloudResult, Filter, Image, ImageQuery, Instance, InstanceType, KeyPair, NetworkInterface,
    NewImage, NewImageCopy, NewInstance, NewSecurityGroup, SecurityGroup, Snapshot, Subnet, Tags, Volume, Vpc,
};

/// Where a call happens: the account's number and the region.
#[derive(Clone, Copy)]
pub(super) struct Place<'p> {
    pub account: &'p str,
    pub region: &'p str,
}

impl FakeCloud {
    pub(super) async fn look<T: Send>(
        &self,
        operation: &'static str,
        region: &str,
        subject: String,
        effect: impl FnOnce(&mut World, Place<'_>) -> CloudResult<T> + Send,
    ) -> CloudResult<T> {
        self.pass(operation, region, subject, false, effect).await
    }

    pub(super) async fn change<T: Send>(
        &self,
        operation: &'static str,
        region: &str,
        subject: &str,
        effect: impl FnOnce(&mut World, Place<'_>) -> CloudResult<T> + Send,
    ) -> CloudResult<T> {
        self.pass(operation, region, subject.to_owned(), true, effect).await
    }

    async fn pass<T: Send>(
        &self,
        operation: &'static str,
        region: &str,
        subject: String,
        changes: bool,
        effect: impl FnOnce(&mut World, Place<'_>) -> CloudResult<T> + Send,
    ) -> CloudResult<T> {
        let record = CallRecord {
            number: 0,
            operation,
            account: self.account.clone(),
            region: region.to_owned(),
            subject,
            phase: Phase::Before,
        };
        let account = self.account_number();
        let happen = || {
            if !REGIONS.contains(&region) {
                return Err(refuse(CloudErrorClass::Unavailable, "unreachable", format!("no region {region}")));
            }
            self.check_identity()?;
            let mut world = self.world();
            world.settle();
            effect(&mut world, Place { account: &account, region })
        };
        self.gate.pass().await;
        let result = self.calls.pass(record, changes, happen).await;
        self.gate.pass().await;
        result
    }
}

pub(super) fn text(filters: &[Filter]) -> String {
    let texts: Vec<String> =
        filters.iter().map(|filter| format!("{}={}", filter.name, filter.values.join(","))).collect();
    texts.join(" ")
}

#[async_trait]
impl Cloud for FakeCloud {
    async fn account_id(&self) -> CloudResult<String> {
        self.look("GetCallerIdentity", REGIONS[0], String::new(), |_, at| Ok(at.account.to_owned())).await
    }

    async fn regions(&self, region: &str) -> CloudResult<Vec<String>> {
        self.look("DescribeRegions", region, String::new(), |_, _| Ok(REGIONS.map(str::to_owned).to_vec())).await
    }

    async fn find_images(&self, region: &str, query: &ImageQuery) -> CloudResult<Vec<Image>> {
        self.look("DescribeImages", region, text(&query.filters), |world, at| {
            let now = world.now;
            let images = world.images.values_mut().filter(|image| {
                let owner = &image.shown.owner_id;
                let alias = image.shown.owner_alias.as_ref();
                let wanted_by = |wanted: &String| {
                    wanted == owner || Some(wanted) == alias || (wanted == "self" && owner == at.account)
                };
                image.region == at.region
                    && image.visible_to(at.account)
                    && (query.owners.is_empty() || query.owners.iter().any(wanted_by))
                    && (query.include_deprecated || !image.is_deprecated(now) || owner == at.account)
            });
            list(images, &query.filters)
        })
        .await
    }

    async fn find_instances(&self, region: &str, filters: &[Filter]) -> CloudResult<Vec<Instance>> {
        self.look("DescribeInstances", region, text(filters), |world, at| {
            list(world.region(at.account, at.region).instances.values_mut(), filters)
        })
        .await
    }

    async fn find_subnets(&self, region: &str, filters: &[Filter]) -> CloudResult<Vec<Subnet>> {
        self.look("DescribeSubnets", region, text(filters), |world, at| {
            list(world.region(at.account, at.region).subnets.values_mut(), filters)
        })
        .await
    }

    async fn find_vpcs(&self, region: &str, filters: &[Filter]) -> CloudResult<Vec<Vpc>> {
        self.look("DescribeVpcs", region, text(filters), |world, at| {
            list(world.region(at.account, at.region).vpcs.values_mut(), filters)
        })
        .await
    }

    async fn find_security_groups(&self, region: &str, filters: &[Filter]) -> CloudResult<Vec<SecurityGroup>> {
        self.look("DescribeSecurityGroups", region, text(filters), |world, at| {
            list(world.region(at.account, at.region).groups.values_mut(), filters)
        })
        .await
    }

    async fn find_key_pairs(&self, region: &str, filters: &[Filter]) -> CloudResult<Vec<KeyPair>> {
        self.look("DescribeKeyPairs", region, text(filters), |world, at| {
            list(world.region(at.account, at.region).keys.values_mut(), filters)
        })
        .await
    }

    async fn find_snapshots(&self, region: &str, filters: &[Filter]) -> CloudResult<Vec<Snapshot>> {
        self.look("DescribeSnapshots", region, text(filters), |world, at| {
            list(world.region(at.account, at.region).snapshots.values_mut(), filters)
        })
        .await
    }

    async fn find_volumes(&self, region: &str, filters: &[Filter]) -> CloudResult<Vec<Volume>> {
        self.look("DescribeVolumes", region, text(filters), |world, at| {
            list(world.region(at.account, at.region).volumes.values_mut(), filters)
        })
        .await
    }

    async fn find_network_interfaces(&self, region: &str, filters: &[Filter]) -> CloudResult<Vec<NetworkInterface>> {
        self.look("DescribeNetworkInterfaces", region, text(filters), |world, at| {
            list(world.region(at.account, at.region).interfaces.values_mut(), filters)
        })
        .await
    }

    async fn instance_type(&self, region: &str, instance_type: &str) -> CloudResult<Option<InstanceType>> {
        self.look("DescribeInstanceTypes", region, instance_type.to_owned(), |_, _| {
            Ok(base::instance_type(instance_type))
        })
        .await
    }

    async fn console_output(&self, region: &str, instance_id: &str) -> CloudResult<String> {
        self.look("GetConsoleOutput", region, instance_id.to_owned(), |world, at| {
            world.region(at.account, at.region).instance(instance_id)?;
            Ok(world.console.clone())
        })
        .await
    }

    async fn explain_denial(&self, encoded: &str) -> CloudResult<Denial> {
        self.look("DecodeAuthorizationMessage", REGIONS[0], encoded.to_owned(), |world, _| {
            world
                .denials
                .get(encoded)
                .cloned()
                .ok_or_else(|| invalid("InvalidAuthorizationMessageException", "The message can't be decoded"))
        })
        .await
    }

    async fn import_key_pair(&self, region: &str, name: &str, public_key: &str, tags: &Tags) -> CloudResult<KeyPair> {
        self.change("ImportKeyPair", region, name, |world, at| {
            world.import_key_pair(at.account, at.region, name, public_key, tags)
        })
        .await
    }

    async fn delete_key_pair(&self, region: &str, key_pair_id: &str) -> CloudResult<()> {
        self.change("DeleteKeyPair", region, key_pair_id, |world, at| {
            world.region(at.account, at.region).delete_key_pair(key_pair_id)
        })
        .await
    }

    async fn create_security_group(&self, region: &str, request: &NewSecurityGroup) -> CloudResult<String> {
        self.change("CreateSecurityGroup", region, &request.name, |world, at| {
            world.create_security_group(at.account, at.region, request)
        })
        .await
    }

    async fn authorize_ingress(&self, region: &str, group_id: &str, port: u16, cidrs: &[String]) -> CloudResult<()> {
        self.change("AuthorizeSecurityGroupIngress", region, group_id, |world, at| {
            world.region(at.account, at.region).authorize_ingress(group_id, port, cidrs)
        })
        .await
    }

    async fn delete_security_group(&self, region: &str, group_id: &str) -> CloudResult<()> {
        self.change("DeleteSecurityGroup", region, group_id, |world, at| {
            world.region(at.account, at.region).delete_security_group(group_id)
        })
        .await
    }

    async fn run_instance(&self, region: &str, request: &NewInstance) -> CloudResult<Instance> {
        self.change("RunInstances", region, &request.client_token, |world, at| {
            world.run_instance(at.account, at.region, request)
        })
        .await
    }

    async fn stop_instance(&self, region: &str, instance_id: &str) -> CloudResult<()> {
        self.change("StopInstances", region, instance_id, |world, at| {
            world.stop_instance(at.account, at.region, instance_id)
        })
        .await
    }

    async fn terminate_instance(&self, region: &str, instance_id: &str) -> CloudResult<()> {
        self.change("TerminateInstances", region, instance_id, |world, at| {
            world.terminate_instance(at.account, at.region, instance_id)
        })
        .await
    }

    async fn set_ena_support(&self, region: &str, instance_id: &str, enabled: bool) -> CloudResult<()> {
        self.change("ModifyInstanceAttribute", region, instance_id, |world, at| {
            world.region(at.account, at.region).set_ena_support(instance_id, enabled)
        })
        .await
    }

    async fn set_sriov_support(&self, region: &str, instance_id: &str) -> CloudResult<()> {
        self.change("ModifyInstanceAttribute", region, instance_id, |world, at| {
            world.region(at.account, at.region).set_sriov_support(instance_id)
        })
        .await
    }

    async fn delete_volume(&self, region: &str, volume_id: &str) -> CloudResult<()> {
        self.change("DeleteVolume", region, volume_id, |world, at| {
            world.region(at.account, at.region).delete_volume(volume_id)
        })
        .await
    }

    async fn delete_network_interface(&self, region: &str, interface_id: &str) -> CloudResult<()> {
        self.change("DeleteNetworkInterface", region, interface_id, |world, at| {
            world.region(at.account, at.region).delete_network_interface(interface_id)
        })
        .await
    }

    async fn create_image(&self, region: &str, request: &NewImage) -> CloudResult<String> {
        self.change("CreateImage", region, &request.name, |world, at| {
            world.create_image(at.account, at.region, request)
        })
        .await
    }

    async fn copy_image(&self, region: &str, request: &NewImageCopy) -> CloudResult<String> {
        self.change("CopyImage", region, &request.client_token, |world, at| {
            world.copy_image(at.account, at.region, request)
        })
        .await
    }

    async fn deregister_image(&self, region: &str, image_id: &str) -> CloudResult<()> {
        self.change("DeregisterImage", region, image_id, |world, at| {
            world.deregister_image(at.account, at.region, image_id)
        })
        .await
    }

    async fn delete_snapshot(&self, region: &str, snapshot_id: &str) -> CloudResult<()> {
        self.change("DeleteSnapshot", region, snapshot_id, |world, at| {
            world.delete_snapshot(at.account, at.region, snapshot_id)
        })
        .await
    }

    async fn create_tags(&self, region: &str, resource_ids: &[String], tags: &Tags) -> CloudResult<()> {
        self.change("CreateTags", region, &resource_ids.join(","), |world, at| {
            if tags.iter().any(|(key, _)| key.starts_with("aws:")) {
                return Err(invalid(
                    "InvalidParameterValue",
                    "Tag keys starting with 'aws:' are reserved for internal use",
                ));
            }
            each_tags(world, at, resource_ids, |old| merge_tags(old, tags))
        })
        .await
    }

    async fn delete_tags(&self, region: &str, resource_ids: &[String], keys: &[String]) -> CloudResult<()> {
        self.change("DeleteTags", region, &resource_ids.join(","), |world, at| {
            each_tags(world, at, resource_ids, |old| old.retain(|(key, _)| !keys.contains(key)))
        })
        .await
    }
}

/// Edits the tags of all named resources, or of none when one is not there.
fn each_tags(world: &mut World, at: Place<'_>, ids: &[String], edit: impl Fn(&mut Tags)) -> CloudResult<()> {
    for id in ids {
        tags_of(world, at, id)?;
    }
    for id in ids {
        edit(tags_of(world, at, id)?);
    }
    Ok(())
}

fn tags_of<'w>(world: &'w mut World, at: Place<'_>, id: &str) -> CloudResult<&'w mut Tags> {
    fn within<'r, T: Listed>(all: &'r mut BTreeMap<String, T>, id: &str, kind: &str) -> CloudResult<&'r mut Tags> {
        all.get_mut(id).map(Listed::tags_mut).ok_or_else(|| not_found(kind, id))
    }
    let kind = id.split('-').next().unwrap_or_default();
    if kind == "ami" {
        return world.own_image(at.account, at.region, id).map(Listed::tags_mut);
    }
    let region = world.region(at.account, at.region);
    match kind {
        "i" => within(&mut region.instances, id, "InvalidInstanceID"),
        "snap" => within(&mut region.snapshots, id, "InvalidSnapshot"),
        "vol" => within(&mut region.volumes, id, "InvalidVolume"),
        "eni" => within(&mut region.interfaces, id, "InvalidNetworkInterfaceID"),
        "lt" => within(&mut region.templates, id, "InvalidLaunchTemplateId"),
        "sg" => within(&mut region.groups, id, "InvalidGroup"),
        "key" => within(&mut region.keys, id, "InvalidKeyPair"),
        "vpc" => within(&mut region.vpcs, id, "InvalidVpcID"),
        "subnet" => within(&mut region.subnets, id, "InvalidSubnetID"),
        _ => Err(invalid("InvalidID", format!("The ID '{id}' is not valid"))),
    }
}
