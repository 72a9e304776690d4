//! HCL2 expressions as [`Value`]s, as far as the text alone tells what they are.

use super::from_hcl::{Converter, MAX_DEPTH};
use super::model::{Entry, Hole, Kind, Piece, Place, Text, Value};
use super::{names, text};
use crate::template::hcl::syntax::ast::{Expr, ExprKind, ObjectItem, ObjectKey, Part, Template};

/// Functions whose result is not the same in each run.
const CHANGING: &[&str] = &[
    "timestamp",
    "legacy_isotime",
    "legacy_strftime",
    "uuidv4",
    "uuidv5",
    "uuid",
    "bcrypt",
    "env",
    "vault",
    "consul_key",
    "aws_secretsmanager",
    "aws_secretsmanager_raw",
    "file",
    "filebase64",
    "templatefile",
    "fileset",
    "plantimestamp",
];
/// Functions that give a list's elements back, as far as rules care.
const SAME_LIST: &[&str] = &["compact", "distinct", "tolist", "toset", "sort", "reverse"];

impl<'b> Converter<'b> {
    pub(super) fn expression(&mut self, file: usize, expression: &'b Expr, depth: usize) -> Value {
        let place = self.place(file, expression.span);
        if depth > MAX_DEPTH || self.budget == 0 {
            return Value::unknown(place, Hole { changes: true, ..Hole::default() });
        }
        self.budget -= 1;
        let depth = depth + 1;
        let kind = match &expression.kind {
            ExprKind::Null => Kind::Null,
            ExprKind::Bool(flag) => Kind::Bool(*flag),
            ExprKind::Number(number) => return Value::literal(number, place),
            ExprKind::Template(template) => return self.template(file, template, place, depth),
            ExprKind::Parenthesis(inner) => return self.expression(file, inner, depth),
            ExprKind::Tuple(items) => Kind::List(items.iter().map(|item| self.expression(file, item, depth)).collect()),
            ExprKind::Object(items) => {
                Kind::Map(items.iter().filter_map(|item| self.object_item(file, item, depth)).collect())
            }
            ExprKind::Attribute(base, name) => return self.attribute(file, base, &name.name, place, depth),
            ExprKind::Index(base, key) => {
                let base = self.expression(file, base, depth);
                let key = self.expression(file, key, depth);
                return element(base, key.text().as_deref(), place);
            }
            ExprKind::Call(call) => {
                let arguments: Vec<Value> =
                    call.arguments.iter().map(|argument| self.expression(file, argument, depth)).collect();
                return call_value(&call.name.name, arguments, place);
            }
            ExprKind::Conditional(conditional) => {
                let parts = [&conditional.yes, &conditional.no, &conditional.condition];
                return made_of(parts.map(|part| self.expression(file, part, depth)).into(), place);
            }
            ExprKind::Unary(_, operand) => return made_of(vec![self.expression(file, operand, depth)], place),
            ExprKind::Binary(binary) => {
                let parts = [&binary.left, &binary.right].map(|part| self.expression(file, part, depth));
                return made_of(parts.into(), place);
            }
            ExprKind::Splat { base, .. } => return made_of(vec![self.expression(file, base, depth)], place),
            ExprKind::For(each) => {
                let parts =
                    vec![self.expression(file, &each.collection, depth), self.expression(file, &each.value, depth)];
                return made_of(parts, place);
            }
            ExprKind::Variable(_) | ExprKind::SplatItem | ExprKind::Invalid => {
                Kind::Unknown(Hole { changes: true, ..Hole::default() })
            }
        };
        Value { place, kind }
    }

    fn object_item(&mut self, file: usize, item: &'b ObjectItem, depth: usize) -> Option<Entry> {
        let (key, key_place) = match &item.key {
            ObjectKey::Name(name) => (name.name.to_string(), self.place(file, name.span)),
            ObjectKey::Expr(key) => (self.expression(file, key, depth).text()?, self.place(file, key.span)),
        };
        Some(Entry { key, key_place, value: self.expression(file, &item.value, depth) })
    }

    fn attribute(&mut self, file: usize, base: &'b Expr, name: &'b str, place: Place, depth: usize) -> Value {
        if let ExprKind::Variable(root) = &base.kind {
            return match &*root.name {
                "var" => self.variable(name, place, depth),
                "local" => self.local(name, place, depth),
                // All of them are the bundle's root.
                "path" => Value::literal(".", place),
                "build" | "source" | "packer" => Value::unknown(place, Hole::default()),
                _ => Value::unknown(place, Hole { changes: true, ..Hole::default() }),
            };
        }
        let base = self.expression(file, base, depth);
        element(base, Some(name), place)
    }

    fn variable(&mut self, name: &'b str, place: Place, depth: usize) -> Value {
        let declared = self.variables.get(name).copied();
        let secret = names::is_secret(name) || declared.is_some_and(|declared| declared.sensitive);
        let default =
            declared.filter(|_| !(self.given)(name)).and_then(|declared| Some((declared.file, declared.value?)));
        let default = default.map(|(file, value)| self.expression(file, value, depth));
        let default = default.filter(|default| !matches!(default.kind, Kind::Null));
        let hole = Hole { changes: default.is_none(), secret, variables: vec![name.to_owned()], parts: Vec::new() };
        match default {
            Some(default) if secret => {
                Value::unknown(place, Hole { changes: default.changes(), parts: vec![default], ..hole })
            }
            Some(Value { kind: Kind::Text(text), .. }) => {
                let mut pieces = Vec::new();
                text::extend_via(&text, name, place, &mut pieces);
                Value { place, kind: Kind::Text(Text { pieces }) }
            }
            Some(default) => default,
            None => Value::unknown(place, hole),
        }
    }

    fn local(&mut self, name: &'b str, place: Place, depth: usize) -> Value {
        let declared = self.locals.get(name).copied();
        let secret = names::is_secret(name) || declared.is_some_and(|declared| declared.sensitive);
        let value = declared.and_then(|declared| Some((declared.file, declared.value?)));
        let Some((file, value)) = value else {
            return Value::unknown(place, Hole { changes: true, secret, ..Hole::default() });
        };
        let value = self.expression(file, value, depth);
        if secret {
            return Value::unknown(
                place,
                Hole { changes: value.changes(), secret, variables: Vec::new(), parts: vec![value] },
            );
        }
        value
    }

    fn template(&mut self, file: usize, template: &'b Template, place: Place, depth: usize) -> Value {
        if let ([Part::Interpolation(only)], false) = (template.parts.as_slice(), template.heredoc) {
            return self.expression(file, only, depth);
        }
        let mut pieces = Vec::new();
        self.parts(file, &template.parts, depth, &mut pieces);
        Value { place, kind: Kind::Text(Text { pieces }) }
    }

    fn parts(&mut self, file: usize, parts: &'b [Part], depth: usize, pieces: &mut Vec<Piece>) {
        for part in parts {
            match part {
                Part::Literal(text, span) => {
                    let place = self.place(file, *span);
                    // Long texts that many places use are work, too.
                    self.budget = self.budget.saturating_sub(text.len() / 64);
                    let raw = self.files[file].text.get(place.start..place.end).unwrap_or_default();
                    text::pieces(text, raw, place, &mut |_| None, pieces);
                }
                Part::Interpolation(expression) => {
                    let value = self.expression(file, expression, depth);
                    match value.kind {
                        Kind::Text(text) => pieces.extend(text.pieces),
                        Kind::Unknown(hole) => pieces.push(Piece::Hole(value.place, hole)),
                        _ => pieces.push(Piece::Hole(value.place, hole_of(vec![value]))),
                    }
                }
                Part::If(branch) => {
                    let mut inner = Vec::new();
                    self.parts(file, &branch.yes, depth, &mut inner);
                    self.parts(file, &branch.no, depth, &mut inner);
                    let place = self.place(file, branch.condition.span);
                    let condition = self.expression(file, &branch.condition, depth);
                    let inner = Value { place, kind: Kind::Text(Text { pieces: inner }) };
                    pieces.push(Piece::Hole(place, hole_of(vec![condition, inner])));
                }
                Part::For(each) => {
                    let mut inner = Vec::new();
                    self.parts(file, &each.body, depth, &mut inner);
                    let place = self.place(file, each.collection.span);
                    let collection = self.expression(file, &each.collection, depth);
                    let inner = Value { place, kind: Kind::Text(Text { pieces: inner }) };
                    pieces.push(Piece::Hole(place, hole_of(vec![collection, inner])));
                }
            }
        }
    }
}

fn hole_of(parts: Vec<Value>) -> Hole {
    let mut hole = Hole::default();
    for part in &parts {
        hole.changes |= part.changes();
        if let Kind::Unknown(inner) = &part.kind {
            hole.secret |= inner.secret;
            hole.variables.extend(inner.variables.iter().cloned());
        }
        if let Kind::Text(text) = &part.kind {
            hole.secret |= text.pieces.iter().any(|piece| matches!(piece, Piece::Hole(_, hole) if hole.secret));
        }
    }
    hole.parts = parts;
    hole
}

fn made_of(parts: Vec<Value>, place: Place) -> Value {
    Value::unknown(place, hole_of(parts))
}

/// `base.key` or `base[key]`.
fn element(base: Value, key: Option<&str>, place: Place) -> Value {
    match (&base.kind, key) {
        (Kind::Map(entries), Some(key)) => {
            if let Some(entry) = entries.iter().find(|entry| entry.key == key) {
                return entry.value.clone();
            }
        }
        (Kind::List(items), Some(key)) => {
            if let Some(item) = key.parse().ok().and_then(|index: usize| items.get(index)) {
                return item.clone();
            }
        }
        _ => {}
    }
    made_of(vec![base], place)
}

fn call_value(name: &str, mut arguments: Vec<Value>, place: Place) -> Value {
    if SAME_LIST.contains(&name) && arguments.len() == 1 && matches!(arguments[0].kind, Kind::List(_)) {
        return arguments.remove(0);
    }
    let lists = |values: &[Value]| values.iter().all(|value| matches!(value.kind, Kind::List(_)));
    if name == "concat" && lists(&arguments) {
        let items = arguments.into_iter().flat_map(|list| match list.kind {
            Kind::List(items) => items,
            _ => Vec::new(),
        });
        return Value { place, kind: Kind::List(items.collect()) };
    }
    let mut hole = hole_of(arguments);
    hole.changes |= CHANGING.contains(&name);
    Value::unknown(place, hole)
}
