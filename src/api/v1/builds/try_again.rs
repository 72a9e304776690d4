//! `POST /v1/builds/{id}/try-again`.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;

use super::build_id;
use crate::api::ApiState;
use crate::api::principal::Admin;
use crate::api::problem::{ApiResult, Problem};
use crate::api::v1::runs::view::Build;

/// Free a stuck build
///
/// For an operator who has looked: the undo of a stuck build, or the clean-up of a finished one, goes on where it stopped.
#[utoipa::path(
    post,
    path = "/v1/builds/{id}/try-again",
    tag = "builds",
    params(("id" = String, Path, description = "The build's id")),
    responses(
        (status = 202, description = "The build, at work again", body = Build),
        (status = 404, description = "No such build", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "The build is not stuck", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn try_build_again(
    State(state): State<ApiState>,
    Admin(caller): Admin,
    Path(id): Path<String>,
) -> ApiResult<(StatusCode, Json<Build>)> {
    let build = state.store.retry_stuck(build_id(&id)?, &caller.actor()).await?;
    (state.wake)();
    Ok((StatusCode::ACCEPTED, Json(Build::of(build))))
}
