//! `GET /v1/schedules/{schedule}`.

use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::Response;

use super::view::Schedule;
use crate::api::principal::Viewer;
use crate::api::problem::{ApiResult, Problem};
use crate::api::{ApiState, etag};

/// Read a schedule, with its next five times
#[utoipa::path(
    get,
    path = "/v1/schedules/{schedule}",
    tag = "schedules",
    params(("schedule" = String, Path, description = "The schedule's name or id")),
    responses(
        (status = 200, description = "The schedule", body = Schedule),
        (status = 304, description = "Nothing has changed"),
        (status = 404, description = "No such schedule", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn get_schedule(
    State(state): State<ApiState>,
    _: Viewer,
    Path(schedule): Path<String>,
    headers: HeaderMap,
) -> ApiResult<Response> {
    let row = state.store.schedule(&schedule).await?;
    etag::respond(&headers, &Schedule::of(row))
}
