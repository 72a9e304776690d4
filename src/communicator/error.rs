//! Why the machine can't be reached or won't do what it was asked, in words that a person can act on.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// Why one attempt to connect failed. All but [`ConnectFailure::is_final`] ones go away by themselves while a machine boots.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConnectFailure {
    #[error("the port refused the connection (is sshd running, and on this port?)")]
    Refused,
    #[error("no route to the address ({0})")]
    Unreachable(String),
    #[error("no answer from the address (does the security group let us in, and is the subnet routed?)")]
    NoAnswer,
    #[error("the host name has no address ({0})")]
    Unresolved(String),
    #[error("the connection broke during the SSH handshake ({0})")]
    Handshake(String),
    #[error(
        "authentication failed for user {username:?} (is that the image's login user, and was the key installed?){}",
        banner_suffix(.banner.as_deref())
    )]
    Authentication { username: String, banner: Option<String> },
    #[error("the host key changed: expected {expected}, got {actual}; another machine may be answering")]
    HostKeyChanged { expected: String, actual: String },
    #[error("no common algorithm with the server ({0})")]
    NoCommonAlgorithm(String),
    #[error("the bastion host: {0}")]
    Bastion(Box<ConnectFailure>),
    #[error("the bastion host does not get through to the machine ({0})")]
    BehindBastion(String),
    #[error("the instance is not connected to Session Manager ({0})")]
    NotConnected(String),
    #[error("the Session Manager session failed ({0})")]
    Session(String),
    #[error("Session Manager: {0}")]
    SessionRefused(String),
}

fn banner_suffix(banner: Option<&str>) -> String {
    banner.map(|text| format!("; the machine says: {text}")).unwrap_or_default()
}

impl ConnectFailure {
    /// Whether waiting can't help.
    #[must_use]
    pub fn is_final(&self) -> bool {
        match self {
            Self::HostKeyChanged { .. } | Self::NoCommonAlgorithm(_) | Self::SessionRefused(_) => true,
            // A bastion does not boot with the machine: its login does not come to be right by waiting.
            Self::Bastion(failure) => failure.is_final() || matches!(**failure, Self::Authentication { .. }),
            _ => false,
        }
    }

    /// A short stable name for counting.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Unreachable(_) => "unreachable",
            Self::NoAnswer => "no answer",
            Self::Unresolved(_) => "unresolved",
            Self::Handshake(_) => "handshake",
            Self::Authentication { .. } => "authentication",
            Self::HostKeyChanged { .. } => "host key changed",
            Self::NoCommonAlgorithm(_) => "no common algorithm",
            Self::Bastion(_) => "bastion",
            Self::BehindBastion(_) => "behind the bastion",
            Self::NotConnected(_) => "not connected to Session Manager",
            Self::Session(_) => "session",
            Self::SessionRefused(_) => "session refused",
        }
    }
}

/// How often each reason was seen while waiting for SSH.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FailureCounts(pub BTreeMap<&'static str, u32>);

impl fmt::Display for FailureCounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut first = true;
        for (kind, count) in &self.0 {
            write!(f, "{}{kind} × {count}", if first { "" } else { ", " })?;
            first = false;
        }
        Ok(())
    }
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommunicatorError {
    #[error("SSH did not answer within {after:?}: {last} (attempts: {counts})")]
    ConnectTimedOut { after: Duration, last: ConnectFailure, counts: FailureCounts },
    #[error("SSH can't be used: {0}")]
    ConnectRefused(ConnectFailure),
    #[error("the SSH library has no algorithm {0:?}")]
    UnknownAlgorithm(String),
    #[error("the SSH private key can't be read: {0}")]
    InvalidKey(String),
    #[error("the SSH connection was lost ({0})")]
    ConnectionLost(String),
    #[error("the machine refused a channel for {what} ({reason})")]
    ChannelRefused { what: &'static str, reason: String },
    #[error("the machine has no SFTP: its sshd needs a `Subsystem sftp` line (openssh-sftp-server)")]
    NoSftp,
    #[error("{action} {path:?} failed: {reason}")]
    File { action: &'static str, path: String, reason: String, missing: bool },
    #[error("{path:?} is larger than the limit of {limit_bytes} bytes")]
    TooLarge { path: String, limit_bytes: u64 },
    #[error("{path:?} holds more than {limit} files")]
    TooManyFiles { path: String, limit: usize },
    #[error("the command ran longer than {after:?} and was killed{}", leftover(*.killed))]
    TimedOut { after: Duration, killed: bool },
    #[error("cancelled{}", leftover(*.killed))]
    Cancelled { killed: bool },
    #[error("{0}: not yet; {1}")]
    NotYet(&'static str, &'static str),
}

fn leftover(killed: bool) -> &'static str {
    if killed { "" } else { " (its processes on the machine may still be running)" }
}

impl CommunicatorError {
    /// Whether a new connection may succeed where this one failed.
    #[must_use]
    pub fn is_connection_loss(&self) -> bool {
        matches!(self, Self::ConnectionLost(_))
    }

    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        matches!(self, Self::Cancelled { .. })
    }

    /// Cancelled when nothing was running on the machine.
    #[must_use]
    pub fn cancelled() -> Self {
        Self::Cancelled { killed: true }
    }
}
