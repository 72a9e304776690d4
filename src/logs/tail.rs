//! The log of a run or of one build, as it grows. Nothing is pushed: the database is asked while somebody listens, so any
//! server can show the log of a build that runs on another one.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::domain::error::{Error, Result};
use crate::domain::ids::{BuildId, RunId};
use crate::domain::journal::LogLine;
use crate::domain::state::{BuildState, RunState};
use crate::store::Store;
use crate::store::runs::RunRow;

/// How often the database is asked while a build is at work, and while none is.
const POLL_ACTIVE: Duration = Duration::from_millis(200);
const POLL_IDLE: Duration = Duration::from_secs(1);
/// Lines read of one build at once.
const BATCH: i64 = 1_000;
/// Events that a slow listener may be behind before reading stops for it.
const BUFFER: usize = 256;

/// How far a listener has read: the last line's number of each build. Written `<build>=<seq>,<build>=<seq>`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Position(BTreeMap<BuildId, i64>);

impl Position {
    /// After a line of one build.
    #[must_use]
    pub fn of(build: BuildId, seq: i64) -> Self {
        Self(BTreeMap::from([(build, seq)]))
    }

    fn seq(&self, build: BuildId) -> i64 {
        self.0.get(&build).copied().unwrap_or(0)
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (build, seq)) in self.0.iter().enumerate() {
            write!(f, "{}{build}={seq}", if index == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}

impl FromStr for Position {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let wrong = || Error::bad_request("event-id-invalid", "The last event id is not one that this stream gave.");
        let pair = |part: &str| {
            let (build, seq) = part.split_once('=').ok_or_else(wrong)?;
            let seq: i64 = seq.parse().map_err(|_| wrong())?;
            Ok((build.parse::<BuildId>().map_err(|_| wrong())?, seq.max(0)))
        };
        text.split(',').filter(|part| !part.is_empty()).map(pair).collect::<Result<_>>().map(Self)
    }
}

/// What is listened to.
#[derive(Debug, Clone, Copy)]
pub struct Subject {
    pub run: RunId,
    /// Only this build's lines.
    pub build: Option<BuildId>,
}

/// A line with the build it is of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TailLine {
    pub build: BuildId,
    pub build_name: String,
    pub line: LogLine,
}

/// The states of a run and its builds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct States {
    pub run: RunState,
    pub builds: Vec<BuildProgress>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildProgress {
    pub id: BuildId,
    pub name: String,
    pub state: BuildState,
    /// The step that spoke last, while the build is at work.
    pub step: Option<String>,
}

/// What a listener hears.
#[derive(Debug)]
pub enum Heard {
    /// A line, and how far one has read with it.
    Line(TailLine, Position),
    States(States),
    /// The run is over and every line was sent. Nothing follows.
    End(Box<RunRow>),
}

/// Listens from a position on. The channel closes without [`Heard::End`] when the server drains: the listener then asks
/// again, elsewhere.
#[must_use]
pub fn follow(store: Store, subject: Subject, position: Position, drain: CancellationToken) -> mpsc::Receiver<Heard> {
    let (sender, receiver) = mpsc::channel(BUFFER);
    let gone = sender.clone();
    let tail = Tail { store, subject, position, sender, told: None, steps: HashMap::new() };
    tokio::spawn(async move {
        tokio::select! {
            () = drain.cancelled() => {}
            () = gone.closed() => {}
            () = tail.run() => {}
        }
    });
    receiver
}

/// All lines there are now, from the start, merged by time: batches come through the channel until it closes.
#[must_use]
pub fn finished_part(store: Store, run: RunRow, build: Option<BuildId>) -> mpsc::Receiver<Result<Vec<TailLine>>> {
    let (sender, receiver) = mpsc::channel(2);
    tokio::spawn(async move {
        let mut position = Position::default();
        loop {
            let lines = read_lines(&store, &run, build, &mut position).await;
            let last = !matches!(&lines, Ok(lines) if !lines.is_empty());
            if matches!(&lines, Ok(lines) if lines.is_empty()) || sender.send(lines).await.is_err() || last {
                break;
            }
        }
    });
    receiver
}

struct Tail {
    store: Store,
    subject: Subject,
    position: Position,
    sender: mpsc::Sender<Heard>,
    told: Option<States>,
    steps: HashMap<BuildId, String>,
}

/// The listener has gone.
struct Gone;

impl Tail {
    async fn run(mut self) {
        loop {
            let pause = match self.store.run(self.subject.run).await {
                Ok(run) => match self.tell(run).await {
                    Ok(Some(pause)) => pause,
                    Ok(None) | Err(Gone) => return,
                },
                Err(error) => {
                    // The listener keeps what it has; the stream goes on when the database is back.
                    tracing::debug!(run = %self.subject.run, error = error.for_log(), "live log can't be read");
                    POLL_IDLE
                }
            };
            tokio::time::sleep(pause).await;
        }
    }

    /// Sends what is new. `None`: that was all.
    async fn tell(&mut self, run: RunRow) -> Result<Option<Duration>, Gone> {
        // The states are read first: lines that came before the end are read after it.
        loop {
            let lines = match read_lines(&self.store, &run, self.subject.build, &mut self.position.clone()).await {
                Ok(lines) => lines,
                Err(error) => {
                    tracing::debug!(run = %run.id, error = error.for_log(), "live log can't be read");
                    return Ok(Some(POLL_IDLE));
                }
            };
            if lines.is_empty() {
                break;
            }
            for line in lines {
                self.tell_line(line).await?;
            }
        }
        self.tell_states(&run).await?;
        if run.state.is_over() {
            self.sender.send(Heard::End(Box::new(run))).await.map_err(|_| Gone)?;
            return Ok(None);
        }
        let active = matches!(run.state, RunState::Running | RunState::Unwinding | RunState::Queued);
        Ok(Some(if active { POLL_ACTIVE } else { POLL_IDLE }))
    }

    async fn tell_line(&mut self, line: TailLine) -> Result<(), Gone> {
        self.position.0.insert(line.build, line.line.seq);
        if let Some(step) = &line.line.step {
            self.steps.insert(line.build, step.clone());
        }
        self.sender.send(Heard::Line(line, self.position.clone())).await.map_err(|_| Gone)
    }

    async fn tell_states(&mut self, run: &RunRow) -> Result<(), Gone> {
        let at_work = |state| matches!(state, BuildState::Running | BuildState::Unwinding);
        let progress =
            run.builds.iter().filter(|build| self.subject.build.is_none_or(|wanted| wanted == build.id)).map(|build| {
                let step = self.steps.get(&build.id).filter(|_| at_work(build.state)).cloned();
                BuildProgress { id: build.id, name: build.name.clone(), state: build.state, step }
            });
        let states = States { run: run.state, builds: progress.collect() };
        if self.told.as_ref() == Some(&states) {
            return Ok(());
        }
        self.told = Some(states.clone());
        self.sender.send(Heard::States(states)).await.map_err(|_| Gone)
    }
}

/// The next lines after a position, merged by time. A build with more lines than one batch holds back what the others
/// said after its last line read, so that the order stays right.
async fn read_lines(
    store: &Store,
    run: &RunRow,
    only: Option<BuildId>,
    position: &mut Position,
) -> Result<Vec<TailLine>> {
    let mut lines = Vec::new();
    let mut horizon = None;
    for build in run.builds.iter().filter(|build| only.is_none_or(|wanted| wanted == build.id)) {
        // A build that was never begun has said nothing.
        if build.started_at.is_none() && build.attempt == 1 && build.state == BuildState::Queued {
            continue;
        }
        let read = store.log(build.id, position.seq(build.id), BATCH).await?;
        if read.len() >= usize::try_from(BATCH).unwrap_or(usize::MAX)
            && let Some(last) = read.last()
        {
            horizon = Some(horizon.map_or(last.at, |at: chrono::DateTime<_>| at.min(last.at)));
        }
        lines.extend(read.into_iter().map(|line| TailLine { build: build.id, build_name: build.name.clone(), line }));
    }
    // Stable, and each build's own times never go back by much: its order is kept by its numbers first.
    lines.sort_by_key(|line| line.line.at);
    let mut kept = in_own_order(lines);
    if let Some(horizon) = horizon {
        let mut cut: HashMap<BuildId, bool> = HashMap::new();
        kept.retain(|line| {
            let over = cut.entry(line.build).or_default();
            *over |= line.line.at > horizon;
            !*over
        });
    }
    for line in &kept {
        position.0.insert(line.build, line.line.seq);
    }
    Ok(kept)
}

/// Puts each build's lines into the places that its lines have, by number: a clock that was set back must not turn a
/// build's own lines around.
fn in_own_order(lines: Vec<TailLine>) -> Vec<TailLine> {
    let mut by_build: HashMap<BuildId, Vec<TailLine>> = HashMap::new();
    let places: Vec<BuildId> = lines.iter().map(|line| line.build).collect();
    for line in lines {
        by_build.entry(line.build).or_default().push(line);
    }
    for own in by_build.values_mut() {
        own.sort_by_key(|line| std::cmp::Reverse(line.line.seq));
    }
    places.iter().filter_map(|build| by_build.get_mut(build)?.pop()).collect()
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use uuid::Uuid;

    use super::*;
    use crate::domain::journal::LogStream;

    fn line(build: u128, seq: i64, at: i64) -> TailLine {
        let at = DateTime::from_timestamp(at, 0).unwrap();
        let line = LogLine { seq, at, step: None, stream: LogStream::Say, text: String::new() };
        TailLine { build: BuildId(Uuid::from_u128(build)), build_name: "b".into(), line }
    }

    #[test]
    fn positions_are_read_as_they_are_written() {
        let mut position = Position::of(BuildId(Uuid::from_u128(1)), 5);
        position.0.insert(BuildId(Uuid::from_u128(2)), 7);
        assert_eq!(position.to_string().parse::<Position>().unwrap(), position);
        assert_eq!("".parse::<Position>().unwrap(), Position::default());
        for wrong in ["5", "x=5", "00000000-0000-0000-0000-000000000001=x"] {
            assert_eq!(wrong.parse::<Position>().unwrap_err().code, "event-id-invalid");
        }
    }

    #[test]
    fn a_clock_set_back_does_not_turn_a_builds_lines_around() {
        let mut lines = vec![line(1, 1, 10), line(1, 2, 5), line(2, 1, 7)];
        lines.sort_by_key(|line| line.line.at);
        let order: Vec<(u128, i64)> =
            in_own_order(lines).iter().map(|line| (line.build.0.as_u128(), line.line.seq)).collect();
        assert_eq!(order, [(1, 1), (2, 1), (1, 2)]);
    }
}
