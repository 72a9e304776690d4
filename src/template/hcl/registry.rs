//! `hcp_packer_registry { … }`.

use indexmap::IndexMap;

use super::blocks::{Config, Located};
use super::dynamic::Expanded;
use super::eval::{Evaluator, Globals};
use super::plan::{Plan, strings, text};
use super::syntax::ast::{Expr, Ident, Item};
use crate::domain::config::registry::RegistryConfig;
use crate::domain::diagnostic::Diagnostic;
use crate::template::runtime::Runtime;
use crate::template::source::{SourceFile, did_you_mean};
use crate::template::types::{Type, convert};

const OPTIONS: &[&str] = &["bucket_name", "description", "bucket_labels", "labels", "build_labels", "channels"];

/// The registry block that counts: the template's own, or the one that its build blocks have.
pub fn evaluate(
    config: &Config<'_>,
    plan: &Plan<'_, '_>,
    runtime: &Runtime<'_>,
    globals: &Globals,
    complaints: &mut Vec<Diagnostic>,
) -> Option<RegistryConfig> {
    let mut found: Vec<(&SourceFile, &Expanded<'_>)> = Vec::new();
    for Located { file, block, .. } in &config.registries {
        found.push((file, block));
    }
    for planned in &plan.blocks {
        let own = planned.blocks.iter().find(|block| &*block.kind == "hcp_packer_registry");
        found.extend(own.map(|block| (planned.build.file, block)));
    }
    let mut result: Option<RegistryConfig> = None;
    for (file, block) in found {
        let evaluator = Evaluator::new(file, runtime, globals);
        let registry = read(&evaluator, block, complaints);
        match &result {
            None => result = Some(registry),
            Some(first) => {
                let same = RegistryConfig { at: first.at.clone(), ..registry } == *first;
                if !same {
                    let diagnostic = file.error(block.at, "the template names two registries");
                    let detail = format!("the other is at {}; one hcp_packer_registry counts for a run", first.at);
                    complaints.push(diagnostic.with_detail(detail));
                }
            }
        }
    }
    result
}

fn read(evaluator: &Evaluator<'_>, block: &Expanded<'_>, complaints: &mut Vec<Diagnostic>) -> RegistryConfig {
    let evaluator = evaluator.with_names(&block.names);
    for item in &block.body.items {
        let Ident { name, span } = item.name();
        if matches!(item, Item::Block(_)) || !OPTIONS.contains(&&**name) {
            let hint = did_you_mean(name, OPTIONS.iter().copied());
            let summary = format!("hcp_packer_registry has no option {name:?}");
            complaints.push(evaluator.diagnostic(span, summary).with_detail(hint));
        }
    }
    let attribute = |name: &str| block.body.attribute(name).map(|attribute| &attribute.value);
    let mut string =
        |name: &str| attribute(name).and_then(|expr| Some((text(expr, name, &evaluator, complaints)?, expr)));
    let (bucket, description) = (string("bucket_name"), string("description"));
    if let Some((name, expr)) = &bucket
        && !name.is_empty()
        && !is_bucket_name(name)
    {
        let diagnostic = evaluator.diagnostic(*expr, format!("{name:?} can't be a bucket's name"));
        complaints.push(diagnostic.with_detail("it has 3 to 36 letters, digits and hyphens"));
    }
    if let Some((description, expr)) = &description
        && description.len() > 255
    {
        complaints.push(evaluator.diagnostic(*expr, "description must have 255 characters at most"));
    }
    let labels = attribute("labels");
    if let (Some(labels), Some(_)) = (labels, attribute("bucket_labels")) {
        let diagnostic = evaluator.diagnostic(labels, "labels is the old name of bucket_labels, which is given too");
        complaints.push(diagnostic.with_detail("leave labels out"));
    }
    let mut map = |name: &str| attribute(name).map(|expr| string_map(expr, name, &evaluator, complaints));
    let bucket_labels = map("bucket_labels").or_else(|| map("labels")).unwrap_or_default();
    let build_labels = map("build_labels").unwrap_or_default();
    let channels = attribute("channels").map(|expr| strings(expr, "channels", &evaluator, complaints));
    let channels: Vec<String> = channels.unwrap_or_default().into_iter().map(|(channel, _)| channel).collect();
    RegistryConfig {
        bucket_name: bucket.map(|(name, _)| name).filter(|name| !name.is_empty()),
        description: description.map(|(text, _)| text).unwrap_or_default(),
        bucket_labels,
        build_labels,
        channels,
        at: evaluator.place(block),
    }
}

fn is_bucket_name(name: &str) -> bool {
    (3..=36).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

fn string_map(
    expr: &Expr,
    name: &str,
    evaluator: &Evaluator<'_>,
    complaints: &mut Vec<Diagnostic>,
) -> IndexMap<String, String> {
    let value = evaluator.value_or_complain(expr, complaints);
    match convert(&value, &Type::Map(Box::new(Type::String))) {
        Ok(value) => {
            let entries = value.as_mapping().map(crate::template::value::Mapping::sorted).unwrap_or_default();
            entries.into_iter().filter_map(|(key, text)| Some((key.clone(), text.as_str()?.to_owned()))).collect()
        }
        Err(message) => {
            complaints.push(evaluator.diagnostic(expr, format!("{name}: {message}")));
            IndexMap::new()
        }
    }
}
