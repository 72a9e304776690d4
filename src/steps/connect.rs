//! Connects over SSH and asks the machine what it is.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;

use crate::communicator::ssh::{Bastion, ConnectProgress, Login, SshTarget};
use crate::communicator::{Command, CommunicatorError, OutputSink, OutputStream};
use crate::domain::config::communicator::{Bastion as BastionOptions, SshConfig, SshInterface};
use crate::domain::failure::Failure;
use crate::engine::session::Machine;
use crate::engine::step::{Step, StepContext, StepError, StepResult};
use crate::provisioner::os_release;

use super::{machine_watch, security_group, session, wait_running};

/// Lines of the console that go into the log when SSH never comes.
const CONSOLE_LINES: usize = 60;
const QUESTION_LIMIT: Duration = Duration::from_secs(30);

const TIMEOUT_ADVICE: &str = "Check ssh_username, the subnet's routing and the security group; raise ssh_timeout if the \
    machine boots slowly. The end of its console output is in the log.";

const LOST_ADVICE: &str = "Look at the network between this server and the machine's subnet, then start the run again.";

pub struct Connect;

#[derive(Debug, Serialize, Deserialize)]
pub struct Intent {}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Connected {
    pub host: String,
    pub port: u16,
    pub username: String,
    /// `ssh-ed25519 AAAA…`: later connections must show it again.
    pub host_key: String,
    /// Name and version, such as `Ubuntu 22.04`; `None` when the machine has no `/etc/os-release`.
    pub os: Option<String>,
}

#[async_trait]
impl Step for Connect {
    type Intent = Intent;
    type Output = Connected;

    fn intent(&self, _context: &StepContext) -> Result<Intent, Failure> {
        Ok(Intent {})
    }

    async fn act(&self, context: &StepContext, _intent: &Intent) -> StepResult<Connected> {
        machine_watch::while_there(context, connect(context)).await
    }
}

async fn connect(context: &StepContext) -> StepResult<Connected> {
    let ssh = context.communicator()?;
    // A build on a host that was there before has no machine of its own.
    let running: Option<wait_running::Output> = context.output_if_any("wait_running")?;
    let host = host(ssh, running.as_ref())?;
    // With a session, Packer makes both pauses one after the other.
    let pause = ssh.pause_before_connecting + ssh.pause_before_session;
    if !pause.is_zero() {
        context.log.say(&format!("Waiting {} s before connecting…", pause.as_secs())).await;
        context.pause(pause.saturating_sub(context.spent())).await?;
    }
    let way = if ssh.uses_session_manager() { " through Session Manager" } else { "" };
    context.log.say(&format!("Waiting for SSH to become available on {host}:{}{way}…", ssh.port)).await;
    let machine = match open(context, &host, None).await {
        Ok(machine) => machine,
        Err(OpenError::Step(error)) => return Err(error),
        Err(OpenError::Unreachable(error)) => {
            if let Some(running) = &running {
                tell_console(context, &running.instance_id).await;
            }
            let message = format!("SSH on {host}:{} never became available: {error}", ssh.port);
            let failure = session::failure(&error, &message);
            let failure = failure.unwrap_or_else(|| Failure::user("ssh-timeout", message).with_advice(TIMEOUT_ADVICE));
            return Err(StepError::Failed(failure));
        }
    };
    context.log.say("Connected to SSH!").await;
    let os = ask_os(context, &machine).await?;
    Ok(Connected { host, port: ssh.port, username: ssh.username.clone(), host_key: machine.host_key, os })
}

/// The build's machine: as connected already, or connected again with the stored key by a server that has taken over.
///
/// # Errors
/// When it can't be reached any more.
pub async fn machine(context: &StepContext) -> StepResult<Machine> {
    if let Some(machine) = context.session.current().await {
        return Ok(machine);
    }
    let connected: Option<Connected> = context.output_if_any("connect")?;
    let connected = connected.ok_or_else(|| {
        Failure::user("no-communicator", "There is no machine to run a provisioner on: the communicator is \"none\".")
            .with_advice("Name a host in ssh_host and set communicator = \"ssh\".")
    })?;
    open(context, &connected.host, Some(connected.host_key.clone())).await.map_err(|error| match error {
        OpenError::Step(error) => error,
        OpenError::Unreachable(error) => StepError::Failed(
            Failure::cloud(
                machine_watch::SSH_LOST,
                format!("The machine at {} can't be reached any more: {error}", connected.host),
            )
            .with_advice(LOST_ADVICE),
        ),
    })
}

enum OpenError {
    Step(StepError),
    Unreachable(CommunicatorError),
}

async fn open(context: &StepContext, host: &str, expected_host_key: Option<String>) -> Result<Machine, OpenError> {
    let ssh = context.communicator().map_err(|failure| OpenError::Step(failure.into()))?;
    if expected_host_key.is_some() {
        let_own_address_in(context).await.map_err(OpenError::Step)?;
    }
    let login = login(context, ssh).await.map_err(OpenError::Step)?;
    let target = SshTarget {
        host: host.to_owned(),
        port: ssh.port,
        bastion: ssh.bastion.as_ref().map(|bastion| Box::new(through(bastion, &login))),
        tunnel: session::tunnel(context, ssh).map_err(OpenError::Step)?,
        login,
        ciphers: ssh.ciphers.clone(),
        key_exchange: ssh.key_exchange.clone(),
        keep_alive_interval: ssh.keep_alive_interval,
        expected_host_key,
    };
    let step = context.step.clone();
    let progress = Arc::new(move |progress: ConnectProgress| {
        tracing::debug!(%step, ?progress, "ssh connect");
    });
    let connecting = context.session.connect(target, ssh.timeout, progress, &context.cancel);
    match context.waiting(connecting).await.map_err(OpenError::Step)? {
        Ok(machine) => Ok(machine),
        Err(error) if context.cancel.is_cancelled() => {
            tracing::debug!(%error, "connecting was cancelled");
            Err(OpenError::Step(StepError::Interrupted))
        }
        Err(error) => Err(OpenError::Unreachable(error)),
    }
}

/// The template's own key or password, else the attempt's temporary key.
async fn login(context: &StepContext, ssh: &SshConfig) -> StepResult<Login> {
    let mut login = Login {
        username: ssh.username.clone(),
        password: ssh.password.clone().map(SecretString::from),
        ..Login::default()
    };
    if let Some(own) = &ssh.own_key {
        login.private_key = Some(SecretString::from(own.private_key.clone()));
        login.certificate.clone_from(&own.certificate);
    } else if ssh.needs_temporary_key() {
        let key = context.records.private_key(context.facts.attempt).await?;
        let missing = || Failure::ours("key-missing", "the attempt's private key is not stored");
        login.private_key = Some(key.ok_or_else(missing)?);
    }
    Ok(login)
}

/// With nothing of its own a bastion is entered with the machine's key.
fn through(bastion: &BastionOptions, machine: &Login) -> Bastion {
    let own_key = bastion.private_key.clone().map(SecretString::from);
    let same = own_key.is_none();
    Bastion {
        host: bastion.host.clone(),
        port: bastion.port,
        login: Login {
            username: bastion.username.clone(),
            private_key: own_key.or_else(|| machine.private_key.clone()),
            certificate: bastion.certificate.clone().or_else(|| machine.certificate.clone().filter(|_| same)),
            password: bastion.password.clone().map(SecretString::from),
            interactive: bastion.interactive,
        },
    }
}

/// A new owner may have another address than the one the group lets in.
async fn let_own_address_in(context: &StepContext) -> StepResult<()> {
    match context.output_if_any::<security_group::Output>("security_group")? {
        Some(group) => security_group::authorize(context, &context.ebs()?.region, &group.group_id).await,
        None => Ok(()),
    }
}

fn host(ssh: &SshConfig, running: Option<&wait_running::Output>) -> Result<String, Failure> {
    if let Some(host) = &ssh.host {
        return Ok(host.clone());
    }
    let running = running.ok_or_else(|| Failure::ours("plan-order", "there is no machine to connect to"))?;
    let (wanted, address) = match ssh.interface {
        Some(SshInterface::SessionManager) => return Ok(running.instance_id.clone()),
        Some(SshInterface::PublicIp) => ("public IP", running.public_ip.clone()),
        Some(SshInterface::PrivateIp) => ("private IP", running.private_ip.clone()),
        Some(SshInterface::PublicDns) => ("public DNS name", running.public_dns.clone()),
        Some(SshInterface::PrivateDns) => ("private DNS name", running.private_dns.clone()),
        Some(SshInterface::Ipv6) => ("IPv6 address", running.ipv6.clone()),
        None => ("public or private IP", running.public_ip.clone().or_else(|| running.private_ip.clone())),
    };
    address.filter(|address| !address.is_empty()).ok_or_else(|| {
        Failure::user("no-address", format!("The instance has no {wanted}."))
            .with_advice("Choose another ssh_interface, or set associate_public_ip_address.")
    })
}

async fn tell_console(context: &StepContext, instance_id: &str) {
    let region = match context.ebs() {
        Ok(ebs) => &ebs.region,
        Err(_) => return,
    };
    match context.cloud.console_output(region, instance_id).await {
        Ok(text) if text.trim().is_empty() => context.log.error("The instance has no console output yet.").await,
        Ok(text) => {
            let lines: Vec<&str> = text.lines().collect();
            context.log.error("The end of the instance's console output:").await;
            for line in &lines[lines.len().saturating_sub(CONSOLE_LINES)..] {
                context.log.error(&format!("  {line}")).await;
            }
        }
        Err(error) => context.log.error(&format!("The console output can't be read: {error}")).await,
    }
}

#[derive(Default)]
struct Collected(Mutex<Vec<u8>>);

#[async_trait]
impl OutputSink for Collected {
    async fn write(&self, stream: OutputStream, bytes: &[u8]) {
        let mut collected = self.0.lock().await;
        // os-release is a few hundred bytes; whatever comes beyond is not it.
        if stream == OutputStream::Stdout && collected.len() < 64 * 1024 {
            collected.extend_from_slice(bytes);
        }
    }
}

async fn ask_os(context: &StepContext, machine: &Machine) -> StepResult<Option<String>> {
    let output = Collected::default();
    let command =
        Command::new("cat /etc/os-release 2>/dev/null || cat /usr/lib/os-release").with_timeout(QUESTION_LIMIT);
    match machine.communicator.run(&command, &output, &context.cancel).await {
        Ok(status) if status.success() => {}
        Ok(status) => {
            context.log.say(&format!("The machine does not say what it is (/etc/os-release: {status}).")).await;
            return Ok(None);
        }
        Err(_) if context.cancel.is_cancelled() => return Err(StepError::Interrupted),
        Err(error) => {
            return Err(StepError::Failed(
                Failure::cloud(machine_watch::SSH_LOST, format!("The first command failed: {error}"))
                    .with_advice(LOST_ADVICE),
            ));
        }
    }
    let text = String::from_utf8_lossy(&output.0.lock().await).into_owned();
    let os = os_release::parse(&text);
    let name = format!("{} {}", os.name, os.version_id).trim().to_owned();
    context.log.say(&format!("The machine runs {name}")).await;
    Ok(Some(name))
}
