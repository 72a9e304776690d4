//! A script's processes on the server's own machine. They are one process group, which ends with its script, with a cancel,
//! when the future that waits is dropped, and when the server dies, however it dies.

use std::io;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::FusedFuture;
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::{Child, Command};
use tokio_util::sync::CancellationToken;

use crate::communicator::{OutputSink, OutputStream};

/// The group's leader. It waits for the end of its standard input, a pipe whose other end only the server has: the kernel
/// closes that when the server is gone, and then the whole group is killed. Signals that a script sends to its own group
/// (`kill 0`) do not end it.
const KEEPER: &str = "trap '' HUP INT QUIT TERM; read -r _; kill -s KILL 0";
/// How long a script may clean up after a cancel.
const TERM_LIMIT: Duration = Duration::from_secs(5);
/// How long what a script has left running may go on writing to the log.
const LINGER: Duration = Duration::from_secs(2);
/// For what is still in the pipes when nothing of the group is left to write: the log may be slow.
const DRAIN_LIMIT: Duration = Duration::from_secs(30);
const CHUNK: usize = 16 * 1024;

/// How a script's run ended.
#[derive(Debug)]
pub(super) enum Ended {
    Itself(ExitStatus),
    Cancelled,
}

/// Runs a program to its end and hands its output to `output` as it comes. Nothing of its group is left afterwards.
///
/// # Errors
/// When it can't be started.
pub(super) async fn run(
    mut command: Command,
    output: &dyn OutputSink,
    cancel: &CancellationToken,
) -> io::Result<Ended> {
    if cancel.is_cancelled() {
        return Ok(Ended::Cancelled);
    }
    let group = Group::start()?;
    let mut child = group.spawn(&mut command)?;
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let reading = async {
        tokio::join!(pass_on(stdout, OutputStream::Stdout, output), pass_on(stderr, OutputStream::Stderr, output));
    };
    let reading = reading.fuse();
    tokio::pin!(reading);
    let ended = loop {
        tokio::select! {
            biased;
            () = cancel.cancelled() => break None,
            status = child.wait() => break Some(status?),
            () = rest(&mut reading), if !reading.is_terminated() => {}
        }
    };
    if ended.is_none() {
        group.signal(Signal::TERM);
        // Its output is read meanwhile: what it says about its end is told, and a full pipe would hold it up.
        let gone = async { tokio::join!(child.wait(), rest(&mut reading)) };
        let _ = tokio::time::timeout(TERM_LIMIT, gone).await;
    } else {
        // Such as that of the `tee` which a script writes through.
        let _ = tokio::time::timeout(LINGER, rest(&mut reading)).await;
    }
    group.end().await;
    if tokio::time::timeout(DRAIN_LIMIT, rest(&mut reading)).await.is_err() {
        tracing::debug!("a process that left a local script's group keeps its output open");
    }
    Ok(ended.map_or(Ended::Cancelled, Ended::Itself))
}

/// What is left of the reading, if anything is.
async fn rest(reading: &mut (impl FusedFuture<Output = ()> + Unpin)) {
    if !reading.is_terminated() {
        reading.await;
    }
}

async fn pass_on(from: Option<impl AsyncRead + Unpin>, stream: OutputStream, output: &dyn OutputSink) {
    let Some(mut from) = from else { return };
    let mut chunk = vec![0; CHUNK];
    // A pipe that can't be read has ended.
    while let Ok(length @ 1..) = from.read(&mut chunk).await {
        output.write(stream, &chunk[..length]).await;
    }
}

/// A process group; dropping it kills all of it.
struct Group {
    /// Not waited for before the end: so the group's number stays taken.
    keeper: Child,
    leader: Pid,
}

impl Group {
    fn start() -> io::Result<Self> {
        let keeper = Command::new("/bin/sh")
            .args(["-c", KEEPER])
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| io::Error::new(error.kind(), format!("/bin/sh: {error}")))?;
        let id = keeper.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        let leader = id.ok_or_else(|| io::Error::other("a process that was just started has no number"))?;
        Ok(Self { keeper, leader })
    }

    fn spawn(&self, command: &mut Command) -> io::Result<Child> {
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(self.leader.as_raw_nonzero().get())
            .kill_on_drop(true)
            .spawn()
    }

    fn signal(&self, signal: Signal) {
        // The keeper is there, so is the group; a process of another user (sudo) may stay.
        if let Err(error) = kill_process_group(self.leader, signal) {
            tracing::debug!(%error, ?signal, "a local script's processes could not all be signalled");
        }
    }

    /// Kills what is left and waits until the leader is gone.
    async fn end(mut self) {
        self.signal(Signal::KILL);
        let _ = self.keeper.wait().await;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // Once the keeper was waited for, the number may be another's.
        if self.keeper.id().is_some() {
            self.signal(Signal::KILL);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the kernel does when the server is killed.
    #[tokio::test]
    async fn a_group_ends_when_the_server_s_end_of_the_pipe_is_closed() {
        let mut group = Group::start().unwrap();
        let mut script = group.spawn(Command::new("/bin/sleep").arg("600")).unwrap();
        drop(group.keeper.stdin.take());
        assert_eq!(script.wait().await.unwrap().to_string(), "signal: 9 (SIGKILL)");
        assert_eq!(group.keeper.wait().await.unwrap().to_string(), "signal: 9 (SIGKILL)");
    }
}
