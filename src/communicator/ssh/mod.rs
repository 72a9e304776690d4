//! The SSH communicator on russh: one authenticated connection on which commands and file transfers run side by side.
//! `connect.rs` gets in, `command.rs` runs commands, `kill.rs` ends what they left, `sftp.rs` moves files,
//! `connection.rs` comes back after a reboot, `keys.rs` makes key pairs.

mod command;
mod connect;
mod connection;
mod keys;
mod kill;
mod login;
mod marker;
mod sftp;
#[cfg(test)]
pub(crate) mod test_support;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use async_trait::async_trait;
use russh::client;
use russh_sftp::client::SftpSession;
use tokio::sync::{Mutex, Semaphore};
use tokio_util::sync::CancellationToken;

pub use connect::{Bastion, ConnectProgress, SshTarget, connect_with_retries};
pub use connection::SshConnection;
pub use keys::{KeyPair, ec2_fingerprint, generate_key, public_key_of};
pub use login::Login;

use super::{Command, Communicator, CommunicatorError, DownloadLimits, ExitStatus, OutputSink};
use crate::domain::bundle::BundleFile;

/// OpenSSH lets one connection have 10 sessions (`MaxSessions`): these commands, one for SFTP, one for killing.
const MAX_COMMANDS: usize = 8;

/// An authenticated SSH connection. Cheap to clone; the connection ends when [`Communicator::close`] is called or the
/// last clone is dropped.
#[derive(Clone)]
pub struct SshCommunicator {
    session: Arc<Session>,
}

struct Session {
    handle: client::Handle<connect::Client>,
    host_key: russh::keys::PublicKey,
    /// The connection that carries this one; it must not end before it.
    _bastion: Option<client::Handle<connect::Client>>,
    commands: Semaphore,
    next_command: AtomicU64,
    /// Opened at the first transfer, dropped after an error that may have broken it.
    sftp: Mutex<Option<Arc<SftpSession>>>,
}

/// What the library's errors mean on a connection that stood.
fn lost(error: impl std::fmt::Display) -> CommunicatorError {
    CommunicatorError::ConnectionLost(error.to_string())
}

impl Session {
    /// Opens a session channel.
    async fn open_channel(&self, what: &'static str) -> Result<russh::Channel<client::Msg>, CommunicatorError> {
        self.handle.channel_open_session().await.map_err(|error| match error {
            russh::Error::ChannelOpenFailure(reason) => {
                CommunicatorError::ChannelRefused { what, reason: format!("{reason:?}") }
            }
            other => lost(other),
        })
    }
}

impl SshCommunicator {
    fn new(
        handle: client::Handle<connect::Client>,
        host_key: russh::keys::PublicKey,
        bastion: Option<client::Handle<connect::Client>>,
    ) -> Self {
        Self {
            session: Arc::new(Session {
                handle,
                host_key,
                _bastion: bastion,
                commands: Semaphore::new(MAX_COMMANDS),
                next_command: AtomicU64::new(1),
                sftp: Mutex::new(None),
            }),
        }
    }

    /// The machine's host key as a `known_hosts` style line without host (`ssh-ed25519 AAAA…`); store it and give it as
    /// [`SshTarget::expected_host_key`] when connecting again.
    ///
    /// # Errors
    /// When the key can't be encoded, which no key that came over the wire causes.
    pub fn host_key_openssh(&self) -> Result<String, CommunicatorError> {
        keys::openssh_line(&self.session.host_key)
    }

    /// The host key's `SHA256:…` fingerprint, for people.
    #[must_use]
    pub fn host_key_fingerprint(&self) -> String {
        self.session.host_key.fingerprint(russh::keys::HashAlg::Sha256).to_string()
    }

    /// Whether the connection has ended.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.session.handle.is_closed()
    }
}

/// Runs a transfer until it ends or is cancelled; nothing is left running on the machine by either.
async fn unless_cancelled<T>(
    cancel: &CancellationToken,
    work: impl Future<Output = Result<T, CommunicatorError>> + Send,
) -> Result<T, CommunicatorError> {
    tokio::select! {
        biased;
        () = cancel.cancelled() => Err(CommunicatorError::cancelled()),
        result = work => result,
    }
}

#[async_trait]
impl Communicator for SshCommunicator {
    async fn run(
        &self,
        command: &Command,
        output: &dyn OutputSink,
        cancel: &CancellationToken,
    ) -> Result<ExitStatus, CommunicatorError> {
        command::run(&self.session, command, output, cancel).await
    }

    async fn upload(
        &self,
        remote_path: &str,
        bytes: &[u8],
        mode: u32,
        cancel: &CancellationToken,
    ) -> Result<(), CommunicatorError> {
        unless_cancelled(cancel, self.session.upload(remote_path, bytes, mode)).await
    }

    async fn upload_directory(
        &self,
        files: &[(String, &BundleFile)],
        remote_dir: &str,
        cancel: &CancellationToken,
    ) -> Result<(), CommunicatorError> {
        unless_cancelled(cancel, self.session.upload_directory(files, remote_dir)).await
    }

    async fn download(
        &self,
        remote_path: &str,
        limit_bytes: u64,
        cancel: &CancellationToken,
    ) -> Result<Vec<u8>, CommunicatorError> {
        unless_cancelled(cancel, self.session.download(remote_path, limit_bytes)).await
    }

    async fn download_directory(
        &self,
        remote_dir: &str,
        limits: DownloadLimits,
        cancel: &CancellationToken,
    ) -> Result<Vec<(String, Vec<u8>)>, CommunicatorError> {
        unless_cancelled(cancel, self.session.download_directory(remote_dir, limits)).await
    }

    async fn is_directory(&self, remote_path: &str, cancel: &CancellationToken) -> Result<bool, CommunicatorError> {
        unless_cancelled(cancel, self.session.is_directory(remote_path)).await
    }

    async fn remove_file(&self, remote_path: &str, cancel: &CancellationToken) -> Result<(), CommunicatorError> {
        unless_cancelled(cancel, self.session.remove_file(remote_path)).await
    }

    async fn close(&self) {
        // An error means that the connection has ended already, which is what was asked for.
        let _ = self.session.handle.disconnect(russh::Disconnect::ByApplication, "done", "en").await;
    }
}
