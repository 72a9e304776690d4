//! Accepting a run: the template is evaluated and checked, its builds are planned, and one transaction writes it all down.
//! What the template or the request has wrong is told here; what only the cloud can tell fails the build in its first step.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use indexmap::IndexMap;
use serde_json::Value;
use uuid::Uuid;

use super::evaluation::{blocking, template_invalid};
use super::prepared::{Prepared, Resolved, prepare};
pub use super::run_request::{
    AcceptRequest, AcceptSettings, DryRun, Random, SENSITIVE, TemplateSource, check_name, policy,
};
use super::source_ami;
use crate::domain::bundle::Bundle;
use crate::domain::clock::Clock;
use crate::domain::config::BuildConfig;
use crate::domain::content_key::Content;
use crate::domain::dedupe::{Dedupe, Sources};
use crate::domain::diagnostic::Diagnostic;
use crate::domain::error::Result;
use crate::domain::hold::RunOptions;
use crate::domain::ids::{BuildId, RunId};
use crate::domain::plan::Plan;
use crate::store::accept::{NewBuild, NewRun};
use crate::store::dedupe::NewDedupe;
use crate::store::idempotency::AnswerKey;
use crate::store::runs::RunRow;
use crate::store::schedule_firings::SlotClaim;
use crate::store::{Actor, Store};
use crate::template;

/// A `UUIDv7` of this instant.
#[must_use]
pub fn new_id(at: DateTime<Utc>, random: &Random) -> Uuid {
    let mut tail = [0; 10];
    tail.copy_from_slice(&random()[..10]);
    let milliseconds = u64::try_from(at.timestamp_millis()).unwrap_or(0);
    uuid::Builder::from_unix_timestamp_millis(milliseconds, &tail).into_uuid()
}

/// What stores the answer under the client's key, in the same transaction.
pub struct Idempotency<'a> {
    pub key: &'a str,
    pub request_sha256: [u8; 32],
    /// Of the answer when a run is made.
    pub status: u16,
    pub render: &'a (dyn Fn(&RunRow, &[Diagnostic]) -> Value + Send + Sync),
}

/// What goes with a run besides its request.
#[derive(Clone, Copy, Default)]
pub struct Origin<'a> {
    /// The key under which the answer is kept.
    pub idempotency: Option<&'a Idempotency<'a>>,
    /// The schedule that starts it, for a slot or by hand.
    pub scheduled: Option<SlotClaim>,
    /// Somebody who may promote images starts this very template: sends it, or names its version. A schedule takes the newest
    /// one, whoever wrote it.
    pub by_promoter: bool,
}

/// A request that was accepted.
#[derive(Debug)]
pub struct Accepted {
    /// The run that was made, or the one that was there already: its `dedupe` tells.
    pub run: RunRow,
    pub warnings: Vec<Diagnostic>,
}

/// Evaluates, checks and writes the run down.
///
/// # Errors
/// `template-invalid`, `policy-violation`, `lint-blocked`, `account-unknown`, `no-builds`, `…-invalid` for a field of the request,
/// `template-not-found`; for a schedule [`SLOT_TAKEN`](crate::store::schedule_firings::SLOT_TAKEN); or the database is away.
pub async fn accept(
    store: &Store,
    settings: &AcceptSettings,
    request: AcceptRequest,
    actor: &Actor,
    origin: Origin<'_>,
    clock: &dyn Clock,
) -> Result<Accepted> {
    let Origin { idempotency, scheduled, by_promoter } = origin;
    let at = clock.now();
    let run_id = new_id(at, &settings.random);
    let prepared = prepare(store, settings, request, at, run_id).await?;
    let Prepared { request, template, evaluation, account, .. } = &prepared;
    let mut warnings = evaluation.warnings.clone();
    let channels = prepared.channels(settings, by_promoter, &mut warnings);
    // Boxed, as the acceptance below: requests that are served keep their futures small.
    let content = Box::pin(prepared.content(store, settings, &channels)).await?;
    let dedupe = Box::pin(ask_about_others(store, settings, &prepared, (&content, &channels), &mut warnings)).await?;
    let (template_id, version_id) = match template {
        Resolved::Stored { template, version, .. } => (*template, *version),
        Resolved::Inline { name, bundle } => {
            let outline = outline(bundle.clone()).await?;
            let (version, _) = store.put_template(name, None, None, bundle, &outline, actor).await?;
            (version.template_id, version.id)
        }
    };
    let new = NewRun {
        id: RunId(run_id),
        template_id,
        template_version_id: version_id,
        family: prepared.family().to_owned(),
        account: account.clone(),
        trigger: if scheduled.is_some() { "schedule" } else { "api" },
        variables: to_value(&prepared.shown_variables()),
        git_sha: request.git_sha.clone(),
        labels: to_value(&prepared.labels()),
        channels,
        only: request.only.clone(),
        except: request.except.clone(),
        timeout: request.timeout,
        options: request.options.clone(),
        priority: request.priority,
        builder_identity: settings.builder_identity.clone(),
        builds: evaluation
            .builds
            .iter()
            .map(|build| new_build(build, &evaluation.sensitive_values, &request.options, at, settings))
            .collect(),
        scheduled,
        content,
        dedupe,
        at,
    };
    let render = |run: &RunRow| idempotency.map_or(Value::Null, |idempotency| (idempotency.render)(run, &warnings));
    let claim = idempotency.map(|idempotency| AnswerKey {
        key: idempotency.key,
        request_sha256: idempotency.request_sha256,
        status: idempotency.status,
        render: &render,
    });
    let run = Box::pin(store.accept_run(&new, actor, claim.as_ref())).await?;
    Ok(Accepted { run, warnings })
}

/// What the request asks about other runs, with what only the cloud can tell.
async fn ask_about_others(
    store: &Store,
    settings: &AcceptSettings,
    prepared: &Prepared,
    (content, channels): (&Result<Content, String>, &[String]),
    warnings: &mut Vec<Diagnostic>,
) -> Result<Option<NewDedupe>> {
    let Some(mut dedupe) = prepared.request.dedupe else { return Ok(None) };
    if matches!(dedupe, Dedupe::Reuse { .. }) && !channels.is_empty() {
        // Its image went to the stages when it was built, and nobody knows whether it should be there again.
        let summary = "Only a run in progress is joined, none that is over is reused: the template has channels.";
        warnings.push(Diagnostic::warning(summary));
        dedupe = Dedupe::Join;
    }
    let (mut sources, mut gone) = (Sources::Known(BTreeMap::new()), BTreeSet::new());
    if let Ok(content) = content
        && dedupe.mode().looks_at_others()
    {
        let (accounts, account) = (settings.accounts.as_deref(), &prepared.account);
        sources = source_ami::resolve(accounts, account, &prepared.evaluation.builds).await;
        if let (Dedupe::Reuse { .. }, Sources::Known(_)) = (dedupe, &sources) {
            let amis = store.amis_of_content(content).await?;
            match source_ami::missing(accounts, account, &amis).await {
                Ok(missing) => gone = missing,
                Err(why) => sources = Sources::Unknown(why),
            }
        }
    }
    if let Sources::Unknown(why) = &sources {
        let summary = format!("No other run was joined: {why}.");
        let detail = "The run is made anew; GET /v1/runs/{id}/why tells more.";
        warnings.push(Diagnostic::warning(summary).with_detail(detail));
    }
    Ok(Some(NewDedupe { dedupe, sources, gone }))
}

/// All of [`accept`] but the writing.
///
/// # Errors
/// As [`accept`].
pub async fn dry_run(
    store: &Store,
    settings: &AcceptSettings,
    request: AcceptRequest,
    clock: &dyn Clock,
) -> Result<DryRun> {
    let at = clock.now();
    let prepared = prepare(store, settings, request, at, new_id(at, &settings.random)).await?;
    Ok(prepared.into_dry_run())
}

/// Reads a template without evaluating it: its files, variables and builds, as they are stored beside it and shown.
///
/// # Errors
/// `template-invalid`.
pub async fn outline(bundle: Bundle) -> Result<Value> {
    blocking(move || {
        let files: Vec<Value> = bundle
            .iter()
            .map(|(path, file)| serde_json::json!({"path": path, "size": file.bytes.len(), "executable": file.executable}))
            .collect();
        template::outline(&bundle).map(|outline| {
            serde_json::json!({
                "format": outline.format,
                "description": outline.description,
                "files": files,
                "variables": outline.variables,
                "builds": outline.builds,
            })
        })
    })
    .await?
    .map_err(template_invalid)
}

fn new_build<'b>(
    build: &'b BuildConfig,
    sensitive: &'b [String],
    options: &RunOptions,
    at: DateTime<Utc>,
    settings: &AcceptSettings,
) -> NewBuild<'b> {
    NewBuild {
        id: BuildId(new_id(at, &settings.random)),
        name: build.name.clone(),
        builder_type: build.builder.builder_type().to_owned(),
        region: build.builder.ebs().map(|ebs| ebs.region.clone()).unwrap_or_default(),
        plan: Plan::for_build(build, options),
        config: build,
        sensitive,
    }
}

fn to_value<T: Clone + Into<Value>>(map: &IndexMap<String, T>) -> Value {
    Value::Object(map.iter().map(|(key, value)| (key.clone(), value.clone().into())).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_of_their_time() {
        let random: Random = std::sync::Arc::new(|| [9; 32]);
        let id = new_id(DateTime::from_timestamp_millis(1_700_000_000_123).unwrap(), &random);
        assert_eq!(id.get_version_num(), 7);
        assert_eq!(id.get_timestamp().unwrap().to_unix().0, 1_700_000_000);
    }
}
