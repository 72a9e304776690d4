//! A complaint as `POST /v1/templates/validate` shows it.

use serde::Serialize;
use utoipa::ToSchema;

use crate::api::problem::severity;
use crate::domain::diagnostic::{Diagnostic, Position};

/// One complaint about a template.
#[derive(Debug, Serialize, ToSchema)]
pub struct TemplateDiagnostic {
    /// `error`, `warning` or `info`.
    pub severity: &'static str,
    /// One line that is readable alone.
    pub summary: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// Path in the bundle.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub range: Option<Range>,
    /// The text of the line where the range begins; `<sensitive>` stands for values that are hidden.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_line: Option<String>,
    /// The nearest option, function or variable that there is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub suggestion: Option<String>,
    /// The lint rule that complains.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
}

/// The text that a complaint is about.
#[derive(Debug, Serialize, ToSchema)]
pub struct Range {
    pub start: Place,
    /// Exclusive; the same as `start` when only the place is known.
    pub end: Place,
}

/// A place in a file.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
pub struct Place {
    /// From 1.
    pub line: u32,
    /// From 1, in characters.
    pub column: u32,
}

impl From<Position> for Place {
    fn from(position: Position) -> Self {
        Self { line: position.line, column: position.column }
    }
}

impl From<&Diagnostic> for TemplateDiagnostic {
    fn from(diagnostic: &Diagnostic) -> Self {
        let range = diagnostic.at.as_ref().map(|at| {
            let start = Place { line: at.line, column: at.column };
            Range { start, end: diagnostic.end.map_or(start, Place::from) }
        });
        Self {
            severity: severity(diagnostic.severity),
            summary: diagnostic.summary.clone(),
            detail: Some(diagnostic.detail.clone()).filter(|detail| !detail.is_empty()),
            file: diagnostic.at.as_ref().map(|at| at.file.clone()),
            range,
            source_line: diagnostic.source_line.clone(),
            suggestion: diagnostic.suggestion.clone(),
            rule: diagnostic.rule.clone(),
        }
    }
}
