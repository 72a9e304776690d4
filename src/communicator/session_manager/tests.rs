//! The stream, against an imitation of the service and the agent.

use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::test_support::Service;
use crate::communicator::ssh::test_support::{Sshd, run};
use crate::communicator::ssh::{SshCommunicator, SshTarget, connect_with_retries};
use crate::communicator::{CommunicatorError, ExitStatus};

const LIMIT: Duration = Duration::from_secs(20);

async fn connect(target: &SshTarget) -> Result<SshCommunicator, CommunicatorError> {
    connect_with_retries(target, LIMIT, &|_| {}, &CancellationToken::new()).await
}

#[tokio::test]
async fn ssh_goes_through_a_session() {
    let sshd = Sshd::start();
    let service = Service::to(sshd.port).await;
    // Nothing listens there: only the session leads to the machine.
    let target = SshTarget { host: "i-1".to_owned(), port: 1, tunnel: Some(service.tunnel()), ..sshd.target() };
    let ssh = connect(&target).await.unwrap();
    assert_eq!(run(&ssh, "echo hello; exit 3").await, (ExitStatus::Code(3), "hello\n".to_owned(), String::new()));
    assert_eq!(service.behaviour.resumes.load(SeqCst), 0);
}
