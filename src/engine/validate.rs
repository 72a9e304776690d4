//! Validating a template: all of [`accept`](super::accept) but the writing, with everything that is wrong.

use std::sync::Arc;

use indexmap::IndexMap;
use serde_json::Value;

use super::accept::new_id;
use super::evaluation::{Data, blocking};
use super::lint;
use super::prepared::{evaluated, locate};
use super::run_request::{AcceptRequest, AcceptSettings};
use crate::domain::bundle::Bundle;
use crate::domain::clock::Clock;
use crate::domain::diagnostic::{Diagnostic, Severity};
use crate::domain::error::{Error, Result};
use crate::domain::plan::Plan;
use crate::store::Store;
use crate::template::{self, Outline};

/// What shall be looked at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Checks {
    /// Only whether the files can be parsed and have the right structure; no variable needs a value.
    pub syntax_only: bool,
    /// What lint rules find, too.
    pub lint: bool,
    /// Whether data sources are asked; else their results are unknown, and so is what depends on them.
    pub evaluate_datasources: bool,
}

/// What there is to say of a template.
#[derive(Debug)]
pub struct Validation {
    pub account: String,
    /// By place; warnings among them.
    pub diagnostics: Vec<Diagnostic>,
    pub builds: Vec<ValidatedBuild>,
    /// Sensitive values replaced; empty when the template has errors, or was not evaluated.
    pub variables: IndexMap<String, Value>,
}

/// A build that a run would make.
#[derive(Debug)]
pub struct ValidatedBuild {
    pub name: String,
    pub builder_type: String,
    /// `None`: the template was not evaluated, or has errors.
    pub plan: Option<Plan>,
}

impl Validation {
    #[must_use]
    pub fn is_valid(&self) -> bool {
        !self.diagnostics.iter().any(Diagnostic::is_error)
    }
}

/// Looks a template over and writes nothing.
///
/// # Errors
/// Faults of the request: `account-unknown`, `template-not-found`, `…-invalid` for one of its fields; or the database is away.
/// What is wrong with the template is no error of this.
pub async fn validate(
    store: &Store,
    settings: &AcceptSettings,
    request: AcceptRequest,
    checks: Checks,
    clock: &dyn Clock,
) -> Result<Validation> {
    let (template, account) = locate(store, settings, &request).await?;
    let bundle = template.bundle().clone();
    // For the rules, when there is no evaluation to give them.
    let unevaluated = checks.lint.then(|| request.clone());
    if checks.syntax_only {
        let (diagnostics, builds) = outlined(bundle.clone()).await?;
        let found = Validation { account, diagnostics, builds, variables: IndexMap::new() };
        return linted(found, settings, bundle, unevaluated).await;
    }
    let at = clock.now();
    let run_id = new_id(at, &settings.random);
    let data = if checks.evaluate_datasources { Data::Fetched } else { Data::Unknown };
    match evaluated(settings, request, template, account.clone(), (at, run_id), data).await {
        Ok(prepared) => {
            let mut findings = if checks.lint { prepared.findings(settings).await? } else { Vec::new() };
            // The template is good; another installation may run it.
            let refused = prepared.refused(settings)?.into_iter();
            findings.extend(refused.map(|found| Diagnostic { severity: Severity::Warning, ..found }));
            // Who starts the run decides about the others.
            prepared.channels(settings, true, &mut findings);
            let run = prepared.into_dry_run();
            let builds = run.builds.into_iter().map(|(build, plan)| ValidatedBuild {
                builder_type: build.builder.builder_type().to_owned(),
                name: build.name,
                plan: Some(plan),
            });
            let diagnostics = by_place(run.warnings, findings);
            Ok(Validation { account, diagnostics, builds: builds.collect(), variables: run.variables })
        }
        Err(error) => {
            let diagnostics = of_the_template(error)?;
            let (_, builds) = outlined(bundle.clone()).await?;
            let found = Validation { account, diagnostics, builds, variables: IndexMap::new() };
            linted(found, settings, bundle, unevaluated).await
        }
    }
}

/// Adds what lint rules find in a template that was not evaluated.
async fn linted(
    mut found: Validation,
    settings: &AcceptSettings,
    bundle: Bundle,
    request: Option<AcceptRequest>,
) -> Result<Validation> {
    let Some(request) = request else { return Ok(found) };
    let (bundle, request) = (Arc::new(bundle), Arc::new(request));
    let (policy, limit) = (settings.lint.clone(), settings.evaluation_time_limit);
    let findings = lint::findings(bundle, request, None, policy, limit).await?;
    found.diagnostics = by_place(found.diagnostics, findings);
    Ok(found)
}

/// Both, each once.
fn by_place(mut diagnostics: Vec<Diagnostic>, findings: Vec<Diagnostic>) -> Vec<Diagnostic> {
    for finding in findings {
        if !diagnostics.contains(&finding) {
            diagnostics.push(finding);
        }
    }
    diagnostics.sort_by(|a, b| a.at.cmp(&b.at));
    diagnostics
}

/// The complaints of an error that is the template's.
fn of_the_template(error: Error) -> Result<Vec<Diagnostic>> {
    match error.code {
        "template-invalid" | "policy-violation" | "lint-blocked" if !error.diagnostics.is_empty() => {
            Ok(error.diagnostics)
        }
        "no-builds" | "evaluation-too-slow" => Ok(vec![Diagnostic::error(error.public)]),
        _ => Err(error),
    }
}

/// What can be said without values for the variables.
async fn outlined(bundle: Bundle) -> Result<(Vec<Diagnostic>, Vec<ValidatedBuild>)> {
    let outline = blocking(move || template::outline(&bundle)).await?;
    Ok(match outline {
        Ok(outline) => (Vec::new(), builds(outline)),
        Err(diagnostics) => (diagnostics, Vec::new()),
    })
}

fn builds(outline: Outline) -> Vec<ValidatedBuild> {
    let builds = outline.builds.into_iter();
    builds.map(|build| ValidatedBuild { name: build.name, builder_type: build.builder_type, plan: None }).collect()
}
