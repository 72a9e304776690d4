//! Moves a tree's places: a string's `${…}` is read by itself, and stands somewhere in the file.

use crate::template::hcl::syntax::ast::{Expr, ExprKind, For, Ident, ObjectKey, Part, Span};

type Map<'m> = &'m dyn Fn(Span) -> Span;

fn ident(ident: &mut Ident, map: Map<'_>) {
    ident.span = map(ident.span);
}

/// Moves every place in an expression.
pub fn expr(expr: &mut Expr, map: Map<'_>) {
    expr.span = map(expr.span);
    match &mut expr.kind {
        ExprKind::Null | ExprKind::Bool(_) | ExprKind::Number(_) | ExprKind::SplatItem | ExprKind::Invalid => {}
        ExprKind::Template(template) => parts(&mut template.parts, map),
        ExprKind::Parenthesis(inner) | ExprKind::Unary(_, inner) => self::expr(inner, map),
        ExprKind::Variable(name) => ident(name, map),
        ExprKind::Call(call) => {
            ident(&mut call.name, map);
            call.arguments.iter_mut().for_each(|argument| self::expr(argument, map));
        }
        ExprKind::Conditional(conditional) => {
            self::expr(&mut conditional.condition, map);
            self::expr(&mut conditional.yes, map);
            self::expr(&mut conditional.no, map);
        }
        ExprKind::Binary(binary) => {
            self::expr(&mut binary.left, map);
            self::expr(&mut binary.right, map);
        }
        ExprKind::Attribute(base, name) => {
            self::expr(base, map);
            ident(name, map);
        }
        ExprKind::Index(base, other) | ExprKind::Splat { base, each: other } => {
            self::expr(base, map);
            self::expr(other, map);
        }
        ExprKind::Tuple(items) => items.iter_mut().for_each(|item| self::expr(item, map)),
        ExprKind::Object(items) => {
            for item in items {
                match &mut item.key {
                    ObjectKey::Name(name) => ident(name, map),
                    ObjectKey::Expr(key) => self::expr(key, map),
                }
                self::expr(&mut item.value, map);
            }
        }
        ExprKind::For(each) => for_expr(each, map),
    }
}

fn for_expr(each: &mut For, map: Map<'_>) {
    if let Some(name) = &mut each.key_name {
        ident(name, map);
    }
    ident(&mut each.value_name, map);
    expr(&mut each.collection, map);
    for inner in [each.key.as_mut(), each.condition.as_mut()].into_iter().flatten() {
        expr(inner, map);
    }
    expr(&mut each.value, map);
}

fn parts(parts: &mut [Part], map: Map<'_>) {
    for part in parts {
        match part {
            Part::Literal(_, span) => *span = map(*span),
            Part::Interpolation(inner) => expr(inner, map),
            Part::If(branch) => {
                expr(&mut branch.condition, map);
                self::parts(&mut branch.yes, map);
                self::parts(&mut branch.no, map);
            }
            Part::For(each) => {
                if let Some(name) = &mut each.key_name {
                    ident(name, map);
                }
                ident(&mut each.value_name, map);
                expr(&mut each.collection, map);
                self::parts(&mut each.body, map);
            }
        }
    }
}
