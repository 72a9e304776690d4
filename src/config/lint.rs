//! `[lint]`: how much each lint rule counts on this server.

use super::section::Section;
use super::{Lines, line};
use crate::domain::diagnostic::Diagnostic;
use crate::domain::lint::{ALL, LintLevel, LintPolicy};
use crate::template::lint::RULES;

fn level(text: &str) -> Result<LintLevel, String> {
    match text {
        "off" => Ok(LintLevel::Off),
        "info" => Ok(LintLevel::Info),
        "warning" => Ok(LintLevel::Warning),
        "error" => Ok(LintLevel::Error),
        "block" => Ok(LintLevel::Block),
        _ => Err(format!("{text:?} is no level; there are off, info, warning, error and block")),
    }
}

/// A key is the id of a rule, or `all` for those that are not named.
pub(super) fn read(root: &mut Section, found: &mut Vec<Diagnostic>) -> LintPolicy {
    let mut section = root.section("lint", found);
    let mut policy = LintPolicy::default();
    for rule in RULES.iter().map(|rule| rule.id).chain([ALL]) {
        if let Some(level) = section.parsed(rule, found, level) {
            policy.levels.insert(rule.to_owned(), level);
        }
    }
    section.finish(found);
    policy
}

pub(super) fn describe(policy: &LintPolicy, lines: &mut Lines) {
    for (rule, level) in &policy.levels {
        line(lines, &format!("lint.{rule}"), format!("{level:?}").to_lowercase());
    }
}
