//! Reading one component's options.

use std::cell::RefCell;
use std::time::Duration;

use indexmap::IndexMap;

use crate::domain::bundle::{Bundle, BundleFile};
use crate::domain::config::LateString;
use crate::domain::diagnostic::{Diagnostic, Hint, SourceLocation};
use crate::template::duration;
use crate::template::late;
use crate::template::legacy::early::{self, Early, Late, NOW};
use crate::template::options::{Content, Entry, Language, Node, Options};

const NOT_HERE: &str = "use it in a provisioner's inline, environment_vars, env, content or execute_command, and let the \
    script work with it";

/// What of the build a late text asks for, as templates write it.
fn asked(text: &str, context: &Context<'_>) -> String {
    let waiting = late::named(text).next().and_then(|number| context.early.runtime.late.asked(number));
    let name = || text.split_once("{{ build `").and_then(|(_, rest)| rest.split_once('`'));
    let name = waiting.or_else(|| name().map(|(name, _)| format!("build.{name}")));
    name.unwrap_or_else(|| "what it uses of build".to_owned())
}

/// What decoding may look at, and where it puts complaints.
#[derive(Debug)]
pub struct Context<'a> {
    pub bundle: &'a Bundle,
    pub early: Early<'a>,
    pub complaints: &'a RefCell<Vec<Diagnostic>>,
}

/// Why an option that Packer has is not taken.
#[derive(Debug, Clone, Copy)]
pub enum Rule {
    /// It can't be done in a server, and never will be; the text says what to do instead.
    Refused(&'static str),
    /// It is missing; the text says what comes nearest, and may be empty.
    NotYet(&'static str),
}

/// Options that are known and not taken.
pub type Rules = &'static [(&'static str, Rule)];

/// A string option with its place.
#[derive(Debug, Clone)]
pub struct Located<T> {
    pub value: T,
    pub at: SourceLocation,
}

/// Reads options by name; what was not asked for by [`Decoder::finish`] is complained about.
#[derive(Debug)]
pub struct Decoder<'a> {
    pub options: &'a Options,
    pub context: &'a Context<'a>,
    pub(super) asked: RefCell<Vec<&'static str>>,
    pub(super) asked_blocks: RefCell<Vec<&'static str>>,
    /// Options whose value was complained about.
    failed: RefCell<Vec<&'static str>>,
}

impl<'a> Decoder<'a> {
    #[must_use]
    pub fn new(options: &'a Options, context: &'a Context<'a>) -> Self {
        Self {
            options,
            context,
            asked: RefCell::default(),
            asked_blocks: RefCell::default(),
            failed: RefCell::default(),
        }
    }

    /// Adds an error.
    pub fn error(&self, at: &SourceLocation, summary: impl Into<String>, detail: impl Into<Hint>) {
        let diagnostic = Diagnostic::error(summary).with_detail(detail).at(Some(at.clone()));
        self.context.complaints.borrow_mut().push(diagnostic);
    }

    /// Adds a warning.
    pub fn warn(&self, at: &SourceLocation, summary: impl Into<String>, detail: impl Into<Hint>) {
        let diagnostic = Diagnostic::warning(summary).with_detail(detail).at(Some(at.clone()));
        self.context.complaints.borrow_mut().push(diagnostic);
    }

    /// Adds an error at an option, or at the component when the option is not given.
    pub fn error_at(&self, name: &str, summary: impl Into<String>, detail: impl Into<Hint>) {
        self.error(self.place(name).unwrap_or(self.at()), summary, detail);
    }

    /// As [`Decoder::error_at`], at the option's value.
    pub fn error_at_value(&self, name: &str, summary: impl Into<String>, detail: impl Into<Hint>) {
        let value = self.attribute(name).map(|entry| &entry.node.at);
        self.error(value.unwrap_or(self.at()), summary, detail);
    }

    /// Adds a warning at an option, or at the component when the option is not given.
    pub fn warn_at(&self, name: &str, summary: impl Into<String>, detail: impl Into<Hint>) {
        self.warn(self.place(name).unwrap_or(self.at()), summary, detail);
    }

    /// Adds the error that an option, or a value of it, is missing here; `instead` says what comes nearest.
    pub fn not_yet(&self, name: &str, instead: &str) {
        self.error_at(name, format!("{name} is not supported yet"), instead);
    }

    /// Where the component begins.
    #[must_use]
    pub fn at(&self) -> &'a SourceLocation {
        &self.options.at
    }

    pub(super) fn matches(&self, key: &str, name: &str) -> bool {
        key == name || (self.options.language == Language::Json && key.eq_ignore_ascii_case(name))
    }

    /// Finds an attribute, whatever its value is.
    fn attribute(&self, name: &str) -> Option<&'a Entry> {
        self.options.attributes.iter().find(|entry| self.matches(&entry.key, name))
    }

    /// Finds an attribute; null counts as not given.
    fn entry(&self, name: &'static str) -> Option<&'a Entry> {
        self.asked.borrow_mut().push(name);
        let found = self.attribute(name)?;
        (!matches!(found.node.content, Content::Null | Content::Unknown)).then_some(found)
    }

    /// Leaves an option to whoever reads it elsewhere.
    pub fn leave(&self, name: &'static str) {
        self.asked.borrow_mut().push(name);
    }

    /// Where an option stands, if it is given, even when its value is unusable.
    #[must_use]
    pub fn place(&self, name: &str) -> Option<&'a SourceLocation> {
        let block = || self.options.blocks.iter().find(|(key, _)| key == name).map(|(_, block)| &block.at);
        self.attribute(name).map(|entry| &entry.key_at).or_else(block)
    }

    /// Where an option that says something stands: null and empty values say nothing.
    #[must_use]
    pub fn given(&self, name: &str) -> Option<&'a SourceLocation> {
        self.attribute(name).filter(|entry| !entry.node.is_empty()).map(|entry| &entry.key_at)
    }

    /// Whether something of an option could not be worked out, so that nothing can be said of what it lacks: its value, a
    /// part of it, how many of its blocks there are, or what all else the component holds. Faults among these were already
    /// complained about.
    #[must_use]
    pub fn is_unknown(&self, name: &str) -> bool {
        let attribute = self.attribute(name);
        self.failed.borrow().contains(&name)
            || attribute.is_some_and(|entry| entry.node.is_unknown())
            || self.options.blocks.iter().any(|(key, block)| key == name && block.is_unknown())
            || (self.options.open && attribute.is_none())
    }

    /// [`Decoder::is_unknown`], of any of these.
    #[must_use]
    pub fn any_unknown(&self, names: &[&str]) -> bool {
        names.iter().any(|name| self.is_unknown(name))
    }

    /// Adds an error about an option's value, which counts as unknown from here on.
    pub(super) fn fail(
        &self,
        name: &'static str,
        at: &SourceLocation,
        summary: impl Into<String>,
        detail: impl Into<Hint>,
    ) {
        self.failed.borrow_mut().push(name);
        self.error(at, summary, detail);
    }

    /// Renders the `{{ }}` of a text.
    fn rendered(&self, text: &str, at: &SourceLocation, late: Late) -> Option<String> {
        self.context.early.told.set(false);
        let rendered = early::render(text, &self.context.early, late);
        for warning in self.context.early.warnings.borrow_mut().drain(..) {
            self.context.complaints.borrow_mut().push(Diagnostic::warning(warning).at(Some(at.clone())));
        }
        match rendered {
            Ok(text) => Some(text),
            // Why it has no value was told where that is so.
            Err(_) if self.context.early.told.take() => None,
            Err(fault) => {
                let (place, end) = self.context.early.place(at, &fault);
                let diagnostic = Diagnostic::error(fault.message).with_detail(fault.hint).at(Some(place)).until(end);
                self.context.complaints.borrow_mut().push(diagnostic);
                None
            }
        }
    }

    /// A list or a map of which only the build, while it runs, knows what it holds.
    fn late_collection(&self, node: &Node, name: &str, text: &str) {
        let asked = asked(text, self.context);
        let summary = format!("{name} is needed before the build runs, and how much it holds depends on {asked}");
        self.error(&node.at, summary, "write it out here; what its elements say may depend on build");
    }

    fn node_text(&self, node: &Node, name: &str, late: Late) -> Option<String> {
        if let Content::LateCollection(text) = &node.content {
            self.late_collection(node, name, text);
            return None;
        }
        let Some(text) = node.scalar() else {
            match node.content {
                Content::Unknown => {}
                Content::Null => {
                    let detail =
                        "what is in a list or map can't be null: leave it out, as [for x in … : x if x != null] does";
                    self.error(&node.at, format!("{name} is null"), detail);
                }
                _ => self.error(&node.at, format!("{name} must be a string, this is {}", node.type_name()), ""),
            }
            return None;
        };
        if matches!(node.content, Content::Late(_)) && !late.build {
            let summary = format!(
                "{name} is needed before the build runs, and {} is known only then",
                asked(&text, self.context)
            );
            self.error(&node.at, summary, NOT_HERE);
            return None;
        }
        self.rendered(&text, &node.at, late)
    }

    /// Whether values must be of an option's type. HCL2 converts between strings, numbers and bools only; JSON's, and those
    /// of an `override`, come in many forms: a text with commas is a list, 1 is `true`, an empty string says nothing.
    fn is_strict(&self, name: &str) -> bool {
        self.options.language == Language::Hcl2 && !self.options.overridden.iter().any(|given| given == name)
    }

    /// The text of an option that is given.
    fn read(&self, name: &'static str, late: Late) -> Option<(&'a Node, String)> {
        let node = &self.entry(name)?.node;
        let text = self.node_text(node, name, late);
        if text.is_none() {
            self.failed.borrow_mut().push(name);
        }
        Some((node, text?))
    }

    /// A string; empty counts as not given, as in Packer.
    pub fn text(&self, name: &'static str) -> Option<Located<String>> {
        let (node, value) = self.read(name, NOW)?;
        (!value.is_empty()).then(|| Located { value, at: node.at.clone() })
    }

    /// Like [`Decoder::text`], without the place.
    pub fn string(&self, name: &'static str) -> Option<String> {
        self.text(name).map(|text| text.value)
    }

    /// A string that may keep late actions; empty counts as not given.
    pub fn late(&self, name: &'static str, late: Late) -> Option<LateString> {
        let (_, value) = self.read(name, late)?;
        (!value.is_empty()).then_some(LateString(value))
    }

    /// A string that may keep late actions, and may be empty.
    pub fn late_or_empty(&self, name: &'static str, late: Late) -> Option<LateString> {
        self.read(name, late).map(|(_, text)| LateString(text))
    }

    /// A bool: `true`, `"true"`, `"1"` and their opposites; in JSON also 1, and an empty string counts as not given.
    pub fn flag(&self, name: &'static str) -> Option<bool> {
        let (node, text) = self.read(name, NOW)?;
        let strict = self.is_strict(name);
        match text.as_str() {
            "1" | "0" if strict && matches!(node.content, Content::Number(_)) => {
                let instead = if text == "1" { "write true" } else { "write false" };
                self.fail(name, &node.at, format!("{name} must be true or false, this is a number"), instead);
                None
            }
            "true" | "1" => Some(true),
            "false" | "0" => Some(false),
            "" if !strict => None,
            "t" | "T" | "TRUE" | "True" if !strict => Some(true),
            "f" | "F" | "FALSE" | "False" if !strict => Some(false),
            _ => {
                self.fail(name, &node.at, format!("{name} must be true or false"), "");
                None
            }
        }
    }

    /// A whole number within bounds; also as a string, which in JSON may be empty.
    pub fn integer(&self, name: &'static str, min: i32, max: i32) -> Option<i32> {
        let (node, text) = self.read(name, NOW)?;
        if text.is_empty() && !self.is_strict(name) {
            return None;
        }
        match text.parse::<i32>() {
            Ok(number) if (min..=max).contains(&number) => Some(number),
            Ok(_) => {
                self.fail(name, &node.at, format!("{name} must be from {min} to {max}"), "");
                None
            }
            Err(_) => {
                self.fail(name, &node.at, format!("{name} must be a whole number"), "");
                None
            }
        }
    }

    /// A duration such as `5m`.
    pub fn duration(&self, name: &'static str) -> Option<Duration> {
        let (node, text) = self.read(name, NOW)?;
        if text.is_empty() {
            return None;
        }
        let parsed = duration::parse(&text);
        if parsed.is_none() {
            self.fail(
                name,
                &node.at,
                format!("{name} must be a duration, {text:?} is none"),
                "write a number with its unit: 30s, 5m, 1h30m",
            );
        }
        parsed
    }

    /// A list of strings with places. In JSON a text is a list of its comma-separated parts, as in Packer.
    pub fn texts(&self, name: &'static str) -> Vec<Located<String>> {
        self.list(name, NOW)
    }

    /// A list of strings as [`Decoder::texts`] splits it, without the empty ones.
    pub fn strings(&self, name: &'static str) -> Vec<String> {
        self.texts(name).into_iter().map(|text| text.value).filter(|text| !text.is_empty()).collect()
    }

    /// A list of strings that may keep late actions.
    pub fn late_list(&self, name: &'static str, late: Late) -> Vec<LateString> {
        self.list(name, late).into_iter().map(|text| LateString(text.value)).collect()
    }

    /// A list of strings that may keep late actions, with places; see [`Decoder::texts`].
    pub fn list(&self, name: &'static str, late: Late) -> Vec<Located<String>> {
        let Some(entry) = self.entry(name) else { return Vec::new() };
        let node = &entry.node;
        match &node.content {
            Content::List(items) => {
                let element = format!("an element of {name}");
                let texts = items.iter().filter_map(|item| {
                    let value = self.node_text(item, &element, late);
                    if value.is_none() {
                        self.failed.borrow_mut().push(name);
                    }
                    Some(Located { value: value?, at: item.at.clone() })
                });
                texts.collect()
            }
            Content::LateCollection(text) => {
                self.late_collection(node, name, text);
                Vec::new()
            }
            Content::Map(_) => {
                let summary = format!("{name} must be a list, this is a map");
                self.fail(name, &node.at, summary, format!("write {name} = [ … ]"));
                Vec::new()
            }
            _ if self.is_strict(name) => {
                let has_comma = matches!(&node.content, Content::String(text) if text.contains(','));
                let more = if has_comma { "; split(\",\", …) makes one of a text with commas" } else { "" };
                let summary = format!("{name} must be a list, this is {}", node.type_name());
                self.fail(name, &node.at, summary, format!("write {name} = [ … ]{more}"));
                Vec::new()
            }
            _ => {
                let Some((_, text)) = self.read(name, late).filter(|(_, text)| !text.is_empty()) else {
                    return Vec::new();
                };
                text.split(',').map(|part| Located { value: part.to_owned(), at: node.at.clone() }).collect()
            }
        }
    }

    /// A map of strings.
    pub fn map(&self, name: &'static str, late: Late) -> Vec<(Located<String>, Located<LateString>)> {
        let Some(entry) = self.entry(name) else { return Vec::new() };
        let (node, strict) = (&entry.node, self.is_strict(name));
        let entries: Vec<&Entry> = match &node.content {
            Content::Map(entries) => entries.iter().collect(),
            Content::LateCollection(text) => {
                self.late_collection(node, name, text);
                return Vec::new();
            }
            // A list of maps is merged, as JSON made from HCL1 has it.
            Content::List(items) if !strict && items.iter().all(|item| matches!(item.content, Content::Map(_))) => {
                items
                    .iter()
                    .flat_map(|item| match &item.content {
                        Content::Map(entries) => entries.as_slice(),
                        _ => &[],
                    })
                    .collect()
            }
            _ => {
                if strict || !node.is_empty() {
                    let summary = format!("{name} must be a map, this is {}", node.type_name());
                    self.fail(name, &node.at, summary, format!("write {name} = {{ Key = \"value\" }}"));
                }
                return Vec::new();
            }
        };
        let mut result = Vec::new();
        for entry in entries {
            let key = self.rendered(&entry.key, &entry.key_at, NOW);
            let what = format!("{name}.{}", entry.key);
            let value = match entry.node.content {
                Content::Null if !strict => Some(String::new()),
                _ => self.node_text(&entry.node, &what, late),
            };
            if let (Some(key), Some(value)) = (key, value) {
                let value = Located { value: LateString(value), at: entry.node.at.clone() };
                result.push((Located { value: key, at: entry.key_at.clone() }, value));
            } else {
                self.failed.borrow_mut().push(name);
            }
        }
        result
    }

    /// A map as the configuration keeps it.
    pub fn late_map(&self, name: &'static str, late: Late) -> IndexMap<String, LateString> {
        self.map(name, late).into_iter().map(|(key, value)| (key.value, value.value)).collect()
    }

    /// The blocks of a name; in JSON an object, or a list of objects.
    pub fn blocks(&self, name: &'static str) -> Vec<Options> {
        self.asked_blocks.borrow_mut().push(name);
        if self.options.language == Language::Hcl2 {
            return self.options.blocks.iter().filter(|(key, _)| key == name).map(|(_, block)| block.clone()).collect();
        }
        let Some(entry) = self.attribute(name) else { return Vec::new() };
        let nodes = match &entry.node.content {
            Content::List(items) => items.iter().collect(),
            _ => vec![&entry.node],
        };
        let mut result = Vec::new();
        for node in nodes {
            match &node.content {
                Content::Map(entries) => result.push(Options::from_entries(entries.clone(), node.at.clone())),
                Content::Null | Content::Unknown => {}
                _ => self.fail(name, &node.at, format!("{name} must be an object, this is {}", node.type_name()), ""),
            }
        }
        result
    }

    /// The one block of a name; a second one is an error.
    pub fn block(&self, name: &'static str) -> Option<Options> {
        self.one(name, self.blocks(name))
    }

    /// As [`Decoder::block`], with [`Decoder::blocks_or_maps`].
    pub fn block_or_map(&self, name: &'static str) -> Option<Options> {
        self.one(name, self.blocks_or_maps(name))
    }

    fn one(&self, name: &str, found: Vec<Options>) -> Option<Options> {
        // Of those that an unknown number stands for there may be none.
        let (open, mut sure): (Vec<_>, Vec<_>) = found.into_iter().partition(|options| options.open);
        if let Some(second) = sure.get(1) {
            self.error(&second.at, format!("{name} can be given only once"), "");
        }
        sure.truncate(1);
        sure.into_iter().chain(open).next()
    }

    /// As [`Decoder::blocks`], also of an attribute that is a map or a list of maps: Packer's documentation writes some
    /// blocks so.
    pub fn blocks_or_maps(&self, name: &'static str) -> Vec<Options> {
        let mut found = self.blocks(name);
        if self.options.language == Language::Json {
            return found;
        }
        let Some(entry) = self.entry(name) else { return found };
        let nodes = match &entry.node.content {
            Content::List(items) => items.iter().collect(),
            _ => vec![&entry.node],
        };
        for node in nodes {
            match &node.content {
                Content::Map(entries) => found.push(Options {
                    language: Language::Hcl2,
                    ..Options::from_entries(entries.clone(), node.at.clone())
                }),
                Content::Null | Content::Unknown => {}
                _ => self.error(&node.at, format!("{name} must be a block, this is {}", node.type_name()), ""),
            }
        }
        found
    }

    /// The file of a path that an option names. Complains when the path leaves the bundle or names no file.
    pub fn bundle_file(&self, path: &Located<String>, name: &str) -> Option<(String, &'a BundleFile)> {
        match self.context.bundle.resolve(&path.value) {
            Ok(Some((path, file))) => Some((path.to_owned(), file)),
            Ok(None) => {
                let summary = format!("{name}: the bundle has no file {:?}", path.value);
                self.error(
                    &path.at,
                    summary,
                    "send the file with the template; paths count from the template's folder",
                );
                None
            }
            Err(error) => {
                self.error(&path.at, format!("{name}: {error}"), error.advice());
                None
            }
        }
    }
}
