//! Everything that only the cloud can tell, looked at before anything is made: the AMI's name is free, the source image
//! is there and of the named owner, instance type, subnet, groups and regions exist.

use async_trait::async_trait;
use chrono::TimeDelta;
use serde::{Deserialize, Serialize};

use crate::cloud::{CloudErrorClass, Image, Subnet};
use crate::domain::config::AmazonEbs;
use crate::domain::failure::Failure;
use crate::domain::image::SourceImage;
use crate::domain::tags::TagList;
use crate::engine::source_ami;
use crate::engine::step::{Step, StepContext, StepResult};

use super::{check_network, deregister, retry};

/// `docs.aws.amazon.com/AWSEC2/latest/APIReference/API_EnableImageDeprecation.html`
const LONGEST_DEPRECATION: TimeDelta = TimeDelta::days(3650);

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
    /// What `security_group_ids` or `security_group_filter` names; empty: a temporary one is made.
    #[serde(default)]
    pub security_group_ids: Vec<String>,
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
        let (account_id, image, (subnets, security_group_ids), ..) = tokio::try_join!(
            retry::call(context, || context.cloud.account_id()),
            source_image(context, ebs),
            network(context, ebs),
            name_is_free(context, ebs),
            regions_exist(context, ebs),
            async { deprecation_lies_ahead(context, ebs) },
            profile_exists(context, ebs),
        )?;
        image_fits(ebs, &image)?;
        root_can_be_replaced(context, &image)?;
        instance_types_fit(context, ebs, &image).await?;
        let vpc_id = subnets.first().map(|subnet| subnet.vpc_id.clone()).or_else(|| ebs.vpc_id.clone());
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
            security_group_ids,
        })
    }
}

async fn profile_exists(context: &StepContext, ebs: &AmazonEbs) -> StepResult<()> {
    let Some(profile) = ebs.iam_instance_profile.as_ref().filter(|_| !ebs.skip_profile_validation) else {
        return Ok(());
    };
    // Given by its name or its ARN, which ends in the name.
    let name = profile.rsplit('/').next().unwrap_or(profile);
    let found = retry::passing(context, |_| false, || context.cloud.instance_profile(&ebs.region, name)).await?;
    match found {
        Ok(Some(_)) => Ok(()),
        Ok(None) => {
            let message = format!("The account has no instance profile {profile:?} (iam_instance_profile).");
            Err(Failure::user("instance-profile-not-found", message)
                .with_advice("Check the name, or set skip_profile_validation = true.")
                .into())
        }
        // Who may launch with it need not be allowed to look at it.
        Err(error) if error.class == CloudErrorClass::Unauthorized => Ok(()),
        Err(error) => Err(error.into()),
    }
}

async fn network(context: &StepContext, ebs: &AmazonEbs) -> StepResult<(Vec<Subnet>, Vec<String>)> {
    let subnets = check_network::subnets(context, ebs).await?;
    let vpc = subnets.first().map(|subnet| subnet.vpc_id.as_str());
    let groups = check_network::groups(context, ebs, vpc).await?;
    Ok((subnets, groups))
}

/// EC2 would say so only when the image is there.
fn deprecation_lies_ahead(context: &StepContext, ebs: &AmazonEbs) -> StepResult<()> {
    let now = context.clock.now();
    let Some(at) = ebs.keeping.deprecate_at.filter(|_| !ebs.skip_create_ami) else { return Ok(()) };
    if at > now && at < now + LONGEST_DEPRECATION {
        return Ok(());
    }
    let message = format!("deprecate_at is {at}, which is not within the next ten years.");
    Err(Failure::user("deprecate-at", message).with_advice("Give a time that lies ahead, in UTC.").into())
}

async fn name_is_free(context: &StepContext, ebs: &AmazonEbs) -> StepResult<()> {
    // With `force_deregister` the name is made free later; what keeps it from that is told now.
    if ebs.skip_create_ami {
        return Ok(());
    }
    if ebs.replace.is_some() {
        for region in image_regions(ebs) {
            deregister::replaced(context, region, &ebs.ami_name).await?;
        }
        return Ok(());
    }
    for region in image_regions(ebs) {
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

async fn regions_exist(context: &StepContext, ebs: &AmazonEbs) -> StepResult<()> {
    if ebs.ami_regions.is_empty() || ebs.skip_region_validation {
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

/// The regions in which an image of the name will be.
fn image_regions(ebs: &AmazonEbs) -> impl Iterator<Item = &String> {
    let own = std::iter::once(&ebs.region).filter(|_| !ebs.copying.skip_save_build_region);
    own.chain(&ebs.ami_regions)
}

/// What the template asks of the image that it starts from.
fn image_fits(ebs: &AmazonEbs, image: &Image) -> Result<(), Failure> {
    if let Some(wanted) = &ebs.ami_virtualization_type
        && *wanted != image.virtualization_type
    {
        let message = format!(
            "The source image {} is {}, ami_virtualization_type is {wanted}.",
            image.id, image.virtualization_type
        );
        return Err(Failure::user("virtualization-mismatch", message)
            .with_advice("The image has the virtualization of the one that it is made from."));
    }
    if (ebs.ena_support == Some(true) || ebs.sriov_support) && image.virtualization_type != "hvm" {
        let message = format!("The source image {} is {}.", image.id, image.virtualization_type);
        return Err(Failure::user("virtualization-mismatch", message)
            .with_advice("Enhanced networking (ena_support, sriov_support) needs hvm."));
    }
    if ebs.fast_launch.is_some() && image.platform.as_deref() != Some("windows") {
        let message = format!("fast_launch is for Windows images; the source image {} is none.", image.id);
        return Err(Failure::user("fast-launch-platform", message).with_advice("Leave fast_launch out."));
    }
    Ok(())
}

/// With `use_create_image` the surrogate takes the place of the machine's root, and the image has what is there.
fn root_can_be_replaced(context: &StepContext, image: &Image) -> Result<(), Failure> {
    let surrogate = context.config()?.builder.surrogate().filter(|surrogate| surrogate.use_create_image);
    let root = surrogate.map(|surrogate| &surrogate.root.device_name);
    let Some(root) = root.filter(|root| image.root_device_name.as_ref() != Some(root)) else { return Ok(()) };
    let own = image.root_device_name.as_deref().unwrap_or("not named");
    let message =
        format!("The root device of the source image {} is {own}, that of ami_root_device is {root}.", image.id);
    Err(Failure::user("root-device-mismatch", message).with_advice(
        "With use_create_image = true both must be the same: change device_name of ami_root_device, or leave use_create_image out.",
    ))
}

async fn instance_types_fit(context: &StepContext, ebs: &AmazonEbs, image: &Image) -> StepResult<()> {
    let place = context.place(&ebs.region);
    for name in ebs.instance_types() {
        let known = retry::call(context, || context.looks.instance_type(&place, name)).await?;
        let known = known.ok_or_else(|| {
            Failure::user(
                "instance-type-not-found",
                format!("Instance type {name:?} does not exist in {}.", ebs.region),
            )
        })?;
        if known.architectures.is_empty() || known.architectures.contains(&image.architecture) {
            continue;
        }
        return Err(Failure::user(
            "architecture-mismatch",
            format!(
                "Instance type {name} runs {}, the source image {} is {}.",
                known.architectures.join(", "),
                image.id,
                image.architecture
            ),
        )
        .into());
    }
    Ok(())
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
            security_group_ids: Vec::new(),
        };
        // Runs that may be joined are compared by it (`store::dedupe`).
        assert_eq!(serde_json::to_value(checked).unwrap()["source"]["ami_id"], "ami-1");
    }
}
