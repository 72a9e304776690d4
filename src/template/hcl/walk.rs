//! Going through an expression's parts: what it refers to.

use std::collections::BTreeSet;

use super::syntax::ast::{Expr, ExprKind, ObjectKey, Part, Template};

/// Visits an expression and everything in it, outer ones first.
pub fn walk<'e>(expr: &'e Expr, visit: &mut dyn FnMut(&'e Expr)) {
    visit(expr);
    match &expr.kind {
        ExprKind::Null
        | ExprKind::Bool(_)
        | ExprKind::Number(_)
        | ExprKind::Variable(_)
        | ExprKind::SplatItem
        | ExprKind::Invalid => {}
        ExprKind::Template(template) => walk_template(template, visit),
        ExprKind::Parenthesis(inner) | ExprKind::Unary(_, inner) | ExprKind::Attribute(inner, _) => walk(inner, visit),
        ExprKind::Call(call) => call.arguments.iter().for_each(|argument| walk(argument, visit)),
        ExprKind::Conditional(conditional) => {
            walk(&conditional.condition, visit);
            walk(&conditional.yes, visit);
            walk(&conditional.no, visit);
        }
        ExprKind::Binary(binary) => {
            walk(&binary.left, visit);
            walk(&binary.right, visit);
        }
        ExprKind::Index(base, key) => {
            walk(base, visit);
            walk(key, visit);
        }
        ExprKind::Splat { base, each } => {
            walk(base, visit);
            walk(each, visit);
        }
        ExprKind::Tuple(items) => items.iter().for_each(|item| walk(item, visit)),
        ExprKind::Object(items) => {
            for item in items {
                if let ObjectKey::Expr(key) = &item.key {
                    walk(key, visit);
                }
                walk(&item.value, visit);
            }
        }
        ExprKind::For(for_expr) => {
            walk(&for_expr.collection, visit);
            for part in [&for_expr.key, &for_expr.condition].into_iter().flatten() {
                walk(part, visit);
            }
            walk(&for_expr.value, visit);
        }
    }
}

fn walk_template<'e>(template: &'e Template, visit: &mut dyn FnMut(&'e Expr)) {
    walk_parts(&template.parts, visit);
}

fn walk_parts<'e>(parts: &'e [Part], visit: &mut dyn FnMut(&'e Expr)) {
    for part in parts {
        match part {
            Part::Literal(..) => {}
            Part::Interpolation(expr) => walk(expr, visit),
            Part::If(part) => {
                walk(&part.condition, visit);
                walk_parts(&part.yes, visit);
                walk_parts(&part.no, visit);
            }
            Part::For(part) => {
                walk(&part.collection, visit);
                walk_parts(&part.body, visit);
            }
        }
    }
}

/// What an expression depends on, of what a template's blocks declare.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reference {
    Local(String),
    /// Type and name.
    Data(String, String),
    /// All of a type, as in `data.null[each]`.
    DataType(String),
    /// `local` or `data` as a whole.
    AllLocals,
    AllData,
}

/// The locals and data sources that an expression names.
#[must_use]
pub fn references(expr: &Expr) -> BTreeSet<Reference> {
    let mut found = BTreeSet::new();
    collect(expr, &mut found);
    found
}

/// Adds the locals and data sources that an expression names.
pub fn collect(expr: &Expr, found: &mut BTreeSet<Reference>) {
    // Inner parts of a path come after the outer ones; what an outer one has said is not said again more broadly.
    let mut told: Vec<*const Expr> = Vec::new();
    walk(expr, &mut |expr| {
        let reference = match path(expr).as_slice() {
            _ if told.contains(&std::ptr::from_ref(expr)) => None,
            ["local", name] => Some(Reference::Local((*name).to_owned())),
            ["data", kind, name] => Some(Reference::Data((*kind).to_owned(), (*name).to_owned())),
            ["data", kind] => Some(Reference::DataType((*kind).to_owned())),
            ["local"] => Some(Reference::AllLocals),
            ["data"] => Some(Reference::AllData),
            _ => None,
        };
        if let Some(reference) = reference {
            found.insert(reference);
            let mut inner = expr;
            while let ExprKind::Attribute(base, _) | ExprKind::Index(base, _) = &inner.kind {
                told.push(std::ptr::from_ref::<Expr>(base));
                inner = base;
            }
        }
    });
}

/// `a.b["c"]` as its names; empty for anything else.
pub(super) fn path(expr: &Expr) -> Vec<&str> {
    match &expr.kind {
        ExprKind::Variable(name) => vec![&name.name],
        ExprKind::Attribute(base, name) => extended(base, &name.name),
        ExprKind::Index(base, key) => match &key.kind {
            ExprKind::Template(Template { parts, .. }) => match parts.as_slice() {
                [Part::Literal(text, _)] => extended(base, text),
                _ => Vec::new(),
            },
            _ => Vec::new(),
        },
        _ => Vec::new(),
    }
}

fn extended<'e>(base: &'e Expr, name: &'e str) -> Vec<&'e str> {
    let mut names = path(base);
    if !names.is_empty() {
        names.push(name);
    }
    names
}
