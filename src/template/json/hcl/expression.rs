//! JSON values as HCL's expressions.

use std::sync::Arc;

use super::super::ranges;
use super::super::tree::{self, Tree, TreeKind};
use super::{shift, span};
use crate::domain::diagnostic::Diagnostic;
use crate::template::hcl::syntax::ast::{Expr, ExprKind, ObjectItem, ObjectKey, Part, Span, Template, UnaryOperator};
use crate::template::hcl::syntax::{parse_expression, parse_template};
use crate::template::source::SourceFile;

/// Faults of `${…}` that are told.
const MAX_FAULTS: usize = 100;

/// Reads values; faults of the `${…}` in strings are collected.
pub struct Expressions<'s> {
    source: &'s SourceFile,
    pub faults: Vec<Diagnostic>,
}

impl<'s> Expressions<'s> {
    pub fn new(source: &'s SourceFile) -> Self {
        Self { source, faults: Vec::new() }
    }

    pub fn value(&mut self, tree: &Tree) -> Expr {
        let place = span(tree.span);
        let kind = match &tree.kind {
            TreeKind::Null => ExprKind::Null,
            TreeKind::Unknown => ExprKind::Invalid,
            TreeKind::Bool(flag) => ExprKind::Bool(*flag),
            TreeKind::Number(text) => match text.strip_prefix('-') {
                Some(digits) => {
                    let number = Expr { kind: ExprKind::Number(Arc::from(digits)), span: place };
                    ExprKind::Unary(UnaryOperator::Negate, Box::new(number))
                }
                None => ExprKind::Number(Arc::from(text.as_str())),
            },
            TreeKind::String(text) => return self.string(text, tree.span),
            TreeKind::List(items) => ExprKind::Tuple(items.iter().map(|item| self.value(item)).collect()),
            TreeKind::Object(members) => {
                let items = members.iter().map(|member| ObjectItem {
                    key: ObjectKey::Expr(self.string(&member.key, member.key_span)),
                    value: self.value(&member.value),
                });
                ExprKind::Object(items.collect())
            }
        };
        Expr { kind, span: place }
    }

    /// A string that HCL reads as code, such as a variable's type; anything else stays a value.
    pub fn code(&mut self, tree: &Tree) -> Expr {
        match &tree.kind {
            TreeKind::String(text) => self.parsed(text, tree.span, parse_expression),
            _ => self.value(tree),
        }
    }

    fn string(&mut self, text: &str, place: tree::Span) -> Expr {
        if text.contains("${") || text.contains("%{") {
            return self.parsed(text, place, parse_template);
        }
        let place = span(place);
        let parts = vec![Part::Literal(Arc::from(text), place)];
        Expr { kind: ExprKind::Template(Template { parts, heredoc: false }), span: place }
    }

    fn parsed(
        &mut self,
        text: &str,
        place: tree::Span,
        parse: fn(&SourceFile) -> Result<Expr, Vec<Diagnostic>>,
    ) -> Expr {
        // A byte order mark inside a string is text.
        let fragment = SourceFile::new(&self.source.path, text);
        let skipped = text.len() - fragment.text.len();
        let map = ranges::StringMap::new(&self.source.text, place.start, skipped);
        match parse(&fragment) {
            Ok(mut expr) => {
                let offset = |at: u32| u32::try_from(map.offset(at as usize)).unwrap_or(u32::MAX);
                shift::expr(&mut expr, &|at: Span| Span { start: offset(at.start), end: offset(at.end) });
                expr
            }
            Err(faults) => {
                for mut fault in faults {
                    let at = fault.at.as_ref().and_then(|at| ranges::offset(&fragment, at)).unwrap_or(0);
                    let end = fault.end.and_then(|end| ranges::offset_of(&fragment, end));
                    fault.at = Some(self.source.location(map.offset(at)));
                    fault.end = end.map(|end| ranges::position(self.source, map.offset(end)));
                    if self.faults.len() < MAX_FAULTS {
                        self.faults.push(fault);
                    }
                }
                Expr { kind: ExprKind::Invalid, span: span(place) }
            }
        }
    }
}
