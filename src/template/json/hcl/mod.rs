//! HCL2 in JSON syntax, `*.pkr.json`: read into the tree of the native syntax, after HCL's JSON specification
//! (hashicorp/hcl, json/spec.md). JSON does not tell blocks from attributes, so Packer's blocks are known by name
//! ([`schema`]); strings are templates with `${…}`.

mod expression;
mod schema;
mod shift;

use std::collections::HashMap;
use std::sync::Arc;

use super::ranges::Cursor;
use super::tree::{self, Member, Repeats, Tree, TreeKind};
use crate::domain::diagnostic::{Diagnostic, Hint};
use crate::template::hcl::syntax::ast::{Attribute, Block, Body, Ident, Item, Label, Span};
use crate::template::source::SourceFile;
use expression::Expressions;
pub use schema::is_component_block;
use schema::{BlockSchema, Inside};

/// Reads a file. Where there are faults, the body holds what could be read.
#[must_use]
pub fn parse_file(source: &SourceFile) -> (Body, Vec<Diagnostic>) {
    let (tree, mut faults) = tree::read(source, Repeats::Kept);
    let Some(tree) = tree else { return (Body::default(), faults) };
    let mut reader = Reader { source, expressions: Expressions::new(source), found: Vec::new() };
    let body = reader.body(&tree, Inside::Root, "a template");
    let mut cursor = Cursor::new(source);
    let mut found = reader.found;
    found.sort_by_key(|fault| fault.span.start);
    faults.extend(found.into_iter().map(|Fault { span, summary, hint }| {
        let span = tree::Span { start: span.start as usize, end: span.end as usize };
        let (at, end) = cursor.range(span);
        Diagnostic::error(summary).with_detail(hint).at(Some(at)).until(Some(end))
    }));
    faults.extend(reader.expressions.faults);
    faults.sort_by(|a, b| a.at.cmp(&b.at));
    (body, faults)
}

struct Fault {
    span: Span,
    summary: String,
    hint: Hint,
}

struct Reader<'s> {
    source: &'s SourceFile,
    expressions: Expressions<'s>,
    found: Vec<Fault>,
}

/// A range of the file in the tree's measure; files of 4 GiB don't get here.
fn span(span: tree::Span) -> Span {
    let offset = |offset: usize| u32::try_from(offset).unwrap_or(u32::MAX);
    Span { start: offset(span.start), end: offset(span.end) }
}

fn ident(member: &Member) -> Ident {
    Ident { name: Arc::from(member.key.as_str()), span: span(member.key_span) }
}

impl Reader<'_> {
    fn fault(&mut self, at: Span, summary: impl Into<String>, hint: impl Into<Hint>) {
        self.found.push(Fault { span: at, summary: summary.into(), hint: hint.into() });
    }

    /// The members of an object, or of all objects of a list.
    fn members<'t>(&mut self, tree: &'t Tree, what: &str) -> Vec<&'t Member> {
        let mut members = Vec::new();
        let parts: Vec<&Tree> = match &tree.kind {
            TreeKind::List(items) => items.iter().collect(),
            TreeKind::Null | TreeKind::Unknown => Vec::new(),
            _ => vec![tree],
        };
        for part in parts {
            match &part.kind {
                TreeKind::Object(own) => members.extend(own),
                TreeKind::Unknown => {}
                _ => self.fault(span(part.span), format!("{what} must be an object here"), "write { … }"),
            }
        }
        members
    }

    fn body(&mut self, tree: &Tree, inside: Inside, what: &str) -> Body {
        let mut items = Vec::new();
        let mut set: HashMap<&str, Span> = HashMap::new();
        for member in self.members(tree, what) {
            // HCL's comment.
            if member.key == "//" {
                continue;
            }
            if let Some(block) = inside.block(member) {
                self.blocks(&block, member, &member.value, &[], &mut items);
                continue;
            }
            if let Some(first) = set.get(member.key.as_str()) {
                let first = self.source.location(first.start as usize);
                let hint = format!("the first is at {first}; take one of the two out");
                self.fault(span(member.key_span), format!("{:?} is set twice", member.key), hint);
                continue;
            }
            set.insert(&member.key, span(member.key_span));
            let value = if inside.is_code(&member.key) {
                self.expressions.code(&member.value)
            } else {
                self.expressions.value(&member.value)
            };
            let whole = span(member.key_span).to(span(member.value.span));
            items.push(Item::Attribute(Attribute { name: ident(member), value, span: whole }));
        }
        Body { items, span: span(tree.span) }
    }

    /// Reads `kind: { label: { label: { … } } }`; every level may be a list as well.
    fn blocks(&mut self, schema: &BlockSchema, kind: &Member, tree: &Tree, labels: &[Label], into: &mut Vec<Item>) {
        if labels.len() < schema.labels {
            let label = schema.label_name(labels.len());
            let told = self.found.len();
            let members = self.members(tree, &format!("what holds each {} by its {label}", schema.kind));
            let nothing = members.is_empty() && !matches!(tree.kind, TreeKind::Null | TreeKind::Unknown);
            if nothing && self.found.len() == told {
                let hint = format!("write {:?}: {{ \"{}\": {{ … }} }}", schema.kind, label.to_uppercase());
                self.fault(span(tree.span), format!("the {label} of a {} is missing here", schema.kind), hint);
            }
            for member in members.into_iter().filter(|member| member.key != "//") {
                let label = Label { text: Arc::from(member.key.as_str()), span: span(member.key_span) };
                let labels: Vec<Label> = labels.iter().cloned().chain([label]).collect();
                self.blocks(schema, kind, &member.value, &labels, into);
            }
            return;
        }
        let bodies: Vec<&Tree> = match &tree.kind {
            TreeKind::List(items) => items.iter().collect(),
            TreeKind::Null | TreeKind::Unknown => Vec::new(),
            _ => vec![tree],
        };
        for tree in bodies {
            let inside = schema.inside(labels.first().map(|label| &*label.text));
            let body = self.body(tree, inside, &format!("a {} block", schema.kind));
            let whole = span(kind.key_span).to(span(tree.span));
            // Many blocks may share the word; the last label is the block's own.
            let own = labels.last().map_or(span(kind.key_span), |label| label.span);
            let kind = Ident { name: Arc::from(kind.key.as_str()), span: own };
            into.push(Item::Block(Block { kind, labels: labels.to_vec(), body, span: whole }));
        }
    }
}

#[cfg(test)]
mod tests;
