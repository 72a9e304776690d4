//! A legacy JSON template's variables, builders and the rest, to evaluated builds.

use std::cell::RefCell;

use super::ranges;
use super::template::{JsonTemplate, RawComponent, read};
use super::user;
use crate::domain::diagnostic::{Diagnostic, SourceLocation};
use crate::template::assemble::{self, Component, Parts};
use crate::template::decode::body::Context;
use crate::template::legacy::early::{self, Early, NOW};
use crate::template::options::{Content, Options};
use crate::template::runtime::Runtime;
use crate::template::select::Selection;
use crate::template::source::{SourceFile, did_you_mean};
use crate::template::{BuildOutline, Evaluated, Format, Outline, Request, VariableOutline};

/// Evaluates a template. Complaints, warnings among them, go to `complaints`.
///
/// # Errors
/// When the file is no JSON template at all.
pub fn evaluate(
    source: &SourceFile,
    request: &Request<'_>,
    runtime: &Runtime<'_>,
    selection: &Selection,
    complaints: &mut Vec<Diagnostic>,
) -> Result<Evaluated, Vec<Diagnostic>> {
    let template = read(source, complaints)?;
    template.check_builders(complaints);
    let variables = user::evaluate(&template, source, request, runtime, complaints);
    let mut early = Early::new(runtime, "", "");
    early.user = Some(&variables.values);
    early.faulty = Some(&variables.faulty);
    early.source = Some(source);
    let names = builder_names(&template, &early, complaints);
    check_references(&template, &names, complaints);
    let mut builds = Vec::new();
    let selected: Vec<_> = template.builders.iter().zip(&names).filter(|(_, name)| selection.takes(name)).collect();
    if selected.is_empty() && !names.is_empty() {
        complaints.push(selection.nothing_left(&names.iter().map(String::as_str).collect::<Vec<_>>()));
    }
    for (builder, name) in selected {
        let decoded = RefCell::new(Vec::new());
        let mut early = Early::new(runtime, name, &builder.type_name);
        early.user = Some(&variables.values);
        early.faulty = Some(&variables.faulty);
        early.source = Some(source);
        let context = Context { bundle: request.bundle, early, complaints: &decoded };
        builds.extend(assemble::build(parts(&template, builder, name), &context, selection, request.clean_image));
        complaints.append(&mut decoded.into_inner());
    }
    ranges::fill(source, complaints);
    Ok(Evaluated {
        builds,
        variables: variables.report,
        sensitive_values: variables.sensitive_values,
        warnings: Vec::new(),
        registry: None,
        data_requests: Vec::new(),
        description: template.description,
    })
}

/// A builder with what applies to it. `only`, `except` and `override` match its name as it is written, as in Packer; the
/// rendered name is taken too.
fn parts(template: &JsonTemplate, builder: &RawComponent, name: &str) -> Parts {
    let applies = |component: &&RawComponent| component.only.applies(&[name, &builder.name]);
    Parts {
        name: name.to_owned(),
        source: name.to_owned(),
        override_names: vec![name.to_owned(), builder.name.clone()],
        builder_type: builder.type_name.clone(),
        builder_at: builder.at.clone(),
        builder: Some(builder.options()),
        provisioners: template.provisioners.iter().filter(applies).map(RawComponent::component).collect(),
        error_cleanup: template.error_cleanup.iter().find(applies).map(RawComponent::component),
        post_processors: template
            .post_processors
            .iter()
            .map(|chain| chain.iter().filter(applies).map(RawComponent::component).collect())
            .collect(),
    }
}

/// The builders' names, with their actions rendered.
fn builder_names(template: &JsonTemplate, early: &Early<'_>, complaints: &mut Vec<Diagnostic>) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for builder in &template.builders {
        let name = early::render(&builder.name, early, NOW).unwrap_or_else(|fault| {
            if !early.told.take() {
                complaints.push(Diagnostic::error(fault.message).with_detail(fault.hint).at(Some(builder.at.clone())));
            }
            builder.name.clone()
        });
        if names.contains(&name) {
            complaints.push(repeated(&name, builder));
        }
        names.push(name);
    }
    names
}

fn repeated(name: &str, builder: &RawComponent) -> Diagnostic {
    Diagnostic::error(format!("two builders have the name {name:?}"))
        .with_detail("give one of them a \"name\"")
        .at(Some(builder.at.clone()))
}

/// `only`, `except` and `override` may name builders only.
fn check_references(template: &JsonTemplate, names: &[String], complaints: &mut Vec<Diagnostic>) {
    let written = template.builders.iter().map(|builder| builder.name.as_str());
    let known: Vec<&str> = names.iter().map(String::as_str).chain(written).collect();
    let mut check = |name: &str, at: &SourceLocation, what: &str| {
        if known.contains(&name) {
            return;
        }
        let hint = did_you_mean(name, known.iter().copied());
        let diagnostic = Diagnostic::error(format!("{what} names {name:?}, and there is no such builder"));
        complaints.push(diagnostic.with_detail(hint).at(Some(at.clone())));
    };
    let components = template.provisioners.iter().chain(&template.error_cleanup);
    let components = components.chain(template.post_processors.iter().flatten());
    for component in components {
        for (list, what) in [(&component.only.only, "only"), (&component.only.except, "except")] {
            for name in list {
                check(name, &component.at, what);
            }
        }
        for entry in component.entries.iter().filter(|entry| entry.key == "override") {
            if let Content::Map(overrides) = &entry.node.content {
                for entry in overrides {
                    check(&entry.key, &entry.key_at, "override");
                }
            }
        }
    }
}

impl RawComponent {
    fn options(&self) -> Options {
        Options::from_entries(self.entries.clone(), self.at.clone())
    }

    fn component(&self) -> Component {
        Component { kind: self.type_name.clone(), at: self.at.clone(), options: self.options() }
    }
}

/// Describes a template without values for its variables.
///
/// # Errors
/// When the file is no JSON template at all.
pub fn outline(
    source: &SourceFile,
    runtime: &Runtime<'_>,
    complaints: &mut Vec<Diagnostic>,
) -> Result<Outline, Vec<Diagnostic>> {
    let template = read(source, complaints)?;
    template.check_builders(complaints);
    let early = Early::new(runtime, "", "");
    // A name that depends on variables is shown as it is written.
    let names: Vec<String> = template
        .builders
        .iter()
        .map(|builder| early::render(&builder.name, &early, NOW).unwrap_or_else(|_| builder.name.clone()))
        .collect();
    for (index, builder) in template.builders.iter().enumerate() {
        if !builder.name.contains("{{") && names[..index].contains(&names[index]) {
            complaints.push(repeated(&names[index], builder));
        }
    }
    ranges::fill(source, complaints);
    let variables = template.variables.iter().map(|entry| VariableOutline {
        name: entry.key.clone(),
        type_name: "string".to_owned(),
        description: None,
        required: matches!(entry.node.content, Content::Null),
        sensitive: template.sensitive.contains(&entry.key),
    });
    let builds = template.builders.iter().zip(names);
    Ok(Outline {
        format: Format::Json,
        description: template.description.clone(),
        variables: variables.collect(),
        builds: builds.map(|(builder, name)| BuildOutline { name, builder_type: builder.type_name.clone() }).collect(),
        plugins: Vec::new(),
        data_sources: Vec::new(),
    })
}
