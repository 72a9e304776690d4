//! Sweeps and findings as the API shows them.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::domain::janitor::SweptPlace;
use crate::engine::janitor::prices::HOURS_A_MONTH;
use crate::store::janitor_findings::{FindingRow, FindingTotal};
use crate::store::janitor_sweeps::SweepRow;

/// An estimate by AWS's list prices on demand in us-east-1 for Linux: other regions, discounts and licences differ.
#[derive(Debug, Serialize, ToSchema)]
pub struct CostEstimate {
    /// US dollars.
    pub usd_per_hour: f64,
    /// US dollars, for 730 hours.
    pub usd_per_month: f64,
}

impl CostEstimate {
    fn of(usd_per_hour: f64) -> Self {
        let rounded = |usd: f64, digits: f64| (usd * digits).round() / digits;
        let usd_per_month = rounded(usd_per_hour * HOURS_A_MONTH, 100.0);
        Self { usd_per_hour: rounded(usd_per_hour, 1_000_000.0), usd_per_month }
    }
}

/// Something that should not be there, from the first sweep that saw it until it is gone.
#[derive(Debug, Serialize, ToSchema)]
pub struct Finding {
    pub id: Uuid,
    pub account: String,
    pub region: String,
    /// `instance`, `image`, `snapshot`, `volume`, `network-interface`, `security-group`, `key-pair`, `launch-template`, `instance-profile` or `role`.
    pub kind: &'static str,
    /// The cloud's id, such as `i-0123456789abcdef0`.
    pub resource_id: String,
    #[schema(required)]
    pub name: Option<String>,
    /// `left-behind`: of a build that is over. `unknown-build`: with this deployment's tag, of a build or attempt that this
    /// database does not know. `held`: an instance of a build that is at work for more than 12 hours. `packer-leftover`:
    /// with Packer's own marks, and old.
    pub why: &'static str,
    /// What the last sweep that saw it did: `removed`, `reported` (it is left for a person), `would-remove` (a dry run),
    /// `waiting` (something that goes first uses it; the next sweep tries again) or `failed` (the cloud refused; likewise).
    pub action: &'static str,
    /// The error, or why nothing was done.
    #[schema(required)]
    pub detail: Option<String>,
    /// As its tag says.
    #[schema(required)]
    pub build_id: Option<Uuid>,
    pub tags: BTreeMap<String, String>,
    /// When it was made, or an instance last started; null when neither the cloud nor its name tells.
    #[schema(required)]
    pub created_at: Option<DateTime<Utc>>,
    pub first_seen_at: DateTime<Utc>,
    pub last_seen_at: DateTime<Utc>,
    /// When it was removed, or not there any more.
    #[schema(required)]
    pub gone_at: Option<DateTime<Utc>>,
    /// Null when its price is not known.
    #[schema(required)]
    pub cost_estimate: Option<CostEstimate>,
}

impl Finding {
    pub(super) fn of(row: FindingRow) -> Self {
        let FindingRow { id, account, region, found, first_seen_at, last_seen_at, gone_at } = row;
        Self {
            id,
            account,
            region,
            kind: found.kind.as_str(),
            resource_id: found.resource_id,
            name: found.name,
            why: found.why.as_str(),
            action: found.action.as_str(),
            detail: found.detail,
            build_id: found.build.map(|build| build.0),
            tags: found.tags.into_iter().collect(),
            created_at: found.created_at,
            first_seen_at,
            last_seen_at,
            gone_at,
            cost_estimate: found.usd_per_hour.map(CostEstimate::of),
        }
    }
}

/// All findings that the filters let through, on whatever page.
#[derive(Debug, Serialize, ToSchema)]
pub struct Totals {
    pub findings: i64,
    pub by_why: BTreeMap<&'static str, i64>,
    /// Of those whose price is known.
    pub cost_estimate: CostEstimate,
    /// Without a known price.
    pub unpriced: i64,
}

impl Totals {
    pub(super) fn of(totals: &[FindingTotal]) -> Self {
        Self {
            findings: totals.iter().map(|total| total.count).sum(),
            by_why: totals.iter().map(|total| (total.why.as_str(), total.count)).collect(),
            cost_estimate: CostEstimate::of(totals.iter().fold(0.0, |sum, total| sum + total.usd_per_hour)),
            unpriced: totals.iter().map(|total| total.unpriced).sum(),
        }
    }
}

/// One look at accounts and regions.
#[derive(Debug, Serialize, ToSchema)]
pub struct Sweep {
    pub id: Uuid,
    /// `asked`, `running`, `done`, `interrupted` (its server stopped) or `abandoned` (no server began it).
    pub state: &'static str,
    /// Null when it was time for one.
    #[schema(required)]
    pub asked_by: Option<String>,
    /// Nothing was removed.
    pub dry_run: bool,
    /// Null: all.
    #[schema(required)]
    pub account: Option<String>,
    /// Null: all.
    #[schema(required)]
    pub region: Option<String>,
    pub asked_at: DateTime<Utc>,
    #[schema(required)]
    pub begun_at: Option<DateTime<Utc>>,
    #[schema(required)]
    pub ended_at: Option<DateTime<Utc>>,
    #[schema(required)]
    pub server: Option<String>,
    /// Complete when the sweep is done.
    pub places: Vec<SweepPlace>,
}

/// How a sweep went in one region of one account.
#[derive(Debug, Serialize, ToSchema)]
pub struct SweepPlace {
    pub account: String,
    pub region: String,
    /// Why it could not be looked at.
    #[schema(required)]
    pub error: Option<String>,
    pub found: u32,
    pub removed: u32,
    /// What the cloud refused to remove.
    pub failed: u32,
}

impl Sweep {
    pub(super) fn of(row: SweepRow) -> Self {
        let place = |place: SweptPlace| {
            let SweptPlace { account, region, error, found, removed, failed } = place;
            SweepPlace { account, region, error, found, removed, failed }
        };
        Self {
            id: row.id,
            state: row.state.as_str(),
            asked_by: row.asked_by,
            dry_run: row.wanted.dry_run,
            account: row.wanted.account,
            region: row.wanted.region,
            asked_at: row.asked_at,
            begun_at: row.begun_at,
            ended_at: row.ended_at,
            server: row.server,
            places: row.places.into_iter().map(place).collect(),
        }
    }
}
