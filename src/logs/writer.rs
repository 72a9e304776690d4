//! Gathers a build's log lines and saves them in batches. What scripts print is kept up to [`OUTPUT_LIMIT`]; what comes
//! after it is dropped, but for the last lines of each step, and the script goes on.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::{Mutex, mpsc, oneshot};

use super::Redactor;
use crate::communicator::{OutputSink, OutputStream};
use crate::domain::clock::Clock;
use crate::domain::journal::{ANSWER_LIMIT, Journal, JournalError, LogLine, LogStream};

/// Lines that wait to be saved; when the database is slower than a script talks, the script waits.
const QUEUE: usize = 2_000;
/// Lines in one save.
const BATCH: usize = 500;
/// How long a line waits for company.
const LINGER: Duration = Duration::from_millis(150);
/// Longer lines are cut in pieces, in bytes.
const LONGEST_LINE: usize = 16 * 1024;
/// What is kept of the output of a build's scripts while one server has the build, in bytes.
pub const OUTPUT_LIMIT: u64 = 64 * 1024 * 1024;
/// What a line costs beside its text: a script that prints empty lines for ever must meet the limit too.
const LINE_COST: u64 = 100;
/// Of a step whose output was dropped, so many lines at its end are kept all the same.
const TAIL_LINES: usize = 50;

enum Message {
    Line { step: Option<String>, stream: LogStream, text: String },
    Flush(oneshot::Sender<()>),
}

/// The log of one build while this server owns it. Clones write to the same log.
#[derive(Clone)]
pub struct BuildLog {
    sender: mpsc::Sender<Message>,
    redactor: Arc<Redactor>,
    /// What scripts have printed so far, in bytes, and how much of it is kept.
    output: Arc<AtomicU64>,
    output_limit: u64,
}

impl BuildLog {
    /// Starts the task that saves lines. It ends when all clones are gone or the lease is lost.
    #[must_use]
    pub fn start(journal: Arc<dyn Journal>, clock: Arc<dyn Clock>, redactor: Redactor) -> Self {
        Self::start_with_limit(journal, clock, redactor, OUTPUT_LIMIT)
    }

    fn start_with_limit(
        journal: Arc<dyn Journal>,
        clock: Arc<dyn Clock>,
        redactor: Redactor,
        output_limit: u64,
    ) -> Self {
        let (sender, receiver) = mpsc::channel(QUEUE);
        tokio::spawn(save_lines(journal, clock, receiver));
        Self { sender, redactor: Arc::new(redactor), output: Arc::default(), output_limit }
    }

    /// The log as one step sees it.
    #[must_use]
    pub fn for_step(&self, step: &str) -> StepLog {
        StepLog { log: self.clone(), step: Some(step.to_owned()), heard: Arc::default() }
    }

    #[must_use]
    pub fn redactor(&self) -> &Redactor {
        &self.redactor
    }

    /// Adds text of Ingot's own, one log line for each line of it.
    pub async fn say(&self, step: Option<&str>, stream: LogStream, text: &str) {
        for line in self.redactor.redact(text).lines() {
            self.send(step, stream, line.to_owned()).await;
        }
    }

    async fn send(&self, step: Option<&str>, stream: LogStream, text: String) {
        // The receiver is gone only when the lease is lost; then the new owner's log is the one that counts.
        let _ = self.sender.send(Message::Line { step: step.map(str::to_owned), stream, text }).await;
    }

    /// Waits until everything said so far is saved, or can't be any more.
    pub async fn flush(&self) {
        let (done, saved) = oneshot::channel();
        if self.sender.send(Message::Flush(done)).await.is_ok() {
            let _ = saved.await;
        }
    }
}

/// A step's view of its build's log; also takes the output of remote commands.
#[derive(Clone)]
pub struct StepLog {
    log: BuildLog,
    step: Option<String>,
    heard: Arc<Mutex<Heard>>,
}

/// What a step has heard from the machine and is not in the log yet.
#[derive(Default)]
struct Heard {
    /// Unfinished lines of stdout and stderr.
    partial: [Vec<u8>; 2],
    /// The last lines that were dropped.
    tail: VecDeque<(LogStream, String)>,
    dropped_lines: u64,
}

impl StepLog {
    /// Says what Ingot does.
    pub async fn say(&self, text: &str) {
        self.log.say(self.step.as_deref(), LogStream::Say, text).await;
    }

    /// Says what went wrong.
    pub async fn error(&self, text: &str) {
        self.log.say(self.step.as_deref(), LogStream::Error, text).await;
    }

    #[must_use]
    pub fn redactor(&self) -> &Redactor {
        self.log.redactor()
    }

    /// Writes out lines that the remote side did not finish, and the end of what was dropped.
    pub async fn finish_lines(&self) {
        let mut heard = self.heard.lock().await;
        for (slot, stream) in [(0, LogStream::Stdout), (1, LogStream::Stderr)] {
            let line = std::mem::take(&mut heard.partial[slot]);
            if !line.is_empty() {
                self.output_line(&mut heard, stream, &line).await;
            }
        }
        let tail = std::mem::take(&mut heard.tail);
        let before = std::mem::take(&mut heard.dropped_lines).saturating_sub(tail.len() as u64);
        if tail.is_empty() {
            return;
        }
        self.error(&format!("{before} lines of output were dropped. The last ones:")).await;
        for (stream, text) in tail {
            self.log.send(self.step.as_deref(), stream, self.log.redactor.redact(&text)).await;
        }
    }

    async fn output_line(&self, heard: &mut Heard, stream: LogStream, bytes: &[u8]) {
        let text = String::from_utf8_lossy(bytes);
        // PostgreSQL's text can't hold NUL, and a progress bar's carriage returns mean "only the last one counts".
        let text = text.trim_end_matches('\r').rsplit('\r').next().unwrap_or_default().replace('\0', "\u{2400}");
        let cost = text.len() as u64 + LINE_COST;
        let before = self.log.output.fetch_add(cost, Ordering::Relaxed);
        if before + cost <= self.log.output_limit {
            self.log.send(self.step.as_deref(), stream, self.log.redactor.redact(&text)).await;
            return;
        }
        if before <= self.log.output_limit {
            let limit = self.log.output_limit / (1024 * 1024);
            self.error(&format!(
                "This build has printed more than {limit} MiB: what follows is not kept, but for the end of each step. The script goes on."
            ))
            .await;
        }
        heard.dropped_lines += 1;
        heard.tail.push_back((stream, text));
        if heard.tail.len() > TAIL_LINES {
            heard.tail.pop_front();
        }
    }

    /// Cuts a piece off a line that is too long. Its end is held back: a secret may have begun there.
    async fn output_piece(&self, heard: &mut Heard, slot: usize, stream: LogStream) {
        let pending = std::mem::take(&mut heard.partial[slot]);
        let whole = match std::str::from_utf8(&pending) {
            // A character whose rest is still to come.
            Err(error) if error.error_len().is_none() => error.valid_up_to(),
            _ => pending.len(),
        };
        let text = self.log.redactor.redact(&String::from_utf8_lossy(&pending[..whole]));
        let hold = self.log.redactor.longest().saturating_sub(1);
        let mut cut = text.len().saturating_sub(hold);
        while !text.is_char_boundary(cut) {
            cut -= 1;
        }
        // A secret longer than a whole piece: nothing can be let go yet.
        let (piece, kept) = text.split_at(cut);
        heard.partial[slot] = [kept.as_bytes(), &pending[whole..]].concat();
        if !piece.is_empty() {
            self.output_line(heard, stream, piece.as_bytes()).await;
        }
    }
}

#[async_trait]
impl OutputSink for StepLog {
    async fn write(&self, stream: OutputStream, bytes: &[u8]) {
        let (slot, stream) = match stream {
            OutputStream::Stdout => (0, LogStream::Stdout),
            OutputStream::Stderr => (1, LogStream::Stderr),
        };
        let mut heard = self.heard.lock().await;
        let longest = LONGEST_LINE + self.log.redactor.longest();
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            for piece in piece.chunks(LONGEST_LINE) {
                heard.partial[slot].extend_from_slice(piece);
                if heard.partial[slot].ends_with(b"\n") {
                    let mut line = std::mem::take(&mut heard.partial[slot]);
                    line.pop();
                    self.output_line(&mut heard, stream, &line).await;
                } else if heard.partial[slot].len() >= longest {
                    self.output_piece(&mut heard, slot, stream).await;
                }
            }
        }
    }
}

async fn save_lines(journal: Arc<dyn Journal>, clock: Arc<dyn Clock>, mut receiver: mpsc::Receiver<Message>) {
    let mut next_seq: Option<i64> = None;
    loop {
        let Some(first) = receiver.recv().await else { return };
        let mut lines = Vec::new();
        let mut flushed = Vec::new();
        take(first, &*clock, &mut lines, &mut flushed);
        let linger = tokio::time::sleep(LINGER);
        tokio::pin!(linger);
        while lines.len() < BATCH && flushed.is_empty() {
            tokio::select! {
                message = receiver.recv() => match message {
                    Some(message) => take(message, &*clock, &mut lines, &mut flushed),
                    None => break,
                },
                () = &mut linger => break,
            }
        }
        if !lines.is_empty() && !save(&*journal, &mut next_seq, lines).await {
            return;
        }
        for done in flushed {
            let _ = done.send(());
        }
    }
}

fn take(message: Message, clock: &dyn Clock, lines: &mut Vec<LogLine>, flushed: &mut Vec<oneshot::Sender<()>>) {
    match message {
        Message::Line { step, stream, text } => lines.push(LogLine { seq: 0, at: clock.now(), step, stream, text }),
        Message::Flush(done) => flushed.push(done),
    }
}

/// Saves until it is saved or the lease is lost (`false`).
async fn save(journal: &dyn Journal, next_seq: &mut Option<i64>, mut lines: Vec<LogLine>) -> bool {
    let mut pause = Duration::from_millis(200);
    loop {
        let result = tokio::time::timeout(ANSWER_LIMIT, try_save(journal, next_seq, &mut lines)).await;
        match result.unwrap_or_else(|_| Err(JournalError::unanswered())) {
            Ok(()) => return true,
            Err(JournalError::LeaseLost) => return false,
            Err(error @ JournalError::Inconsistent(_)) => {
                tracing::error!(build_id = %journal.build_id(), %error, "log lines could not be saved");
                return false;
            }
            Err(JournalError::Unavailable(reason)) => {
                tracing::warn!(build_id = %journal.build_id(), reason, "log lines wait for the database");
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(Duration::from_secs(5));
            }
        }
    }
}

async fn try_save(
    journal: &dyn Journal,
    next_seq: &mut Option<i64>,
    lines: &mut [LogLine],
) -> Result<(), JournalError> {
    let first = match *next_seq {
        Some(seq) => seq,
        None => journal.last_log_seq().await? + 1,
    };
    *next_seq = Some(first);
    let mut seq = first;
    for line in lines.iter_mut() {
        line.seq = seq;
        seq += 1;
    }
    journal.append_log(lines).await?;
    *next_seq = Some(seq);
    Ok(())
}

#[cfg(test)]
mod tests;
