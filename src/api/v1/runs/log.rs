//! `GET /v1/runs/{id}/log`: the merged log of all builds, as text or live.

use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::Response;

use super::run_id;
use crate::api::principal::Viewer;
use crate::api::problem::{ApiResult, Problem};
use crate::api::query::Query;
use crate::api::{ApiState, log_response};
use crate::logs::tail::Subject;

/// Read or follow a run's log
///
/// `text/plain` is the part there is now, each line led by its build's name. `text/event-stream` begins with the same part and goes
/// on until the run is over: events `log` (a line), `state` (of the run and its builds, on changes) and `end` (the run).
#[utoipa::path(
    get,
    path = "/v1/runs/{id}/log",
    tag = "runs",
    params(
        ("id" = String, Path, description = "The run's id"),
        ("Accept" = Option<String>, Header, description = "`text/plain` or `text/event-stream`"),
        ("Last-Event-ID" = Option<String>, Header, description = "Goes on after this event: `<build>=<seq>,…`"),
        ("last_event_id" = Option<String>, Query, description = "As `Last-Event-ID`"),
    ),
    responses(
        (status = 200, description = "The log", content((String = "text/plain"), (String = "text/event-stream"))),
        (status = 404, description = "No such run", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn get_run_log(
    State(state): State<ApiState>,
    _: Viewer,
    Path(id): Path<String>,
    mut query: Query,
    headers: HeaderMap,
) -> ApiResult<Response> {
    let last = log_response::last_event_id(&headers, &mut query)?;
    query.finish()?;
    let run = state.store.run(run_id(&id)?).await?;
    let subject = Subject { run: run.id, build: None };
    if log_response::wants_events(&headers) {
        let position = last.as_deref().unwrap_or_default().parse()?;
        return Ok(log_response::live(&state, subject, position));
    }
    Ok(log_response::text(&state, run, None))
}
