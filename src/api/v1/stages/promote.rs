//! `POST /v1/images/{id}/promote`.

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

/// Where an image is to go.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PromoteRequest {
    /// The stage.
    pub to: String,
    /// Why.
    #[serde(default)]
    pub comment: Option<String>,
    /// The stage's generation for this family that the decision rests on; 0: it never held anything. When another promotion
    /// was quicker, nothing happens.
    #[serde(default)]
    pub expected_generation: Option<i64>,
}

impl Move for PromoteRequest {
    fn comment(&self) -> Option<&str> {
        self.comment.as_deref()
    }

    fn expected_generation(&self) -> Option<i64> {
        self.expected_generation
    }
}

/// Promote an image to a stage
///
/// One stage after the other, never backwards, and only what is built. The stage's pointer moves at once; the AMIs' tags
/// follow, `tags_pending` says whether they have.
#[utoipa::path(
    post,
    path = "/v1/images/{id}/promote",
    tag = "stages",
    params(
        ("id" = String, Path, description = "The image's id, or the id of one of its AMIs"),
        ("Idempotency-Key" = Option<String>, Header, description = "The same request under the same key is done once, for 24 hours"),
    ),
    request_body = PromoteRequest,
    responses(
        (status = 200, description = "The change", body = Promotion),
        (status = 404, description = "No such image", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "Not built, a stage would be skipped, backwards, or the stage has moved meanwhile", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "No such stage", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn promote_image(
    State(state): State<ApiState>,
    Promoter(caller): Promoter,
    Path(id): Path<String>,
    request: Request,
) -> ApiResult<Response> {
    let actor = caller.actor();
    let promote = async |wanted: &PromoteRequest, move_request: MoveRequest<'_>| {
        state.store.promote(&state.stage_order, &id, &wanted.to, move_request, &actor).await
    };
    Ok(carry_out(&state, &caller, request, promote).await?)
}
