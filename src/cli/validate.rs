//! `ingot validate`: what the server would say of a template, said here, without one.

use clap::Args;
use serde_json::{Value, json};

use super::Context;
use super::complaint::{Complaint, Sources, count};
use super::error::CliResult;
use super::exit::Exit;
use super::git;
use super::inputs::{Inputs, TemplateArgs, complaints};
use super::missing_file::missing_file;
use super::voice::{Voice, VoiceArgs};
use crate::domain::diagnostic::Diagnostic;
use crate::domain::lint::LintPolicy;
use crate::template::lint::{Input, lint};
use crate::template::{self, Evaluated, Outline};

#[derive(Debug, Args)]
pub struct ValidateArgs {
    #[command(flatten)]
    template: TemplateArgs,
    /// Only whether the files can be parsed and have the right structure.
    #[arg(long)]
    syntax_only: bool,
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
    pub(super) fn run(self, context: &Context, voice: &Voice) -> CliResult<Exit> {
        let inputs = self.template.read(std::env::vars_os())?;
        let verdict = if self.syntax_only { self.syntax(&inputs) } else { self.whole(&inputs, context)? };
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

fn mentions_git_sha(inputs: &Inputs) -> bool {
    inputs.sources().values().any(|text| text.contains("GIT_SHA"))
}

fn builds(evaluated: &Evaluated) -> Vec<Value> {
    evaluated.builds.iter().map(|build| json!({"name": build.name, "type": build.builder.builder_type()})).collect()
}

fn outlined(outline: &Outline) -> Vec<Value> {
    outline.builds.iter().map(|build| json!({"name": build.name, "type": build.builder_type})).collect()
}
