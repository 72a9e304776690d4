//! The `shell` provisioner with Packer's options, defaults and messages
//! (<https://developer.hashicorp.com/packer/docs/provisioners/shell>). Packer makes about four SSH sessions for each script;
//! here a script costs an upload, a command and a removal on the one connection that is there already.

mod script;

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::Instant;

use super::{MachineAccess, ProvisionContext, ProvisionError, ProvisionOutcome, Provisioner, environment, exit_code};
use crate::communicator::{Command, CommunicatorError, ExitStatus, OutputSink, OutputStream, shell_quote};
use crate::domain::config::provisioner::Shell;
use script::Script;

/// Packer's own exit code for "the connection ended"; templates list it in `valid_exit_codes`.
const DISCONNECT_CODE: i32 = 2_300_218;
/// For coming back after an expected disconnect when `start_retry_timeout` is zero: Packer's default of that option.
const DEFAULT_RETRY_LIMIT: Duration = Duration::from_mins(5);
/// Between two looks at a machine that is going down or coming up.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);
const LOOK_LIMIT: Duration = Duration::from_secs(10);
/// `stopping` while a reboot is under way; nothing on machines without systemd.
const LOOK_COMMAND: &str = "systemctl is-system-running 2>/dev/null || true";

#[async_trait]
impl Provisioner for Shell {
    fn kind(&self) -> &'static str {
        "shell"
    }

    async fn provision(&self, context: &ProvisionContext<'_>) -> Result<ProvisionOutcome, ProvisionError> {
        let job = Job::new(self, context)?;
        for script in script::scripts(self, context)? {
            (context.say)(&format!("Provisioning with shell script: {}", script.label));
            let result = job.run(&script).await;
            let cleaned = if self.skip_clean { Ok(()) } else { job.clean(&result).await };
            result.and(cleaned)?;
        }
        if !self.pause_after.is_zero() {
            (context.say)(&format!("Pausing {:?} after this provisioner...", self.pause_after));
            context.pause(self.pause_after).await?;
        }
        Ok(ProvisionOutcome::default())
    }
}

/// A shell block with everything rendered that is the same for all its scripts.
struct Job<'a> {
    shell: &'a Shell,
    context: &'a ProvisionContext<'a>,
    machine: MachineAccess<'a>,
    remote_path: String,
    /// Path and content.
    variable_file: Option<(String, String)>,
    command: Command,
}

impl<'a> Job<'a> {
    fn new(shell: &'a Shell, context: &'a ProvisionContext<'a>) -> Result<Self, ProvisionError> {
        let remote_path = shell.remote_path.clone().unwrap_or_else(|| {
            let file = shell.remote_file.clone().unwrap_or_else(|| format!("script_{}.sh", context.script_id));
            format!("{}/{file}", shell.remote_folder)
        });
        let default_format = if shell.use_env_var_file { "export %s='%s'\n" } else { "%s='%s' " };
        let format = shell.env_var_format.as_deref().unwrap_or(default_format);
        let variables = environment::variables(&shell.environment_vars, &shell.env, context)?;
        let variables = environment::formatted(&variables, format)?;
        let variable_file = shell.use_env_var_file.then(|| {
            let path = format!("{}/varfile_{}.sh", shell.remote_folder, context.script_id);
            (path, variables.clone())
        });
        let template = match (&shell.execute_command, shell.use_env_var_file) {
            (Some(command), _) => command.0.as_str(),
            (None, false) => "chmod +x {{.Path}}; {{.Vars}} {{.Path}}",
            (None, true) => "chmod +x {{.Path}}; . {{.EnvVarFile}} && {{.Path}}",
        };
        let fields = BTreeMap::from([
            ("Path".to_owned(), remote_path.clone()),
            ("Vars".to_owned(), variables),
            ("EnvVarFile".to_owned(), variable_file.as_ref().map(|(path, _)| path.clone()).unwrap_or_default()),
        ]);
        let text = context.render("execute_command", template, &fields)?;
        let machine = context.machine()?;
        let command = Command { pty: machine.pty, ..Command::new(text) };
        Ok(Self { shell, context, machine, remote_path, variable_file, command })
    }

    /// Uploads and runs one script and judges how it ended.
    async fn run(&self, script: &Script) -> Result<(), ProvisionError> {
        let status = self.start(script).await?;
        let gone = match &status {
            ExitStatus::Disconnected => true,
            // systemd ends sessions with these before it ends sshd.
            ExitStatus::Signal { name, .. } => {
                self.shell.expect_disconnect && matches!(name.as_str(), "TERM" | "HUP" | "KILL")
            }
            ExitStatus::Code(_) => false,
        };
        if gone {
            if !self.shell.expect_disconnect && !self.shell.valid_exit_codes.contains(&DISCONNECT_CODE) {
                return Err(ProvisionError::Disconnected);
            }
            return self.wait_for_machine().await;
        }
        exit_code::check(&status, &self.shell.valid_exit_codes)?;
        // `reboot` returns before the connection ends; the next command must not run on the way down.
        if self.shell.expect_disconnect { self.wait_for_machine().await } else { Ok(()) }
    }

    /// Uploads and starts the script, again after a new connection when the old one turns out to be gone, for up to
    /// `start_retry_timeout`. Once the script may have started it is never repeated.
    async fn start(&self, script: &Script) -> Result<ExitStatus, ProvisionError> {
        let deadline = Instant::now() + self.shell.start_retry_timeout;
        loop {
            let lost = match self.upload_and_run(script).await {
                Err(error) if error.is_connection_loss() => error,
                other => return Ok(other?),
            };
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(lost.into());
            }
            (self.context.say)(&format!("{lost}; connecting again"));
            self.machine.reconnect.reconnect(left, self.context.cancel).await?;
            self.context.pause(LOOK_INTERVAL).await?;
        }
    }

    async fn upload_and_run(&self, script: &Script) -> Result<ExitStatus, CommunicatorError> {
        let (communicator, ProvisionContext { cancel, output, .. }) = (self.machine.communicator, *self.context);
        if let Some((path, content)) = &self.variable_file {
            communicator.upload(path, content.as_bytes(), 0o600, cancel).await?;
        }
        communicator.upload(&self.remote_path, &script.bytes, 0o755, cancel).await?;
        communicator.run(&self.command, output, cancel).await
    }

    /// Waits until the machine answers and is not about to go down.
    async fn wait_for_machine(&self) -> Result<(), ProvisionError> {
        let MachineAccess { communicator, reconnect, .. } = self.machine;
        let cancel = self.context.cancel;
        let limit =
            Some(self.shell.start_retry_timeout).filter(|limit| !limit.is_zero()).unwrap_or(DEFAULT_RETRY_LIMIT);
        let deadline = Instant::now() + limit;
        let mut told = false;
        loop {
            let said = Said::default();
            let lost = match communicator.run(&Command::new(LOOK_COMMAND).with_timeout(LOOK_LIMIT), &said, cancel).await
            {
                Ok(ExitStatus::Disconnected) => true,
                Ok(_) if said.text().trim() == "stopping" => false,
                Ok(_) => return Ok(()),
                Err(error) if error.is_connection_loss() || matches!(error, CommunicatorError::TimedOut { .. }) => true,
                Err(error) => return Err(error.into()),
            };
            if !told {
                (self.context.say)("Waiting for the machine to come back...");
                told = true;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(ProvisionError::Script(format!("the machine did not come back within {limit:?}")));
            }
            if lost {
                reconnect.reconnect(left, cancel).await?;
            }
            self.context.pause(LOOK_INTERVAL).await?;
        }
    }

    /// Removes what was uploaded. After a failed script this is done as well as it can be (the variables may be secret),
    /// and its own failure is only told.
    async fn clean(&self, result: &Result<(), ProvisionError>) -> Result<(), ProvisionError> {
        if self.context.cancel.is_cancelled() {
            return Ok(());
        }
        let mut outcome = self.remove(&self.remote_path, result.is_ok()).await;
        if let Some((path, _)) = &self.variable_file {
            outcome = outcome.and(self.remove(path, result.is_ok()).await);
        }
        match (result, outcome) {
            (Err(_), Err(error)) => {
                (self.context.say)(&format!("Cleaning up after the failed script failed too: {error}"));
                Ok(())
            }
            (_, outcome) => outcome,
        }
    }

    /// `come_back`: a machine that is gone is waited for.
    async fn remove(&self, path: &str, come_back: bool) -> Result<(), ProvisionError> {
        let MachineAccess { communicator, reconnect, .. } = self.machine;
        let ProvisionContext { cancel, output, .. } = *self.context;
        let mut removed = communicator.remove_file(path, cancel).await;
        if come_back && removed.as_ref().is_err_and(CommunicatorError::is_connection_loss) {
            reconnect.reconnect(self.shell.start_retry_timeout, cancel).await?;
            removed = communicator.remove_file(path, cancel).await;
        }
        match removed {
            Err(CommunicatorError::File { .. }) => {}
            other => return Ok(other?),
        }
        let status = communicator.run(&Command::new(format!("rm -f -- {}", shell_quote(path))), output, cancel).await?;
        if status.success() {
            Ok(())
        } else {
            Err(ProvisionError::Script(format!("Error removing temporary script at {path}! ({status})")))
        }
    }
}

/// The little that a look at the machine prints.
#[derive(Default)]
struct Said(Mutex<Vec<u8>>);

impl Said {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
    }
}

#[async_trait]
impl OutputSink for Said {
    async fn write(&self, _stream: OutputStream, bytes: &[u8]) {
        let mut said = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let room = 1000usize.saturating_sub(said.len()).min(bytes.len());
        said.extend_from_slice(&bytes[..room]);
    }
}

#[cfg(test)]
mod tests;
