//! Sets attributes that an AMI inherits from the instance it is made of.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::cloud::{CloudError, CloudErrorClass};
use crate::domain::failure::Failure;
use crate::engine::step::{Step, StepContext, StepResult};

use super::{launch, retry};

pub struct ModifyInstance;

#[derive(Debug, Serialize, Deserialize)]
pub struct Intent {}

#[derive(Debug, Serialize, Deserialize)]
pub struct Output {}

#[async_trait]
impl Step for ModifyInstance {
    type Intent = Intent;
    type Output = Output;

    fn intent(&self, _context: &StepContext) -> Result<Intent, Failure> {
        Ok(Intent {})
    }

    async fn act(&self, context: &StepContext, _intent: &Intent) -> StepResult<Output> {
        let ebs = context.ebs()?;
        let launched: launch::Output = context.output("launch")?;
        // The stop is seen a moment before every part of EC2 knows of it.
        let again = |error: &CloudError| matches!(error.class, CloudErrorClass::UnknownOutcome | CloudErrorClass::Busy);
        if ebs.sriov_support {
            context.log.say("Enabling enhanced networking (SR-IOV)…").await;
            let set = || context.cloud.set_sriov_support(&ebs.region, &launched.instance_id);
            retry::passing(context, again, set).await??;
        }
        if let Some(enabled) = ebs.ena_support {
            context
                .log
                .say(&format!("{} enhanced networking (ENA)…", if enabled { "Enabling" } else { "Disabling" }))
                .await;
            retry::passing(context, again, || {
                context.cloud.set_ena_support(&ebs.region, &launched.instance_id, enabled)
            })
            .await??;
        }
        Ok(Output {})
    }
}
