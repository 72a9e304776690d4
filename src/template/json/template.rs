//! A legacy JSON template: `builders`, `provisioners`, `post-processors`, `variables`.

use std::cell::RefCell;

use super::parse;
use super::user;
use crate::domain::diagnostic::{Diagnostic, Hint, SourceLocation};
use crate::template::assemble::{self, Component, Parts};
use crate::template::decode::body::Context;
use crate::template::legacy::early::{self, Early, NOW};
use crate::template::options::{Content, Entry, Node, Options};
use crate::template::packer;
use crate::template::runtime::Runtime;
use crate::template::select::{OnlyExcept, Selection};
use crate::template::source::{SourceFile, did_you_mean};
use crate::template::{BuildOutline, Evaluated, Format, Outline, Request, VariableOutline};

/// A template's parts, each still as written.
#[derive(Debug, Default)]
pub struct JsonTemplate {
    pub description: Option<String>,
    pub variables: Vec<Entry>,
    pub sensitive: Vec<String>,
    builders: Vec<RawComponent>,
    provisioners: Vec<RawComponent>,
    error_cleanup: Option<RawComponent>,
    post_processors: Vec<Vec<RawComponent>>,
}

/// An object with a `type`.
#[derive(Debug)]
struct RawComponent {
    kind: String,
    /// As written, or the type.
    name: String,
    at: SourceLocation,
    entries: Vec<Entry>,
    only: OnlyExcept,
}

const ROOT: &[&str] = &[
    "min_packer_version",
    "description",
    "builders",
    "provisioners",
    "error-cleanup-provisioner",
    "post-processors",
    "variables",
    "sensitive-variables",
    "push",
];

/// Reads a template's structure.
///
/// # Errors
/// With the fault when it is no JSON object.
pub fn read(source: &SourceFile, complaints: &mut Vec<Diagnostic>) -> Result<JsonTemplate, Vec<Diagnostic>> {
    let root = parse::document(source).map_err(|diagnostic| vec![diagnostic])?;
    let at = root.at.clone();
    let Some(entries) = parse::into_entries(root) else {
        return Err(vec![Diagnostic::error("a template must be a JSON object").at(Some(at))]);
    };
    let mut template = JsonTemplate::default();
    let mut reader = Reader { complaints };
    for entry in entries {
        reader.root(entry, &mut template);
    }
    if template.builders.is_empty() && reader.complaints.is_empty() {
        reader.complain(&at, "the template has no builders", "add \"builders\": [{ \"type\": \"amazon-ebs\", … }]");
    }
    Ok(template)
}

struct Reader<'c> {
    complaints: &'c mut Vec<Diagnostic>,
}

impl Reader<'_> {
    fn complain(&mut self, at: &SourceLocation, summary: impl Into<String>, detail: impl Into<Hint>) {
        self.complaints.push(Diagnostic::error(summary).with_detail(detail).at(Some(at.clone())));
    }

    fn root(&mut self, entry: Entry, template: &mut JsonTemplate) {
        let Entry { key, key_at, node } = entry;
        match key.as_str() {
            key if key.starts_with('_') => {}
            "min_packer_version" => {
                let constraint = format!(">= {}", node.scalar().unwrap_or_default());
                if let Err(message) = packer::check_version(&constraint) {
                    self.complain(&node.at, format!("min_packer_version: {message}"), "");
                }
            }
            "description" => template.description = node.scalar(),
            "variables" => match node.content {
                Content::Map(entries) => template.variables = entries,
                _ => self.complain(&node.at, "variables must be an object", ""),
            },
            "sensitive-variables" => {
                let names = self.list(node, &key).into_iter().filter_map(|name| name.scalar());
                template.sensitive = names.collect();
            }
            "builders" => {
                for node in self.list(node, &key) {
                    template.builders.extend(self.component(node, "builder", false));
                }
            }
            "provisioners" => {
                for node in self.list(node, &key) {
                    template.provisioners.extend(self.component(node, "provisioner", false));
                }
            }
            "post-processors" => {
                for node in self.list(node, &key) {
                    let chain = match node.content {
                        Content::List(nodes) => nodes,
                        _ => vec![node],
                    };
                    let chain = chain.into_iter().filter_map(|node| self.component(node, "post-processor", true));
                    template.post_processors.push(chain.collect());
                }
            }
            "error-cleanup-provisioner" => {
                template.error_cleanup = self.component(node, "error-cleanup-provisioner", false);
            }
            // Packer reads this section and makes no use of it any more.
            "push" => {}
            _ => {
                let hint = did_you_mean(&key, ROOT.iter().copied());
                self.complain(&key_at, format!("a template has no key {key:?}"), hint);
            }
        }
    }

    fn list(&mut self, node: Node, key: &str) -> Vec<Node> {
        match node.content {
            Content::List(items) => items,
            Content::Null => Vec::new(),
            _ => {
                self.complain(&node.at, format!("{key} must be a list"), format!("write \"{key}\": [ … ]"));
                Vec::new()
            }
        }
    }

    fn component(&mut self, node: Node, what: &str, may_be_name: bool) -> Option<RawComponent> {
        let at = node.at;
        let mut entries = match node.content {
            Content::Map(entries) => entries,
            Content::String(kind) if may_be_name => {
                let name = kind.clone();
                return Some(RawComponent { kind, name, at, entries: Vec::new(), only: OnlyExcept::default() });
            }
            _ => {
                self.complain(&at, format!("a {what} must be an object"), "");
                return None;
            }
        };
        entries.retain(|entry| !entry.key.starts_with("_comment"));
        let mut take = |name: &str| {
            let found = entries.iter().position(|entry| entry.key == name);
            found.map(|at| entries.remove(at))
        };
        let kind = take("type").and_then(|entry| entry.node.scalar()).filter(|kind| !kind.is_empty());
        let name = if what == "builder" { take("name").and_then(|entry| entry.node.scalar()) } else { None };
        let names = |entry: Option<Entry>| -> Vec<String> {
            match entry.map(|entry| entry.node.content) {
                Some(Content::List(items)) => items.iter().filter_map(Node::scalar).collect(),
                Some(Content::String(one)) => vec![one],
                _ => Vec::new(),
            }
        };
        let only = if what == "builder" {
            OnlyExcept::default()
        } else {
            OnlyExcept { only: names(take("only")), except: names(take("except")) }
        };
        let Some(kind) = kind else {
            self.complain(&at, format!("a {what} needs a type"), "");
            return None;
        };
        if !only.only.is_empty() && !only.except.is_empty() {
            self.complain(&at, "only one of only and except can be given", "");
        }
        let name = name.filter(|name| !name.is_empty()).unwrap_or_else(|| kind.clone());
        Some(RawComponent { kind, name, at, entries, only })
    }
}

/// The builders' names, with their actions rendered.
fn builder_names(template: &JsonTemplate, early: &Early<'_>, complaints: &mut Vec<Diagnostic>) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for builder in &template.builders {
        let name = early::render(&builder.name, early, NOW).unwrap_or_else(|fault| {
            complaints.push(Diagnostic::error(fault.message).at(Some(builder.at.clone())));
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
    let mut check = |name: &str, at: &SourceLocation, what: &str| {
        if names.iter().any(|known| known == name) {
            return;
        }
        let hint = did_you_mean(name, names.iter().map(String::as_str));
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
    fn component(&self) -> Component {
        Component {
            kind: self.kind.clone(),
            at: self.at.clone(),
            options: Options::from_entries(self.entries.clone(), self.at.clone()),
        }
    }
}

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
    let variables = user::evaluate(&template, request, runtime, complaints);
    let mut early = Early::new(runtime, "", "");
    early.user = Some(&variables.values);
    let names = builder_names(&template, &early, complaints);
    check_references(&template, &names, complaints);
    let mut builds = Vec::new();
    let selected: Vec<_> = template.builders.iter().zip(&names).filter(|(_, name)| selection.takes(name)).collect();
    if selected.is_empty() && !names.is_empty() {
        complaints.push(selection.nothing_left(&names.iter().map(String::as_str).collect::<Vec<_>>()));
    }
    for (builder, name) in selected {
        let applies = |component: &&RawComponent| component.only.applies(&[name]);
        let parts = Parts {
            name: name.clone(),
            source: name.clone(),
            override_names: vec![name.clone()],
            builder_type: builder.kind.clone(),
            builder_at: builder.at.clone(),
            builder: Options::from_entries(builder.entries.clone(), builder.at.clone()),
            provisioners: template.provisioners.iter().filter(applies).map(RawComponent::component).collect(),
            error_cleanup: template.error_cleanup.iter().find(applies).map(RawComponent::component),
            post_processors: template
                .post_processors
                .iter()
                .map(|chain| chain.iter().filter(applies).map(RawComponent::component).collect())
                .collect(),
        };
        let decoded = RefCell::new(Vec::new());
        let mut early = Early::new(runtime, name, &builder.kind);
        early.user = Some(&variables.values);
        let context = Context { bundle: request.bundle, early, complaints: &decoded };
        builds.extend(assemble::build(parts, &context, selection, request.clean_image));
        complaints.append(&mut decoded.into_inner());
    }
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
        builds: builds.map(|(builder, name)| BuildOutline { name, builder_type: builder.kind.clone() }).collect(),
    })
}
