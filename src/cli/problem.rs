//! What the server (or the local check) complains about, as a person reads it: what is wrong, where, the source line with
//! a caret when the file is at hand, and the request id to ask an administrator about.

use std::fmt::Write as _;

use serde::Deserialize;

use super::complaint::{Complaint, Sources, count};
use super::render::{Renderer, clean};

/// The codes of problems that list what is wrong with a template; the headline of the first repeats the first complaint,
/// for clients that show nothing else.
const OF_TEMPLATES: [&str; 3] = ["template-invalid", "policy-violation", "lint-blocked"];

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
    pub fn render(&self, sources: &Sources, color: bool) -> String {
        let renderer = Renderer { sources, color };
        // What has no place and stands in the headline already would only be said twice.
        let said = |complaint: &&Complaint| complaint.file.is_none() && self.headline().contains(&complaint.message);
        let complaints: Vec<Complaint> = self.errors.iter().filter(|complaint| !said(complaint)).cloned().collect();
        let diagnosed = self.code().is_some_and(|code| OF_TEMPLATES.contains(&code.as_str()));
        let mut text = if !complaints.is_empty() && (diagnosed || complaints.iter().any(|it| it.file.is_some())) {
            renderer.all(&complaints) + &renderer.closing(&self.verdict(&complaints))
        } else {
            let reason = |reason: &Complaint| match &reason.detail {
                Some(detail) => format!("\n{}\n  {}\n", clean(&reason.message), clean(detail)),
                None => format!("\n{}\n", clean(&reason.message)),
            };
            let reasons: String = complaints.iter().map(reason).collect();
            let end = if reasons.is_empty() { "" } else { "\n" };
            format!("{}{reasons}{end}", renderer.closing(&format!("{}{}", self.headline(), self.facts())))
        };
        if let Some(advice) = self.advice() {
            let _ = writeln!(text, "  {advice}");
        }
        if let Some(id) = self.request_id() {
            let _ = writeln!(text, "  request id: {}", clean(id));
        }
        text
    }

    /// What came of complaints that were shown: the headline, how many they are, and the status.
    fn verdict(&self, complaints: &[Complaint]) -> String {
        let template = self.code().as_deref() == Some(OF_TEMPLATES[0]);
        let headline = if template { "The template can't be built" } else { self.headline() };
        format!("{}: {}{}", headline.trim_end_matches('.'), count(complaints), self.facts())
    }

    /// ` (422 template-invalid)`.
    fn facts(&self) -> String {
        let status = Some(self.status).filter(|status| *status != 0).map(|status| status.to_string());
        let facts: Vec<String> = status.into_iter().chain(self.code()).collect();
        if facts.is_empty() { String::new() } else { format!(" ({})", facts.join(" ")) }
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
        insta::assert_snapshot!(problem.render(&sources(), false), @r#"
        error: there is no variable or function "regoin"
         --> web.pkr.hcl:2:11
          |
        2 |     region = regoin
          |              ^^^^^^
          |
          = help: Did you mean "region"?

        error: ami_name is missing
         --> gone.pkr.hcl:7:1

        warning: nothing uses variable "x"

        error: The template can't be built: 2 errors, 1 warning (422 template-invalid)
          request id: 0190-abc
        "#);
    }

    #[test]
    fn who_has_no_token_learns_where_to_get_one() {
        let problem = Problem { title: "A token is needed".into(), status: 401, ..Problem::default() };
        insta::assert_snapshot!(problem.render(&Sources::new(), false), @"
        error: A token is needed (401)
          Give a token with INGOT_TOKEN or --token-file. The first one is made by the server at its first start (admin.token in its data directory) or with `ingot token create --local` on its machine.
        ");
    }
}
