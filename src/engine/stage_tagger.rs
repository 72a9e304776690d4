//! Writes the stage of images as a tag on their AMIs, in every region and account. Tags follow the database: a promotion is
//! committed first, and this catches up. It writes what is true now, so that it may be repeated, interrupted and done by
//! any server.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::cloud::{Accounts, CloudErrorClass, CloudResult};
use crate::domain::clock::Clock;
use crate::domain::error::Result;
use crate::domain::stage::StageOrder;
use crate::domain::tags;
use crate::store::Store;
use crate::store::tag_sync::{Ami, CLAIM, TagWork};

/// How often it looks.
const INTERVAL: Duration = Duration::from_secs(1);
/// A call is not begun later than this before the claim ends, so that it has landed before another server begins: calls
/// that change the cloud take 15 seconds at most, and may be repeated once.
const MARGIN: Duration = Duration::from_secs(45);

pub struct StageTagger {
    pub store: Store,
    pub accounts: Arc<dyn Accounts>,
    pub stages: Arc<StageOrder>,
    pub clock: Arc<dyn Clock>,
}

impl StageTagger {
    /// Looks each second until the server stops.
    pub async fn run(self, stop: CancellationToken) {
        loop {
            tokio::select! {
                outcome = self.catch_up() => if let Err(error) = outcome {
                    tracing::warn!(error = error.for_log(), "images that wait for their stage tags can't be read");
                },
                () = stop.cancelled() => return,
            }
            tokio::select! {
                () = tokio::time::sleep(INTERVAL) => {}
                () = stop.cancelled() => return,
            }
        }
    }

    /// Tags all images that are due.
    ///
    /// # Errors
    /// When the database is away. What the cloud refuses is noted with the image and tried again later.
    pub async fn catch_up(&self) -> Result<()> {
        loop {
            let claimed_at = self.clock.since_boot();
            let Some(work) = self.store.claim_tag_work().await? else { return Ok(()) };
            match self.tag(&work, claimed_at).await {
                Ok(()) => self.store.finish_tag_work(&work).await?,
                Err(why) => {
                    tracing::warn!(image_id = %work.image, why, "the stage tags of an image could not be written");
                    self.store.postpone_tag_work(&work, &why).await?;
                }
            }
        }
    }

    async fn tag(&self, work: &TagWork, claimed_at: Duration) -> Result<(), String> {
        let stages = self.stages.sort(&work.stages);
        for ami in &work.amis {
            if self.clock.since_boot().saturating_sub(claimed_at) > CLAIM.saturating_sub(MARGIN) {
                return Err("it took too long; the rest follows".to_owned());
            }
            match self.tag_one(ami, stages.last().map(String::as_str)).await? {
                Ok(()) => {}
                // Deregistered by somebody else: there is nothing left to tag.
                Err(error) if error.class == CloudErrorClass::NotFound => {
                    tracing::warn!(image_id = %work.image, ami_id = ami.id, region = ami.region, "an AMI is gone");
                }
                Err(error) => return Err(format!("{} in {}: {error}", ami.id, ami.region)),
            }
        }
        Ok(())
    }

    async fn tag_one(&self, ami: &Ami, stage: Option<&str>) -> Result<CloudResult<()>, String> {
        let cloud = self.accounts.account(&ami.account).ok_or_else(|| {
            format!("this server has no account {:?}; it is needed to tag {} in {}", ami.account, ami.id, ami.region)
        })?;
        let ids = [ami.id.clone()];
        Ok(match stage {
            Some(stage) => {
                cloud.create_tags(&ami.region, &ids, &vec![(tags::STAGE.to_owned(), stage.to_owned())]).await
            }
            None => cloud.delete_tags(&ami.region, &ids, &[tags::STAGE.to_owned()]).await,
        })
    }
}
