//! `build` blocks: which sources they build, and what of them applies to each.

use hcl_edit::prelude::*;
use hcl_edit::structure::{Block, Body, Structure};
use indexmap::IndexMap;

use super::blocks::{Build, Config};
use super::eval::{Evaluator, Globals};
use crate::domain::diagnostic::{Diagnostic, SourceLocation};
use crate::template::assemble::{Component, Parts};
use crate::template::options::{Content, Entry, Node, Options};
use crate::template::packer;
use crate::template::runtime::Runtime;
use crate::template::select::OnlyExcept;
use crate::template::source::did_you_mean;
use crate::template::value::Value;

/// One source of a build block.
#[derive(Debug)]
pub struct Planned<'c, 'f> {
    /// `web.amazon-ebs.ubuntu`.
    pub name: String,
    /// `amazon-ebs.ubuntu`.
    pub source: String,
    pub builder_type: String,
    pub source_name: String,
    pub build: &'c Build<'f>,
    /// What an inline `source` block adds.
    pub inline: Option<&'f Body>,
}

/// Options of a build block itself.
const ATTRIBUTES: &[&str] = &["name", "description", "sources"];
const BLOCKS: &[&str] = &["source", "provisioner", "error-cleanup-provisioner", "post-processor", "post-processors"];

/// Lists what a template can build, without evaluating the blocks inside.
pub fn plan<'c, 'f>(
    config: &'c Config<'f>,
    runtime: &Runtime<'_>,
    globals: &Globals,
    complaints: &mut Vec<Diagnostic>,
) -> Vec<Planned<'c, 'f>> {
    let mut planned: Vec<Planned<'c, 'f>> = Vec::new();
    for build in &config.builds {
        let evaluator = Evaluator::new(build.file, runtime, globals);
        check_structure(build, &evaluator, complaints);
        let build_name = build.name.map(|expr| text(expr, "name", &evaluator, complaints));
        let before = planned.len();
        let complained = complaints.len();
        for (reference, at, inline) in references(build, &evaluator, complaints) {
            let Some((builder_type, source_name)) = split_reference(&reference) else {
                let diagnostic = Diagnostic::error(format!("{reference:?} is no source"))
                    .with_detail("write \"source.TYPE.NAME\", such as \"source.amazon-ebs.ubuntu\"");
                complaints.push(diagnostic.at(Some(at)));
                continue;
            };
            let declared = format!("{builder_type}.{source_name}");
            if !config.sources.contains_key(&declared) {
                let hint = did_you_mean(&declared, config.sources.keys().map(String::as_str));
                let diagnostic = Diagnostic::error(format!("there is no source {declared:?}")).with_detail(hint);
                complaints.push(diagnostic.at(Some(at)));
                continue;
            }
            let local_name = inline.and_then(|body| inline_name(body, &evaluator, complaints));
            let source_name = local_name.unwrap_or_else(|| source_name.to_owned());
            let source = format!("{builder_type}.{source_name}");
            let name = match &build_name {
                Some(Some(name)) => format!("{name}.{source}"),
                // A name that is not known yet can't be told apart from others.
                Some(None) => format!("….{source}"),
                None => source.clone(),
            };
            if build_name != Some(None) && planned.iter().any(|other| other.name == name) {
                let diagnostic = Diagnostic::error(format!("two builds have the name {name:?}"))
                    .with_detail("give the build block a name, or the source block in it");
                complaints.push(diagnostic.at(Some(at)));
                continue;
            }
            let builder_type = builder_type.to_owned();
            planned.push(Planned { name, source, builder_type, source_name, build, inline });
        }
        if planned.len() == before && complaints.len() == complained {
            let diagnostic = Diagnostic::error("the build block names no source")
                .with_detail("write sources = [\"source.TYPE.NAME\"]");
            complaints.push(diagnostic.at(Some(build.at.clone())));
        }
    }
    planned
}

/// A string of the build block itself; `None` when it is unknown or faulty.
pub fn text(
    expr: &hcl_edit::expr::Expression,
    what: &str,
    evaluator: &Evaluator<'_>,
    complaints: &mut Vec<Diagnostic>,
) -> Option<String> {
    match evaluator.value(expr) {
        Ok(value) if value.is_unknown() => None,
        Ok(value) => {
            let text = value.to_text().map(|text| text.to_string());
            if text.is_none() {
                let summary = format!("{what} must be a string, this is {}", value.type_name());
                complaints.push(Diagnostic::error(summary).at(Some(evaluator.place(expr))));
            }
            text
        }
        Err(fault) => {
            complaints.push(*fault);
            None
        }
    }
}

/// The first description that a build block gives.
pub fn description(
    config: &Config<'_>,
    runtime: &Runtime<'_>,
    globals: &Globals,
    complaints: &mut Vec<Diagnostic>,
) -> Option<String> {
    let (build, expr) = config.builds.iter().find_map(|build| build.description.map(|expr| (build, expr)))?;
    text(expr, "description", &Evaluator::new(build.file, runtime, globals), complaints)
}

fn check_structure(build: &Build<'_>, evaluator: &Evaluator<'_>, complaints: &mut Vec<Diagnostic>) {
    let mut cleanups = 0;
    for structure in build.body {
        let diagnostic = match structure {
            Structure::Attribute(attribute) => {
                let name = attribute.key.as_str();
                if ATTRIBUTES.contains(&name) {
                    continue;
                }
                let hint = did_you_mean(name, ATTRIBUTES.iter().chain(BLOCKS).copied());
                Diagnostic::error(format!("a build has no option {name:?}"))
                    .with_detail(hint)
                    .at(Some(evaluator.place(&attribute.key)))
            }
            Structure::Block(block) => {
                let name = block.ident.as_str();
                let at = Some(evaluator.place(&block.ident));
                match name {
                    "error-cleanup-provisioner" if block.labels.len() == 1 => {
                        cleanups += 1;
                        if cleanups == 1 {
                            continue;
                        }
                        Diagnostic::error("a build has one error-cleanup-provisioner at most")
                            .with_detail("put what it does into one script")
                            .at(at)
                    }
                    "source" | "provisioner" | "post-processor" if block.labels.len() == 1 => continue,
                    "post-processors" if block.labels.is_empty() => continue,
                    "source" | "provisioner" | "error-cleanup-provisioner" | "post-processor" => {
                        Diagnostic::error(format!("{name} needs one label, it has {}", block.labels.len()))
                            .with_detail(format!("such as {name} \"{}\" {{ … }}", example(name)))
                            .at(at)
                    }
                    "post-processors" => Diagnostic::error("post-processors takes no label").at(at),
                    "hcp_packer_registry" | "dynamic" => {
                        Diagnostic::error(format!("{name} is not supported yet")).at(at)
                    }
                    _ => Diagnostic::error(format!("a build has no block {name:?}"))
                        .with_detail(did_you_mean(name, BLOCKS.iter().chain(ATTRIBUTES).copied()))
                        .at(at),
                }
            }
        };
        complaints.push(diagnostic);
    }
}

fn example(block: &str) -> &'static str {
    match block {
        "source" => "amazon-ebs.ubuntu",
        "provisioner" | "error-cleanup-provisioner" => "shell",
        _ => "manifest",
    }
}

type Reference<'f> = (String, SourceLocation, Option<&'f Body>);

fn references<'f>(
    build: &Build<'f>,
    evaluator: &Evaluator<'_>,
    complaints: &mut Vec<Diagnostic>,
) -> Vec<Reference<'f>> {
    let mut references = Vec::new();
    if let Some(attribute) = build.body.get_attribute("sources") {
        for (name, at) in strings(&attribute.value, "sources", evaluator, complaints) {
            references.push((name, at, None));
        }
    }
    for block in build.body.get_blocks("source") {
        if let Some(label) = block.labels.first() {
            references.push((label.as_str().to_owned(), evaluator.place(label), Some(&block.body)));
        }
    }
    references
}

/// A list of strings in a block's own attribute.
fn strings(
    expr: &hcl_edit::expr::Expression,
    what: &str,
    evaluator: &Evaluator<'_>,
    complaints: &mut Vec<Diagnostic>,
) -> Vec<(String, SourceLocation)> {
    let value = match evaluator.value(expr) {
        Ok(value) => value,
        Err(fault) => {
            complaints.push(*fault);
            return Vec::new();
        }
    };
    if value.is_unknown() || value.is_null() {
        return Vec::new();
    }
    let texts: Option<Vec<String>> =
        value.as_items().and_then(|items| items.iter().map(|item| item.as_str().map(str::to_owned)).collect());
    let Some(texts) = texts else {
        let diagnostic = Diagnostic::error(format!("{what} must be a list of strings"));
        complaints.push(diagnostic.at(Some(evaluator.place(expr))));
        return Vec::new();
    };
    let written = expr.as_array();
    let place = |index: usize| {
        written.and_then(|array| array.get(index)).map_or_else(|| evaluator.place(expr), |item| evaluator.place(item))
    };
    texts.into_iter().enumerate().map(|(index, text)| (text, place(index))).collect()
}

fn split_reference(reference: &str) -> Option<(&str, &str)> {
    let rest = reference.strip_prefix("source.").unwrap_or(reference);
    let (kind, name) = rest.split_once('.')?;
    (!kind.is_empty() && !name.is_empty() && !name.contains('.')).then_some((kind, name))
}

fn inline_name(body: &Body, evaluator: &Evaluator<'_>, complaints: &mut Vec<Diagnostic>) -> Option<String> {
    let attribute = body.get_attribute("name")?;
    match evaluator.value(&attribute.value) {
        Ok(value) => value.as_str().map(str::to_owned),
        Err(fault) => {
            complaints.push(*fault);
            None
        }
    }
}

/// What `build.…` offers, besides the name: text that is put in while the build runs.
const LATE: &[&str] = &[
    "ID",
    "Host",
    "Port",
    "User",
    "Password",
    "ConnType",
    "PackerHTTPPort",
    "PackerHTTPIP",
    "PackerHTTPAddr",
    "SSHPublicKey",
    "SSHPrivateKey",
    "SSHPrivateKeyFile",
    "SSHAgentAuth",
    "WinRMPassword",
    "SourceAMI",
    "SourceAMIName",
    "SourceAMICreationDate",
    "SourceAMIOwner",
    "SourceAMIOwnerName",
    "BuildRegion",
];

/// Evaluates everything that applies to one build.
pub fn parts(
    planned: &Planned<'_, '_>,
    config: &Config<'_>,
    runtime: &Runtime<'_>,
    globals: &Globals,
    complaints: &mut Vec<Diagnostic>,
) -> Option<Parts> {
    let declared = match planned.inline {
        None => config.sources.get(&planned.source),
        Some(_) => inline_target(planned, config),
    }?;
    let mut globals = globals.clone();
    let source = IndexMap::from([
        ("name".to_owned(), Value::string(planned.source_name.as_str())),
        ("type".to_owned(), Value::string(planned.builder_type.as_str())),
    ]);
    globals.insert("source".to_owned(), Value::object(source));
    let source_evaluator = Evaluator::new(declared.file, runtime, &globals);
    let mut builder = Options {
        language: crate::template::options::Language::Hcl2,
        at: declared.at.clone(),
        attributes: Vec::new(),
        blocks: Vec::new(),
    };
    let known = packer::BUILT_IN_BUILDERS.contains(&planned.builder_type.as_str());
    if known {
        builder = source_evaluator.options(declared.body, declared.at.clone(), complaints);
    }
    let evaluator = Evaluator::new(planned.build.file, runtime, &globals);
    if let Some(inline) = planned.inline.filter(|_| known) {
        merge(&mut builder, evaluator.options(inline, declared.at.clone(), complaints), complaints);
    }
    let mut globals = globals.clone();
    globals.insert("build".to_owned(), build_object(planned, runtime));
    let evaluator = Evaluator::new(planned.build.file, runtime, &globals);
    let mut provisioners = Vec::new();
    let mut error_cleanup = None;
    let mut post_processors = Vec::new();
    for block in planned.build.body.blocks() {
        match block.ident.as_str() {
            "provisioner" => provisioners.extend(component(block, planned, &evaluator, complaints)),
            "error-cleanup-provisioner" => {
                error_cleanup = error_cleanup.or(component(block, planned, &evaluator, complaints));
            }
            "post-processor" => {
                post_processors.extend(component(block, planned, &evaluator, complaints).map(|one| vec![one]));
            }
            "post-processors" => {
                post_processors.push(chain(block, planned, &evaluator, complaints));
            }
            _ => {}
        }
    }
    Some(Parts {
        name: planned.name.clone(),
        source: planned.source.clone(),
        override_names: vec![planned.source_name.clone(), planned.source.clone()],
        builder_type: planned.builder_type.clone(),
        builder_at: declared.at.clone(),
        builder,
        provisioners,
        error_cleanup,
        post_processors,
    })
}

/// The top-level source behind an inline block, whose own name may differ.
fn inline_target<'c, 'f>(planned: &Planned<'_, '_>, config: &'c Config<'f>) -> Option<&'c super::blocks::Source<'f>> {
    let inline = planned.inline?;
    let block = planned.build.body.get_blocks("source").find(|block| std::ptr::eq(&raw const block.body, inline))?;
    let (kind, name) = split_reference(block.labels.first()?.as_str())?;
    config.sources.get(&format!("{kind}.{name}"))
}

/// Adds the options of an inline `source` block. Packer merges the two bodies, and an option in both is an error.
fn merge(builder: &mut Options, inline: Options, complaints: &mut Vec<Diagnostic>) {
    for entry in inline.attributes {
        if entry.key == "name" {
            continue;
        }
        if let Some(first) = builder.attributes.iter().find(|first| first.key == entry.key) {
            let diagnostic = Diagnostic::error(format!("{} is set twice", entry.key))
                .with_detail(format!("the source sets it at {}; take it out there", first.key_at));
            complaints.push(diagnostic.at(Some(entry.key_at)));
            continue;
        }
        builder.attributes.push(entry);
    }
    builder.blocks.extend(inline.blocks);
}

fn build_object(planned: &Planned<'_, '_>, runtime: &Runtime<'_>) -> Value {
    let mut entries: IndexMap<String, Value> =
        LATE.iter().map(|name| ((*name).to_owned(), Value::string(format!("{{{{ build `{name}` }}}}")))).collect();
    entries.insert("name".to_owned(), Value::string(planned.source_name.as_str()));
    entries.insert("PackerRunUUID".to_owned(), Value::string(runtime.run_id.to_string()));
    Value::object(entries)
}

fn only_except(block: &Block, evaluator: &Evaluator<'_>, complaints: &mut Vec<Diagnostic>) -> OnlyExcept {
    let mut list = |name: &str| -> Vec<String> {
        let Some(attribute) = block.body.get_attribute(name) else { return Vec::new() };
        strings(&attribute.value, name, evaluator, complaints).into_iter().map(|(text, _)| text).collect()
    };
    let result = OnlyExcept { only: list("only"), except: list("except") };
    if !result.only.is_empty() && !result.except.is_empty() {
        let diagnostic = Diagnostic::error("only one of only and except can be given");
        complaints.push(diagnostic.at(Some(evaluator.place(&block.ident))));
    }
    result
}

fn component(
    block: &Block,
    planned: &Planned<'_, '_>,
    evaluator: &Evaluator<'_>,
    complaints: &mut Vec<Diagnostic>,
) -> Option<Component> {
    let kind = block.labels.first()?.as_str().to_owned();
    if !only_except(block, evaluator, complaints).applies(&[&planned.source, &planned.name]) {
        return None;
    }
    let at = evaluator.place(&block.ident);
    let supported = matches!(kind.as_str(), "shell" | "file" | "breakpoint" | "manifest");
    let options = if supported {
        evaluator.options(&block.body, at.clone(), complaints)
    } else {
        // Whether it is in the way is decided by its type and name alone.
        let name = block.body.get_attribute("name").and_then(|attribute| evaluator.value(&attribute.value).ok());
        let attributes = name.map(|value| Entry {
            key: "name".to_owned(),
            key_at: at.clone(),
            node: Node {
                at: at.clone(),
                content: value.as_str().map_or(Content::Null, |name| Content::String(name.to_owned())),
            },
        });
        Options {
            language: crate::template::options::Language::Hcl2,
            at: at.clone(),
            attributes: attributes.into_iter().collect(),
            blocks: Vec::new(),
        }
    };
    Some(Component { kind, at, options })
}

fn chain(
    block: &Block,
    planned: &Planned<'_, '_>,
    evaluator: &Evaluator<'_>,
    complaints: &mut Vec<Diagnostic>,
) -> Vec<Component> {
    let mut chain = Vec::new();
    for structure in &block.body {
        match structure {
            Structure::Block(inner) if inner.has_ident("post-processor") && inner.labels.len() == 1 => {
                chain.extend(component(inner, planned, evaluator, complaints));
            }
            other => {
                let at = evaluator.file.location(other.span().map_or(0, |span| span.start));
                let diagnostic = Diagnostic::error("post-processors holds post-processor \"TYPE\" { … } only");
                complaints.push(diagnostic.at(Some(at)));
            }
        }
    }
    chain
}
