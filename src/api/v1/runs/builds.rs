//! `GET /v1/runs/{id}/builds`.

use axum::Json;
use axum::extract::{Path, State};

use super::run_id;
use super::view::Build;
use crate::api::ApiState;
use crate::api::pagination::List;
use crate::api::principal::Viewer;
use crate::api::problem::{ApiResult, Problem};

/// List a run's builds, in the template's order
#[utoipa::path(
    get,
    path = "/v1/runs/{id}/builds",
    tag = "runs",
    params(("id" = String, Path, description = "The run's id")),
    responses(
        (status = 200, description = "All builds", body = List<Build>),
        (status = 404, description = "No such run", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn list_run_builds(
    State(state): State<ApiState>,
    _: Viewer,
    Path(id): Path<String>,
) -> ApiResult<Json<List<Build>>> {
    let builds = state.store.builds_of(run_id(&id)?).await?;
    Ok(Json(List { items: builds.into_iter().map(Build::of).collect(), next_cursor: None }))
}
