//! HCL2 files as [`Model`].

use std::collections::HashMap;

use super::model::{Build, Component, Entry, Hole, Kind, Model, Place, Value, Variable};
use crate::template::hcl::plan::split_reference;
use crate::template::hcl::syntax::ast::{Attribute, Block, Body, Expr, ExprKind, Item, Span};
use crate::template::source::SourceFile;

/// Expressions looked at for one model. Locals that use each other twice over and over would be endless work.
const MAX_EXPRESSIONS: usize = 200_000;
pub(super) const MAX_DEPTH: usize = 48;

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
pub(super) struct Declared<'b> {
    pub(super) file: usize,
    at: Span,
    pub(super) value: Option<&'b Expr>,
    pub(super) sensitive: bool,
}

pub(super) struct Converter<'b> {
    /// The model's number of our first file.
    base: usize,
    pub(super) files: &'b [SourceFile],
    pub(super) given: &'b dyn Fn(&str) -> bool,
    pub(super) variables: HashMap<&'b str, Declared<'b>>,
    pub(super) locals: HashMap<&'b str, Declared<'b>>,
    /// Names in the order of the files, locals with `true`.
    order: Vec<(&'b str, bool)>,
    pub(super) budget: usize,
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

    pub(super) fn place(&self, file: usize, span: Span) -> Place {
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
            let (kind, name) = split_reference(name)?;
            model.sources.iter().position(|source| source.name == format!("{kind}.{name}"))
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
                    let keys: Vec<&str> = added.iter().map(|entry| entry.key.as_str()).collect();
                    options.retain(|entry| !keys.contains(&entry.key.as_str()));
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
