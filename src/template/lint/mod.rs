//! What a template does that works, and that people regret: rules with an id, a place, a reason and a fix each. docs/lint/ has
//! a page for each rule. Start reading at [`lint`]; `model` is the template as the rules see it, `rules/` has their code,
//! [`RULES`] their list.
//!
//! Rules read what is written, not what it evaluates to, so that they say something about templates that can't be
//! evaluated, too. Where only evaluation tells, they take the evaluated template, if there is one.

mod context;
mod findings;
mod from_hcl;
mod from_json;
mod hcl_value;
mod ignore;
mod json_reader;
mod load;
mod model;
mod names;
mod rule;
mod rules;
mod scripts;
mod secret_forms;
pub mod shell;
mod text;

#[cfg(test)]
mod tests;

use indexmap::IndexMap;

use super::Evaluated;
use super::stack;
use crate::domain::bundle::Bundle;
use crate::domain::diagnostic::Diagnostic;
use crate::domain::lint::{self, LintLevel, LintPolicy};
use context::Context;
use findings::{Finding, Findings};
pub use rule::{RULES, Rule, rule};

/// What is to be looked at.
#[derive(Debug, Clone, Copy)]
pub struct Input<'a> {
    pub bundle: &'a Bundle,
    /// The request's variables: their defaults do not count.
    pub variables: &'a IndexMap<String, serde_json::Value>,
    /// The template's evaluation for that request, where it has one.
    pub evaluated: Option<&'a Evaluated>,
    /// Whether the run would have its image cleaned.
    pub clean_image: bool,
    pub policy: &'a LintPolicy,
}

/// All findings by place. `rule`, `detail`, `end` and `source_line` are always there. A secret is shown in none of them:
/// whoever shows a finding takes its `source_line`, never the file. A file that can't be read has no findings.
#[must_use]
pub fn lint(input: &Input<'_>) -> Vec<Diagnostic> {
    let found = stack::with_room(|| Ok(lint_here(input)));
    found.unwrap_or_else(|complaints| complaints)
}

/// Bytes of a line that are shown.
const MAX_LINE: usize = 4096;

fn lint_here(input: &Input<'_>) -> Vec<Diagnostic> {
    let model = load::load(input);
    let context = Context::new(model, input);
    let mut findings = Findings::default();
    for check in rules::CHECKS {
        check(&context, &mut findings);
    }
    let ignored = ignore::Ignored::read(&context, &mut findings);
    let Findings { found, secrets, .. } = findings;
    let mut diagnostics = Vec::new();
    for finding in found {
        let line = context.model.location(finding.place).line;
        let level = level(input.policy, &finding);
        let Some(severity) = level.severity() else { continue };
        if level != LintLevel::Block && ignored.covers(finding.place.file, line, finding.rule.id) {
            continue;
        }
        let summary = secrets.scrub(finding.summary, finding.place, &context.model);
        let detail = secrets.scrub(finding.detail, finding.place, &context.model);
        let mut diagnostic = context.model.locate(Diagnostic::error(summary).with_detail(detail), finding.place);
        diagnostic.severity = severity;
        diagnostic.rule = Some(finding.rule.id.to_owned());
        diagnostic.source_line = Some(source_line(&context.model, &secrets, finding.place));
        diagnostics.push(diagnostic);
    }
    if let Some(evaluated) = input.evaluated {
        super::hide(&mut diagnostics, &evaluated.sensitive_values);
    }
    diagnostics.sort_by(|a, b| (&a.at, &a.rule).cmp(&(&b.at, &b.rule)));
    diagnostics.dedup();
    diagnostics
}

/// The line of a place, secrets hidden; of a long one its beginning.
fn source_line(model: &model::Model, secrets: &findings::Secrets, place: model::Place) -> String {
    let file = &model.files[place.file];
    let line = file.line_at(place.start);
    let start = file.line_start(place.start);
    let length = line.floor_char_boundary(MAX_LINE.min(line.len()));
    secrets.mask(&line[..length], model::Place { file: place.file, start, end: start + length })
}

/// The configuration's word, else the case's own level, else the rule's.
fn level(policy: &LintPolicy, finding: &Finding) -> LintLevel {
    policy.level(finding.rule.id).or(finding.level).unwrap_or(finding.rule.level)
}

/// Names in a policy that are no rules, for the configuration's check; with the nearest rule.
#[must_use]
pub fn unknown_rules(policy: &LintPolicy) -> Vec<(&str, Option<&'static str>)> {
    let names = policy.levels.keys().map(String::as_str);
    let unknown = names.filter(|name| *name != lint::ALL && rule(name).is_none());
    unknown.map(|name| (name, super::source::suggestion(name, RULES.iter().map(|rule| rule.id)))).collect()
}
