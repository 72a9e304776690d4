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
use crate::domain::diagnostic::Diagnostic;
use crate::domain::error::Error;
use crate::engine::accept::{Idempotency, accept};
use crate::store::idempotency::JUST_USED;
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
        ("family" = Option<String>, Query, description = "Raw forms: image family, else the template's name"),
        ("account" = Option<String>, Query, description = "Raw forms: account, else the template's, else `default`"),
        ("only" = Option<String>, Query, description = "Raw forms: comma-separated patterns over build names"),
        ("except" = Option<String>, Query, description = "Raw forms: comma-separated patterns over build names"),
        ("git_sha" = Option<String>, Query, description = "Raw forms: commit of the template's source"),
        ("var.NAME" = Option<String>, Query, description = "Raw forms: value of variable NAME"),
        ("env.NAME" = Option<String>, Query, description = "Raw forms: what `env(\"NAME\")` reads"),
        ("var_file" = Option<String>, Query, description = "Raw forms: comma-separated paths of variable files in the bundle"),
        ("label.NAME" = Option<String>, Query, description = "Raw forms: a label"),
        ("timeout" = Option<String>, Query, description = "Raw forms: time limit of each attempt, such as `2h`"),
        ("clean_image" = Option<bool>, Query, description = "Raw forms: take keys, history and machine identity out of the image"),
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
    if let Some(key) = &key
        && let Some(answer) = key.replay(&state, &caller, ("/v1/runs/", "id")).await?
    {
        return Ok(answer);
    }
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
    let accepted =
        accept(&state.store, &state.accept, wanted, &caller.actor(), idempotency.as_ref(), state.clock.as_ref()).await;
    let accepted = match (accepted, &key) {
        // The same request came twice at the same time, and the other one won.
        (Err(error), Some(key)) if error.code == JUST_USED => {
            return Ok(key.replay(&state, &caller, ("/v1/runs/", "id")).await?.ok_or(error)?);
        }
        (accepted, _) => accepted?,
    };
    (state.wake)();
    let location = HeaderValue::from_str(&format!("/v1/runs/{}", accepted.run.id));
    let location = location.map_err(|error| Error::internal(error.to_string()))?;
    let run = Run::of(accepted.run).with_warnings(&accepted.warnings);
    Ok((StatusCode::CREATED, [(header::LOCATION, location)], Json(run)).into_response())
}
