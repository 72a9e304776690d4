//! Has EC2 keep instances of a Windows image half started (`fast_launch`) in one region.

use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::cloud::{CloudError, CloudErrorClass, FastLaunchState, NewFastLaunch};
use crate::domain::failure::Failure;
use crate::engine::step::{Made, Step, StepContext, StepResult};

use super::wait_limit::WaitLimit;
use super::{create_image, retry};

/// Without `aws_polling`. EC2 launches instances and makes snapshots of them first.
const LIMIT: Duration = Duration::from_hours(2);
const BETWEEN_LOOKS: Duration = Duration::from_secs(15);

pub struct FastLaunch {
    pub region: String,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct Intent {
    image_id: String,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub struct Output {}

#[async_trait]
impl Step for FastLaunch {
    type Intent = Intent;
    type Output = Output;

    fn intent(&self, context: &StepContext) -> Result<Intent, Failure> {
        let own = self.region == context.ebs()?.region;
        let image =
            if own { create_image::made(context)? } else { context.output(&format!("copy:{}", self.region))? };
        Ok(Intent { image_id: image.image_id })
    }

    async fn act(&self, context: &StepContext, intent: &Intent) -> StepResult<Output> {
        let (ebs, id, region) = (context.ebs()?, intent.image_id.as_str(), self.region.as_str());
        let options = ebs.fast_launch.clone().unwrap_or_default();
        let of_region = options.regions.get(region).cloned().flatten();
        let template = of_region.or_else(|| options.template.clone().filter(|_| region == ebs.region));
        let request = NewFastLaunch {
            image_id: id.to_owned(),
            template: template.filter(|template| template.id.is_some() || template.name.is_some()),
            max_parallel_launches: options.max_parallel_launches,
            target_resource_count: options.target_resource_count,
        };
        context.log.say(&format!("Enabling fast launch of {id} in {region}…")).await;
        let again =
            |error: &CloudError| matches!(error.class, CloudErrorClass::UnknownOutcome | CloudErrorClass::NotFound);
        retry::passing(context, again, || context.cloud.enable_fast_launch(region, &request)).await??;
        let limit = WaitLimit::of(context, LIMIT)?;
        loop {
            let status = retry::call(context, || context.cloud.fast_launch(region, id)).await?;
            match status.as_ref().map(|status| status.state) {
                Some(FastLaunchState::Enabled) => return Ok(Output {}),
                Some(FastLaunchState::Failed | FastLaunchState::Disabling) => {
                    let reason =
                        status.and_then(|status| status.reason).unwrap_or_else(|| "no reason given".to_owned());
                    let message = format!("Fast launch of {id} in {region} could not be enabled: {reason}");
                    return Err(Failure::cloud("fast-launch-failed", message).into());
                }
                Some(FastLaunchState::Enabling) | None => {}
            }
            if tokio::time::Instant::now() >= limit.until {
                return Err(limit
                    .passed("fast-launch-timeout", &format!("Fast launch of {id} was not enabled"))
                    .into());
            }
            context.pause(BETWEEN_LOOKS).await?;
        }
    }

    async fn undo(
        &self,
        context: &StepContext,
        intent: &Intent,
        _made: Made<Output>,
        _found: &[String],
    ) -> StepResult<Vec<String>> {
        let (id, region) = (intent.image_id.as_str(), self.region.as_str());
        if retry::call(context, || context.cloud.fast_launch(region, id)).await?.is_none() {
            return Ok(Vec::new());
        }
        let again = |error: &CloudError| error.class == CloudErrorClass::UnknownOutcome;
        match retry::passing(context, again, || context.cloud.disable_fast_launch(region, id)).await? {
            // It is off already.
            Err(error) if !matches!(error.class, CloudErrorClass::Invalid | CloudErrorClass::NotFound) => {
                Err(error.into())
            }
            _ => {
                context.log.say(&format!("Disabled fast launch of {id} in {region}")).await;
                Ok(vec![id.to_owned()])
            }
        }
    }
}
