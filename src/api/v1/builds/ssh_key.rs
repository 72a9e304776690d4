//! `GET /v1/builds/{id}/ssh-key`.

use axum::extract::{Path, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use secrecy::ExposeSecret;

use super::build_id;
use crate::api::ApiState;
use crate::api::principal::Builder;
use crate::api::problem::{ApiResult, Problem};

/// The temporary key of a build that holds
///
/// The private key (OpenSSH PEM) with which the machine of a build that holds, or whose things were left in place, can be
/// reached. It ends with the machine; the audit says who took it.
#[utoipa::path(
    get,
    path = "/v1/builds/{id}/ssh-key",
    tag = "builds",
    params(("id" = String, Path, description = "The build's id")),
    responses(
        (status = 200, description = "The private key", body = String, content_type = "application/x-pem-file"),
        (status = 404, description = "No such build, or it has no temporary key", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "The build does not hold", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn get_build_ssh_key(
    State(state): State<ApiState>,
    Builder(caller): Builder,
    Path(id): Path<String>,
) -> ApiResult<Response> {
    let key = state.store.take_ssh_key(build_id(&id)?, &caller.actor()).await?;
    let headers = [(header::CONTENT_TYPE, "application/x-pem-file"), (header::CACHE_CONTROL, "no-store")];
    Ok((headers, key.expose_secret().to_owned()).into_response())
}
