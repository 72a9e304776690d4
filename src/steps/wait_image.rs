//! Waits until an AMI or a copy of it is available, and sees that its tags are there.

use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::cloud::{Image, ImageState};
use crate::domain::failure::Failure;
use crate::domain::tags::TagList;
use crate::engine::step::{Step, StepContext, StepError, StepResult};

use super::retry::Patience;
use super::wait_limit::WaitLimit;
use super::{create_image, image_tags, removal, retry};

/// Without `aws_polling`. Copies of hundreds of GB to the other end of the world take many hours.
const LIMIT: Duration = Duration::from_secs(24 * 3600);
/// An image that stays invisible this long after its making is not coming.
const INVISIBLE_LIMIT: Duration = Duration::from_secs(300);
/// An image that was seen and stays away this long is gone.
const FLICKER_LIMIT: Duration = Duration::from_secs(45);

pub struct WaitImage {
    /// `None`: the build's own region.
    copy_region: Option<String>,
}

impl WaitImage {
    #[must_use]
    pub fn of_build() -> Self {
        Self { copy_region: None }
    }

    #[must_use]
    pub fn of_copy(region: &str) -> Self {
        Self { copy_region: Some(region.to_owned()) }
    }
}

#[derive(Debug, Serialize, Deserialize)]
pub struct Intent {}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Output {
    pub region: String,
    pub image_id: String,
    pub snapshot_ids: Vec<String>,
    pub architecture: String,
    pub platform: String,
}

#[async_trait]
impl Step for WaitImage {
    type Intent = Intent;
    type Output = Output;

    fn intent(&self, _context: &StepContext) -> Result<Intent, Failure> {
        Ok(Intent {})
    }

    async fn act(&self, context: &StepContext, _intent: &Intent) -> StepResult<Output> {
        let (region, made) = match &self.copy_region {
            Some(region) => (region.clone(), context.output(&format!("copy:{region}"))?),
            None => (context.ebs()?.region.clone(), create_image::made(context)?),
        };
        context.log.say(&format!("Waiting for AMI {} in {region} to become ready…", made.image_id)).await;
        let mut image = until_available(context, &region, &made.image_id, WaitLimit::of(context, LIMIT)?).await?;
        image.snapshot_ids = removal::own_snapshots(context, image.snapshot_ids);
        complete_tags(context, &region, &image).await?;
        Ok(Output {
            region,
            image_id: image.id,
            snapshot_ids: image.snapshot_ids,
            architecture: image.architecture,
            platform: image.platform.unwrap_or_else(|| "linux".into()),
        })
    }
}

async fn until_available(context: &StepContext, region: &str, id: &str, limit: WaitLimit) -> StepResult<Image> {
    let mut watch = context.watcher.image(&context.facts.account, region, id);
    let started = tokio::time::Instant::now();
    let mut last_seen: Option<tokio::time::Instant> = None;
    let mut patience = Patience::default();
    loop {
        let next = tokio::time::timeout_at(limit.until, watch.next());
        let Ok(observation) = context.waiting(next).await? else {
            return Err(limit.passed("image-wait-timeout", &format!("AMI {id} was not available")).into());
        };
        let observation = observation.map_err(|_| StepError::Interrupted)?;
        patience.note(observation.error.as_ref())?;
        if observation.error.is_some() {
            continue;
        }
        let Some(image) = observation.seen else {
            // One look may miss what another part of EC2 has shown already.
            let gone = last_seen.is_some_and(|seen| seen.elapsed() > FLICKER_LIMIT);
            if gone || (last_seen.is_none() && started.elapsed() > INVISIBLE_LIMIT) {
                return Err(Failure::cloud("image-gone", format!("AMI {id} disappeared from {region}."))
                    .with_advice("CloudTrail tells who called DeregisterImage. Then start the run again.")
                    .into());
            }
            continue;
        };
        last_seen = Some(tokio::time::Instant::now());
        match image.state {
            ImageState::Available => return Ok(image),
            ImageState::Pending => {}
            ImageState::Failed | ImageState::Other => {
                let reason = image.state_reason.as_deref().unwrap_or("no reason given");
                return Err(Failure::cloud("image-failed", format!("AMI {id} in {region} failed: {reason}"))
                    .with_advice("Start the run again. If the reason names a KMS key, check that it is enabled and that the account's build role may use it.")
                    .into());
            }
        }
    }
}

/// All tags were given when the image was made; what of them is missing now is added, so that a cloud that dropped some
/// does not lead to an image without its facts.
async fn complete_tags(context: &StepContext, region: &str, image: &Image) -> StepResult<()> {
    add_missing(context, region, &image.id, &image.tags, &image_tags::image_tags(context)?).await?;
    if image.snapshot_ids.is_empty() {
        return Ok(());
    }
    let wanted = image_tags::snapshot_tags(context)?;
    let place = context.place(region);
    let snapshots = retry::call(context, || context.looks.snapshots(&place, &image.snapshot_ids)).await?;
    for snapshot in snapshots {
        add_missing(context, region, &snapshot.id, &snapshot.tags, &wanted).await?;
    }
    Ok(())
}

async fn add_missing(
    context: &StepContext,
    region: &str,
    id: &str,
    present: &TagList,
    wanted: &TagList,
) -> StepResult<()> {
    let missing: TagList = wanted.iter().filter(|tag| !present.contains(tag)).cloned().collect();
    if missing.is_empty() {
        return Ok(());
    }
    let ids = [id.to_owned()];
    retry::set_on_new(context, || context.cloud.create_tags(region, &ids, &missing)).await
}
