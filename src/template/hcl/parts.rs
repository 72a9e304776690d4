//! What of a build block, and of its source, applies to one build.

use indexmap::IndexMap;

use super::blocks::Config;
use super::dynamic::{self, Expanded};
use super::eval::{Evaluator, Globals};
use super::plan::{Plan, Planned, strings};
use super::syntax::ast::Item;
use crate::domain::diagnostic::Diagnostic;
use crate::template::assemble::{Component, Parts};
use crate::template::options::{Content, Options};
use crate::template::runtime::Runtime;
use crate::template::select::OnlyExcept;
use crate::template::value::{Late, Value};

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
    planned: &Planned<'_>,
    plan: &Plan<'_, '_>,
    config: &Config<'_>,
    runtime: &Runtime<'_>,
    globals: &Globals,
    complaints: &mut Vec<Diagnostic>,
) -> Parts {
    let declared = config.sources.get(&planned.declared);
    let block = &plan.blocks[planned.block];
    let mut globals = globals.clone();
    let source = [("name", &planned.source_name), ("type", &planned.builder_type)];
    let source = source.map(|(key, text)| (key.to_owned(), Value::string(text.as_str())));
    let source = declared.map_or(Value::UNKNOWN, |_| Value::object(source.into_iter().collect()));
    globals.insert("source".to_owned(), source);
    let builder = declared.map(|declared| {
        let evaluator = Evaluator::new(declared.file, runtime, &globals);
        let body = declared.block.body;
        let mut builder = evaluator.options(body, &declared.block.names, &[], declared.at.clone(), complaints);
        if let Some(inline) = &planned.inline {
            let evaluator = Evaluator::new(block.build.file, runtime, &globals);
            let options = evaluator.options(inline.body, &inline.names, &["name"], declared.at.clone(), complaints);
            check_twice(&builder, inline, &evaluator, complaints);
            merge(&mut builder, options);
        }
        builder
    });
    let mut globals = globals.clone();
    globals.insert("build".to_owned(), build_object(planned, block.name.as_deref(), builder.as_ref(), runtime));
    let evaluator = Evaluator::new(block.build.file, runtime, &globals);
    let mut reader = Reader { planned, evaluator, complaints };
    let mut provisioners = Vec::new();
    let mut error_cleanup = None;
    let mut post_processors = Vec::new();
    for block in &block.blocks {
        match &*block.kind {
            "provisioner" => provisioners.extend(reader.component(block)),
            "error-cleanup-provisioner" => error_cleanup = error_cleanup.or(reader.component(block)),
            "post-processor" => post_processors.extend(reader.component(block).map(|one| vec![one])),
            "post-processors" => post_processors.push(reader.chain(block)),
            _ => {}
        }
    }
    Parts {
        name: planned.name.clone(),
        source: planned.source.clone(),
        override_names: vec![planned.source_name.clone(), planned.source.clone()],
        builder_type: planned.builder_type.clone(),
        builder_at: declared.map_or(&block.build.at, |declared| &declared.at).clone(),
        builder,
        provisioners,
        error_cleanup,
        post_processors,
    }
}

/// An option that the source and the inline block set is an error, as in Packer: neither overrides the other.
fn check_twice(builder: &Options, inline: &Expanded<'_>, evaluator: &Evaluator<'_>, complaints: &mut Vec<Diagnostic>) {
    for attribute in inline.body.attributes() {
        let name = &*attribute.name.name;
        if let Some(first) = builder.attributes.iter().find(|first| first.key == name && name != "name") {
            let diagnostic = evaluator.diagnostic(&attribute.name, format!("{name} is set twice"));
            let detail = format!("the source sets it at {}; take it out there", first.key_at);
            complaints.push(diagnostic.with_detail(detail));
        }
    }
}

fn merge(builder: &mut Options, inline: Options) {
    for entry in inline.attributes {
        if !builder.attributes.iter().any(|first| first.key == entry.key) {
            builder.attributes.push(entry);
        }
    }
    builder.blocks.extend(inline.blocks);
}

/// `build.name` is the block's name, and empty without one. What the source says of the connection is known too. What
/// other builders than Amazon's offer is not known here, nor what a source that is not there would.
fn build_object(
    planned: &Planned<'_>,
    block_name: Option<&str>,
    builder: Option<&Options>,
    runtime: &Runtime<'_>,
) -> Value {
    let Some(builder) = builder else { return Value::UNKNOWN };
    if !planned.builder_type.starts_with("amazon-") && !matches!(planned.builder_type.as_str(), "null" | "file") {
        return Value::UNKNOWN;
    }
    let mut entries: IndexMap<String, Value> = LATE.iter().map(|name| ((*name).to_owned(), late(name))).collect();
    if planned.builder_type != "file" {
        entries.extend(connection(builder).into_iter().map(|(name, value)| (name.to_owned(), value)));
    }
    entries.insert("name".to_owned(), block_name.map_or(Value::UNKNOWN, Value::string));
    entries.insert("PackerRunUUID".to_owned(), Value::string(runtime.run_id.to_string()));
    Value::object(entries)
}

/// User and port are those of the options, where these hold no actions.
fn connection(builder: &Options) -> Vec<(&'static str, Value)> {
    let given = |name: &str| builder.attributes.iter().find(|entry| entry.key == name).map(|entry| &entry.node.content);
    if !matches!(given("communicator"), None | Some(Content::Null))
        && !matches!(given("communicator"), Some(Content::String(kind)) if kind == "ssh")
    {
        return Vec::new();
    }
    let mut known = vec![("ConnType", Value::string("ssh"))];
    if let Some(Content::String(user)) = given("ssh_username")
        && !user.is_empty()
        && !user.contains("{{")
    {
        known.push(("User", Value::string(user.as_str())));
    }
    match given("ssh_port") {
        None | Some(Content::Null) => known.push(("Port", Value::number(22_i64))),
        Some(Content::Number(port)) => known.push(("Port", Value::number(*port))),
        _ => {}
    }
    known
}

/// Text that the build puts in while it runs.
fn late(name: &str) -> Value {
    Value::string(format!("{{{{ build `{name}` }}}}")).with_late(Late::Text)
}

struct Reader<'r, 'f> {
    planned: &'r Planned<'f>,
    evaluator: Evaluator<'r>,
    complaints: &'r mut Vec<Diagnostic>,
}

impl Reader<'_, '_> {
    fn only_except(&mut self, block: &Expanded<'_>) -> OnlyExcept {
        let evaluator = self.evaluator.with_names(&block.names);
        let mut list = |name: &str| -> Vec<String> {
            let Some(attribute) = block.body.attribute(name) else {
                return Vec::new();
            };
            strings(&attribute.value, name, &evaluator, self.complaints).into_iter().map(|(text, _)| text).collect()
        };
        let result = OnlyExcept { only: list("only"), except: list("except") };
        if !result.only.is_empty() && !result.except.is_empty() {
            self.complaints.push(evaluator.diagnostic(block, "only one of only and except can be given"));
        }
        result
    }

    /// A provisioner or post-processor; `None` when it does not apply.
    fn component(&mut self, block: &Expanded<'_>) -> Option<Component> {
        let kind = block.label(0)?.to_owned();
        if !self.planned.takes(&self.only_except(block)) {
            return None;
        }
        let at = self.evaluator.place(block);
        let options = self.evaluator.options(block.body, &block.names, &[], at.clone(), self.complaints);
        Some(Component { kind, at, options: options.open_if(block.open) })
    }

    fn chain(&mut self, block: &Expanded<'_>) -> Vec<Component> {
        let mut chain = Vec::new();
        for item in &block.body.items {
            if let Item::Attribute(attribute) = item {
                self.misplaced(&attribute.name);
            }
        }
        for inner in dynamic::blocks(block.body, &block.names, &self.evaluator, self.complaints) {
            if &*inner.kind == "post-processor" && inner.labels.len() == 1 {
                chain.extend(self.component(&inner));
            } else {
                self.misplaced(&inner);
            }
        }
        chain
    }

    fn misplaced(&mut self, at: &impl super::syntax::ast::Spanned) {
        let summary = "post-processors holds post-processor \"TYPE\" { … } only";
        self.complaints.push(self.evaluator.diagnostic(at, summary));
    }
}
