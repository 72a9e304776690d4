//! `POST /v1/tokens/{token}/rotate`.

use axum::Json;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse as _, Response};
use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::create::NewlyMadeToken;
use super::view::Token;
use crate::api::principal::Admin;
use crate::api::problem::{ApiResult, Problem};
use crate::api::{ApiState, body};
use crate::auth::PlainToken;
use crate::config::units::parse_duration;
use crate::domain::error::{Error, Result};
use crate::store::tokens::Rotation;

/// How a token gets its new secret.
#[derive(Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RotateRequest {
    /// How long the present secret is honoured still, such as `1h`; not at all when left out.
    pub keep_old_for: Option<String>,
    /// From now on, such as `90d`; when left out, it expires when it would have.
    pub expires_in: Option<String>,
}

fn later(field: &str, text: Option<&str>, now: DateTime<Utc>) -> Result<Option<DateTime<Utc>>> {
    let wrong = |error: String| Error::unprocessable("expiry-invalid", format!("{field:?}: {error}."));
    let Some(text) = text else { return Ok(None) };
    let lifetime = parse_duration(text).map_err(wrong)?;
    let at = TimeDelta::from_std(lifetime).ok().and_then(|lifetime| now.checked_add_signed(lifetime));
    at.filter(|at| *at > now).map(Some).ok_or_else(|| wrong(format!("{text:?} is not a time from now on")))
}

/// Give a token a new secret
///
/// Name, role and id stay. The answer shows the new secret once. Other servers may honour the old one for five more
/// seconds.
#[utoipa::path(
    post,
    path = "/v1/tokens/{token}/rotate",
    tag = "tokens",
    params(("token" = String, Path, description = "The token's id or name")),
    request_body(content = Option<RotateRequest>),
    responses(
        (status = 200, description = "The token, with its new secret", body = NewlyMadeToken),
        (status = 404, description = "No such token", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "It was revoked or has expired", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "The request is wrong", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn rotate_token(
    State(state): State<ApiState>,
    Admin(caller): Admin,
    Path(token): Path<String>,
    request: Request,
) -> ApiResult<Response> {
    let bytes = body::read_json_or_nothing(request, &state.limits).await?;
    let wanted: RotateRequest = body::json::parse(&bytes)?;
    let now = state.clock.now();
    let secret = PlainToken::from_random((state.random)());
    let rotation = Rotation {
        hash: secret.hash().0,
        keep_old_until: later("keep_old_for", wanted.keep_old_for.as_deref(), now)?,
        expires_at: later("expires_in", wanted.expires_in.as_deref(), now)?,
    };
    let row = state.store.rotate_token(&token, &rotation, &caller.actor()).await?;
    state.auth.forget();
    let answer = NewlyMadeToken { about: Token::of(row), token: secret.expose().to_owned() };
    let no_store = [(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))];
    Ok((no_store, Json(answer)).into_response())
}
