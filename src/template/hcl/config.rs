//! A whole HCL2 template: from its files to evaluated builds.

use std::cell::RefCell;

use indexmap::IndexMap;

use super::blocks::{self, Config};
use super::eval::{Evaluator, Globals};
use super::parse::HclFile;
use super::{builds, locals, variables};
use crate::domain::diagnostic::Diagnostic;
use crate::template::assemble;
use crate::template::decode::body::Context;
use crate::template::legacy::early::Early;
use crate::template::runtime::{PACKER_VERSION, Runtime};
use crate::template::select::Selection;
use crate::template::value::Value;
use crate::template::{BuildOutline, Evaluated, Format, Outline, Request, VariableOutline};

/// Names that every expression can use.
fn base_globals() -> Globals {
    let object = |entries: &[(&str, &str)]| {
        Value::object(entries.iter().map(|(key, value)| ((*key).to_owned(), Value::string(*value))).collect())
    };
    Globals::from([
        ("path".to_owned(), object(&[("cwd", "."), ("root", ".")])),
        ("packer".to_owned(), object(&[("version", PACKER_VERSION)])),
    ])
}

/// Evaluates a template. Complaints, warnings among them, go to `complaints`.
pub fn evaluate(
    files: &[HclFile],
    request: &Request<'_>,
    runtime: &Runtime<'_>,
    selection: &Selection,
    complaints: &mut Vec<Diagnostic>,
) -> Evaluated {
    let mut config = blocks::collect(files);
    complaints.append(&mut config.complaints);
    let mut variables = variables::evaluate(&config, request, runtime, complaints);
    let mut globals = base_globals();
    globals.insert("var".to_owned(), Value::object(variables.values));
    let locals = locals::evaluate(&config, runtime, &globals, &mut variables.sensitive_values, complaints);
    globals.insert("local".to_owned(), Value::object(locals));
    let planned = builds::plan(&config, runtime, &globals, complaints);
    if config.builds.is_empty() {
        complaints.push(no_build(files, &config));
    }
    let selected: Vec<_> = planned.iter().filter(|build| selection.takes(&build.name)).collect();
    if selected.is_empty() && !planned.is_empty() {
        let names: Vec<&str> = planned.iter().map(|build| build.name.as_str()).collect();
        complaints.push(selection.nothing_left(&names));
    }
    let description = builds::description(&config, runtime, &globals, complaints);
    let mut result = Vec::new();
    for planned in selected {
        let Some(parts) = builds::parts(planned, &config, runtime, &globals, complaints) else { continue };
        let decoded = RefCell::new(Vec::new());
        let early = Early::new(runtime, &planned.source_name, &planned.builder_type);
        let context = Context { bundle: request.bundle, early, complaints: &decoded };
        result.extend(assemble::build(parts, &context, selection, request.clean_image));
        complaints.append(&mut decoded.into_inner());
    }
    Evaluated {
        builds: result,
        variables: variables.report,
        sensitive_values: variables.sensitive_values,
        warnings: Vec::new(),
        description,
    }
}

fn no_build(files: &[HclFile], config: &Config<'_>) -> Diagnostic {
    let detail = match config.sources.keys().next() {
        Some(source) => format!("add build {{ sources = [\"source.{source}\"] }}"),
        None => "add a source block and a build block that names it".to_owned(),
    };
    let at = files.first().map(|file| file.source.location(0));
    Diagnostic::error("the template has no build block").with_detail(detail).at(at)
}

/// Describes a template without values for its variables. Build sources that depend on variables are evaluated with
/// unknown ones, and then missing from the list.
pub fn outline(files: &[HclFile], runtime: &Runtime<'_>, complaints: &mut Vec<Diagnostic>) -> Outline {
    let mut config = blocks::collect(files);
    complaints.append(&mut config.complaints);
    let globals = base_globals();
    let mut outlines = Vec::new();
    for (name, variable) in &config.variables {
        let mut evaluator = Evaluator::new(variable.file, runtime, &globals);
        evaluator.env_allowed = true;
        outlines.push(VariableOutline {
            name: name.clone(),
            type_name: variables::constraint(variable, &evaluator, complaints).to_string(),
            description: variable.description.clone(),
            required: variable.default.is_none(),
            sensitive: variable.sensitive,
        });
    }
    let unknown = |names: Vec<&String>| {
        Value::object(names.into_iter().map(|name| (name.clone(), Value::UNKNOWN)).collect::<IndexMap<_, _>>())
    };
    let mut globals = base_globals();
    globals.insert("var".to_owned(), unknown(config.variables.keys().collect()));
    globals.insert("local".to_owned(), unknown(config.locals.keys().collect()));
    if config.builds.is_empty() {
        complaints.push(no_build(files, &config));
    }
    let description = builds::description(&config, runtime, &globals, complaints);
    let planned = builds::plan(&config, runtime, &globals, complaints);
    Outline {
        format: Format::Hcl2,
        description,
        variables: outlines,
        builds: planned
            .into_iter()
            .map(|build| BuildOutline { name: build.name, builder_type: build.builder_type })
            .collect(),
    }
}
