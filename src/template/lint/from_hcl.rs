//! HCL2 files as [`Model`].

use std::collections::HashMap;

use super::model::{Build, Component, Entry, Hole, Kind, Model, Piece, Place, Text, Value, Variable};
use super::{names, text};
use crate::template::hcl::syntax::ast::{
    Attribute, Block, Body, Expr, ExprKind, Item, ObjectItem, ObjectKey, Part, Span, Template,
};
use crate::template::source::SourceFile;

/// Expressions looked at for one model. Locals that use each other twice over and over would be endless work.
const MAX_EXPRESSIONS: usize = 200_000;
const MAX_DEPTH: usize = 48;

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

/// Adds what the files say. `given` tells which variables the request gives.
pub fn add(model: &mut Model, files: Vec<(SourceFile, Body)>, given: &dyn Fn(&str) -> bool) {
    let base = model.files.len();
    let (sources, bodies): (Vec<SourceFile>, Vec<Body>) = files.into_iter().unzip();
    let mut converter = Converter { base, files: &sources, given, ..Converter::new(&sources, given) };
    for (file, body) in bodies.iter().enumerate() {
        converter.declare(file, body);
    }
    converter.variables(model);
    for (file, body) in bodies.iter().enumerate() {
        for block in body.blocks() {
            converter.source_or_data(file, block, model);
        }
    }
    for (file, body) in bodies.iter().enumerate() {
        for block in body.blocks_of("build") {
            let build = converter.build(file, block, model);
            model.builds.push(build);
        }
    }
    let first = bodies.iter().enumerate().find_map(|(file, body)| body.blocks().next().map(|block| (file, block)));
    model.at = first.map(|(file, block)| converter.place(file, block.kind.span)).or(model.at);
    model.files.extend(sources);
}

/// Adds the values of a `*.pkrvars.hcl`.
pub fn add_values(model: &mut Model, source: SourceFile, body: &Body) {
    let base = model.files.len();
    let files = [source];
    let mut converter = Converter { base, ..Converter::new(&files, &|_| false) };
    for attribute in body.attributes() {
        model.variables.push(Variable {
            name: attribute.name.name.to_string(),
            at: converter.place(0, attribute.name.span),
            value: Some(converter.expression(0, &attribute.value, 0)),
            // Whether it is sensitive is said where it is declared.
            sensitive: true,
            local: false,
        });
    }
    model.files.extend(files);
}

#[derive(Clone, Copy)]
struct Declared<'b> {
    file: usize,
    at: Span,
    value: Option<&'b Expr>,
    sensitive: bool,
}

struct Converter<'b> {
    /// The model's number of our first file.
    base: usize,
    files: &'b [SourceFile],
    given: &'b dyn Fn(&str) -> bool,
    variables: HashMap<&'b str, Declared<'b>>,
    locals: HashMap<&'b str, Declared<'b>>,
    /// Names in the order of the files, locals with `true`.
    order: Vec<(&'b str, bool)>,
    budget: usize,
}

impl<'b> Converter<'b> {
    fn new(files: &'b [SourceFile], given: &'b dyn Fn(&str) -> bool) -> Self {
        Self {
            base: 0,
            files,
            given,
            variables: HashMap::new(),
            locals: HashMap::new(),
            order: Vec::new(),
            budget: MAX_EXPRESSIONS,
        }
    }

    fn place(&self, file: usize, span: Span) -> Place {
        Place { file: self.base + file, start: span.start as usize, end: span.end as usize }
    }

    fn declare(&mut self, file: usize, body: &'b Body) {
        for block in body.blocks() {
            match &*block.kind.name {
                "variable" => {
                    let Some(label) = block.labels.first() else { continue };
                    let value = block.body.attribute("default").map(|attribute| &attribute.value);
                    self.declare_one(
                        &label.text,
                        Declared { file, at: label.span, value, sensitive: is_sensitive(&block.body) },
                        false,
                    );
                }
                "variables" => {
                    for Attribute { name, value, .. } in block.body.attributes() {
                        self.declare_one(
                            &name.name,
                            Declared { file, at: name.span, value: Some(value), sensitive: false },
                            false,
                        );
                    }
                }
                "locals" => {
                    for Attribute { name, value, .. } in block.body.attributes() {
                        self.declare_one(
                            &name.name,
                            Declared { file, at: name.span, value: Some(value), sensitive: false },
                            true,
                        );
                    }
                }
                "local" => {
                    let Some(label) = block.labels.first() else { continue };
                    let value = block.body.attribute("expression").map(|attribute| &attribute.value);
                    self.declare_one(
                        &label.text,
                        Declared { file, at: label.span, value, sensitive: is_sensitive(&block.body) },
                        true,
                    );
                }
                _ => {}
            }
        }
    }

    fn declare_one(&mut self, name: &'b str, declared: Declared<'b>, local: bool) {
        let names = if local { &mut self.locals } else { &mut self.variables };
        if names.insert(name, declared).is_none() {
            self.order.push((name, local));
        }
    }

    fn variables(&mut self, model: &mut Model) {
        for (name, local) in self.order.clone() {
            let declared = if local { self.locals[name] } else { self.variables[name] };
            let value = declared.value.map(|value| self.expression(declared.file, value, 0));
            model.variables.push(Variable {
                name: name.to_owned(),
                at: self.place(declared.file, declared.at),
                value,
                sensitive: declared.sensitive,
                local,
            });
        }
    }

    fn source_or_data(&mut self, file: usize, block: &'b Block, model: &mut Model) {
        let [kind, name, ..] = block.labels.as_slice() else { return };
        let component = |converter: &mut Self| Component {
            kind: kind.text.to_string(),
            name: format!("{}.{}", kind.text, name.text),
            at: converter.place(file, kind.span),
            extent: converter.place(file, block.span),
            options: converter.options(file, &block.body, 0),
        };
        match &*block.kind.name {
            "source" => {
                let component = component(self);
                model.sources.push(component);
            }
            "data" => {
                let component = component(self);
                model.data.push(component);
            }
            _ => {}
        }
    }

    fn build(&mut self, file: usize, block: &'b Block, model: &mut Model) -> Build {
        let mut build = Build { at: self.place(file, block.kind.span), ..Build::default() };
        let named = |name: &str, model: &Model| {
            let name = name.strip_prefix("source.").unwrap_or(name);
            model.sources.iter().position(|source| source.name == name)
        };
        if let Some(Attribute { value: Expr { kind: ExprKind::Tuple(items), .. }, .. }) =
            block.body.attribute("sources")
        {
            build.sources.extend(items.iter().filter_map(reference).filter_map(|name| named(&name, model)));
        } else if block.body.attribute("sources").is_some() {
            // Not written out: any of them may be meant.
            build.sources.extend(0..model.sources.len());
        }
        for inner in block.body.blocks() {
            match &*inner.kind.name {
                "source" => {
                    let Some(index) = inner.labels.first().and_then(|label| named(&label.text, model)) else {
                        continue;
                    };
                    let added = self.options(file, &inner.body, 0);
                    build.sources.push(index);
                    let options = &mut model.sources[index].options;
                    let names: Vec<&str> = added.iter().map(|entry| entry.key.as_str()).collect();
                    options.retain(|entry| !names.contains(&entry.key.as_str()));
                    options.extend(added);
                }
                "provisioner" | "error-cleanup-provisioner" => {
                    build.provisioners.extend(self.component(file, inner));
                }
                "post-processor" => build.post_processors.extend(self.component(file, inner)),
                "post-processors" => {
                    for inner in inner.body.blocks_of("post-processor") {
                        build.post_processors.extend(self.component(file, inner));
                    }
                }
                "dynamic" => build.dynamic.extend(inner.labels.first().map(|label| label.text.to_string())),
                _ => {}
            }
        }
        build
    }

    fn component(&mut self, file: usize, block: &'b Block) -> Option<Component> {
        let label = block.labels.first()?;
        Some(Component {
            kind: label.text.to_string(),
            name: label.text.to_string(),
            at: self.place(file, label.span),
            extent: self.place(file, block.span),
            options: self.options(file, &block.body, 0),
        })
    }

    fn options(&mut self, file: usize, body: &'b Body, depth: usize) -> Vec<Entry> {
        let mut options = Vec::new();
        if depth > MAX_DEPTH {
            return options;
        }
        for item in &body.items {
            match item {
                Item::Attribute(Attribute { name, value, .. }) => options.push(Entry {
                    key: name.name.to_string(),
                    key_place: self.place(file, name.span),
                    value: self.expression(file, value, depth),
                }),
                Item::Block(block) => {
                    let place = self.place(file, block.kind.span);
                    let map = Value { place, kind: Kind::Map(self.options(file, &block.body, depth + 1)) };
                    let (key, value) = match (&*block.kind.name, block.labels.first()) {
                        ("dynamic", Some(label)) => {
                            let hole = Hole { changes: true, parts: vec![map], ..Hole::default() };
                            (label.text.to_string(), Value::unknown(place, hole))
                        }
                        (name, _) => (name.to_owned(), map),
                    };
                    options.push(Entry { key, key_place: place, value });
                }
            }
        }
        options
    }

    fn expression(&mut self, file: usize, expression: &'b Expr, depth: usize) -> Value {
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

fn is_sensitive(body: &Body) -> bool {
    body.attribute("sensitive").is_some_and(|attribute| !matches!(attribute.value.kind, ExprKind::Bool(false)))
}

/// A source as `sources` names it: a string, or `source.type.name`.
fn reference(expression: &Expr) -> Option<String> {
    match &expression.kind {
        ExprKind::Template(template) => template.literal(),
        ExprKind::Variable(name) => Some(name.name.to_string()),
        ExprKind::Attribute(base, name) => Some(format!("{}.{}", reference(base)?, name.name)),
        _ => None,
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
