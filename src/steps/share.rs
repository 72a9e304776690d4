//! Who else may launch the AMI in one region, and whether its instances need IMDSv2.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::cloud::{CloudError, CloudErrorClass, Grantee};
use crate::domain::failure::Failure;
use crate::engine::step::{Step, StepContext, StepResult};

use super::{create_image, retry};

pub struct Share {
    pub region: String,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct Intent {}

#[derive(Debug, Serialize, Deserialize)]
pub struct Output {}

#[async_trait]
impl Step for Share {
    type Intent = Intent;
    type Output = Output;

    fn intent(&self, _context: &StepContext) -> Result<Intent, Failure> {
        Ok(Intent {})
    }

    async fn act(&self, context: &StepContext, _intent: &Intent) -> StepResult<Output> {
        let ebs = context.ebs()?;
        let step = if self.region == ebs.region { "create_image".to_owned() } else { format!("copy:{}", self.region) };
        let image: create_image::Output = context.output(&step)?;
        // Both calls set what may be set already, so a lost answer is asked for again.
        let lost =
            |error: &CloudError| matches!(error.class, CloudErrorClass::UnknownOutcome | CloudErrorClass::NotFound);
        if !ebs.ami_users.is_empty() {
            context
                .log
                .say(&format!("Sharing {} in {} with {}", image.image_id, self.region, ebs.ami_users.join(", ")))
                .await;
            let accounts = Grantee::accounts(&ebs.ami_users);
            retry::passing(context, lost, || context.cloud.share_image(&self.region, &image.image_id, &accounts))
                .await??;
        }
        if ebs.imds_support.is_some() {
            context.log.say(&format!("Requiring IMDSv2 of instances of {} in {}", image.image_id, self.region)).await;
            retry::passing(context, lost, || context.cloud.require_imds_v2(&self.region, &image.image_id)).await??;
        }
        Ok(Output {})
    }
}
