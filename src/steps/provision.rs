//! One provisioner of the template, run on the build's machine, or on the server's own where it is a `shell-local`.

use std::fmt;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use crate::communicator::DownloadLimits;
use crate::domain::config::provisioner::{ProvisionerBlock, ProvisionerConfig};
use crate::domain::failure::Failure;
use crate::domain::image::RunFile;
use crate::domain::policy;
use crate::engine::session::Machine;
use crate::engine::step::{Step, StepContext, StepError, StepResult};
use crate::provisioner::{self, MachineAccess, ProvisionContext, ProvisionError, ProvisionOutcome};
use crate::template::legacy;

use super::{connect, image_tags, machine_watch};

/// What the downloads of one provisioner may bring.
const DOWNLOAD_LIMITS: DownloadLimits = DownloadLimits { bytes: 64 * 1024 * 1024, files: 10_000 };

/// One of the template's provisioners.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Provision {
    /// By its place in the configuration, from 0.
    Number(usize),
    /// The `error-cleanup-provisioner`.
    ErrorCleanup,
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

    /// A server that has taken over connects again first.
    async fn prepare(&self, context: &StepContext) -> StepResult<()> {
        if !self.block(context)?.config.needs_machine() {
            return Ok(());
        }
        machine_watch::while_there(context, connect::machine(context)).await.map(drop)
    }

    async fn act(&self, context: &StepContext, _intent: &Intent) -> StepResult<Output> {
        let block = self.block(context)?;
        if matches!(block.config, ProvisionerConfig::ShellLocal(_)) && !context.shell_local {
            return Err(self.not_allowed().into());
        }
        let work = async {
            let machine = if block.config.needs_machine() { Some(connect::machine(context).await?) } else { None };
            self.run(context, block, machine.as_ref()).await
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
    fn block<'c>(&self, context: &'c StepContext) -> Result<&'c ProvisionerBlock, Failure> {
        let config = context.config()?;
        let block = match self {
            Self::Number(index) => config.provisioners.get(*index),
            Self::ErrorCleanup => config.error_cleanup.as_deref(),
        };
        block.ok_or_else(|| Failure::ours("plan-order", format!("the configuration has no such provisioner: {self}")))
    }

    async fn run(
        &self,
        context: &StepContext,
        block: &ProvisionerBlock,
        machine: Option<&Machine>,
    ) -> StepResult<ProvisionOutcome> {
        let config = context.config()?;
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
        let run_id = context.facts.run.to_string();
        let pty = config.builder.communicator().is_some_and(|ssh| ssh.pty);
        let provisioning = async {
            let say = say;
            let provision = ProvisionContext {
                machine: machine.map(|machine| MachineAccess {
                    communicator: &*machine.communicator,
                    reconnect: &*machine.reconnect,
                    pty,
                }),
                bundle: &context.bundle,
                render: &render,
                output: &context.log,
                say: &say,
                cancel: &stop,
                run_id: &run_id,
                build_name: &config.name,
                builder_type: config.builder.builder_type(),
                script_id: script_id(context, *self),
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

    /// The server that accepted the run allows it, this one does not.
    fn not_allowed(&self) -> Failure {
        Failure::user("shell-local-not-allowed", format!("{self}: {}.", policy::SHELL_LOCAL))
            .with_advice(policy::SHELL_LOCAL_DETAIL)
    }

    fn failure(&self, kind: &str, error: &ProvisionError) -> Failure {
        let message = format!("{self} ({kind}): {error}");
        match error {
            ProvisionError::Disconnected | ProvisionError::Communicator(_) => {
                Failure::cloud(machine_watch::CONNECTION, message).with_advice(
                    "A script that restarts the machine needs expect_disconnect = true in its provisioner. Otherwise look at the network between this server and the machine, and start the run again.",
                )
            }
            ProvisionError::Server(_) => Failure::ours("provisioner-server", message)
                .with_advice("Look at the disk and the temporary directory (TMPDIR) of the server that had the build."),
            ProvisionError::TimedOut { .. } => Failure::user("provisioner-timeout", message)
                .with_advice("Raise the provisioner's timeout, or look in the log for where its script hangs."),
            ProvisionError::Render { .. } => Failure::user(image_tags::LATE_TEMPLATE, message)
                .with_advice("Look at this text of the template: what it asks of the build is not there, or does not fit."),
            _ => Failure::user("provisioner-failed", message).with_advice("The log has the script's output."),
        }
    }
}

/// Tells this block's files on the machine from those of other blocks and attempts.
fn script_id(context: &StepContext, which: Provision) -> u64 {
    let token = super::names::client_token(context, &which.to_string());
    // A token is hexadecimal.
    u64::from_str_radix(&token[..12], 16).unwrap_or_default()
}

impl fmt::Display for Provision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(index) => write!(f, "Provisioner {}", index + 1),
            Self::ErrorCleanup => f.write_str("The error-cleanup-provisioner"),
        }
    }
}
