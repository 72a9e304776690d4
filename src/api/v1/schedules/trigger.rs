//! `POST /v1/schedules/{schedule}/trigger`.

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::Response;

use crate::api::ApiState;
use crate::api::idempotency::Key;
use crate::api::principal::Builder;
use crate::api::problem::{ApiResult, Problem};
use crate::api::v1::runs::create::{LOCATION, created};
use crate::api::v1::runs::view::Run;
use crate::domain::diagnostic::Diagnostic;
use crate::engine::accept::Idempotency;
use crate::engine::scheduler::start_run;
use crate::store::runs::RunRow;
use crate::store::schedule_firings::{ClaimKind, SlotClaim};

/// Start a schedule's run now
///
/// Also while it is paused, and whatever is still at work. Its own times stay as they are.
#[utoipa::path(
    post,
    path = "/v1/schedules/{schedule}/trigger",
    tag = "schedules",
    params(
        ("schedule" = String, Path, description = "The schedule's name or id"),
        ("Idempotency-Key" = Option<String>, Header, description = "The same request under the same key is done once, for 24 hours"),
    ),
    responses(
        (status = 201, description = "The run, queued", body = Run, headers(("Location" = String, description = "The run's path"))),
        (status = 404, description = "No such schedule", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "The template or a variable is wrong by now", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn trigger_schedule(
    State(state): State<ApiState>,
    Builder(caller): Builder,
    Path(schedule): Path<String>,
    headers: HeaderMap,
    uri: Uri,
) -> ApiResult<Response> {
    let key = Key::of_body(&headers, &uri, b"")?;
    let work = async {
        let row = state.store.schedule(&schedule).await?;
        let render = |run: &RunRow, _: &[Diagnostic]| serde_json::to_value(Run::of(run.clone())).unwrap_or_default();
        let kept = key.as_ref().map(|key| Idempotency {
            key: &key.key,
            request_sha256: key.request_sha256,
            status: StatusCode::CREATED.as_u16(),
            render: &render,
        });
        let claim = SlotClaim { schedule: row.id, kind: ClaimKind::Manual };
        let run =
            start_run(&state.store, &state.accept, &row, claim, &caller.actor(), kept.as_ref(), &*state.clock).await?;
        (state.wake)();
        created(run, &[])
    };
    Ok(Key::once(key.as_ref(), &state, &caller, (LOCATION, "id"), work).await?)
}
