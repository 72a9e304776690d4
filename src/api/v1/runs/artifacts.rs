//! `GET /v1/runs/{id}/artifacts`.

use axum::Json;
use axum::extract::{Path, State};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::run_id;
use crate::api::ApiState;
use crate::api::pagination::List;
use crate::api::principal::Viewer;
use crate::api::problem::{ApiResult, Problem};

/// Something that a run made to last.
#[derive(Debug, Serialize, ToSchema)]
pub struct RunArtifact {
    /// The build's name.
    pub build: String,
    pub build_id: Uuid,
    /// `ami`, `volume` or `snapshot`.
    pub kind: &'static str,
    pub id: String,
    pub account: String,
    pub region: String,
}

/// List what a run made
#[utoipa::path(
    get,
    path = "/v1/runs/{id}/artifacts",
    tag = "runs",
    params(("id" = String, Path, description = "The run's id")),
    responses(
        (status = 200, description = "All artifacts of all builds", body = List<RunArtifact>),
        (status = 404, description = "No such run", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn list_run_artifacts(
    State(state): State<ApiState>,
    _: Viewer,
    Path(id): Path<String>,
) -> ApiResult<Json<List<RunArtifact>>> {
    let builds = state.store.builds_of(run_id(&id)?).await?;
    let items = builds.into_iter().flat_map(|build| {
        let (name, build_id) = (build.name, build.id.0);
        build.artifacts.into_iter().map(move |artifact| RunArtifact {
            build: name.clone(),
            build_id,
            kind: artifact.kind,
            id: artifact.id,
            account: artifact.account,
            region: artifact.region,
        })
    });
    Ok(Json(List { items: items.collect(), next_cursor: None }))
}
