//! What the server's configuration says about lint rules. The rules themselves are `template::lint::RULES`; names are
//! checked against them where the configuration is read.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::diagnostic::{Diagnostic, Severity};

/// The name that stands for all rules that have no level of their own.
pub const ALL: &str = "all";

/// How much a rule counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LintLevel {
    /// The rule says nothing.
    Off,
    Info,
    Warning,
    /// `validate` with lint fails; runs are accepted.
    Error,
    /// Runs are refused, too, and no comment in the template switches the rule off.
    Block,
}

impl LintLevel {
    /// How its findings are shown; `None` when they are not.
    #[must_use]
    pub fn severity(self) -> Option<Severity> {
        match self {
            Self::Off => None,
            Self::Info => Some(Severity::Info),
            Self::Warning => Some(Severity::Warning),
            Self::Error | Self::Block => Some(Severity::Error),
        }
    }
}

/// Levels by rule id; [`ALL`] for the others. A rule that neither names keeps its own level.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LintPolicy {
    pub levels: BTreeMap<String, LintLevel>,
}

impl LintPolicy {
    /// The level that the configuration gives a rule.
    #[must_use]
    pub fn level(&self, rule: &str) -> Option<LintLevel> {
        self.levels.get(rule).or_else(|| self.levels.get(ALL)).copied()
    }

    /// Whether some rule can block a run: only then does a run need to be linted.
    #[must_use]
    pub fn can_block(&self) -> bool {
        self.levels.values().any(|level| *level == LintLevel::Block)
    }

    /// Whether a finding is a reason to refuse the run.
    #[must_use]
    pub fn blocks(&self, finding: &Diagnostic) -> bool {
        finding.rule.as_deref().and_then(|rule| self.level(rule)) == Some(LintLevel::Block)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_of_its_own_beats_all() {
        let policy: LintPolicy = serde_json::from_str(r#"{"all": "off", "ami-name-static": "block"}"#).unwrap();
        assert_eq!(policy.level("manifest-missing"), Some(LintLevel::Off));
        assert!(policy.can_block() && !LintPolicy::default().can_block());
        let mut finding = Diagnostic::error("x");
        assert!(!policy.blocks(&finding));
        finding.rule = Some("ami-name-static".to_owned());
        assert!(policy.blocks(&finding));
    }
}
