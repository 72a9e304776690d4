//! `POST /v1/schedules`.

use axum::Json;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};

use super::request::ScheduleRequest;
use super::view::Schedule;
use crate::api::idempotency::Key;
use crate::api::principal::Builder;
use crate::api::problem::{ApiResult, Problem};
use crate::api::{ApiState, body};
use crate::domain::error::Error;
use crate::domain::ids::ScheduleId;
use crate::store::idempotency::AnswerKey;
use crate::store::schedules::ScheduleRow;

/// What the path of a schedule begins with.
const LOCATION: &str = "/v1/schedules/";

/// Make a schedule
///
/// The template is evaluated with the schedule's variables, as a run would, and what is wrong is told now.
#[utoipa::path(
    post,
    path = "/v1/schedules",
    tag = "schedules",
    params(("Idempotency-Key" = Option<String>, Header, description = "The same request under the same key is done once, for 24 hours")),
    request_body = ScheduleRequest,
    responses(
        (status = 201, description = "The schedule", body = Schedule, headers(("Location" = String, description = "The schedule's path"))),
        (status = 404, description = "No such template", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "There is a schedule of this name", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "The cron line, the time zone, the template or a variable is wrong", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn create_schedule(
    State(state): State<ApiState>,
    Builder(caller): Builder,
    request: Request,
) -> ApiResult<Response> {
    let (headers, uri) = (request.headers().clone(), request.uri().clone());
    let bytes = body::read_json(request, &state.limits).await?;
    let key = Key::of_body(&headers, &uri, &bytes)?;
    let work = async {
        let wanted: ScheduleRequest = body::json::parse(&bytes)?;
        let content = wanted.into_new(&state).await?;
        let render = |row: &ScheduleRow| serde_json::to_value(Schedule::of(row.clone())).unwrap_or_default();
        let kept = key.as_ref().map(|key| AnswerKey {
            key: &key.key,
            request_sha256: key.request_sha256,
            status: StatusCode::CREATED.as_u16(),
            render: &render,
        });
        let id = ScheduleId(state.new_id());
        let row = state.store.create_schedule(id, &content, &caller.actor(), kept.as_ref()).await?;
        let location = HeaderValue::from_str(&format!("{LOCATION}{}", row.id));
        let location = location.map_err(|error| Error::internal(error.to_string()))?;
        Ok((StatusCode::CREATED, [(header::LOCATION, location)], Json(Schedule::of(row))).into_response())
    };
    Ok(Box::pin(Key::once(key.as_ref(), &state, &caller, (LOCATION, "id"), work)).await?)
}
