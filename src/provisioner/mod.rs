//! Provisioners: what is done between a machine's start and its image. [`run_block`] runs one block of a template
//! with its pauses, retries and time limit; [`shell`], [`file`], [`shell_local`] and `breakpoint` are the provisioners.
//! [`clean`] empties the machine of what must not be in an image, [`os_release`] reads what it runs.
//! A provisioner sees the machine through `communicator` and its texts through a render function; it knows nothing of
//! templates, steps or the database.

mod block;
mod breakpoint;
pub mod clean;
mod environment;
mod exit_code;
pub mod file;
pub mod os_release;
pub mod shell;
pub mod shell_local;

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;

pub use block::run_block;

use crate::communicator::{Communicator, CommunicatorError, DownloadLimits, OutputSink, Reconnect};
use crate::domain::bundle::Bundle;

/// Renders a [`LateString`](crate::domain::config::LateString) with the given fields, such as `Vars` and `Path`.
pub type Render<'a> = dyn Fn(&str, &BTreeMap<String, String>) -> Result<String, String> + Send + Sync + 'a;

/// How the build's machine is reached.
#[derive(Clone, Copy)]
pub struct MachineAccess<'a> {
    pub communicator: &'a dyn Communicator,
    /// How to come back when the connection ended.
    pub reconnect: &'a dyn Reconnect,
    /// Ask for a pseudo-terminal (`ssh_pty`).
    pub pty: bool,
}

/// All that a provisioner acts on and with.
#[derive(Clone, Copy)]
pub struct ProvisionContext<'a> {
    /// `None` for a provisioner that does not need one.
    pub machine: Option<MachineAccess<'a>>,
    /// The template version's files.
    pub bundle: &'a Bundle,
    pub render: &'a Render<'a>,
    /// What commands on the machine print.
    pub output: &'a dyn OutputSink,
    /// What the provisioner itself says, one message at a time.
    pub say: &'a (dyn Fn(&str) + Send + Sync),
    pub cancel: &'a CancellationToken,
    pub run_id: &'a str,
    pub build_name: &'a str,
    pub builder_type: &'a str,
    /// Distinguishes this block's file names on the machine; a function of build, attempt and block, so that a repeated
    /// try overwrites its own files.
    pub script_id: u64,
    pub download_limits: DownloadLimits,
}

impl<'a> ProvisionContext<'a> {
    /// The build's machine.
    ///
    /// # Errors
    /// When there is none.
    pub(crate) fn machine(&self) -> Result<MachineAccess<'a>, ProvisionError> {
        self.machine.ok_or_else(|| ProvisionError::Configuration("the build has no machine to do this on".to_owned()))
    }

    /// Renders text that may hold `{{ … }}` actions.
    ///
    /// # Errors
    /// `Render` with what was being rendered.
    pub(crate) fn render(
        &self,
        what: &'static str,
        text: &str,
        fields: &BTreeMap<String, String>,
    ) -> Result<String, ProvisionError> {
        if !text.contains("{{") {
            return Ok(text.to_owned());
        }
        (self.render)(text, fields).map_err(|reason| ProvisionError::Render { what, reason })
    }

    /// Waits, or ends early when cancelled.
    ///
    /// # Errors
    /// `Cancelled`.
    pub(crate) async fn pause(&self, time: Duration) -> Result<(), ProvisionError> {
        tokio::select! {
            biased;
            () = self.cancel.cancelled() => Err(ProvisionError::Communicator(CommunicatorError::cancelled())),
            () = tokio::time::sleep(time) => Ok(()),
        }
    }
}

/// A file that a run brought back; downloads never touch the server's own disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunFile {
    /// A clean relative path.
    pub name: String,
    pub bytes: Vec<u8>,
}

/// What a provisioner brings back.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ProvisionOutcome {
    pub files: Vec<RunFile>,
}

/// Why a provisioner failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProvisionError {
    #[error(transparent)]
    Communicator(#[from] CommunicatorError),
    #[error("{0}")]
    Script(String),
    /// The connection ended before the script did.
    #[error(
        "Script disconnected unexpectedly. If you expected your script to disconnect, i.e. from a restart, you can try \
         adding `expect_disconnect = true` or `valid_exit_codes = [0, 2300218]` to the shell provisioner."
    )]
    Disconnected,
    #[error("{what} can't be rendered: {reason}")]
    Render { what: &'static str, reason: String },
    #[error("{0}")]
    Configuration(String),
    /// The server's own machine can't do what a provisioner asks of it.
    #[error("{0}")]
    Server(String),
    #[error("the provisioner ran longer than its timeout of {after:?} and was stopped{}", if *.killed { "" } else { " (its processes on the machine may still be running)" })]
    TimedOut { after: Duration, killed: bool },
}

impl ProvisionError {
    /// Whether the run was cancelled (as opposed to having failed).
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        matches!(self, Self::Communicator(error) if error.is_cancelled())
    }
}

/// One kind of provisioner with its configuration.
#[async_trait]
pub trait Provisioner: Send + Sync {
    /// Packer's type name, such as `shell`.
    fn kind(&self) -> &'static str;

    /// Does its work once.
    ///
    /// # Errors
    /// What went wrong; after a cancel or an error nothing of it runs on the machine any more unless the error says so.
    async fn provision(&self, context: &ProvisionContext<'_>) -> Result<ProvisionOutcome, ProvisionError>;
}

#[cfg(test)]
pub(crate) mod test_support;
