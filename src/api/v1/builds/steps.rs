//! `GET /v1/builds/{id}/steps`.

use axum::Json;
use axum::extract::{Path, State};
use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::build_id;
use crate::api::ApiState;
use crate::api::pagination::List;
use crate::api::principal::Viewer;
use crate::api::problem::{ApiResult, Problem};
use crate::api::v1::runs::view::BuildError;
use crate::domain::failure::Failure;
use crate::store::run_steps::StepRow;

/// One step of one attempt of a build.
#[derive(Debug, Serialize, ToSchema)]
pub struct Step {
    pub attempt: i32,
    pub name: String,
    /// `pending`, `started`, `succeeded`, `failed`, `undoing`, `undone` or `undo_failed`.
    pub state: &'static str,
    #[schema(required)]
    pub started_at: Option<DateTime<Utc>>,
    /// When it succeeded or failed; undoing it later does not change this.
    #[schema(required)]
    pub finished_at: Option<DateTime<Utc>>,
    #[schema(required)]
    pub duration_ms: Option<i64>,
    #[schema(required)]
    pub undone_at: Option<DateTime<Utc>>,
    /// By what the effect can be found again: tokens and names.
    #[schema(required, value_type = Option<Object>)]
    pub intent: Option<Value>,
    #[schema(required, value_type = Option<Object>)]
    pub output: Option<Value>,
    /// Its own failure, or that of its undo.
    #[schema(required, value_type = Option<BuildError>)]
    pub error: Option<Failure>,
}

impl Step {
    fn of(step: StepRow) -> Self {
        Self {
            attempt: step.attempt,
            name: step.name,
            state: step.state.as_str(),
            started_at: step.started_at,
            finished_at: step.finished_at,
            duration_ms: step.duration_ms,
            undone_at: step.undone_at,
            intent: step.intent,
            output: step.output,
            error: step.failure,
        }
    }
}

/// List a build's steps
///
/// Of all attempts, in the plan's order. The present attempt also shows the steps that it has not begun.
#[utoipa::path(
    get,
    path = "/v1/builds/{id}/steps",
    tag = "builds",
    params(("id" = String, Path, description = "The build's id")),
    responses(
        (status = 200, description = "All steps", body = List<Step>),
        (status = 404, description = "No such build", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn list_build_steps(
    State(state): State<ApiState>,
    _: Viewer,
    Path(id): Path<String>,
) -> ApiResult<Json<List<Step>>> {
    let steps = state.store.steps(build_id(&id)?).await?;
    Ok(Json(List { items: steps.into_iter().map(Step::of).collect(), next_cursor: None }))
}
