//! `ingot validate`: what the server would say of a template, said here, without one.

use clap::Args;
use serde_json::{Value, json};

use super::Context;
use super::build::with_advice;
use super::error::{CliError, CliResult};
use super::exit::Exit;
use super::inputs::{Inputs, TemplateArgs};
use super::problem::{Complaint, Problem, Sources};
use crate::template::{self, Evaluated};

#[derive(Debug, Args)]
pub struct ValidateArgs {
    #[command(flatten)]
    template: TemplateArgs,
    /// Only whether the files can be parsed and have the right structure.
    #[arg(long)]
    syntax_only: bool,
}

impl ValidateArgs {
    pub(super) fn run(self, context: &Context) -> CliResult<Exit> {
        let inputs = self.template.read(std::env::vars_os())?;
        if self.syntax_only {
            return match template::outline(&inputs.packed.bundle) {
                Ok(outline) => {
                    let builds =
                        outline.builds.iter().map(|build| json!({"name": build.name, "type": build.builder_type}));
                    valid(
                        context,
                        "Syntax-only check passed. Everything looks okay.",
                        &[],
                        &builds.collect::<Vec<_>>(),
                        &Sources::new(),
                    )
                }
                Err(diagnostics) => {
                    let complaints = diagnostics.iter().map(Complaint::from).collect();
                    invalid(context, &inputs, complaints, &inputs.sources())
                }
            };
        }
        // Asking git takes longer than everything else together, so only templates that want to know make us ask.
        let git_sha =
            if mentions_git_sha(&inputs) { self.template.commit(&inputs) } else { self.template.git_sha.clone() };
        let checked = self.template.check(&inputs, git_sha.as_deref(), &*context.clock)?;
        match &checked.outcome {
            Ok(evaluated) => {
                let warnings = checked.complaints(&evaluated.warnings);
                valid(context, "The configuration is valid.", &warnings, &builds(evaluated), &checked.sources)
            }
            Err(diagnostics) => invalid(context, &inputs, checked.complaints(diagnostics), &checked.sources),
        }
    }
}

fn mentions_git_sha(inputs: &Inputs) -> bool {
    inputs.sources().values().any(|text| text.contains("GIT_SHA"))
}

fn builds(evaluated: &Evaluated) -> Vec<Value> {
    evaluated.builds.iter().map(|build| json!({"name": build.name, "type": build.builder.builder_type()})).collect()
}

fn valid(
    context: &Context,
    words: &str,
    warnings: &[Complaint],
    builds: &[Value],
    sources: &Sources,
) -> CliResult<Exit> {
    if context.json() {
        context.print_json(&json!({"valid": true, "warnings": warnings, "builds": builds}))?;
    } else {
        let warnings: String = warnings.iter().map(|warning| warning.render(sources) + "\n").collect();
        context.print(&format!("{warnings}{words}\n"))?;
    }
    Ok(Exit::Success)
}

fn invalid(context: &Context, inputs: &Inputs, errors: Vec<Complaint>, sources: &Sources) -> CliResult<Exit> {
    let title = "The configuration is not valid.".to_owned();
    let problem = Problem { title, errors, ..Problem::default() };
    if context.json() {
        context.print_json(&json!({"valid": false, "errors": problem.errors}))?;
    } else if let CliError::Problem(problem) = with_advice(CliError::Problem(Box::new(problem)), inputs) {
        eprint!("{}", problem.render(sources));
    }
    Ok(Exit::Failed)
}
