//! `GET /v1/templates/{name}/versions`.

use axum::Json;
use axum::extract::{Path, State};

use super::view::TemplateVersion;
use crate::api::ApiState;
use crate::api::pagination::{List, Listing};
use crate::api::principal::Viewer;
use crate::api::problem::{ApiResult, Problem};
use crate::api::query::Query;

/// List a template's versions, newest first
#[utoipa::path(
    get,
    path = "/v1/templates/{name}/versions",
    tag = "templates",
    params(
        ("name" = String, Path, description = "The template's name or id"),
        ("limit" = Option<i64>, Query, description = "1 to 500; 50 when left out"),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before"),
    ),
    responses(
        (status = 200, description = "A page of versions", body = List<TemplateVersion>),
        (status = 404, description = "No such template", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn list_template_versions(
    State(state): State<ApiState>,
    _: Viewer,
    Path(name): Path<String>,
    mut query: Query,
) -> ApiResult<Json<List<TemplateVersion>>> {
    let template = state.store.template(&name).await?;
    let listing = Listing::new(&mut query, &format!("templates/{}/versions", template.id))?;
    query.finish()?;
    let rows = state.store.versions(template.id, &listing.page).await?;
    Ok(Json(listing.finish(rows, |row| (row.created_at, row.id.0), TemplateVersion::of)))
}
