//! `PATCH /v1/schedules/{schedule}`.

use axum::Json;
use axum::extract::{Path, Request, State};

use super::request::ScheduleRequest;
use super::view::Schedule;
use crate::api::principal::Builder;
use crate::api::problem::{ApiResult, Problem};
use crate::api::{ApiState, body};
use crate::domain::error::Result;
use crate::store::Actor;
use crate::store::schedules::{CHANGED_MEANWHILE, ScheduleRow};

/// How often a change is made anew because of another one at the same time.
const TRIES: u32 = 5;

/// Change a schedule
///
/// What is left out stays as it is. When its times change, the next one counts from now.
#[utoipa::path(
    patch,
    path = "/v1/schedules/{schedule}",
    tag = "schedules",
    params(("schedule" = String, Path, description = "The schedule's name or id")),
    request_body = ScheduleRequest,
    responses(
        (status = 200, description = "The schedule as it is now", body = Schedule),
        (status = 404, description = "No such schedule, template or version", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "There is another schedule of this name", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "The cron line, the time zone, the template or a variable is wrong", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn update_schedule(
    State(state): State<ApiState>,
    Builder(caller): Builder,
    Path(schedule): Path<String>,
    request: Request,
) -> ApiResult<Json<Schedule>> {
    let bytes = body::read_json(request, &state.limits).await?;
    let mut tries = 1;
    loop {
        let wanted: ScheduleRequest = body::json::parse(&bytes)?;
        match change(&state, &schedule, wanted, &caller.actor()).await {
            // Somebody changed something else while the template was evaluated: both changes are to count.
            Err(error) if error.code == CHANGED_MEANWHILE && tries < TRIES => tries += 1,
            outcome => return Ok(Json(Schedule::of(outcome?))),
        }
    }
}

async fn change(state: &ApiState, name: &str, wanted: ScheduleRequest, actor: &Actor) -> Result<ScheduleRow> {
    let before = state.store.schedule(name).await?;
    let content = wanted.into_changed(state, &before).await?;
    state.store.update_schedule(before.id, before.revision, &content, actor).await
}
