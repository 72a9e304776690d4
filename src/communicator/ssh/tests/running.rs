//! Commands: what comes back, and what is left after they were stopped.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;

use crate::communicator::ssh::test_support::{Collected, Sshd, run};
use crate::communicator::{Command, Communicator, CommunicatorError, ExitStatus, NoOutput, OutputSink, OutputStream};

#[tokio::test]
async fn codes_signals_and_both_streams_come_back() {
    let sshd = Sshd::start();
    let ssh = sshd.connect().await;
    assert_eq!(run(&ssh, "exit 7").await.0, ExitStatus::Code(7));
    let (status, out, err) = run(&ssh, "echo out; echo err >&2; cat; false").await;
    assert_eq!((status, out.as_str(), err.as_str()), (ExitStatus::Code(1), "out\n", "err\n"));
    let signal = run(&ssh, "kill -9 $$").await.0;
    assert_eq!(signal, ExitStatus::Signal { name: "KILL".to_owned(), core_dumped: false });
    let (status, out, err) = run(&ssh, "# only a comment\nx='it'\"'\"'s'; echo \"$x $0\"").await;
    assert_eq!(status, ExitStatus::Code(0));
    assert!(out.starts_with("it's ") && err.is_empty(), "{out:?} {err:?}");
    let (_, out, _) = run(&ssh, "printf '\\000\\377\\n' | od -An -tx1").await;
    assert_eq!(out.trim(), "00 ff 0a");
}

#[tokio::test]
async fn a_terminal_is_one_when_asked_for() {
    let sshd = Sshd::start();
    let ssh = sshd.connect().await;
    let output = Collected::default();
    let command = Command { pty: true, ..Command::new("test -t 1 && echo tty; echo err >&2; exit 4") };
    let status = ssh.run(&command, &output, &CancellationToken::new()).await.unwrap();
    assert_eq!(
        (status, output.stdout().as_str(), output.stderr().as_str()),
        (ExitStatus::Code(4), "tty\r\nerr\r\n", "")
    );
    assert_eq!(run(&ssh, "test -t 1 || echo none").await.1, "none\n");
}

#[tokio::test]
async fn many_commands_share_one_connection() {
    let sshd = Sshd::start();
    let ssh = sshd.connect().await;
    let all = (0..20).map(|number| {
        let ssh = ssh.clone();
        async move { run(&ssh, &format!("echo $SSH_CLIENT; exit {number}")).await }
    });
    let results = futures::future::join_all(all).await;
    let clients: std::collections::BTreeSet<_> = results.iter().map(|(_, out, _)| out.clone()).collect();
    assert_eq!(clients.len(), 1, "one source port, one connection: {clients:?}");
    for (number, (status, _, _)) in results.into_iter().enumerate() {
        assert_eq!(status, ExitStatus::Code(i32::try_from(number).unwrap()));
    }
}

/// Whether any of the processes is still there (zombies don't count).
fn alive(pids: &str) -> Vec<String> {
    pids.split_whitespace()
        .filter(|pid| {
            std::fs::read_to_string(format!("/proc/{pid}/stat"))
                .is_ok_and(|stat| !stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('Z')))
        })
        .map(str::to_owned)
        .collect()
}

/// Prints the ids of a shell, a child, a child of a child, and one in a session of its own that ignores TERM, then waits.
const FAMILY: &str = "sleep 1000 & a=$!; sh -c 'sleep 1001 & echo $! >&2; wait' & b=$!; \
    setsid sh -c 'trap \"\" TERM HUP; while :; do sleep 1; done' & c=$!; echo $$ $a $b $c; wait";

#[tokio::test]
async fn cancel_kills_the_whole_family() {
    let sshd = Sshd::start();
    let ssh = sshd.connect().await;
    let (cancel, output) = (CancellationToken::new(), Collected::default());
    let command = Command::new(FAMILY);
    let stop = async {
        let pids = output.first_line().await;
        assert_eq!(alive(&pids).len(), 4, "all of {pids} run");
        cancel.cancel();
        pids
    };
    let (result, pids) = tokio::join!(ssh.run(&command, &output, &cancel), stop);
    assert_eq!(result, Err(CommunicatorError::Cancelled { killed: true }));
    assert_eq!(alive(&pids), Vec::<String>::new());
    assert_eq!(alive(&output.stderr()), Vec::<String>::new(), "the grandchild");
    assert_eq!(run(&ssh, "echo ok").await.1, "ok\n", "the connection goes on");
}

#[tokio::test]
async fn a_time_limit_kills_too_even_in_a_terminal() {
    let sshd = Sshd::start();
    let ssh = sshd.connect().await;
    let output = Collected::default();
    let limit = Duration::from_millis(500);
    let command = Command { pty: true, ..Command::new("echo $$; sleep 1000").with_timeout(limit) };
    let result = ssh.run(&command, &output, &CancellationToken::new()).await;
    assert_eq!(result, Err(CommunicatorError::TimedOut { after: limit, killed: true }));
    assert_eq!(alive(&output.first_line().await), Vec::<String>::new());
}

#[tokio::test]
async fn a_dropped_wait_kills_too() {
    let sshd = Sshd::start();
    let ssh = sshd.connect().await;
    let output = Collected::default();
    let pid = {
        let (command, cancel) = (Command::new("echo $$; sleep 1000"), CancellationToken::new());
        tokio::select! {
            result = ssh.run(&command, &output, &cancel) => panic!("it ended: {result:?}"),
            pid = output.first_line() => pid,
        }
    };
    let gone = async {
        while !alive(&pid).is_empty() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), gone).await.expect("the process is killed in the background");
}

#[tokio::test]
async fn cancel_works_while_output_floods() {
    let sshd = Sshd::start();
    let ssh = sshd.connect().await;
    let (cancel, output) = (CancellationToken::new(), Collected::default());
    let command = Command::new("echo $$; yes");
    let stop = async {
        let pid = output.first_line().await;
        cancel.cancel();
        pid
    };
    let (result, pid) = tokio::join!(ssh.run(&command, &output, &cancel), stop);
    assert_eq!(result, Err(CommunicatorError::Cancelled { killed: true }));
    assert_eq!(alive(&pid), Vec::<String>::new());
}

/// Counts and forgets, but takes its time now and then: the sender must be held back, not memory filled.
#[derive(Default)]
struct SlowCounter {
    bytes: AtomicUsize,
    chunks: AtomicUsize,
    largest_rss: AtomicUsize,
}

#[async_trait]
impl OutputSink for SlowCounter {
    async fn write(&self, _stream: OutputStream, bytes: &[u8]) {
        self.bytes.fetch_add(bytes.len(), Ordering::Relaxed);
        if self.chunks.fetch_add(1, Ordering::Relaxed).is_multiple_of(500) {
            tokio::time::sleep(Duration::from_millis(5)).await;
            self.largest_rss.fetch_max(resident_bytes(), Ordering::Relaxed);
        }
    }
}

fn resident_bytes() -> usize {
    let status = std::fs::read_to_string("/proc/self/statm").unwrap();
    status.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

#[tokio::test]
async fn a_flood_is_held_back_instead_of_kept() {
    let sshd = Sshd::start();
    let ssh = sshd.connect().await;
    let (counter, before) = (SlowCounter::default(), resident_bytes());
    let command = Command::new("head -c 200000000 /dev/zero");
    let status = ssh.run(&command, &counter, &CancellationToken::new()).await.unwrap();
    assert_eq!((status, counter.bytes.into_inner()), (ExitStatus::Code(0), 200_000_000));
    let grown = counter.largest_rss.into_inner().saturating_sub(before);
    // Other tests of this process run at the same time; unbounded buffering would show as well over 100 MB.
    assert!(grown < 100_000_000, "memory grew by {grown} bytes");
}

#[tokio::test]
async fn a_daemon_that_keeps_the_output_open_does_not_hold_the_command() {
    let sshd = Sshd::start();
    let ssh = sshd.connect().await;
    let work = run(&ssh, "sleep 1000 & echo $!; exit 3");
    let (status, pid, _) = tokio::time::timeout(Duration::from_secs(20), work).await.expect("it ends by itself");
    assert_eq!(status, ExitStatus::Code(3));
    assert_eq!(alive(&pid).len(), 1, "what a script leaves running on purpose goes on");
    run(&ssh, &format!("kill {pid}")).await;
}

#[tokio::test]
async fn a_lost_connection_is_a_disconnect_and_then_an_error() {
    let sshd = Sshd::start();
    let ssh = sshd.connect().await;
    // The parent of the shell is the connection's own sshd process.
    assert_eq!(run(&ssh, "kill -9 $PPID; sleep 5").await.0, ExitStatus::Disconnected);
    let result = ssh.run(&Command::new("true"), &NoOutput, &CancellationToken::new()).await;
    assert!(result.as_ref().is_err_and(CommunicatorError::is_connection_loss), "{result:?}");
    let result = ssh.upload("/tmp/never", b"", 0o600, &CancellationToken::new()).await;
    assert!(result.as_ref().is_err_and(CommunicatorError::is_connection_loss), "{result:?}");
}
