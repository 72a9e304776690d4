//! From an HCL block to options: attributes evaluated, with the place of each element where the expression shows it.

use hcl_edit::expr::{Expression, ObjectKey};
use hcl_edit::prelude::*;
use hcl_edit::structure::{Block, Body, Structure};

use super::eval::Evaluator;
use crate::domain::diagnostic::{Diagnostic, SourceLocation};
use crate::template::options::{Content, Entry, Language, Node, Options};
use crate::template::value::{Kind, Value};

impl Evaluator<'_> {
    /// Where something of this file stands.
    pub fn place(&self, what: &impl Span) -> SourceLocation {
        self.file.location(what.span().map_or(0, |span| span.start))
    }

    /// Evaluates a block's body. Attributes that fail are unknown, and their faults are added to `complaints`.
    pub fn options(&self, body: &Body, at: SourceLocation, complaints: &mut Vec<Diagnostic>) -> Options {
        let mut options = Options { language: Language::Hcl2, at, attributes: Vec::new(), blocks: Vec::new() };
        for structure in body {
            match structure {
                Structure::Attribute(attribute) => {
                    let node = match self.value(&attribute.value) {
                        Ok(value) => self.node(&attribute.value, &value),
                        Err(fault) => {
                            complaints.push(*fault);
                            Node { at: self.place(&attribute.value), content: Content::Unknown }
                        }
                    };
                    options.attributes.push(Entry {
                        key: attribute.key.as_str().to_owned(),
                        key_at: self.place(&attribute.key),
                        node,
                    });
                }
                Structure::Block(block) => self.nested(block, &mut options, complaints),
            }
        }
        options
    }

    fn nested(&self, block: &Block, options: &mut Options, complaints: &mut Vec<Diagnostic>) {
        let at = self.place(&block.ident);
        if block.ident.as_str() == "dynamic" {
            let diagnostic = Diagnostic::error("dynamic blocks are not supported yet");
            complaints.push(diagnostic.with_detail("write the blocks out").at(Some(at)));
            return;
        }
        if let Some(label) = block.labels.first() {
            let summary = format!("the block {} takes no label here", block.ident.as_str());
            complaints.push(Diagnostic::error(summary).at(Some(self.place(label))));
        }
        let inner = self.options(&block.body, at, complaints);
        options.blocks.push((block.ident.as_str().to_owned(), inner));
    }

    /// Gives the parts of a value the places of the expressions that made them, as far as those are written out.
    fn node(&self, expr: &Expression, value: &Value) -> Node {
        let at = self.place(expr);
        let content = match (expr, value.kind()) {
            (Expression::Parenthesis(inner), _) => return self.node(inner.inner(), value),
            (Expression::Array(array), Kind::Sequence(sequence)) if array.len() == sequence.items.len() => {
                Content::List(array.iter().zip(&sequence.items).map(|(expr, item)| self.node(expr, item)).collect())
            }
            (Expression::Object(object), Kind::Mapping(mapping)) => {
                let mut entries = Vec::new();
                for (name, item) in &mapping.entries {
                    // A key that is computed has no place of its own; the object's is near enough.
                    let found = object.iter().find(|(key, _)| literal_key(key) == Some(name.as_str()));
                    let (key_at, node) = match found {
                        Some((key, written)) => (self.key_place(key, &at), self.node(written.expr(), item)),
                        None => (at.clone(), Node::from_value(item, &at)),
                    };
                    entries.push(Entry { key: name.clone(), key_at, node });
                }
                Content::Map(entries)
            }
            _ => return Node::from_value(value, &at),
        };
        Node { at, content }
    }

    fn key_place(&self, key: &ObjectKey, fallback: &SourceLocation) -> SourceLocation {
        let span = match key {
            ObjectKey::Ident(ident) => ident.span(),
            ObjectKey::Expression(expr) => expr.span(),
        };
        span.map_or_else(|| fallback.clone(), |span| self.file.location(span.start))
    }
}

fn literal_key(key: &ObjectKey) -> Option<&str> {
    match key {
        ObjectKey::Ident(ident) => Some(ident.as_str()),
        ObjectKey::Expression(Expression::String(text)) => Some(text.as_str()),
        ObjectKey::Expression(Expression::Variable(name)) => Some(name.as_str()),
        ObjectKey::Expression(_) => None,
    }
}
