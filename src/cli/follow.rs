//! Follows a live log over server-sent events until its run is over, across lost connections and restarts of the server.

use std::time::Duration;

use futures::StreamExt as _;
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior};

use super::client::Client;
use super::error::{CliError, CliResult};
use super::screen::Screen;
use super::sse::{Event, Parser};
use super::wire::{LogEvent, StateEvent};

/// The server sends a heartbeat every 15 s: a stream without one for this long is dead.
const SILENCE: Duration = Duration::from_secs(45);
/// Before the first reconnection, unless the server says otherwise; doubled up to [`MAX_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const MAX_PAUSE: Duration = Duration::from_secs(5);
/// How long the server may be away.
const GIVE_UP: Duration = Duration::from_mins(10);

/// Where the log is and what an interrupt does.
#[derive(Debug, Clone, Copy)]
pub struct Following<'a> {
    /// Below `/v1`: `["runs", id, "log"]`.
    pub path: &'a [&'a str],
    /// The run that the first Ctrl-C cancels; `None`: the first one ends the following.
    pub cancels: Option<&'a str>,
}

/// How it ended.
#[derive(Debug)]
pub enum Ending {
    /// The run (or build) is over: the data of `event: end`.
    Over { last: Value, cancelled_by_us: bool },
    /// Builds wait for an operator, and nothing else goes on.
    Stuck,
    /// The user left.
    Left,
}

enum Stopped {
    Over(Value),
    Stuck,
    Left,
    /// The connection is gone; whether anything came over it.
    Lost {
        progress: bool,
        reason: String,
    },
}

/// Follows until the end. `interrupts` gives one message for each Ctrl-C.
///
/// # Errors
/// When the server refuses, or stays away for ten minutes.
pub async fn follow(
    client: &Client,
    what: Following<'_>,
    screen: &mut Screen,
    interrupts: &mut mpsc::Receiver<()>,
) -> CliResult<Ending> {
    let mut follower = Follower {
        client,
        what,
        screen,
        interrupts,
        parser: Parser::default(),
        last_id: None,
        interrupted: false,
        cancelled: false,
        start: Instant::now(),
    };
    let ending = follower.until_over().await;
    follower.screen.finish()?;
    ending
}

/// How long a second interrupt waits for the cancel that the first one asked for.
const PARTING: Duration = Duration::from_secs(2);

struct Follower<'a> {
    client: &'a Client,
    what: Following<'a>,
    screen: &'a mut Screen,
    interrupts: &'a mut mpsc::Receiver<()>,
    parser: Parser,
    last_id: Option<String>,
    interrupted: bool,
    cancelled: bool,
    start: Instant,
}

impl Follower<'_> {
    async fn until_over(&mut self) -> CliResult<Ending> {
        let mut last_progress = Instant::now();
        let mut pause = FIRST_PAUSE;
        let mut told = false;
        loop {
            let (progress, reason) = match self.connection().await? {
                Stopped::Over(last) => return Ok(Ending::Over { last, cancelled_by_us: self.cancelled }),
                Stopped::Stuck => return Ok(Ending::Stuck),
                Stopped::Left => return Ok(Ending::Left),
                Stopped::Lost { progress, reason } => (progress, reason),
            };
            let first = self.parser.retry().unwrap_or(FIRST_PAUSE);
            if progress {
                last_progress = Instant::now();
                pause = first;
                told = false;
            } else {
                if last_progress.elapsed() > GIVE_UP {
                    return Err(CliError::Unreachable { server: self.client.server().to_owned(), reason });
                }
                if !std::mem::replace(&mut told, true) {
                    self.screen
                        .say(&format!("The connection is lost ({reason}); trying again. The run goes on meanwhile."))?;
                }
            }
            if !self.wait(pause).await? {
                return Ok(Ending::Left);
            }
            pause = (pause * 2).clamp(first, MAX_PAUSE.max(first));
        }
    }

    /// One connection, to its end.
    async fn connection(&mut self) -> CliResult<Stopped> {
        let (client, path, last_id) = (self.client, self.what.path, self.last_id.clone());
        let opening = client.events(path, last_id.as_deref());
        tokio::pin!(opening);
        let response = loop {
            tokio::select! {
                response = &mut opening => break response,
                Some(()) = self.interrupts.recv() => {
                    if self.on_interrupt().await? { return Ok(Stopped::Left); }
                }
            }
        };
        let response = match response {
            Ok(response) => response,
            Err(CliError::Unreachable { reason, .. }) => return Ok(Stopped::Lost { progress: false, reason }),
            // A proxy's answer, or a server that is starting.
            Err(CliError::NotIngot { reason, .. }) if self.last_id.is_some() => {
                return Ok(Stopped::Lost { progress: false, reason });
            }
            Err(CliError::Problem(problem)) if matches!(problem.status, 429 | 502..=504) => {
                return Ok(Stopped::Lost { progress: false, reason: problem.title });
            }
            Err(error) => return Err(error),
        };
        // What was cut off comes again after the last complete event.
        self.parser = Parser::default();
        let mut progress = false;
        let mut stream = response.bytes_stream();
        let mut ticks = tokio::time::interval(Duration::from_secs(1));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut heard = Instant::now();
        loop {
            tokio::select! {
                chunk = stream.next() => {
                    heard = Instant::now();
                    let chunk = match chunk {
                        Some(Ok(chunk)) => chunk,
                        Some(Err(error)) => return Ok(Stopped::Lost { progress, reason: super::client::reason(&error) }),
                        None => return Ok(Stopped::Lost { progress, reason: "the server closed it".into() }),
                    };
                    let events = self.parser.feed(&chunk).map_err(|error| self.not_ingot(error.to_string()))?;
                    for event in events {
                        progress = true;
                        if let Some(stopped) = self.on_event(&event)? {
                            return Ok(stopped);
                        }
                    }
                    if let Some(id) = self.parser.last_id() {
                        self.last_id = Some(id.to_owned());
                    }
                }
                _ = ticks.tick() => {
                    self.screen.tick(self.start.elapsed())?;
                    if heard.elapsed() > SILENCE {
                        return Ok(Stopped::Lost { progress, reason: "nothing came for 45 s".into() });
                    }
                }
                Some(()) = self.interrupts.recv() => {
                    if self.on_interrupt().await? { return Ok(Stopped::Left); }
                }
            }
        }
    }

    /// Returns how it stopped when this is the end.
    fn on_event(&mut self, event: &Event) -> CliResult<Option<Stopped>> {
        match event.name.as_str() {
            "log" => {
                let line: LogEvent = self.parse(event)?;
                self.screen.log(&line)?;
            }
            "state" => {
                let state: StateEvent = self.parse(event)?;
                self.screen.progress(&state.builds, self.start.elapsed());
                self.screen.tick(self.start.elapsed())?;
                if state.run_state == "stuck" {
                    return Ok(Some(Stopped::Stuck));
                }
            }
            "end" => return Ok(Some(Stopped::Over(self.parse(event)?))),
            // Of a newer server.
            _ => {}
        }
        Ok(None)
    }

    fn parse<T: serde::de::DeserializeOwned>(&self, event: &Event) -> CliResult<T> {
        serde_json::from_str(&event.data).map_err(|error| self.not_ingot(format!("event {:?}: {error}", event.name)))
    }

    fn not_ingot(&self, reason: String) -> CliError {
        CliError::NotIngot { server: self.client.server().to_owned(), reason }
    }

    /// Whether to leave now.
    async fn on_interrupt(&mut self) -> CliResult<bool> {
        let Some(run) = self.what.cancels else { return Ok(true) };
        if std::mem::replace(&mut self.interrupted, true) {
            return Ok(true);
        }
        self.screen.say(
            "Cancelling: what was made is being removed. Interrupt again to leave at once; the server finishes alone.",
        )?;
        let path = ["runs", run, "cancel"];
        let cancel = self.client.post::<Value>(&path, None, None);
        tokio::pin!(cancel);
        let answer = tokio::select! {
            answer = &mut cancel => answer,
            Some(()) = self.interrupts.recv() => {
                // At once, but not before the request to cancel had its chance.
                let _ = tokio::time::timeout(PARTING, cancel).await;
                return Ok(true);
            }
        };
        match answer {
            Ok(_) => self.cancelled = true,
            // It is over, or past the point of no return: its end comes over the log.
            Err(CliError::Problem(problem)) => {
                self.screen
                    .say(&format!("The run was not cancelled: {} Interrupt again to leave.", problem.headline()))?;
            }
            Err(error) => self.screen.say(&format!("The run was not cancelled: {error}. Interrupt again to leave."))?,
        }
        Ok(false)
    }

    /// Waits; `false` when the user leaves.
    async fn wait(&mut self, pause: Duration) -> CliResult<bool> {
        let until = Instant::now() + pause;
        loop {
            tokio::select! {
                () = tokio::time::sleep_until(until) => return Ok(true),
                Some(()) = self.interrupts.recv() => if self.on_interrupt().await? { return Ok(false); },
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use wiremock::matchers::{header, method, path};
    use wiremock::{Mock, MockServer, ResponseTemplate};

    use super::super::screen::Look;
    use super::super::screen::tests::Paper;
    use super::*;

    const LOG: &[&str] = &["runs", "r1", "log"];

    fn stream(text: &str) -> ResponseTemplate {
        ResponseTemplate::new(200).set_body_raw(text.to_owned(), "text/event-stream")
    }

    fn line(id: &str, text: &str) -> String {
        let data = json!({"build": "amazon-ebs.a", "build_id": "b1", "seq": 1, "at": "2026-07-29T10:00:00Z", "stream": "say", "text": text});
        format!("id: {id}\nevent: log\ndata: {data}\n\n")
    }

    fn end(state: &str) -> String {
        format!("event: end\ndata: {}\n\n", json!({"id": "r1", "state": state}))
    }

    async fn followed(server: &MockServer, paper: &Paper, interrupts: usize) -> CliResult<Ending> {
        let client = Client::new(&server.uri(), None).unwrap().impatient();
        let (sender, mut receiver) = mpsc::channel(4);
        for _ in 0..interrupts {
            sender.send(()).await.unwrap();
        }
        let following = Following { path: LOG, cancels: Some("r1") };
        follow(&client, following, &mut paper.screen(Look::default()), &mut receiver).await
    }

    #[tokio::test]
    async fn a_lost_connection_is_taken_up_after_the_last_whole_event() {
        let server = MockServer::start().await;
        let cut_off = format!("retry: 1\n\n{}{}id: b1=3\nevent: log\nda", line("b1=1", "one"), line("b1=2", "two"));
        Mock::given(method("GET"))
            .and(header("last-event-id", "b1=2"))
            .respond_with(stream(&format!("{}{}", line("b1=3", "three"), end("succeeded"))))
            .mount(&server)
            .await;
        Mock::given(method("GET"))
            .and(path("/v1/runs/r1/log"))
            .respond_with(stream(&cut_off))
            .up_to_n_times(1)
            .mount(&server)
            .await;
        let paper = Paper::default();
        let ending = followed(&server, &paper, 0).await.unwrap();
        assert!(
            matches!(&ending, Ending::Over { last, cancelled_by_us: false } if last["state"] == "succeeded"),
            "{ending:?}"
        );
        assert_eq!(paper.text(), "==> amazon-ebs.a: one\n==> amazon-ebs.a: two\n==> amazon-ebs.a: three\n");
    }

    #[tokio::test]
    async fn a_server_that_is_starting_is_waited_for_and_said_once() {
        let server = MockServer::start().await;
        let away = ResponseTemplate::new(503).set_body_json(json!({"title": "Service Unavailable", "status": 503}));
        Mock::given(method("GET")).respond_with(away).up_to_n_times(2).mount(&server).await;
        Mock::given(method("GET")).respond_with(stream(&end("failed"))).mount(&server).await;
        let paper = Paper::default();
        assert!(matches!(followed(&server, &paper, 0).await.unwrap(), Ending::Over { .. }));
        assert_eq!(paper.text().matches("trying again").count(), 1, "{}", paper.text());
    }

    #[tokio::test]
    async fn a_refusal_is_no_lost_connection() {
        let server = MockServer::start().await;
        let refusal = ResponseTemplate::new(404)
            .set_body_json(json!({"title": "Not Found", "status": 404, "detail": "There is no such run."}));
        Mock::given(method("GET")).respond_with(refusal).expect(1).mount(&server).await;
        let error = followed(&server, &Paper::default(), 0).await.unwrap_err();
        assert_eq!(error.to_string(), "There is no such run.");
    }

    #[tokio::test]
    async fn the_first_interrupt_cancels_and_the_end_is_awaited() {
        let server = MockServer::start().await;
        let cancelled = ResponseTemplate::new(202).set_body_json(json!({"id": "r1", "state": "running"}));
        Mock::given(method("POST"))
            .and(path("/v1/runs/r1/cancel"))
            .respond_with(cancelled)
            .expect(1)
            .mount(&server)
            .await;
        Mock::given(method("GET")).respond_with(stream(&end("cancelled"))).mount(&server).await;
        let paper = Paper::default();
        let ending = followed(&server, &paper, 1).await.unwrap();
        assert!(matches!(ending, Ending::Over { cancelled_by_us: true, .. }), "{ending:?}");
        assert!(paper.text().contains("Cancelling"), "{}", paper.text());
    }

    #[tokio::test]
    async fn the_second_interrupt_leaves() {
        let server = MockServer::start().await;
        let cancelled = ResponseTemplate::new(202).set_body_json(json!({"id": "r1", "state": "running"}));
        Mock::given(method("POST")).respond_with(cancelled).expect(1).mount(&server).await;
        // A log that never begins.
        Mock::given(method("GET")).respond_with(stream("").set_delay(Duration::from_hours(1))).mount(&server).await;
        assert!(matches!(followed(&server, &Paper::default(), 2).await.unwrap(), Ending::Left));
    }

    #[tokio::test]
    async fn a_cancel_that_comes_too_late_is_said_and_does_not_count() {
        let server = MockServer::start().await;
        let late = ResponseTemplate::new(409)
            .set_body_json(json!({"title": "Conflict", "status": 409, "detail": "The run is over."}));
        Mock::given(method("POST")).respond_with(late).mount(&server).await;
        Mock::given(method("GET")).respond_with(stream(&end("succeeded"))).mount(&server).await;
        let paper = Paper::default();
        let ending = followed(&server, &paper, 1).await.unwrap();
        assert!(matches!(ending, Ending::Over { cancelled_by_us: false, .. }), "{ending:?}");
        assert!(paper.text().contains("The run is over."), "{}", paper.text());
    }

    #[tokio::test]
    async fn a_stuck_run_ends_the_waiting() {
        let server = MockServer::start().await;
        let state = json!({"run_state": "stuck", "builds": [{"id": "b1", "name": "a", "state": "stuck"}]});
        Mock::given(method("GET"))
            .respond_with(stream(&format!("event: state\ndata: {state}\n\n")))
            .mount(&server)
            .await;
        assert!(matches!(followed(&server, &Paper::default(), 0).await.unwrap(), Ending::Stuck));
    }
}
