//! `GET /v1/stages`.

use axum::Json;
use axum::extract::State;
use chrono::DateTime;
use uuid::Uuid;

use super::view::Stage;
use crate::api::ApiState;
use crate::api::pagination::{List, Listing};
use crate::api::principal::Viewer;
use crate::api::problem::ApiResult;
use crate::api::query::Query;

/// List the stages, in order
#[utoipa::path(
    get,
    path = "/v1/stages",
    tag = "stages",
    params(
        ("limit" = Option<i64>, Query, description = "1 to 500; 50 when left out"),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before"),
    ),
    responses((status = 200, description = "A page of stages", body = List<Stage>))
)]
pub async fn list_stages(State(state): State<ApiState>, _: Viewer, mut query: Query) -> ApiResult<Json<List<Stage>>> {
    let listing = Listing::new(&mut query, "stages")?;
    query.finish()?;
    let summaries = state.store.stage_summaries().await?;
    let summary_of = |(position, name): (usize, &String)| {
        let summary = summaries.iter().find(|summary| summary.stage == *name);
        Stage {
            name: name.clone(),
            position,
            families: summary.map_or(0, |summary| summary.families),
            newest_change_at: summary.and_then(|summary| summary.newest_change_at),
        }
    };
    // The order is the configuration's, so a position stands in the cursor where other lists have an id.
    let place = |stage: &Stage| (DateTime::UNIX_EPOCH, Uuid::from_u128(stage.position as u128));
    let seen = listing.page.before.map(|(_, place)| place);
    let stages = state.stage_order.names().iter().enumerate().map(summary_of);
    let rest = stages.filter(|stage| seen.is_none_or(|seen| place(stage).1 > seen)).collect();
    Ok(Json(listing.finish(rest, place, |stage| stage)))
}
