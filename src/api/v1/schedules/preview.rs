//! `POST /v1/schedules/preview`.

use axum::Json;
use axum::extract::{Request, State};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::request::{parse_line, read_zone};
use super::view::{ScheduleTime, times};
use crate::api::principal::Viewer;
use crate::api::problem::{ApiResult, Problem};
use crate::api::{ApiState, body};
use crate::domain::schedule::Cadence;

/// A cron line to look at.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PreviewRequest {
    pub cron: String,
    /// `UTC` when left out.
    #[serde(default)]
    pub time_zone: Option<String>,
}

/// When a line comes true.
#[derive(Debug, Serialize, ToSchema)]
pub struct Preview {
    pub cron: String,
    pub time_zone: String,
    /// The next five times.
    pub next: Vec<ScheduleTime>,
}

/// Show the next times of a cron line
#[utoipa::path(
    post,
    path = "/v1/schedules/preview",
    tag = "schedules",
    request_body = PreviewRequest,
    responses(
        (status = 200, description = "The next five times", body = Preview),
        (status = 422, description = "The line or the time zone is wrong, with field and reason", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn preview_schedule(State(state): State<ApiState>, _: Viewer, request: Request) -> ApiResult<Json<Preview>> {
    let bytes = body::read_json(request, &state.limits).await?;
    let wanted: PreviewRequest = body::json::parse(&bytes)?;
    let zone = wanted.time_zone.as_deref().map_or(Ok(chrono_tz::UTC), read_zone)?;
    let cadence = Cadence { line: parse_line(&wanted.cron)?, zone };
    let first = cadence.after(state.clock.now()).next();
    Ok(Json(Preview {
        cron: wanted.cron,
        time_zone: zone.name().to_owned(),
        next: first.map_or_else(Vec::new, |first| times(&cadence, first)),
    }))
}
