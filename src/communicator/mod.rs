//! Talking to the machine that a build runs on: run commands, move files. [`Communicator`] is what provisioners see; the
//! one real implementation is [`ssh`]. Nothing here knows of templates, steps or the database.
//! Start reading at [`Communicator`], then `ssh/connect.rs` (getting in) and `ssh/command.rs` (running and killing);
//! [`session_manager`] is one of the ways to a machine's sshd.

mod error;
#[cfg(test)]
pub mod fake;
pub mod session_manager;
pub mod ssh;

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;

pub use error::{CommunicatorError, ConnectFailure, FailureCounts};

use crate::domain::bundle::BundleFile;

/// Which of a command's two streams a chunk of output came from. With a pseudo-terminal all of it is `Stdout`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutputStream {
    Stdout,
    Stderr,
}

/// Receives output as it comes, in whole chunks (not lines, and not necessarily UTF-8). While a write waits, the remote
/// command and everything else on the same connection wait with it, so it must not take long.
#[async_trait]
pub trait OutputSink: Send + Sync {
    async fn write(&self, stream: OutputStream, bytes: &[u8]);
}

/// Throws output away.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoOutput;

#[async_trait]
impl OutputSink for NoOutput {
    async fn write(&self, _stream: OutputStream, _bytes: &[u8]) {}
}

/// A command line for the user's login shell on the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    pub text: String,
    /// Ask for a pseudo-terminal (`ssh_pty`); both streams then arrive as one.
    pub pty: bool,
    /// After this the command's process group is killed; `None`: no limit.
    pub timeout: Option<Duration>,
}

impl Command {
    pub fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), pty: false, timeout: None }
    }

    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }
}

/// One word for a POSIX shell, whatever the text holds (but a NUL byte, which no command line can carry).
#[must_use]
pub fn shell_quote(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// How a command ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExitStatus {
    Code(i32),
    /// `name` is without `SIG`, such as `KILL`.
    Signal {
        name: String,
        core_dumped: bool,
    },
    /// The connection ended before a status came: a reboot, a restarted sshd, a lost network.
    Disconnected,
}

impl ExitStatus {
    #[must_use]
    pub fn success(&self) -> bool {
        *self == Self::Code(0)
    }
}

impl fmt::Display for ExitStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exit status {code}"),
            Self::Signal { name, core_dumped: false } => write!(f, "killed by signal {name}"),
            Self::Signal { name, core_dumped: true } => write!(f, "killed by signal {name} (core dumped)"),
            Self::Disconnected => f.write_str("disconnected before an exit status came"),
        }
    }
}

/// What a download may bring at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DownloadLimits {
    /// Of all files together.
    pub bytes: u64,
    pub files: usize,
}

/// One machine to run commands on. All methods may be called at the same time; they share one connection.
#[async_trait]
pub trait Communicator: Send + Sync {
    /// Runs a command to its end and hands its output to `output` as it comes. Standard input is empty.
    ///
    /// # Errors
    /// `Cancelled` and `TimedOut` after the command's processes were killed, else what kept the command from starting.
    /// A connection that is lost while the command runs is not an error but [`ExitStatus::Disconnected`].
    async fn run(
        &self,
        command: &Command,
        output: &dyn OutputSink,
        cancel: &CancellationToken,
    ) -> Result<ExitStatus, CommunicatorError>;

    /// Writes one file, replacing what is there, and gives it the permission bits `mode`.
    ///
    /// # Errors
    /// When the file can't be written, with its path and the machine's reason.
    async fn upload(
        &self,
        remote_path: &str,
        bytes: &[u8],
        mode: u32,
        cancel: &CancellationToken,
    ) -> Result<(), CommunicatorError>;

    /// Writes files below `remote_dir`, making folders as needed. Executable files get 0755, others 0644.
    ///
    /// # Errors
    /// At the first file or folder that can't be written.
    async fn upload_directory(
        &self,
        files: &[(String, &BundleFile)],
        remote_dir: &str,
        cancel: &CancellationToken,
    ) -> Result<(), CommunicatorError>;

    /// Reads one file.
    ///
    /// # Errors
    /// `TooLarge` when it has more than `limit_bytes`; else what kept it from being read.
    async fn download(
        &self,
        remote_path: &str,
        limit_bytes: u64,
        cancel: &CancellationToken,
    ) -> Result<Vec<u8>, CommunicatorError>;

    /// Reads all regular files below a folder; names are relative to it, in order. Symbolic links to files are followed,
    /// those to folders are not.
    ///
    /// # Errors
    /// `TooLarge` past a limit; else the first file that can't be read.
    async fn download_directory(
        &self,
        remote_dir: &str,
        limits: DownloadLimits,
        cancel: &CancellationToken,
    ) -> Result<Vec<(String, Vec<u8>)>, CommunicatorError>;

    /// Whether the path is a folder; `false` when nothing is there.
    ///
    /// # Errors
    /// When the machine can't be asked.
    async fn is_directory(&self, remote_path: &str, cancel: &CancellationToken) -> Result<bool, CommunicatorError>;

    /// Removes a file; that it is gone already is success.
    ///
    /// # Errors
    /// When the file is still there.
    async fn remove_file(&self, remote_path: &str, cancel: &CancellationToken) -> Result<(), CommunicatorError>;

    /// Ends the connection. What still runs on the machine is not touched.
    async fn close(&self);
}

/// Getting back to a machine whose connection ended, such as after a reboot.
#[async_trait]
pub trait Reconnect: Send + Sync {
    /// Drops the present connection if it is not usable any more and waits up to `timeout` for a new one.
    ///
    /// # Errors
    /// `ConnectTimedOut` with the reasons seen, `HostKeyChanged`, or `Cancelled`.
    async fn reconnect(&self, timeout: Duration, cancel: &CancellationToken) -> Result<(), CommunicatorError>;
}
