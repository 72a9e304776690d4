//! The stream, against an imitation of the service and the agent.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::driver::open_within;
use super::message::MessageType;
use super::test_support::{Service, listener};
use super::{SessionFailure, open};
use crate::communicator::ssh::test_support::{Sshd, free_port, run};
use crate::communicator::ssh::{ConnectProgress, SshCommunicator, SshConnection, SshTarget, connect_with_retries};
use crate::communicator::{CommunicatorError, ConnectFailure, ExitStatus, Reconnect};

const LIMIT: Duration = Duration::from_secs(20);

/// Nothing listens at its own address: only the session leads to the machine.
fn target(sshd: &Sshd, service: &Arc<Service>) -> SshTarget {
    SshTarget { host: "i-1".to_owned(), port: 1, tunnel: Some(service.tunnel()), ..sshd.target() }
}

async fn connect(target: &SshTarget, limit: Duration) -> Result<SshCommunicator, CommunicatorError> {
    connect_with_retries(target, limit, &|_| {}, &CancellationToken::new()).await
}

async fn until(what: &str, holds: impl Fn() -> bool) {
    let waiting = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(LIMIT, waiting).await.unwrap_or_else(|_| panic!("never: {what}"));
}

/// A machine whose port answers with what it gets.
async fn echo() -> Arc<Service> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut reader, mut writer) = stream.split();
                tokio::io::copy(&mut reader, &mut writer).await
            });
        }
    });
    Service::to(port)
}

/// Sends so many bytes and gets them back as they were.
async fn there_and_back(service: &Arc<Service>, length: usize) {
    let stream = open(&service.tunnel()).await.unwrap();
    let (mut reader, mut writer) = tokio::io::split(stream);
    let sent: Vec<u8> = (0..length).map(|place| u8::try_from(place * 31 % 251).unwrap()).collect();
    let mut got = vec![0; length];
    let (written, read) = tokio::join!(writer.write_all(&sent), reader.read_exact(&mut got));
    written.unwrap();
    read.unwrap();
    assert!(got == sent, "the bytes are others");
}

#[tokio::test]
async fn ssh_goes_through_a_session_that_ends_with_it() {
    let sshd = Sshd::start();
    let service = Service::to(sshd.port);
    let ssh = connect(&target(&sshd, &service), LIMIT).await.unwrap();
    assert_eq!(run(&ssh, "echo hello; exit 3").await, (ExitStatus::Code(3), "hello\n".to_owned(), String::new()));
    let behaviour = &service.behaviour;
    assert_eq!(behaviour.resumes.load(SeqCst), 0);
    drop(ssh);
    until("all sessions are ended", || behaviour.terminated.load(SeqCst) == behaviour.starts.load(SeqCst)).await;
}

#[tokio::test]
async fn a_stream_that_is_dropped_says_so_after_its_last_words() {
    let service = echo().await;
    let mut stream = open(&service.tunnel()).await.unwrap();
    stream.write_all(&[0; 10_000]).await.unwrap();
    drop(stream);
    until("the agent is told", || service.behaviour.farewells.load(SeqCst) == 1).await;
    until("the session is ended", || service.behaviour.terminated.load(SeqCst) == 1).await;
    assert_eq!(service.behaviour.inputs.load(SeqCst), 12, "the handshake, ten of the stream, the farewell");
}

#[tokio::test]
async fn a_machine_that_restarts_gets_another_session() {
    let sshd = Sshd::start();
    let service = Service::to(sshd.port);
    let cancel = CancellationToken::new();
    let connection = SshConnection::connect(target(&sshd, &service), LIMIT, Arc::new(|_| {}), &cancel).await.unwrap();
    // sshd may have come after the first attempts.
    let before = service.behaviour.starts.load(SeqCst);
    assert_eq!(run(&connection, "kill -9 $PPID; sleep 5").await.0, ExitStatus::Disconnected);
    connection.reconnect(LIMIT, &cancel).await.unwrap();
    assert_eq!(run(&connection, "exit 6").await.0, ExitStatus::Code(6));
    assert_eq!(service.behaviour.starts.load(SeqCst), before + 1);
    until("the others are ended", || service.behaviour.terminated.load(SeqCst) == before).await;
}

#[tokio::test]
async fn an_agent_that_comes_later_is_waited_for() {
    let sshd = Sshd::start();
    let service = Service::to(sshd.port);
    service.behaviour.not_connected.store(2, SeqCst);
    let seen = std::sync::Mutex::new(Vec::new());
    let progress = |event: ConnectProgress| {
        if let ConnectProgress::Failed { reason, .. } = event {
            seen.lock().unwrap().push(reason.kind());
        }
    };
    let target = target(&sshd, &service);
    connect_with_retries(&target, LIMIT, &progress, &CancellationToken::new()).await.unwrap();
    assert_eq!(*seen.lock().unwrap(), ["not connected to Session Manager"; 2]);
}

#[tokio::test]
async fn one_that_never_comes_is_told_as_such() {
    let sshd = Sshd::start();
    let service = Service::to(sshd.port);
    service.behaviour.not_connected.store(1000, SeqCst);
    let error = connect(&target(&sshd, &service), Duration::from_millis(600)).await.err().unwrap();
    let CommunicatorError::ConnectTimedOut { last: ConnectFailure::NotConnected(why), .. } = error else {
        panic!("{error:?}")
    };
    assert!(why.contains("TargetNotConnected"), "{why}");
}

#[tokio::test]
async fn what_waiting_can_not_help_ends_it_at_once() {
    let sshd = Sshd::start();
    let service = Service::to(sshd.port);
    service.behaviour.asks_for_kms.store(true, SeqCst);
    let refused = async || match connect(&target(&sshd, &service), LIMIT).await.err() {
        Some(CommunicatorError::ConnectRefused(ConnectFailure::SessionRefused(why))) => why,
        other => panic!("{other:?}"),
    };
    assert!(refused().await.contains("SSM-SessionManagerRunShell"));
    service.behaviour.denies.store(true, SeqCst);
    assert!(refused().await.contains("HTTP 403"));
    service.behaviour.refuses.store(true, SeqCst);
    assert!(refused().await.contains("AccessDeniedException"));
}

#[tokio::test]
async fn a_port_without_sshd_is_told_in_the_agents_words() {
    let sshd = Sshd::start();
    let service = Service::to(free_port());
    let error = connect(&target(&sshd, &service), Duration::from_secs(2)).await.err().unwrap();
    let CommunicatorError::ConnectTimedOut { last: ConnectFailure::Session(why), .. } = error else {
        panic!("{error:?}")
    };
    assert!(why.contains("Unable to connect to specified port"), "{why}");
}

#[tokio::test]
async fn a_broken_websocket_is_replaced_and_nothing_is_lost() {
    let service = echo().await;
    let behaviour = service.behaviour.clone();
    tokio::spawn(async move {
        for (cut, after) in [30, 90, 200].into_iter().enumerate() {
            until("messages come", || behaviour.inputs.load(SeqCst) > after).await;
            behaviour.cut.notify_one();
            until("it is resumed", || behaviour.resumes.load(SeqCst) > cut).await;
        }
    });
    there_and_back(&service, 400_000).await;
    assert_eq!(service.behaviour.resumes.load(SeqCst), 3);
    let hellos = service.behaviour.hellos.lock().unwrap();
    assert!(hellos.iter().all(|hello| hello["ClientId"] == hellos[0]["ClientId"]), "it is the same client");
}

#[tokio::test]
async fn a_websocket_that_says_one_thing_and_breaks_is_replaced_ever_more_rarely() {
    let service = echo().await;
    let _stream = open(&service.tunnel()).await.unwrap();
    let behaviour = &service.behaviour;
    let began = std::time::Instant::now();
    for cuts in 1..=4 {
        service.say(MessageType::Other, &json!({}));
        until("it is said", || behaviour.says.lock().unwrap().is_empty()).await;
        behaviour.cut.notify_one();
        until("it is resumed", || behaviour.hellos.lock().unwrap().len() > cuts).await;
    }
    // 0, 200, 400 and 800 ms.
    assert!(began.elapsed() >= Duration::from_millis(1400), "{:?}", began.elapsed());
}

#[tokio::test]
async fn lost_acknowledgements_and_an_agent_that_is_not_ready_cost_time_only() {
    let service = echo().await;
    service.behaviour.not_ready.store(3, SeqCst);
    service.behaviour.loses_acks.store(5, SeqCst);
    there_and_back(&service, 100_000).await;
}

#[tokio::test]
async fn messages_out_of_order_twice_or_bent_come_out_right() {
    let service = echo().await;
    service.behaviour.swaps.store(true, SeqCst);
    service.behaviour.doubles.store(true, SeqCst);
    there_and_back(&service, 200_000).await;
    let service = echo().await;
    service.behaviour.bends.store(3, SeqCst);
    there_and_back(&service, 20_000).await;
}

#[tokio::test]
async fn nonsense_from_the_service_is_passed_over() {
    let service = echo().await;
    let mut stream = open(&service.tunnel()).await.unwrap();
    service.say_raw(b"what?".to_vec());
    service.say_raw(vec![0xff; 5000]);
    service.say(MessageType::Other, &json!({ "x": 1 }));
    service.say(MessageType::Acknowledge, &json!({ "AcknowledgedMessageSequenceNumber": "x" }));
    stream.write_all(b"hello").await.unwrap();
    let mut got = [0; 5];
    stream.read_exact(&mut got).await.unwrap();
    assert_eq!(&got, b"hello");
}

#[tokio::test]
async fn a_session_that_can_not_be_resumed_ends_the_stream_with_its_reason() {
    let service = echo().await;
    let mut stream = open(&service.tunnel()).await.unwrap();
    let ending = stream.ending();
    service.behaviour.refuses_resume.store(true, SeqCst);
    service.behaviour.cut.notify_one();
    assert_eq!(stream.read(&mut [0; 5]).await.unwrap(), 0);
    let reason = ending.reason().unwrap();
    assert!(matches!(&reason, SessionFailure::Failed(why) if why.contains("DoesNotExistException")), "{reason:?}");
    let service = echo().await;
    let mut stream = open(&service.tunnel()).await.unwrap();
    let ending = stream.ending();
    service.say(MessageType::ChannelClosed, &json!({ "Output": "Session idle for too long" }));
    assert_eq!(stream.read(&mut [0; 5]).await.unwrap(), 0);
    assert_eq!(ending.reason(), Some(SessionFailure::Failed("Session idle for too long".to_owned())));
}

#[tokio::test]
async fn whoever_gives_up_leaves_no_session() {
    let service = echo().await;
    service.behaviour.is_silent.store(true, SeqCst);
    let waiting = tokio::time::timeout(Duration::from_millis(300), open(&service.tunnel())).await;
    assert!(waiting.is_err(), "the agent says nothing");
    until("what was started is ended", || service.behaviour.terminated.load(SeqCst) == 1).await;
}

#[tokio::test]
async fn a_machine_that_says_more_than_is_read_is_held_up() {
    const ALL: usize = 3 * 1024 * 1024;
    let listener = listener();
    let service = Service::to(listener.local_addr().unwrap().port());
    let said = Arc::new(AtomicUsize::new(0));
    let counter = said.clone();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let chunk = vec![1; 16 * 1024];
        while counter.load(SeqCst) < ALL && stream.write_all(&chunk).await.is_ok() {
            counter.fetch_add(chunk.len(), SeqCst);
        }
    });
    let mut stream = open_within(&service.tunnel(), 128 * 1024).await.unwrap();
    // Until nothing moves any more.
    let mut before = usize::MAX;
    while before != said.load(SeqCst) {
        before = said.load(SeqCst);
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    assert!(before > 0 && before < ALL, "{before}");
    let mut buffer = vec![0; 64 * 1024];
    let mut read = 0;
    while read < ALL {
        read += stream.read(&mut buffer).await.unwrap();
    }
    assert_eq!(read, ALL);
}
