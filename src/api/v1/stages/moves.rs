//! What the three moves have in common: comment, expected generation, idempotency.

use axum::Json;
use axum::extract::Request;
use axum::response::{IntoResponse as _, Response};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::view::Promotion;
use crate::api::idempotency::Key;
use crate::api::principal::Caller;
use crate::api::{ApiState, body};
use crate::domain::error::{Error, Result};
use crate::store::idempotency::AnswerKey;
use crate::store::stage_moves::MoveRequest;
use crate::store::stages::StageChange;

/// Longest comment, in characters.
const LONGEST_COMMENT: usize = 2_000;

/// The parts that every move may have.
pub(super) trait Move: DeserializeOwned {
    fn comment(&self) -> Option<&str>;
    fn expected_generation(&self) -> Option<i64>;
}

/// Reads the request and makes the move, once for its idempotency key.
pub(super) async fn carry_out<M: Move>(
    state: &ApiState,
    caller: &Caller,
    request: Request,
    make: impl AsyncFnOnce(&M, MoveRequest<'_>) -> Result<StageChange>,
) -> Result<Response> {
    let (headers, uri) = (request.headers().clone(), request.uri().clone());
    let bytes = body::read_json_or_nothing(request, &state.limits).await?;
    let key = Key::of_body(&headers, &uri, &bytes)?;
    let wanted: M = body::json::parse(&bytes)?;
    let comment = wanted.comment().map(str::trim).filter(|comment| !comment.is_empty());
    if comment.is_some_and(|comment| comment.chars().count() > LONGEST_COMMENT) {
        let public = format!("A comment has at most {LONGEST_COMMENT} characters.");
        return Err(Error::unprocessable("comment-invalid", public));
    }
    let render = |change: &StageChange| answer(change.clone());
    let kept = key.as_ref().map(|key| AnswerKey {
        key: &key.key,
        request_sha256: key.request_sha256,
        status: 200,
        render: &render,
    });
    let expected_generation = wanted.expected_generation();
    let move_request = MoveRequest { comment, expected_generation, idempotency: kept.as_ref() };
    let work = async {
        let change = make(&wanted, move_request).await?;
        tracing::info!(
            action = %change.action,
            family = change.family,
            stage = change.stage,
            generation = change.generation,
            principal = change.principal,
            "a stage was changed"
        );
        Ok(Json(Promotion::of(change)).into_response())
    };
    Key::once(key.as_ref(), state, caller, ("", ""), work).await
}

fn answer(change: StageChange) -> Value {
    serde_json::to_value(Promotion::of(change)).unwrap_or_default()
}
