//! `GET /v1/schedules`.

use axum::Json;
use axum::extract::State;

use super::view::Schedule;
use crate::api::ApiState;
use crate::api::pagination::{List, Listing};
use crate::api::principal::Viewer;
use crate::api::problem::ApiResult;
use crate::api::query::Query;
use crate::store::schedules::ScheduleFilter;

/// List schedules, newest first
#[utoipa::path(
    get,
    path = "/v1/schedules",
    tag = "schedules",
    params(
        ("limit" = Option<i64>, Query, description = "1 to 500; 50 when left out"),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before"),
        ("name" = Option<String>, Query, description = "The schedule of this name"),
        ("template" = Option<String>, Query, description = "Schedules of the template of this name"),
        ("enabled" = Option<bool>, Query, description = "Those that are not paused, or those that are"),
    ),
    responses((status = 200, description = "A page of schedules", body = List<Schedule>))
)]
pub async fn list_schedules(
    State(state): State<ApiState>,
    _: Viewer,
    mut query: Query,
) -> ApiResult<Json<List<Schedule>>> {
    let listing = Listing::new(&mut query, "schedules")?;
    let filter = ScheduleFilter {
        template: query.one("template")?,
        enabled: query.parsed("enabled")?,
        name: query.one("name")?,
    };
    query.finish()?;
    let rows = state.store.schedules(&filter, &listing.page).await?;
    Ok(Json(listing.finish(rows, |row| (row.created_at, row.id.0), Schedule::of)))
}
