//! `POST /v1/runs/{id}/cancel`.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;

use super::run_id;
use super::view::Run;
use crate::api::ApiState;
use crate::api::principal::Builder;
use crate::api::problem::{ApiResult, Problem};

/// Cancel a run
///
/// Builds that wait are cancelled at once; those at work undo what they made.
#[utoipa::path(
    post,
    path = "/v1/runs/{id}/cancel",
    tag = "runs",
    params(("id" = String, Path, description = "The run's id")),
    responses(
        (status = 202, description = "The run; cancelling goes on", body = Run),
        (status = 404, description = "No such run", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "The run is over", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn cancel_run(
    State(state): State<ApiState>,
    Builder(caller): Builder,
    Path(id): Path<String>,
) -> ApiResult<(StatusCode, Json<Run>)> {
    let run = state.store.request_cancel(run_id(&id)?, &caller.actor()).await?;
    (state.wake)();
    Ok((StatusCode::ACCEPTED, Json(Run::of(run))))
}
