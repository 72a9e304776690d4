//! `GET /v1/runs/{id}`.

use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::Response;

use super::run_id;
use super::view::Run;
use crate::api::principal::Viewer;
use crate::api::problem::{ApiResult, Problem};
use crate::api::{ApiState, etag};

/// Read a run
#[utoipa::path(
    get,
    path = "/v1/runs/{id}",
    tag = "runs",
    params(
        ("id" = String, Path, description = "The run's id"),
        ("If-None-Match" = Option<String>, Header, description = "The `ETag` of an earlier answer"),
    ),
    responses(
        (status = 200, description = "The run", body = Run, headers(("ETag" = String, description = "For `If-None-Match`"))),
        (status = 304, description = "Nothing has changed"),
        (status = 404, description = "No such run", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn get_run(
    State(state): State<ApiState>,
    _: Viewer,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> ApiResult<Response> {
    let run = state.store.run(run_id(&id)?).await?;
    etag::respond(&headers, &Run::of(run))
}
