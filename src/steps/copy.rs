//! Starts the copy of the AMI into one further region. The client token makes a repeated call find the first copy.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::cloud::{CloudError, CloudErrorClass, NewImageCopy};
use crate::domain::failure::Failure;
use crate::engine::step::{Made, Step, StepContext, StepResult};

use super::{create_image, image_tags, names, removal, retry};

pub struct Copy {
    pub region: String,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct Intent {
    region: String,
    client_token: String,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct Output {
    pub image_id: String,
}

#[async_trait]
impl Step for Copy {
    type Intent = Intent;
    type Output = Output;

    fn intent(&self, context: &StepContext) -> Result<Intent, Failure> {
        Ok(Intent { region: self.region.clone(), client_token: names::client_token(context, &self.region) })
    }

    async fn act(&self, context: &StepContext, intent: &Intent) -> StepResult<Output> {
        let request = request(context, intent)?;
        context.log.say(&format!("Copying AMI {} to {}", request.source_image_id, intent.region)).await;
        // The token makes asking again the same copy.
        let lost = |error: &CloudError| error.class == CloudErrorClass::UnknownOutcome;
        let copy = || context.cloud.copy_image(&intent.region, &request);
        let find = || removal::own_image_of_name(context, &intent.region, &request.name);
        let image_id = retry::make(context, lost, copy, find).await?;
        context.log.say(&format!("AMI in {}: {image_id}", intent.region)).await;
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
        let mut removed = removal::remove_images(context, &intent.region, id, &made, found).await?;
        if removed.is_empty() && matches!(made, Made::Unknown) {
            // Spends the token: what comes back is removed, and a call still on its way can't make a second copy.
            let request = request(context, intent)?;
            match retry::passing(context, |_| false, || context.cloud.copy_image(&intent.region, &request)).await? {
                Ok(id) => removed = removal::remove_images(context, &intent.region, Some(&id), &made, &[]).await?,
                Err(error) if removal::is_definite(&error) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(removed)
    }
}

fn request(context: &StepContext, intent: &Intent) -> Result<NewImageCopy, Failure> {
    let ebs = context.ebs()?;
    let image = create_image::made(context)?;
    Ok(NewImageCopy {
        client_token: intent.client_token.clone(),
        source_region: ebs.region.clone(),
        source_image_id: image.image_id,
        name: ebs.ami_name.clone(),
        description: image_tags::render(context, &ebs.ami_description)?,
        encrypted: ebs.encrypt_boot.filter(|encrypt| *encrypt),
        // A key belongs to one region; without one of its own a region uses its default key, as Packer does.
        kms_key_id: ebs.copying.region_kms_key_ids.get(&intent.region).filter(|key| !key.is_empty()).cloned(),
        snapshot_copy_duration_minutes: ebs.copying.snapshot_copy_duration_minutes,
        image_tags: image_tags::image_tags(context)?,
        snapshot_tags: image_tags::snapshot_tags(context)?,
    })
}
