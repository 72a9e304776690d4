//! A whole HCL2 template: from its files to evaluated builds.

use std::cell::RefCell;
use std::collections::BTreeSet;

use indexmap::IndexMap;

use super::blocks::{self, Config};
use super::eval::{Evaluator, Globals};
use super::graph::{self, Graph};
use super::parse::HclFile;
use super::plan::{self, Plan, Planned};
use super::syntax::ast::{Body, Item};
use super::walk::Reference;
use super::{parts, plugins, registry, variables, walk};
use crate::domain::diagnostic::{Diagnostic, Severity};
use crate::template::assemble::{self, Parts};
use crate::template::decode::body::Context;
use crate::template::legacy::early::Early;
use crate::template::packer;
use crate::template::runtime::{PACKER_VERSION, Runtime};
use crate::template::select::Selection;
use crate::template::source::{SourceFile, did_you_mean};
use crate::template::value::Value;
use crate::template::{BuildOutline, Evaluated, Format, Outline, Request, VariableOutline};

/// Names that every expression can use. The template's folder is all that a template knows of the machine it is read on.
fn base_globals(runtime: &Runtime<'_>) -> Globals {
    let run_id = runtime.run_id.to_string();
    let object = |entries: &[(&str, &str)]| {
        Value::object(entries.iter().map(|(key, value)| ((*key).to_owned(), Value::string(*value))).collect())
    };
    Globals::from([
        ("path".to_owned(), object(&[("cwd", "."), ("root", ".")])),
        (
            "packer".to_owned(),
            object(&[("version", PACKER_VERSION), ("versionFingerprint", &run_id), ("iterationID", &run_id)]),
        ),
    ])
}

/// Warns of what Packer takes from HCP's registry. There is none here: the run stands for it.
fn warn_of_registry(body: &Body, file: &SourceFile, complaints: &mut Vec<Diagnostic>) {
    for item in &body.items {
        match item {
            Item::Block(block) => warn_of_registry(&block.body, file, complaints),
            Item::Attribute(attribute) => walk::walk(&attribute.value, &mut |expr| {
                if let ["packer", name @ ("versionFingerprint" | "iterationID")] = walk::path(expr).as_slice() {
                    let mut diagnostic = file.error(expr.span, format!("packer.{name} is the run's id here"));
                    diagnostic.severity = Severity::Warning;
                    complaints
                        .push(diagnostic.with_detail("Packer has HCP's registry give it, and here there is none"));
                }
            }),
        }
    }
}

/// A template whose variables, locals and data sources have their values.
pub(crate) struct Scene<'f> {
    pub config: Config<'f>,
    pub globals: Globals,
    pub variables: variables::Variables,
    pub graph: Graph,
}

/// Gives a template's variables, locals and data sources their values. Complaints go to `complaints`.
pub(crate) fn scene<'f>(
    files: &'f [HclFile],
    request: &Request<'_>,
    runtime: &Runtime<'_>,
    complaints: &mut Vec<Diagnostic>,
) -> Scene<'f> {
    let mut config = blocks::collect(files);
    complaints.append(&mut config.complaints);
    for file in files {
        warn_of_registry(&file.body, &file.source, complaints);
    }
    let mut variables = variables::evaluate(&config, request, runtime, complaints);
    let mut globals = base_globals(runtime);
    globals.insert("var".to_owned(), Value::object(std::mem::take(&mut variables.values)));
    let sensitive = &mut variables.sensitive_values;
    let graph = graph::evaluate(&config, request, runtime, &globals, sensitive, complaints);
    globals.insert("local".to_owned(), Value::object(graph.locals.clone()));
    globals.insert("data".to_owned(), graph.data_object(&config));
    config.expand(runtime, &globals);
    complaints.append(&mut config.complaints);
    Scene { config, globals, variables, graph }
}

/// Evaluates a template. Complaints, warnings among them, go to `complaints`.
pub fn evaluate(
    files: &[HclFile],
    request: &Request<'_>,
    runtime: &Runtime<'_>,
    selection: &Selection,
    complaints: &mut Vec<Diagnostic>,
) -> Evaluated {
    let Scene { config, globals, variables, graph } = scene(files, request, runtime, complaints);
    let plan = plan::plan(&config, runtime, &globals, complaints);
    if config.builds.is_empty() && !config.misplaced {
        complaints.push(no_build(files, &config));
    }
    check_types(&config, complaints);
    let selected: Vec<&Planned<'_>> = plan.builds.iter().filter(|build| selection.takes(&build.name)).collect();
    if selected.is_empty() && !plan.builds.is_empty() {
        let names: Vec<&str> = plan.builds.iter().map(|build| build.name.as_str()).collect();
        complaints.push(selection.nothing_left(&names));
    }
    plugins::check(&config, &used_types(&config, &plan), complaints);
    let registry = registry::evaluate(&config, &plan, runtime, &globals, complaints);
    let mut builds = Vec::new();
    for planned in selected.iter().copied().chain(&plan.without_source) {
        let parts = parts::parts(planned, &plan, &config, runtime, &globals, complaints);
        builds.extend(assembled(parts, planned, request, runtime, selection, complaints));
    }
    let needed = graph::needed_data(&config, references(&config, &selected));
    let description = plan.blocks.iter().find_map(|block| block.description.clone().filter(|text| !text.is_empty()));
    Evaluated {
        builds,
        variables: variables.report,
        sensitive_values: variables.sensitive_values,
        warnings: Vec::new(),
        description,
        registry,
        data_requests: graph.requests.into_iter().filter(|request| needed.contains(&request.key())).collect(),
    }
}

fn assembled(
    parts: Parts,
    planned: &Planned<'_>,
    request: &Request<'_>,
    runtime: &Runtime<'_>,
    selection: &Selection,
    complaints: &mut Vec<Diagnostic>,
) -> Option<crate::domain::config::BuildConfig> {
    let decoded = RefCell::new(Vec::new());
    let early = Early::new(runtime, &planned.source_name, &planned.builder_type);
    let context = Context { bundle: request.bundle, early, complaints: &decoded };
    let build = assemble::build(parts, &context, selection, request.clean_image);
    complaints.append(&mut decoded.into_inner());
    build
}

/// Sources must be of a type that there is, also those that nothing builds.
fn check_types(config: &Config<'_>, complaints: &mut Vec<Diagnostic>) {
    for source in config.sources.values() {
        if !packer::BUILDERS.contains(&source.builder_type.as_str()) {
            let hint = did_you_mean(&source.builder_type, packer::BUILDERS.iter().copied());
            let diagnostic = Diagnostic::error(format!("there is no builder {:?}", source.builder_type));
            complaints.push(diagnostic.with_detail(hint).at(Some(source.at.clone())));
        }
    }
}

/// The component types that a template names, in builds that are not selected too.
fn used_types(config: &Config<'_>, plan: &Plan<'_, '_>) -> Vec<String> {
    let mut used: Vec<String> = config.sources.values().map(|source| source.builder_type.clone()).collect();
    used.extend(config.data.values().map(|data| data.kind.clone()));
    for block in plan.blocks.iter().flat_map(|planned| &planned.blocks) {
        used.extend(block.label(0).map(str::to_owned));
        for inner in block.body.blocks() {
            used.extend(inner.labels.iter().map(|label| label.text.to_string()));
        }
    }
    used
}

/// What the selected builds refer to, and what says which builds there are.
fn references(config: &Config<'_>, selected: &[&Planned<'_>]) -> BTreeSet<Reference> {
    let mut found = config.dynamic_references.clone();
    for build in &config.builds {
        for name in ["name", "sources"] {
            if let Some(expr) = build.attribute(name) {
                super::walk::collect(expr, &mut found);
            }
        }
        let dynamic = build.block.body.blocks_of("dynamic");
        for block in dynamic.filter(|block| block.labels.first().is_some_and(|label| &*label.text == "source")) {
            found.extend(graph::body_references(&block.body));
        }
    }
    for registry in &config.registries {
        found.extend(graph::body_references(registry.block.body));
    }
    for planned in selected {
        if let Some(source) = config.sources.get(&planned.declared) {
            found.extend(graph::body_references(source.block.body));
        }
        found.extend(graph::body_references(config.builds[planned.block].block.body));
    }
    found
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
    let globals = base_globals(runtime);
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
    let mut globals = base_globals(runtime);
    globals.insert("var".to_owned(), unknown(config.variables.keys().collect()));
    globals.insert("local".to_owned(), unknown(config.locals.keys().collect()));
    globals.insert("data".to_owned(), Graph::default().data_object(&config));
    config.expand(runtime, &globals);
    complaints.append(&mut config.complaints);
    if config.builds.is_empty() && !config.misplaced {
        complaints.push(no_build(files, &config));
    }
    let plan = plan::plan(&config, runtime, &globals, complaints);
    let description = plan.blocks.iter().find_map(|block| block.description.clone().filter(|text| !text.is_empty()));
    Outline {
        format: Format::Hcl2,
        description,
        variables: outlines,
        builds: plan
            .builds
            .into_iter()
            .map(|build| BuildOutline { name: build.name, builder_type: build.builder_type })
            .collect(),
        plugins: plugins::outline(&config),
        data_sources: config.data.keys().cloned().collect(),
    }
}
