//! Gives the volumes of `ebs_volumes` their tags once the machine runs, as Packer does: what the launch said of all of its
//! volumes goes, and the volume's own tags come. The server's own stay.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::domain::config::AmazonEbsVolume;
use crate::domain::failure::Failure;
use crate::domain::tags;
use crate::engine::step::{Step, StepContext, StepResult};

use super::{finding, image_tags, list_volumes, machine, retry};

pub struct TagVolumes;

#[derive(Debug, Serialize, Deserialize)]
pub struct Intent {}

#[derive(Debug, Serialize, Deserialize)]
pub struct Output {}

#[async_trait]
impl Step for TagVolumes {
    type Intent = Intent;
    type Output = Output;

    fn intent(&self, _context: &StepContext) -> Result<Intent, Failure> {
        Ok(Intent {})
    }

    async fn act(&self, context: &StepContext, _intent: &Intent) -> StepResult<Output> {
        let region = &context.ebs()?.region;
        let launched = finding::temporary_tags(context, machine::NAME, &image_tags::volume_tags(context)?);
        for volume in context.config()?.builder.volumes().into_iter().flat_map(AmazonEbsVolume::on_ebs) {
            let id = list_volumes::volume_of(context, &volume.device_name)?;
            let own = image_tags::rendered(context, &volume.tags)?;
            let is_of_launch = |key: &str| !key.starts_with(tags::PREFIX) && tags::value(&own, key).is_none();
            let keys: Vec<String> =
                launched.iter().map(|(key, _)| key).filter(|key| is_of_launch(key)).cloned().collect();
            let ids = [id];
            context.log.say(&format!("Tagging the volume {} ({})", ids[0], volume.device_name)).await;
            // Without keys EC2 would take off all tags.
            if !keys.is_empty() {
                retry::set_on_new(context, || context.cloud.delete_tags(region, &ids, &keys)).await?;
            }
            if !own.is_empty() {
                retry::set_on_new(context, || context.cloud.create_tags(region, &ids, &own)).await?;
            }
        }
        Ok(Output {})
    }
}
