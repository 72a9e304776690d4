//! `build` blocks: which sources they build. What of a block applies to each build is in `parts`.

use super::blocks::{Build, Config};
use super::dynamic::{self, Expanded};
use super::eval::{Evaluator, Globals};
use super::syntax::ast::{Expr, ExprKind, Item, Span, Spanned};
use crate::domain::diagnostic::Diagnostic;
use crate::template::inspect::InspectedBuild;
use crate::template::runtime::Runtime;
use crate::template::select::OnlyExcept;
use crate::template::source::did_you_mean;

/// A build block with its blocks, those that dynamic ones make among them.
#[derive(Debug)]
pub struct PlannedBlock<'c, 'f> {
    pub build: &'c Build<'f>,
    /// Its `name`; empty without one, `None` while it is unknown.
    pub name: Option<String>,
    pub description: Option<String>,
    pub blocks: Vec<Expanded<'f>>,
}

/// One source of a build block.
#[derive(Debug)]
pub struct Planned<'f> {
    /// Index of its block.
    pub block: usize,
    /// `web.amazon-ebs.ubuntu`.
    pub name: String,
    /// `amazon-ebs.ubuntu`; with the name that the build block gives the source.
    pub source: String,
    /// The declared source.
    pub declared: String,
    pub builder_type: String,
    pub source_name: String,
    /// What an inline `source` block adds.
    pub inline: Option<Expanded<'f>>,
}

impl Planned<'_> {
    fn without_source(block: usize) -> Self {
        let none = String::new;
        Self {
            block,
            name: none(),
            source: none(),
            declared: none(),
            builder_type: none(),
            source_name: none(),
            inline: None,
        }
    }

    /// Whether a block with `only` and `except` applies to it.
    #[must_use]
    pub fn takes(&self, block: &OnlyExcept) -> bool {
        self.declared.is_empty() || block.applies(&[&self.source, &self.name])
    }
}

/// All build blocks, and what they build.
#[derive(Debug, Default)]
pub struct Plan<'c, 'f> {
    pub blocks: Vec<PlannedBlock<'c, 'f>>,
    pub builds: Vec<Planned<'f>>,
    /// One for each block none of whose sources there is, so that the rest of it is checked all the same.
    pub without_source: Vec<Planned<'f>>,
}

/// Options of a build block itself.
const ATTRIBUTES: &[&str] = &["name", "description", "sources"];
const BLOCKS: &[&str] =
    &["source", "provisioner", "error-cleanup-provisioner", "post-processor", "post-processors", "hcp_packer_registry"];

struct Planner<'p, 'c, 'f> {
    config: &'c Config<'f>,
    plan: Plan<'c, 'f>,
    complaints: &'p mut Vec<Diagnostic>,
}

/// Lists what a template can build, without evaluating the blocks inside.
pub fn plan<'c, 'f>(
    config: &'c Config<'f>,
    runtime: &Runtime<'_>,
    globals: &Globals,
    complaints: &mut Vec<Diagnostic>,
) -> Plan<'c, 'f> {
    let mut planner = Planner { config, plan: Plan::default(), complaints };
    for build in &config.builds {
        let evaluator = Evaluator::new(build.file, runtime, globals);
        planner.build(build, &evaluator.with_names(&build.block.names));
    }
    planner.plan
}

impl<'c, 'f> Planner<'_, 'c, 'f> {
    fn build(&mut self, build: &'c Build<'f>, evaluator: &Evaluator<'_>) {
        let complained = self.complaints.len();
        let blocks = dynamic::blocks(build.block.body, &build.block.names, evaluator, self.complaints);
        self.check(build, &blocks, evaluator);
        let mut text = |name: &str| match build.attribute(name) {
            Some(expr) => text(expr, name, evaluator, self.complaints),
            None => Some(String::new()),
        };
        let (name, description) = (text("name"), text("description"));
        let block = self.plan.blocks.len();
        let before = self.plan.builds.len();
        let references = references(build, &blocks, evaluator, self.complaints);
        let named = !references.is_empty();
        for reference in references {
            self.source(block, name.as_deref(), reference, evaluator);
        }
        if self.plan.builds.len() == before && named {
            self.plan.without_source.push(Planned::without_source(block));
        } else if self.plan.builds.len() == before && self.complaints.len() == complained {
            let unknown = |expr: &Expr| evaluator.value(expr).is_ok_and(|value| value.is_unknown());
            let made = build.block.body.blocks_of("dynamic");
            let made = made.filter(|block| block.labels.first().is_some_and(|label| &*label.text == "source"));
            let waits = build.attribute("sources").is_some_and(unknown)
                || made.filter_map(|block| block.body.attribute("for_each")).any(|each| unknown(&each.value));
            if !waits {
                let diagnostic = build.file.error(build.block.at, "the build block names no source");
                self.complaints.push(diagnostic.with_detail("write sources = [\"source.TYPE.NAME\"]"));
            }
        }
        self.plan.blocks.push(PlannedBlock { build, name, description, blocks });
    }

    fn source(&mut self, block: usize, build_name: Option<&str>, reference: Reference<'f>, evaluator: &Evaluator<'_>) {
        let Reference { text: given, span, inline } = reference;
        let mut complain = |summary: String, hint: crate::domain::diagnostic::Hint| {
            self.complaints.push(evaluator.diagnostic(&span, summary).with_detail(hint));
        };
        let Some((builder_type, source_name)) = split_reference(&given) else {
            let hint = "write \"source.TYPE.NAME\", such as \"source.amazon-ebs.ubuntu\"".into();
            return complain(format!("{given:?} is no source"), hint);
        };
        let declared = format!("{builder_type}.{source_name}");
        if !self.config.sources.contains_key(&declared) {
            if self.config.more_sources {
                return;
            }
            let hint = did_you_mean(&declared, self.config.sources.keys().map(String::as_str));
            return complain(format!("there is no source {declared:?}"), hint);
        }
        let own = inline.as_ref().and_then(|inline| {
            let expr = &inline.body.attribute("name")?.value;
            text(expr, "name", &evaluator.with_names(&inline.names), self.complaints)
        });
        let source_name = own.unwrap_or_else(|| source_name.to_owned());
        let source = format!("{builder_type}.{source_name}");
        let name = match build_name {
            Some("") => source.clone(),
            Some(name) => format!("{name}.{source}"),
            // A name that is not known yet can't be told apart from others.
            None => format!("….{source}"),
        };
        if build_name.is_some() && self.plan.builds.iter().any(|other| other.name == name) {
            let hint = "give the build block a name, or the source block in it";
            let diagnostic = evaluator.diagnostic(&span, format!("two builds have the name {name:?}"));
            self.complaints.push(diagnostic.with_detail(hint));
            return;
        }
        let builder_type = builder_type.to_owned();
        self.plan.builds.push(Planned { block, name, source, declared, builder_type, source_name, inline });
    }

    fn check(&mut self, build: &Build<'f>, blocks: &[Expanded<'f>], evaluator: &Evaluator<'_>) {
        for item in &build.block.body.items {
            let Item::Attribute(attribute) = item else {
                continue;
            };
            let name = &*attribute.name.name;
            if !ATTRIBUTES.contains(&name) {
                let hint = did_you_mean(name, ATTRIBUTES.iter().chain(BLOCKS).copied());
                let diagnostic = evaluator.diagnostic(&attribute.name, format!("a build has no option {name:?}"));
                self.complaints.push(diagnostic.with_detail(hint));
            }
        }
        let mut seen: Vec<&str> = Vec::new();
        for block in blocks {
            let (kind, labels) = (&*block.kind, block.labels.len());
            let (summary, hint) = match (kind, labels) {
                ("error-cleanup-provisioner", 1) | ("hcp_packer_registry", 0) => {
                    if !seen.contains(&kind) {
                        seen.push(kind);
                        continue;
                    }
                    let hint = if kind == "hcp_packer_registry" { "" } else { "put what it does into one script" };
                    (format!("a build has one {kind} at most"), hint.into())
                }
                ("source" | "provisioner" | "post-processor", 1) | ("post-processors", 0) => {
                    continue;
                }
                ("source" | "provisioner" | "error-cleanup-provisioner" | "post-processor", count) => (
                    format!("{kind} needs one label, it has {count}"),
                    if block.made {
                        format!("write labels = [\"{}\"]", example(kind)).into()
                    } else {
                        format!("such as {kind} \"{}\" {{ … }}", example(kind)).into()
                    },
                ),
                ("post-processors" | "hcp_packer_registry", _) => (format!("{kind} takes no label"), "".into()),
                _ => (
                    format!("a build has no block {kind:?}"),
                    did_you_mean(kind, BLOCKS.iter().chain(ATTRIBUTES).copied()),
                ),
            };
            self.complaints.push(evaluator.diagnostic(block, summary).with_detail(hint));
        }
    }
}

fn example(block: &str) -> &'static str {
    match block {
        "source" => "amazon-ebs.ubuntu",
        "provisioner" | "error-cleanup-provisioner" => "shell",
        _ => "manifest",
    }
}

/// A string of the build block itself; `None` when it is unknown or faulty.
pub fn text(expr: &Expr, what: &str, evaluator: &Evaluator<'_>, complaints: &mut Vec<Diagnostic>) -> Option<String> {
    let before = complaints.len();
    let value = evaluator.value_or_complain(expr, complaints);
    if value.is_unknown() {
        return None;
    }
    if value.is_null() {
        return Some(String::new());
    }
    let text = value.to_text().map(|text| text.to_string());
    if text.is_none() && complaints.len() == before {
        let summary = format!("{what} must be a string, this is {}", value.type_name());
        complaints.push(evaluator.diagnostic(expr, summary));
    }
    text
}

/// A source as a build block names it.
struct Reference<'f> {
    text: String,
    span: Span,
    inline: Option<Expanded<'f>>,
}

fn references<'f>(
    build: &Build<'f>,
    blocks: &[Expanded<'f>],
    evaluator: &Evaluator<'_>,
    complaints: &mut Vec<Diagnostic>,
) -> Vec<Reference<'f>> {
    let mut references = Vec::new();
    if let Some(expr) = build.attribute("sources") {
        for (text, span) in strings(expr, "sources", evaluator, complaints) {
            references.push(Reference { text, span, inline: None });
        }
    }
    for block in blocks.iter().filter(|block| &*block.kind == "source") {
        if let [label] = block.labels.as_slice() {
            references.push(Reference { text: label.text.to_string(), span: label.span, inline: Some(block.clone()) });
        }
    }
    references
}

/// A list of strings in a block's own attribute, each with its place. What is unknown is left out, and what only the
/// running build knows: that is complained about where all options are read.
pub fn strings(
    expr: &Expr,
    what: &str,
    evaluator: &Evaluator<'_>,
    complaints: &mut Vec<Diagnostic>,
) -> Vec<(String, Span)> {
    let value = evaluator.value_or_complain(expr, complaints);
    if matches!(value.kind(), crate::template::value::Kind::Unknown) || value.is_null() {
        return Vec::new();
    }
    let Some(items) = value.as_items() else {
        let summary = format!("{what} must be a list of strings, this is {}", value.type_name());
        complaints.push(evaluator.diagnostic(expr, summary));
        return Vec::new();
    };
    let written = match &expr.kind {
        ExprKind::Tuple(written) if written.len() == items.len() => Some(written),
        _ => None,
    };
    let mut texts = Vec::new();
    for (index, item) in items.iter().enumerate().filter(|(_, item)| !item.is_unknown()) {
        let span = written.map_or_else(|| expr.span(), |written| written[index].span);
        if item.is_late() {
            let summary = format!("{what} is needed before the build runs, and element {index} depends on build");
            complaints.push(evaluator.diagnostic(&span, summary).with_detail("write it out"));
        } else if let Some(text) = item.to_text() {
            texts.push((text.to_string(), span));
        } else {
            let summary = format!("{what} must be a list of strings, element {index} is {}", item.type_name());
            complaints.push(evaluator.diagnostic(&span, summary));
        }
    }
    texts
}

/// Type and name of a source as a build block names it. Of three parts the first can be anything, as in Packer
/// (`sourceRefFromString`).
pub(crate) fn split_reference(reference: &str) -> Option<(&str, &str)> {
    let (first, rest) = reference.split_once('.')?;
    let (kind, name) = rest.split_once('.').unwrap_or((first, rest));
    let names = [kind, name].iter().all(|part| super::syntax::lexer::is_identifier(part));
    names.then_some((kind, name))
}

/// What `packer inspect` tells of each build block.
pub fn inspected(
    plan: &Plan<'_, '_>,
    runtime: &Runtime<'_>,
    globals: &Globals,
    complaints: &mut Vec<Diagnostic>,
) -> Vec<InspectedBuild> {
    let mut builds = Vec::new();
    for (index, planned) in plan.blocks.iter().enumerate() {
        let mut inspected = InspectedBuild {
            name: planned.name.clone().unwrap_or_else(|| "<unknown>".to_owned()),
            description: planned.description.clone().unwrap_or_else(|| "<unknown>".to_owned()),
            sources: plan
                .builds
                .iter()
                .filter(|build| build.block == index)
                .map(|build| build.declared.clone())
                .collect(),
            provisioners: Vec::new(),
            post_processors: Vec::new(),
        };
        let evaluator = Evaluator::new(planned.build.file, runtime, globals);
        for block in &planned.blocks {
            match &*block.kind {
                "provisioner" => inspected.provisioners.extend(component(block, &evaluator)),
                "post-processor" => {
                    inspected.post_processors.extend(component(block, &evaluator).map(|one| vec![one]));
                }
                "post-processors" => {
                    let inner = dynamic::blocks(block.body, &block.names, &evaluator, complaints);
                    let chain = inner.iter().filter_map(|block| component(block, &evaluator)).collect();
                    inspected.post_processors.push(chain);
                }
                _ => {}
            }
        }
        builds.push(inspected);
    }
    builds
}

/// A component's type, with its name where it has one.
fn component(block: &Expanded<'_>, evaluator: &Evaluator<'_>) -> Option<String> {
    let kind = block.label(0)?;
    let name = block.body.attribute("name").and_then(|attribute| {
        let value = evaluator.with_names(&block.names).value(&attribute.value).ok()?;
        value.to_text().filter(|name| !name.is_empty())
    });
    Some(name.map_or_else(|| kind.to_owned(), |name| format!("{kind}.{name}")))
}
