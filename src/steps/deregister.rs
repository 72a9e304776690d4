//! `force_deregister`: images of the new image's name go, directly before it is made, because EC2 gives a name only once.
//! Nothing brings them back. So they are listed in one step and removed in the next, whose journaled intent names them;
//! both come after all that can fail in provisioning. Only images that the account owns, and none that a stage holds.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::cloud::{Filter, Image, ImageQuery};
use crate::domain::failure::Failure;
use crate::domain::journal::StagedAmi;
use crate::engine::step::{Step, StepContext, StepError, StepResult};

use super::{finding, removal, retry};

/// An image that makes room.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Replaced {
    pub region: String,
    pub image_id: String,
    pub snapshot_ids: Vec<String>,
}

/// The account's images of this name, which the new image is to replace.
///
/// # Errors
/// `image-in-stage` when a stage holds one of them.
pub async fn replaced(context: &StepContext, region: &str, name: &str) -> StepResult<Vec<Image>> {
    let query = ImageQuery {
        owners: vec!["self".into()],
        filters: vec![Filter::new("name", [name])],
        include_deprecated: true,
    };
    let mut found = retry::call(context, || context.cloud.find_images(region, &query)).await?;
    // The name filter reads `*` and `?` as wildcards, and what this attempt made itself is not to go.
    found.retain(|image| image.name == name && !finding::is_own(context, &image.tags));
    let ids: Vec<String> = found.iter().map(|image| image.id.clone()).collect();
    if !ids.is_empty() {
        refuse_staged(&context.records.staged(&ids).await?)?;
    }
    Ok(found)
}

fn refuse_staged(staged: &[StagedAmi]) -> Result<(), Failure> {
    let Some(one) = staged.first() else { return Ok(()) };
    let message =
        format!("force_deregister would remove {}, which stage {} of {} holds.", one.ami_id, one.stage, one.family);
    Err(Failure::user("image-in-stage", message).with_advice(
        "Give the image another name, for instance with {{timestamp}} in ami_name, or move the stage to another image first.",
    ))
}

/// Lists what is to go, in all regions.
pub struct FindReplaced;

#[derive(Debug, Serialize, Deserialize)]
pub struct FindIntent {}

#[derive(Debug, Serialize, Deserialize)]
pub struct Found {
    pub images: Vec<Replaced>,
}

#[async_trait]
impl Step for FindReplaced {
    type Intent = FindIntent;
    type Output = Found;

    fn intent(&self, _context: &StepContext) -> Result<FindIntent, Failure> {
        Ok(FindIntent {})
    }

    async fn act(&self, context: &StepContext, _intent: &FindIntent) -> StepResult<Found> {
        let ebs = context.ebs()?;
        let own = std::iter::once(&ebs.region).filter(|_| !ebs.copying.skip_save_build_region);
        let mut images = Vec::new();
        for region in own.chain(&ebs.ami_regions) {
            for image in replaced(context, region, &ebs.ami_name).await? {
                // Also of an image that was made of the same template before.
                let snapshot_ids = removal::own_snapshots(context, image.snapshot_ids);
                let region = region.clone();
                images.push(Replaced { region, image_id: image.id, snapshot_ids });
            }
        }
        Ok(Found { images })
    }
}

/// Removes what was listed in one region.
pub struct Deregister {
    pub region: String,
}

/// What can't be brought back.
#[derive(Debug, Serialize, Deserialize)]
pub struct Intent {
    images: Vec<Replaced>,
    delete_snapshots: bool,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct Output {
    removed: Vec<String>,
}

#[async_trait]
impl Step for Deregister {
    type Intent = Intent;
    type Output = Output;

    fn intent(&self, context: &StepContext) -> Result<Intent, Failure> {
        let mut found: Found = context.output("find_replaced")?;
        found.images.retain(|image| image.region == self.region);
        let delete_snapshots = context.ebs()?.replace.is_some_and(|replace| replace.delete_snapshots);
        Ok(Intent { images: found.images, delete_snapshots })
    }

    async fn act(&self, context: &StepContext, intent: &Intent) -> StepResult<Output> {
        let ids: Vec<String> = intent.images.iter().map(|image| image.image_id.clone()).collect();
        if ids.is_empty() {
            return Ok(Output { removed: ids });
        }
        // From here on no stage can take them.
        refuse_staged(&context.records.give_up(&ids).await?)?;
        let mut removed = Vec::new();
        for image in &intent.images {
            context
                .log
                .say(&format!("Deregistering {} in {}, as force_deregister asks", image.image_id, self.region))
                .await;
            removal::until_gone(context, || context.cloud.deregister_image(&self.region, &image.image_id)).await?;
            removed.push(image.image_id.clone());
            for id in image.snapshot_ids.iter().filter(|_| intent.delete_snapshots) {
                if delete_snapshot(context, &self.region, id).await? {
                    removed.push(id.clone());
                }
            }
        }
        Ok(Output { removed })
    }
}

/// `false` when another image uses it: then it stays.
async fn delete_snapshot(context: &StepContext, region: &str, id: &str) -> StepResult<bool> {
    match removal::until_gone(context, || context.cloud.delete_snapshot(region, id)).await {
        Ok(()) => {
            context.log.say(&format!("Deleted {id} in {region}, as force_delete_snapshot asks")).await;
            Ok(true)
        }
        Err(StepError::Failed(failure)) if failure.code == "InvalidSnapshot.InUse" => {
            context.log.say(&format!("{id} in {region} stays: {}", failure.message)).await;
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

/// Removes the image that copies were made of, when it is not to be kept (`skip_save_build_region`).
pub struct DropInterim;

#[derive(Debug, Serialize, Deserialize)]
pub struct DropIntent {
    interim: Replaced,
}

#[async_trait]
impl Step for DropInterim {
    type Intent = DropIntent;
    type Output = Output;

    fn intent(&self, context: &StepContext) -> Result<DropIntent, Failure> {
        let made: super::wait_image::Output = context.output("wait_image")?;
        let interim = Replaced { region: made.region, image_id: made.image_id, snapshot_ids: made.snapshot_ids };
        Ok(DropIntent { interim })
    }

    async fn act(&self, context: &StepContext, intent: &DropIntent) -> StepResult<Output> {
        let DropIntent { interim } = intent;
        let region = &interim.region;
        context.log.say(&format!("Removing the intermediary AMI {} in {region}", interim.image_id)).await;
        removal::until_gone(context, || context.cloud.deregister_image(region, &interim.image_id)).await?;
        for id in &interim.snapshot_ids {
            removal::until_gone(context, || context.cloud.delete_snapshot(region, id)).await?;
        }
        let mut removed = vec![interim.image_id.clone()];
        removed.extend(interim.snapshot_ids.iter().cloned());
        Ok(Output { removed })
    }
}
