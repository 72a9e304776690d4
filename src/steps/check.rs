//! Everything that only the cloud can tell, looked at before anything is made: the AMI's name is free, the source image
//! is there and of the named owner, instance type, subnet, groups and regions exist.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::cloud::{Filter, Image, Subnet};
use crate::domain::config::AmazonEbs;
use crate::domain::failure::Failure;
use crate::domain::image::SourceImage;
use crate::domain::tags::TagList;
use crate::engine::source_ami;
use crate::engine::step::{Step, StepContext, StepResult};

use super::retry;

pub struct Check;

#[derive(Debug, Serialize, Deserialize)]
pub struct Intent {}

/// What later steps need to know of the world.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Checked {
    pub account_id: String,
    pub source: SourceImage,
    pub source_owner_alias: Option<String>,
    pub source_tags: TagList,
    pub architecture: String,
    /// `linux` or `windows`.
    pub platform: String,
    pub root_device_name: Option<String>,
    /// `None`: the default VPC by EC2's own choice.
    pub vpc_id: Option<String>,
    /// Where the instance may be launched, in order of preference; empty: EC2 chooses.
    pub subnet_ids: Vec<String>,
}

#[async_trait]
impl Step for Check {
    type Intent = Intent;
    type Output = Checked;

    fn intent(&self, _context: &StepContext) -> Result<Intent, Failure> {
        Ok(Intent {})
    }

    async fn act(&self, context: &StepContext, _intent: &Intent) -> StepResult<Checked> {
        let ebs = context.ebs()?;
        if !ebs.skip_create_ami {
            context.log.say(&format!("Prevalidating AMI name: {}", ebs.ami_name)).await;
        }
        let (account_id, image, subnets, ..) = tokio::try_join!(
            retry::call(context, || context.cloud.account_id()),
            source_image(context, ebs),
            subnets(context, ebs),
            name_is_free(context, ebs),
            regions_exist(context, ebs),
            groups_exist(context, ebs),
        )?;
        instance_type_fits(context, ebs, &image).await?;
        let vpc_id = match (&ebs.vpc_id, subnets.first()) {
            (_, Some(subnet)) => Some(subnet.vpc_id.clone()),
            (Some(vpc), None) => Some(vpc.clone()),
            (None, None) => None,
        };
        context.log.say(&format!("Found image {} ({})", image.id, image.name)).await;
        Ok(Checked {
            account_id,
            source: SourceImage {
                ami_id: image.id,
                name: image.name,
                owner_id: image.owner_id,
                region: ebs.region.clone(),
                creation_date: image.creation_date,
            },
            source_owner_alias: image.owner_alias,
            source_tags: image.tags,
            architecture: image.architecture,
            platform: image.platform.unwrap_or_else(|| "linux".into()),
            root_device_name: image.root_device_name,
            vpc_id,
            subnet_ids: subnets.into_iter().map(|subnet| subnet.id).collect(),
        })
    }
}

async fn name_is_free(context: &StepContext, ebs: &AmazonEbs) -> StepResult<()> {
    if ebs.skip_create_ami {
        return Ok(());
    }
    for region in std::iter::once(&ebs.region).chain(&ebs.ami_regions) {
        let place = context.place(region);
        let found = retry::call(context, || context.looks.own_images_of_name(&place, &ebs.ami_name)).await?;
        if let Some(image) = found.first() {
            return Err(Failure::user(
                "InvalidAMIName.Duplicate",
                format!("AMI name {:?} is taken in {region} by {}.", ebs.ami_name, image.id),
            )
            .with_advice(
                "Give the image another name, for instance with {{timestamp}} in ami_name, or deregister the old one.",
            )
            .into());
        }
    }
    Ok(())
}

async fn source_image(context: &StepContext, ebs: &AmazonEbs) -> StepResult<Image> {
    let (place, query) = (context.place(&ebs.region), source_ami::query(ebs));
    let found = retry::call(context, || context.looks.images(&place, &query)).await?;
    Ok(source_ami::choose(ebs, found)?)
}

async fn subnets(context: &StepContext, ebs: &AmazonEbs) -> StepResult<Vec<Subnet>> {
    let mut filters = Vec::new();
    if let Some(subnet) = &ebs.subnet_id {
        filters.push(Filter::new("subnet-id", [subnet]));
    } else if let Some(vpc) = &ebs.vpc_id {
        filters.push(Filter::new("vpc-id", [vpc]));
    } else {
        filters.push(Filter::new("default-for-az", ["true"]));
    }
    if let Some(zone) = &ebs.availability_zone {
        filters.push(Filter::new("availability-zone", [zone]));
    }
    let place = context.place(&ebs.region);
    let mut found = retry::call(context, || context.looks.subnets(&place, &filters)).await?;
    if found.is_empty() {
        let what = match (&ebs.subnet_id, &ebs.vpc_id) {
            (Some(subnet), _) => format!("subnet {subnet}"),
            (None, Some(vpc)) => format!("a subnet of VPC {vpc}"),
            (None, None) => "a default subnet".into(),
        };
        let zone = ebs.availability_zone.as_ref().map(|zone| format!(" in zone {zone}")).unwrap_or_default();
        return Err(Failure::user("subnet-not-found", format!("No such network in {}: {what}{zone}.", ebs.region))
            .with_advice("Name a subnet of this account and region with `subnet_id`.")
            .into());
    }
    if let (Some(subnet), Some(vpc)) = (&ebs.subnet_id, &ebs.vpc_id)
        && found[0].vpc_id != *vpc
    {
        return Err(Failure::user(
            "subnet-vpc-mismatch",
            format!("subnet {subnet} is in {}, not in vpc_id {vpc}.", found[0].vpc_id),
        )
        .into());
    }
    // The one with most free addresses first; the rest are tried when that zone has no room.
    found.sort_by(|a, b| b.available_addresses.cmp(&a.available_addresses).then_with(|| a.id.cmp(&b.id)));
    Ok(found)
}

async fn regions_exist(context: &StepContext, ebs: &AmazonEbs) -> StepResult<()> {
    if ebs.ami_regions.is_empty() {
        return Ok(());
    }
    let place = context.place(&ebs.region);
    let regions = retry::call(context, || context.looks.regions(&place)).await?;
    let unknown: Vec<&str> =
        ebs.ami_regions.iter().filter(|region| !regions.contains(region)).map(String::as_str).collect();
    if unknown.is_empty() {
        return Ok(());
    }
    Err(Failure::user(
        "region-not-found",
        format!("ami_regions names what this account has no access to: {}.", unknown.join(", ")),
    )
    .with_advice("Check the spelling, or enable the region for the account.")
    .into())
}

async fn groups_exist(context: &StepContext, ebs: &AmazonEbs) -> StepResult<()> {
    if ebs.security_group_ids.is_empty() {
        return Ok(());
    }
    let filters = [Filter::new("group-id", &ebs.security_group_ids)];
    let place = context.place(&ebs.region);
    let found = retry::call(context, || context.looks.security_groups(&place, &filters)).await?;
    let missing: Vec<&str> = ebs
        .security_group_ids
        .iter()
        .filter(|id| !found.iter().any(|group| group.id == **id))
        .map(String::as_str)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(Failure::user(
        "security-group-not-found",
        format!("No such security group in {}: {}.", ebs.region, missing.join(", ")),
    )
    .into())
}

async fn instance_type_fits(context: &StepContext, ebs: &AmazonEbs, image: &Image) -> StepResult<()> {
    let place = context.place(&ebs.region);
    let known = retry::call(context, || context.looks.instance_type(&place, &ebs.instance_type)).await?;
    let known = known.ok_or_else(|| {
        Failure::user(
            "instance-type-not-found",
            format!("Instance type {:?} does not exist in {}.", ebs.instance_type, ebs.region),
        )
    })?;
    if known.architectures.is_empty() || known.architectures.contains(&image.architecture) {
        return Ok(());
    }
    Err(Failure::user(
        "architecture-mismatch",
        format!(
            "Instance type {} runs {}, the source image {} is {}.",
            ebs.instance_type,
            known.architectures.join(", "),
            image.id,
            image.architecture
        ),
    )
    .into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_source_ami_is_where_the_store_looks_for_it() {
        let source = SourceImage {
            ami_id: "ami-1".into(),
            name: String::new(),
            owner_id: String::new(),
            region: String::new(),
            creation_date: String::new(),
        };
        let checked = Checked {
            account_id: String::new(),
            source,
            source_owner_alias: None,
            source_tags: Vec::new(),
            architecture: String::new(),
            platform: String::new(),
            root_device_name: None,
            vpc_id: None,
            subnet_ids: Vec::new(),
        };
        // Runs that may be joined are compared by it (`store::dedupe`).
        assert_eq!(serde_json::to_value(checked).unwrap()["source"]["ami_id"], "ami-1");
    }
}
