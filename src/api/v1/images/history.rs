//! `GET /v1/images/{id}/history`.

use axum::Json;
use axum::extract::{Path, State};
use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::api::ApiState;
use crate::api::pagination::{List, Listing};
use crate::api::principal::Viewer;
use crate::api::problem::{ApiResult, Problem};
use crate::api::query::Query;
use crate::store::images::ImageEventRow;

/// Something that happened to an image.
#[derive(Debug, Serialize, ToSchema)]
pub struct ImageEvent {
    pub at: DateTime<Utc>,
    /// `built`, `incomplete`, `building` (its run was retried), `promoted`, `replaced` (another image took its place in a
    /// stage), `demoted`, `rolled_back` (a rollback took it out of a stage), `restored` (a rollback brought it back) or
    /// `not_promoted` (it could not go to a stage of its template's `channels`; the comment says why).
    pub event: String,
    pub principal: String,
    #[schema(required)]
    pub stage: Option<String>,
    /// Of the stage, for the image's family.
    #[schema(required)]
    pub generation: Option<i64>,
    #[schema(required)]
    pub comment: Option<String>,
    /// All that is known of it.
    #[schema(value_type = Object)]
    pub data: Value,
}

impl ImageEvent {
    fn of(row: ImageEventRow) -> Self {
        let text = |key: &str| row.data.get(key).and_then(Value::as_str).map(ToOwned::to_owned);
        Self {
            at: row.at,
            event: row.event,
            principal: row.principal,
            stage: text("stage"),
            generation: row.data.get("generation").and_then(Value::as_i64),
            comment: text("comment"),
            data: row.data,
        }
    }
}

/// List what happened to an image, newest first
#[utoipa::path(
    get,
    path = "/v1/images/{id}/history",
    tag = "images",
    params(
        ("id" = String, Path, description = "The image's id, or the id of one of its AMIs"),
        ("limit" = Option<i64>, Query, description = "1 to 500; 50 when left out"),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before"),
    ),
    responses(
        (status = 200, description = "A page of events", body = List<ImageEvent>),
        (status = 404, description = "No such image", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn list_image_history(
    State(state): State<ApiState>,
    _: Viewer,
    Path(id): Path<String>,
    mut query: Query,
) -> ApiResult<Json<List<ImageEvent>>> {
    let image = state.store.image(&id).await?;
    let listing = Listing::new(&mut query, &format!("images/{}/history", image.id))?;
    query.finish()?;
    let events = state.store.image_events(image.id, &listing.page).await?;
    Ok(Json(listing.finish(events, ImageEventRow::place, ImageEvent::of)))
}
