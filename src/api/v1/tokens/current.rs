//! `GET /v1/tokens/self`.

use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::api::ApiState;
use crate::api::principal::Viewer;
use crate::api::problem::ApiResult;

/// The token that a request was made with.
#[derive(Debug, Serialize, ToSchema)]
pub struct CurrentToken {
    /// Null: the bootstrap token.
    #[schema(required)]
    pub id: Option<Uuid>,
    pub name: String,
    /// `viewer`, `builder`, `promoter` or `admin`.
    pub role: &'static str,
    #[schema(required)]
    pub expires_at: Option<DateTime<Utc>>,
}

/// Read the token of this request
#[utoipa::path(
    get,
    path = "/v1/tokens/self",
    tag = "tokens",
    responses((status = 200, description = "The token", body = CurrentToken))
)]
pub async fn get_current_token(State(state): State<ApiState>, Viewer(caller): Viewer) -> ApiResult<Json<CurrentToken>> {
    let principal = caller.principal;
    let expires_at = match principal.token {
        Some(id) => state.store.token(id).await?.expires_at,
        None => None,
    };
    Ok(Json(CurrentToken {
        id: principal.token.map(|id| id.0),
        name: principal.name,
        role: principal.role.as_str(),
        expires_at,
    }))
}
