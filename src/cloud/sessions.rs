//! Session Manager's sessions, which carry SSH to machines that nothing else leads to.

use async_trait::async_trait;
use secrecy::SecretString;

use super::CloudResult;

/// The code of a machine whose agent has not reported (yet), with the class `Busy`.
pub const TARGET_NOT_CONNECTED: &str = "TargetNotConnected";
/// The document of sessions that are the bytes of one connection to a port of the machine.
pub const SSH_DOCUMENT: &str = "AWS-StartSSHSession";

/// Part of [`super::Cloud`].
#[async_trait]
pub trait Sessions: Send + Sync {
    /// Starts a session. [`TARGET_NOT_CONNECTED`] while the machine's agent has not reported.
    async fn start_session(&self, region: &str, request: &SessionRequest) -> CloudResult<OpenSession>;
    /// Gives a session whose websocket broke another token. `NotFound` when it is over.
    async fn resume_session(&self, region: &str, session_id: &str) -> CloudResult<OpenSession>;
    /// Ends a session; one that is over is success.
    async fn terminate_session(&self, region: &str, session_id: &str) -> CloudResult<()>;
}

/// What a session of [`SSH_DOCUMENT`] leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionRequest {
    pub instance_id: String,
    /// Of the machine.
    pub port: u16,
    /// 1 to 256 characters, for the account's session history.
    pub reason: String,
}

/// A session that waits for its websocket. Whoever has the token has the session.
#[derive(Clone)]
pub struct OpenSession {
    pub id: String,
    /// `wss://…`.
    pub stream_url: String,
    pub token: SecretString,
    /// The signature of the websocket's request, unless the URL holds it.
    pub headers: Vec<(String, SecretString)>,
}

impl std::fmt::Debug for OpenSession {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OpenSession").field("id", &self.id).finish_non_exhaustive()
    }
}
