//! Accepting a run: the template is evaluated and checked, its builds are planned, and one transaction writes it all down.
//! What the template or the request has wrong is told here; what only the cloud can tell fails the build in its first step.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use indexmap::IndexMap;
use serde_json::Value;
use uuid::Uuid;

use super::channels::ChannelSettings;
use super::data_sources::DataSources;
use super::evaluation::{blocking, template_invalid};
use super::prepared::{Prepared, Resolved, prepare};
use super::source_ami;
use crate::cloud::Accounts;
use crate::domain::bundle::Bundle;
use crate::domain::clock::Clock;
use crate::domain::config::BuildConfig;
use crate::domain::content_key::Content;
use crate::domain::dedupe::{Dedupe, Sources};
use crate::domain::diagnostic::Diagnostic;
use crate::domain::error::{Error, Result};
use crate::domain::hold::RunOptions;
use crate::domain::ids::{BuildId, RunId};
use crate::domain::lint::LintPolicy;
use crate::domain::plan::Plan;
use crate::domain::policy::Policy;
use crate::store::accept::{NewBuild, NewRun};
use crate::store::dedupe::NewDedupe;
use crate::store::idempotency::AnswerKey;
use crate::store::runs::RunRow;
use crate::store::schedule_firings::SlotClaim;
use crate::store::{Actor, Store};
use crate::template;

/// Where random bytes come from.
pub type Random = Arc<dyn Fn() -> [u8; 32] + Send + Sync>;

/// Stands for the value of a sensitive variable wherever people can read it.
pub const SENSITIVE: &str = "<sensitive>";

/// A `UUIDv7` of this instant.
#[must_use]
pub fn new_id(at: DateTime<Utc>, random: &Random) -> Uuid {
    let mut tail = [0; 10];
    tail.copy_from_slice(&random()[..10]);
    let milliseconds = u64::try_from(at.timestamp_millis()).unwrap_or(0);
    uuid::Builder::from_unix_timestamp_millis(milliseconds, &tail).into_uuid()
}

/// What is asked for.
#[derive(Debug, Clone)]
pub struct AcceptRequest {
    pub template: TemplateSource,
    /// `None`: the template's name.
    pub family: Option<String>,
    /// `None`: the template's account, else `default`.
    pub account: Option<String>,
    pub variables: IndexMap<String, Value>,
    /// What `env()` may read. Never stored in clear.
    pub env: IndexMap<String, String>,
    /// Paths in the bundle.
    pub var_files: Vec<String>,
    pub only: Vec<String>,
    pub except: Vec<String>,
    pub git_sha: Option<String>,
    /// Time limit of each attempt of each build.
    pub timeout: Option<Duration>,
    pub options: RunOptions,
    /// -100 to 100; higher is claimed first.
    pub priority: i32,
    pub labels: IndexMap<String, String>,
    pub clean_image: bool,
    /// Packer's `-force`: images that have a new image's name go before it is made, as with `force_deregister`.
    pub force: bool,
    /// Whether a run that makes the same will do; `None`: nothing was said, and none is looked for.
    pub dedupe: Option<Dedupe>,
}

#[derive(Debug, Clone)]
pub enum TemplateSource {
    /// By name or id; `version` `None`: the newest.
    Stored { name: String, version: Option<i32> },
    /// Comes with the request; `name` `None`: `inline-` and the beginning of its content hash.
    Inline { name: Option<String>, bundle: Bundle },
}

/// What the server's configuration says about runs.
pub struct AcceptSettings {
    /// One for each configured account.
    pub policies: BTreeMap<String, Policy>,
    /// STOB's builder: `ingot/<version> (<deployment>)`.
    pub builder_identity: String,
    /// How much each lint rule counts.
    pub lint: LintPolicy,
    /// Longer evaluations are given up.
    pub evaluation_time_limit: Duration,
    pub random: Random,
    /// Where the source AMIs of requests that may join a run are looked up; `None`: nowhere, so none is joined.
    pub accounts: Option<Arc<dyn Accounts>>,
    /// Where the data sources of templates are asked.
    pub data_sources: DataSources,
    /// Of what names no region; `None`: it has to.
    pub default_region: Option<String>,
    /// Which stages templates may put images on.
    pub channels: ChannelSettings,
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

/// What a run would be.
#[derive(Debug)]
pub struct DryRun {
    pub account: String,
    pub builds: Vec<(BuildConfig, Plan)>,
    /// Sensitive values replaced.
    pub variables: IndexMap<String, Value>,
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

/// The rule for names of templates and families.
///
/// # Errors
/// `name-invalid`.
pub fn check_name(what: &str, name: &str) -> Result<()> {
    let rest = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    if name.len() <= 100
        && name.bytes().all(rest)
        && name.bytes().next().is_some_and(|first| first.is_ascii_alphanumeric())
    {
        return Ok(());
    }
    let public = format!(
        "The {what} {name:?} can't be used: names have 1 to 100 letters, digits, `.`, `_` and `-`, and begin with a letter or digit."
    );
    Err(Error::unprocessable("name-invalid", public))
}

/// The policy of an account.
///
/// # Errors
/// `account-unknown`, with the names there are.
pub fn policy<'s>(settings: &'s AcceptSettings, account: &str) -> Result<&'s Policy> {
    settings.policies.get(account).ok_or_else(|| {
        let names: Vec<&str> = settings.policies.keys().map(String::as_str).collect();
        let public = format!("There is no account {account:?} on this server. Configured: {}.", names.join(", "));
        Error::unprocessable("account-unknown", public)
    })
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
    fn names_are_safe_in_paths_and_tags() {
        for good in ["a", "web-1.2_x", &"x".repeat(100)] {
            assert!(check_name("name", good).is_ok(), "{good}");
        }
        for bad in ["", "-a", "a b", "a/b", "ä", &"x".repeat(101)] {
            assert_eq!(check_name("name", bad).unwrap_err().code, "name-invalid", "{bad}");
        }
    }

    #[test]
    fn ids_are_of_their_time() {
        let random: Random = Arc::new(|| [9; 32]);
        let id = new_id(DateTime::from_timestamp_millis(1_700_000_000_123).unwrap(), &random);
        assert_eq!(id.get_version_num(), 7);
        assert_eq!(id.get_timestamp().unwrap().to_unix().0, 1_700_000_000);
    }
}
