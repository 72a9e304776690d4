//! `POST /v1/runs/{id}/retry`.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;

use super::run_id;
use super::view::Run;
use crate::api::ApiState;
use crate::api::principal::Builder;
use crate::api::problem::{ApiResult, Problem};
use crate::domain::role::Role;

/// Retry a run
///
/// Queues the failed and cancelled builds again, as the next attempt of the same frozen plan. When it is no promoter who asks,
/// the image does not go to those `channels` that only a promoter may move.
#[utoipa::path(
    post,
    path = "/v1/runs/{id}/retry",
    tag = "runs",
    params(("id" = String, Path, description = "The run's id")),
    responses(
        (status = 202, description = "The run, queued again", body = Run),
        (status = 404, description = "No such run", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "The run has not failed, or its secrets are gone", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn retry_run(
    State(state): State<ApiState>,
    Builder(caller): Builder,
    Path(id): Path<String>,
) -> ApiResult<(StatusCode, Json<Run>)> {
    let promotes = caller.principal.role.includes(Role::Promoter);
    let stages = (!promotes).then_some(state.accept.channels.from_templates.as_slice());
    let run = state.store.retry(run_id(&id)?, stages, &caller.actor()).await?;
    (state.wake)();
    Ok((StatusCode::ACCEPTED, Json(Run::of(run))))
}
