//! Stops the instance before its image is made, so that its file systems are at rest.

use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::cloud::{CloudErrorClass, InstanceState};
use crate::domain::failure::Failure;
use crate::engine::step::{Step, StepContext, StepResult};

use super::wait_limit::WaitLimit;
use super::{launch, machine_watch, retry, wait_running};

/// Without `aws_polling`. A guest that does not stop is forced by EC2 after some minutes.
const LIMIT: Duration = Duration::from_secs(1800);

#[derive(Debug, Serialize, Deserialize)]
pub struct Intent {}

#[derive(Debug, Serialize, Deserialize)]
pub struct Output {}

pub struct Stop;

#[async_trait]
impl Step for Stop {
    type Intent = Intent;
    type Output = Output;

    fn intent(&self, _context: &StepContext) -> Result<Intent, Failure> {
        Ok(Intent {})
    }

    async fn act(&self, context: &StepContext, _intent: &Intent) -> StepResult<Output> {
        let launched: launch::Output = context.output("launch")?;
        context.session.close().await;
        context.log.say("Stopping the source instance…").await;
        // Stopping a stopped instance is no error, so a lost answer is simply asked for again.
        let lost = |error: &crate::cloud::CloudError| error.class == CloudErrorClass::UnknownOutcome;
        let region = &context.ebs()?.region;
        let stop = || context.cloud.stop_instance(region, &launched.instance_id);
        match retry::passing(context, lost, stop).await? {
            Ok(()) => Ok(Output {}),
            // EC2 only says that a machine which ends at this moment is in no state to be stopped.
            Err(error) => Err(machine_watch::explained(context, error.into()).await),
        }
    }
}

pub struct WaitStopped;

#[async_trait]
impl Step for WaitStopped {
    type Intent = Intent;
    type Output = Output;

    fn intent(&self, _context: &StepContext) -> Result<Intent, Failure> {
        Ok(Intent {})
    }

    async fn act(&self, context: &StepContext, _intent: &Intent) -> StepResult<Output> {
        let launched: launch::Output = context.output("launch")?;
        context.log.say("Waiting for the instance to stop…").await;
        wait_running::wait_for(context, &launched.instance_id, InstanceState::Stopped, WaitLimit::of(context, LIMIT)?)
            .await?;
        Ok(Output {})
    }
}
