//! What scripts print, however odd.

use std::sync::Mutex as StdMutex;

use chrono::{DateTime, Utc};

use super::*;
use crate::domain::failure::Failure;
use crate::domain::hold::Hold;
use crate::domain::ids::{Attempt, BuildId, LeaseEpoch};
use crate::domain::image::{CommitRecord, RunFile};
use crate::domain::journal::{Control, Ending, JournalEntry, StagedAmi};
use crate::domain::state::CleanupState;

/// Keeps log lines; nothing else is asked of it here.
#[derive(Default)]
struct Lines(StdMutex<Vec<LogLine>>);

type Answer<T> = Result<T, JournalError>;

#[async_trait]
impl Journal for Lines {
    fn build_id(&self) -> BuildId {
        BuildId(uuid::Uuid::nil())
    }
    fn epoch(&self) -> LeaseEpoch {
        LeaseEpoch(1)
    }
    async fn last_log_seq(&self) -> Answer<i64> {
        Ok(self.0.lock().unwrap().last().map_or(0, |line| line.seq))
    }
    async fn append_log(&self, lines: &[LogLine]) -> Answer<()> {
        self.0.lock().unwrap().extend_from_slice(lines);
        Ok(())
    }
    async fn load(&self) -> Answer<Vec<JournalEntry>> {
        unreachable!()
    }
    async fn append(&self, _: &[JournalEntry]) -> Answer<()> {
        unreachable!()
    }
    async fn heartbeat(&self) -> Answer<bool> {
        unreachable!()
    }
    async fn control(&self) -> Answer<Control> {
        unreachable!()
    }
    async fn store_private_key(&self, _: Attempt, _: &str) -> Answer<()> {
        unreachable!()
    }
    async fn private_key(&self, _: Attempt) -> Answer<Option<String>> {
        unreachable!()
    }
    async fn staged(&self, _: &[String]) -> Answer<Vec<StagedAmi>> {
        unreachable!()
    }
    async fn give_up(&self, _: &[String]) -> Answer<Vec<StagedAmi>> {
        unreachable!()
    }
    async fn store_file(&self, _: &RunFile) -> Answer<()> {
        unreachable!()
    }
    async fn begin_unwinding(&self, _: &JournalEntry, _: Option<&Failure>) -> Answer<()> {
        unreachable!()
    }
    async fn commit(&self, _: &JournalEntry, _: &CommitRecord) -> Answer<()> {
        unreachable!()
    }
    async fn end(&self, _: &Ending, _: CleanupState) -> Answer<()> {
        unreachable!()
    }
    async fn hold(&self, _: &JournalEntry, _: &Hold) -> Answer<()> {
        unreachable!()
    }
    async fn resume(&self, _: &JournalEntry) -> Answer<()> {
        unreachable!()
    }
    async fn finish_cleanup(&self, _: CleanupState, _: Option<&str>) -> Answer<()> {
        unreachable!()
    }
    async fn release(&self) -> Answer<()> {
        unreachable!()
    }
}

struct Epoch;

impl Clock for Epoch {
    fn now(&self) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH
    }
    fn since_boot(&self) -> Duration {
        Duration::ZERO
    }
}

/// A step's log with a limit, what it is to hide, and where its lines go.
fn log(limit: u64, secrets: &[&str]) -> (BuildLog, StepLog, Arc<Lines>) {
    let lines = Arc::new(Lines::default());
    let redactor = Redactor::new(secrets.iter().copied());
    let log = BuildLog::start_with_limit(lines.clone(), Arc::new(Epoch), redactor, limit);
    let step = log.for_step("provision:1");
    (log, step, lines)
}

async fn saved(log: &BuildLog, step: &StepLog, lines: &Lines) -> Vec<String> {
    step.finish_lines().await;
    log.flush().await;
    let lines = lines.0.lock().unwrap();
    assert!(lines.iter().zip(1..).all(|(line, seq)| line.seq == seq), "numbers have no holes");
    lines.iter().map(|line| line.text.clone()).collect()
}

#[tokio::test]
async fn a_flood_is_kept_to_the_limit_with_its_end_and_costs_no_more() {
    let limit = 1024 * 1024;
    let (log, step, lines) = log(limit, &["hunter2"]);
    // 64 times the limit.
    let block = "0123456789abcdef\n".repeat(1000);
    let whole = 64 * usize::try_from(limit).unwrap() / block.len();
    for _ in 0..whole {
        step.write(OutputStream::Stdout, block.as_bytes()).await;
    }
    step.write(OutputStream::Stderr, b"the end: hunter2\n").await;
    step.say("What Ingot says is never dropped.").await;
    let lines = saved(&log, &step, &lines).await;
    let bytes: usize = lines.iter().map(String::len).sum();
    assert!(bytes as u64 <= limit, "{bytes} bytes are kept");
    let told: Vec<&String> = lines.iter().filter(|line| line.contains("printed more than 1 MiB")).collect();
    assert_eq!(told.len(), 1, "it is told once");
    let tail = &lines[lines.len() - TAIL_LINES - 2..];
    assert_eq!(tail[0], "What Ingot says is never dropped.");
    assert!(tail[1].ends_with(" lines of output were dropped. The last ones:"), "{}", tail[1]);
    assert_eq!(tail.last().unwrap(), "the end: <sensitive>");
    assert_eq!(tail[2], "0123456789abcdef");
}

#[tokio::test]
async fn empty_lines_count_too() {
    let (log, step, lines) = log(10_000, &[]);
    step.write(OutputStream::Stdout, &vec![b'\n'; 100_000]).await;
    let lines = saved(&log, &step, &lines).await;
    assert!(lines.len() < 200, "{}", lines.len());
}

#[tokio::test]
async fn one_line_without_an_end_comes_in_pieces() {
    let (log, step, lines) = log(OUTPUT_LIMIT, &[]);
    for _ in 0..100 {
        step.write(OutputStream::Stdout, &vec![b'x'; 10_000]).await;
    }
    let lines = saved(&log, &step, &lines).await;
    assert_eq!(lines.iter().map(String::len).sum::<usize>(), 1_000_000, "nothing of it is lost");
    assert!(lines.iter().all(|line| line.len() <= 2 * LONGEST_LINE), "no piece is long");
}

#[tokio::test]
async fn binary_output_becomes_text() {
    let (log, step, lines) = log(OUTPUT_LIMIT, &[]);
    step.write(OutputStream::Stdout, b"\x00\xff\xfe\x80 caf\xc3\xa9\n").await;
    // A character whose bytes come apart.
    step.write(OutputStream::Stdout, b"caf\xc3").await;
    step.write(OutputStream::Stdout, b"\xa9\n10 %\r50 %\r100 %\r\n").await;
    let lines = saved(&log, &step, &lines).await;
    assert_eq!(lines, ["\u{2400}\u{fffd}\u{fffd}\u{fffd} café", "café", "100 %"]);
}

#[tokio::test]
async fn no_secret_escapes_between_two_pieces_of_a_long_line() {
    let secret = "correct horse battery staple";
    for before in LONGEST_LINE - 2 * secret.len()..LONGEST_LINE + 2 * secret.len() {
        let (log, step, lines) = log(OUTPUT_LIMIT, &[secret]);
        let text = format!("{}{secret}{}", "é".repeat(before / 2), "z".repeat(3 * LONGEST_LINE));
        for chunk in text.as_bytes().chunks(4093) {
            step.write(OutputStream::Stdout, chunk).await;
        }
        let joined = saved(&log, &step, &lines).await.concat();
        assert!(joined.contains("é<sensitive>z"), "secret at {before}");
        assert!(!joined.contains("horse") && !joined.contains('\u{fffd}'), "secret at {before}");
    }
}
