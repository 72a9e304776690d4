//! `POST /v1/images/{id}/demote`.

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

/// Which stage an image is to leave.
#[derive(Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DemoteRequest {
    /// The stage; the highest that holds the image when left out.
    pub from: Option<String>,
    /// Why.
    pub comment: Option<String>,
    /// The stage's generation for this family that the decision rests on.
    pub expected_generation: Option<i64>,
}

impl Move for DemoteRequest {
    fn comment(&self) -> Option<&str> {
        self.comment.as_deref()
    }

    fn expected_generation(&self) -> Option<i64> {
        self.expected_generation
    }
}

/// Take an image out of a stage
///
/// The stage holds nothing of this family from then on. To go back to what it held before, roll the stage back instead.
#[utoipa::path(
    post,
    path = "/v1/images/{id}/demote",
    tag = "stages",
    params(
        ("id" = String, Path, description = "The image's id, or the id of one of its AMIs"),
        ("Idempotency-Key" = Option<String>, Header, description = "The same request under the same key is done once, for 24 hours"),
    ),
    request_body(content = Option<DemoteRequest>),
    responses(
        (status = 200, description = "The change", body = Promotion),
        (status = 404, description = "No such image", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "The stage does not hold it, or has moved meanwhile", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "No such stage", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn demote_image(
    State(state): State<ApiState>,
    Promoter(caller): Promoter,
    Path(id): Path<String>,
    request: Request,
) -> ApiResult<Response> {
    let actor = caller.actor();
    let demote = async |wanted: &DemoteRequest, move_request: MoveRequest<'_>| {
        state.store.demote(&state.stage_order, &id, wanted.from.as_deref(), move_request, &actor).await
    };
    Ok(carry_out(&state, &caller, request, demote).await?)
}
