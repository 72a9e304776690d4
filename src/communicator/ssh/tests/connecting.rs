//! Getting in, and not getting in.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::communicator::ssh::test_support::{Collected, Sshd, current_user, free_port, key, run, target};
use crate::communicator::ssh::{
    Bastion, ConnectProgress, SshCommunicator, SshConnection, SshTarget, connect_with_retries,
};
use crate::communicator::{Command, Communicator, CommunicatorError, ConnectFailure, ExitStatus, Reconnect};

const LIMIT: Duration = Duration::from_secs(20);

fn no_progress(_: ConnectProgress) {}

#[tokio::test]
async fn a_port_that_opens_later_is_waited_for() {
    let port = free_port();
    let seen = Mutex::new(Vec::new());
    let started = Mutex::new(None);
    // sshd starts once two attempts have failed, so the order of events does not depend on timing.
    let progress = |event: ConnectProgress| {
        let mut seen = seen.lock().unwrap();
        seen.push(event);
        if seen.len() == 2 {
            *started.lock().unwrap() = Some(Sshd::start_on(port, 100, ""));
        }
    };
    let ssh = connect_with_retries(&target(port, &key(1)), LIMIT, &progress, &CancellationToken::new()).await.unwrap();
    assert_eq!(run(&ssh, "exit 5").await.0, ExitStatus::Code(5));
    let seen = seen.lock().unwrap();
    assert!(
        matches!(&seen[0], ConnectProgress::Failed { attempt: 1, reason: ConnectFailure::Refused, .. }),
        "{seen:?}"
    );
    assert!(matches!(seen.last(), Some(ConnectProgress::Connected { .. })), "{seen:?}");
}

#[tokio::test]
async fn the_last_error_names_the_reasons_and_their_counts() {
    let limit = Duration::from_millis(600);
    let target = target(free_port(), &key(1));
    let error = connect_with_retries(&target, limit, &no_progress, &CancellationToken::new()).await.err().unwrap();
    assert!(matches!(error, CommunicatorError::ConnectTimedOut { last: ConnectFailure::Refused, .. }), "{error:?}");
    let text = error.to_string();
    assert!(text.starts_with("SSH did not answer within 600ms: the port refused the connection"), "{text}");
    assert!(text.contains("(attempts: refused × "), "{text}");
}

#[tokio::test]
async fn a_wrong_user_or_key_is_reported_as_such() {
    let sshd = Sshd::start();
    let limit = Duration::from_secs(6);
    let mut wrong_user = sshd.target();
    wrong_user.login.username = "no-such-user".to_owned();
    let error = connect_with_retries(&wrong_user, limit, &no_progress, &CancellationToken::new()).await.err().unwrap();
    let text = error.to_string();
    assert!(text.contains("authentication failed for user \"no-such-user\""), "{text}");
    let wrong_key = target(sshd.port, &key(2));
    let error = connect_with_retries(&wrong_key, limit, &no_progress, &CancellationToken::new()).await.err().unwrap();
    let CommunicatorError::ConnectTimedOut { last, counts, .. } = error else { panic!("{error:?}") };
    assert!(matches!(last, ConnectFailure::Authentication { .. }), "{last:?}");
    assert!(counts.0["authentication"] > 1, "it is tried again, cloud-init may be late: {counts}");
}

#[tokio::test]
async fn the_recorded_host_key_is_checked_and_another_is_refused_at_once() {
    let sshd = Sshd::start();
    let ssh = sshd.connect().await;
    let recorded = ssh.host_key_openssh().unwrap();
    assert_eq!(recorded, key(100).public_openssh);
    assert!(ssh.host_key_fingerprint().starts_with("SHA256:"));
    let good = SshTarget { expected_host_key: Some(recorded), ..sshd.target() };
    connect_with_retries(&good, LIMIT, &no_progress, &CancellationToken::new()).await.unwrap();
    let bad = SshTarget { expected_host_key: Some(key(9).public_openssh), ..sshd.target() };
    let error = connect_with_retries(&bad, LIMIT, &no_progress, &CancellationToken::new()).await.err().unwrap();
    assert!(
        matches!(&error, CommunicatorError::ConnectRefused(ConnectFailure::HostKeyChanged { .. })),
        "no waiting: {error:?}"
    );
    assert!(error.to_string().contains(&key(9).fingerprint) && error.to_string().contains(&key(100).fingerprint));
}

#[tokio::test]
async fn cancel_ends_the_wait() {
    let cancel = CancellationToken::new();
    let progress = |_| cancel.cancel();
    let result = connect_with_retries(&target(free_port(), &key(1)), LIMIT, &progress, &cancel).await;
    assert_eq!(result.err(), Some(CommunicatorError::cancelled()));
}

#[tokio::test]
async fn a_machine_that_restarts_is_found_again_only_with_its_own_host_key() {
    let sshd = Sshd::start();
    let (port, cancel) = (sshd.port, CancellationToken::new());
    let connection = SshConnection::connect(sshd.target(), LIMIT, Arc::new(no_progress), &cancel).await.unwrap();
    assert_eq!(connection.host_key_openssh(), key(100).public_openssh);
    connection.reconnect(LIMIT, &cancel).await.unwrap();
    assert_eq!(run(&connection, "echo $PPID >&2; kill -9 $PPID; sleep 5").await.0, ExitStatus::Disconnected);
    connection.reconnect(LIMIT, &cancel).await.unwrap();
    assert_eq!(run(&connection, "exit 6").await.0, ExitStatus::Code(6));
    run(&connection, "kill -9 $PPID; sleep 5").await;
    drop(sshd);
    let _other = Sshd::start_on(port, 101, "");
    let error = connection.reconnect(LIMIT, &cancel).await.unwrap_err();
    assert!(matches!(error, CommunicatorError::ConnectRefused(ConnectFailure::HostKeyChanged { .. })), "{error:?}");
}

/// A way to a port that passes everything on until it falls silent, as a network does that loses all packets.
async fn network(port: u16) -> (u16, CancellationToken) {
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let own = listener.local_addr().unwrap().port();
    let silent = CancellationToken::new();
    let falls = silent.clone();
    tokio::spawn(async move {
        while let Ok((mut near, _)) = listener.accept().await {
            let falls = falls.clone();
            tokio::spawn(async move {
                // sshd may not listen yet: then this attempt is closed, and another one follows.
                let Ok(mut far) = tokio::net::TcpStream::connect(("127.0.0.1", port)).await else { return };
                tokio::select! {
                    _ = tokio::io::copy_bidirectional(&mut near, &mut far) => {}
                    () = falls.cancelled() => {}
                }
                if falls.is_cancelled() {
                    // Both ends stay open.
                    std::future::pending::<()>().await;
                }
            });
        }
    });
    (own, silent)
}

#[tokio::test]
async fn a_network_that_falls_silent_ends_a_command() {
    let sshd = Sshd::start();
    let (port, silent) = network(sshd.port).await;
    let target = SshTarget { port, keep_alive_interval: Duration::from_millis(100), ..sshd.target() };
    let never = CancellationToken::new();
    let ssh = connect_with_retries(&target, LIMIT, &no_progress, &never).await.unwrap();
    let (output, command) = (Collected::default(), Command::new("echo begun; sleep 1000"));
    let falls = async {
        output.first_line().await;
        silent.cancel();
    };
    let both = async { tokio::join!(ssh.run(&command, &output, &never), falls) };
    let (status, ()) = tokio::time::timeout(LIMIT, both).await.expect("the silence is noticed");
    assert_eq!(status, Ok(ExitStatus::Disconnected));
}

/// A command that shows which host it ran on, by the port that its sshd listens on.
async fn port_seen(ssh: &SshCommunicator) -> String {
    run(ssh, "set -- $SSH_CONNECTION; echo $4").await.1.trim().to_owned()
}

#[tokio::test]
async fn a_bastion_passes_the_connection_on() {
    let (bastion, machine) = (Sshd::start(), Sshd::start_on(free_port(), 101, "Subsystem sftp internal-sftp"));
    let through = bastion.target();
    let way = Bastion { host: through.host, port: through.port, login: through.login };
    let target = SshTarget { bastion: Some(Box::new(way)), ..machine.target() };
    let ssh = connect_with_retries(&target, LIMIT, &no_progress, &CancellationToken::new()).await.unwrap();
    assert_eq!(port_seen(&ssh).await, machine.port.to_string());
    assert_eq!(ssh.host_key_openssh().unwrap(), key(101).public_openssh, "the machine's own");

    // Nobody is behind it: waited for, as for a machine that boots.
    let silent = SshTarget { port: free_port(), ..target.clone() };
    let limit = Duration::from_secs(3);
    let error = connect_with_retries(&silent, limit, &no_progress, &CancellationToken::new()).await.err().unwrap();
    let CommunicatorError::ConnectTimedOut { last, .. } = error else { panic!("{error:?}") };
    assert!(matches!(last, ConnectFailure::BehindBastion(_)), "{last:?}");

    // A wrong key for it does not become right by waiting.
    let mut wrong = target;
    let login = &mut wrong.bastion.as_mut().unwrap().login;
    login.private_key = Some(key(2).private_openssh);
    let error = connect_with_retries(&wrong, LIMIT, &no_progress, &CancellationToken::new()).await.err().unwrap();
    let text = error.to_string();
    assert!(text.starts_with("SSH can't be used: the bastion host: authentication failed"), "{text}");
}

#[tokio::test]
async fn a_certificate_lets_in_where_the_key_alone_does_not() {
    let sshd = Sshd::start_on(free_port(), 102, "TrustedUserCAKeys none\nSubsystem sftp internal-sftp");
    let (authority, user) = (sshd.path("authority"), sshd.path("user"));
    let make = |arguments: &[&str]| {
        let done = std::process::Command::new("ssh-keygen").args(arguments).output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    };
    make(&["-q", "-t", "ed25519", "-N", "", "-f", &authority]);
    make(&["-q", "-t", "ed25519", "-N", "", "-f", &user]);
    make(&["-q", "-s", &authority, "-I", "test", "-n", &current_user(), &format!("{user}.pub")]);
    let trusted = format!("cert-authority {}", std::fs::read_to_string(format!("{authority}.pub")).unwrap());
    std::fs::write(sshd.folder.path().join("authorized_keys"), trusted).unwrap();
    let mut target = sshd.target();
    target.login.private_key = Some(std::fs::read_to_string(&user).unwrap().into());
    let limit = Duration::from_secs(2);
    connect_with_retries(&target, limit, &no_progress, &CancellationToken::new()).await.err().unwrap();
    target.login.certificate = Some(std::fs::read_to_string(format!("{user}-cert.pub")).unwrap());
    connect_with_retries(&target, LIMIT, &no_progress, &CancellationToken::new()).await.unwrap();
}

#[tokio::test]
async fn algorithms_can_be_chosen() {
    let sshd = Sshd::start_on(
        free_port(),
        103,
        "Ciphers aes128-ctr\nKexAlgorithms ecdh-sha2-nistp256\nSubsystem sftp internal-sftp",
    );
    let target = |cipher: &str| SshTarget {
        ciphers: vec![cipher.to_owned()],
        key_exchange: vec!["ecdh-sha2-nistp256".to_owned()],
        ..sshd.target()
    };
    connect_with_retries(&target("aes128-ctr"), LIMIT, &no_progress, &CancellationToken::new()).await.unwrap();
    let other = target("aes256-ctr");
    let error = connect_with_retries(&other, LIMIT, &no_progress, &CancellationToken::new()).await.err().unwrap();
    assert!(matches!(error, CommunicatorError::ConnectRefused(ConnectFailure::NoCommonAlgorithm(_))), "{error:?}");
}

/// All names that templates may give are names of the library's.
#[tokio::test]
async fn every_algorithm_of_the_templates_is_there() {
    use crate::template::decode::communicator::{CIPHERS, KEY_EXCHANGES};
    for name in CIPHERS {
        assert!(russh::cipher::Name::try_from(*name).is_ok(), "{name}");
    }
    for name in KEY_EXCHANGES {
        assert!(russh::kex::Name::try_from(*name).is_ok(), "{name}");
    }
}
