//! The janitor's sweeps: who asked for them, whose turn it is, and how they went.
//!
//! One server sweeps at a time. The turn is a session's advisory lock, so it ends with its server, however that ends; what
//! is due is decided under it, from the rows.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;
use sqlx::{Connection as _, PgConnection};
use uuid::Uuid;

use super::audit::{self, Deed};
use super::text::{from_json, parse, to_json};
use super::{Actor, Store, new_id};
use crate::domain::error::{Error, Result};
use crate::domain::janitor::{SweepSettings, SweepState, SweptPlace};

/// The advisory lock of whose turn it is. Any number does, as long as nobody else uses it.
const TURN: i64 = 0x696e_676f_7400_0001;
/// The database ends a turn whose server says nothing for this long: one that is frozen must not hold up the others.
const SILENCE: Duration = Duration::from_mins(5);
/// How often the owner of a turn shows that it is alive.
const SIGN_OF_LIFE: Duration = Duration::from_secs(30);
/// A sweep that was asked for and that no server began within this time is not begun any more.
const ASKED_FOR: TimeDelta = TimeDelta::minutes(2);
/// How long sweeps and findings that are gone are kept.
const KEPT: TimeDelta = TimeDelta::days(7);
/// How long a finding is kept where nobody looks any more, such as in an account that was taken out.
const UNSEEN_KEPT: TimeDelta = TimeDelta::days(30);

/// What somebody asks of a sweep.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SweepRequest {
    pub dry_run: bool,
    /// Only there; `None`: in all of them.
    pub account: Option<String>,
    pub region: Option<String>,
}

/// A sweep.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SweepRow {
    pub id: Uuid,
    pub state: SweepState,
    /// `None`: it was time.
    pub asked_by: Option<String>,
    pub wanted: SweepRequest,
    pub asked_at: DateTime<Utc>,
    pub begun_at: Option<DateTime<Utc>>,
    pub ended_at: Option<DateTime<Utc>>,
    pub server: Option<String>,
    /// What its server's configuration said; `None` before it begins.
    pub settings: Option<SweepSettings>,
    /// Complete when it is done.
    pub places: Vec<SweptPlace>,
}

impl SweepRow {
    /// Whether it is one of everything that also removes: those come at intervals.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.wanted == SweepRequest::default()
    }
}

/// As the table has it.
struct RawSweep {
    id: Uuid,
    state: String,
    asked_by: Option<String>,
    dry_run: bool,
    account: Option<String>,
    region: Option<String>,
    asked_at: DateTime<Utc>,
    begun_at: Option<DateTime<Utc>>,
    ended_at: Option<DateTime<Utc>>,
    server: Option<String>,
    settings: Option<serde_json::Value>,
    places: serde_json::Value,
}

impl RawSweep {
    fn read(self) -> Result<SweepRow> {
        Ok(SweepRow {
            id: self.id,
            state: parse("sweep state", &self.state)?,
            asked_by: self.asked_by,
            wanted: SweepRequest { dry_run: self.dry_run, account: self.account, region: self.region },
            asked_at: self.asked_at,
            begun_at: self.begun_at,
            ended_at: self.ended_at,
            server: self.server,
            settings: self.settings.map(|settings| from_json("sweep settings", settings)).transpose()?,
            places: from_json("swept places", self.places)?,
        })
    }
}

/// The right to sweep. It ends when this is dropped, at the latest.
pub struct JanitorTurn {
    connection: PgConnection,
}

impl JanitorTurn {
    /// Shows the database that this server is alive; returns when the turn is lost.
    pub async fn lost(&mut self) {
        loop {
            tokio::time::sleep(SIGN_OF_LIFE).await;
            if self.connection.ping().await.is_err() {
                return;
            }
        }
    }

    /// Ends the turn at once.
    pub async fn release(mut self) {
        // By itself the session's end does it too, but only a moment later. A connection that is broken has ended it.
        let unlock = sqlx::query_scalar!("SELECT pg_advisory_unlock($1)", TURN);
        unlock.fetch_one(&mut self.connection).await.ok();
        self.connection.close().await.ok();
    }
}

impl Store {
    /// Asks for a sweep; a server that works begins it within seconds.
    ///
    /// # Errors
    /// `sweep-running` when one that was asked for waits already; or the database is away.
    pub async fn ask_sweep(&self, wanted: &SweepRequest, actor: &Actor) -> Result<SweepRow> {
        let now = self.now();
        let mut tx = self.begin().await?;
        give_up_waiting(&mut tx, now).await?;
        let row = sqlx::query_as!(
            RawSweep,
            "INSERT INTO janitor_sweeps (id, state, asked_by, dry_run, account, region, asked_at)
             VALUES ($1, 'asked', $2, $3, $4, $5, $6)
             ON CONFLICT (state) WHERE state = 'asked' DO NOTHING
             RETURNING id, state, asked_by, dry_run, account, region, asked_at, begun_at, ended_at, server, settings, places",
            new_id(now),
            actor.principal,
            wanted.dry_run,
            wanted.account,
            wanted.region,
            now
        )
        .fetch_optional(&mut *tx)
        .await?;
        let Some(row) = row else {
            return Err(Error::conflict(
                "sweep-running",
                "Another sweep was asked for and waits for its turn. GET /v1/janitor shows it; ask again when it is done.",
            ));
        };
        let deed = Deed {
            action: "janitor.sweep",
            subject: format!("sweep/{}", row.id),
            before: None,
            after: Some(json!({"dry_run": wanted.dry_run, "account": wanted.account, "region": wanted.region})),
        };
        audit::write(&mut tx, now, actor, deed).await?;
        tx.commit().await?;
        row.read()
    }

    /// Gives up on a sweep that no server has begun; says whether there was none.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn abandon_sweep(&self, id: Uuid) -> Result<bool> {
        let done = sqlx::query!(
            "UPDATE janitor_sweeps SET state = 'abandoned', ended_at = GREATEST(asked_at, $2) WHERE id = $1 AND state = 'asked'",
            id,
            self.now()
        )
        .execute(&self.pool)
        .await?;
        Ok(done.rows_affected() > 0)
    }

    /// A sweep.
    ///
    /// # Errors
    /// When there is none of this id, or the database is away.
    pub async fn sweep(&self, id: Uuid) -> Result<SweepRow> {
        sqlx::query_as!(
            RawSweep,
            "SELECT id, state, asked_by, dry_run, account, region, asked_at, begun_at, ended_at, server, settings, places
             FROM janitor_sweeps WHERE id = $1",
            id
        )
        .fetch_optional(&self.pool)
        .await?
        .ok_or_else(|| Error::not_found("sweep-not-found", "There is no such sweep; old ones are forgotten."))?
        .read()
    }

    /// The newest sweep that is done.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn last_sweep(&self) -> Result<Option<SweepRow>> {
        sqlx::query_as!(
            RawSweep,
            "SELECT id, state, asked_by, dry_run, account, region, asked_at, begun_at, ended_at, server, settings, places
             FROM janitor_sweeps WHERE state = 'done' AND begun_at IS NOT NULL ORDER BY begun_at DESC LIMIT 1"
        )
        .fetch_optional(&self.pool)
        .await?
        .map(RawSweep::read)
        .transpose()
    }

    /// The newest sweep of everything, whatever became of it: the next one is an interval after its beginning.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn last_full_sweep(&self) -> Result<Option<SweepRow>> {
        sqlx::query_as!(
            RawSweep,
            "SELECT id, state, asked_by, dry_run, account, region, asked_at, begun_at, ended_at, server, settings, places
             FROM janitor_sweeps
             WHERE begun_at IS NOT NULL AND NOT dry_run AND account IS NULL AND region IS NULL
             ORDER BY begun_at DESC LIMIT 1"
        )
        .fetch_optional(&self.pool)
        .await?
        .map(RawSweep::read)
        .transpose()
    }

    /// The sweep that runs or waits, the running one first.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn sweep_under_way(&self) -> Result<Option<SweepRow>> {
        sqlx::query_as!(
            RawSweep,
            "SELECT id, state, asked_by, dry_run, account, region, asked_at, begun_at, ended_at, server, settings, places
             FROM janitor_sweeps
             WHERE state = 'running' OR (state = 'asked' AND asked_at >= $1)
             ORDER BY state DESC, asked_at DESC LIMIT 1",
            self.now() - ASKED_FOR
        )
        .fetch_optional(&self.pool)
        .await?
        .map(RawSweep::read)
        .transpose()
    }

    /// Whether there is a reason to sweep now. Cheap, and only a hint: [`Store::begin_sweep`] decides.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn sweep_due(&self, interval: Duration) -> Result<bool> {
        let mut connection = self.pool.acquire().await?;
        let now = self.now();
        Ok(asked(&mut connection, now).await?.is_some() || interval_is_over(&mut connection, now, interval).await?)
    }

    /// Takes the turn, unless another server has it.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn janitor_turn(&self) -> Result<Option<JanitorTurn>> {
        let mut connection = self.pool.acquire().await?;
        let is_ours = sqlx::query_scalar!(r#"SELECT pg_try_advisory_lock($1) AS "ours!""#, TURN)
            .fetch_one(&mut *connection)
            .await?;
        if !is_ours {
            return Ok(None);
        }
        // Out of the pool: the lock belongs to the session.
        let mut connection = connection.detach();
        // Servers before PostgreSQL 14 have no such setting.
        sqlx::query!(
            r#"SELECT set_config(name, $1, false) AS "set" FROM pg_settings WHERE name = 'idle_session_timeout'"#,
            SILENCE.as_millis().to_string()
        )
        .fetch_optional(&mut connection)
        .await?;
        Ok(Some(JanitorTurn { connection }))
    }

    /// Begins the sweep that was asked for, else the one that it is time for; `None` when there is none. The caller has the
    /// turn, so what still counts as running has lost its server.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn begin_sweep(&self, server: &str, settings: &SweepSettings) -> Result<Option<SweepRow>> {
        let now = self.now();
        let shown = to_json(settings)?;
        let mut tx = self.begin().await?;
        sqlx::query!(
            "UPDATE janitor_sweeps SET state = 'interrupted', ended_at = GREATEST(begun_at, $1) WHERE state = 'running'",
            now
        )
        .execute(&mut *tx)
        .await?;
        give_up_waiting(&mut tx, now).await?;
        let row = if let Some(id) = asked(&mut tx, now).await? {
            let begun = sqlx::query_as!(
                RawSweep,
                "UPDATE janitor_sweeps SET state = 'running', begun_at = GREATEST(asked_at, $2), server = $3, settings = $4
                 WHERE id = $1 AND state = 'asked'
                 RETURNING id, state, asked_by, dry_run, account, region, asked_at, begun_at, ended_at, server, settings, places",
                id,
                now,
                server,
                shown
            );
            begun.fetch_optional(&mut *tx).await?
        } else if interval_is_over(&mut tx, now, settings.interval).await? {
            let begun = sqlx::query_as!(
                RawSweep,
                "INSERT INTO janitor_sweeps (id, state, dry_run, asked_at, begun_at, server, settings)
                 VALUES ($1, 'running', false, $2, $2, $3, $4)
                 RETURNING id, state, asked_by, dry_run, account, region, asked_at, begun_at, ended_at, server, settings, places",
                new_id(now),
                now,
                server,
                shown
            );
            Some(begun.fetch_one(&mut *tx).await?)
        } else {
            None
        };
        tx.commit().await?;
        row.map(RawSweep::read).transpose()
    }

    /// Says that a sweep is done, and how it went. One that counts as interrupted already stays so.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn end_sweep(&self, id: Uuid, places: &[SweptPlace]) -> Result<SweepRow> {
        sqlx::query!(
            "UPDATE janitor_sweeps SET state = 'done', ended_at = GREATEST(begun_at, $2), places = $3
             WHERE id = $1 AND state = 'running'",
            id,
            self.now(),
            to_json(&places)?
        )
        .execute(&self.pool)
        .await?;
        self.sweep(id).await
    }

    /// Forgets old sweeps and findings.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn purge_janitor(&self) -> Result<()> {
        let now = self.now();
        sqlx::query!("DELETE FROM janitor_sweeps WHERE ended_at < $1", now - KEPT).execute(&self.pool).await?;
        sqlx::query!(
            "DELETE FROM janitor_findings WHERE gone_at < $1 OR last_seen_at < $2",
            now - KEPT,
            now - UNSEEN_KEPT
        )
        .execute(&self.pool)
        .await?;
        Ok(())
    }
}

/// What was asked for long ago is not begun any more: nobody waits for it.
async fn give_up_waiting(connection: &mut PgConnection, now: DateTime<Utc>) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "UPDATE janitor_sweeps SET state = 'abandoned', ended_at = $1 WHERE state = 'asked' AND asked_at < $2",
        now,
        now - ASKED_FOR
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// The sweep that somebody asked for not long ago.
async fn asked(connection: &mut PgConnection, now: DateTime<Utc>) -> Result<Option<Uuid>, sqlx::Error> {
    sqlx::query_scalar!("SELECT id FROM janitor_sweeps WHERE state = 'asked' AND asked_at >= $1", now - ASKED_FOR)
        .fetch_optional(connection)
        .await
}

/// Whether no sweep of everything began within the interval. A beginning in the future, of a clock that was set back since,
/// does not count.
async fn interval_is_over(
    connection: &mut PgConnection,
    now: DateTime<Utc>,
    interval: Duration,
) -> Result<bool, sqlx::Error> {
    let interval = TimeDelta::from_std(interval).unwrap_or(TimeDelta::MAX);
    let since = now.checked_sub_signed(interval).unwrap_or(DateTime::UNIX_EPOCH);
    let begun = sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT 1 FROM janitor_sweeps
                          WHERE begun_at > $1 AND begun_at <= $2 AND NOT dry_run AND account IS NULL AND region IS NULL)
           AS "begun!""#,
        since,
        now
    )
    .fetch_one(connection)
    .await?;
    Ok(!begun)
}
