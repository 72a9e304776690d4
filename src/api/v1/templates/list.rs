//! `GET /v1/templates`.

use axum::Json;
use axum::extract::State;

use super::view::Template;
use crate::api::ApiState;
use crate::api::pagination::{List, Listing};
use crate::api::principal::Viewer;
use crate::api::problem::ApiResult;
use crate::api::query::Query;

/// List templates, newest first
#[utoipa::path(
    get,
    path = "/v1/templates",
    tag = "templates",
    params(
        ("limit" = Option<i64>, Query, description = "1 to 500; 50 when left out"),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before"),
        ("name" = Option<String>, Query, description = "Templates whose name begins so"),
    ),
    responses((status = 200, description = "A page of templates", body = List<Template>))
)]
pub async fn list_templates(
    State(state): State<ApiState>,
    _: Viewer,
    mut query: Query,
) -> ApiResult<Json<List<Template>>> {
    let listing = Listing::new(&mut query, "templates")?;
    let name = query.one("name")?;
    query.finish()?;
    let rows = state.store.templates(&listing.page, name.as_deref()).await?;
    Ok(Json(listing.finish(rows, |row| (row.created_at, row.id.0), Template::of)))
}
