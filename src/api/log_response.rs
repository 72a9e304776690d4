//! A log on its way out: plain text of what there is, or server-sent events that go on.

use std::convert::Infallible;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use futures::StreamExt as _;
use serde::Serialize;
use tokio_stream::wrappers::ReceiverStream;
use utoipa::ToSchema;
use uuid::Uuid;

use super::ApiState;
use super::query::Query;
use super::v1::runs::view::Run;
use crate::domain::error::{Error, Result};
use crate::domain::ids::BuildId;
use crate::logs::tail::{self, Heard, Position, States, Subject, TailLine};
use crate::store::runs::RunRow;

/// Silence is broken by a comment this often, so that proxies keep the connection.
const HEARTBEAT: Duration = Duration::from_secs(15);
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
/// Tells nginx and its like to pass events on at once.
const ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// `event: log`: one line of a build's log.
#[derive(Debug, Serialize, ToSchema)]
pub struct LogEvent {
    /// The build's name.
    pub build: String,
    pub build_id: Uuid,
    /// From 1, for the whole build.
    pub seq: i64,
    pub at: DateTime<Utc>,
    /// The step that said it.
    pub step: Option<String>,
    /// `say`, `stdout`, `stderr` or `error`.
    pub stream: &'static str,
    pub text: String,
}

/// `event: state`: the run's state and those of its builds.
#[derive(Debug, Serialize, ToSchema)]
pub struct StateEvent {
    pub run_state: &'static str,
    pub builds: Vec<BuildState>,
}

/// One build within `event: state`.
#[derive(Debug, Serialize, ToSchema)]
pub struct BuildState {
    pub id: Uuid,
    pub name: String,
    pub state: &'static str,
    /// The step that spoke last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
}

/// Whether the client asked for events.
#[must_use]
pub fn wants_events(headers: &HeaderMap) -> bool {
    headers
        .get_all(header::ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .any(|value| value.to_ascii_lowercase().contains("text/event-stream"))
}

/// The last event that the client has seen. A browser's header wins over the query that it began with.
///
/// # Errors
/// `query-invalid`, `event-id-invalid`.
pub fn last_event_id(headers: &HeaderMap, query: &mut Query) -> Result<Option<String>> {
    let of_query = query.one("last_event_id")?;
    match headers.get(&LAST_EVENT_ID) {
        None => Ok(of_query),
        Some(value) => match value.to_str() {
            Ok(text) => Ok(Some(text.to_owned())),
            Err(_) => {
                Err(Error::bad_request("event-id-invalid", "The last event id is not one that this stream gave."))
            }
        },
    }
}

/// All lines there are now. Without `build`, each line is led by its build's name.
#[must_use]
pub fn text(state: &ApiState, run: RunRow, build: Option<BuildId>) -> Response {
    let lines = ReceiverStream::new(tail::finished_part(state.store.clone(), run, build));
    let body = lines.map(move |batch| match batch {
        Ok(lines) => Ok(Bytes::from(lines.iter().map(|line| text_line(line, build.is_none())).collect::<String>())),
        Err(error) => {
            // The headers are out: cutting the body short is the only way left to say that it is not whole.
            tracing::error!(error = error.for_log(), "a log could not be sent to its end");
            Err(error)
        }
    });
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8")),
        (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    ];
    (headers, Body::from_stream(body)).into_response()
}

fn text_line(line: &TailLine, with_build: bool) -> String {
    if with_build { format!("{}: {}\n", line.build_name, line.line.text) } else { format!("{}\n", line.line.text) }
}

/// Events until the run is over.
#[must_use]
pub fn live(state: &ApiState, subject: Subject, position: Position) -> Response {
    let heard = ReceiverStream::new(tail::follow(state.store.clone(), subject, position, state.drain.clone()));
    let events = heard.map(move |heard| Ok::<_, Infallible>(event(heard, subject)));
    let mut response = Sse::new(events).keep_alive(KeepAlive::new().interval(HEARTBEAT)).into_response();
    response.headers_mut().insert(ACCEL_BUFFERING, HeaderValue::from_static("no"));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn event(heard: Heard, subject: Subject) -> Event {
    match heard {
        Heard::Line(line, position) => {
            let id = if subject.build.is_some() { line.line.seq.to_string() } else { position.to_string() };
            let data = LogEvent {
                build: line.build_name,
                build_id: line.build.0,
                seq: line.line.seq,
                at: line.line.at,
                step: line.line.step,
                stream: line.line.stream.as_str(),
                text: line.line.text,
            };
            json_event("log", &data).id(id)
        }
        Heard::States(states) => json_event("state", &state_event(states)),
        Heard::End(run) => json_event("end", &Run::of(*run)),
    }
}

fn state_event(states: States) -> StateEvent {
    let builds = states.builds.into_iter().map(|build| BuildState {
        id: build.id.0,
        name: build.name,
        state: build.state.as_str(),
        step: build.step,
    });
    StateEvent { run_state: states.run.as_str(), builds: builds.collect() }
}

fn json_event(name: &str, data: &impl Serialize) -> Event {
    // These types have nothing that JSON can't say; an empty object is what a client would pass over.
    Event::default().event(name).data(serde_json::to_string(data).unwrap_or_else(|_| "{}".to_owned()))
}
