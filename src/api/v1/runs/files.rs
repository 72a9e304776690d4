//! `GET /v1/runs/{id}/files`.

use axum::Json;
use axum::extract::{Path, State};
use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::run_id;
use crate::api::ApiState;
use crate::api::pagination::List;
use crate::api::principal::Viewer;
use crate::api::problem::{ApiResult, Problem};
use crate::store::run_files::FileRow;

/// A file that a build made or fetched.
#[derive(Debug, Serialize, ToSchema)]
pub struct RunFile {
    /// The build's name.
    pub build: String,
    pub build_id: Uuid,
    pub name: String,
    /// Bytes.
    pub size: i64,
    /// Hexadecimal.
    pub sha256: String,
    pub created_at: DateTime<Utc>,
}

impl RunFile {
    fn of(file: FileRow) -> Self {
        Self {
            build: file.build,
            build_id: file.build_id.0,
            name: file.name,
            size: file.size_bytes,
            sha256: hex::encode(file.sha256),
            created_at: file.created_at,
        }
    }
}

/// List a run's files
#[utoipa::path(
    get,
    path = "/v1/runs/{id}/files",
    tag = "runs",
    params(("id" = String, Path, description = "The run's id")),
    responses(
        (status = 200, description = "All files of all builds", body = List<RunFile>),
        (status = 404, description = "No such run", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn list_run_files(
    State(state): State<ApiState>,
    _: Viewer,
    Path(id): Path<String>,
) -> ApiResult<Json<List<RunFile>>> {
    let id = run_id(&id)?;
    state.store.run(id).await?;
    let files = state.store.files(id).await?;
    Ok(Json(List { items: files.into_iter().map(RunFile::of).collect(), next_cursor: None }))
}
