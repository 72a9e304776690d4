//! `GET /v1/janitor`.

use axum::Json;
use axum::extract::State;
use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;
use utoipa::ToSchema;

use super::view::{Finding, Sweep, Totals};
use crate::api::ApiState;
use crate::api::pagination::Listing;
use crate::api::principal::Viewer;
use crate::api::problem::ApiResult;
use crate::api::query::Query;
use crate::domain::error::{Error, Result};
use crate::store::janitor_findings::FindingFilter;
use crate::store::janitor_sweeps::SweepRow;

/// What the janitor knows and does.
#[derive(Debug, Serialize, ToSchema)]
pub struct Janitor {
    /// The newest one that is done.
    #[schema(required)]
    pub last_sweep: Option<Sweep>,
    /// One that runs, or waits for its turn.
    #[schema(required)]
    pub sweep_under_way: Option<Sweep>,
    /// When the next sweep of everything is due; null before the first.
    #[schema(required)]
    pub next_sweep_at: Option<DateTime<Utc>>,
    pub totals: Totals,
    /// A page of findings, those first that were seen first most recently.
    pub findings: Vec<Finding>,
    /// For the next page; null on the last one.
    #[schema(required)]
    pub next_cursor: Option<String>,
}

/// Show the janitor's findings, their cost and its sweeps
///
/// Prices are an estimate: AWS's list prices on demand in us-east-1 for Linux.
#[utoipa::path(
    get,
    path = "/v1/janitor",
    tag = "janitor",
    params(
        ("limit" = Option<i64>, Query, description = "Findings: 1 to 500; 50 when left out"),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before"),
        ("account" = Option<String>, Query, description = "Findings in this account"),
        ("region" = Option<String>, Query, description = "Findings in this region"),
        ("kind" = Option<String>, Query, description = "`instance`, `image`, `snapshot`, `volume`, `network-interface`, `security-group`, `key-pair`, `launch-template`, `instance-profile` or `role`"),
        ("why" = Option<String>, Query, description = "`left-behind`, `unknown-build`, `held` or `packer-leftover`"),
        ("action" = Option<String>, Query, description = "`removed`, `reported`, `would-remove`, `waiting` or `failed`"),
        ("state" = Option<String>, Query, description = "`open` (when left out), `gone` (removed or not there any more, for 7 days) or `all`"),
    ),
    responses((status = 200, description = "Sweeps and a page of findings", body = Janitor))
)]
pub async fn show_janitor(State(state): State<ApiState>, _: Viewer, mut query: Query) -> ApiResult<Json<Janitor>> {
    let listing = Listing::new(&mut query, "janitor")?;
    let filter = FindingFilter {
        account: query.one("account")?,
        region: query.one("region")?,
        kind: query.parsed("kind")?,
        why: query.parsed("why")?,
        action: query.parsed("action")?,
        gone: gone(query.one("state")?.as_deref())?,
        sweep: None,
    };
    query.finish()?;
    let rows = state.store.findings(&listing.page, &filter).await?;
    let totals = state.store.finding_totals(&filter).await?;
    let page = listing.finish(rows, |row| (row.first_seen_at, row.id), Finding::of);
    Ok(Json(Janitor {
        last_sweep: state.store.last_sweep().await?.map(Sweep::of),
        sweep_under_way: state.store.sweep_under_way().await?.map(Sweep::of),
        next_sweep_at: state.store.last_full_sweep().await?.and_then(|sweep| next_after(&sweep)),
        totals: Totals::of(&totals),
        findings: page.items,
        next_cursor: page.next_cursor,
    }))
}

fn gone(state: Option<&str>) -> Result<Option<bool>> {
    match state {
        None | Some("open") => Ok(Some(false)),
        Some("gone") => Ok(Some(true)),
        Some("all") => Ok(None),
        Some(other) => {
            let public = format!("The query parameter \"state\": {other:?} is not one of open, gone, all.");
            Err(Error::bad_request("query-invalid", public))
        }
    }
}

fn next_after(sweep: &SweepRow) -> Option<DateTime<Utc>> {
    let interval = TimeDelta::from_std(sweep.settings?.interval).ok()?;
    sweep.begun_at?.checked_add_signed(interval)
}
