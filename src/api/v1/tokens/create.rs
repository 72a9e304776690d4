//! `POST /v1/tokens`.

use axum::Json;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::view::Token;
use crate::api::principal::Admin;
use crate::api::problem::{ApiResult, Problem};
use crate::api::{ApiState, body};
use crate::auth::PlainToken;
use crate::config::units::parse_duration;
use crate::domain::error::{Error, Result};
use crate::domain::ids::TokenId;
use crate::domain::role::Role;
use crate::store::tokens::NewToken;

/// Longest description, in characters.
const LONGEST_DESCRIPTION: usize = 1_000;

/// A token to be made.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TokenRequest {
    /// No two tokens that are not revoked have the same.
    pub name: String,
    /// `viewer`, `builder`, `promoter` or `admin`.
    pub role: String,
    #[serde(default)]
    pub description: Option<String>,
    /// Such as `30d`; not with `expires_at`.
    #[serde(default)]
    pub expires_in: Option<String>,
    /// Not with `expires_in`. Without either the token does not expire.
    #[serde(default)]
    pub expires_at: Option<DateTime<Utc>>,
}

/// A token that was just made.
#[derive(Debug, Serialize, ToSchema)]
pub struct NewlyMadeToken {
    #[serde(flatten)]
    pub about: Token,
    /// The token itself. It is shown this once and kept nowhere.
    #[schema(example = "ingot_…")]
    pub token: String,
}

impl TokenRequest {
    fn check(self, id: TokenId, now: DateTime<Utc>) -> Result<NewToken> {
        let safe = |byte: u8| byte.is_ascii_alphanumeric() || b"._-@".contains(&byte);
        if !(1..=100).contains(&self.name.len()) || !self.name.bytes().all(safe) {
            let public = "A token's name has 1 to 100 letters, digits, `.`, `_`, `-` and `@`.";
            return Err(Error::unprocessable("name-invalid", public));
        }
        let description = self.description.unwrap_or_default();
        if description.chars().count() > LONGEST_DESCRIPTION {
            let public = format!("A description has at most {LONGEST_DESCRIPTION} characters.");
            return Err(Error::unprocessable("description-invalid", public));
        }
        let role: Role =
            self.role.parse().map_err(|error| Error::unprocessable("role-invalid", format!("The role {error}.")))?;
        let expires_at = match (self.expires_in.as_deref(), self.expires_at) {
            (Some(_), Some(_)) => {
                return Err(Error::unprocessable(
                    "expiry-invalid",
                    "\"expires_in\" and \"expires_at\" exclude each other.",
                ));
            }
            (Some(text), None) => {
                let wrong = |error: String| Error::unprocessable("expiry-invalid", format!("\"expires_in\": {error}."));
                let lifetime = parse_duration(text).map_err(wrong)?;
                TimeDelta::from_std(lifetime).ok().and_then(|lifetime| now.checked_add_signed(lifetime))
            }
            (None, at) => at,
        };
        if expires_at.is_some_and(|at| at <= now) {
            return Err(Error::unprocessable("expiry-invalid", "The token would expire before it is made."));
        }
        Ok(NewToken { id, name: self.name, description, role, expires_at })
    }
}

/// Make a token
///
/// The answer shows the token once. It can't be replayed with an `Idempotency-Key`, because the token is kept nowhere.
#[utoipa::path(
    post,
    path = "/v1/tokens",
    tag = "tokens",
    request_body = TokenRequest,
    responses(
        (status = 201, description = "The token, with its secret", body = NewlyMadeToken),
        (status = 409, description = "There is a token of this name", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "Not JSON", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "The request is wrong", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn create_token(
    State(state): State<ApiState>,
    Admin(caller): Admin,
    request: Request,
) -> ApiResult<Response> {
    let bytes = body::read_json(request, &state.limits).await?;
    let wanted: TokenRequest = body::json::parse(&bytes)?;
    let new = wanted.check(TokenId(state.new_id()), state.clock.now())?;
    let token = PlainToken::from_random((state.random)());
    let row = state.store.insert_token(&new, token.hash().0, &caller.actor()).await?;
    let answer = NewlyMadeToken { about: Token::of(row), token: token.expose().to_owned() };
    let no_store = [(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))];
    Ok((StatusCode::CREATED, no_store, Json(answer)).into_response())
}
