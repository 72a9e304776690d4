//! Waits until the instance runs.

use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::cloud::{Instance, InstanceState};
use crate::domain::failure::Failure;
use crate::engine::step::{Step, StepContext, StepError, StepResult};

use super::retry::Patience;
use super::wait_limit::WaitLimit;
use super::{launch, machine_watch};

/// Without `aws_polling`. EC2 starts an instance within a minute or two, or says why not.
const LIMIT: Duration = Duration::from_secs(600);

pub struct WaitRunning;

#[derive(Debug, Serialize, Deserialize)]
pub struct Intent {}

/// The instance's addresses.
#[derive(Debug, Serialize, Deserialize)]
pub struct Output {
    pub instance_id: String,
    pub public_ip: Option<String>,
    pub private_ip: Option<String>,
    pub public_dns: Option<String>,
    pub private_dns: Option<String>,
    pub ipv6: Option<String>,
}

#[async_trait]
impl Step for WaitRunning {
    type Intent = Intent;
    type Output = Output;

    fn intent(&self, _context: &StepContext) -> Result<Intent, Failure> {
        Ok(Intent {})
    }

    async fn act(&self, context: &StepContext, _intent: &Intent) -> StepResult<Output> {
        let launched: launch::Output = context.output("launch")?;
        context.log.say(&format!("Waiting for instance {} to become ready…", launched.instance_id)).await;
        let instance =
            wait_for(context, &launched.instance_id, InstanceState::Running, WaitLimit::of(context, LIMIT)?).await?;
        Ok(Output {
            instance_id: instance.id,
            public_ip: instance.public_ip,
            private_ip: instance.private_ip,
            public_dns: instance.public_dns,
            private_dns: instance.private_dns,
            ipv6: instance.ipv6,
        })
    }
}

/// Waits until the build's instance is in a state.
///
/// # Errors
/// When it ends in `terminated` instead, with its `StateReason`; when the time is over.
pub async fn wait_for(
    context: &StepContext,
    id: &str,
    wanted: InstanceState,
    limit: WaitLimit,
) -> StepResult<Instance> {
    let region = &context.ebs()?.region;
    let mut watch = context.watcher.instance(&context.facts.account, region, id);
    let mut patience = Patience::default();
    loop {
        let next = tokio::time::timeout_at(limit.until, watch.next());
        let Ok(observation) = context.waiting(next).await? else {
            let wanted = format!("{wanted:?}").to_lowercase();
            return Err(limit.passed("instance-wait-timeout", &format!("Instance {id} was not {wanted}")).into());
        };
        let observation = observation.map_err(|_| StepError::Interrupted)?;
        patience.note(observation.error.as_ref())?;
        if observation.error.is_some() {
            continue;
        }
        // Not there yet is usual right after the launch.
        let Some(instance) = observation.seen else { continue };
        if instance.state == wanted {
            return Ok(instance);
        }
        // On the way to `stopped` it is stopping, which is no failure.
        if let Some(failure) = machine_watch::failure_of(&instance, wanted == InstanceState::Stopped) {
            return Err(StepError::Failed(failure));
        }
    }
}
