//! `POST /v1/schedules/{schedule}/resume`.

use axum::Json;
use axum::extract::{Path, State};

use super::view::Schedule;
use crate::api::ApiState;
use crate::api::principal::Builder;
use crate::api::problem::{ApiResult, Problem};

/// Resume a schedule
///
/// Its next time is the first from now.
#[utoipa::path(
    post,
    path = "/v1/schedules/{schedule}/resume",
    tag = "schedules",
    params(("schedule" = String, Path, description = "The schedule's name or id")),
    responses(
        (status = 200, description = "The schedule as it is now", body = Schedule),
        (status = 404, description = "No such schedule", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn resume_schedule(
    State(state): State<ApiState>,
    Builder(caller): Builder,
    Path(schedule): Path<String>,
) -> ApiResult<Json<Schedule>> {
    let row = state.store.set_schedule_enabled(&schedule, true, &caller.actor()).await?;
    Ok(Json(Schedule::of(row)))
}
