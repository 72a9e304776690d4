//! The AMI. Its name is unique in account and region, so a name that is taken by an image with our tags is our own call,
//! made before a crash.

use std::collections::BTreeMap;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::cloud::{CloudError, CloudErrorClass, NewImage};
use crate::domain::config::AmazonEbs;
use crate::domain::failure::Failure;
use crate::engine::step::{Made, Step, StepContext, StepResult};

use super::{image_tags, launch, names, removal, retry};

pub struct CreateImage;

#[derive(Debug, Serialize, Deserialize)]
pub struct Intent {
    region: String,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct Output {
    pub image_id: String,
}

/// The image in the build's own region, however it was made.
///
/// # Errors
/// When the plan makes none before this step, a fault of ours, or the journal's record can't be read.
pub fn made(context: &StepContext) -> Result<Output, Failure> {
    match context.output_if_any("register_image")? {
        Some(registered) => Ok(registered),
        None => context.output("create_image"),
    }
}

/// The image's name. With `skip_save_build_region` the image only serves to be copied, and the name stays free.
pub fn name(context: &StepContext, ebs: &AmazonEbs) -> String {
    if ebs.copying.skip_save_build_region { names::temporary(context) } else { ebs.ami_name.clone() }
}

#[async_trait]
impl Step for CreateImage {
    type Intent = Intent;
    type Output = Output;

    fn intent(&self, context: &StepContext) -> Result<Intent, Failure> {
        Ok(Intent { region: context.ebs()?.region.clone() })
    }

    async fn act(&self, context: &StepContext, intent: &Intent) -> StepResult<Output> {
        let ebs = context.ebs()?;
        let launched: launch::Output = context.output("launch")?;
        let request = NewImage {
            instance_id: launched.instance_id,
            name: name(context, ebs),
            description: image_tags::render(context, &ebs.ami_description)?,
            // What is stopped is at rest; a spot instance, which can't be, comes to rest by a reboot.
            no_reboot: ebs.spot.is_none(),
            block_devices: match context.config()?.builder.surrogate() {
                Some(surrogate) => surrogate.image_devices(&BTreeMap::new()),
                None => ebs.ami_block_device_mappings.clone(),
            },
            image_tags: image_tags::image_tags(context)?,
            snapshot_tags: image_tags::snapshot_tags(context)?,
        };
        context.log.say(&format!("Creating AMI {} from instance {}", request.name, request.instance_id)).await;
        // "Instance is not in state" passes: the stop is seen a moment before every part of EC2 knows of it.
        let busy = |error: &CloudError| error.class == CloudErrorClass::Busy;
        let create = || context.cloud.create_image(&intent.region, &request);
        let find = || removal::own_image_of_name(context, &intent.region, &request.name);
        let image_id = retry::make(context, busy, create, find).await?;
        context.log.say(&format!("AMI: {image_id}")).await;
        Ok(Output { image_id })
    }

    async fn undo(
        &self,
        context: &StepContext,
        intent: &Intent,
        made: Made<Output>,
        found: &[String],
    ) -> StepResult<Vec<String>> {
        let id = made.output().map(|output| output.image_id.as_str());
        removal::remove_images(context, &intent.region, id, &made, found).await
    }
}
