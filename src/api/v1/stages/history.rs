//! `GET /v1/stages/{stage}/history`.

use axum::Json;
use axum::extract::{Path, State};

use super::view::Promotion;
use crate::api::ApiState;
use crate::api::pagination::{List, Listing};
use crate::api::principal::Viewer;
use crate::api::problem::{ApiResult, Problem};
use crate::api::query::Query;
use crate::store::stages::place_of;

/// List the changes of a stage, newest first
#[utoipa::path(
    get,
    path = "/v1/stages/{stage}/history",
    tag = "stages",
    params(
        ("stage" = String, Path, description = "The stage"),
        ("family" = Option<String>, Query, description = "Only this family"),
        ("limit" = Option<i64>, Query, description = "1 to 500; 50 when left out"),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before"),
    ),
    responses(
        (status = 200, description = "A page of changes", body = List<Promotion>),
        (status = 422, description = "No such stage", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn list_stage_history(
    State(state): State<ApiState>,
    _: Viewer,
    Path(name): Path<String>,
    mut query: Query,
) -> ApiResult<Json<List<Promotion>>> {
    state.stage_order.position(&name)?;
    let listing = Listing::new(&mut query, &format!("stages/{name}/history"))?;
    let family = query.one("family")?;
    query.finish()?;
    let changes = state.store.stage_history(&name, family.as_deref(), &listing.page).await?;
    Ok(Json(listing.finish(changes, place_of, Promotion::of)))
}
