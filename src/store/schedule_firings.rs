//! What becomes of the slots of schedules. Exactly one outcome a slot, whatever the number of servers: whoever serves a slot
//! compares the schedule's `next_slot` with it under the row's lock, moves it on, and writes the outcome, in the transaction
//! that accepts the run.

use std::collections::HashMap;

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::schedules::{Record, ScheduleRow};
use super::text::{parse, storable};
use super::{Page, Store, new_id};
use crate::domain::error::{Error, Result};
use crate::domain::ids::{RunId, ScheduleId};
use crate::domain::schedule::FiringOutcome;
use crate::domain::state::RunState;

/// How long a server that evaluates a schedule's template keeps the others away.
const CLAIM: TimeDelta = TimeDelta::seconds(30);
/// The error's code when another server has served the slot, or the schedule was changed meanwhile.
pub const SLOT_TAKEN: &str = "slot-taken";

/// What became of a slot, or of a trigger by hand.
#[derive(Debug, Clone, PartialEq)]
pub struct FiringRow {
    pub id: Uuid,
    /// `None`: triggered by hand.
    pub slot: Option<DateTime<Utc>>,
    pub at: DateTime<Utc>,
    pub outcome: FiringOutcome,
    /// Of all outcomes but `started`.
    pub reason: Option<String>,
    pub run: Option<(RunId, RunState)>,
    pub principal: String,
}

/// A slot that is being served: what has to be true still, and where the schedule goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SlotClaim {
    pub schedule: ScheduleId,
    pub kind: ClaimKind,
}

/// Which transition of a schedule a claim makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClaimKind {
    /// The slot that is next moves on to another.
    Slot {
        slot: DateTime<Utc>,
        /// Its time, and when its run is to start.
        next: Option<(DateTime<Utc>, DateTime<Utc>)>,
        /// Of the schedule that was read.
        revision: i64,
    },
    /// A slot that waited for runs before it.
    Waiting { firing: Uuid, slot: Option<DateTime<Utc>> },
    /// By hand: no slot.
    Manual,
}

impl SlotClaim {
    pub(super) fn slot(&self) -> Option<DateTime<Utc>> {
        match self.kind {
            ClaimKind::Slot { slot, .. } => Some(slot),
            ClaimKind::Waiting { slot, .. } => slot,
            ClaimKind::Manual => None,
        }
    }
}

/// A waiting slot whose turn it is.
#[derive(Debug, Clone, PartialEq)]
pub struct WaitingSlot {
    pub firing: Uuid,
    pub slot: Option<DateTime<Utc>>,
    pub schedule: ScheduleRow,
}

impl Store {
    /// Takes a schedule whose time has come and whose secrets this server can open. Others leave it alone for half a minute.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn claim_due_schedule(&self) -> Result<Option<ScheduleRow>> {
        let now = self.now();
        let record = sqlx::query_as!(
            Record,
            r#"UPDATE schedules s SET claimed_until = $2
               FROM templates t
               WHERE t.id = s.template_id
                 AND s.id = (SELECT id FROM schedules
                             WHERE next_fire_at <= $1 AND (claimed_until IS NULL OR claimed_until <= $1)
                               AND request_key_id = ANY ($3)
                             ORDER BY next_fire_at LIMIT 1 FOR UPDATE SKIP LOCKED)
               RETURNING s.id, s.name, s.template_id, t.name AS template, s.pinned_version, s.cron, s.time_zone,
                         s.enabled, s.overlap, s.catch_up, s.jitter_seconds, s.shown, s.next_slot, s.next_fire_at,
                         s.revision, s.created_by, s.created_at, s.updated_at"#,
            now,
            now + CLAIM,
            &self.sealer.key_ids()
        )
        .fetch_optional(&self.pool)
        .await?;
        record.map(Record::read).transpose()
    }

    /// A slot that waited, of a schedule none of whose runs is at work any more; the oldest. `without`: schedules that are
    /// left out.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn next_waiting_slot(&self, without: &[ScheduleId]) -> Result<Option<WaitingSlot>> {
        let without: Vec<Uuid> = without.iter().map(|schedule| schedule.0).collect();
        let found = sqlx::query!(
            "SELECT f.id, f.slot, f.schedule_id FROM schedule_firings f JOIN schedules s ON s.id = f.schedule_id
             WHERE f.outcome = 'waiting' AND s.enabled AND s.deleted_at IS NULL
               AND s.id <> ALL ($1) AND s.request_key_id = ANY ($2)
               AND NOT EXISTS (SELECT 1 FROM runs r
                               WHERE r.schedule_id = f.schedule_id AND r.state IN ('queued', 'running', 'unwinding'))
             ORDER BY f.slot
             LIMIT 1",
            &without,
            &self.sealer.key_ids()
        )
        .fetch_optional(&self.pool)
        .await?;
        let Some(found) = found else { return Ok(None) };
        let schedule = self.schedule(&found.schedule_id.to_string()).await?;
        Ok(Some(WaitingSlot { firing: found.id, slot: found.slot, schedule }))
    }

    /// Runs of a schedule that are at work. One that is stuck waits for a person, and does not hold its schedule up.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn runs_at_work(&self, schedule: ScheduleId) -> Result<Vec<RunId>> {
        let ids = sqlx::query_scalar!(
            "SELECT id FROM runs WHERE schedule_id = $1 AND state IN ('queued', 'running', 'unwinding') ORDER BY id",
            schedule.0
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(ids.into_iter().map(RunId).collect())
    }

    /// How many slots of a schedule wait.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn slots_waiting(&self, schedule: ScheduleId) -> Result<i64> {
        Ok(sqlx::query_scalar!(
            r#"SELECT count(*) AS "count!" FROM schedule_firings WHERE schedule_id = $1 AND outcome = 'waiting'"#,
            schedule.0
        )
        .fetch_one(&self.pool)
        .await?)
    }

    /// Writes down that a slot gets no run now, and why.
    ///
    /// # Errors
    /// [`SLOT_TAKEN`], or the database is away.
    pub async fn pass_slot(
        &self,
        claim: &SlotClaim,
        outcome: FiringOutcome,
        reason: &str,
        principal: &str,
    ) -> Result<()> {
        let mut tx = self.begin().await?;
        take(&mut tx, claim).await?;
        write(&mut tx, claim, Note { outcome, reason: Some(reason), run: None, principal, at: self.now() }).await?;
        tx.commit().await?;
        Ok(())
    }

    /// What became of a schedule's slots, newest first.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn firings(&self, schedule: ScheduleId, page: &Page) -> Result<Vec<FiringRow>> {
        let mut connection = self.pool.acquire().await?;
        let records = sqlx::query_as!(
            FiringRecord,
            r#"SELECT f.id, f.schedule_id, f.slot, f.at, f.outcome, f.reason, f.principal, f.run_id, r.state AS "run_state?"
               FROM schedule_firings f LEFT JOIN runs r ON r.id = f.run_id
               WHERE f.schedule_id = $1
                 AND ($2::timestamptz IS NULL OR (f.at, f.id) < ($2, $3::uuid))
               ORDER BY f.at DESC, f.id DESC
               LIMIT $4"#,
            schedule.0,
            page.before_at(),
            page.before_id(),
            page.limit
        )
        .fetch_all(&mut *connection)
        .await?;
        records.into_iter().map(FiringRecord::read).collect()
    }
}

struct FiringRecord {
    id: Uuid,
    schedule_id: Uuid,
    slot: Option<DateTime<Utc>>,
    at: DateTime<Utc>,
    outcome: String,
    reason: Option<String>,
    principal: String,
    run_id: Option<Uuid>,
    run_state: Option<String>,
}

impl FiringRecord {
    fn read(self) -> Result<FiringRow> {
        let state = self.run_state.map(|state| parse("run state", &state)).transpose()?;
        Ok(FiringRow {
            id: self.id,
            slot: self.slot,
            at: self.at,
            outcome: parse("outcome", &self.outcome)?,
            reason: self.reason,
            run: self.run_id.map(RunId).zip(state),
            principal: self.principal,
        })
    }
}

pub(super) async fn last_firings(
    connection: &mut PgConnection,
    schedules: &[Uuid],
) -> Result<HashMap<Uuid, FiringRow>> {
    let records = sqlx::query_as!(
        FiringRecord,
        r#"SELECT f.id, f.schedule_id, f.slot, f.at, f.outcome, f.reason, f.principal, f.run_id, r.state AS "run_state?"
           FROM UNNEST($1::uuid[]) AS wanted (id)
           CROSS JOIN LATERAL (SELECT * FROM schedule_firings
                               WHERE schedule_id = wanted.id ORDER BY at DESC, id DESC LIMIT 1) AS f
           LEFT JOIN runs r ON r.id = f.run_id"#,
        schedules
    )
    .fetch_all(connection)
    .await?;
    records.into_iter().map(|record| Ok((record.schedule_id, record.read()?))).collect()
}

/// What is written about a slot.
pub(super) struct Note<'a> {
    pub outcome: FiringOutcome,
    pub reason: Option<&'a str>,
    pub run: Option<RunId>,
    pub principal: &'a str,
    pub at: DateTime<Utc>,
}

/// Makes the claim's transition, or says that somebody else did.
pub(super) async fn take(connection: &mut PgConnection, claim: &SlotClaim) -> Result<()> {
    let taken = match claim.kind {
        ClaimKind::Slot { slot, next, revision } => {
            let (next_slot, next_fire_at) = next.unzip();
            sqlx::query!(
                "UPDATE schedules SET next_slot = $3, next_fire_at = $4, claimed_until = NULL
                 WHERE id = $1 AND next_slot = $2 AND revision = $5 AND enabled AND deleted_at IS NULL",
                claim.schedule.0,
                slot,
                next_slot,
                next_fire_at,
                revision
            )
            .execute(connection)
            .await?
            .rows_affected()
        }
        ClaimKind::Waiting { firing, .. } => sqlx::query!(
            "SELECT f.id FROM schedule_firings f JOIN schedules s ON s.id = f.schedule_id
             WHERE f.id = $1 AND f.outcome = 'waiting' AND s.enabled AND s.deleted_at IS NULL
             FOR NO KEY UPDATE OF f",
            firing
        )
        .fetch_optional(connection)
        .await?
        .map_or(0, |_| 1),
        ClaimKind::Manual => sqlx::query!(
            "SELECT id FROM schedules WHERE id = $1 AND deleted_at IS NULL FOR KEY SHARE",
            claim.schedule.0
        )
        .fetch_optional(connection)
        .await?
        .map_or(0, |_| 1),
    };
    if taken == 1 {
        return Ok(());
    }
    Err(Error::conflict(SLOT_TAKEN, "Another server has served this slot, or the schedule was changed meanwhile."))
}

/// Writes what became of the claim.
pub(super) async fn write(connection: &mut PgConnection, claim: &SlotClaim, note: Note<'_>) -> Result<()> {
    let reason = note.reason.map(storable);
    if let ClaimKind::Waiting { firing, .. } = claim.kind {
        sqlx::query!(
            "UPDATE schedule_firings SET outcome = $2, reason = $3, run_id = $4, at = $5 WHERE id = $1",
            firing,
            note.outcome.as_str(),
            reason.as_deref(),
            note.run.map(|run| run.0),
            note.at
        )
        .execute(connection)
        .await?;
        return Ok(());
    }
    sqlx::query!(
        "INSERT INTO schedule_firings (id, schedule_id, slot, at, outcome, reason, run_id, principal)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        new_id(note.at),
        claim.schedule.0,
        claim.slot(),
        note.at,
        note.outcome.as_str(),
        reason.as_deref(),
        note.run.map(|run| run.0),
        note.principal
    )
    .execute(connection)
    .await?;
    Ok(())
}
