//! `GET /v1/templates/{name}/versions/{version}`.

use axum::Json;
use axum::extract::{Path, State};

use super::view::TemplateVersion;
use crate::api::ApiState;
use crate::api::principal::Viewer;
use crate::api::problem::{ApiResult, Problem};
use crate::domain::error::Error;
use crate::store::templates::VersionRow;

/// Read one version of a template
#[utoipa::path(
    get,
    path = "/v1/templates/{name}/versions/{version}",
    tag = "templates",
    params(
        ("name" = String, Path, description = "The template's name or id"),
        ("version" = i32, Path, description = "From 1"),
    ),
    responses(
        (status = 200, description = "The version", body = TemplateVersion),
        (status = 404, description = "No such template or version", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn get_template_version(
    State(state): State<ApiState>,
    _: Viewer,
    Path((name, version)): Path<(String, String)>,
) -> ApiResult<Json<TemplateVersion>> {
    Ok(Json(TemplateVersion::of(find(&state, &name, &version).await?)))
}

/// A version from the path.
pub(super) async fn find(state: &ApiState, name: &str, version: &str) -> Result<VersionRow, Error> {
    let template = state.store.template(name).await?;
    let version = version.parse().map_err(|_| {
        Error::not_found(
            "template-version-not-found",
            "The template has no such version; versions are whole numbers from 1.",
        )
    })?;
    state.store.version(template.id, Some(version)).await
}
