//! What a request to build a template comes to, before it is written down: the template found, evaluated, and checked against
//! what the request, the account and the lint policy allow.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use indexmap::IndexMap;
use serde_json::Value;
use uuid::Uuid;

use super::evaluation::{Data, Subject, blocking, evaluate};
use super::run_request::{AcceptRequest, AcceptSettings, DryRun, SENSITIVE, TemplateSource, check_name, policy};
use super::{channels, content, lint};
use crate::domain::bundle::Bundle;
use crate::domain::config::data_source::DataResults;
use crate::domain::content_key::Content;
use crate::domain::diagnostic::Diagnostic;
use crate::domain::error::{Error, Result};
use crate::domain::ids::{TemplateId, TemplateVersionId};
use crate::domain::plan::Plan;
use crate::store::Store;
use crate::template::{Evaluated, VariableValue};

/// The account of runs that name none, and whose template names none.
const DEFAULT_ACCOUNT: &str = "default";
/// Labels of one run at most, and characters of one.
const MOST_LABELS: usize = 50;
const LONGEST_LABEL: usize = 256;
/// Shorter values of the environment occur in variables by chance.
const SHORTEST_HIDDEN: usize = 4;

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
    pub(super) request: Arc<AcceptRequest>,
    pub(super) template: Resolved,
    pub(super) account: String,
    bundle: Arc<Bundle>,
    pub(super) evaluation: Evaluated,
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
    pub(super) fn family(&self) -> &str {
        let (Resolved::Stored { name, .. } | Resolved::Inline { name, .. }) = &self.template;
        let bucket = self.evaluation.registry.as_ref().and_then(|registry| registry.bucket_name.as_ref());
        self.request.family.as_ref().or(bucket).unwrap_or(name)
    }

    /// The stages that the image goes to once it is built.
    pub(super) fn channels(
        &self,
        settings: &AcceptSettings,
        by_promoter: bool,
        warnings: &mut Vec<Diagnostic>,
    ) -> Vec<String> {
        let Some(registry) = &self.evaluation.registry else { return Vec::new() };
        let (stages, mut found) = channels::of(registry, &settings.channels, by_promoter);
        warnings.append(&mut found);
        stages
    }

    /// The request's labels, and those of the template's registry that the request does not give itself.
    pub(super) fn labels(&self) -> IndexMap<String, String> {
        let mut labels = IndexMap::new();
        if let Some(registry) = &self.evaluation.registry {
            // A label has one line.
            let description = registry.description.split_whitespace().collect::<Vec<_>>().join(" ");
            if !description.is_empty() {
                labels.insert("description".to_owned(), description);
            }
            labels.extend(registry.bucket_labels.clone());
            labels.extend(registry.build_labels.clone());
        }
        labels.extend(self.request.labels.clone());
        labels
    }

    /// What the run is made of, or why that can't be told.
    pub(super) async fn content(
        &self,
        store: &Store,
        settings: &AcceptSettings,
        channels: &[String],
    ) -> Result<Result<Content, String>> {
        let hasher = store.content_hasher()?;
        let setting = content::Setting {
            account: self.account.clone(),
            family: self.family().to_owned(),
            default_region: settings.default_region.clone(),
            channels: channels.to_vec(),
        };
        let (bundle, request, data) = (self.bundle.clone(), self.request.clone(), self.data.clone());
        let work = blocking(move || content::of(&hasher, &bundle, &request, &setting, &data));
        match tokio::time::timeout(settings.evaluation_time_limit, work).await {
            Ok(done) => done,
            Err(_) => Ok(Err("the evaluation of the template took too long".to_owned())),
        }
    }

    /// Sensitive ones replaced, and those that hold a value of the run's environment.
    pub(super) fn shown_variables(&self) -> IndexMap<String, Value> {
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

pub(super) async fn prepare(
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_found_at_any_depth() {
        let value = serde_json::json!({"a": [{"b": "xx hunter2 yy"}], "c": 1});
        assert!(holds(&value, &["hunter2"]));
        assert!(!holds(&value, &["hunter3"]));
    }
}
