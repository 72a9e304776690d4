//! A template with what it is given, as a request to the server.

use reqwest::multipart::{Form, Part};
use serde_json::{Map, Value, json};

use super::complaint::Sources;
use super::error::{CliError, CliResult};
use super::given;
use super::inputs::{GivenArgs, Inputs, VarFile, shown};
use super::missing_file::missing_file;
use super::problem::Problem;
use crate::domain::clock::Clock;

/// What every request about a template says. Its precedence is the server's: `env`'s `PKR_VAR_…`, then `var_files`, then
/// `variables`.
///
/// # Errors
/// When a variable file from elsewhere is there and the template can't be evaluated here; `sources` then has the texts.
pub fn template_fields(
    args: &GivenArgs,
    inputs: &Inputs,
    git_sha: Option<&str>,
    clock: &dyn Clock,
    sources: &mut Sources,
) -> CliResult<Map<String, Value>> {
    let (var_files, variables) = if inputs.has_outside_var_file() {
        (Vec::new(), resolved_variables(args, inputs, git_sha, clock, sources)?)
    } else {
        let inside = |file: &VarFile| match file {
            VarFile::Inside(path) => Some(path.clone()),
            VarFile::Outside { .. } => None,
        };
        let variables = inputs.variables.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
        (inputs.var_files.iter().filter_map(inside).collect(), variables)
    };
    Ok(given([
        ("variables", variables.into()),
        ("env", json!(inputs.environment)),
        ("var_files", json!(var_files)),
        ("only", json!(args.only)),
        ("except", json!(args.except)),
        ("git_sha", json!(git_sha)),
    ]))
}

/// All variables' values, found out here. A variable file from elsewhere is not sent: a bundle is kept as a version
/// of its template, and such a file is no part of the template and may hold secrets.
fn resolved_variables(
    args: &GivenArgs,
    inputs: &Inputs,
    git_sha: Option<&str>,
    clock: &dyn Clock,
    sources: &mut Sources,
) -> CliResult<Map<String, Value>> {
    let checked = args.check(inputs, git_sha, clock)?;
    match &checked.outcome {
        Ok(evaluated) => {
            let given = evaluated.variables.iter().filter(|variable| !variable.is_default);
            Ok(given.map(|variable| (variable.name.clone(), variable.value.clone())).collect())
        }
        Err(diagnostics) => {
            let problem = Problem {
                title: "The template can't be built".to_owned(),
                errors: checked.complaints(diagnostics),
                ..Problem::default()
            };
            *sources = checked.sources;
            Err(told(CliError::Problem(Box::new(problem)), inputs))
        }
    }
}

/// The request and the template's files.
///
/// # Errors
/// When a media type can't be written, which does not happen.
pub fn form(request: &Value, bundle: &[u8]) -> CliResult<Form> {
    let part =
        |part: Part, kind: &str| part.mime_str(kind).map_err(|error| CliError::Local(format!("the form: {error}")));
    let request = part(Part::text(request.to_string()), "application/json")?;
    let bundle = part(Part::bytes(bundle.to_vec()).file_name("bundle.tar.gz"), "application/gzip")?;
    Ok(Form::new().part("request", request).part("bundle", bundle))
}

/// The server's complaints under the names that the user knows the files by, with advice about files that are missing.
#[must_use]
pub fn told(error: CliError, inputs: &Inputs) -> CliError {
    let CliError::Problem(mut problem) = error else { return error };
    for complaint in &mut problem.errors {
        complaint.file = complaint.file.as_deref().map(shown);
    }
    problem.errors.extend(missing_file(&problem.errors, inputs));
    CliError::Problem(problem)
}
