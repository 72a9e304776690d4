//! `GET /v1/tokens`.

use axum::Json;
use axum::extract::State;

use super::view::Token;
use crate::api::ApiState;
use crate::api::pagination::{List, Listing};
use crate::api::principal::Admin;
use crate::api::problem::ApiResult;
use crate::api::query::Query;

/// List tokens, newest first, revoked ones included
#[utoipa::path(
    get,
    path = "/v1/tokens",
    tag = "tokens",
    params(
        ("limit" = Option<i64>, Query, description = "1 to 500; 50 when left out"),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before"),
    ),
    responses((status = 200, description = "A page of tokens", body = List<Token>))
)]
pub async fn list_tokens(State(state): State<ApiState>, _: Admin, mut query: Query) -> ApiResult<Json<List<Token>>> {
    let listing = Listing::new(&mut query, "tokens")?;
    query.finish()?;
    let tokens = state.store.tokens(&listing.page).await?;
    Ok(Json(listing.finish(tokens, |token| (token.created_at, token.id.0), Token::of)))
}
