//! `DELETE /v1/schedules/{schedule}`.

use axum::extract::{Path, State};
use axum::http::StatusCode;

use crate::api::ApiState;
use crate::api::principal::Builder;
use crate::api::problem::{ApiResult, Problem};

/// Delete a schedule
///
/// Its runs stay, and those that are at work go on.
#[utoipa::path(
    delete,
    path = "/v1/schedules/{schedule}",
    tag = "schedules",
    params(("schedule" = String, Path, description = "The schedule's name or id")),
    responses(
        (status = 204, description = "It is gone"),
        (status = 404, description = "No such schedule", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn delete_schedule(
    State(state): State<ApiState>,
    Builder(caller): Builder,
    Path(schedule): Path<String>,
) -> ApiResult<StatusCode> {
    let row = state.store.schedule(&schedule).await?;
    state.store.delete_schedule(row.id, &caller.actor()).await?;
    Ok(StatusCode::NO_CONTENT)
}
