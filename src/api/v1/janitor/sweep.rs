//! `POST /v1/janitor/sweep`.

use std::time::Duration;

use axum::Json;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use utoipa::ToSchema;

use super::view::{Finding, Sweep};
use crate::api::principal::Admin;
use crate::api::problem::{ApiResult, Problem};
use crate::api::{ApiState, body};
use crate::domain::error::{Error, ErrorKind, Result};
use crate::domain::janitor::SweepState;
use crate::store::Page;
use crate::store::janitor_findings::FindingFilter;
use crate::store::janitor_sweeps::{SweepRequest, SweepRow};

/// Between two looks at whether the sweep is done.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// Most findings in an answer; `GET /v1/janitor` has them all.
const MOST_FINDINGS: i64 = 500;

/// What to sweep.
#[derive(Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SweepOrder {
    /// Only say what a sweep would remove.
    pub dry_run: bool,
    /// Only this account.
    pub account: Option<String>,
    /// Only this region.
    pub region: Option<String>,
}

/// A sweep with what it saw.
#[derive(Debug, Serialize, ToSchema)]
pub struct SweepResult {
    #[serde(flatten)]
    pub sweep: Sweep,
    /// At most 500; `GET /v1/janitor` has all.
    pub findings: Vec<Finding>,
}

/// Sweep now
///
/// A server that carries builds out makes the sweep, one at a time of all servers. The answer waits for its end; a sweep
/// that takes longer than a request may is answered 202 and goes on.
#[utoipa::path(
    post,
    path = "/v1/janitor/sweep",
    tag = "janitor",
    request_body = SweepOrder,
    responses(
        (status = 200, description = "The sweep, which is done", body = SweepResult),
        (status = 400, description = "The body is no JSON of this form, or there is a query", body = Problem, content_type = "application/problem+json"),
        (status = 202, description = "It goes on; `GET /v1/janitor` shows it when it is done", body = SweepResult),
        (status = 409, description = "Another sweep was asked for and waits for its turn", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "Not JSON", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "No such account, or a region that the account does not have", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn sweep_now(
    State(state): State<ApiState>,
    Admin(caller): Admin,
    request: Request,
) -> ApiResult<(StatusCode, Json<SweepResult>)> {
    let bytes = body::read_json_or_nothing(request, &state.limits).await?;
    let order: SweepOrder = body::json::parse(&bytes)?;
    check(&state, &order)?;
    let SweepOrder { dry_run, account, region } = order;
    // Some of the request's time is left for the answer.
    let give_up = Instant::now() + state.limits.request_timeout * 3 / 4;
    let asked = state.store.ask_sweep(&SweepRequest { dry_run, account, region }, &caller.actor()).await?;
    let mut sweep = asked;
    while matches!(sweep.state, SweepState::Asked | SweepState::Running) && Instant::now() < give_up {
        tokio::time::sleep(LOOK_EVERY).await;
        sweep = state.store.sweep(sweep.id).await?;
    }
    if sweep.state == SweepState::Asked {
        let nobody =
            state.store.sweep_under_way().await?.is_none_or(|under_way| under_way.state != SweepState::Running);
        if nobody && state.store.abandon_sweep(sweep.id).await? {
            return Err(nobody_works().into());
        }
        sweep = state.store.sweep(sweep.id).await?;
    }
    Ok(answer(&state, sweep).await?)
}

fn check(state: &ApiState, order: &SweepOrder) -> Result<()> {
    let policies = &state.accept.policies;
    if let Some(name) = order.account.as_ref().filter(|name| !policies.contains_key(*name)) {
        let known = policies.keys().cloned().collect::<Vec<_>>().join(", ");
        return Err(Error::unprocessable(
            "account-unknown",
            format!("There is no account {name:?}; there are: {known}."),
        ));
    }
    if order.region.as_ref().is_some_and(|region| region.trim().is_empty()) {
        return Err(Error::unprocessable("region-invalid", "The region is empty; leave it out to sweep all."));
    }
    Ok(())
}

async fn answer(state: &ApiState, sweep: SweepRow) -> Result<(StatusCode, Json<SweepResult>)> {
    match sweep.state {
        SweepState::Interrupted => {
            let public = "The server that made the sweep stopped before its end; ask again.";
            return Err(Error::new(ErrorKind::Unavailable, "sweep-interrupted", public));
        }
        SweepState::Abandoned => return Err(nobody_works()),
        SweepState::Asked | SweepState::Running | SweepState::Done => {}
    }
    let is_done = sweep.state == SweepState::Done;
    if let (true, Some(region), true) = (is_done, &sweep.wanted.region, sweep.places.is_empty()) {
        let public = format!(
            "No account that was asked for has the region {region:?}: it is not among its `regions`, and no build was there."
        );
        return Err(Error::unprocessable("region-unknown", public));
    }
    let filter = FindingFilter { sweep: Some(sweep.id), ..FindingFilter::default() };
    let rows = state.store.findings(&Page::first(MOST_FINDINGS), &filter).await?;
    let findings = rows.into_iter().map(Finding::of).collect();
    let status = if is_done { StatusCode::OK } else { StatusCode::ACCEPTED };
    Ok((status, Json(SweepResult { sweep: Sweep::of(sweep), findings })))
}

fn nobody_works() -> Error {
    let public = "No server came to make the sweep: start one with the role all or worker, and look at its log.";
    Error::new(ErrorKind::Unavailable, "janitor-away", public)
}
