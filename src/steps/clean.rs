//! Takes out of the machine what must not be in its image: the temporary key, the machine's identity, host keys,
//! cloud-init's state, shell histories, temporary files. The last step that needs SSH.

use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::communicator::{Command, ExitStatus};
use crate::domain::failure::Failure;
use crate::engine::step::{Step, StepContext, StepError, StepResult};
use crate::provisioner::clean;

use super::{connect, key_pair, machine_watch};

const LIMIT: Duration = Duration::from_secs(300);

pub struct Clean;

#[derive(Debug, Serialize, Deserialize)]
pub struct Intent {}

#[derive(Debug, Serialize, Deserialize)]
pub struct Output {}

#[async_trait]
impl Step for Clean {
    type Intent = Intent;
    type Output = Output;

    fn intent(&self, _context: &StepContext) -> Result<Intent, Failure> {
        Ok(Intent {})
    }

    /// A server that has taken over connects again first.
    async fn prepare(&self, context: &StepContext) -> StepResult<()> {
        machine_watch::while_there(context, connect::machine(context)).await.map(drop)
    }

    async fn act(&self, context: &StepContext, _intent: &Intent) -> StepResult<Output> {
        machine_watch::while_there(context, clean_machine(context)).await
    }
}

async fn clean_machine(context: &StepContext) -> StepResult<Output> {
    let machine = connect::machine(context).await?;
    // A key of the template's own is no leftover of the build.
    let key: Option<key_pair::Output> = context.output_if_any("key_pair")?;
    let (ebs, key) = (context.ebs()?, key.map(|key| key.public_key));
    let commands = if ebs.clean_image {
        context.log.say("Cleaning the machine before its image is made…").await;
        clean::clean_commands(&ebs.communicator.username, key.as_deref())
    } else {
        context.log.say("Removing the temporary key from authorized_keys…").await;
        clean::remove_key_commands(&ebs.communicator.username, key.as_deref())
    };
    let command = Command::new(commands).with_timeout(LIMIT);
    match machine.communicator.run(&command, &context.log, &context.cancel).await {
            Ok(status) if status.success() => Ok(Output {}),
            Ok(ExitStatus::Disconnected) => Err(StepError::Failed(
                Failure::cloud(machine_watch::CONNECTION, "The connection was lost while the machine was cleaned.")
                    .with_advice("Start the run again; if it happens again, look at the network between this server and the machine."),
            )),
            Ok(status) => Err(StepError::Failed(
                Failure::user("clean-failed", format!("Cleaning the machine ended with {status}."))
                    .with_advice("The user needs sudo without a password for it; or start the run with clean_image: false and clean up in a provisioner."),
            )),
            Err(_) if context.cancel.is_cancelled() => Err(StepError::Interrupted),
            Err(error) => Err(StepError::Failed(Failure::cloud("clean-failed", format!("Cleaning the machine failed: {error}")))),
        }
}
