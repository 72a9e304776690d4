//! `GET /v1/templates/{name}`.

use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::Response;

use super::view::Template;
use crate::api::principal::Viewer;
use crate::api::problem::{ApiResult, Problem};
use crate::api::{ApiState, etag};

/// Read a template, with its newest version
#[utoipa::path(
    get,
    path = "/v1/templates/{name}",
    tag = "templates",
    params(("name" = String, Path, description = "The template's name or id")),
    responses(
        (status = 200, description = "The template", body = Template),
        (status = 304, description = "Nothing has changed"),
        (status = 404, description = "No such template", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn get_template(
    State(state): State<ApiState>,
    _: Viewer,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> ApiResult<Response> {
    let row = state.store.template(&name).await?;
    let version = state.store.version(row.id, None).await?;
    etag::respond(&headers, &Template::of(row).with_version(version))
}
