//! `GET /v1/runs/{id}/manifest`.

use axum::extract::{Path, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};

use super::run_id;
use crate::api::ApiState;
use crate::api::principal::Viewer;
use crate::api::problem::{ApiResult, Problem};
use crate::api::query::Query;
use crate::domain::error::Error;
use crate::store::run_files::manifest_text;

/// Read a run's manifest
///
/// Byte for byte what Packer's `manifest` post-processor would have written.
#[utoipa::path(
    get,
    path = "/v1/runs/{id}/manifest",
    tag = "runs",
    params(
        ("id" = String, Path, description = "The run's id"),
        ("output" = Option<String>, Query, description = "The one that goes to this file; the first when left out"),
    ),
    responses(
        (status = 200, description = "The manifest", body = Object, content_type = "application/json"),
        (status = 404, description = "No such run, or it has no manifest (yet)", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn get_run_manifest(
    State(state): State<ApiState>,
    _: Viewer,
    Path(id): Path<String>,
    mut query: Query,
) -> ApiResult<Response> {
    let output = query.one("output")?;
    query.finish()?;
    let id = run_id(&id)?;
    state.store.run(id).await?;
    let manifest = state.store.manifest(id, output.as_deref()).await?.ok_or_else(|| {
        Error::not_found(
            "manifest-not-found",
            "The run has no such manifest: no build with a `manifest` post-processor for it has succeeded so far.",
        )
    })?;
    Ok(([(header::CONTENT_TYPE, "application/json")], manifest_text(&manifest)).into_response())
}
