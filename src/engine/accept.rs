//! Accepting a run: the template is evaluated and checked, its builds are planned, and one transaction writes it all down.
//! What the template or the request has wrong is told here; what only the cloud can tell fails the build in its first step.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use indexmap::IndexMap;
use serde_json::Value;
use uuid::Uuid;

use super::data_sources::DataSources;
use super::evaluation::{Data, Subject, blocking, evaluate, template_invalid};
use super::{content, lint, source_ami};
use crate::cloud::Accounts;
use crate::domain::bundle::Bundle;
use crate::domain::clock::Clock;
use crate::domain::config::BuildConfig;
use crate::domain::config::data_source::DataResults;
use crate::domain::content_key::Content;
use crate::domain::dedupe::{Dedupe, Sources};
use crate::domain::diagnostic::Diagnostic;
use crate::domain::error::{Error, Result};
use crate::domain::hold::RunOptions;
use crate::domain::ids::{BuildId, RunId, TemplateId, TemplateVersionId};
use crate::domain::lint::LintPolicy;
use crate::domain::plan::Plan;
use crate::domain::policy::Policy;
use crate::store::accept::{NewBuild, NewRun};
use crate::store::dedupe::NewDedupe;
use crate::store::idempotency::AnswerKey;
use crate::store::runs::RunRow;
use crate::store::schedule_firings::SlotClaim;
use crate::store::{Actor, Store};
use crate::template::{self, Evaluated, VariableValue};

/// Where random bytes come from.
pub type Random = Arc<dyn Fn() -> [u8; 32] + Send + Sync>;

/// The account of runs that name none, and whose template names none.
const DEFAULT_ACCOUNT: &str = "default";
/// Stands for the value of a sensitive variable wherever people can read it.
pub const SENSITIVE: &str = "<sensitive>";
/// Labels of one run at most, and characters of one.
const MOST_LABELS: usize = 50;
const LONGEST_LABEL: usize = 256;
/// Shorter values of the environment occur in variables by chance.
const SHORTEST_HIDDEN: usize = 4;

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
    let Origin { idempotency, scheduled } = origin;
    let at = clock.now();
    let run_id = new_id(at, &settings.random);
    let prepared = prepare(store, settings, request, at, run_id).await?;
    let Prepared { request, template, evaluation, account, .. } = &prepared;
    // Boxed, as the acceptance below: requests that are served keep their futures small.
    let content = Box::pin(prepared.content(store, settings)).await?;
    let mut warnings = evaluation.warnings.clone();
    let dedupe = Box::pin(ask_about_others(store, settings, &prepared, &content, &mut warnings)).await?;
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
    content: &Result<Content, String>,
    warnings: &mut Vec<Diagnostic>,
) -> Result<Option<NewDedupe>> {
    let Some(dedupe) = prepared.request.dedupe else { return Ok(None) };
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

pub(super) enum Resolved {
    Stored { name: String, template: TemplateId, version: TemplateVersionId, bundle: Bundle },
    Inline { name: String, bundle: Bundle },
}

impl Resolved {
    pub(super) fn bundle(&self) -> &Bundle {
        let (Self::Stored { bundle, .. } | Self::Inline { bundle, .. }) = self;
        bundle
    }
}

pub(super) struct Prepared {
    request: Arc<AcceptRequest>,
    template: Resolved,
    account: String,
    bundle: Arc<Bundle>,
    evaluation: Evaluated,
    /// What its data sources answered.
    data: DataResults,
}

impl Prepared {
    /// What lint rules find.
    pub(super) async fn findings(&self, settings: &AcceptSettings) -> Result<Vec<Diagnostic>> {
        let (bundle, request, evaluated) = (self.bundle.clone(), self.request.clone(), self.evaluation.clone());
        let (policy, limit) = (settings.lint.clone(), settings.evaluation_time_limit);
        lint::findings(bundle, request, Some(evaluated), policy, limit).await
    }

    /// Why these servers would not start a run of it.
    pub(super) fn refused(&self, settings: &AcceptSettings) -> Result<Vec<Diagnostic>> {
        let policy = policy(settings, &self.account)?;
        Ok(self.evaluation.builds.iter().flat_map(|build| policy.check_run(build)).collect())
    }

    /// What the run would be.
    pub(super) fn into_dry_run(self) -> DryRun {
        let variables = self.shown_variables();
        let options = self.request.options.clone();
        let Self { account, evaluation, .. } = self;
        let builds = evaluation.builds.into_iter().map(|build| {
            let plan = Plan::for_build(&build, &options);
            (build, plan)
        });
        DryRun { account, builds: builds.collect(), variables, warnings: evaluation.warnings }
    }

    /// The image family.
    fn family(&self) -> &str {
        let (Resolved::Stored { name, .. } | Resolved::Inline { name, .. }) = &self.template;
        let bucket = self.evaluation.registry.as_ref().and_then(|registry| registry.bucket_name.as_ref());
        self.request.family.as_ref().or(bucket).unwrap_or(name)
    }

    /// The request's labels, and those of the template's registry that the request does not give itself.
    fn labels(&self) -> IndexMap<String, String> {
        let mut labels = IndexMap::new();
        if let Some(registry) = &self.evaluation.registry {
            labels.extend(registry.bucket_labels.clone());
            labels.extend(registry.build_labels.clone());
        }
        labels.extend(self.request.labels.clone());
        labels
    }

    /// What the run is made of, or why that can't be told.
    async fn content(&self, store: &Store, settings: &AcceptSettings) -> Result<Result<Content, String>> {
        let hasher = store.content_hasher()?;
        let setting = content::Setting {
            account: self.account.clone(),
            family: self.family().to_owned(),
            default_region: settings.default_region.clone(),
        };
        let (bundle, request, data) = (self.bundle.clone(), self.request.clone(), self.data.clone());
        let work = blocking(move || content::of(&hasher, &bundle, &request, &setting, &data));
        match tokio::time::timeout(settings.evaluation_time_limit, work).await {
            Ok(done) => done,
            Err(_) => Ok(Err("the evaluation of the template took too long".to_owned())),
        }
    }

    /// Sensitive ones replaced, and those that hold a value of the run's environment.
    fn shown_variables(&self) -> IndexMap<String, Value> {
        // The commit's SHA is shown beside anyway.
        let hidden: Vec<&str> = self
            .request
            .env
            .iter()
            .filter(|(name, value)| name.as_str() != "GIT_SHA" && value.len() >= SHORTEST_HIDDEN)
            .map(|(_, value)| value.as_str())
            .chain(
                self.evaluation
                    .sensitive_values
                    .iter()
                    .map(String::as_str)
                    .filter(|word| word.len() >= SHORTEST_HIDDEN),
            )
            .collect();
        let shown = |variable: &VariableValue| {
            if variable.sensitive || holds(&variable.value, &hidden) {
                Value::String(SENSITIVE.to_owned())
            } else {
                variable.value.clone()
            }
        };
        self.evaluation.variables.iter().map(|variable| (variable.name.clone(), shown(variable))).collect()
    }
}

fn holds(value: &Value, words: &[&str]) -> bool {
    match value {
        Value::String(text) => words.iter().any(|word| text.contains(word)),
        Value::Array(items) => items.iter().any(|item| holds(item, words)),
        Value::Object(entries) => {
            entries.iter().any(|(key, value)| words.iter().any(|word| key.contains(word)) || holds(value, words))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

async fn prepare(
    store: &Store,
    settings: &AcceptSettings,
    request: AcceptRequest,
    at: DateTime<Utc>,
    run_id: Uuid,
) -> Result<Prepared> {
    let (template, account) = locate(store, settings, &request).await?;
    let prepared = evaluated(settings, request, template, account, (at, run_id), Data::Fetched).await?;
    let refused = prepared.refused(settings)?;
    if refused.is_empty() {
        Ok(prepared)
    } else {
        Err(policy_violation(&prepared.account, refused, prepared.evaluation.warnings))
    }
}

fn policy_violation(account: &str, violations: Vec<Diagnostic>, warnings: Vec<Diagnostic>) -> Error {
    let first = violations.first().map(|first| first.summary.as_str()).unwrap_or_default();
    let public = format!("The template asks for what account {account:?} does not allow: {first}.");
    let diagnostics = violations.into_iter().chain(warnings).collect();
    Error::unprocessable("policy-violation", public).with_diagnostics(diagnostics)
}

/// The template and the account that a request means, when nothing else is wrong with it.
pub(super) async fn locate(
    store: &Store,
    settings: &AcceptSettings,
    request: &AcceptRequest,
) -> Result<(Resolved, String)> {
    check_request(request)?;
    let (template, template_account) = resolve(store, &request.template).await?;
    let account = request.account.clone().or(template_account).unwrap_or_else(|| DEFAULT_ACCOUNT.to_owned());
    policy(settings, &account)?;
    Ok((template, account))
}

/// Evaluates what was located, and checks it against what the account allows.
pub(super) async fn evaluated(
    settings: &AcceptSettings,
    request: AcceptRequest,
    template: Resolved,
    account: String,
    (at, run_id): (DateTime<Utc>, Uuid),
    data: Data,
) -> Result<Prepared> {
    let policy = policy(settings, &account)?;
    let bundle = Arc::new(template.bundle().clone());
    let request = Arc::new(request);
    let subject = Subject {
        bundle: bundle.clone(),
        request: request.clone(),
        account: account.clone(),
        default_region: settings.default_region.clone(),
        now: at,
        run_id,
    };
    let (mut evaluation, data) =
        evaluate(&subject, data, (&settings.data_sources, policy), settings.evaluation_time_limit).await?;
    if request.force {
        evaluation.builds.iter_mut().for_each(|build| build.builder.force());
    }
    if evaluation.builds.is_empty() {
        return Err(Error::unprocessable(
            "no-builds",
            "The run selects no build of the template; look at its `only` and `except`.",
        ));
    }
    let violations: Vec<Diagnostic> = evaluation.builds.iter().flat_map(|build| policy.check(build)).collect();
    if !violations.is_empty() {
        return Err(policy_violation(&account, violations, evaluation.warnings));
    }
    let prepared = Prepared { request, template, account, bundle, evaluation, data };
    check_name("family", prepared.family())?;
    check_labels(&prepared.labels())?;
    if settings.lint.can_block() {
        let found = prepared.findings(settings).await?;
        let forbidden: Vec<Diagnostic> = found.into_iter().filter(|found| settings.lint.blocks(found)).collect();
        if let Some(first) = forbidden.first() {
            let rule = first.rule.as_deref().unwrap_or_default();
            let public = format!("The lint policy of this server refuses the template: {} ({rule}).", first.summary);
            return Err(Error::unprocessable("lint-blocked", public).with_diagnostics(forbidden));
        }
    }
    Ok(prepared)
}

async fn resolve(store: &Store, source: &TemplateSource) -> Result<(Resolved, Option<String>)> {
    match source {
        TemplateSource::Stored { name, version } => {
            let row = store.template(name).await?;
            let version = store.version(row.id, *version).await?;
            let bundle = store.bundle(version.id).await?;
            Ok((Resolved::Stored { name: row.name, template: row.id, version: version.id, bundle }, row.account))
        }
        TemplateSource::Inline { name, bundle } => {
            let name = name.clone().unwrap_or_else(|| format!("inline-{}", &bundle.content_hash().0[..12]));
            check_name("name", &name)?;
            let account = match store.template(&name).await {
                Ok(row) => row.account,
                Err(error) if error.code == "template-not-found" => None,
                Err(error) => return Err(error),
            };
            Ok((Resolved::Inline { name, bundle: bundle.clone() }, account))
        }
    }
}

fn check_request(request: &AcceptRequest) -> Result<()> {
    if let Some(family) = &request.family {
        check_name("family", family)?;
    }
    if let Some(sha) = &request.git_sha
        && !((1..=128).contains(&sha.len()) && sha.bytes().all(|byte| byte.is_ascii_graphic()))
    {
        let public =
            "git_sha must be 1 to 128 visible ASCII characters, such as the 40 hexadecimal digits of a commit.";
        return Err(Error::unprocessable("git-sha-invalid", public));
    }
    check_labels(&request.labels)?;
    if request.timeout.is_some_and(|timeout| timeout < Duration::from_secs(1)) {
        return Err(Error::unprocessable("timeout-invalid", "The timeout must be at least one second."));
    }
    Ok(())
}

fn check_labels(labels: &IndexMap<String, String>) -> Result<()> {
    let too_long =
        |text: &String| text.is_empty() || text.chars().count() > LONGEST_LABEL || text.chars().any(char::is_control);
    if labels.len() > MOST_LABELS || labels.iter().any(|(key, value)| too_long(key) || too_long(value)) {
        let public =
            format!("A run has at most {MOST_LABELS} labels, each name and value 1 to {LONGEST_LABEL} characters.");
        return Err(Error::unprocessable("labels-invalid", public));
    }
    Ok(())
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

    #[test]
    fn words_are_found_at_any_depth() {
        let value = serde_json::json!({"a": [{"b": "xx hunter2 yy"}], "c": 1});
        assert!(holds(&value, &["hunter2"]));
        assert!(!holds(&value, &["hunter3"]));
    }
}
