//! From an HCL block to options: attributes evaluated, with the place of each element where the expression shows it.

use std::collections::HashMap;
use std::rc::Rc;

use super::dynamic;
use super::eval::{Evaluator, Names};
use super::syntax::ast::{Body, Expr, ExprKind, ObjectItem, ObjectKey, Spanned};
use crate::domain::diagnostic::{Diagnostic, SourceLocation};
use crate::template::options::{Content, Entry, Language, Node, Options};
use crate::template::value::{Kind, Value};

impl Evaluator<'_> {
    /// Where something of this file stands.
    pub fn place(&self, what: &impl Spanned) -> SourceLocation {
        self.file.location(what.span().start as usize)
    }

    /// Evaluates a block's body. Attributes that fail are unknown, and their faults are added to `complaints`. Attributes
    /// whose names are among `skip` are left out.
    pub fn options(
        &self,
        body: &Body,
        names: &Rc<Names>,
        skip: &[&str],
        at: SourceLocation,
        complaints: &mut Vec<Diagnostic>,
    ) -> Options {
        let mut options = Options { language: Language::Hcl2, ..Options::from_entries(Vec::new(), at) };
        let own = self.with_names(names);
        for attribute in body.attributes().filter(|attribute| !skip.contains(&&*attribute.name.name)) {
            let value = own.value_or_complain(&attribute.value, complaints);
            options.attributes.push(Entry {
                key: attribute.name.name.to_string(),
                key_at: self.place(&attribute.name),
                node: self.node(&attribute.value, &value),
            });
        }
        for block in dynamic::blocks(body, names, self, complaints) {
            if let Some(label) = block.labels.first() {
                let summary = format!("the block {} takes no label here", block.kind);
                complaints.push(self.diagnostic(label, summary));
            }
            let inner = self.options(block.body, &block.names, &[], self.place(&block), complaints);
            options.blocks.push((block.kind.to_string(), inner.open_if(block.open)));
        }
        options
    }

    /// Gives the parts of a value the places of the expressions that made them, as far as those are written out.
    fn node(&self, expr: &Expr, value: &Value) -> Node {
        let at = self.place(expr);
        let content = match (&expr.kind, value.kind()) {
            (ExprKind::Parenthesis(inner), _) => return self.node(inner, value),
            (ExprKind::Tuple(written), Kind::Sequence(sequence)) if written.len() == sequence.items.len() => {
                Content::List(written.iter().zip(&sequence.items).map(|(expr, item)| self.node(expr, item)).collect())
            }
            (ExprKind::Object(written), Kind::Mapping(mapping)) => {
                let written: HashMap<String, &ObjectItem> =
                    written.iter().filter_map(|entry| Some((literal_key(entry)?, entry))).collect();
                let mut entries = Vec::new();
                for (name, item) in &mapping.entries {
                    // A key that is computed has no place of its own; the object's is near enough.
                    let (key_at, node) = match written.get(name) {
                        Some(entry) => (self.key_place(entry), self.node(&entry.value, item)),
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

    fn key_place(&self, entry: &ObjectItem) -> SourceLocation {
        match &entry.key {
            ObjectKey::Name(name) => self.place(name),
            ObjectKey::Expr(expr) => self.place(expr),
        }
    }
}

fn literal_key(entry: &ObjectItem) -> Option<String> {
    match &entry.key {
        ObjectKey::Name(name) => Some(name.name.to_string()),
        ObjectKey::Expr(expr) => expr.literal(),
    }
}
