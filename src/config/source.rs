//! Where settings come from: a tree of values that each know their place, made from the file and the environment.

use std::collections::BTreeMap;
use std::path::Path;

use toml::de::{DeTable, DeValue};

use crate::domain::diagnostic::{Diagnostic, SourceLocation};
use crate::template::source::SourceFile;

/// Environment variables that begin with this are settings.
const PREFIX: &str = "INGOT__";

/// Where a value was written.
#[derive(Debug, Clone)]
pub(super) enum Place {
    File(SourceLocation),
    Variable(String),
}

impl Place {
    /// A complaint about what stands here.
    pub(super) fn error(&self, summary: impl Into<String>) -> Diagnostic {
        let summary = summary.into();
        match self {
            Self::File(at) => Diagnostic::error(summary).at(Some(at.clone())),
            Self::Variable(name) => Diagnostic::error(format!("{name}: {summary}")),
        }
    }
}

#[derive(Debug, Clone)]
pub(super) struct Node {
    pub place: Place,
    pub kind: Kind,
}

#[derive(Debug, Clone)]
pub(super) enum Kind {
    Table(BTreeMap<String, Node>),
    List(Vec<Node>),
    String(String),
    Integer(i64),
    Boolean(bool),
    /// A float or a date: no setting has such a type.
    Other(&'static str),
}

impl Kind {
    pub(super) fn describe(&self) -> &'static str {
        match self {
            Self::Table(_) => "a table",
            Self::List(_) => "a list",
            Self::String(_) => "text",
            Self::Integer(_) => "a number",
            Self::Boolean(_) => "true or false",
            Self::Other(name) => name,
        }
    }
}

/// The tree of the file with the environment laid over it. Environment variables win.
pub(super) fn read(path: Option<&Path>, env: &BTreeMap<String, String>, found: &mut Vec<Diagnostic>) -> Node {
    let mut root = path.and_then(|path| read_file(path, found)).unwrap_or_else(|| Node {
        place: Place::Variable("environment".to_owned()),
        kind: Kind::Table(BTreeMap::new()),
    });
    for (name, value) in env {
        if let Some(keys) = name.strip_prefix(PREFIX) {
            let keys: Vec<String> = keys.split("__").map(str::to_lowercase).collect();
            overlay(&mut root, &keys, name, value, found);
        }
    }
    root
}

fn read_file(path: &Path, found: &mut Vec<Diagnostic>) -> Option<Node> {
    let name = path.display().to_string();
    let file = match std::fs::read(path) {
        Ok(bytes) => SourceFile::from_bytes(&name, &bytes).map_err(|fault| *fault),
        Err(error) => Err(Diagnostic::error(format!("{name} can't be read: {error}"))),
    };
    let file = file.map_err(|complaint| found.push(complaint)).ok()?;
    let (table, errors) = DeTable::parse_recoverable(&file.text);
    found.extend(errors.iter().map(|error| {
        let at = error.span().map(|span| file.location(span.start));
        Diagnostic::error(error.message().to_owned()).at(at)
    }));
    Some(Node { place: Place::File(file.location(0)), kind: read_table(table.into_inner(), &file) })
}

fn read_table(table: DeTable<'_>, file: &SourceFile) -> Kind {
    let entries = table.into_iter().map(|(key, value)| {
        let place = Place::File(file.location(key.span().start));
        (key.into_inner().into_owned(), Node { place, kind: read_value(value.into_inner(), file) })
    });
    Kind::Table(entries.collect())
}

fn read_value(value: DeValue<'_>, file: &SourceFile) -> Kind {
    match value {
        DeValue::String(text) => Kind::String(text.into_owned()),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
            .map_or(Kind::Other("a number that is too large"), Kind::Integer),
        DeValue::Float(_) => Kind::Other("a number with a fraction"),
        DeValue::Boolean(value) => Kind::Boolean(value),
        DeValue::Datetime(_) => Kind::Other("a date"),
        DeValue::Array(items) => Kind::List(
            items
                .into_iter()
                .map(|item| Node {
                    place: Place::File(file.location(item.span().start)),
                    kind: read_value(item.into_inner(), file),
                })
                .collect(),
        ),
        DeValue::Table(table) => read_table(table, file),
    }
}

fn overlay(node: &mut Node, keys: &[String], variable: &str, value: &str, found: &mut Vec<Diagnostic>) {
    let place = Place::Variable(variable.to_owned());
    let Kind::Table(entries) = &mut node.kind else {
        found.push(place.error("the file has a single value where this variable means a section"));
        return;
    };
    match keys {
        [] => {}
        [key] => {
            entries.insert(key.clone(), Node { place, kind: Kind::String(value.to_owned()) });
        }
        [key, rest @ ..] => {
            let section =
                entries.entry(key.clone()).or_insert_with(|| Node { place, kind: Kind::Table(BTreeMap::new()) });
            overlay(section, rest, variable, value, found);
        }
    }
}
