//! Sessions to machines. No websocket stands behind them: engine tests ask only who opened what.

use async_trait::async_trait;
use secrecy::SecretString;

use super::FakeCloud;
use super::filters::refuse;
use crate::cloud::{
    CloudErrorClass, CloudResult, InstanceState, OpenSession, SessionRequest, Sessions, TARGET_NOT_CONNECTED,
};

/// One session as tests see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FakeSession {
    pub id: String,
    pub request: SessionRequest,
    pub terminated: bool,
}

impl FakeCloud {
    /// All sessions so far, in order.
    #[must_use]
    pub fn sessions(&self) -> Vec<FakeSession> {
        self.world().sessions.clone()
    }
}

fn opened(id: &str) -> OpenSession {
    OpenSession {
        id: id.to_owned(),
        stream_url: format!("wss://sessions.invalid/{id}"),
        token: SecretString::from(format!("token of {id}")),
        headers: Vec::new(),
    }
}

fn gone() -> crate::cloud::CloudError {
    refuse(CloudErrorClass::NotFound, "DoesNotExistException", "there is no such session")
}

#[async_trait]
impl Sessions for FakeCloud {
    async fn start_session(&self, region: &str, request: &SessionRequest) -> CloudResult<OpenSession> {
        let request = request.clone();
        self.change("StartSession", region, &request.instance_id.clone(), |world, at| {
            let instance = world.region(at.account, at.region).instances.get(&request.instance_id);
            // An agent can't report without a role.
            let connected = instance.is_some_and(|instance| {
                instance.shown.state == InstanceState::Running
                    && instance.request.machine.iam_instance_profile.is_some()
            });
            if !connected {
                let message = format!("{} is not connected.", request.instance_id);
                return Err(refuse(CloudErrorClass::Busy, TARGET_NOT_CONNECTED, message));
            }
            let id = format!("ingot-{}", world.sessions.len() + 1);
            world.sessions.push(FakeSession { id: id.clone(), request, terminated: false });
            Ok(opened(&id))
        })
        .await
    }

    async fn resume_session(&self, region: &str, session_id: &str) -> CloudResult<OpenSession> {
        self.change("ResumeSession", region, session_id, |world, _| {
            let going_on = world.sessions.iter().any(|session| session.id == session_id && !session.terminated);
            if going_on { Ok(opened(session_id)) } else { Err(gone()) }
        })
        .await
    }

    async fn terminate_session(&self, region: &str, session_id: &str) -> CloudResult<()> {
        self.change("TerminateSession", region, session_id, |world, _| {
            for session in world.sessions.iter_mut().filter(|session| session.id == session_id) {
                session.terminated = true;
            }
            Ok(())
        })
        .await
    }
}
