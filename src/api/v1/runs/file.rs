//! `GET /v1/runs/{id}/files/{build_id}/{name}`.

use axum::extract::{Path, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};

use super::run_id;
use crate::api::ApiState;
use crate::api::principal::Viewer;
use crate::api::problem::{ApiResult, Problem};
use crate::domain::error::Error;

/// Fetch a file of a run
#[utoipa::path(
    get,
    path = "/v1/runs/{id}/files/{build_id}/{*name}",
    tag = "runs",
    params(
        ("id" = String, Path, description = "The run's id"),
        ("build_id" = String, Path, description = "The build's id"),
        ("name" = String, Path, description = "The file's name; it may hold slashes"),
    ),
    responses(
        (status = 200, description = "The file's bytes", body = String, content_type = "application/octet-stream"),
        (status = 404, description = "No such file", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn get_run_file(
    State(state): State<ApiState>,
    _: Viewer,
    Path((id, build, name)): Path<(String, String, String)>,
) -> ApiResult<Response> {
    let build = build
        .parse()
        .map_err(|_| Error::not_found("file-not-found", "The run has no such build; a build's id is a UUID."))?;
    let bytes = state.store.file(run_id(&id)?, Some(build), &name).await?;
    // A build's own bytes: no browser may take them for a page of this server.
    let headers = [
        (header::CONTENT_TYPE, "application/octet-stream"),
        (header::CONTENT_DISPOSITION, "attachment"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    Ok((headers, bytes).into_response())
}
