//! One provisioner of the template, run on the machine.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use crate::communicator::DownloadLimits;
use crate::domain::failure::Failure;
use crate::domain::image::RunFile;
use crate::engine::session::Machine;
use crate::engine::step::{Step, StepContext, StepError, StepResult};
use crate::provisioner::{self, ProvisionContext, ProvisionError, ProvisionOutcome};
use crate::template::legacy;

use super::{connect, image_tags, machine_watch};

/// What the downloads of one provisioner may bring.
const DOWNLOAD_LIMITS: DownloadLimits = DownloadLimits { bytes: 64 * 1024 * 1024, files: 10_000 };

pub struct Provision {
    pub index: usize,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct Intent {}

#[derive(Debug, Serialize, Deserialize)]
pub struct Output {
    /// Names of the run files that were fetched.
    files: Vec<String>,
}

#[async_trait]
impl Step for Provision {
    type Intent = Intent;
    type Output = Output;

    fn intent(&self, _context: &StepContext) -> Result<Intent, Failure> {
        Ok(Intent {})
    }

    async fn act(&self, context: &StepContext, _intent: &Intent) -> StepResult<Output> {
        let work = async {
            let machine = connect::machine(context).await?;
            self.run(context, &machine).await
        };
        let outcome = machine_watch::while_there(context, work).await?;
        let mut files = Vec::new();
        for file in outcome.files {
            let file = RunFile { name: file.name, bytes: file.bytes };
            context.records.store_file(&file).await?;
            files.push(file.name);
        }
        Ok(Output { files })
    }
}

impl Provision {
    async fn run(&self, context: &StepContext, machine: &Machine) -> StepResult<ProvisionOutcome> {
        let config = context.config()?;
        let block = config.provisioners.get(self.index).ok_or_else(|| {
            Failure::ours("plan-order", format!("the configuration has no provisioner {}", self.index + 1))
        })?;
        let late = image_tags::late_data(context)?;
        let render = move |text: &str, fields: &std::collections::BTreeMap<String, String>| {
            let mut data = late.clone();
            data.fields.extend(fields.clone());
            legacy::render_late(text, &data)
        };
        // Provisioners speak from code that can't wait; what they say is passed on beside them, in order.
        let (sender, mut spoken) = mpsc::unbounded_channel::<String>();
        let say = move |text: &str| {
            let _ = sender.send(text.to_owned());
        };
        let stop = context.cancel.child_token();
        let ssh = &context.ebs()?.communicator;
        let provisioning = async {
            let say = say;
            let provision = ProvisionContext {
                communicator: &*machine.communicator,
                reconnect: &*machine.reconnect,
                bundle: &context.bundle,
                render: &render,
                output: &context.log,
                say: &say,
                cancel: &stop,
                build_name: &config.name,
                builder_type: config.builder.builder_type(),
                script_id: script_id(context, self.index),
                username: &ssh.username,
                pty: ssh.pty,
                download_limits: DOWNLOAD_LIMITS,
            };
            tokio::select! {
                outcome = provisioner::run_block(block, &provision) => Some(outcome),
                () = context.lease.lost().cancelled() => None,
            }
        };
        let telling = async {
            while let Some(text) = spoken.recv().await {
                context.log.say(&text).await;
            }
        };
        let (outcome, ()) = tokio::join!(provisioning, telling);
        match outcome {
            None => Err(StepError::LeaseLost),
            Some(Ok(outcome)) => Ok(outcome),
            Some(Err(error)) if error.is_cancelled() && context.cancel.is_cancelled() => Err(StepError::Interrupted),
            Some(Err(error)) => Err(StepError::Failed(self.failure(block.config.provisioner_type(), &error))),
        }
    }

    fn failure(&self, kind: &str, error: &ProvisionError) -> Failure {
        let message = format!("Provisioner {} ({kind}): {error}", self.index + 1);
        match error {
            ProvisionError::Disconnected | ProvisionError::Communicator(_) => {
                Failure::cloud(machine_watch::CONNECTION, message).with_advice(
                    "A script that restarts the machine needs expect_disconnect = true in its provisioner. Otherwise look at the network between this server and the machine, and start the run again.",
                )
            }
            ProvisionError::TimedOut { .. } => Failure::user("provisioner-timeout", message)
                .with_advice("Raise the provisioner's timeout, or look in the log for where its script hangs."),
            _ => Failure::user("provisioner-failed", message).with_advice("The log has the script's output."),
        }
    }
}

/// Tells this block's files on the machine from those of other blocks and attempts.
fn script_id(context: &StepContext, index: usize) -> u64 {
    let token = super::names::client_token(context, &index.to_string());
    u64::from_str_radix(&token[..12], 16).unwrap_or(index as u64)
}
