//! `GET /v1/stages`.

use axum::Json;
use axum::extract::State;

use super::view::Stage;
use crate::api::ApiState;
use crate::api::pagination::{List, Listing};
use crate::api::principal::Viewer;
use crate::api::problem::ApiResult;
use crate::api::query::Query;

/// List the stages, in order
///
/// They are few, so there is one page.
#[utoipa::path(
    get,
    path = "/v1/stages",
    tag = "stages",
    params(
        ("limit" = Option<i64>, Query, description = "Without effect: all stages are on one page"),
        ("cursor" = Option<String>, Query, description = "Without effect"),
    ),
    responses((status = 200, description = "All stages", body = List<Stage>))
)]
pub async fn list_stages(State(state): State<ApiState>, _: Viewer, mut query: Query) -> ApiResult<Json<List<Stage>>> {
    // Taken like that of other lists, so that a client can treat all lists alike.
    Listing::new(&mut query, "stages")?;
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
    Ok(Json(List { items: state.stage_order.names().iter().enumerate().map(summary_of).collect(), next_cursor: None }))
}
