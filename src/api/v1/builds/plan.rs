//! `GET /v1/builds/{id}/plan`.

use axum::Json;
use axum::extract::{Path, State};
use serde_json::Value;

use super::build_id;
use crate::api::ApiState;
use crate::api::principal::Viewer;
use crate::api::problem::{ApiResult, Problem};
use crate::domain::error::Error;

/// Read a build's frozen plan: its steps in ordered waves
#[utoipa::path(
    get,
    path = "/v1/builds/{id}/plan",
    tag = "builds",
    params(("id" = String, Path, description = "The build's id")),
    responses(
        (status = 200, description = "The plan", body = Object),
        (status = 404, description = "No such build", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn get_build_plan(
    State(state): State<ApiState>,
    _: Viewer,
    Path(id): Path<String>,
) -> ApiResult<Json<Value>> {
    let build = state.store.build(build_id(&id)?).await?;
    let plan = serde_json::to_value(&build.plan).map_err(|error| Error::internal(error.to_string()))?;
    Ok(Json(plan))
}
