//! A tree as text, as the tests compare it: `(+ a (num 1))`.

use std::fmt::Write;

use crate::template::hcl::syntax::ast::{Body, Expr, ExprKind, For, Item, ObjectKey, Part, Template, UnaryOperator};

pub fn body(body: &Body) -> String {
    let mut text = String::from("{");
    for item in &body.items {
        match item {
            Item::Attribute(attribute) => {
                let _ = write!(text, "(= {} {})", attribute.name.name, expr(&attribute.value));
            }
            Item::Block(block) => {
                let _ = write!(text, "(block {}", block.kind.name);
                for label in &block.labels {
                    let _ = write!(text, " {}", quote(&label.text));
                }
                let _ = write!(text, " {})", self::body(&block.body));
            }
        }
    }
    text + "}"
}

pub fn expr(value: &Expr) -> String {
    match &value.kind {
        ExprKind::Null => "null".to_owned(),
        ExprKind::Bool(value) => value.to_string(),
        ExprKind::Number(text) => format!("(num {text})"),
        ExprKind::Template(template) => match template.parts.as_slice() {
            [Part::Interpolation(only)] => format!("(wrap {})", expr(only)),
            _ => self::template(template),
        },
        ExprKind::Parenthesis(inner) => format!("(paren {})", expr(inner)),
        ExprKind::Variable(name) => name.name.to_string(),
        ExprKind::Call(call) => {
            let expand = if call.expand { " ..." } else { "" };
            format!("(call {}{}{expand})", call.name.name, list(&call.arguments))
        }
        ExprKind::Conditional(it) => format!("(cond {} {} {})", expr(&it.condition), expr(&it.yes), expr(&it.no)),
        ExprKind::Unary(UnaryOperator::Not, inner) => format!("(! {})", expr(inner)),
        ExprKind::Unary(UnaryOperator::Negate, inner) => format!("(- {})", expr(inner)),
        ExprKind::Binary(it) => format!("({} {} {})", it.operator.symbol(), expr(&it.left), expr(&it.right)),
        ExprKind::Attribute(base, name) => format!("(attr {} {})", expr(base), name.name),
        ExprKind::Index(base, key) => format!("(index {} {})", expr(base), expr(key)),
        ExprKind::Splat { base, each } => format!("(splat {} {})", expr(base), expr(each)),
        ExprKind::SplatItem => "@".to_owned(),
        ExprKind::Tuple(elements) => format!("(tuple{})", list(elements)),
        ExprKind::Object(items) => {
            let items: Vec<String> = items
                .iter()
                .map(|item| {
                    let key = match &item.key {
                        ObjectKey::Name(name) => format!("(name {})", name.name),
                        ObjectKey::Expr(key) => expr(key),
                    };
                    format!(" {key} {}", expr(&item.value))
                })
                .collect();
            format!("(object{})", items.concat())
        }
        ExprKind::For(it) => for_expr(it),
        ExprKind::Invalid => "?".to_owned(),
    }
}

fn for_expr(it: &For) -> String {
    let mut text = format!("(for {} {} {}", name(it.key_name.as_ref()), it.value_name.name, expr(&it.collection));
    if let Some(key) = &it.key {
        let _ = write!(text, " key {}", expr(key));
    }
    let _ = write!(text, " {}", expr(&it.value));
    if it.group {
        text += " ...";
    }
    if let Some(condition) = &it.condition {
        let _ = write!(text, " if {}", expr(condition));
    }
    text + ")"
}

fn name(name: Option<&crate::template::hcl::syntax::ast::Ident>) -> &str {
    name.map_or("", |name| &name.name)
}

fn list(exprs: &[Expr]) -> String {
    exprs.iter().map(|inner| format!(" {}", expr(inner))).collect::<Vec<_>>().concat()
}

fn template(template: &Template) -> String {
    parts(&template.parts)
}

fn parts(parts: &[Part]) -> String {
    if parts.is_empty() {
        return "(tmpl \"\")".to_owned();
    }
    let parts: Vec<String> = parts.iter().map(part).collect();
    format!("(tmpl {})", parts.join(" "))
}

fn part(part: &Part) -> String {
    match part {
        Part::Literal(text, _) => quote(text),
        Part::Interpolation(inner) => expr(inner),
        Part::If(it) => format!("(cond {} {} {})", expr(&it.condition), parts(&it.yes), parts(&it.no)),
        Part::For(it) => format!(
            "(join (for {} {} {} {}))",
            name(it.key_name.as_ref()),
            it.value_name.name,
            expr(&it.collection),
            parts(&it.body)
        ),
    }
}

fn quote(text: &str) -> String {
    let mut quoted = String::from("\"");
    for character in text.chars() {
        match character {
            '"' | '\\' | '\0'..='\x1f' => {
                let _ = write!(quoted, "\\x{:02x}", character as u32);
            }
            _ => quoted.push(character),
        }
    }
    quoted + "\""
}
