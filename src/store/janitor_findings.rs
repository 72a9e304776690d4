//! What the janitor found: one row from the first time that something is seen until it is gone.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::text::{from_json, parse, storable, to_json};
use super::{Page, Store, new_id};
use crate::domain::error::Result;
use crate::domain::ids::BuildId;
use crate::domain::janitor::{FindingAction, FindingKind, Why};
use crate::domain::tags::TagList;

/// Something that a sweep saw in one region of one account.
#[derive(Debug, Clone, PartialEq)]
pub struct NewFinding {
    pub kind: FindingKind,
    pub resource_id: String,
    pub name: Option<String>,
    pub why: Why,
    /// As its tag says.
    pub build: Option<BuildId>,
    pub tags: TagList,
    /// When it was made, where the cloud or its name tells.
    pub created_at: Option<DateTime<Utc>>,
    /// An estimate; `None`: not known.
    pub usd_per_hour: Option<f64>,
    pub action: FindingAction,
    /// The error, or why nothing was done.
    pub detail: Option<String>,
}

/// A finding as it is kept.
#[derive(Debug, Clone, PartialEq)]
pub struct FindingRow {
    pub id: Uuid,
    pub account: String,
    pub region: String,
    pub found: NewFinding,
    pub first_seen_at: DateTime<Utc>,
    pub last_seen_at: DateTime<Utc>,
    /// When it was removed, or not seen any more.
    pub gone_at: Option<DateTime<Utc>>,
}

/// Which findings; what is `None` does not matter.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FindingFilter {
    pub account: Option<String>,
    pub region: Option<String>,
    pub kind: Option<FindingKind>,
    pub why: Option<Why>,
    /// What the last sweep did about it.
    pub action: Option<FindingAction>,
    /// Whether it is gone.
    pub gone: Option<bool>,
    /// The last sweep that saw it.
    pub sweep: Option<Uuid>,
}

/// Findings of one reason, added up.
#[derive(Debug, Clone, PartialEq)]
pub struct FindingTotal {
    pub why: Why,
    pub count: i64,
    /// Of those with a known price.
    pub usd_per_hour: f64,
    /// Without a known price.
    pub unpriced: i64,
}

/// As the table has it.
struct RawFinding {
    id: Uuid,
    account: String,
    region: String,
    kind: String,
    resource_id: String,
    name: Option<String>,
    why: String,
    build_id: Option<Uuid>,
    tags: serde_json::Value,
    created_at: Option<DateTime<Utc>>,
    first_seen_at: DateTime<Utc>,
    last_seen_at: DateTime<Utc>,
    gone_at: Option<DateTime<Utc>>,
    usd_per_hour: Option<f64>,
    action: String,
    detail: Option<String>,
}

impl RawFinding {
    fn read(self) -> Result<FindingRow> {
        let found = NewFinding {
            kind: parse("finding kind", &self.kind)?,
            resource_id: self.resource_id,
            name: self.name,
            why: parse("finding reason", &self.why)?,
            build: self.build_id.map(BuildId),
            tags: from_json("finding tags", self.tags)?,
            created_at: self.created_at,
            usd_per_hour: self.usd_per_hour,
            action: parse("finding action", &self.action)?,
            detail: self.detail,
        };
        Ok(FindingRow {
            id: self.id,
            account: self.account,
            region: self.region,
            found,
            first_seen_at: self.first_seen_at,
            last_seen_at: self.last_seen_at,
            gone_at: self.gone_at,
        })
    }
}

impl Store {
    /// Writes all that a sweep saw in a place. What is not among it any more is gone, unless it is of a kind that was not looked
    /// for.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn record_findings(
        &self,
        sweep: Uuid,
        (account, region): (&str, &str),
        findings: &[NewFinding],
        unseen: &[FindingKind],
    ) -> Result<()> {
        let now = self.now();
        let mut tx = self.begin().await?;
        for finding in findings {
            write(&mut tx, now, sweep, (account, region), finding).await?;
        }
        let unseen: Vec<String> = unseen.iter().map(ToString::to_string).collect();
        sqlx::query!(
            "UPDATE janitor_findings SET gone_at = GREATEST(last_seen_at, $4)
             WHERE account = $1 AND region = $2 AND gone_at IS NULL AND sweep_id <> $3 AND kind <> ALL ($5)",
            account,
            region,
            sweep,
            now,
            &unseen
        )
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(())
    }

    /// Findings, those first that were seen first most recently.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn findings(&self, page: &Page, filter: &FindingFilter) -> Result<Vec<FindingRow>> {
        let rows = sqlx::query_as!(
            RawFinding,
            "SELECT id, account, region, kind, resource_id, name, why, build_id, tags, created_at, first_seen_at,
                    last_seen_at, gone_at, usd_per_hour, action, detail
             FROM janitor_findings
             WHERE ($1::text IS NULL OR account = $1)
               AND ($2::text IS NULL OR region = $2)
               AND ($3::text IS NULL OR kind = $3)
               AND ($4::text IS NULL OR why = $4)
               AND ($5::text IS NULL OR action = $5)
               AND ($6::boolean IS NULL OR (gone_at IS NOT NULL) = $6)
               AND ($7::uuid IS NULL OR sweep_id = $7)
               AND ($8::timestamptz IS NULL OR (first_seen_at, id) < ($8, $9::uuid))
             ORDER BY first_seen_at DESC, id DESC
             LIMIT $10",
            filter.account,
            filter.region,
            filter.kind.map(FindingKind::as_str),
            filter.why.map(Why::as_str),
            filter.action.map(FindingAction::as_str),
            filter.gone,
            filter.sweep,
            page.before_at(),
            page.before_id(),
            page.limit
        )
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter().map(RawFinding::read).collect()
    }

    /// The same findings added up by their reason.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn finding_totals(&self, filter: &FindingFilter) -> Result<Vec<FindingTotal>> {
        let rows = sqlx::query!(
            r#"SELECT why, count(*) AS "count!", COALESCE(sum(usd_per_hour), 0) AS "usd_per_hour!",
                      count(*) FILTER (WHERE usd_per_hour IS NULL) AS "unpriced!"
               FROM janitor_findings
               WHERE ($1::text IS NULL OR account = $1)
                 AND ($2::text IS NULL OR region = $2)
                 AND ($3::text IS NULL OR kind = $3)
                 AND ($4::text IS NULL OR why = $4)
                 AND ($5::text IS NULL OR action = $5)
                 AND ($6::boolean IS NULL OR (gone_at IS NOT NULL) = $6)
                 AND ($7::uuid IS NULL OR sweep_id = $7)
               GROUP BY why ORDER BY why"#,
            filter.account,
            filter.region,
            filter.kind.map(FindingKind::as_str),
            filter.why.map(Why::as_str),
            filter.action.map(FindingAction::as_str),
            filter.gone,
            filter.sweep
        )
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter()
            .map(|row| {
                let why = parse("finding reason", &row.why)?;
                Ok(FindingTotal { why, count: row.count, usd_per_hour: row.usd_per_hour, unpriced: row.unpriced })
            })
            .collect()
    }
}

/// Brings the open row of a thing up to date, or makes one.
async fn write(
    connection: &mut PgConnection,
    now: DateTime<Utc>,
    sweep: Uuid,
    (account, region): (&str, &str),
    finding: &NewFinding,
) -> Result<()> {
    let is_gone = finding.action == FindingAction::Removed;
    let tags = to_json(&finding.tags)?;
    let [name, detail] = [&finding.name, &finding.detail].map(|text| text.as_deref().map(storable));
    // Not with ON CONFLICT: what is gone now is not in the index of the open ones, and would become a second row.
    let updated = sqlx::query!(
        "UPDATE janitor_findings
         SET name = $5, why = $6, build_id = $7, tags = $8, created_at = $9, usd_per_hour = $10, action = $11, detail = $12,
             sweep_id = $13, last_seen_at = GREATEST(last_seen_at, $14),
             gone_at = CASE WHEN $15 THEN GREATEST(last_seen_at, $14) END
         WHERE account = $1 AND region = $2 AND kind = $3 AND resource_id = $4 AND gone_at IS NULL",
        account,
        region,
        finding.kind.as_str(),
        finding.resource_id,
        name.as_deref(),
        finding.why.as_str(),
        finding.build.map(|build| build.0),
        tags,
        finding.created_at,
        finding.usd_per_hour,
        finding.action.as_str(),
        detail.as_deref(),
        sweep,
        now,
        is_gone
    )
    .execute(&mut *connection)
    .await?;
    if updated.rows_affected() > 0 {
        return Ok(());
    }
    sqlx::query!(
        "INSERT INTO janitor_findings (id, account, region, kind, resource_id, name, why, build_id, tags, created_at,
                                       first_seen_at, last_seen_at, gone_at, usd_per_hour, action, detail, sweep_id)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $11, $12, $13, $14, $15, $16)",
        new_id(now),
        account,
        region,
        finding.kind.as_str(),
        finding.resource_id,
        name.as_deref(),
        finding.why.as_str(),
        finding.build.map(|build| build.0),
        tags,
        finding.created_at,
        now,
        is_gone.then_some(now),
        finding.usd_per_hour,
        finding.action.as_str(),
        detail.as_deref(),
        sweep
    )
    .execute(connection)
    .await?;
    Ok(())
}
