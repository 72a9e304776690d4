//! `POST /v1/schedules/{schedule}/pause`.

use axum::Json;
use axum::extract::{Path, State};

use super::view::Schedule;
use crate::api::ApiState;
use crate::api::principal::Builder;
use crate::api::problem::{ApiResult, Problem};

/// Pause a schedule
///
/// It starts no runs until it is resumed; what comes meanwhile is given up. Runs that are at work go on.
#[utoipa::path(
    post,
    path = "/v1/schedules/{schedule}/pause",
    tag = "schedules",
    params(("schedule" = String, Path, description = "The schedule's name or id")),
    responses(
        (status = 200, description = "The schedule as it is now", body = Schedule),
        (status = 404, description = "No such schedule", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn pause_schedule(
    State(state): State<ApiState>,
    Builder(caller): Builder,
    Path(schedule): Path<String>,
) -> ApiResult<Json<Schedule>> {
    let row = state.store.set_schedule_enabled(&schedule, false, &caller.actor()).await?;
    Ok(Json(Schedule::of(row)))
}
