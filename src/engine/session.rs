//! A build's connection to its machine. Connected once, shared by the steps, and connected again with the stored key when
//! another server has taken the build over.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use crate::communicator::ssh::{ConnectProgress, SshConnection, SshTarget};
use crate::communicator::{Communicator, CommunicatorError, Reconnect};

pub type ConnectListener = Arc<dyn Fn(ConnectProgress) + Send + Sync>;

/// A machine that answers.
#[derive(Clone)]
pub struct Machine {
    pub communicator: Arc<dyn Communicator>,
    pub reconnect: Arc<dyn Reconnect>,
    /// `ssh-ed25519 AAAA…`, which later connections must show again.
    pub host_key: String,
}

/// Opens connections; SSH in the server, a machine in memory in engine tests.
#[async_trait]
pub trait Dialer: Send + Sync {
    async fn dial(
        &self,
        target: SshTarget,
        timeout: Duration,
        progress: ConnectListener,
        cancel: &CancellationToken,
    ) -> Result<Machine, CommunicatorError>;
}

/// Connects over SSH.
#[derive(Debug, Clone, Copy, Default)]
pub struct SshDialer;

#[async_trait]
impl Dialer for SshDialer {
    async fn dial(
        &self,
        target: SshTarget,
        timeout: Duration,
        progress: ConnectListener,
        cancel: &CancellationToken,
    ) -> Result<Machine, CommunicatorError> {
        let connection = Arc::new(SshConnection::connect(target, timeout, progress, cancel).await?);
        let host_key = connection.host_key_openssh().to_owned();
        Ok(Machine { communicator: connection.clone(), reconnect: connection, host_key })
    }
}

/// The connection of one build on this server, if there is one.
pub struct Session {
    dialer: Arc<dyn Dialer>,
    machine: Mutex<Option<Machine>>,
}

impl Session {
    #[must_use]
    pub fn new(dialer: Arc<dyn Dialer>) -> Self {
        Self { dialer, machine: Mutex::new(None) }
    }

    /// The connection as it is; `None` when this server has not connected yet.
    pub async fn current(&self) -> Option<Machine> {
        self.machine.lock().await.clone()
    }

    /// Connects, replacing any connection there was.
    ///
    /// # Errors
    /// What kept the machine from being reached.
    pub async fn connect(
        &self,
        target: SshTarget,
        timeout: Duration,
        progress: ConnectListener,
        cancel: &CancellationToken,
    ) -> Result<Machine, CommunicatorError> {
        let mut slot = self.machine.lock().await;
        let machine = self.dialer.dial(target, timeout, progress, cancel).await?;
        *slot = Some(machine.clone());
        Ok(machine)
    }

    pub async fn close(&self) {
        if let Some(machine) = self.machine.lock().await.take() {
            machine.communicator.close().await;
        }
    }
}
