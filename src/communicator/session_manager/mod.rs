//! SSH through Systems Manager's Session Manager: a session of the document `AWS-StartSSHSession` carries the bytes of one
//! TCP connection from the machine's agent to its own sshd, over a websocket to the service. Neither an open port nor a
//! route to the machine is needed, and AWS's program session-manager-plugin isn't either (docs/decisions/0014).
//!
//! Sessions are started, resumed and ended by a [`SessionOpener`], so nothing here knows of AWS's API. Start reading at
//! [`open`]; `driver` moves bytes between the websocket and the stream, `channel` holds the protocol's rules without any
//! input or output, `outgoing` what was sent and is not acknowledged, `incoming` the order of what comes, `trouble`
//! when a broken websocket is replaced, `message` and `payload` the forms on the wire.
//!
//! The forms and rules are those of github.com/aws/session-manager-plugin and github.com/aws/amazon-ssm-agent.

mod channel;
mod driver;
mod incoming;
mod message;
mod outgoing;
mod payload;
#[cfg(test)]
mod simulation;
mod stream;
#[cfg(test)]
pub(crate) mod test_support;
#[cfg(test)]
mod tests;
mod trouble;
mod websocket;

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use secrecy::SecretString;

use crate::domain::clock::Clock;

pub use driver::open;
pub use stream::{Ending, SessionStream};

/// Starts, resumes and ends the sessions of one machine's port.
#[async_trait]
pub trait SessionOpener: Send + Sync {
    /// A new session to the machine's port.
    ///
    /// # Errors
    /// Why there is none; [`SessionFailure::NotConnected`] while the machine's agent has not reported to the service.
    async fn start(&self) -> Result<SessionGrant, SessionFailure>;

    /// A new token for a session whose websocket broke.
    ///
    /// # Errors
    /// Why it can't go on.
    async fn resume(&self, session_id: &str) -> Result<SessionGrant, SessionFailure>;

    /// Ends a session. What fails is only logged: a session ends with its machine anyway.
    async fn terminate(&self, session_id: &str);
}

/// What opens the websocket of a session. Whoever has the token has the session.
#[derive(Clone)]
pub struct SessionGrant {
    pub session_id: String,
    /// `wss://…`.
    pub stream_url: String,
    pub token: SecretString,
    /// Of the websocket's HTTP request: its signature, where the URL does not hold one.
    pub headers: Vec<(String, SecretString)>,
}

impl fmt::Debug for SessionGrant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionGrant").field("session_id", &self.session_id).finish_non_exhaustive()
    }
}

/// Why there is no session, or no more.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SessionFailure {
    /// The machine's agent has not reported to the service (yet).
    #[error("{0}")]
    NotConnected(String),
    /// Waiting can't help.
    #[error("{0}")]
    Refused(String),
    /// It may be tried again.
    #[error("{0}")]
    Failed(String),
}

/// The way to a machine through Session Manager.
#[derive(Clone)]
pub struct Tunnel {
    pub opener: Arc<dyn SessionOpener>,
    /// Messages carry the time of their making.
    pub clock: Arc<dyn Clock>,
}

impl fmt::Debug for Tunnel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tunnel(…)")
    }
}
