//! A machine rather than one connection to it: [`SshConnection`] stays the same while the connection under it is replaced
//! after a reboot.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;

use super::{ConnectProgress, SshCommunicator, SshTarget, connect_with_retries};
use crate::communicator::{
    Command, Communicator, CommunicatorError, DownloadLimits, ExitStatus, NoOutput, OutputSink, Reconnect,
};
use crate::domain::bundle::BundleFile;

/// How long a connection that looks sound may take to prove it.
const PROBE_LIMIT: Duration = Duration::from_secs(5);

type Progress = Arc<dyn Fn(ConnectProgress) + Send + Sync>;

/// A communicator that can [`Reconnect::reconnect`]. The host key of the first connection must be shown by all later ones.
pub struct SshConnection {
    target: SshTarget,
    current: RwLock<SshCommunicator>,
    /// One reconnection at a time; those who come later find it done.
    reconnecting: tokio::sync::Mutex<()>,
    progress: Progress,
}

impl SshConnection {
    /// Connects as [`connect_with_retries`] does; `progress` also hears of later reconnections.
    ///
    /// # Errors
    /// Those of [`connect_with_retries`].
    pub async fn connect(
        target: SshTarget,
        timeout: Duration,
        progress: Progress,
        cancel: &CancellationToken,
    ) -> Result<Self, CommunicatorError> {
        let communicator = connect_with_retries(&target, timeout, progress.as_ref(), cancel).await?;
        let expected_host_key = Some(communicator.host_key_openssh()?);
        let target = SshTarget { expected_host_key, ..target };
        let reconnecting = tokio::sync::Mutex::new(());
        Ok(Self { target, current: RwLock::new(communicator), reconnecting, progress })
    }

    /// The connection as it is now.
    #[must_use]
    pub fn current(&self) -> SshCommunicator {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The host key line to store for a later process's [`SshTarget::expected_host_key`].
    #[must_use]
    pub fn host_key_openssh(&self) -> &str {
        self.target.expected_host_key.as_deref().unwrap_or_default()
    }
}

#[async_trait]
impl Reconnect for SshConnection {
    async fn reconnect(&self, timeout: Duration, cancel: &CancellationToken) -> Result<(), CommunicatorError> {
        let _one = self.reconnecting.lock().await;
        let old = self.current();
        if !old.is_closed() {
            // It may be dead without knowing yet: a machine that lost its power sends nothing.
            let command = Command::new("true");
            let probe = old.run(&command, &NoOutput, cancel);
            if matches!(tokio::time::timeout(PROBE_LIMIT, probe).await, Ok(Ok(status)) if status.success()) {
                return Ok(());
            }
            old.close().await;
        }
        let new = connect_with_retries(&self.target, timeout, self.progress.as_ref(), cancel).await?;
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = new;
        Ok(())
    }
}

#[async_trait]
impl Communicator for SshConnection {
    async fn run(
        &self,
        command: &Command,
        output: &dyn OutputSink,
        cancel: &CancellationToken,
    ) -> Result<ExitStatus, CommunicatorError> {
        self.current().run(command, output, cancel).await
    }

    async fn upload(
        &self,
        remote_path: &str,
        bytes: &[u8],
        mode: u32,
        cancel: &CancellationToken,
    ) -> Result<(), CommunicatorError> {
        self.current().upload(remote_path, bytes, mode, cancel).await
    }

    async fn upload_directory(
        &self,
        files: &[(String, &BundleFile)],
        remote_dir: &str,
        cancel: &CancellationToken,
    ) -> Result<(), CommunicatorError> {
        self.current().upload_directory(files, remote_dir, cancel).await
    }

    async fn download(
        &self,
        remote_path: &str,
        limit_bytes: u64,
        cancel: &CancellationToken,
    ) -> Result<Vec<u8>, CommunicatorError> {
        self.current().download(remote_path, limit_bytes, cancel).await
    }

    async fn download_directory(
        &self,
        remote_dir: &str,
        limits: DownloadLimits,
        cancel: &CancellationToken,
    ) -> Result<Vec<(String, Vec<u8>)>, CommunicatorError> {
        self.current().download_directory(remote_dir, limits, cancel).await
    }

    async fn is_directory(&self, remote_path: &str, cancel: &CancellationToken) -> Result<bool, CommunicatorError> {
        self.current().is_directory(remote_path, cancel).await
    }

    async fn remove_file(&self, remote_path: &str, cancel: &CancellationToken) -> Result<(), CommunicatorError> {
        self.current().remove_file(remote_path, cancel).await
    }

    async fn close(&self) {
        self.current().close().await;
    }
}
