//! `POST /v1/builds/{id}/resume`.

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::Deserialize;
use utoipa::ToSchema;

use super::build_id;
use crate::api::ApiState;
use crate::api::body::json;
use crate::api::principal::Builder;
use crate::api::problem::{ApiResult, Problem};
use crate::api::v1::runs::view::Build;
use crate::domain::error::Error;
use crate::domain::hold::ResumeAction;

/// An answer to a build that holds.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ResumeRequest {
    /// `retry` does a failed step again, `continue` goes on after a breakpoint or in debug mode, `cleanup` removes everything and ends the
    /// build, `abort` ends it and leaves everything in place for the run's `hold_limit`.
    pub action: String,
    /// The `hold.seq` that is answered; when the build holds somewhere else by now, the answer is refused. Without it, the
    /// answer is for the present hold.
    pub hold: Option<i64>,
}

/// Answer a build that holds
///
/// For a failed build whose things were left in place, `cleanup` removes them now.
#[utoipa::path(
    post,
    path = "/v1/builds/{id}/resume",
    tag = "builds",
    params(("id" = String, Path, description = "The build's id")),
    request_body = ResumeRequest,
    responses(
        (status = 202, description = "The answer is noted; the build's server takes it up within a second or two", body = Build),
        (status = 404, description = "No such build", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "The build does not hold, was answered already, or this is no answer to it", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "No such action", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn resume_build(
    State(state): State<ApiState>,
    Builder(caller): Builder,
    Path(id): Path<String>,
    body: Bytes,
) -> ApiResult<(StatusCode, Json<Build>)> {
    let id = build_id(&id)?;
    let request: ResumeRequest = json::parse(&body)?;
    let action: ResumeAction = request
        .action
        .parse()
        .map_err(|error| Error::unprocessable("action-invalid", format!("The action {error}.")))?;
    let build = state.store.resume_build(id, action, request.hold, &caller.actor()).await?;
    (state.wake)();
    Ok((StatusCode::ACCEPTED, Json(Build::of(build))))
}
