//! Schedules: the rows, and how people change them. `schedule_firings` is what a server does with them.

use std::time::Duration;

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use serde_json::{Value, json};
use sqlx::PgConnection;
use zeroize::Zeroizing;

use super::audit::{self, Deed};
use super::error::violated_unique;
use super::idempotency::AnswerKey;
use super::schedule_firings::{self, ClaimKind, FiringRow, Note, SlotClaim, last_firings};
use super::sealed::Sealed;
use super::templates::clip;
use super::text::{parse, storable_json};
use super::{Actor, Page, Store};
use crate::domain::error::{Error, Result};
use crate::domain::ids::{ScheduleId, TemplateId};
use crate::domain::schedule::cron::CronLine;
use crate::domain::schedule::{Cadence, CatchUp, FiringOutcome, Overlap, jitter_offset, parse_zone};

/// A schedule.
#[derive(Debug, Clone, PartialEq)]
pub struct ScheduleRow {
    pub id: ScheduleId,
    pub name: String,
    pub template_id: TemplateId,
    /// The template's name.
    pub template: String,
    pub timing: Timing,
    /// `None`: the newest version at each time.
    pub pinned_version: Option<i32>,
    pub enabled: bool,
    /// What its runs ask for, as people may see it.
    pub shown: Value,
    /// The next time of the line; `None` when it is paused or has none.
    pub next_slot: Option<DateTime<Utc>>,
    pub next_fire_at: Option<DateTime<Utc>>,
    /// Counts changes by people.
    pub revision: i64,
    pub last_firing: Option<FiringRow>,
    pub created_by: String,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

/// When it starts runs, and what about those that are in each other's way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timing {
    pub cadence: Cadence,
    pub overlap: Overlap,
    pub catch_up: CatchUp,
    pub jitter: Duration,
}

/// A schedule as it is to be.
#[derive(Debug, Clone)]
pub struct ScheduleContent {
    pub name: String,
    pub template_id: TemplateId,
    pub pinned_version: Option<i32>,
    pub timing: Timing,
    pub enabled: bool,
    /// The run request as JSON, secrets in clear: it is sealed here.
    pub request: Zeroizing<Vec<u8>>,
    pub shown: Value,
}

/// Which schedules to list.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ScheduleFilter {
    pub template: Option<String>,
    pub enabled: Option<bool>,
    pub name: Option<String>,
}

/// Where a schedule goes on from now.
struct Next {
    slot: Option<DateTime<Utc>>,
    fire_at: Option<DateTime<Utc>>,
}

impl Timing {
    /// The slot's time with its jitter.
    #[must_use]
    pub fn fire_at(&self, schedule: ScheduleId, slot: DateTime<Utc>) -> DateTime<Utc> {
        slot + jitter_offset(schedule, slot, self.jitter)
    }

    fn next(&self, schedule: ScheduleId, enabled: bool, now: DateTime<Utc>) -> Next {
        let slot = enabled.then(|| self.cadence.after(now).next()).flatten();
        Next { slot, fire_at: slot.map(|slot| self.fire_at(schedule, slot)) }
    }
}

/// A row as it is in the database.
pub(super) struct Record {
    pub id: ScheduleId,
    pub name: String,
    pub template_id: TemplateId,
    pub template: String,
    pub pinned_version: Option<i32>,
    pub cron: String,
    pub time_zone: String,
    pub enabled: bool,
    pub overlap: String,
    pub catch_up: String,
    pub jitter_seconds: i64,
    pub shown: Value,
    pub next_slot: Option<DateTime<Utc>>,
    pub next_fire_at: Option<DateTime<Utc>>,
    pub revision: i64,
    pub created_by: String,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

impl Record {
    pub(super) fn read(self) -> Result<ScheduleRow> {
        let unreadable = |what: &str, error: String| {
            Error::internal(format!("stored {what} of schedule {:?} can't be read: {error}", self.name))
        };
        let line = CronLine::parse(&self.cron).map_err(|error| unreadable("cron line", error.to_string()))?;
        let zone: Tz = parse_zone(&self.time_zone).map_err(|error| unreadable("time zone", error))?;
        Ok(ScheduleRow {
            timing: Timing {
                cadence: Cadence { line, zone },
                overlap: parse("overlap", &self.overlap)?,
                catch_up: parse("catch-up", &self.catch_up)?,
                jitter: Duration::from_secs(u64::try_from(self.jitter_seconds).unwrap_or(0)),
            },
            id: self.id,
            name: self.name,
            template_id: self.template_id,
            template: self.template,
            pinned_version: self.pinned_version,
            enabled: self.enabled,
            shown: self.shown,
            next_slot: self.next_slot,
            next_fire_at: self.next_fire_at,
            revision: self.revision,
            last_firing: None,
            created_by: self.created_by,
            created_at: self.created_at,
            updated_at: self.updated_at,
        })
    }
}

impl ScheduleRow {
    /// For the audit.
    fn audited(&self) -> Value {
        json!({
            "name": self.name, "template": self.template, "pinned_version": self.pinned_version,
            "cron": self.timing.cadence.line.as_str(), "time_zone": self.timing.cadence.zone.name(),
            "enabled": self.enabled, "overlap": self.timing.overlap, "catch_up": self.timing.catch_up,
            "jitter_seconds": self.timing.jitter.as_secs(), "request": self.shown,
        })
    }
}

impl Store {
    /// Keeps a new schedule; its first slot is the next one from now.
    ///
    /// # Errors
    /// `schedule-name-taken`; [`JUST_USED`](super::idempotency::JUST_USED); or the database is away.
    pub async fn create_schedule(
        &self,
        id: ScheduleId,
        content: &ScheduleContent,
        actor: &Actor,
        idempotency: Option<&AnswerKey<'_, ScheduleRow>>,
    ) -> Result<ScheduleRow> {
        let now = self.now();
        let next = content.timing.next(id, content.enabled, now);
        let sealed = self.sealer.seal_schedule(id, &content.request)?;
        let mut tx = self.begin().await?;
        if let Some(key) = idempotency {
            key.reserve(&mut tx, &actor.principal, now).await?;
        }
        sqlx::query!(
            "INSERT INTO schedules (id, name, template_id, pinned_version, cron, time_zone, enabled, overlap, catch_up,
                                    jitter_seconds, request_key_id, request_nonce, request_ciphertext, shown, next_slot,
                                    next_fire_at, created_by, created_at, updated_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $18)",
            id.0,
            content.name,
            content.template_id.0,
            content.pinned_version,
            content.timing.cadence.line.as_str(),
            content.timing.cadence.zone.name(),
            content.enabled,
            content.timing.overlap.as_str(),
            content.timing.catch_up.as_str(),
            jitter_seconds(&content.timing),
            sealed.key_id,
            sealed.nonce,
            sealed.ciphertext,
            storable_json(content.shown.clone()),
            next.slot,
            next.fire_at,
            actor.principal,
            now
        )
        .execute(&mut *tx)
        .await
        .map_err(|error| refused(error, &content.name))?;
        let row = by_id(&mut tx, id).await?;
        audit_change(&mut tx, now, actor, "schedule.create", None, Some(&row)).await?;
        if let Some(key) = idempotency {
            key.fill(&mut tx, &actor.principal, &row).await?;
        }
        tx.commit().await?;
        Ok(row)
    }

    /// Replaces what a schedule is, as long as it is what the change was made from. When its times change, the next one is
    /// the first from now, and one that has come and was not served yet is given up.
    ///
    /// # Errors
    /// `schedule-not-found`, `schedule-name-taken`; [`CHANGED_MEANWHILE`]; or the database is away.
    pub async fn update_schedule(
        &self,
        id: ScheduleId,
        revision: i64,
        content: &ScheduleContent,
        actor: &Actor,
    ) -> Result<ScheduleRow> {
        let now = self.now();
        let sealed = self.sealer.seal_schedule(id, &content.request)?;
        let mut tx = self.begin().await?;
        lock(&mut tx, id).await?;
        let before = by_id(&mut tx, id).await?;
        if before.revision != revision {
            let public = "The schedule was changed by somebody else at the same time; look at it, and try again.";
            return Err(Error::conflict(CHANGED_MEANWHILE, public));
        }
        let same_times = before.enabled == content.enabled && before.timing.cadence == content.timing.cadence;
        let next = if same_times {
            Next { slot: before.next_slot, fire_at: before.next_slot.map(|slot| content.timing.fire_at(id, slot)) }
        } else {
            give_up_due(&mut tx, &before, now, &actor.principal).await?;
            content.timing.next(id, content.enabled, earliest_next(&mut tx, id, now).await?)
        };
        sqlx::query!(
            "UPDATE schedules
             SET name = $2, template_id = $3, pinned_version = $4, cron = $5, time_zone = $6, enabled = $7, overlap = $8,
                 catch_up = $9, jitter_seconds = $10, request_key_id = $11, request_nonce = $12,
                 request_ciphertext = $13, shown = $14, next_slot = $15, next_fire_at = $16, updated_at = $17,
                 revision = revision + 1
             WHERE id = $1",
            id.0,
            content.name,
            content.template_id.0,
            content.pinned_version,
            content.timing.cadence.line.as_str(),
            content.timing.cadence.zone.name(),
            content.enabled,
            content.timing.overlap.as_str(),
            content.timing.catch_up.as_str(),
            jitter_seconds(&content.timing),
            sealed.key_id,
            sealed.nonce,
            sealed.ciphertext,
            storable_json(content.shown.clone()),
            next.slot,
            next.fire_at,
            now
        )
        .execute(&mut *tx)
        .await
        .map_err(|error| refused(error, &content.name))?;
        let after = by_id(&mut tx, id).await?;
        audit_change(&mut tx, now, actor, "schedule.update", Some(&before), Some(&after)).await?;
        tx.commit().await?;
        self.schedule(&id.to_string()).await
    }

    /// Pauses or resumes a schedule. Resumed, it goes on with the first slot from now.
    ///
    /// # Errors
    /// `schedule-not-found`, or the database is away.
    pub async fn set_schedule_enabled(&self, name_or_id: &str, enabled: bool, actor: &Actor) -> Result<ScheduleRow> {
        let now = self.now();
        let id = self.schedule(name_or_id).await?.id;
        let mut tx = self.begin().await?;
        lock(&mut tx, id).await?;
        let before = by_id(&mut tx, id).await?;
        if before.enabled != enabled {
            give_up_due(&mut tx, &before, now, &actor.principal).await?;
            let next = before.timing.next(id, enabled, earliest_next(&mut tx, id, now).await?);
            sqlx::query!(
                "UPDATE schedules
                 SET enabled = $2, next_slot = $3, next_fire_at = $4, updated_at = $5, revision = revision + 1
                 WHERE id = $1",
                id.0,
                enabled,
                next.slot,
                next.fire_at,
                now
            )
            .execute(&mut *tx)
            .await?;
            let after = by_id(&mut tx, id).await?;
            let action = if enabled { "schedule.resume" } else { "schedule.pause" };
            audit_change(&mut tx, now, actor, action, Some(&before), Some(&after)).await?;
        }
        tx.commit().await?;
        self.schedule(&id.to_string()).await
    }

    /// Removes a schedule with its secrets. Its runs and its history stay; what waits does not start any more.
    ///
    /// # Errors
    /// `schedule-not-found`, or the database is away.
    pub async fn delete_schedule(&self, id: ScheduleId, actor: &Actor) -> Result<()> {
        let now = self.now();
        let mut tx = self.begin().await?;
        lock(&mut tx, id).await?;
        let before = by_id(&mut tx, id).await?;
        sqlx::query!(
            "UPDATE schedules
             SET deleted_at = $2, updated_at = $2, enabled = false, next_slot = NULL, next_fire_at = NULL,
                 revision = revision + 1, request_ciphertext = ''
             WHERE id = $1",
            id.0,
            now
        )
        .execute(&mut *tx)
        .await?;
        sqlx::query!(
            "UPDATE schedule_firings SET outcome = 'skipped', reason = 'The schedule was deleted.'
             WHERE schedule_id = $1 AND outcome = 'waiting'",
            id.0
        )
        .execute(&mut *tx)
        .await?;
        audit_change(&mut tx, now, actor, "schedule.delete", Some(&before), None).await?;
        tx.commit().await?;
        Ok(())
    }

    /// A schedule by name or id.
    ///
    /// # Errors
    /// `schedule-not-found`, or the database is away.
    pub async fn schedule(&self, name_or_id: &str) -> Result<ScheduleRow> {
        let id: Option<uuid::Uuid> = name_or_id.parse().ok();
        let filter = ScheduleFilter { name: id.is_none().then(|| name_or_id.to_owned()), ..ScheduleFilter::default() };
        let mut connection = self.pool.acquire().await?;
        let mut found = select(&mut connection, id.map(ScheduleId), &filter, &Page::first(1)).await?;
        found.pop().ok_or_else(|| not_found(name_or_id))
    }

    /// Schedules, newest first.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn schedules(&self, filter: &ScheduleFilter, page: &Page) -> Result<Vec<ScheduleRow>> {
        let mut connection = self.pool.acquire().await?;
        select(&mut connection, None, filter, page).await
    }

    /// What a schedule's runs ask for, secrets in clear.
    ///
    /// # Errors
    /// [`CHANGED_MEANWHILE`] when it is not of this revision any more; when its key is not known here; or the database is
    /// away.
    pub async fn schedule_request(&self, id: ScheduleId, revision: i64) -> Result<Zeroizing<Vec<u8>>> {
        let row = sqlx::query!(
            "SELECT request_key_id, request_nonce, request_ciphertext FROM schedules WHERE id = $1 AND revision = $2",
            id.0,
            revision
        )
        .fetch_optional(&self.pool)
        .await?
        .ok_or_else(|| Error::conflict(CHANGED_MEANWHILE, "The schedule was changed meanwhile; try again."))?;
        let sealed =
            Sealed { key_id: row.request_key_id, nonce: row.request_nonce, ciphertext: row.request_ciphertext };
        self.sealer.open_schedule(id, &sealed)
    }

    /// Enabled schedules whose time has come at least `by` ago and that nobody has served.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn schedules_late(&self, by: Duration) -> Result<i64> {
        let limit = self.now() - chrono::TimeDelta::from_std(by).unwrap_or_default();
        Ok(sqlx::query_scalar!(r#"SELECT count(*) AS "count!" FROM schedules WHERE next_fire_at < $1"#, limit)
            .fetch_one(&self.pool)
            .await?)
    }
}

/// The code of the error that says: somebody else has changed the schedule.
pub const CHANGED_MEANWHILE: &str = "schedule-changed-meanwhile";

/// From when on the next slot is looked for: a clock that was set back must not bring one that was served already.
async fn earliest_next(connection: &mut PgConnection, id: ScheduleId, now: DateTime<Utc>) -> Result<DateTime<Utc>> {
    let served = sqlx::query_scalar!("SELECT max(slot) FROM schedule_firings WHERE schedule_id = $1", id.0)
        .fetch_one(connection)
        .await?;
    Ok(served.map_or(now, |served| served.max(now)))
}

/// A slot that has come, and that a change takes away before it was served, is told as passed over.
async fn give_up_due(
    connection: &mut PgConnection,
    schedule: &ScheduleRow,
    now: DateTime<Utc>,
    principal: &str,
) -> Result<()> {
    let Some(slot) = schedule.next_slot.filter(|slot| *slot <= now) else { return Ok(()) };
    let kind = ClaimKind::Slot { slot, next: None, revision: schedule.revision };
    let claim = SlotClaim { schedule: schedule.id, kind };
    let reason = Some("The schedule was changed or paused before this time was served.");
    let note = Note { outcome: FiringOutcome::Skipped, reason, run: None, principal, at: now };
    schedule_firings::write(connection, &claim, note).await
}

fn jitter_seconds(timing: &Timing) -> i64 {
    i64::try_from(timing.jitter.as_secs()).unwrap_or(i64::MAX)
}

fn not_found(name_or_id: &str) -> Error {
    Error::not_found("schedule-not-found", format!("There is no schedule {:?}.", clip(name_or_id)))
}

fn refused(error: sqlx::Error, name: &str) -> Error {
    if violated_unique(&error) == Some("schedules_live_name") {
        let public = format!("There is a schedule {name:?} already; change it, or choose another name.");
        return Error::conflict("schedule-name-taken", public);
    }
    error.into()
}

/// Locks the row, so that no slot is served in between.
pub(super) async fn lock(connection: &mut PgConnection, id: ScheduleId) -> Result<()> {
    sqlx::query_scalar!("SELECT id FROM schedules WHERE id = $1 AND deleted_at IS NULL FOR NO KEY UPDATE", id.0)
        .fetch_optional(connection)
        .await?
        .map(|_| ())
        .ok_or_else(|| not_found(&id.to_string()))
}

async fn by_id(connection: &mut PgConnection, id: ScheduleId) -> Result<ScheduleRow> {
    let found = select(connection, Some(id), &ScheduleFilter::default(), &Page::first(1)).await?;
    found.into_iter().next().ok_or_else(|| not_found(&id.to_string()))
}

async fn select(
    connection: &mut PgConnection,
    id: Option<ScheduleId>,
    filter: &ScheduleFilter,
    page: &Page,
) -> Result<Vec<ScheduleRow>> {
    let records = sqlx::query_as!(
        Record,
        "SELECT s.id, s.name, s.template_id, t.name AS template, s.pinned_version, s.cron, s.time_zone, s.enabled,
                s.overlap, s.catch_up, s.jitter_seconds, s.shown, s.next_slot, s.next_fire_at, s.revision, s.created_by,
                s.created_at, s.updated_at
         FROM schedules s JOIN templates t ON t.id = s.template_id
         WHERE s.deleted_at IS NULL
           AND ($1::uuid IS NULL OR s.id = $1)
           AND ($2::text IS NULL OR t.name = $2)
           AND ($3::boolean IS NULL OR s.enabled = $3)
           AND ($4::text IS NULL OR s.name = $4)
           AND ($5::timestamptz IS NULL OR (s.created_at, s.id) < ($5, $6::uuid))
         ORDER BY s.created_at DESC, s.id DESC
         LIMIT $7",
        id.map(|id| id.0),
        filter.template,
        filter.enabled,
        filter.name,
        page.before_at(),
        page.before_id(),
        page.limit
    )
    .fetch_all(&mut *connection)
    .await?;
    let mut rows = records.into_iter().map(Record::read).collect::<Result<Vec<_>>>()?;
    let ids: Vec<uuid::Uuid> = rows.iter().map(|row| row.id.0).collect();
    let mut last = last_firings(connection, &ids).await?;
    for row in &mut rows {
        row.last_firing = last.remove(&row.id.0);
    }
    Ok(rows)
}

async fn audit_change(
    connection: &mut PgConnection,
    at: DateTime<Utc>,
    actor: &Actor,
    action: &str,
    before: Option<&ScheduleRow>,
    after: Option<&ScheduleRow>,
) -> Result<()> {
    let Some(row) = after.or(before) else { return Ok(()) };
    let deed = Deed {
        action,
        subject: format!("schedule/{}", row.id),
        before: before.map(ScheduleRow::audited),
        after: after.map(ScheduleRow::audited),
    };
    Ok(audit::write(connection, at, actor, deed).await?)
}
