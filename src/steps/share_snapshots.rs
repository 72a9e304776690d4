//! Who else may make volumes of the snapshots that `amazon-ebsvolume` made.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::cloud::Grantee;
use crate::domain::failure::Failure;
use crate::engine::step::{Step, StepContext, StepResult};

use super::{retry, share, wait_snapshots};

pub struct ShareSnapshots;

#[derive(Debug, Serialize, Deserialize)]
pub struct Intent {}

#[derive(Debug, Serialize, Deserialize)]
pub struct Output {}

#[async_trait]
impl Step for ShareSnapshots {
    type Intent = Intent;
    type Output = Output;

    fn intent(&self, _context: &StepContext) -> Result<Intent, Failure> {
        Ok(Intent {})
    }

    async fn act(&self, context: &StepContext, _intent: &Intent) -> StepResult<Output> {
        let made: wait_snapshots::Output = context.output("wait_snapshots")?;
        let region = &context.ebs()?.region;
        for volume in context.config()?.builder.volumes().into_iter().flat_map(|build| &build.volumes) {
            let Some(id) = made.snapshots.get(&volume.device_name) else { continue };
            let mut grantees = Grantee::accounts(&volume.snapshot_users);
            grantees.extend(volume.snapshot_groups.iter().cloned().map(Grantee::Group));
            if grantees.is_empty() {
                continue;
            }
            context.log.say(&format!("Sharing {id} in {region} with {}", share::names(&grantees))).await;
            retry::set_on_new(context, || context.cloud.share_snapshot(region, id, &grantees)).await?;
        }
        Ok(Output {})
    }
}
