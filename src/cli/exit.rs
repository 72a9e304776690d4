//! What the process says with its exit code.

use std::process::ExitCode;

/// How a command ended. Scripts rely on the numbers: they never change meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// `0`: done, and what was asked for succeeded.
    Success,
    /// `1`: the build failed, the template is not valid, or the server refused the request.
    Failed,
    /// `2`: the command line makes no sense.
    Usage,
    /// `3`: the server (or, of the server's own commands, its database) could not be reached, so nothing is known to have
    /// been done.
    Unreachable,
    /// `3`, of `fmt --check` alone, as Packer has it: a file is not formatted.
    NotFormatted,
    /// `130`: interrupted from the keyboard, as shells say it for SIGINT.
    Interrupted,
}

impl Exit {
    /// The number.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::Success => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Unreachable | Self::NotFormatted => 3,
            Self::Interrupted => 130,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}
