//! The top-level blocks of all files of a template: what is declared, before anything is evaluated. `source`, `build` and
//! `hcp_packer_registry` may also be made by dynamic blocks, which [`Config::expand`] adds once their values are known.

mod packer_block;
mod variable;

use std::collections::BTreeSet;
use std::rc::Rc;

use indexmap::IndexMap;

use super::dynamic::{self, Expanded};
use super::eval::{Evaluator, Globals, Names};
use super::graph::body_references;
use super::parse::HclFile;
use super::syntax::ast::{Attribute, Block, Body, Expr, ExprKind, Ident, Item, Span, Spanned};
use super::syntax::lexer::is_identifier;
use super::walk::Reference;
pub use packer_block::Plugin;
pub use variable::{Validation, Variable};

use crate::domain::diagnostic::{Diagnostic, Hint, SourceLocation};
use crate::template::runtime::Runtime;
use crate::template::source::{SourceFile, did_you_mean};

#[derive(Debug)]
pub struct Local<'f> {
    pub file: &'f SourceFile,
    pub span: Span,
    pub expression: &'f Expr,
    pub sensitive: bool,
}

/// `data "type" "name" { … }`.
#[derive(Debug)]
pub struct Data<'f> {
    pub file: &'f SourceFile,
    pub kind: String,
    pub kind_span: Span,
    pub name: String,
    pub span: Span,
    pub body: &'f Body,
}

/// `source "type" "name" { … }`.
#[derive(Debug)]
pub struct Source<'f> {
    pub file: &'f SourceFile,
    pub at: SourceLocation,
    pub builder_type: String,
    pub block: Expanded<'f>,
}

/// `build { … }`, or `hcp_packer_registry { … }`.
#[derive(Debug)]
pub struct Located<'f> {
    pub file: &'f SourceFile,
    pub at: SourceLocation,
    pub block: Expanded<'f>,
}

impl<'f> Located<'f> {
    /// An attribute of the block itself.
    #[must_use]
    pub fn attribute(&self, name: &str) -> Option<&'f Expr> {
        self.block.body.attribute(name).map(|attribute| &attribute.value)
    }
}

pub type Build<'f> = Located<'f>;

/// Everything a template declares.
#[derive(Debug, Default)]
pub struct Config<'f> {
    pub variables: IndexMap<String, Variable<'f>>,
    pub locals: IndexMap<String, Local<'f>>,
    /// By `type.name`.
    pub data: IndexMap<String, Data<'f>>,
    /// By `type.name`.
    pub sources: IndexMap<String, Source<'f>>,
    pub builds: Vec<Build<'f>>,
    pub registries: Vec<Located<'f>>,
    pub plugins: IndexMap<String, Plugin>,
    /// What top-level dynamic blocks refer to.
    pub dynamic_references: BTreeSet<Reference>,
    /// Top-level dynamic blocks.
    dynamics: Vec<(&'f SourceFile, &'f Block)>,
    /// There are more sources than these: nobody knows their names yet, or why they can't be made was complained about.
    pub more_sources: bool,
    /// A block stands where it counts for nothing: then others are missing.
    pub misplaced: bool,
    pub complaints: Vec<Diagnostic>,
}

const TOP_LEVEL: &[&str] =
    &["packer", "source", "variables", "variable", "locals", "local", "data", "build", "hcp_packer_registry"];
/// What a top-level dynamic block can make: Packer reads the others before anything has a value.
const DYNAMIC: &[&str] = &["source", "build", "hcp_packer_registry"];

/// Reads the top-level blocks of a template's files.
#[must_use]
pub fn collect(files: &[HclFile]) -> Config<'_> {
    let mut config = Config::default();
    for file in files {
        let mut collector = Collector { file: &file.source, config: &mut config };
        for item in &file.body.items {
            match item {
                Item::Block(block) => collector.top_level(block),
                Item::Attribute(attribute) => {
                    let name = &attribute.name.name;
                    let hint = if TOP_LEVEL.contains(&&**name) {
                        Hint::from(format!("{name} is a block: {name} {{ … }}, without ="))
                    } else {
                        did_you_mean(name, TOP_LEVEL.iter().copied())
                    };
                    collector.complain(&attribute.name, format!("the attribute {name:?} can't stand here"), hint);
                }
            }
        }
    }
    config
}

impl Config<'_> {
    /// Adds what the top-level dynamic blocks make.
    pub fn expand(&mut self, runtime: &Runtime<'_>, globals: &Globals) {
        for (file, block) in std::mem::take(&mut self.dynamics) {
            let evaluator = Evaluator::new(file, runtime, globals);
            self.dynamic_references.extend(body_references(&block.body));
            let mut made = Vec::new();
            let names = Rc::new(Names::new());
            let complete = dynamic::expand(block, &names, &evaluator, &mut made, &mut self.complaints);
            let of_sources = block.labels.first().is_some_and(|label| &*label.text == "source");
            self.more_sources |= of_sources && !complete;
            let mut collector = Collector { file, config: self };
            for block in made {
                collector.declare(block);
            }
        }
    }
}

pub(super) struct Collector<'c, 'f> {
    file: &'f SourceFile,
    config: &'c mut Config<'f>,
}

impl<'f> Collector<'_, 'f> {
    fn place(&self, what: &impl Spanned) -> SourceLocation {
        self.file.location(what.span().start as usize)
    }

    fn complain(&mut self, at: &impl Spanned, summary: impl Into<String>, detail: impl Into<Hint>) {
        self.config.complaints.push(self.file.error(at.span(), summary).with_detail(detail));
    }

    fn top_level(&mut self, block: &'f Block) {
        let kind = &*block.kind.name;
        if kind == "dynamic" {
            return self.dynamic(block);
        }
        if DYNAMIC.contains(&kind) {
            return self.declare(Expanded::written(block, &Rc::new(Names::new())));
        }
        let labels: Vec<&str> = block.labels.iter().map(|label| &*label.text).collect();
        if !self.check_labels(kind, &block.kind, &labels, false) {
            return;
        }
        match kind {
            "packer" => self.packer(block),
            "variable" => self.variable(block),
            "variables" => self.variables(block),
            "locals" => self.locals(block),
            "local" => self.local(block),
            "data" => self.data(block),
            // Packer reads this block and makes no use of it.
            "communicator" => {}
            "provisioner" | "post-processor" | "post-processors" | "error-cleanup-provisioner" => {
                self.complain(&block.kind, format!("{kind} can't stand here"), "put it into a build block");
            }
            other => self.complain(
                &block.kind,
                format!("there is no block {other:?}"),
                did_you_mean(other, TOP_LEVEL.iter().copied()),
            ),
        }
    }

    /// Whether a block has the right labels; `made` says that a dynamic block has made it.
    fn check_labels(&mut self, kind: &str, at: &impl Spanned, labels: &[&str], made: bool) -> bool {
        let (count, example) = match kind {
            "source" => (2, "source \"amazon-ebs\" \"name\" { … }"),
            "data" => (2, "data \"amazon-ami\" \"name\" { … }"),
            "communicator" => (2, "communicator \"ssh\" \"name\" { … }"),
            "variable" => (1, "variable \"name\" { … }"),
            "local" => (1, "local \"name\" { … }"),
            "packer" | "variables" | "locals" | "build" | "hcp_packer_registry" => (0, "the block takes no labels"),
            _ => return true,
        };
        if labels.len() != count {
            let plural = if count == 1 { "label" } else { "labels" };
            let summary = format!("{kind} needs {count} {plural}, it has {}", labels.len());
            let made = made && kind == "source";
            self.complain(at, summary, if made { "write labels = [\"amazon-ebs\", \"name\"]" } else { example });
            return false;
        }
        // A source's type is checked against the builders that there are; names are what references are made of.
        for label in labels {
            if !is_identifier(label) {
                self.complain(
                    at,
                    format!("{label:?} can't be a name here"),
                    "a name begins with a letter and holds letters, digits, _ and - only",
                );
                return false;
            }
        }
        true
    }

    fn dynamic(&mut self, block: &'f Block) {
        match block.labels.first() {
            Some(kind) if !DYNAMIC.contains(&&*kind.text) => {
                let summary = format!("a dynamic block can't make {:?} blocks here", kind.text);
                self.complain(kind, summary, "at the top level it can make source and build blocks");
            }
            _ => self.config.dynamics.push((self.file, block)),
        }
    }

    /// Takes a block that may have been made by a dynamic one.
    fn declare(&mut self, block: Expanded<'f>) {
        let labels: Vec<&str> = block.labels.iter().map(|label| &*label.text).collect();
        if !self.check_labels(&block.kind, &block, &labels, block.made) {
            return;
        }
        let at = self.place(&block);
        let file = self.file;
        match &*block.kind {
            "build" => self.config.builds.push(Build { file, at, block }),
            "hcp_packer_registry" => {
                if let Some(first) = self.config.registries.first() {
                    let detail = format!("the first one is at {}", first.at);
                    return self.complain(&block, "a template has one hcp_packer_registry at most", detail);
                }
                self.config.registries.push(Located { file, at, block });
            }
            _ => {
                let builder_type = labels[0].to_owned();
                let name = labels.join(".");
                if let Some(first) = self.config.sources.get(&name) {
                    let detail = format!("the first time at {}", first.at);
                    return self.complain(&block, format!("the source {name:?} is declared twice"), detail);
                }
                self.config.sources.insert(name, Source { file, at, builder_type, block });
            }
        }
    }

    /// An attribute that must be a written-out string.
    fn literal(&mut self, attribute: &Attribute) -> Option<String> {
        let text = attribute.value.literal();
        if text.is_none() && !matches!(attribute.value.kind, ExprKind::Invalid) {
            let summary = format!("{} must be a plain string here", attribute.name.name);
            self.complain(&attribute.value, summary, "it is read before variables are");
        }
        text
    }

    fn literal_bool(&mut self, attribute: &Attribute) -> bool {
        match (&attribute.value.kind, attribute.value.literal().as_deref()) {
            (ExprKind::Bool(true), _) | (_, Some("true")) => true,
            (ExprKind::Bool(false) | ExprKind::Invalid, _) | (_, Some("false")) => false,
            _ => {
                let summary = format!("{} must be true or false", attribute.name.name);
                self.complain(&attribute.value, summary, "it is read before variables are");
                false
            }
        }
    }

    /// A name that is taken already.
    fn twice(&mut self, what: &str, name: &str, at: Span, first: &SourceLocation) {
        let detail = format!("the first time at {first}");
        self.complain(&at, format!("the {what} {name:?} is declared twice"), detail);
    }

    fn declare_local(&mut self, name: &str, local: Local<'f>) {
        if let Some(first) = self.config.locals.get(name) {
            let first = first.file.location(first.span.start as usize);
            return self.twice("local", name, local.span, &first);
        }
        self.config.locals.insert(name.to_owned(), local);
    }

    fn locals(&mut self, block: &'f Block) {
        for item in &block.body.items {
            match item {
                Item::Attribute(attribute) => {
                    let span = attribute.name.span;
                    let local = Local { file: self.file, span, expression: &attribute.value, sensitive: false };
                    self.declare_local(&attribute.name.name, local);
                }
                Item::Block(inner) => {
                    let detail = format!("write {} = {{ … }} for an object", inner.kind.name);
                    self.complain(&inner.kind, "locals holds NAME = value only", detail);
                }
            }
        }
    }

    fn local(&mut self, block: &'f Block) {
        let mut sensitive = false;
        for item in &block.body.items {
            let Ident { name, span } = item.name();
            match (item, &**name) {
                (Item::Attribute(_), "expression") => continue,
                (Item::Attribute(attribute), "sensitive") => {
                    sensitive = self.literal_bool(attribute);
                    continue;
                }
                _ => {}
            }
            let hint = did_you_mean(name, ["expression", "sensitive"]);
            let hint = if hint.text.is_empty() { "there are expression and sensitive".into() } else { hint };
            self.complain(span, format!("a local has no option {name:?}"), hint);
        }
        let Some(expression) = block.body.attribute("expression") else {
            return self.complain(&block.kind, "a local block needs expression = …", "");
        };
        let local = Local { file: self.file, span: block.kind.span, expression: &expression.value, sensitive };
        self.declare_local(&block.labels[0].text, local);
    }

    fn data(&mut self, block: &'f Block) {
        let [kind, name] = block.labels.as_slice() else {
            return;
        };
        let full = format!("{}.{}", kind.text, name.text);
        if let Some(first) = self.config.data.get(&full) {
            let first = first.file.location(first.span.start as usize);
            return self.twice("data source", &full, block.kind.span, &first);
        }
        let data = Data {
            file: self.file,
            kind: kind.text.to_string(),
            kind_span: kind.span,
            name: name.text.to_string(),
            span: block.kind.span,
            body: &block.body,
        };
        self.config.data.insert(full, data);
    }
}
