//! `GET /v1/builds/{id}/log`: one build's log, as text or live.

use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::Response;

use super::build_id;
use crate::api::principal::Viewer;
use crate::api::problem::{ApiResult, Problem};
use crate::api::query::Query;
use crate::api::{ApiState, log_response};
use crate::domain::error::Error;
use crate::logs::tail::{Position, Subject};

/// Read or follow a build's log
///
/// As a run's log, for one build: the event id is the line's number.
#[utoipa::path(
    get,
    path = "/v1/builds/{id}/log",
    tag = "builds",
    params(
        ("id" = String, Path, description = "The build's id"),
        ("Accept" = Option<String>, Header, description = "`text/plain` or `text/event-stream`"),
        ("Last-Event-ID" = Option<String>, Header, description = "Goes on after this line"),
        ("last_event_id" = Option<String>, Query, description = "As `Last-Event-ID`"),
    ),
    responses(
        (status = 200, description = "The log", content((String = "text/plain"), (String = "text/event-stream"))),
        (status = 404, description = "No such build", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn get_build_log(
    State(state): State<ApiState>,
    _: Viewer,
    Path(id): Path<String>,
    mut query: Query,
    headers: HeaderMap,
) -> ApiResult<Response> {
    let last = log_response::last_event_id(&headers, &mut query)?;
    query.finish()?;
    let build = state.store.build(build_id(&id)?).await?;
    if log_response::wants_events(&headers) {
        let position = match last.as_deref() {
            None => Position::default(),
            Some(seq) => Position::of(build.id, read_seq(seq)?),
        };
        let subject = Subject { run: build.run_id, build: Some(build.id) };
        return Ok(log_response::live(&state, subject, position));
    }
    let run = state.store.run(build.run_id).await?;
    Ok(log_response::text(&state, run, Some(build.id)))
}

fn read_seq(text: &str) -> Result<i64, Error> {
    text.parse::<i64>()
        .ok()
        .filter(|seq| *seq >= 0)
        .ok_or_else(|| Error::bad_request("event-id-invalid", "The last event id of a build's log is a line's number."))
}
