//! Typed access to one section of the configuration. Every getter notes the key it was asked for, so that what is left
//! over can be refused with the name that was probably meant.

use std::collections::BTreeMap;
use std::time::Duration;

use secrecy::SecretString;

use super::source::{Kind, Node, Place};
use super::units;
use crate::domain::diagnostic::Diagnostic;
use crate::template::source::did_you_mean;

pub(super) struct Section {
    /// `server`, `accounts.prod`; empty for the root.
    name: String,
    place: Place,
    entries: BTreeMap<String, Node>,
    known: Vec<String>,
}

/// A setting with the place to complain about.
pub(super) struct Setting<T> {
    pub value: T,
    pub place: Place,
}

impl Section {
    pub(super) fn root(node: Node) -> Self {
        let Node { place, kind } = node;
        let entries = if let Kind::Table(entries) = kind { entries } else { BTreeMap::new() };
        Self { name: String::new(), place, entries, known: Vec::new() }
    }

    /// A complaint about the section as a whole.
    pub(super) fn error(&self, summary: impl Into<String>) -> Diagnostic {
        self.place.error(summary)
    }

    fn key(&self, key: &str) -> String {
        if self.name.is_empty() { key.to_owned() } else { format!("{}.{key}", self.name) }
    }

    fn take(&mut self, key: &str) -> Option<Node> {
        self.known.push(key.to_owned());
        self.entries.remove(key)
    }

    /// The section below this one; an empty one when it isn't there.
    pub(super) fn section(&mut self, key: &str, found: &mut Vec<Diagnostic>) -> Self {
        let name = self.key(key);
        let (place, entries) = match self.take(key) {
            None => (self.place.clone(), BTreeMap::new()),
            Some(Node { place, kind: Kind::Table(entries) }) => (place, entries),
            Some(Node { place, kind }) => {
                found.push(place.error(format!("{name} is a section ([{name}]), not {}", kind.describe())));
                (place, BTreeMap::new())
            }
        };
        Self { name, place, entries, known: Vec::new() }
    }

    /// All sections below this one, whatever their names.
    pub(super) fn sections(&mut self, found: &mut Vec<Diagnostic>) -> Vec<(String, Self)> {
        let names: Vec<String> = self.entries.keys().cloned().collect();
        names.into_iter().map(|name| (name.clone(), self.section(&name, found))).collect()
    }

    pub(super) fn text(&mut self, key: &str, found: &mut Vec<Diagnostic>) -> Option<Setting<String>> {
        let Node { place, kind } = self.take(key)?;
        if let Kind::String(value) = kind {
            return Some(Setting { value: value.trim().to_owned(), place });
        }
        found.push(place.error(format!("{} must be text in quotes, not {}", self.key(key), kind.describe())));
        None
    }

    pub(super) fn string(&mut self, key: &str, found: &mut Vec<Diagnostic>) -> Option<String> {
        let Setting { value, place } = self.text(key, found)?;
        if value.is_empty() {
            found.push(place.error(format!("{} is empty; leave it out to have the default", self.key(key))));
            return None;
        }
        Some(value)
    }

    /// As `string`; the text of complaints never holds the value.
    pub(super) fn secret(&mut self, key: &str, found: &mut Vec<Diagnostic>) -> Option<SecretString> {
        self.string(key, found).map(SecretString::from)
    }

    /// A value that a parser takes; its complaint follows the key's name.
    pub(super) fn parsed<T>(
        &mut self,
        key: &str,
        found: &mut Vec<Diagnostic>,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let Setting { value, place } = self.text(key, found)?;
        parse(&value).map_err(|complaint| found.push(place.error(format!("{}: {complaint}", self.key(key))))).ok()
    }

    pub(super) fn integer(
        &mut self,
        key: &str,
        range: std::ops::RangeInclusive<i64>,
        found: &mut Vec<Diagnostic>,
    ) -> Option<i64> {
        let Node { place, kind } = self.take(key)?;
        let value = match &kind {
            Kind::Integer(value) => Some(*value),
            Kind::String(text) => text.trim().parse().ok(),
            _ => None,
        };
        match value {
            Some(value) if range.contains(&value) => Some(value),
            _ => {
                let (low, high) = (range.start(), range.end());
                found.push(place.error(format!("{} must be a whole number from {low} to {high}", self.key(key))));
                None
            }
        }
    }

    /// A size: a whole number of bytes, or text such as `64MiB`.
    pub(super) fn bytes(&mut self, key: &str, found: &mut Vec<Diagnostic>) -> Option<usize> {
        let Node { place, kind } = self.take(key)?;
        let value = match &kind {
            Kind::Integer(value) => usize::try_from(*value).map_err(|_| "a size can't be negative".to_owned()),
            Kind::String(text) => units::parse_bytes(text),
            other => Err(format!("must be a size such as \"64MiB\", not {}", other.describe())),
        };
        let value = value.and_then(|bytes| if bytes == 0 { Err("must be more than 0".to_owned()) } else { Ok(bytes) });
        value.map_err(|complaint| found.push(place.error(format!("{}: {complaint}", self.key(key))))).ok()
    }

    pub(super) fn duration(&mut self, key: &str, found: &mut Vec<Diagnostic>) -> Option<Duration> {
        self.parsed(key, found, units::parse_duration)
    }

    /// `true` or `false`; from the environment, as text.
    pub(super) fn boolean(&mut self, key: &str, found: &mut Vec<Diagnostic>) -> Option<bool> {
        let Node { place, kind } = self.take(key)?;
        let value = match &kind {
            Kind::Boolean(value) => Some(*value),
            Kind::String(text) => text.trim().parse().ok(),
            _ => None,
        };
        if value.is_none() {
            found.push(place.error(format!("{} must be true or false", self.key(key))));
        }
        value
    }

    /// A list of texts; from the environment, one text with commas.
    pub(super) fn list(&mut self, key: &str, found: &mut Vec<Diagnostic>) -> Vec<Setting<String>> {
        let Some(Node { place, kind }) = self.take(key) else { return Vec::new() };
        match kind {
            Kind::String(text) if text.trim().is_empty() => Vec::new(),
            Kind::String(text) if text.split(',').any(|item| item.trim().is_empty()) => {
                found.push(place.error(format!("{}: a value is missing beside a comma in {text:?}", self.key(key))));
                Vec::new()
            }
            Kind::String(text) => text
                .split(',')
                .map(str::trim)
                .map(|item| Setting { value: item.to_owned(), place: place.clone() })
                .collect(),
            Kind::List(items) => {
                let name = self.key(key);
                items.into_iter().filter_map(|item| list_item(item, &name, found)).collect()
            }
            other => {
                found.push(place.error(format!("{} must be a list of texts, not {}", self.key(key), other.describe())));
                Vec::new()
            }
        }
    }

    /// Whether a setting is there, whatever it is.
    pub(super) fn has(&self, key: &str) -> bool {
        self.entries.contains_key(key)
    }

    pub(super) fn strings(&mut self, key: &str, found: &mut Vec<Diagnostic>) -> Vec<String> {
        self.list(key, found).into_iter().map(|item| item.value).collect()
    }

    /// A setting that is planned and does nothing yet is refused, so that nobody relies on it.
    pub(super) fn not_yet(&mut self, key: &str, instead: &str, found: &mut Vec<Diagnostic>) {
        if let Some(node) = self.take(key) {
            found.push(node.place.error(format!("{} does not work yet", self.key(key))).with_detail(instead));
        }
    }

    /// Refuses what was not asked for.
    pub(super) fn finish(self, found: &mut Vec<Diagnostic>) {
        for (key, node) in &self.entries {
            let hint = did_you_mean(key, self.known.iter().map(String::as_str)).text;
            let detail = if hint.is_empty() { format!("known here: {}", self.known.join(", ")) } else { hint };
            let what = if matches!(node.kind, Kind::Table(_)) { "section" } else { "setting" };
            found.push(node.place.error(format!("unknown {what} {:?}", self.key(key))).with_detail(detail));
        }
    }
}

fn list_item(item: Node, name: &str, found: &mut Vec<Diagnostic>) -> Option<Setting<String>> {
    let Node { place, kind } = item;
    if let Kind::String(value) = kind {
        return Some(Setting { value, place });
    }
    found.push(place.error(format!("{name} must hold texts in quotes, not {}", kind.describe())));
    None
}
