//! Watching the machine while something is done on it: when EC2 ends or stops it, the step fails at once and says why,
//! instead of waiting for SSH's time limits. A reboot inside the machine is none of this: EC2 calls it running all along.

use std::time::Duration;

use crate::cloud::{Instance, InstanceState};
use crate::domain::failure::{Failure, FailureClass};
use crate::engine::step::{StepContext, StepError, StepResult};
use crate::engine::watcher::Watch;

use super::launch;

/// Codes of failures that a dying machine causes.
pub const CONNECTION: &str = "provisioner-connection";
pub const SSH_LOST: &str = "ssh-lost";

/// A machine that is shut down from inside ends its connections first; EC2 notices some seconds later.
const SOON_AFTER_LOSS: Duration = Duration::from_secs(15);
/// After any other failure one look is enough.
const ONE_LOOK: Duration = Duration::from_secs(3);

/// Does `work` on the build's machine, as long as there is one.
///
/// # Errors
/// `instance-terminated` or `instance-stopped` when the machine ended, else those of `work`.
pub async fn while_there<T>(context: &StepContext, work: impl Future<Output = StepResult<T>>) -> StepResult<T> {
    // A host that was there before is not EC2's to tell about.
    let Some(launched) = context.output_if_any::<launch::Output>("launch")? else { return work.await };
    let ebs = context.ebs()?;
    let mut machine = Machine {
        watch: context.watcher.instance(&context.facts.account, &ebs.region, &launched.instance_id),
        // The guest stops itself before its image is made.
        may_stop: ebs.disable_stop_instance,
    };
    let result = tokio::select! {
        biased;
        result = work => result,
        ended = machine.ended() => return Err(StepError::Failed(ended)),
    };
    match result {
        Err(StepError::Failed(failure)) => {
            let lost = matches!(failure.code.as_str(), CONNECTION | SSH_LOST);
            let ended = tokio::time::timeout(if lost { SOON_AFTER_LOSS } else { ONE_LOOK }, async {
                if lost { Some(machine.ended().await) } else { machine.look().await }
            });
            // When the look is cut short, the failure there is must not be forgotten.
            let ended = context.waiting(ended).await.ok().and_then(Result::ok).flatten();
            Err(StepError::Failed(ended.unwrap_or(failure)))
        }
        other => other,
    }
}

/// What a call about the machine was refused with, or that the machine has ended, if that is why.
pub async fn explained(context: &StepContext, error: StepError) -> StepError {
    let StepError::Failed(failure) = error else { return error };
    let (Ok(launched), Ok(ebs)) = (context.output::<launch::Output>("launch"), context.ebs()) else {
        return StepError::Failed(failure);
    };
    let watch = context.watcher.instance(&context.facts.account, &ebs.region, &launched.instance_id);
    let mut machine = Machine { watch, may_stop: true };
    let ended = context.waiting(tokio::time::timeout(ONE_LOOK, machine.look())).await;
    StepError::Failed(ended.ok().and_then(Result::ok).flatten().unwrap_or(failure))
}

struct Machine {
    watch: Watch<Instance>,
    may_stop: bool,
}

impl Machine {
    async fn ended(&mut self) -> Failure {
        loop {
            if let Some(failure) = self.look().await {
                return failure;
            }
        }
    }

    /// Looks once.
    async fn look(&mut self) -> Option<Failure> {
        match self.watch.next().await {
            Ok(observation) => failure_of(&observation.seen?, self.may_stop),
            // The server is stopping, which ends the work in other ways.
            Err(_) => std::future::pending().await,
        }
    }
}

/// Why nothing can be done on a machine any more; `None` while it can.
#[must_use]
pub fn failure_of(instance: &Instance, may_stop: bool) -> Option<Failure> {
    let (code, state) = match instance.state {
        InstanceState::ShuttingDown | InstanceState::Terminated => ("instance-terminated", "terminated"),
        InstanceState::Stopping | InstanceState::Stopped if !may_stop => ("instance-stopped", "stopped"),
        _ => return None,
    };
    let reason = instance.state_reason.as_deref().unwrap_or("EC2 gives no reason");
    let message = format!("Instance {} was {state}: {reason}", instance.id);
    if instance.was_interrupted() {
        let advice = "EC2 took the spot instance back. Start the run again, name more types in spot_instance_types or more subnets, or build without spot_price.";
        return Some(Failure::new(FailureClass::Capacity, "spot-interrupted", message).with_advice(advice));
    }
    let (class, advice) = class_and_advice(reason);
    Some(Failure::new(class, code, message).with_advice(advice))
}

/// By EC2's code of the reason (`docs.aws.amazon.com/AWSEC2/latest/APIReference/API_StateReason.html`).
fn class_and_advice(reason: &str) -> (FailureClass, &'static str) {
    // A launch whose encrypted volume can't be made ends as "Client.InternalError".
    if reason.contains("KMS") || reason.starts_with("Client.InternalError") {
        let advice = "The machine's encrypted volumes could not be made: check that the KMS key is enabled, and that its policy and the account's build role allow kms:CreateGrant, kms:Decrypt, kms:DescribeKey and kms:GenerateDataKeyWithoutPlaintext.";
        return (FailureClass::Cloud, advice);
    }
    if reason.contains("InsufficientInstanceCapacity") {
        let advice = "Try another instance type, subnet or availability zone, or start the run again later.";
        return (FailureClass::Capacity, advice);
    }
    if reason.contains("VolumeLimitExceeded") {
        return (
            FailureClass::Capacity,
            "Ask AWS to raise the account's quota for volumes, or remove volumes that are not needed.",
        );
    }
    if reason.contains("UserInitiated") {
        let advice = "Somebody or something else in the account ended it; CloudTrail tells who called TerminateInstances or StopInstances. Then start the run again.";
        return (FailureClass::Cloud, advice);
    }
    if reason.contains("InstanceInitiatedShutdown") {
        let advice = "The machine shut itself down: look for shutdown, poweroff or halt in the provisioners. A script that restarts the machine uses reboot, with expect_disconnect = true.";
        return (FailureClass::User, advice);
    }
    (FailureClass::Cloud, "Start the run again; if it happens again, ask AWS about this instance.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_have_their_class() {
        for (reason, class, word) in [
            ("Client.InvalidKMSKey.InvalidState: The KMS key is disabled", FailureClass::Cloud, "kms:CreateGrant"),
            ("Client.InternalError: Client error on launch", FailureClass::Cloud, "kms:CreateGrant"),
            ("Server.InsufficientInstanceCapacity: none", FailureClass::Capacity, "instance type"),
            ("Client.VolumeLimitExceeded: Volume limit exceeded", FailureClass::Capacity, "quota"),
            ("Client.UserInitiatedShutdown: User initiated shutdown", FailureClass::Cloud, "CloudTrail"),
            ("Client.InstanceInitiatedShutdown: Instance initiated shutdown", FailureClass::User, "expect_disconnect"),
            ("Server.InternalError: Internal error on launch", FailureClass::Cloud, "again"),
        ] {
            let (found, advice) = class_and_advice(reason);
            assert!(found == class && advice.contains(word), "{reason}: {found:?} {advice}");
        }
    }
}
