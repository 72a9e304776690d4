//! `GET /v1/runs`.

use axum::Json;
use axum::extract::State;
use serde_json::Value;

use super::view::Run;
use crate::api::ApiState;
use crate::api::pagination::{List, Listing};
use crate::api::principal::Viewer;
use crate::api::problem::ApiResult;
use crate::api::query::Query;
use crate::store::runs::RunFilter;

/// List runs, newest first
#[utoipa::path(
    get,
    path = "/v1/runs",
    tag = "runs",
    params(
        ("limit" = Option<i64>, Query, description = "1 to 500; 50 when left out"),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before"),
        ("state" = Option<String>, Query, description = "Runs in this state"),
        ("template" = Option<String>, Query, description = "Runs of the template of this name"),
        ("account" = Option<String>, Query, description = "Runs in this account"),
        ("git_sha" = Option<String>, Query, description = "Runs of this commit"),
        ("schedule" = Option<String>, Query, description = "Runs of this schedule, by name or id"),
        ("label.NAME" = Option<String>, Query, description = "Runs with this label"),
    ),
    responses((status = 200, description = "A page of runs", body = List<Run>))
)]
pub async fn list_runs(State(state): State<ApiState>, _: Viewer, mut query: Query) -> ApiResult<Json<List<Run>>> {
    let listing = Listing::new(&mut query, "runs")?;
    let labels: serde_json::Map<String, Value> =
        query.prefixed("label.").into_iter().map(|(name, value)| (name, Value::String(value))).collect();
    let schedule = match query.one("schedule")? {
        Some(name) => Some(state.store.schedule(&name).await?.id),
        None => None,
    };
    let filter = RunFilter {
        template: query.one("template")?,
        state: query.parsed("state")?,
        account: query.one("account")?,
        git_sha: query.one("git_sha")?,
        schedule,
        labels: (!labels.is_empty()).then_some(Value::Object(labels)),
    };
    query.finish()?;
    let runs = state.store.runs(&listing.page, &filter).await?;
    Ok(Json(listing.finish(runs, |run| (run.created_at, run.id.0), Run::of)))
}
