//! Runs that make the same: the candidates for a request that may join one, the joins themselves, and what explains a run.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use chrono::{DateTime, Utc};
use serde_json::json;
use sqlx::PgConnection;
use uuid::Uuid;

use super::accept::NewRun;
use super::audit::{self, Deed};
use super::runs::{self, RunRow};
use super::text::{from_json, parse};
use super::{Actor, Store, new_id};
use crate::domain::content_key::{Content, ContentHasher};
use crate::domain::dedupe::{Candidate, Decision, Dedupe, Explanation, Sources, Wanted, decide};
use crate::domain::error::{Error, Result};
use crate::domain::ids::RunId;
use crate::domain::image::ImageState;

/// The first key of the advisory locks of contents: ASCII "cont".
const CONTENT_LOCKS: i32 = 0x636f_6e74;

/// What a request asks about other runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewDedupe {
    pub dedupe: Dedupe,
    /// The source AMIs that its builds would start from now.
    pub sources: Sources,
    /// AMIs that runs with the same content made ([`Store::amis_of_content`]), and that the cloud does not have any more.
    pub gone: BTreeSet<String>,
}

/// A request that got a run which was there already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinRow {
    pub at: DateTime<Utc>,
    pub principal: String,
    /// `join` or `reuse`.
    pub mode: String,
    /// `joined` or `reused`.
    pub outcome: String,
    pub reason: String,
}

/// What explains a run.
#[derive(Debug, Clone, PartialEq)]
pub struct WhyRow {
    pub run: RunRow,
    /// The run as a candidate, with its content and source AMIs.
    pub own: Candidate,
    /// Of the schedule that started it.
    pub schedule: Option<String>,
    /// The newest run before it of the same template and account.
    pub before: Option<Candidate>,
    /// The newest hundred, newest first.
    pub joins: Vec<JoinRow>,
}

impl Store {
    /// What makes the fingerprints of a run's content.
    ///
    /// # Errors
    /// When the server's secret key is not there, which is a fault of ours.
    pub fn content_hasher(&self) -> Result<ContentHasher> {
        self.sealer.content_hasher()
    }

    /// The AMIs, with their regions, of the runs that a request with this content may reuse.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn amis_of_content(&self, content: &Content) -> Result<Vec<(String, String)>> {
        let records = sqlx::query!(
            "SELECT c.region, c.ami_id
             FROM (SELECT image_id FROM runs WHERE content_key = $1 AND content_key_id = $2 AND state = 'succeeded'
                   ORDER BY created_at DESC, id DESC LIMIT 20) AS r
             JOIN image_copies c ON c.image_id = r.image_id
             WHERE c.state = 'available'
             ORDER BY c.region, c.ami_id",
            content.key.as_slice(),
            content.key_id
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(records.into_iter().map(|record| (record.region, record.ami_id)).collect())
    }

    /// What explains a run.
    ///
    /// # Errors
    /// `run-not-found`, or the database is away.
    pub async fn why(&self, id: RunId) -> Result<WhyRow> {
        let mut tx = self.snapshot().await?;
        let run = runs::by_id(&mut tx, id).await?;
        let before = sqlx::query_scalar!(
            "SELECT id FROM runs WHERE template_id = $1 AND account = $2 AND (created_at, id) < ($3, $4)
             ORDER BY created_at DESC, id DESC LIMIT 1",
            run.template_id.0,
            run.account,
            run.created_at,
            id.0
        )
        .fetch_optional(&mut *tx)
        .await?;
        let ids: Vec<Uuid> = std::iter::once(id.0).chain(before).collect();
        let mut found = by_ids(&mut tx, &ids, &BTreeSet::new()).await?;
        let own = found.iter().position(|candidate| candidate.run == id).map(|index| found.swap_remove(index));
        let own = own.ok_or_else(|| Error::internal("a run is not among its own candidates"))?;
        let schedule = match run.schedule_id {
            Some(schedule) => {
                let name = sqlx::query_scalar!("SELECT name FROM schedules WHERE id = $1", schedule.0);
                name.fetch_optional(&mut *tx).await?
            }
            None => None,
        };
        let joins = sqlx::query_as!(
            JoinRow,
            "SELECT at, principal, mode, outcome, reason FROM run_joins WHERE run_id = $1
             ORDER BY at DESC, id DESC LIMIT 100",
            id.0
        )
        .fetch_all(&mut *tx)
        .await?;
        Ok(WhyRow { run, own, schedule, before: found.pop(), joins })
    }
}

/// Decides what a request that asks about other runs gets. Requests with the same content come here one after the other,
/// until the transaction ends: of two at the same instant, the second finds the run of the first.
pub(super) async fn decide_for(connection: &mut PgConnection, new: &NewRun<'_>, asked: &NewDedupe) -> Result<Decision> {
    let content = new.content.as_ref().map_err(String::as_str);
    let candidates = match content {
        Ok(content) if asked.dedupe != Dedupe::Never => {
            let lock = i32::from_be_bytes([content.key[0], content.key[1], content.key[2], content.key[3]]);
            sqlx::query!("SELECT pg_advisory_xact_lock($1, $2)", CONTENT_LOCKS, lock).execute(&mut *connection).await?;
            candidates(connection, new, content, &asked.gone).await?
        }
        _ => Vec::new(),
    };
    let wanted =
        Wanted { dedupe: asked.dedupe, content, sources: &asked.sources, variables: &new.variables, now: new.at };
    Ok(decide(&wanted, &candidates))
}

/// Runs with the same content, and the newest of the same template and account, which are named when none does.
async fn candidates(
    connection: &mut PgConnection,
    new: &NewRun<'_>,
    content: &Content,
    gone: &BTreeSet<String>,
) -> Result<Vec<Candidate>> {
    let ids = sqlx::query_scalar!(
        r#"(SELECT id AS "id!" FROM runs
            WHERE content_key = $1 AND content_key_id = $2 AND state IN ('queued', 'running')
            ORDER BY created_at, id LIMIT 50)
           UNION
           (SELECT id FROM runs WHERE content_key = $1 AND content_key_id = $2 AND state = 'succeeded'
            ORDER BY created_at DESC, id DESC LIMIT 20)
           UNION
           (SELECT id FROM runs WHERE content_key = $1 AND content_key_id = $2
            ORDER BY created_at DESC, id DESC LIMIT 20)
           UNION
           (SELECT id FROM runs WHERE template_id = $3 AND account = $4 AND state IN ('queued', 'running')
            ORDER BY created_at DESC, id DESC LIMIT 20)
           UNION
           (SELECT id FROM runs WHERE template_id = $3 AND account = $4 ORDER BY created_at DESC, id DESC LIMIT 20)"#,
        content.key.as_slice(),
        content.key_id,
        new.template_id.0,
        new.account
    )
    .fetch_all(&mut *connection)
    .await?;
    by_ids(connection, &ids, gone).await
}

/// Runs as candidates, newest first. `gone`: AMIs that are known not to be there.
async fn by_ids(connection: &mut PgConnection, ids: &[Uuid], gone: &BTreeSet<String>) -> Result<Vec<Candidate>> {
    let gone: Vec<String> = gone.iter().cloned().collect();
    let mut sources = sources_by_run(connection, ids).await?;
    let records = sqlx::query!(
        r#"SELECT r.id, r.state, r.cancel_requested_at, r.created_at, r.content_key, r.content_key_id, r.content_parts,
                  r.variables, i.family, i.number, i.state AS image_state,
                  (COALESCE((r.options ->> 'debug')::boolean, false) OR COALESCE(r.options ->> 'on_error' = 'ask', false) OR EXISTS
                      (SELECT 1 FROM builds b
                       WHERE b.run_id = r.id AND (b.state IN ('failed', 'cancelled') OR b.hold IS NOT NULL)))
                      AS "spoiled!",
                  (SELECT count(*) FROM image_copies c WHERE c.image_id = i.id) AS "copies!",
                  (SELECT count(*) FROM image_copies c
                   WHERE c.image_id = i.id AND (c.state <> 'available' OR c.ami_id = ANY($2))) AS "copies_gone!"
           FROM runs r JOIN images i ON i.id = r.image_id
           WHERE r.id = ANY($1)
           ORDER BY r.created_at DESC, r.id DESC"#,
        ids,
        &gone
    )
    .fetch_all(connection)
    .await?;
    records
        .into_iter()
        .map(|record| {
            let content = match (record.content_key, record.content_key_id, record.content_parts) {
                (Some(key), Some(key_id), Some(parts)) => Some(Content {
                    key_id,
                    key: key.as_slice().try_into().map_err(|_| Error::internal("a content key is not 32 bytes"))?,
                    parts: from_json("content", parts)?,
                }),
                _ => None,
            };
            let image_state: ImageState = parse("image state", &record.image_state)?;
            Ok(Candidate {
                run: RunId(record.id),
                state: parse("run state", &record.state)?,
                cancel_requested: record.cancel_requested_at.is_some(),
                spoiled: record.spoiled,
                created_at: record.created_at,
                content,
                sources: sources.remove(&record.id).unwrap_or_default(),
                variables: record.variables,
                image: format!("{} #{}", record.family, record.number),
                image_is_built: image_state == ImageState::Built,
                copies: record.copies,
                copies_gone: record.copies_gone,
            })
        })
        .collect()
}

/// Source AMIs by run and build, of those builds that have looked them up in their present attempt.
async fn sources_by_run(
    connection: &mut PgConnection,
    runs: &[Uuid],
) -> Result<HashMap<Uuid, BTreeMap<String, String>>> {
    let records = sqlx::query!(
        r#"SELECT b.run_id, b.name, j.data #>> '{output,source,ami_id}' AS "ami_id!"
           FROM builds b
           JOIN step_journal j ON j.build_id = b.id AND j.attempt = b.attempt AND j.step = 'check' AND j.event = 'succeeded'
           WHERE b.run_id = ANY($1) AND j.data #>> '{output,source,ami_id}' IS NOT NULL
           ORDER BY j.seq"#,
        runs
    )
    .fetch_all(connection)
    .await?;
    let mut by_run: HashMap<Uuid, BTreeMap<String, String>> = HashMap::new();
    for record in records {
        by_run.entry(record.run_id).or_default().insert(record.name, record.ami_id);
    }
    Ok(by_run)
}

/// Writes down that a request got a run which was there already, and gives that run.
pub(super) async fn join(
    connection: &mut PgConnection,
    run: RunId,
    explanation: Explanation,
    at: DateTime<Utc>,
    actor: &Actor,
) -> Result<RunRow> {
    let (mode, outcome) = (explanation.mode.as_str(), explanation.outcome.as_str());
    sqlx::query!(
        "INSERT INTO run_joins (id, run_id, at, principal, request_id, mode, outcome, reason)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        new_id(at),
        run.0,
        at,
        actor.principal,
        actor.request_id,
        mode,
        outcome,
        explanation.reason
    )
    .execute(&mut *connection)
    .await?;
    let after = json!({"mode": mode, "outcome": outcome});
    let deed = Deed { action: "run.join", subject: format!("run/{run}"), before: None, after: Some(after) };
    audit::write(connection, at, actor, deed).await?;
    let mut row = runs::by_id(connection, run).await?;
    row.dedupe = Some(explanation);
    Ok(row)
}
