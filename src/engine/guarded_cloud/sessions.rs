//! Session Manager's sessions.

use async_trait::async_trait;

use super::GuardedCloud;
use crate::cloud::{CloudResult, OpenSession, SessionRequest, Sessions};

#[async_trait]
impl Sessions for GuardedCloud {
    async fn start_session(&self, region: &str, request: &SessionRequest) -> CloudResult<OpenSession> {
        self.change(region, "StartSession", self.inner.start_session(region, request)).await
    }
    async fn resume_session(&self, region: &str, session_id: &str) -> CloudResult<OpenSession> {
        self.change(region, "ResumeSession", self.inner.resume_session(region, session_id)).await
    }
    async fn terminate_session(&self, region: &str, session_id: &str) -> CloudResult<()> {
        self.change(region, "TerminateSession", self.inner.terminate_session(region, session_id)).await
    }
}
