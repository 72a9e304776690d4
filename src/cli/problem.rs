//! What the server (or the local check) complains about, as a person reads it: what is wrong, where, the source line with
//! a caret when the file is at hand, and the request id to ask an administrator about.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use crate::domain::diagnostic::{Diagnostic, Severity};

/// An RFC 9457 problem document of the API.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
pub struct Problem {
    /// `urn:ingot:problem:<code>`.
    #[serde(default, rename = "type")]
    pub kind: String,
    #[serde(default)]
    pub title: String,
    #[serde(default)]
    pub status: u16,
    #[serde(default)]
    pub detail: Option<String>,
    /// `urn:request:<request id>`.
    #[serde(default)]
    pub instance: Option<String>,
    #[serde(default)]
    pub errors: Vec<Complaint>,
}

/// One of a problem's errors.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Complaint {
    pub message: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub column: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub severity: Option<Severity>,
}

impl From<&Diagnostic> for Complaint {
    fn from(diagnostic: &Diagnostic) -> Self {
        Self {
            message: diagnostic.summary.clone(),
            detail: Some(diagnostic.detail.clone()).filter(|detail| !detail.is_empty()),
            file: diagnostic.at.as_ref().map(|at| at.file.clone()),
            line: diagnostic.at.as_ref().map(|at| at.line),
            column: diagnostic.at.as_ref().map(|at| at.column),
            severity: Some(diagnostic.severity),
        }
    }
}

/// The texts of the files that were sent, by their path in the bundle, for quoting.
pub type Sources = BTreeMap<String, String>;

impl Problem {
    /// The code at the end of its type, such as `template-invalid`.
    #[must_use]
    pub fn code(&self) -> Option<String> {
        self.kind.strip_prefix("urn:ingot:problem:").map(str::to_owned)
    }

    /// What is wrong: the detail, which says more than the title (the status in words).
    #[must_use]
    pub fn headline(&self) -> &str {
        let detail = self.detail.as_deref().filter(|detail| !detail.is_empty());
        detail
            .or(Some(self.title.as_str()).filter(|title| !title.is_empty()))
            .unwrap_or("the server refused the request")
    }

    /// The whole document as text, with a newline at its end.
    #[must_use]
    pub fn render(&self, sources: &Sources) -> String {
        let mut text = String::new();
        let _ = write!(text, "error: {}", clean(self.headline()));
        let facts: Vec<String> =
            [Some(self.status).filter(|status| *status != 0).map(|status| status.to_string()), self.code()]
                .into_iter()
                .flatten()
                .collect();
        if !facts.is_empty() {
            let _ = write!(text, " ({})", clean(&facts.join(" ")));
        }
        text.push('\n');
        // What has no place and stands in the headline already would only be said twice.
        let said = |complaint: &&Complaint| complaint.file.is_none() && self.headline().contains(&complaint.message);
        let complaints: Vec<&Complaint> = self.errors.iter().filter(|complaint| !said(complaint)).collect();
        for complaint in &complaints {
            text.push('\n');
            text.push_str(&complaint.render(sources));
        }
        if !complaints.is_empty() {
            text.push('\n');
        }
        if let Some(advice) = self.advice() {
            let _ = writeln!(text, "  {advice}");
        }
        if let Some(id) = self.request_id() {
            let _ = writeln!(text, "  request id: {}", clean(id));
        }
        text
    }

    fn request_id(&self) -> Option<&str> {
        let instance = self.instance.as_deref()?;
        Some(instance.strip_prefix("urn:request:").unwrap_or(instance))
    }

    fn advice(&self) -> Option<&'static str> {
        match self.status {
            401 => Some(
                "Give a token with INGOT_TOKEN or --token-file. The first one is made by the server at its first start \
                 (admin.token in its data directory) or with `ingot token create --local` on its machine.",
            ),
            _ => None,
        }
    }
}

impl Complaint {
    /// The complaint with its place and source line, with a newline at its end.
    #[must_use]
    pub fn render(&self, sources: &Sources) -> String {
        let mut text = String::new();
        if let Some(file) = &self.file {
            let _ = write!(text, "{}", clean(file));
            for number in [self.line, self.column].into_iter().flatten() {
                let _ = write!(text, ":{number}");
            }
            text.push_str(": ");
        }
        if self.severity == Some(Severity::Warning) {
            text.push_str("warning: ");
        }
        let _ = writeln!(text, "{}", clean(&self.message));
        if let Some(quote) = self.quote(sources) {
            text.push_str(&quote);
        }
        if let Some(detail) = self.detail.as_deref().filter(|detail| !detail.is_empty()) {
            let _ = writeln!(text, "  {}", clean(detail));
        }
        text
    }

    /// The source line with a caret under the column, when the file is at hand.
    fn quote(&self, sources: &Sources) -> Option<String> {
        let number = self.line?;
        let source = sources.get(self.file.as_deref()?)?;
        let source = source.strip_prefix('\u{feff}').unwrap_or(source);
        let line = source.lines().nth(usize::try_from(number).ok()?.checked_sub(1)?)?;
        let gutter = number.to_string();
        let blank = " ".repeat(gutter.len());
        let mut text = format!("  {gutter} | {}\n", clean(line));
        if let Some(column) = self.column {
            // A tab under a tab: both lines then go to the same place whatever the terminal's tab stops are.
            let before = usize::try_from(column).ok()?.saturating_sub(1).min(line.chars().count());
            let pad: String = line.chars().take(before).map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
            let _ = writeln!(text, "  {blank} | {pad}^");
        }
        Some(text)
    }
}

/// Text of others, without what would move a terminal's cursor.
fn clean(text: &str) -> String {
    text.chars().filter(|c| !c.is_control() || matches!(c, '\t' | '\n')).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sources() -> Sources {
        Sources::from([(
            "web.pkr.hcl".to_owned(),
            "source \"amazon-ebs\" \"web\" {\n\tregion = regoin\n}\n".to_owned(),
        )])
    }

    #[test]
    fn a_problem_with_places() {
        let problem: Problem = serde_json::from_value(serde_json::json!({
            "type": "urn:ingot:problem:template-invalid",
            "title": "Unprocessable Content",
            "status": 422,
            "detail": "The template has errors.",
            "instance": "urn:request:0190-abc",
            "errors": [
                {"message": "there is no variable or function \"regoin\"", "detail": "Did you mean \"region\"?",
                 "file": "web.pkr.hcl", "line": 2, "column": 11, "severity": "error"},
                {"message": "ami_name is missing", "file": "gone.pkr.hcl", "line": 7, "column": 1, "severity": "error"},
                {"message": "nothing uses variable \"x\"", "severity": "warning"}
            ]
        }))
        .unwrap();
        assert_eq!(problem.code().as_deref(), Some("template-invalid"));
        insta::assert_snapshot!(problem.render(&sources()), @r#"
        error: The template has errors. (422 template-invalid)

        web.pkr.hcl:2:11: there is no variable or function "regoin"
          2 | 	region = regoin
            | 	         ^
          Did you mean "region"?

        gone.pkr.hcl:7:1: ami_name is missing

        warning: nothing uses variable "x"

          request id: 0190-abc
        "#);
    }

    #[test]
    fn who_has_no_token_learns_where_to_get_one() {
        let problem = Problem { title: "A token is needed".into(), status: 401, ..Problem::default() };
        insta::assert_snapshot!(problem.render(&Sources::new()), @"
        error: A token is needed (401)
          Give a token with INGOT_TOKEN or --token-file. The first one is made by the server at its first start (admin.token in its data directory) or with `ingot token create --local` on its machine.
        ");
    }

    #[test]
    fn places_past_the_end_of_a_file_quote_nothing() {
        let complaint = Complaint {
            message: "a } is missing\u{1b}[2J".into(),
            detail: None,
            file: Some("web.pkr.hcl".into()),
            line: Some(9),
            column: Some(1),
            severity: None,
        };
        assert_eq!(complaint.render(&sources()), "web.pkr.hcl:9:1: a } is missing[2J\n");
        let past = Complaint { line: Some(3), column: Some(40), ..complaint.clone() };
        assert_eq!(past.render(&sources()), "web.pkr.hcl:3:40: a } is missing[2J\n  3 | }\n    |  ^\n");
        let zero = Complaint { line: Some(0), ..complaint };
        assert_eq!(zero.render(&sources()).lines().count(), 1);
    }
}
