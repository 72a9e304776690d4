//! Waits until the instance runs.

use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::cloud::{CloudErrorClass, Instance, InstanceState};
use crate::domain::failure::{Failure, FailureClass};
use crate::engine::failures;
use crate::engine::step::{Step, StepContext, StepError, StepResult};

use super::launch;

/// EC2 starts an instance within a minute or two, or says why not.
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
        let instance = wait_for(context, &launched.instance_id, InstanceState::Running, LIMIT).await?;
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
pub async fn wait_for(context: &StepContext, id: &str, wanted: InstanceState, limit: Duration) -> StepResult<Instance> {
    let region = &context.ebs()?.region;
    let mut watch = context.watcher.instance(&context.facts.account, region, id);
    let deadline = tokio::time::Instant::now() + limit;
    loop {
        let next = tokio::time::timeout_at(deadline, watch.next());
        let Ok(observation) = context.waiting(next).await? else {
            return Err(Failure::cloud(
                "instance-wait-timeout",
                format!("Instance {id} did not reach {wanted:?} within {} seconds.", limit.as_secs()),
            )
            .into());
        };
        let observation = observation.map_err(|_| StepError::Interrupted)?;
        if let Some(error) = observation.error {
            if error.class == CloudErrorClass::Unauthorized {
                return Err(failures::from_cloud(&error));
            }
            continue;
        }
        // Not there yet is usual right after the launch.
        let Some(instance) = observation.seen else { continue };
        if instance.state == wanted {
            return Ok(instance);
        }
        if matches!(instance.state, InstanceState::Terminated | InstanceState::ShuttingDown) {
            return Err(StepError::Failed(ended(id, instance.state_reason.as_deref())));
        }
        if wanted == InstanceState::Running
            && matches!(instance.state, InstanceState::Stopped | InstanceState::Stopping)
        {
            return Err(StepError::Failed(Failure::cloud(
                "instance-stopped",
                format!("Instance {id} stopped instead of running."),
            )));
        }
    }
}

fn ended(id: &str, reason: Option<&str>) -> Failure {
    let reason = reason.unwrap_or("no reason given");
    let class =
        if reason.contains("InsufficientInstanceCapacity") { FailureClass::Capacity } else { FailureClass::Cloud };
    let failure =
        Failure::new(class, "instance-terminated", format!("Instance {id} ended in state terminated: {reason}"));
    if reason.contains("KMS") {
        return failure.with_advice(
            "The launch could not use the KMS key: check that it is enabled and that the build role may use it.",
        );
    }
    failure
}
