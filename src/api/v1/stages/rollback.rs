//! `POST /v1/stages/{stage}/rollback`.

use axum::extract::{Path, Request, State};
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::moves::{Move, carry_out};
use super::view::Promotion;
use crate::api::ApiState;
use crate::api::principal::Promoter;
use crate::api::problem::{ApiResult, Problem};
use crate::store::stage_moves::MoveRequest;

/// Which family is to go back.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RollbackRequest {
    pub family: String,
    /// Why.
    #[serde(default)]
    pub comment: Option<String>,
    /// The stage's generation for this family that the decision rests on.
    #[serde(default)]
    pub expected_generation: Option<i64>,
}

impl Move for RollbackRequest {
    fn comment(&self) -> Option<&str> {
        self.comment.as_deref()
    }

    fn expected_generation(&self) -> Option<i64> {
        self.expected_generation
    }
}

/// Go back to what a stage held before
///
/// Twice goes back two images. What was rolled back from or demoted does not come back by a rollback.
#[utoipa::path(
    post,
    path = "/v1/stages/{stage}/rollback",
    tag = "stages",
    params(
        ("stage" = String, Path, description = "The stage"),
        ("Idempotency-Key" = Option<String>, Header, description = "The same request under the same key is done once, for 24 hours"),
    ),
    request_body = RollbackRequest,
    responses(
        (status = 200, description = "The change", body = Promotion),
        (status = 404, description = "No such family", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "There is nothing to go back to, or the stage has moved meanwhile", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "No such stage", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn roll_back(
    State(state): State<ApiState>,
    Promoter(caller): Promoter,
    Path(name): Path<String>,
    request: Request,
) -> ApiResult<Response> {
    let actor = caller.actor();
    let rollback = async |wanted: &RollbackRequest, move_request: MoveRequest<'_>| {
        state.store.rollback(&state.stage_order, &name, &wanted.family, move_request, &actor).await
    };
    Ok(carry_out(&state, &caller, request, rollback).await?)
}
