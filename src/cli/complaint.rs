//! One complaint about a template, a configuration file or a request, as the server's problem documents and the local
//! checks give it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::domain::diagnostic::{Diagnostic, Position, Severity};

/// The texts of files at hand, by their path in the bundle, for quoting what has no source line of its own.
pub type Sources = BTreeMap<String, String>;

/// Lines and columns count from 1, columns in characters; the end is exclusive.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Complaint {
    /// One line that is readable alone.
    pub message: String,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub column: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end_line: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end_column: Option<u32>,
    /// The text of `line`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_line: Option<String>,
    /// The nearest name that there is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suggestion: Option<String>,
    /// The lint rule that complains.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub severity: Option<Severity>,
}

impl From<&Diagnostic> for Complaint {
    fn from(diagnostic: &Diagnostic) -> Self {
        let at = diagnostic.at.as_ref();
        Self {
            message: diagnostic.summary.clone(),
            detail: Some(diagnostic.detail.clone()).filter(|detail| !detail.is_empty()),
            file: at.map(|at| at.file.clone()),
            line: at.map(|at| at.line),
            column: at.map(|at| at.column),
            end_line: diagnostic.end.map(|end| end.line),
            end_column: diagnostic.end.map(|end| end.column),
            source_line: diagnostic.source_line.clone(),
            suggestion: diagnostic.suggestion.clone(),
            rule: diagnostic.rule.clone(),
            severity: Some(diagnostic.severity),
        }
    }
}

impl Complaint {
    /// A complaint without a place.
    #[must_use]
    pub fn error(message: impl Into<String>, detail: &str) -> Self {
        Self::from(&Diagnostic::error(message).with_detail(detail))
    }

    #[must_use]
    pub fn severity(&self) -> Severity {
        self.severity.unwrap_or(Severity::Error)
    }

    #[must_use]
    pub fn is_error(&self) -> bool {
        self.severity() == Severity::Error
    }

    /// Whether it tells of a value in a variable file that the template declares no variable for.
    #[must_use]
    pub fn is_undeclared_variable(&self) -> bool {
        !self.is_error() && self.message.starts_with("the template declares no variable ")
    }

    /// As `POST /v1/templates/validate` shows it.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let place = |line: Option<u32>, column: Option<u32>| Some(json!({"line": line?, "column": column?}));
        let start = place(self.line, self.column);
        let end = place(self.end_line, self.end_column).or_else(|| start.clone());
        let range = start.zip(end).map(|(start, end)| json!({"start": start, "end": end}));
        let fields = [
            ("severity", Some(json!(self.severity()))),
            ("summary", Some(json!(self.message))),
            ("detail", self.detail.as_ref().map(|text| json!(text))),
            ("file", self.file.as_ref().map(|text| json!(text))),
            ("range", range),
            ("source_line", self.source_line.as_ref().map(|text| json!(text))),
            ("suggestion", self.suggestion.as_ref().map(|text| json!(text))),
            ("rule", self.rule.as_ref().map(|text| json!(text))),
        ];
        let given = fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
        Value::Object(given.collect::<Map<_, _>>())
    }
}

/// A diagnostic as `POST /v1/templates/validate` has it.
#[derive(Debug, Deserialize)]
pub struct ShownDiagnostic {
    severity: Severity,
    summary: String,
    #[serde(default)]
    detail: Option<String>,
    #[serde(default)]
    file: Option<String>,
    #[serde(default)]
    range: Option<Range>,
    #[serde(default)]
    source_line: Option<String>,
    #[serde(default)]
    suggestion: Option<String>,
    #[serde(default)]
    rule: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Range {
    start: Position,
    end: Position,
}

impl From<ShownDiagnostic> for Complaint {
    fn from(shown: ShownDiagnostic) -> Self {
        // A range without extent is a place.
        let end = shown
            .range
            .as_ref()
            .map(|range| range.end)
            .filter(|end| Some(*end) != shown.range.as_ref().map(|range| range.start));
        Self {
            message: shown.summary,
            detail: shown.detail,
            file: shown.file,
            line: shown.range.as_ref().map(|range| range.start.line),
            column: shown.range.as_ref().map(|range| range.start.column),
            end_line: end.map(|end| end.line),
            end_column: end.map(|end| end.column),
            source_line: shown.source_line,
            suggestion: shown.suggestion,
            rule: shown.rule,
            severity: Some(shown.severity),
        }
    }
}

/// `2 errors, 1 warning`; empty when there is nothing to count.
#[must_use]
pub fn count(complaints: &[Complaint]) -> String {
    let words = |severity: Severity, word: &str| match complaints.iter().filter(|it| it.severity() == severity).count()
    {
        0 => None,
        1 => Some(format!("1 {word}")),
        number => Some(format!("{number} {word}s")),
    };
    let parts = [words(Severity::Error, "error"), words(Severity::Warning, "warning"), words(Severity::Info, "remark")];
    parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::diagnostic::SourceLocation;

    #[test]
    fn the_json_is_the_apis() {
        let at = SourceLocation { file: "a.pkr.hcl".into(), line: 3, column: 5 };
        let mut diagnostic = Diagnostic::warning("the AMI's id is fixed").with_detail("use a filter").at(Some(at));
        diagnostic.rule = Some("ami-id-hard-coded".into());
        let mut complaint = Complaint::from(&diagnostic);
        assert_eq!(
            complaint.to_json(),
            json!({"severity": "warning", "summary": "the AMI's id is fixed", "detail": "use a filter", "file": "a.pkr.hcl",
                "range": {"start": {"line": 3, "column": 5}, "end": {"line": 3, "column": 5}}, "rule": "ami-id-hard-coded"})
        );
        diagnostic.end = Some(Position { line: 4, column: 1 });
        complaint = Complaint::from(&diagnostic);
        assert_eq!(complaint.to_json()["range"]["end"], json!({"line": 4, "column": 1}));
        for complaint in [complaint, Complaint::error("no place", "")] {
            let shown: ShownDiagnostic = serde_json::from_value(complaint.to_json()).unwrap();
            assert_eq!(Complaint::from(shown), complaint, "what is shown can be read");
        }
    }

    #[test]
    fn complaints_are_counted() {
        let error = Complaint::error("x", "");
        let warning = Complaint { severity: Some(Severity::Warning), ..error.clone() };
        assert_eq!(count(&[]), "");
        assert_eq!(count(&[error.clone(), warning.clone(), error.clone()]), "2 errors, 1 warning");
        assert_eq!(count(&[warning.clone(), warning]), "2 warnings");
        assert_eq!(count(&[error]), "1 error");
    }
}
