//! `POST /v1/templates/validate`.

use axum::Json;
use axum::extract::{Request, State};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::api::principal::Builder;
use crate::api::problem::{ApiResult, Complaint, Problem};
use crate::api::query::Query;
use crate::api::v1::runs::request::RunRequest;
use crate::api::{ApiState, body};
use crate::engine::accept::dry_run;

/// What a run would be.
#[derive(Debug, Serialize, ToSchema)]
pub struct Validation {
    /// Always true: a template with errors is a 422 problem.
    pub valid: bool,
    pub account: String,
    pub warnings: Vec<Complaint>,
    pub builds: Vec<ValidBuild>,
    /// Evaluated variables; `<sensitive>` stands for values that are hidden.
    #[schema(value_type = Object)]
    pub variables: Value,
}

/// A build of a run that would be made.
#[derive(Debug, Serialize, ToSchema)]
pub struct ValidBuild {
    pub name: String,
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// Names of its steps in waves; the steps of a wave go in parallel.
    pub steps: Vec<Vec<String>>,
}

/// Validate a template
///
/// Takes what `POST /v1/runs` takes, evaluates and checks it in the same way, and stores nothing.
#[utoipa::path(
    post,
    path = "/v1/templates/validate",
    tag = "templates",
    request_body(
        description = "As for `POST /v1/runs`, with the same query for the raw forms",
        content(
            (RunRequest = "application/json"),
            (String = "application/hcl"),
            (String = "application/vnd.packer.template+json"),
            (String = "application/gzip"),
            (String = "multipart/form-data"),
        )
    ),
    responses(
        (status = 200, description = "What the run would be", body = Validation),
        (status = 404, description = "No such stored template", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "Larger than this server takes", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "A form this does not take", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "The template or the request is wrong; `errors` has the places", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn validate_template(
    State(state): State<ApiState>,
    _: Builder,
    query: Query,
    request: Request,
) -> ApiResult<Json<Validation>> {
    let form = body::read(request, &state.limits).await?;
    let wanted = RunRequest::read(form, query, &state.limits)?;
    let would_be = dry_run(&state.store, &state.accept, wanted, state.clock.as_ref()).await?;
    let builds = would_be.builds.into_iter().map(|(build, plan)| ValidBuild {
        kind: build.builder.builder_type(),
        name: build.name,
        steps: plan.waves.into_iter().map(|wave| wave.into_iter().map(|step| step.name.0).collect()).collect(),
    });
    Ok(Json(Validation {
        valid: true,
        account: would_be.account,
        warnings: would_be.warnings.iter().map(Complaint::from).collect(),
        builds: builds.collect(),
        variables: Value::Object(would_be.variables.into_iter().collect()),
    }))
}
