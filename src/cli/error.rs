//! Why a client command could not do its work.

use std::io;
use std::path::PathBuf;

use super::exit::Exit;
use super::problem::Problem;

/// See the module's text. The `Display` text is what a person reads after `error:`; a [`Problem`] has a longer form.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// The server answered, and refused.
    #[error("{}", .0.headline())]
    Problem(Box<Problem>),
    /// No answer came.
    #[error("{server} can't be reached: {reason}")]
    Unreachable { server: String, reason: String },
    /// An answer came that is not Ingot's.
    #[error("{server} answered something that is not Ingot's API: {reason}")]
    NotIngot { server: String, reason: String },
    /// The arguments contradict each other or are malformed.
    #[error("{0}")]
    Usage(String),
    /// A file of the user's.
    #[error("{}: {source}", .path.display())]
    File { path: PathBuf, source: io::Error },
    /// Anything else on this side, said in full.
    #[error("{0}")]
    Local(String),
    /// The other end of our own output is closed (`ingot runs | head`): nothing to complain about.
    #[error("the output was closed")]
    OutputClosed,
}

/// Result of a client command.
pub type CliResult<T> = Result<T, CliError>;

impl CliError {
    /// The process's exit code for it.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            Self::Unreachable { .. } => Exit::Unreachable,
            Self::Usage(_) => Exit::Usage,
            Self::OutputClosed => Exit::Success,
            Self::Problem(_) | Self::NotIngot { .. } | Self::File { .. } | Self::Local(_) => Exit::Failed,
        }
    }

    /// A file that could not be read.
    pub fn file(path: impl Into<PathBuf>, source: io::Error) -> Self {
        Self::File { path: path.into(), source }
    }

    /// Writing to standard output failed.
    #[must_use]
    pub fn output(source: &io::Error) -> Self {
        if source.kind() == io::ErrorKind::BrokenPipe {
            Self::OutputClosed
        } else {
            Self::Local(format!("the output can't be written: {source}"))
        }
    }
}
