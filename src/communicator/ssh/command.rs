//! Running one command on a channel of its own: output as it comes, back-pressure, exit status, and on a time-out or a
//! cancel the death of everything it started.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use russh::{Channel, ChannelMsg, Sig, client};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::kill::{KillOnDrop, kill_all};
use super::marker::PidMarker;
use super::{Session, lost};
use crate::communicator::{Command, CommunicatorError, ExitStatus, OutputSink, OutputStream};

/// A background process that kept the output open holds the channel after the command itself has ended. Its output is
/// read on until it pauses for this long, then the channel is closed (Packer waits for ever).
const LINGER_QUIET: Duration = Duration::from_secs(2);
/// … or until this much time is over.
const LINGER_LIMIT: Duration = Duration::from_secs(30);
/// How long a command that was just sent may take to tell its process id before a cancel gives up on killing it.
const MARKER_LIMIT: Duration = Duration::from_secs(5);
/// The extended data type of standard error (RFC 4254, 5.2).
const EXTENDED_STDERR: u32 = 1;

/// One running command.
struct Running<'a> {
    session: &'a Arc<Session>,
    channel: Channel<client::Msg>,
    marker: PidMarker,
    output: &'a dyn OutputSink,
    guard: KillOnDrop,
    status: Option<ExitStatus>,
    refused: bool,
}

/// Why waiting for a command ended early.
enum Stop {
    Cancel,
    Timeout(Duration),
}

pub(super) async fn run(
    session: &Arc<Session>,
    command: &Command,
    output: &dyn OutputSink,
    cancel: &CancellationToken,
) -> Result<ExitStatus, CommunicatorError> {
    let _permit = tokio::select! {
        biased;
        () = cancel.cancelled() => return Err(CommunicatorError::cancelled()),
        permit = session.commands.acquire() => permit.map_err(lost)?,
    };
    let channel = tokio::select! {
        biased;
        () = cancel.cancelled() => return Err(CommunicatorError::cancelled()),
        channel = open(session, command.pty) => channel?,
    };
    // Not given up half-way: a command that was sent must be waited for or killed.
    let mut running = start(session, channel, command, output).await?;
    let deadline = command.timeout.map(|limit| (limit, Instant::now() + limit));
    let stop = tokio::select! {
        biased;
        () = cancel.cancelled() => Stop::Cancel,
        limit = passed(deadline) => Stop::Timeout(limit),
        result = running.finish() => return result,
    };
    let killed = running.kill().await;
    Err(match stop {
        Stop::Cancel => CommunicatorError::Cancelled { killed },
        Stop::Timeout(after) => CommunicatorError::TimedOut { after, killed },
    })
}

async fn passed(deadline: Option<(Duration, Instant)>) -> Duration {
    match deadline {
        Some((limit, at)) => {
            tokio::time::sleep_until(at).await;
            limit
        }
        None => std::future::pending().await,
    }
}

async fn open(session: &Session, pty: bool) -> Result<Channel<client::Msg>, CommunicatorError> {
    let mut channel = session.open_channel("a command").await?;
    if pty {
        // The size and type that Packer asks for.
        channel.request_pty(true, "xterm", 80, 40, 0, 0, &[]).await.map_err(lost)?;
        if !accepted(&mut channel).await {
            return Err(CommunicatorError::ChannelRefused { what: "a terminal", reason: "no PTY allowed".to_owned() });
        }
    }
    Ok(channel)
}

async fn start<'a>(
    session: &'a Arc<Session>,
    channel: Channel<client::Msg>,
    command: &Command,
    output: &'a dyn OutputSink,
) -> Result<Running<'a>, CommunicatorError> {
    let marker = PidMarker::new(session.next_command.fetch_add(1, Ordering::Relaxed), command.pty);
    let guard = KillOnDrop::new(Arc::clone(session));
    channel.exec(true, marker.wrap(&command.text)).await.map_err(lost)?;
    // The command's standard input is empty. A server that has refused the command already does not matter here.
    let _ = channel.eof().await;
    Ok(Running { session, channel, marker, output, guard, status: None, refused: false })
}

/// Waits for the answer to a channel request.
pub(super) async fn accepted(channel: &mut Channel<client::Msg>) -> bool {
    loop {
        match channel.wait().await {
            Some(ChannelMsg::Success) => return true,
            Some(ChannelMsg::Failure | ChannelMsg::Close) | None => return false,
            Some(_) => {}
        }
    }
}

impl Running<'_> {
    /// Hands on output until the command has ended and its output with it. Safe to drop between two messages.
    async fn finish(&mut self) -> Result<ExitStatus, CommunicatorError> {
        while self.status.is_none() {
            let Some(message) = self.channel.wait().await else { break };
            self.take(message).await;
            if self.refused {
                return Err(CommunicatorError::ChannelRefused {
                    what: "a command",
                    reason: "the request was denied".to_owned(),
                });
            }
        }
        self.guard.disarm();
        self.linger().await;
        let rest = self.marker.finish();
        if !rest.is_empty() {
            self.output.write(self.marker.stream(), &rest).await;
        }
        Ok(self.status.take().unwrap_or(ExitStatus::Disconnected))
    }

    async fn linger(&mut self) {
        let limit = Instant::now() + LINGER_LIMIT;
        loop {
            let quiet = Instant::now() + LINGER_QUIET;
            match tokio::time::timeout_at(quiet.min(limit), self.channel.wait()).await {
                Ok(Some(message)) => self.take(message).await,
                Ok(None) => return,
                Err(_) => {
                    tracing::debug!("a background process keeps a finished command's output open; closing the channel");
                    let _ = self.channel.close().await;
                    return;
                }
            }
        }
    }

    async fn take(&mut self, message: ChannelMsg) {
        match message {
            ChannelMsg::Data { data } => self.write(OutputStream::Stdout, &data).await,
            ChannelMsg::ExtendedData { data, ext: EXTENDED_STDERR } => self.write(OutputStream::Stderr, &data).await,
            ChannelMsg::ExitStatus { exit_status } => {
                // Exit codes are 8 bits on every system that sends them.
                self.status = Some(ExitStatus::Code(i32::try_from(exit_status).unwrap_or(i32::MAX)));
            }
            ChannelMsg::ExitSignal { signal_name, core_dumped, .. } => {
                self.status = Some(ExitStatus::Signal { name: signal_text(signal_name), core_dumped });
            }
            ChannelMsg::Failure => self.refused = true,
            _ => {}
        }
    }

    async fn write(&mut self, stream: OutputStream, bytes: &[u8]) {
        let own = self.marker.filter(stream, bytes);
        if let (Some(pid), None) = (self.marker.pid(), self.status.as_ref()) {
            self.guard.arm(pid);
        }
        if !own.is_empty() {
            self.output.write(stream, &own).await;
        }
    }

    /// Kills what the command started and says whether all of it is gone. Its output must be read meanwhile: a full
    /// channel would hold up the connection, the killing with it.
    async fn kill(&mut self) -> bool {
        let limit = Instant::now() + MARKER_LIMIT;
        while self.marker.pid().is_none() && self.status.is_none() {
            match tokio::time::timeout_at(limit, self.channel.wait()).await {
                Ok(Some(message)) => self.take(message).await,
                Ok(None) | Err(_) => break,
            }
        }
        self.guard.disarm();
        let Some(leader) = self.marker.pid() else {
            let _ = self.channel.close().await;
            return self.status.is_some();
        };
        let session = Arc::clone(self.session);
        let killing = kill_all(&session, leader);
        tokio::pin!(killing);
        let mut open = true;
        let gone = loop {
            tokio::select! {
                gone = &mut killing => break gone,
                message = self.channel.wait(), if open => match message {
                    Some(message) => self.take(message).await,
                    None => open = false,
                },
            }
        };
        let _ = self.channel.close().await;
        gone
    }
}

fn signal_text(signal: Sig) -> String {
    match signal {
        Sig::Custom(name) => name,
        known => format!("{known:?}"),
    }
}
