//! The build's sessions of Session Manager, started by the build's own account.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::Instant;

use crate::cloud::{Cloud, CloudError, CloudErrorClass, OpenSession, SessionRequest, TARGET_NOT_CONNECTED};
use crate::communicator::CommunicatorError;
use crate::communicator::ConnectFailure;
use crate::communicator::session_manager::{SessionFailure, SessionGrant, SessionOpener, Tunnel};
use crate::domain::config::SshConfig;
use crate::domain::failure::Failure;
use crate::engine::step::{StepContext, StepResult};

use super::wait_running;

const NOT_CONNECTED_ADVICE: &str = "The image needs the SSM agent, running at boot; its instance profile needs the rights \
    of AmazonSSMManagedInstanceCore; its subnet needs a way to the endpoints ssm and ssmmessages: a NAT gateway, a public \
    address, or VPC endpoints. Raise ssh_timeout if the agent takes long. The end of the console output is in the log.";

const REFUSED_ADVICE: &str = "The account's role needs ssm:StartSession on the instance and on the document \
    AWS-StartSSHSession, ssmmessages:OpenDataChannel, ssm:ResumeSession and ssm:TerminateSession on its sessions \
    (docs/operations.md).";

const FAILED_ADVICE: &str = "Check that sshd runs in the image and listens on ssh_port; that the agent reaches the endpoint \
    ssmmessages from the machine's subnet for as long as the build takes; that this server reaches it with websockets, \
    through its proxy if there is one. The end of the console output is in the log.";

/// A machine's tags may not be known yet to the service that decides by them (`aws:ResourceTag/…`): for so long a refusal
/// is no answer.
const TAGS_SEEN_AFTER: Duration = Duration::from_mins(1);

/// The way to the build's machine, where SSH goes through Session Manager.
///
/// # Errors
/// When there is no machine.
pub fn tunnel(context: &StepContext, ssh: &SshConfig) -> StepResult<Option<Tunnel>> {
    if !ssh.uses_session_manager() {
        return Ok(None);
    }
    let running: wait_running::Output = context.output("wait_running")?;
    let request = SessionRequest {
        instance_id: running.instance_id,
        port: ssh.port,
        // The build's id is what the account's session history is searched for.
        reason: format!("Ingot build {} ({})", context.facts.build, context.facts.family).chars().take(256).collect(),
    };
    let region = context.ebs()?.region.clone();
    let opener = Sessions { cloud: context.cloud.clone(), region, request, made: Instant::now() };
    Ok(Some(Tunnel { opener: Arc::new(opener), clock: context.clock.clone() }))
}

/// What a failure to connect means, where Session Manager is the reason.
pub fn failure(error: &CommunicatorError, message: &str) -> Option<Failure> {
    match error {
        CommunicatorError::ConnectTimedOut { last: ConnectFailure::NotConnected(_), .. } => {
            Some(Failure::user("session-manager-not-connected", message).with_advice(NOT_CONNECTED_ADVICE))
        }
        CommunicatorError::ConnectRefused(ConnectFailure::SessionRefused(_)) => {
            Some(Failure::cloud("session-manager-refused", message).with_advice(REFUSED_ADVICE))
        }
        CommunicatorError::ConnectTimedOut { last: ConnectFailure::Session(_), .. } => {
            Some(Failure::user("session-manager-failed", message).with_advice(FAILED_ADVICE))
        }
        _ => None,
    }
}

struct Sessions {
    cloud: Arc<dyn Cloud>,
    region: String,
    request: SessionRequest,
    made: Instant,
}

#[async_trait]
impl SessionOpener for Sessions {
    async fn start(&self) -> Result<SessionGrant, SessionFailure> {
        let answer = self.cloud.start_session(&self.region, &self.request).await;
        let is_denied = answer.as_ref().is_err_and(|error| error.class == CloudErrorClass::Unauthorized);
        match granted(answer) {
            Err(SessionFailure::Refused(why)) if is_denied && self.made.elapsed() < TAGS_SEEN_AFTER => {
                Err(SessionFailure::Failed(why))
            }
            granted => granted,
        }
    }

    async fn resume(&self, session_id: &str) -> Result<SessionGrant, SessionFailure> {
        granted(self.cloud.resume_session(&self.region, session_id).await)
    }

    async fn terminate(&self, session_id: &str) {
        if let Err(error) = self.cloud.terminate_session(&self.region, session_id).await {
            tracing::debug!(session_id, %error, "a session was not ended; it ends with its instance");
        }
    }
}

fn granted(answer: Result<OpenSession, CloudError>) -> Result<SessionGrant, SessionFailure> {
    let error = match answer {
        Ok(session) => {
            let OpenSession { id, stream_url, token, headers } = session;
            return Ok(SessionGrant { session_id: id, stream_url, token, headers });
        }
        Err(error) => error,
    };
    let text = error.to_string();
    Err(match error.class {
        _ if error.code == TARGET_NOT_CONNECTED => SessionFailure::NotConnected(text),
        CloudErrorClass::Unauthorized | CloudErrorClass::Invalid | CloudErrorClass::NotFound => {
            SessionFailure::Refused(text)
        }
        _ => SessionFailure::Failed(text),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::communicator::FailureCounts;

    fn timed_out(last: ConnectFailure) -> Option<Failure> {
        let after = Duration::from_mins(5);
        failure(&CommunicatorError::ConnectTimedOut { after, last, counts: FailureCounts::default() }, "no SSH")
    }

    #[test]
    fn what_ends_the_waiting_for_a_session_has_advice_of_its_own() {
        let failed = timed_out(ConnectFailure::Session("Unable to connect to specified port".to_owned())).unwrap();
        assert_eq!(failed.code, "session-manager-failed");
        let advice = failed.advice.unwrap();
        assert!(advice.contains("sshd") && advice.contains("ssmmessages"), "{advice}");
        let absent = timed_out(ConnectFailure::NotConnected("TargetNotConnected".to_owned())).unwrap();
        assert_eq!(absent.code, "session-manager-not-connected");
        let refused = CommunicatorError::ConnectRefused(ConnectFailure::SessionRefused("HTTP 403".to_owned()));
        let refused = failure(&refused, "no SSH").unwrap();
        assert!(refused.advice.unwrap().contains("ssmmessages:OpenDataChannel"));
        assert!(timed_out(ConnectFailure::Refused).is_none());
    }
}
