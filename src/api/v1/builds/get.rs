//! `GET /v1/builds/{id}`.

use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::Response;

use super::build_id;
use crate::api::principal::Viewer;
use crate::api::problem::{ApiResult, Problem};
use crate::api::v1::runs::view::Build;
use crate::api::{ApiState, etag};

/// Read a build
#[utoipa::path(
    get,
    path = "/v1/builds/{id}",
    tag = "builds",
    params(
        ("id" = String, Path, description = "The build's id"),
        ("If-None-Match" = Option<String>, Header, description = "The `ETag` of an earlier answer"),
    ),
    responses(
        (status = 200, description = "The build", body = Build),
        (status = 304, description = "Nothing has changed"),
        (status = 404, description = "No such build", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn get_build(
    State(state): State<ApiState>,
    _: Viewer,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> ApiResult<Response> {
    let build = state.store.build(build_id(&id)?).await?;
    etag::respond(&headers, &Build::of(build))
}
