//! What a person is told about a fault in a template or a configuration file: where it is, what is wrong, and what to do.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A place in a bundle's file. Line and column count from 1; the column counts characters, not bytes.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SourceLocation {
    pub file: String,
    pub line: u32,
    pub column: u32,
}

impl fmt::Display for SourceLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

/// A line and column, both from 1; the column counts characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Position {
    pub line: u32,
    pub column: u32,
}

/// What to do about a fault, and the name that was probably meant.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hint {
    pub text: String,
    pub suggestion: Option<String>,
}

impl From<&str> for Hint {
    fn from(text: &str) -> Self {
        Self { text: text.to_owned(), suggestion: None }
    }
}

impl From<String> for Hint {
    fn from(text: String) -> Self {
        Self { text, suggestion: None }
    }
}

/// Whether a diagnostic stops the run, warns, or only tells (lint alone does that).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    Error,
    Warning,
    Info,
}

/// One complaint. `summary` is one line that is readable alone; `detail` says what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Diagnostic {
    pub severity: Severity,
    pub summary: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<SourceLocation>,
    /// Where the marked text ends, exclusive; in the file of `at`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<Position>,
    /// The text of the line of `at`, without its line break.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_line: Option<String>,
    /// The nearest option, function or variable that there is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suggestion: Option<String>,
    /// The lint rule that says so, such as `ami-id-hard-coded`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
}

impl Diagnostic {
    pub fn error(summary: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            summary: summary.into(),
            detail: String::new(),
            at: None,
            end: None,
            source_line: None,
            suggestion: None,
            rule: None,
        }
    }

    pub fn warning(summary: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(summary) }
    }

    #[must_use]
    pub fn with_detail(mut self, hint: impl Into<Hint>) -> Self {
        self.set_hint(hint);
        self
    }

    /// Replaces the detail and the suggestion.
    pub fn set_hint(&mut self, hint: impl Into<Hint>) {
        let hint = hint.into();
        self.detail = hint.text;
        self.suggestion = hint.suggestion;
    }

    /// Marks the text up to that position, exclusive.
    #[must_use]
    pub fn until(mut self, end: Option<Position>) -> Self {
        self.end = end;
        self
    }

    #[must_use]
    pub fn at(mut self, location: Option<SourceLocation>) -> Self {
        self.at = location;
        self
    }

    #[must_use]
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(at) = &self.at {
            write!(f, "{at}: ")?;
        }
        match self.severity {
            Severity::Error => {}
            Severity::Warning => f.write_str("warning: ")?,
            Severity::Info => f.write_str("info: ")?,
        }
        f.write_str(&self.summary)?;
        if !self.detail.is_empty() {
            write!(f, ": {}", self.detail)?;
        }
        Ok(())
    }
}
