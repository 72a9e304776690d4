//! Accepting a run: everything about it in one transaction, so that a run either exists completely or not at all.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use sqlx::PgConnection;
use uuid::Uuid;
use zeroize::Zeroizing;

use super::audit::{self, Deed};
use super::dedupe::{self, NewDedupe};
use super::idempotency::AnswerKey;
use super::runs::{self, RunRow};
use super::schedule_firings::{self, Note, SlotClaim};
use super::sealed::{Sealed, SecretKind};
use super::text::{storable_json, to_json};
use super::{Actor, Store, new_id};
use crate::domain::config::BuildConfig;
use crate::domain::content_key::Content;
use crate::domain::dedupe::Explanation;
use crate::domain::error::{Error, Result};
use crate::domain::hold::RunOptions;
use crate::domain::ids::{Attempt, BuildId, DeploymentId, RunId, TemplateId, TemplateVersionId};
use crate::domain::plan::Plan;
use crate::domain::run::BuildFacts;
use crate::domain::schedule::FiringOutcome;

/// A run to accept.
pub struct NewRun<'a> {
    pub id: RunId,
    pub template_id: TemplateId,
    pub template_version_id: TemplateVersionId,
    pub family: String,
    pub account: String,
    /// `api`, `schedule`, `webhook` or `cascade`.
    pub trigger: &'static str,
    /// Evaluated variables; the values of sensitive ones already replaced.
    pub variables: Value,
    pub git_sha: Option<String>,
    pub labels: Value,
    /// Stages that the image is promoted to once it is built, from the first to the last.
    pub channels: Vec<String>,
    pub only: Vec<String>,
    pub except: Vec<String>,
    /// Time limit of each attempt of each build.
    pub timeout: Option<Duration>,
    pub options: RunOptions,
    /// -100 to 100; higher is claimed first.
    pub priority: i32,
    /// STOB's builder.
    pub builder_identity: String,
    pub builds: Vec<NewBuild<'a>>,
    /// The schedule that starts it, and for which slot.
    pub scheduled: Option<SlotClaim>,
    /// What it is made of, or why that can't be told, as the rest of a sentence.
    pub content: Result<Content, String>,
    /// What the request asks about other runs; `None`: nothing.
    pub dedupe: Option<NewDedupe>,
    pub at: DateTime<Utc>,
}

/// The status of the answer when no run was made.
const NOT_MADE: u16 = 200;

/// One build of a run to accept.
pub struct NewBuild<'a> {
    pub id: BuildId,
    pub name: String,
    pub builder_type: String,
    pub region: String,
    pub plan: Plan,
    /// Kept sealed.
    pub config: &'a BuildConfig,
    /// Values to mask in logs; kept sealed.
    pub sensitive: &'a [String],
}

impl Store {
    /// Writes run, builds, leases, secrets, image number, audit and idempotency key in one transaction. When the request
    /// asks for it and there is a run that makes the same, that one is given back, and nothing is made.
    ///
    /// # Errors
    /// `template-version-not-found`; [`JUST_USED`](super::idempotency::JUST_USED); [`SLOT_TAKEN`](super::schedule_firings::SLOT_TAKEN); or the
    /// database is away.
    pub async fn accept_run(
        &self,
        new: &NewRun<'_>,
        actor: &Actor,
        idempotency: Option<&AnswerKey<'_, RunRow>>,
    ) -> Result<RunRow> {
        if new.builds.is_empty() {
            return Err(Error::unprocessable("no-builds", "The run selects no build of the template."));
        }
        let deployment = self.deployment().await?;
        let secrets = self.seal_all(new)?;
        let mut tx = self.begin().await?;
        if let Some(claim) = idempotency {
            claim.reserve(&mut tx, &actor.principal, new.at).await?;
        }
        if let Some(claim) = &new.scheduled {
            schedule_firings::take(&mut tx, claim).await?;
        }
        let mut explanation = None;
        if let Some(asked) = &new.dedupe {
            let decision = dedupe::decide_for(&mut tx, new, asked).await?;
            if let Some(run) = decision.run {
                let run = dedupe::join(&mut tx, run, decision.explanation, new.at, actor).await?;
                if let Some(claim) = idempotency {
                    AnswerKey { status: NOT_MADE, ..*claim }.fill(&mut tx, &actor.principal, &run).await?;
                }
                tx.commit().await?;
                return Ok(run);
            }
            explanation = Some(decision.explanation);
        }
        check_version(&mut tx, new).await?;
        let number = next_number(&mut tx, &new.family).await?;
        let image = insert_image(&mut tx, new, number).await?;
        insert_run(&mut tx, new, image, explanation.as_ref(), actor).await?;
        insert_builds(&mut tx, new, deployment, number).await?;
        insert_secrets(&mut tx, secrets).await?;
        if let Some(claim) = &new.scheduled {
            let (outcome, run, principal) = (FiringOutcome::Started, Some(new.id), actor.principal.as_str());
            let note = Note { outcome, reason: None, run, principal, at: new.at };
            schedule_firings::write(&mut tx, claim, note).await?;
        }
        let run = runs::by_id(&mut tx, new.id).await?;
        let after = json!({"template": run.template, "version": run.version, "account": run.account,
                           "family": new.family, "number": number, "builds": new.builds.len()});
        let deed = Deed { action: "run.create", subject: format!("run/{}", new.id), before: None, after: Some(after) };
        audit::write(&mut tx, new.at, actor, deed).await?;
        if let Some(claim) = idempotency {
            claim.fill(&mut tx, &actor.principal, &run).await?;
        }
        tx.commit().await?;
        Ok(run)
    }

    fn seal_all(&self, new: &NewRun<'_>) -> Result<Vec<(BuildId, SecretKind, Sealed)>> {
        let mut sealed = Vec::with_capacity(new.builds.len() * 2);
        let unwritable = |error: serde_json::Error| Error::internal(format!("configuration can't be written: {error}"));
        for build in &new.builds {
            let config = Zeroizing::new(serde_json::to_vec(build.config).map_err(unwritable)?);
            let kind = SecretKind::Config;
            sealed.push((build.id, kind, self.sealer.seal(build.id, kind, &config)?));
            if !build.sensitive.is_empty() {
                let words = Zeroizing::new(serde_json::to_vec(build.sensitive).map_err(unwritable)?);
                let kind = SecretKind::Sensitive;
                sealed.push((build.id, kind, self.sealer.seal(build.id, kind, &words)?));
            }
        }
        Ok(sealed)
    }
}

async fn check_version(connection: &mut PgConnection, new: &NewRun<'_>) -> Result<()> {
    sqlx::query_scalar!(
        "SELECT version FROM template_versions WHERE id = $1 AND template_id = $2",
        new.template_version_id.0,
        new.template_id.0
    )
    .fetch_optional(connection)
    .await?
    .map(|_| ())
    .ok_or_else(|| Error::not_found("template-version-not-found", "The template has no such version."))
}

/// Takes the family's next number; its row stays locked until the run is committed.
async fn next_number(connection: &mut PgConnection, family: &str) -> Result<i64> {
    Ok(sqlx::query_scalar!(
        r#"INSERT INTO families (name, next_number) VALUES ($1, 2)
           ON CONFLICT (name) DO UPDATE SET next_number = families.next_number + 1
           RETURNING next_number - 1 AS "number!""#,
        family
    )
    .fetch_one(connection)
    .await?)
}

async fn insert_image(connection: &mut PgConnection, new: &NewRun<'_>, number: i64) -> Result<Uuid> {
    let id = new_id(new.at);
    sqlx::query!(
        "INSERT INTO images (id, family, number, state, sha, built_at, builder, created_at)
         VALUES ($1, $2, $3, 'building', $4, $5, $6, $5)",
        id,
        new.family,
        number,
        sha_of(new),
        new.at,
        new.builder_identity
    )
    .execute(connection)
    .await?;
    Ok(id)
}

async fn insert_run(
    connection: &mut PgConnection,
    new: &NewRun<'_>,
    image: Uuid,
    explanation: Option<&Explanation>,
    actor: &Actor,
) -> Result<()> {
    let content = new.content.as_ref().ok();
    let timeout = new.timeout.map(|limit| i64::try_from(limit.as_secs()).unwrap_or(i64::MAX).max(1));
    sqlx::query!(
        "INSERT INTO runs (id, template_id, template_version_id, image_id, account, trigger, state, variables, git_sha,
                           labels, only_builds, except_builds, timeout_seconds, created_by, created_at, schedule_id, slot,
                           options, priority, content_key, content_key_id, content_parts, dedupe, channels)
         VALUES ($1, $2, $3, $4, $5, $6, 'queued', $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20,
                 $21, $22, $23)",
        new.id.0,
        new.template_id.0,
        new.template_version_id.0,
        image,
        new.account,
        new.trigger,
        storable_json(new.variables.clone()),
        new.git_sha,
        storable_json(new.labels.clone()),
        &new.only,
        &new.except,
        timeout,
        actor.principal,
        new.at,
        new.scheduled.map(|claim| claim.schedule.0),
        new.scheduled.and_then(|claim| claim.slot()),
        to_json(&new.options)?,
        new.priority,
        content.map(|content| content.key.as_slice()),
        content.map(|content| content.key_id.as_str()),
        content.map(|content| to_json(&content.parts)).transpose()?,
        explanation.map(to_json).transpose()?,
        &new.channels
    )
    .execute(connection)
    .await?;
    Ok(())
}

async fn insert_builds(
    connection: &mut PgConnection,
    new: &NewRun<'_>,
    deployment: DeploymentId,
    number: i64,
) -> Result<()> {
    let mut ids = Vec::with_capacity(new.builds.len());
    let (mut names, mut types, mut regions) = (Vec::new(), Vec::new(), Vec::new());
    let (mut plans, mut facts) = (Vec::new(), Vec::new());
    for build in &new.builds {
        ids.push(build.id.0);
        names.push(build.name.clone());
        types.push(build.builder_type.clone());
        regions.push(build.region.clone());
        plans.push(to_json(&build.plan)?);
        facts.push(to_json(&BuildFacts {
            deployment,
            run: new.id,
            build: build.id,
            attempt: Attempt::FIRST,
            build_name: build.name.clone(),
            account: new.account.clone(),
            family: new.family.clone(),
            number,
            git_sha: sha_of(new).to_owned(),
            accepted_at: new.at,
            builder: new.builder_identity.clone(),
        })?);
    }
    sqlx::query!(
        "INSERT INTO builds (id, run_id, position, name, builder_type, region, plan, facts, state, created_at)
         SELECT entry.id, $1, entry.position - 1, entry.name, entry.builder_type, entry.region, entry.plan, entry.facts,
                'queued', $2
         FROM UNNEST($3::uuid[], $4::text[], $5::text[], $6::text[], $7::jsonb[], $8::jsonb[]) WITH ORDINALITY
              AS entry (id, name, builder_type, region, plan, facts, position)",
        new.id.0,
        new.at,
        &ids,
        &names,
        &types,
        &regions,
        &plans,
        &facts
    )
    .execute(&mut *connection)
    .await?;
    sqlx::query!("INSERT INTO build_leases (build_id, epoch) SELECT id, 0 FROM UNNEST($1::uuid[]) AS entry (id)", &ids)
        .execute(connection)
        .await?;
    Ok(())
}

async fn insert_secrets(connection: &mut PgConnection, secrets: Vec<(BuildId, SecretKind, Sealed)>) -> Result<()> {
    let (mut builds, mut kinds) = (Vec::new(), Vec::new());
    let (mut keys, mut nonces, mut ciphertexts) = (Vec::new(), Vec::new(), Vec::new());
    for (build, kind, sealed) in secrets {
        builds.push(build.0);
        kinds.push(kind.to_string());
        keys.push(sealed.key_id);
        nonces.push(sealed.nonce);
        ciphertexts.push(sealed.ciphertext);
    }
    sqlx::query!(
        "INSERT INTO build_secrets (build_id, kind, key_id, nonce, ciphertext)
         SELECT * FROM UNNEST($1::uuid[], $2::text[], $3::text[], $4::bytea[], $5::bytea[])",
        &builds,
        &kinds,
        &keys,
        &nonces,
        &ciphertexts
    )
    .execute(connection)
    .await?;
    Ok(())
}

fn sha_of<'a>(new: &'a NewRun<'_>) -> &'a str {
    new.git_sha.as_deref().unwrap_or("unknown")
}
