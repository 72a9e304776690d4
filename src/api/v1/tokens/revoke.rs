//! `DELETE /v1/tokens/{id}`.

use axum::extract::{Path, State};
use axum::http::StatusCode;

use crate::api::ApiState;
use crate::api::principal::Admin;
use crate::api::problem::{ApiResult, Problem};
use crate::domain::error::Error;

/// Revoke a token, for good
///
/// Other servers may honour it for five more seconds.
#[utoipa::path(
    delete,
    path = "/v1/tokens/{id}",
    tag = "tokens",
    params(("id" = String, Path, description = "The token's id")),
    responses(
        (status = 204, description = "It is revoked, and was perhaps before"),
        (status = 404, description = "No such token", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn revoke_token(
    State(state): State<ApiState>,
    Admin(caller): Admin,
    Path(id): Path<String>,
) -> ApiResult<StatusCode> {
    let id = id
        .parse()
        .map_err(|_| Error::not_found("token-not-found", "There is no such token; a token's id is a UUID."))?;
    state.store.revoke_token(id, &caller.actor()).await?;
    state.auth.forget();
    Ok(StatusCode::NO_CONTENT)
}
