//! One account's calls.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use aws_config::{Region, SdkConfig};
use aws_sdk_ec2::Client;
use aws_sdk_ec2::config::IdentityCache;
use aws_sdk_ec2::config::retry::RetryConfig;
use aws_sdk_ec2::primitives::Blob;
use aws_sdk_ec2::types as ec2;
use tokio::sync::OnceCell;

use super::call::Call;
use super::convert::{self, filters, tag_specifications};
use super::errors::incomplete;
use super::launch;
use super::paging::all_pages;
use crate::cloud::budget::AccountBudget;
use crate::cloud::denial::Denial;
use crate::cloud::{
    Cloud, CloudError, CloudErrorClass, CloudResult, Filter, Image, ImageQuery, Instance, InstanceType, KeyPair,
    NetworkInterface, NewImage, NewImageCopy, NewInstance, NewSecurityGroup, SecurityGroup, Snapshot, Subnet, Tags,
    Volume, Vpc,
};

/// The most that EC2 puts on a page of most lists.
pub(super) const PAGE: i32 = 1000;

/// Clients of one account. A client holds the connections to one region's endpoint and is shared by all builds there.
pub(super) struct AwsAccount {
    name: String,
    /// As configured: other credentials are refused.
    expected_id: Option<String>,
    config: SdkConfig,
    own_region: String,
    clients: Mutex<HashMap<String, Client>>,
    id: OnceCell<String>,
    budget: AccountBudget,
}

impl AwsAccount {
    pub(super) fn new(
        name: &str,
        expected_id: Option<String>,
        config: &SdkConfig,
        own_region: String,
        budget: AccountBudget,
    ) -> Self {
        // Repeats are `call`'s, and identities are kept by their own provider.
        let config =
            config.to_builder().retry_config(RetryConfig::disabled()).identity_cache(IdentityCache::no_cache());
        let (config, clients) = (config.build(), Mutex::new(HashMap::new()));
        Self { name: name.to_owned(), expected_id, config, own_region, clients, id: OnceCell::new(), budget }
    }

    /// The same account's clients and budget with another identity.
    pub(super) fn with_identity(&self, identity: impl FnOnce(&SdkConfig) -> SdkConfig) -> Self {
        Self::new(&self.name, None, &identity(&self.config), self.own_region.clone(), self.budget.clone())
    }

    /// What a client of a service is made of.
    pub(super) fn config_in(&self, region: &str) -> SdkConfig {
        self.config.to_builder().region(Region::new(region.to_owned())).build()
    }

    pub(super) fn client(&self, region: &str) -> Client {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        clients.entry(region.to_owned()).or_insert_with(|| Client::new(&self.config_in(region))).clone()
    }

    pub(super) fn call<'c>(&'c self, operation: &'static str, region: &'c str) -> Call<'c> {
        Call { operation, account: &self.name, region, budget: &self.budget }
    }

    fn sts(&self) -> aws_sdk_sts::Client {
        aws_sdk_sts::Client::new(&self.config)
    }

    async fn ask_sts(&self) -> CloudResult<String> {
        const OPERATION: &str = "GetCallerIdentity";
        let sts = self.sts();
        let answer = self.call(OPERATION, &self.own_region).read(|| sts.get_caller_identity().send()).await?;
        let id = answer.account.ok_or_else(|| incomplete(OPERATION, "account", false))?;
        match &self.expected_id {
            Some(expected) if *expected != id => {
                let message =
                    format!("account {} is configured as {expected}, but its credentials are of {id}", self.name);
                Err(CloudError::new(CloudErrorClass::Invalid, OPERATION, "wrong-account", message))
            }
            _ => Ok(id),
        }
    }
}

#[async_trait]
impl Cloud for AwsAccount {
    async fn account_id(&self) -> CloudResult<String> {
        self.id.get_or_try_init(|| self.ask_sts()).await.cloned()
    }

    async fn regions(&self, region: &str) -> CloudResult<Vec<String>> {
        let client = self.client(region);
        let answer = self.call("DescribeRegions", region).read(|| client.describe_regions().send()).await?;
        Ok(answer.regions().iter().filter_map(|region| region.region_name().map(str::to_owned)).collect())
    }

    async fn find_images(&self, region: &str, query: &ImageQuery) -> CloudResult<Vec<Image>> {
        let request = self
            .client(region)
            .describe_images()
            .set_filters(filters(&query.filters))
            .set_owners((!query.owners.is_empty()).then(|| query.owners.clone()))
            .set_include_deprecated(query.include_deprecated.then_some(true))
            .max_results(PAGE);
        all_pages!(self.call("DescribeImages", region), request, images, convert::image)
    }

    async fn find_instances(&self, region: &str, wanted: &[Filter]) -> CloudResult<Vec<Instance>> {
        let request = self.client(region).describe_instances().set_filters(filters(wanted)).max_results(PAGE);
        let call = self.call("DescribeInstances", region);
        let reservations: CloudResult<Vec<Vec<Instance>>> = all_pages!(call, request, reservations, |reservation| {
            reservation.instances().iter().map(convert::instance).collect()
        });
        Ok(reservations?.into_iter().flatten().collect())
    }

    async fn find_subnets(&self, region: &str, wanted: &[Filter]) -> CloudResult<Vec<Subnet>> {
        let request = self.client(region).describe_subnets().set_filters(filters(wanted)).max_results(PAGE);
        all_pages!(self.call("DescribeSubnets", region), request, subnets, convert::subnet)
    }

    async fn find_vpcs(&self, region: &str, wanted: &[Filter]) -> CloudResult<Vec<Vpc>> {
        let request = self.client(region).describe_vpcs().set_filters(filters(wanted)).max_results(PAGE);
        all_pages!(self.call("DescribeVpcs", region), request, vpcs, convert::vpc)
    }

    async fn find_security_groups(&self, region: &str, wanted: &[Filter]) -> CloudResult<Vec<SecurityGroup>> {
        let request = self.client(region).describe_security_groups().set_filters(filters(wanted)).max_results(PAGE);
        all_pages!(self.call("DescribeSecurityGroups", region), request, security_groups, convert::security_group)
    }

    async fn find_key_pairs(&self, region: &str, wanted: &[Filter]) -> CloudResult<Vec<KeyPair>> {
        // The one list without pages.
        let client = self.client(region);
        let call = self.call("DescribeKeyPairs", region);
        let answer = call.read(|| client.describe_key_pairs().set_filters(filters(wanted)).send()).await?;
        Ok(answer.key_pairs().iter().map(convert::key_pair).collect())
    }

    async fn find_snapshots(&self, region: &str, wanted: &[Filter]) -> CloudResult<Vec<Snapshot>> {
        // Without an owner EC2 goes through everybody's public ones.
        let request =
            self.client(region).describe_snapshots().owner_ids("self").set_filters(filters(wanted)).max_results(PAGE);
        all_pages!(self.call("DescribeSnapshots", region), request, snapshots, convert::snapshot)
    }

    async fn find_volumes(&self, region: &str, wanted: &[Filter]) -> CloudResult<Vec<Volume>> {
        let request = self.client(region).describe_volumes().set_filters(filters(wanted)).max_results(PAGE);
        all_pages!(self.call("DescribeVolumes", region), request, volumes, convert::volume)
    }

    async fn find_network_interfaces(&self, region: &str, wanted: &[Filter]) -> CloudResult<Vec<NetworkInterface>> {
        let request = self.client(region).describe_network_interfaces().set_filters(filters(wanted)).max_results(PAGE);
        let call = self.call("DescribeNetworkInterfaces", region);
        all_pages!(call, request, network_interfaces, convert::network_interface)
    }

    async fn instance_type(&self, region: &str, instance_type: &str) -> CloudResult<Option<InstanceType>> {
        // By filter: an unknown type in the list of types is an error.
        let client = self.client(region);
        let wanted = filters(&[Filter::new("instance-type", [instance_type])]);
        let call = self.call("DescribeInstanceTypes", region);
        let answer = call.read(|| client.describe_instance_types().set_filters(wanted.clone()).send()).await?;
        let found =
            answer.instance_types().iter().map(convert::instance_type).find(|found| found.name == instance_type);
        Ok(found)
    }

    async fn console_output(&self, region: &str, instance_id: &str) -> CloudResult<String> {
        let client = self.client(region);
        let call = self.call("GetConsoleOutput", region);
        let latest = call.read(|| client.get_console_output().instance_id(instance_id).latest(true).send()).await;
        let answer = match latest {
            // Only types on Nitro have the present output; the others have what was buffered after boot.
            Err(error) if error.class == CloudErrorClass::Invalid => {
                call.read(|| client.get_console_output().instance_id(instance_id).send()).await?
            }
            other => other?,
        };
        Ok(convert::console_text(answer.output()))
    }

    async fn explain_denial(&self, encoded: &str) -> CloudResult<Denial> {
        const OPERATION: &str = "DecodeAuthorizationMessage";
        let sts = self.sts();
        let send = || sts.decode_authorization_message().encoded_message(encoded).send();
        let answer = self.call(OPERATION, &self.own_region).read(send).await?;
        let decoded = answer.decoded_message().and_then(Denial::from_decoded);
        decoded.ok_or_else(|| incomplete(OPERATION, "action and resource", false))
    }

    async fn import_key_pair(&self, region: &str, name: &str, public_key: &str, tags: &Tags) -> CloudResult<KeyPair> {
        const OPERATION: &str = "ImportKeyPair";
        let request = self
            .client(region)
            .import_key_pair()
            .key_name(name)
            .public_key_material(Blob::new(public_key))
            .set_tag_specifications(tag_specifications([(ec2::ResourceType::KeyPair, tags)]));
        let answer = self.call(OPERATION, region).change(|| request.clone().send()).await?;
        Ok(KeyPair {
            id: answer.key_pair_id.ok_or_else(|| incomplete(OPERATION, "key pair id", true))?,
            name: answer.key_name.unwrap_or_else(|| name.to_owned()),
            fingerprint: answer.key_fingerprint.unwrap_or_default(),
            created_at: None,
            tags: tags.clone(),
        })
    }

    async fn delete_key_pair(&self, region: &str, key_pair_id: &str) -> CloudResult<()> {
        let client = self.client(region);
        let call = self.call("DeleteKeyPair", region);
        let removed = call.change(|| client.delete_key_pair().key_pair_id(key_pair_id).send()).await.map(drop);
        unless_gone(removed, self.find_key_pairs(region, &[Filter::new("key-pair-id", [key_pair_id])])).await
    }

    async fn create_security_group(&self, region: &str, request: &NewSecurityGroup) -> CloudResult<String> {
        const OPERATION: &str = "CreateSecurityGroup";
        let client = self.client(region);
        let send = || {
            client
                .create_security_group()
                .group_name(&request.name)
                .description(&request.description)
                .set_vpc_id(request.vpc_id.clone())
                .set_tag_specifications(tag_specifications([(ec2::ResourceType::SecurityGroup, &request.tags)]))
                .send()
        };
        let answer = self.call(OPERATION, region).change(send).await?;
        answer.group_id.ok_or_else(|| incomplete(OPERATION, "group id", true))
    }

    async fn authorize_ingress(&self, region: &str, group_id: &str, port: u16, cidrs: &[String]) -> CloudResult<()> {
        let mut rule =
            ec2::IpPermission::builder().ip_protocol("tcp").from_port(i32::from(port)).to_port(i32::from(port));
        for cidr in cidrs {
            rule = if cidr.contains(':') {
                rule.ipv6_ranges(ec2::Ipv6Range::builder().cidr_ipv6(cidr).build())
            } else {
                rule.ip_ranges(ec2::IpRange::builder().cidr_ip(cidr).build())
            };
        }
        let client = self.client(region);
        let request = client.authorize_security_group_ingress().group_id(group_id).ip_permissions(rule.build());
        self.call("AuthorizeSecurityGroupIngress", region).change(|| request.clone().send()).await.map(drop)
    }

    async fn delete_security_group(&self, region: &str, group_id: &str) -> CloudResult<()> {
        let client = self.client(region);
        let call = self.call("DeleteSecurityGroup", region);
        let removed = call.change(|| client.delete_security_group().group_id(group_id).send()).await.map(drop);
        unless_gone(removed, self.find_security_groups(region, &[Filter::new("group-id", [group_id])])).await
    }

    async fn run_instance(&self, region: &str, request: &NewInstance) -> CloudResult<Instance> {
        const OPERATION: &str = "RunInstances";
        let request = launch::run_instances(&self.client(region), request);
        let answer = self.call(OPERATION, region).change(|| request.clone().send()).await?;
        answer.instances().first().map(convert::instance).ok_or_else(|| incomplete(OPERATION, "instance", true))
    }

    async fn stop_instance(&self, region: &str, instance_id: &str) -> CloudResult<()> {
        let client = self.client(region);
        let call = self.call("StopInstances", region);
        call.change(|| client.stop_instances().instance_ids(instance_id).send()).await.map(drop)
    }

    async fn terminate_instance(&self, region: &str, instance_id: &str) -> CloudResult<()> {
        let client = self.client(region);
        let call = self.call("TerminateInstances", region);
        let removed = call.change(|| client.terminate_instances().instance_ids(instance_id).send()).await.map(drop);
        unless_gone(removed, self.find_instances(region, &[Filter::new("instance-id", [instance_id])])).await
    }

    async fn set_ena_support(&self, region: &str, instance_id: &str, enabled: bool) -> CloudResult<()> {
        let client = self.client(region);
        let value = ec2::AttributeBooleanValue::builder().value(enabled).build();
        let request = client.modify_instance_attribute().instance_id(instance_id).ena_support(value);
        self.call("ModifyInstanceAttribute", region).change(|| request.clone().send()).await.map(drop)
    }

    async fn set_sriov_support(&self, region: &str, instance_id: &str) -> CloudResult<()> {
        let client = self.client(region);
        let value = ec2::AttributeValue::builder().value("simple").build();
        let request = client.modify_instance_attribute().instance_id(instance_id).sriov_net_support(value);
        self.call("ModifyInstanceAttribute", region).change(|| request.clone().send()).await.map(drop)
    }

    async fn delete_volume(&self, region: &str, volume_id: &str) -> CloudResult<()> {
        let client = self.client(region);
        let removed = self
            .call("DeleteVolume", region)
            .change(|| client.delete_volume().volume_id(volume_id).send())
            .await
            .map(drop);
        unless_gone(removed, self.find_volumes(region, &[Filter::new("volume-id", [volume_id])])).await
    }

    async fn delete_network_interface(&self, region: &str, interface_id: &str) -> CloudResult<()> {
        let client = self.client(region);
        let call = self.call("DeleteNetworkInterface", region);
        let removed =
            call.change(|| client.delete_network_interface().network_interface_id(interface_id).send()).await.map(drop);
        unless_gone(
            removed,
            self.find_network_interfaces(region, &[Filter::new("network-interface-id", [interface_id])]),
        )
        .await
    }

    async fn create_image(&self, region: &str, request: &NewImage) -> CloudResult<String> {
        const OPERATION: &str = "CreateImage";
        let client = self.client(region);
        let send = || {
            client
                .create_image()
                .instance_id(&request.instance_id)
                .name(&request.name)
                .set_description(description(&request.description))
                .no_reboot(request.no_reboot)
                .set_block_device_mappings(launch::block_devices(&request.block_devices))
                .set_tag_specifications(image_tags(&request.image_tags, &request.snapshot_tags))
                .send()
        };
        let answer = self.call(OPERATION, region).change(send).await?;
        answer.image_id.ok_or_else(|| incomplete(OPERATION, "image id", true))
    }

    async fn copy_image(&self, region: &str, request: &NewImageCopy) -> CloudResult<String> {
        const OPERATION: &str = "CopyImage";
        let client = self.client(region);
        let send = || {
            client
                .copy_image()
                .client_token(&request.client_token)
                .source_region(&request.source_region)
                .source_image_id(&request.source_image_id)
                .name(&request.name)
                .set_description(description(&request.description))
                .set_encrypted(request.encrypted)
                .set_kms_key_id(request.kms_key_id.clone())
                .set_snapshot_copy_completion_duration_minutes(request.snapshot_copy_duration_minutes.map(i64::from))
                .set_tag_specifications(image_tags(&request.image_tags, &request.snapshot_tags))
                .send()
        };
        let answer = self.call(OPERATION, region).change(send).await?;
        answer.image_id.ok_or_else(|| incomplete(OPERATION, "image id", true))
    }

    async fn deregister_image(&self, region: &str, image_id: &str) -> CloudResult<()> {
        let client = self.client(region);
        let call = self.call("DeregisterImage", region);
        let removed = call.change(|| client.deregister_image().image_id(image_id).send()).await.map(drop);
        unless_gone(removed, self.find_images(region, &own_image(image_id))).await
    }

    async fn delete_snapshot(&self, region: &str, snapshot_id: &str) -> CloudResult<()> {
        let client = self.client(region);
        let call = self.call("DeleteSnapshot", region);
        let removed = call.change(|| client.delete_snapshot().snapshot_id(snapshot_id).send()).await.map(drop);
        unless_gone(removed, self.find_snapshots(region, &[Filter::new("snapshot-id", [snapshot_id])])).await
    }

    async fn create_tags(&self, region: &str, resource_ids: &[String], tags: &Tags) -> CloudResult<()> {
        let client = self.client(region);
        let request =
            client.create_tags().set_resources(Some(resource_ids.to_vec())).set_tags(Some(convert::to_tags(tags)));
        self.call("CreateTags", region).change(|| request.clone().send()).await.map(drop)
    }

    async fn delete_tags(&self, region: &str, resource_ids: &[String], keys: &[String]) -> CloudResult<()> {
        // Without a value the tag goes whatever its value is.
        let tags = keys.iter().map(|key| ec2::Tag::builder().key(key).build()).collect::<Vec<_>>();
        let client = self.client(region);
        let request = client.delete_tags().set_resources(Some(resource_ids.to_vec())).set_tags(Some(tags));
        self.call("DeleteTags", region).change(|| request.clone().send()).await.map(drop)
    }
}

/// A role whose rights depend on the tags of things is refused the removal of one that is gone, for it has no tags any more;
/// EC2 then does not say that there is no such thing. So what is refused is looked for: not there, it counts as not found.
pub(super) async fn unless_gone<T>(
    removed: CloudResult<()>,
    look: impl Future<Output = CloudResult<Vec<T>>>,
) -> CloudResult<()> {
    match removed {
        Err(error) if error.class == CloudErrorClass::Unauthorized && look.await.is_ok_and(|left| left.is_empty()) => {
            Err(CloudError { class: CloudErrorClass::NotFound, ..error })
        }
        removed => removed,
    }
}

fn own_image(id: &str) -> ImageQuery {
    ImageQuery { owners: vec!["self".into()], filters: vec![Filter::new("image-id", [id])], include_deprecated: true }
}

pub(super) fn description(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

pub(super) fn image_tags(image: &Tags, snapshots: &Tags) -> Option<Vec<ec2::TagSpecification>> {
    tag_specifications([(ec2::ResourceType::Image, image), (ec2::ResourceType::Snapshot, snapshots)])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(class: CloudErrorClass) -> CloudResult<()> {
        Err(CloudError::new(class, "DeleteVolume", "UnauthorizedOperation", "You are not authorized."))
    }

    #[tokio::test]
    async fn what_is_gone_counts_as_gone_also_when_its_removal_is_refused() {
        let unauthorized = || refused(CloudErrorClass::Unauthorized);
        let class = |outcome: CloudResult<()>| outcome.err().map(|error| error.class);
        let gone = unless_gone(unauthorized(), async { Ok(Vec::<u8>::new()) }).await;
        assert_eq!(class(gone), Some(CloudErrorClass::NotFound));
        let there = unless_gone(unauthorized(), async { Ok(vec![1_u8]) }).await;
        assert_eq!(class(there), Some(CloudErrorClass::Unauthorized));
        let nobody_knows = unless_gone(unauthorized(), async { Err::<Vec<u8>, _>(unauthorized().unwrap_err()) }).await;
        assert_eq!(class(nobody_knows), Some(CloudErrorClass::Unauthorized));
        let never = async { panic!("what went another way is not looked for") };
        assert_eq!(class(unless_gone::<u8>(refused(CloudErrorClass::Busy), never).await), Some(CloudErrorClass::Busy));
        assert_eq!(class(unless_gone(Ok(()), async { Ok(Vec::<u8>::new()) }).await), None);
    }
}
