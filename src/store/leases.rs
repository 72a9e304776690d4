//! Taking a build: those that wait, and those whose owner is gone. Two claims with two limits, because in one ordered query
//! expired leases would starve the queue. Lease times are the database's own (60 seconds from a claim or a heartbeat).

use std::collections::BTreeMap;

use sqlx::{PgConnection, Postgres, Transaction};
use uuid::Uuid;

use super::Store;
use super::journal::PgJournal;
use super::sealed::SecretKind;
use super::text::{from_json, parse, to_json};
use super::transition::{self, ENGINE, LockedRun, recompute};
use crate::domain::config::BuildConfig;
use crate::domain::error::{Error, Result};
use crate::domain::failure::Failure;
use crate::domain::ids::{Attempt, BuildId, LeaseEpoch, RunId, TemplateVersionId};
use crate::domain::journal::Journal as _;
use crate::domain::plan::{PLAN_FORMAT, Plan};
use crate::domain::run::{BuildFacts, Takeover};
use crate::domain::state::BuildState;

/// How often a claim looks again when another server was quicker.
const CLAIM_TRIES: usize = 50;

/// A limit of a century is none.
const LONGEST_LIMIT: i64 = 100 * 366 * 24 * 3600;

/// The first key of the advisory locks of accounts: ASCII "acct".
const ACCOUNT_LOCKS: i32 = 0x6163_6374;

/// A build that this server owns now.
pub struct ClaimedBuild {
    pub journal: PgJournal,
    pub facts: BuildFacts,
    pub plan: Plan,
    /// `None` when the secrets were deleted (the build has committed) or do not open.
    pub config: Option<BuildConfig>,
    /// Values to mask in logs.
    pub sensitive: Vec<String>,
    pub bundle_version: TemplateVersionId,
    pub state: BuildState,
    pub region: String,
    pub takeover: Takeover,
}

/// A claimed row, not yet read into the domain's types.
struct Claim {
    build: BuildId,
    run: RunId,
    epoch: LeaseEpoch,
    takeover: Takeover,
}

enum Try {
    Claimed(Claim),
    NothingThere,
    /// Somebody else took it between two looks.
    Again,
}

impl Store {
    /// Takes the queued build that is next (`lock_run_with_queued` says which), if one waits. It is `running` from here on, with its time limit set.
    /// `owner` is shown to people. `limits`: of these accounts at most so many builds are at work at once, on all servers
    /// together; their other builds wait without holding up those of other accounts.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn claim_queued(&self, owner: &str, limits: &BTreeMap<String, u32>) -> Result<Option<ClaimedBuild>> {
        for _ in 0..CLAIM_TRIES {
            match self.try_claim_queued(owner, limits).await? {
                Try::Claimed(claim) => {
                    if let Some(claimed) = self.read_or_release(claim).await? {
                        return Ok(Some(claimed));
                    }
                }
                Try::NothingThere => return Ok(None),
                Try::Again => {}
            }
        }
        Ok(None)
    }

    /// Takes a build at work whose lease is free or has run out, or one that is over and still has to clean up.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn claim_expired(&self, owner: &str) -> Result<Option<ClaimedBuild>> {
        self.claim_without_owner(owner, true).await
    }

    /// As [`Store::claim_expired`], but only builds whose lease was handed back: for a server that can't yet tell a dead
    /// owner from an outage of the database.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn claim_released(&self, owner: &str) -> Result<Option<ClaimedBuild>> {
        self.claim_without_owner(owner, false).await
    }

    async fn claim_without_owner(&self, owner: &str, include_expired: bool) -> Result<Option<ClaimedBuild>> {
        for _ in 0..CLAIM_TRIES {
            match self.try_claim_expired(owner, include_expired).await? {
                Try::Claimed(claim) => {
                    if let Some(claimed) = self.read_or_release(claim).await? {
                        return Ok(Some(claimed));
                    }
                }
                Try::NothingThere => return Ok(None),
                Try::Again => {}
            }
        }
        Ok(None)
    }

    async fn try_claim_queued(&self, owner: &str, limits: &BTreeMap<String, u32>) -> Result<Try> {
        let now = self.now();
        let mut tx = self.begin().await?;
        let full = full_accounts(&mut tx, limits).await?;
        let Some(run) = self.lock_run_with_queued(&mut tx, &full).await? else { return Ok(Try::NothingThere) };
        if limits.contains_key(&run.account) {
            // One claim after the other in a limited account, so that two of them do not both take the last place.
            sqlx::query!("SELECT pg_advisory_xact_lock($1, hashtext($2))", ACCOUNT_LOCKS, run.account)
                .execute(&mut *tx)
                .await?;
            if full_accounts(&mut tx, limits).await?.contains(&run.account) {
                return Ok(Try::Again);
            }
        }
        // The run's lock is held, so nobody else moves its builds; another claim may have been first to get it, though.
        let build = sqlx::query_scalar!(
            "SELECT b.id FROM builds b JOIN runs r ON r.id = b.run_id
             WHERE b.run_id = $1 AND b.state = 'queued' AND (b.plan ->> 'format')::integer <= $2
               AND (r.options ->> 'parallel_builds' IS NULL OR (r.options ->> 'parallel_builds')::integer >
                   (SELECT count(*) FROM builds w WHERE w.run_id = r.id AND w.state IN ('running', 'unwinding')))
               AND NOT EXISTS (SELECT 1 FROM build_secrets s WHERE s.build_id = b.id AND s.key_id <> ALL ($3))
             ORDER BY b.created_at, b.position
             LIMIT 1
             FOR NO KEY UPDATE OF b",
            run.id.0,
            plan_format(),
            &self.sealer.key_ids()
        )
        .fetch_optional(&mut *tx)
        .await?;
        let Some(build) = build else { return Ok(Try::Again) };
        // By the database's clock, as everything that limits a build. A limit beyond the calendar is none.
        let limit = run.timeout_seconds.filter(|seconds| *seconds < LONGEST_LIMIT);
        sqlx::query!(
            "UPDATE builds
             SET state = 'running', started_at = $2, deadline = now() + make_interval(secs => $3::bigint::double precision)
             WHERE id = $1",
            build,
            now,
            limit
        )
        .execute(&mut *tx)
        .await?;
        let epoch = take_lease(&mut tx, build, owner).await?;
        sqlx::query!("UPDATE runs SET started_at = COALESCE(started_at, $2) WHERE id = $1", run.id.0, now)
            .execute(&mut *tx)
            .await?;
        recompute(&mut tx, &run, now, ENGINE).await?;
        tx.commit().await?;
        Ok(Try::Claimed(Claim { build: BuildId(build), run: run.id, epoch, takeover: Takeover::New }))
    }

    /// Locks the run whose build is next: of the highest priority, and among those of the account and then of the template
    /// with the fewest builds at work, the one that has waited longest. So neither a busy account nor a template with
    /// hundreds of runs holds up the others; runs that have as many builds at work as they want are passed over. Takes a run
    /// that nobody else has locked, else waits its turn. Builds with a plan or a secret that this server can't read are left
    /// to a server that can.
    async fn lock_run_with_queued(
        &self,
        tx: &mut Transaction<'static, Postgres>,
        full: &[String],
    ) -> Result<Option<LockedRun>> {
        let keys = self.sealer.key_ids();
        let free = sqlx::query_scalar!(
            "WITH at_work AS (
                 SELECT r.account, r.template_id FROM builds b JOIN runs r ON r.id = b.run_id
                 WHERE b.state IN ('running', 'unwinding') AND b.hold IS NULL
             )
             SELECT r.id FROM builds b JOIN runs r ON r.id = b.run_id
             LEFT JOIN (SELECT account, count(*) AS builds FROM at_work GROUP BY account) AS by_account
                 ON by_account.account = r.account
             LEFT JOIN (SELECT template_id, count(*) AS builds FROM at_work GROUP BY template_id) AS by_template
                 ON by_template.template_id = r.template_id
             WHERE b.state = 'queued' AND r.state IN ('queued', 'running') AND (b.plan ->> 'format')::integer <= $1
               AND NOT EXISTS (SELECT 1 FROM build_secrets s WHERE s.build_id = b.id AND s.key_id <> ALL ($2))
               AND r.account <> ALL ($3)
               AND (r.options ->> 'parallel_builds' IS NULL OR (r.options ->> 'parallel_builds')::integer >
                   (SELECT count(*) FROM builds w WHERE w.run_id = r.id AND w.state IN ('running', 'unwinding')))
             ORDER BY r.priority DESC, COALESCE(by_account.builds, 0), COALESCE(by_template.builds, 0), b.created_at, b.id
             LIMIT 1
             FOR NO KEY UPDATE OF r SKIP LOCKED",
            plan_format(),
            &keys,
            full
        )
        .fetch_optional(&mut **tx)
        .await?;
        let id = match free {
            Some(id) => Some(id),
            None => {
                sqlx::query_scalar!(
                    "SELECT b.run_id FROM builds b JOIN runs r ON r.id = b.run_id
                     WHERE b.state = 'queued' AND (b.plan ->> 'format')::integer <= $1
                       AND NOT EXISTS (SELECT 1 FROM build_secrets s WHERE s.build_id = b.id AND s.key_id <> ALL ($2))
                       AND r.account <> ALL ($3)
                       AND (r.options ->> 'parallel_builds' IS NULL OR (r.options ->> 'parallel_builds')::integer >
                           (SELECT count(*) FROM builds w WHERE w.run_id = r.id AND w.state IN ('running', 'unwinding')))
                     ORDER BY r.priority DESC, b.created_at, b.id
                     LIMIT 1",
                    plan_format(),
                    &keys,
                    full
                )
                .fetch_optional(&mut **tx)
                .await?
            }
        };
        match id {
            Some(id) => transition::lock_run(&mut *tx, RunId(id)).await,
            None => Ok(None),
        }
    }

    async fn try_claim_expired(&self, owner: &str, include_expired: bool) -> Result<Try> {
        let mut tx = self.begin().await?;
        let candidate = sqlx::query!(
            "SELECT l.build_id, l.owner FROM builds b JOIN build_leases l ON l.build_id = b.id
             -- As the partial indexes have it; otherwise every build ever made is looked at.
             WHERE (b.state IN ('running', 'unwinding') OR (b.state = 'succeeded' AND b.cleanup = 'pending')
                    OR (b.state = 'failed' AND b.cleanup IN ('pending', 'kept')
                        AND (b.cleanup = 'pending' OR b.kept_until <= now())))
               AND (l.expires_at IS NULL OR ($3::boolean AND l.expires_at < now()))
               AND (b.plan ->> 'format')::integer <= $1
               AND NOT EXISTS (SELECT 1 FROM build_secrets s WHERE s.build_id = b.id AND s.key_id <> ALL ($2))
             ORDER BY l.expires_at NULLS FIRST
             LIMIT 1
             FOR NO KEY UPDATE OF l SKIP LOCKED",
            plan_format(),
            &self.sealer.key_ids(),
            include_expired
        )
        .fetch_optional(&mut *tx)
        .await?;
        let Some(candidate) = candidate else { return Ok(Try::NothingThere) };
        let (build, takeover) = (candidate.build_id, candidate.owner.map_or(Takeover::HandedBack, Takeover::Orphaned));
        // The build was read before its lease was locked: its owner may have ended it in between.
        let run = sqlx::query_scalar!(
            "SELECT run_id FROM builds
             WHERE id = $1 AND (state IN ('running', 'unwinding') OR (state IN ('succeeded', 'failed') AND cleanup = 'pending')
                                OR (cleanup = 'kept' AND kept_until <= now()))",
            build
        )
        .fetch_optional(&mut *tx)
        .await?;
        let Some(run) = run else { return Ok(Try::Again) };
        // What was left in place has been there long enough.
        let let_go = sqlx::query!(
            "UPDATE builds SET cleanup = 'pending', hold = NULL WHERE id = $1 AND cleanup = 'kept'",
            build
        )
        .execute(&mut *tx)
        .await?;
        let takeover = if let_go.rows_affected() > 0 { Takeover::New } else { takeover };
        let epoch = take_lease(&mut tx, build, owner).await?;
        tx.commit().await?;
        Ok(Try::Claimed(Claim { build: BuildId(build), run: RunId(run), epoch, takeover }))
    }

    /// As [`Store::read_claim`]; a claim whose reading fails is handed back, so that the build does not wait for its lease
    /// to run out.
    async fn read_or_release(&self, claim: Claim) -> Result<Option<ClaimedBuild>> {
        let journal = PgJournal { store: self.clone(), build: claim.build, run: claim.run, epoch: claim.epoch };
        let read = self.read_claim(claim).await;
        if read.is_err()
            && let Err(error) = journal.release().await
        {
            tracing::warn!(build_id = %journal.build_id(), %error, "a claim could be neither read nor handed back");
        }
        read
    }

    /// Reads what was claimed; `None` when it can't be read and was set aside for a person.
    async fn read_claim(&self, claim: Claim) -> Result<Option<ClaimedBuild>> {
        let row = sqlx::query!(
            "SELECT b.plan, b.facts, b.attempt, b.state, b.region, r.template_version_id
             FROM builds b JOIN runs r ON r.id = b.run_id
             WHERE b.id = $1",
            claim.build.0
        )
        .fetch_one(&self.pool)
        .await?;
        let state: BuildState = parse("build state", &row.state)?;
        let journal = PgJournal { store: self.clone(), build: claim.build, run: claim.run, epoch: claim.epoch };
        let read = from_json::<Plan>("plan", row.plan)
            .and_then(|plan| from_json::<BuildFacts>("facts", row.facts).map(|facts| (plan, facts)));
        let (plan, mut facts) = match read {
            Ok(read) => read,
            Err(error) => {
                self.set_aside(&claim, state, &error).await?;
                return Ok(None);
            }
        };
        facts.attempt = Attempt(row.attempt);
        Ok(Some(ClaimedBuild {
            journal,
            facts,
            plan,
            config: self.read_secret(claim.build, SecretKind::Config).await?,
            sensitive: self.read_secret(claim.build, SecretKind::Sensitive).await?.unwrap_or_default(),
            bundle_version: TemplateVersionId(row.template_version_id),
            state,
            region: row.region,
            takeover: claim.takeover,
        }))
    }

    /// Opens and reads a secret. One that is there but can't be used is reported here and treated as gone: what was made is
    /// undone from the journal, which needs no secret.
    async fn read_secret<T: serde::de::DeserializeOwned>(&self, build: BuildId, kind: SecretKind) -> Result<Option<T>> {
        let opened = match self.open_secret(build, kind).await {
            Ok(Some(opened)) => opened,
            Ok(None) => return Ok(None),
            Err(error) if error.kind == crate::domain::error::ErrorKind::Unavailable => return Err(error),
            Err(error) => {
                tracing::error!(build = %build, error = %error.for_log(), "a build's secret can't be opened");
                return Ok(None);
            }
        };
        match serde_json::from_slice(&opened) {
            Ok(value) => Ok(Some(value)),
            Err(error) => {
                // The text of a serde error may quote the value; its place does not.
                let (line, column) = (error.line(), error.column());
                tracing::error!(build = %build, %kind, line, column, "a build's secret has a form this server can't read");
                Ok(None)
            }
        }
    }

    /// A build whose plan can't be read must not come back to the head of the queue for ever.
    async fn set_aside(&self, claim: &Claim, state: BuildState, error: &Error) -> Result<()> {
        tracing::error!(build = %claim.build, error = %error.for_log(), "a build can't be read and is set aside");
        let reason = "Ingot can't read this build's frozen plan; was it accepted by a different version?";
        let now = self.now();
        let mut tx = self.begin().await?;
        let run = transition::lock_run(&mut tx, claim.run).await?;
        let run = run.ok_or_else(|| Error::internal("a claimed build has no run"))?;
        sqlx::query!(
            "UPDATE builds
             SET state = CASE WHEN state IN ('succeeded', 'failed') THEN state ELSE 'stuck' END,
                 cleanup = CASE WHEN state IN ('succeeded', 'failed') THEN 'stuck' ELSE cleanup END,
                 stuck_reason = $2, error = CASE WHEN state IN ('succeeded', 'failed') THEN error ELSE $3 END,
                 hold = NULL
             WHERE id = $1 AND state = $4
               AND EXISTS (SELECT 1 FROM build_leases WHERE build_id = $1 AND epoch = $5)",
            claim.build.0,
            reason,
            to_json(&Failure::ours("plan-unreadable", reason))?,
            state.as_str(),
            claim.epoch.0
        )
        .execute(&mut *tx)
        .await?;
        sqlx::query!(
            "UPDATE build_leases SET owner = NULL, expires_at = NULL WHERE build_id = $1 AND epoch = $2",
            claim.build.0,
            claim.epoch.0
        )
        .execute(&mut *tx)
        .await?;
        recompute(&mut tx, &run, now, ENGINE).await?;
        tx.commit().await?;
        Ok(())
    }

    /// How many active builds wait for a server that has the key of their secrets.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn builds_with_foreign_keys(&self) -> Result<i64> {
        Ok(sqlx::query_scalar!(
            r#"SELECT count(DISTINCT b.id) AS "count!"
               FROM builds b JOIN build_secrets s ON s.build_id = b.id
               WHERE b.state IN ('queued', 'running', 'unwinding') AND s.key_id <> ALL ($1)"#,
            &self.sealer.key_ids()
        )
        .fetch_one(&self.pool)
        .await?)
    }
}

/// Accounts that have as many builds at work as they may.
async fn full_accounts(connection: &mut PgConnection, limits: &BTreeMap<String, u32>) -> Result<Vec<String>> {
    if limits.is_empty() {
        return Ok(Vec::new());
    }
    let (names, most): (Vec<String>, Vec<i64>) =
        limits.iter().map(|(name, most)| (name.clone(), i64::from(*most))).unzip();
    Ok(sqlx::query_scalar!(
        r#"SELECT entry.account AS "account!" FROM UNNEST($1::text[], $2::bigint[]) AS entry (account, most)
           WHERE (SELECT count(*) FROM builds b JOIN runs r ON r.id = b.run_id
                  WHERE b.state IN ('running', 'unwinding') AND r.account = entry.account) >= entry.most"#,
        &names,
        &most
    )
    .fetch_all(connection)
    .await?)
}

async fn take_lease(connection: &mut PgConnection, build: Uuid, owner: &str) -> Result<LeaseEpoch> {
    let epoch = sqlx::query_scalar!(
        "UPDATE build_leases SET epoch = epoch + 1, owner = $2, expires_at = now() + interval '60 seconds'
         WHERE build_id = $1
         RETURNING epoch",
        build,
        owner
    )
    .fetch_one(connection)
    .await?;
    Ok(LeaseEpoch(epoch))
}

fn plan_format() -> i32 {
    i32::try_from(PLAN_FORMAT).unwrap_or(i32::MAX)
}
