//! Locals and data sources, in whatever order they refer to each other.

use std::collections::BTreeSet;
use std::rc::Rc;

use indexmap::IndexMap;

use super::blocks::{Config, Data, Local};
use super::data;
use super::eval::{Evaluator, Globals, Names};
use super::syntax::ast::{Body, Item, Span};
use super::variables::add_sensitive;
use super::walk::{Reference, collect};
use crate::domain::config::data_source::DataRequest;
use crate::domain::diagnostic::Diagnostic;
use crate::template::runtime::Runtime;
use crate::template::source::SourceFile;
use crate::template::value::Value;
use crate::template::{DataMode, Request};

/// A shorter string of a local that only derives from a secret is not hidden in logs: it would be found everywhere.
const SHORTEST_DERIVED_SECRET: usize = 8;

/// How many locals and data sources may depend on each other in a row.
const MAX_CHAIN: usize = 200;

/// What was worked out.
#[derive(Debug, Default)]
pub struct Graph {
    /// What `local` is.
    pub locals: IndexMap<String, Value>,
    /// By `type.name`.
    pub data: IndexMap<String, Value>,
    /// What must be fetched first.
    pub requests: Vec<DataRequest>,
}

impl Graph {
    /// What `data` is.
    #[must_use]
    pub fn data_object(&self, config: &Config<'_>) -> Value {
        let mut kinds: IndexMap<String, IndexMap<String, Value>> = IndexMap::new();
        for (key, data) in &config.data {
            let value = self.data.get(key).cloned().unwrap_or(Value::UNKNOWN);
            kinds.entry(data.kind.clone()).or_default().insert(data.name.clone(), value);
        }
        Value::object(kinds.into_iter().map(|(kind, names)| (kind, Value::object(names))).collect())
    }
}

/// A local or a data source.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Node {
    Local(String),
    /// `type.name`.
    Data(String),
}

impl std::fmt::Display for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Local(name) => write!(f, "local.{name}"),
            Self::Data(key) => write!(f, "data.{key}"),
        }
    }
}

struct Evaluation<'a, 'f> {
    config: &'a Config<'f>,
    request: &'a Request<'a>,
    runtime: &'a Runtime<'a>,
    globals: Globals,
    graph: Graph,
    /// What is being evaluated, outermost first.
    path: Vec<Node>,
    sensitive_values: &'a mut Vec<String>,
    complaints: &'a mut Vec<Diagnostic>,
}

/// Evaluates all locals and data sources over `globals`, which has `var`.
pub fn evaluate(
    config: &Config<'_>,
    request: &Request<'_>,
    runtime: &Runtime<'_>,
    globals: &Globals,
    sensitive_values: &mut Vec<String>,
    complaints: &mut Vec<Diagnostic>,
) -> Graph {
    let globals = globals.clone();
    let (graph, path) = (Graph::default(), Vec::new());
    let mut evaluation = Evaluation { config, request, runtime, globals, graph, path, sensitive_values, complaints };
    for name in config.locals.keys() {
        evaluation.visit(&Node::Local(name.clone()));
    }
    for key in config.data.keys() {
        evaluation.visit(&Node::Data(key.clone()));
    }
    evaluation.graph
}

impl Evaluation<'_, '_> {
    fn place(&self, node: &Node) -> Option<(&SourceFile, Span)> {
        match node {
            Node::Local(name) => self.config.locals.get(name).map(|local| (local.file, local.span)),
            Node::Data(key) => self.config.data.get(key).map(|data| (data.file, data.span)),
        }
    }

    fn done(&self, node: &Node) -> bool {
        match node {
            Node::Local(name) => self.graph.locals.contains_key(name),
            Node::Data(key) => self.graph.data.contains_key(key),
        }
    }

    fn settle(&mut self, node: &Node, value: Value) {
        match node {
            Node::Local(name) => self.graph.locals.insert(name.clone(), value),
            Node::Data(key) => self.graph.data.insert(key.clone(), value),
        };
    }

    fn give_up(&mut self, node: &Node, summary: String, detail: String) {
        if let Some((file, span)) = self.place(node) {
            let diagnostic = file.error(span, summary).with_detail(detail);
            self.complaints.push(diagnostic);
        }
        self.settle(node, Value::UNKNOWN);
    }

    fn visit(&mut self, node: &Node) {
        if self.done(node) || self.place(node).is_none() {
            return;
        }
        if let Some(start) = self.path.iter().position(|other| other == node) {
            let mut cycle: Vec<String> = self.path[start..].iter().map(ToString::to_string).collect();
            cycle.push(node.to_string());
            return self.give_up(node, format!("{node} depends on itself"), cycle.join(" → "));
        }
        if self.path.len() >= MAX_CHAIN {
            let summary = format!("{node} is at the end of a chain of {MAX_CHAIN} locals and data sources");
            return self.give_up(node, summary, String::new());
        }
        let references = self.references(node);
        self.path.push(node.clone());
        let dependencies = self.dependencies(&references);
        for dependency in &dependencies {
            self.visit(dependency);
        }
        self.path.pop();
        // A cycle through this one has settled it already.
        if self.done(node) {
            return;
        }
        self.offer(&references, &dependencies);
        let config = self.config;
        match node {
            Node::Local(name) => {
                if let Some(local) = config.locals.get(name) {
                    self.local(name, local);
                }
            }
            Node::Data(key) => {
                if let Some(data) = config.data.get(key) {
                    self.data(key, data);
                }
            }
        }
    }

    fn references(&self, node: &Node) -> BTreeSet<Reference> {
        match node {
            Node::Local(name) => {
                let mut found = BTreeSet::new();
                if let Some(local) = self.config.locals.get(name) {
                    collect(local.expression, &mut found);
                }
                found
            }
            Node::Data(key) => self.config.data.get(key).map(|data| body_references(data.body)).unwrap_or_default(),
        }
    }

    /// The declared locals and data sources behind references. A whole object stands for everything in it, apart from
    /// what is being worked out already.
    fn dependencies(&self, references: &BTreeSet<Reference>) -> Vec<Node> {
        let mut nodes = Vec::new();
        let data = |kind: Option<&str>| {
            let keys = self.config.data.iter().filter(move |(_, data)| kind.is_none_or(|kind| data.kind == kind));
            keys.map(|(key, _)| Node::Data(key.clone())).filter(|node| !self.path.contains(node)).collect::<Vec<_>>()
        };
        for reference in references {
            match reference {
                Reference::Local(name) if self.config.locals.contains_key(name) => {
                    nodes.push(Node::Local(name.clone()));
                }
                Reference::Data(kind, name) if self.config.data.contains_key(&format!("{kind}.{name}")) => {
                    nodes.push(Node::Data(format!("{kind}.{name}")));
                }
                Reference::Local(_) | Reference::Data(..) => {}
                Reference::DataType(kind) => nodes.extend(data(Some(kind))),
                Reference::AllData => nodes.extend(data(None)),
                Reference::AllLocals => {
                    let all = self.config.locals.keys().map(|name| Node::Local(name.clone()));
                    nodes.extend(all.filter(|node| !self.path.contains(node)));
                }
            }
        }
        nodes
    }

    /// Makes `local` and `data` hold what an expression refers to. Where a name is not declared all names are there, so
    /// that the complaint can suggest one.
    fn offer(&mut self, references: &BTreeSet<Reference>, dependencies: &[Node]) {
        let locals_missing = references
            .iter()
            .any(|reference| matches!(reference, Reference::Local(name) if !self.config.locals.contains_key(name)));
        let known = |name: &String| self.graph.locals.get(name).cloned().unwrap_or(Value::UNKNOWN);
        let mut locals: IndexMap<String, Value> = IndexMap::new();
        if locals_missing {
            locals.extend(self.config.locals.keys().map(|name| (name.clone(), known(name))));
        } else {
            for node in dependencies {
                if let Node::Local(name) = node {
                    locals.insert(name.clone(), known(name));
                }
            }
        }
        self.globals.insert("local".to_owned(), Value::object(locals));
        let data = references.iter().any(|reference| !matches!(reference, Reference::Local(_) | Reference::AllLocals));
        let data = if data { self.graph.data_object(self.config) } else { Value::object(IndexMap::new()) };
        self.globals.insert("data".to_owned(), data);
    }

    fn local(&mut self, name: &str, local: &Local<'_>) {
        let evaluator = Evaluator::new(local.file, self.runtime, &self.globals);
        let value = evaluator.value_or_complain(local.expression, self.complaints);
        if local.sensitive {
            add_sensitive(&value, 1, self.sensitive_values);
        } else if value.is_sensitive() {
            add_sensitive(&value, SHORTEST_DERIVED_SECRET, self.sensitive_values);
        }
        self.graph.locals.insert(name.to_owned(), value.marked(local.sensitive));
    }

    fn data(&mut self, key: &str, data: &Data<'_>) {
        let evaluator = Evaluator::new(data.file, self.runtime, &self.globals);
        let at = data.file.location(data.span.start as usize);
        let options = evaluator.options(data.body, &Rc::new(Names::new()), &[], at, self.complaints);
        let answer = data::answer(data, &options, self.request, self.runtime, self.complaints);
        let value = match answer {
            data::Answer::Value(value) => {
                // Options don't carry marks, and `null` gives back what it is given.
                let input = data.body.attribute("input").filter(|_| data.kind == "null");
                let secret = |expr| evaluator.value(expr).is_ok_and(|input| input.is_sensitive());
                value.marked(input.is_some_and(|input| secret(&input.value)))
            }
            data::Answer::Request(request) => {
                let attributes = data::unknown(&data.kind);
                if let DataMode::Given(_) = self.request.data {
                    self.graph.requests.push(*request);
                }
                attributes
            }
        };
        if value.is_sensitive() {
            add_sensitive(&value, 1, self.sensitive_values);
        }
        self.graph.data.insert(key.to_owned(), value);
    }
}

/// Everything that the expressions in a body refer to, those of blocks in it too.
#[must_use]
pub fn body_references(body: &Body) -> BTreeSet<Reference> {
    let mut found = BTreeSet::new();
    add_body_references(body, &mut found);
    found
}

fn add_body_references(body: &Body, found: &mut BTreeSet<Reference>) {
    for item in &body.items {
        match item {
            Item::Attribute(attribute) => collect(&attribute.value, found),
            Item::Block(block) => add_body_references(&block.body, found),
        }
    }
}

/// The data sources that these references need, through locals and other data sources: `type.name`.
#[must_use]
pub fn needed_data(config: &Config<'_>, references: BTreeSet<Reference>) -> BTreeSet<String> {
    let mut needed = BTreeSet::new();
    let mut seen: BTreeSet<Reference> = BTreeSet::new();
    let mut open: Vec<Reference> = references.into_iter().collect();
    while let Some(reference) = open.pop() {
        if !seen.insert(reference.clone()) {
            continue;
        }
        match &reference {
            Reference::Local(name) => {
                if let Some(local) = config.locals.get(name) {
                    let mut found = BTreeSet::new();
                    collect(local.expression, &mut found);
                    open.extend(found);
                }
            }
            Reference::AllLocals => open.extend(config.locals.keys().cloned().map(Reference::Local)),
            Reference::Data(kind, name) => {
                let key = format!("{kind}.{name}");
                if let Some(data) = config.data.get(&key) {
                    open.extend(body_references(data.body));
                    needed.insert(key);
                }
            }
            Reference::DataType(_) | Reference::AllData => {
                let all = config.data.values().filter(|data| match &reference {
                    Reference::DataType(kind) => data.kind == *kind,
                    _ => true,
                });
                open.extend(all.map(|data| Reference::Data(data.kind.clone(), data.name.clone())));
            }
        }
    }
    needed
}
