//! `GET /v1/schedules/{schedule}/runs`.

use axum::Json;
use axum::extract::{Path, State};

use super::view::Firing;
use crate::api::ApiState;
use crate::api::pagination::{List, Listing};
use crate::api::principal::Viewer;
use crate::api::problem::{ApiResult, Problem};
use crate::api::query::Query;

/// List what became of a schedule's times, newest first
#[utoipa::path(
    get,
    path = "/v1/schedules/{schedule}/runs",
    tag = "schedules",
    params(
        ("schedule" = String, Path, description = "The schedule's name or id"),
        ("limit" = Option<i64>, Query, description = "1 to 500; 50 when left out"),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before"),
    ),
    responses(
        (status = 200, description = "A page of times", body = List<Firing>),
        (status = 404, description = "No such schedule", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn list_schedule_runs(
    State(state): State<ApiState>,
    _: Viewer,
    Path(schedule): Path<String>,
    mut query: Query,
) -> ApiResult<Json<List<Firing>>> {
    let schedule = state.store.schedule(&schedule).await?;
    let listing = Listing::new(&mut query, &format!("schedules/{}/runs", schedule.id))?;
    query.finish()?;
    let rows = state.store.firings(schedule.id, &listing.page).await?;
    Ok(Json(listing.finish(rows, |row| (row.at, row.id), Firing::of)))
}
