//! `ingot validate`: what the server would say of a template, said here, without one.

use clap::Args;
use serde::Deserialize;
use serde_json::{Value, json};

use super::client::new_idempotency_key;
use super::complaint::{Complaint, ShownDiagnostic, Sources, count};
use super::error::CliResult;
use super::exit::Exit;
use super::git;
use super::inputs::{Inputs, TemplateArgs, complaints};
use super::missing_file::missing_file;
use super::pack;
use super::request::{form, template_fields, told};
use super::voice::{Voice, VoiceArgs};
use super::{Context, block_on};
use crate::domain::diagnostic::Diagnostic;
use crate::domain::lint::LintPolicy;
use crate::template::lint::{Input, lint};
use crate::template::{self, Evaluated, Outline};

#[expect(clippy::struct_excessive_bools, reason = "each is an option of its own")]
#[derive(Debug, Args)]
pub struct ValidateArgs {
    #[command(flatten)]
    template: TemplateArgs,
    /// Only whether the files can be parsed and have the right structure.
    #[arg(long)]
    syntax_only: bool,
    /// Ask the template's data sources. The server does it: when there are any, the check is made there.
    #[arg(long)]
    evaluate_datasources: bool,
    /// Say nothing of values in variable files that the template declares no variable for.
    #[arg(long)]
    no_warn_undeclared_var: bool,
    /// Say what works and is regretted later, too: each rule is explained in docs/lint/.
    #[arg(long)]
    lint: bool,
    #[command(flatten)]
    pub voice: VoiceArgs,
}

/// What came of a check.
struct Verdict {
    /// What to say when there are no errors.
    words: &'static str,
    complaints: Vec<Complaint>,
    builds: Vec<Value>,
    sources: Sources,
}

impl ValidateArgs {
    pub(super) fn run(self, context: &Context, voice: &Voice, sources: &mut Sources) -> CliResult<Exit> {
        let inputs = self.template.read(std::env::vars_os())?;
        let verdict = if self.syntax_only {
            self.syntax(&inputs)
        } else if self.evaluate_datasources && has_data_sources(&inputs) {
            block_on(self.on_the_server(&inputs, context, sources))?
        } else {
            self.whole(&inputs, context)?
        };
        verdict.tell(&inputs, context, voice)
    }

    fn whole(&self, inputs: &Inputs, context: &Context) -> CliResult<Verdict> {
        let given = &self.template.given;
        let of_git = || mentions_git_sha(inputs).then(|| git::commit(&inputs.packed.root)).flatten();
        let git_sha = given.git_sha.clone().or_else(of_git);
        let checked = given.check(inputs, git_sha.as_deref(), &*context.clock)?;
        let (diagnostics, builds) = match &checked.outcome {
            Ok(evaluated) => (&evaluated.warnings, builds(evaluated)),
            Err(diagnostics) => (diagnostics, Vec::new()),
        };
        let found = self.lint(inputs, checked.outcome.as_ref().ok());
        let mut complaints = by_place(checked.complaints(diagnostics), complaints(&found));
        complaints.retain(|complaint| !self.no_warn_undeclared_var || !complaint.is_undeclared_variable());
        Ok(Verdict { words: "The configuration is valid.", complaints, builds, sources: checked.sources })
    }

    /// What the server says of the template.
    async fn on_the_server(&self, inputs: &Inputs, context: &Context, sources: &mut Sources) -> CliResult<Verdict> {
        let given = &self.template.given;
        let client = context.client()?;
        let git_sha = self.template.commit(inputs);
        *sources = inputs.sources();
        let request = template_fields(given, inputs, git_sha.as_deref(), &*context.clock, sources)?;
        let (request, bundle) = (request.into(), pack::tar_gz(&inputs.packed.bundle)?);
        let query = [("evaluate_datasources", "true".to_owned()), ("lint", self.lint.to_string())];
        let path = ["templates", "validate"];
        let answer = client.post_form(&path, &query, || form(&request, &bundle), &new_idempotency_key()).await;
        let found: Found = answer.map_err(|error| told(error, inputs))?;
        let mut complaints: Vec<Complaint> = found.diagnostics.into_iter().map(Complaint::from).collect();
        complaints.retain(|complaint| !self.no_warn_undeclared_var || !complaint.is_undeclared_variable());
        let words = "The configuration is valid.";
        Ok(Verdict { words, complaints, builds: found.builds, sources: std::mem::take(sources) })
    }

    fn syntax(&self, inputs: &Inputs) -> Verdict {
        let (diagnostics, builds) = match template::outline(&inputs.packed.bundle) {
            Ok(outline) => (Vec::new(), outlined(&outline)),
            Err(diagnostics) => (diagnostics, Vec::new()),
        };
        let found = self.lint(inputs, None);
        let complaints = by_place(complaints(&diagnostics), complaints(&found));
        let words = "Syntax-only check passed. Everything looks okay.";
        Verdict { words, complaints, builds, sources: inputs.sources() }
    }

    fn lint(&self, inputs: &Inputs, evaluated: Option<&Evaluated>) -> Vec<Diagnostic> {
        if !self.lint {
            return Vec::new();
        }
        let variables = inputs.variables.iter().map(|(name, value)| (name.clone(), value.clone().into())).collect();
        lint(&Input {
            bundle: &inputs.packed.bundle,
            variables: &variables,
            evaluated,
            clean_image: true,
            policy: &LintPolicy::default(),
        })
    }
}

impl Verdict {
    fn tell(mut self, inputs: &Inputs, context: &Context, voice: &Voice) -> CliResult<Exit> {
        let valid = !self.complaints.iter().any(Complaint::is_error);
        if !valid && let Some(advice) = missing_file(&self.complaints, inputs) {
            self.complaints.push(advice);
        }
        if context.json() {
            let diagnostics: Vec<Value> = self.complaints.iter().map(Complaint::to_json).collect();
            context.print_json(&json!({"valid": valid, "diagnostics": diagnostics, "builds": self.builds}))?;
        } else if valid {
            voice.complain(&self.complaints, &self.sources, None)?;
            voice.say(self.words)?;
        } else {
            let closing = format!("The configuration is not valid: {}", count(&self.complaints));
            voice.complain(&self.complaints, &self.sources, Some(&closing))?;
        }
        Ok(if valid { Exit::Success } else { Exit::Failed })
    }
}

/// Both, by place.
fn by_place(complaints: Vec<Complaint>, found: Vec<Complaint>) -> Vec<Complaint> {
    let mut all = [complaints, found].concat();
    all.sort_by(|a, b| (&a.file, a.line, a.column).cmp(&(&b.file, b.line, b.column)));
    all
}

/// The part of the server's answer that is shown.
#[derive(Deserialize)]
struct Found {
    diagnostics: Vec<ShownDiagnostic>,
    builds: Vec<Value>,
}

fn has_data_sources(inputs: &Inputs) -> bool {
    template::outline(&inputs.packed.bundle).is_ok_and(|outline| !outline.data_sources.is_empty())
}

fn mentions_git_sha(inputs: &Inputs) -> bool {
    inputs.sources().values().any(|text| text.contains("GIT_SHA"))
}

fn builds(evaluated: &Evaluated) -> Vec<Value> {
    evaluated.builds.iter().map(|build| json!({"name": build.name, "type": build.builder.builder_type()})).collect()
}

fn outlined(outline: &Outline) -> Vec<Value> {
    outline.builds.iter().map(|build| json!({"name": build.name, "type": build.builder_type})).collect()
}

#[cfg(test)]
mod tests {
    use wiremock::matchers::{method, path, query_param};
    use wiremock::{Mock, MockServer, ResponseTemplate};

    use super::super::test_support::{context, parsed};
    use super::*;

    #[tokio::test]
    async fn data_sources_are_the_servers_to_ask() {
        let dir = tempfile::tempdir().unwrap();
        let template = "data \"null\" \"x\" {\n  input = \"a\"\n}\nsource \"null\" \"a\" {\n  communicator = \"none\"\n}\nbuild {\n  sources = [\"source.null.a\"]\n}\n";
        std::fs::write(dir.path().join("web.pkr.hcl"), template).unwrap();
        let answer = json!({"valid": false, "builds": [{"name": "null.a", "type": "null"}], "diagnostics": [
            {"severity": "error", "summary": "no AMI matches", "file": "web.pkr.hcl",
             "range": {"start": {"line": 1, "column": 1}, "end": {"line": 1, "column": 5}}}]});
        let server = MockServer::start().await;
        Mock::given(method("POST"))
            .and(path("/v1/templates/validate"))
            .and(query_param("evaluate_datasources", "true"))
            .respond_with(ResponseTemplate::new(200).set_body_json(answer))
            .expect(1)
            .mount(&server)
            .await;
        let args = parsed::<ValidateArgs>(&format!("--evaluate-datasources {}", dir.path().display()));
        let inputs = args.template.read(std::iter::empty()).unwrap();
        assert!(has_data_sources(&inputs));
        let verdict = args.on_the_server(&inputs, &context(&server), &mut Sources::new()).await.unwrap();
        assert_eq!((verdict.complaints.len(), verdict.builds.len()), (1, 1));
        assert_eq!(verdict.complaints[0].end_column, Some(5));
        assert!(verdict.sources.contains_key("web.pkr.hcl"), "for quoting");
    }
}
