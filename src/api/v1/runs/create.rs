//! `POST /v1/runs`.

use axum::Json;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::request::RunRequest;
use super::view::Run;
use crate::api::idempotency::Key;
use crate::api::principal::Builder;
use crate::api::problem::{ApiResult, Problem};
use crate::api::query::Query;
use crate::api::{ApiState, body};
use crate::domain::dedupe::DedupeOutcome;
use crate::domain::diagnostic::Diagnostic;
use crate::domain::error::{Error, Result};
use crate::domain::role::Role;
use crate::engine::accept::{Idempotency, Origin, TemplateSource, accept};
use crate::store::runs::RunRow;

/// Start a run
///
/// The template is evaluated and checked, and the run is queued. For the raw forms the query carries what the JSON request
/// has as fields.
#[utoipa::path(
    post,
    path = "/v1/runs",
    tag = "runs",
    params(
        ("name" = Option<String>, Query, description = "Raw forms: template and family name, else `inline-<hash>`"),
        ("family" = Option<String>, Query, description = "Raw forms: image family, else `bucket_name` of the template's `hcp_packer_registry`, else the template's name"),
        ("account" = Option<String>, Query, description = "Raw forms: account, else the template's, else `default`"),
        ("only" = Option<String>, Query, description = "Raw forms: comma-separated patterns over build names"),
        ("except" = Option<String>, Query, description = "Raw forms: comma-separated patterns over build names"),
        ("git_sha" = Option<String>, Query, description = "Raw forms: commit of the template's source"),
        ("var.NAME" = Option<String>, Query, description = "Raw forms: value of variable NAME"),
        ("env.NAME" = Option<String>, Query, description = "Raw forms: what `env(\"NAME\")` reads"),
        ("var_file" = Option<String>, Query, description = "Raw forms: comma-separated paths of variable files in the bundle"),
        ("label.NAME" = Option<String>, Query, description = "Raw forms: a label"),
        ("timeout" = Option<String>, Query, description = "Raw forms: time limit of each attempt, such as `2h`"),
        ("on_error" = Option<String>, Query, description = "Raw forms: `cleanup`, `abort`, `ask` or `run-cleanup-provisioner`"),
        ("debug" = Option<bool>, Query, description = "Raw forms: hold before each wave of steps"),
        ("hold_limit" = Option<String>, Query, description = "Raw forms: how long the build holds at one place, such as `30m`"),
        ("step_timeout" = Option<String>, Query, description = "Raw forms: time limit of each step"),
        ("parallel_builds" = Option<u32>, Query, description = "Raw forms: how many of the run's builds are at work at once"),
        ("priority" = Option<i32>, Query, description = "Raw forms: -100 to 100, higher is built first"),
        ("clean_image" = Option<bool>, Query, description = "Raw forms: take keys, history and machine identity out of the image"),
        ("force" = Option<bool>, Query, description = "Raw forms: as with `force_deregister` in the template"),
        ("dedupe" = Option<String>, Query, description = "Raw forms: `never`, `join` or `reuse`: whether a run that makes the same will do"),
        ("max_age" = Option<String>, Query, description = "Raw forms: with `reuse`, how old that run may be, such as `7d`"),
        ("Idempotency-Key" = Option<String>, Header, description = "The same request under the same key is done once, for 24 hours"),
    ),
    request_body(
        description = "The request, or a template by itself",
        content(
            (RunRequest = "application/json"),
            (String = "application/hcl"),
            (String = "application/vnd.packer.template+json"),
            (String = "application/gzip"),
            (String = "multipart/form-data"),
        )
    ),
    responses(
        (status = 201, description = "The run, queued", body = Run, headers(("Location" = String, description = "The run's path"))),
        (status = 200, description = "A run that was there already and makes the same; `dedupe` in it says why it does", body = Run, headers(("Location" = String, description = "The run's path"))),
        (status = 404, description = "No such stored template", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "A request with this key is being served", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "Larger than this server takes", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "A form this does not take", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "The template or the request is wrong; `errors` has the places", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn create_run(
    State(state): State<ApiState>,
    Builder(caller): Builder,
    query: Query,
    request: Request,
) -> ApiResult<Response> {
    let headers = request.headers().clone();
    let uri = request.uri().clone();
    let form = body::read(request, &state.limits).await?;
    let identity = form.identity();
    let key =
        Key::of(&headers, &[b"POST", uri.path().as_bytes(), uri.query().unwrap_or_default().as_bytes(), &identity])?;
    let work = async {
        let wanted = RunRequest::read(form, query, &state.limits)?;
        let render = |run: &RunRow, warnings: &[Diagnostic]| {
            serde_json::to_value(Run::of(run.clone()).with_warnings(warnings)).unwrap_or_default()
        };
        let idempotency = key.as_ref().map(|key| Idempotency {
            key: &key.key,
            request_sha256: key.request_sha256,
            status: StatusCode::CREATED.as_u16(),
            render: &render,
        });
        // The newest version of a stored template may be anybody's.
        let named = !matches!(wanted.template, TemplateSource::Stored { version: None, .. });
        let by_promoter = named && caller.principal.role.includes(Role::Promoter);
        let origin = Origin { idempotency: idempotency.as_ref(), scheduled: None, by_promoter };
        let accepted =
            accept(&state.store, &state.accept, wanted, &caller.actor(), origin, state.clock.as_ref()).await?;
        (state.wake)();
        created(accepted.run, &accepted.warnings)
    };
    Ok(Key::once(key.as_ref(), &state, &caller, (LOCATION, "id"), work).await?)
}

/// What the path of a run begins with.
pub(in crate::api::v1) const LOCATION: &str = "/v1/runs/";

/// The answer that a run was made, or that there was one.
pub(in crate::api::v1) fn created(run: RunRow, warnings: &[Diagnostic]) -> Result<Response> {
    let location = HeaderValue::from_str(&format!("{LOCATION}{}", run.id));
    let location = location.map_err(|error| Error::internal(error.to_string()))?;
    let made = run.dedupe.as_ref().is_none_or(|explanation| explanation.outcome == DedupeOutcome::Made);
    let status = if made { StatusCode::CREATED } else { StatusCode::OK };
    let run = Run::of(run).with_warnings(warnings);
    Ok((status, [(header::LOCATION, location)], Json(run)).into_response())
}
