//! Options as both languages give them: evaluated values that know where they stand. What `decode/` reads.

use indexmap::IndexMap;

use super::number::Number;
use super::value::{Kind, Late, Value};
use crate::domain::config::Locations;
use crate::domain::diagnostic::SourceLocation;

/// A value with its place.
#[derive(Debug, Clone)]
pub struct Node {
    pub at: SourceLocation,
    pub content: Content,
}

#[derive(Debug, Clone)]
pub enum Content {
    Null,
    /// Its fault was already reported.
    Unknown,
    Bool(bool),
    Number(Number),
    String(String),
    /// Text of which the build, while it runs, makes what is meant.
    Late(String),
    /// A list or a map that the build, while it runs, makes of what the text names.
    LateCollection(String),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// A named value.
#[derive(Debug, Clone)]
pub struct Entry {
    pub key: String,
    pub key_at: SourceLocation,
    pub node: Node,
}

/// Which language options come from: JSON is laxer about case, and does not tell blocks from attributes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    Hcl2,
    Json,
}

/// A component's options.
#[derive(Debug, Clone)]
pub struct Options {
    pub language: Language,
    /// Where the component begins.
    pub at: SourceLocation,
    pub attributes: Vec<Entry>,
    /// HCL2's nested blocks; JSON has none.
    pub blocks: Vec<(String, Options)>,
    /// It stands for a number of blocks that is not known yet, possibly none: a `dynamic` block whose `for_each` is unknown
    /// made it, or one around it. What it lacks is no fault.
    pub open: bool,
    /// Attributes that an `override` gives: Packer takes their values as it takes JSON's.
    pub overridden: Vec<String>,
}

impl Node {
    /// A value all of whose parts stand at one place.
    #[must_use]
    pub fn from_value(value: &Value, at: &SourceLocation) -> Self {
        let content = match value.kind() {
            Kind::Null => Content::Null,
            Kind::Unknown => Content::Unknown,
            Kind::Bool(flag) => Content::Bool(*flag),
            Kind::Number(number) => Content::Number(*number),
            Kind::String(text) if matches!(value.late(), Late::Collection(_)) => {
                Content::LateCollection(text.to_string())
            }
            Kind::String(text) if value.is_late() => Content::Late(text.to_string()),
            Kind::String(text) => Content::String(text.to_string()),
            Kind::Sequence(sequence) => {
                Content::List(sequence.items.iter().map(|item| Self::from_value(item, at)).collect())
            }
            Kind::Mapping(mapping) => Content::Map(
                mapping
                    .entries
                    .iter()
                    .map(|(key, item)| Entry { key: key.clone(), key_at: at.clone(), node: Self::from_value(item, at) })
                    .collect(),
            ),
        };
        Self { at: at.clone(), content }
    }

    /// The text of a string, number or bool.
    #[must_use]
    pub fn scalar(&self) -> Option<String> {
        match &self.content {
            Content::String(text) | Content::Late(text) => Some(text.clone()),
            Content::Number(number) => Some(number.to_string()),
            Content::Bool(flag) => Some(flag.to_string()),
            _ => None,
        }
    }

    /// Whether the value says the same as leaving the option out: null, empty, `false` or 0.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        match &self.content {
            Content::Null => true,
            Content::Unknown | Content::Late(_) | Content::LateCollection(_) => false,
            Content::Bool(flag) => !flag,
            Content::Number(number) => *number == Number::ZERO,
            Content::String(text) => text.is_empty(),
            Content::List(items) => items.is_empty(),
            Content::Map(entries) => entries.is_empty(),
        }
    }

    /// Whether the value, or a part of it, could not be worked out, or how much it holds.
    #[must_use]
    pub fn is_unknown(&self) -> bool {
        match &self.content {
            Content::Unknown | Content::LateCollection(_) => true,
            Content::List(items) => items.iter().any(Self::is_unknown),
            Content::Map(entries) => entries.iter().any(|entry| entry.node.is_unknown()),
            _ => false,
        }
    }

    #[must_use]
    pub fn type_name(&self) -> &'static str {
        match &self.content {
            Content::Null => "null",
            Content::Unknown => "unknown",
            Content::Bool(_) => "a bool",
            Content::Number(_) => "a number",
            Content::String(_) | Content::Late(_) => "a string",
            Content::LateCollection(_) => "known only while the build runs",
            Content::List(_) => "a list",
            Content::Map(_) => "a map",
        }
    }
}

impl Options {
    /// Whether something in them, or how much there is, could not be worked out.
    #[must_use]
    pub fn is_unknown(&self) -> bool {
        self.open
            || self.attributes.iter().any(|entry| entry.node.is_unknown())
            || self.blocks.iter().any(|(_, block)| block.is_unknown())
    }

    /// The options of a JSON object.
    #[must_use]
    pub fn from_entries(entries: Vec<Entry>, at: SourceLocation) -> Self {
        Self {
            language: Language::Json,
            at,
            attributes: entries,
            blocks: Vec::new(),
            open: false,
            overridden: Vec::new(),
        }
    }

    /// These options, open when `open` says so, with all blocks in them.
    #[must_use]
    pub fn open_if(mut self, open: bool) -> Self {
        if open {
            self.open = true;
            let blocks = std::mem::take(&mut self.blocks).into_iter();
            self.blocks = blocks.map(|(name, block)| (name, block.open_if(true))).collect();
        }
        self
    }

    /// Where each attribute stands, nested ones with a dot.
    #[must_use]
    pub fn locations(&self) -> Locations {
        let mut locations = IndexMap::new();
        self.collect_locations("", &mut locations);
        locations
    }

    fn collect_locations(&self, prefix: &str, into: &mut Locations) {
        for entry in &self.attributes {
            let name = format!("{prefix}{}", entry.key);
            if let Content::Map(entries) = &entry.node.content {
                for inner in entries {
                    into.entry(format!("{name}.{}", inner.key)).or_insert_with(|| inner.key_at.clone());
                }
            }
            into.entry(name).or_insert_with(|| entry.key_at.clone());
        }
        for (name, block) in &self.blocks {
            let name = format!("{prefix}{name}");
            block.collect_locations(&format!("{name}."), into);
            into.entry(name).or_insert_with(|| block.at.clone());
        }
    }
}
