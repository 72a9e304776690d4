//! Values of the template language. Collections are shared, know their size, and carry whether something sensitive,
//! unknown or late is inside them, so a value that a template made is never walked to find that out.

use std::sync::Arc;

use indexmap::IndexMap;
use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfc_quick};

use super::number::Number;

/// A value with its marks.
#[derive(Debug, Clone)]
pub struct Value {
    kind: Kind,
    sensitive: bool,
    late: Late,
}

/// Whether a value is known only while the build runs. It is a string then, whose `{{ … }}` are rendered by the step: it
/// can be put into other text and into collections, and anything else that is done with it has to wait too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Late {
    #[default]
    No,
    /// Text with `build.…` in it.
    Text,
    /// The value of an expression that waits, by its number; what can be told of it says that it is text.
    Expression(u32),
    /// The value of an expression that waits and gives a list or a map.
    Collection(u32),
}

/// What a value is.
#[derive(Debug, Clone)]
pub enum Kind {
    Null,
    /// Could not be worked out, and the reason was already reported: whoever meets it says nothing more.
    Unknown,
    Bool(bool),
    Number(Number),
    String(Arc<str>),
    Sequence(Arc<Sequence>),
    Mapping(Arc<Mapping>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SequenceShape {
    Tuple,
    List,
    Set,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MappingShape {
    Object,
    Map,
}

#[derive(Debug)]
pub struct Sequence {
    pub shape: SequenceShape,
    pub items: Vec<Value>,
    summary: Summary,
}

/// Entries are in the order the template gives them; [`Mapping::sorted`] is the order the language iterates in.
#[derive(Debug)]
pub struct Mapping {
    pub shape: MappingShape,
    pub entries: IndexMap<String, Value>,
    summary: Summary,
}

/// What a value weighs that is no text: a fraction of the memory it takes.
const SCALAR_WEIGHT: u64 = 8;
/// Numbers that need big arithmetic take longer to work with.
const LARGE_NUMBER_WEIGHT: u64 = 64;

/// What is known of a collection's inside.
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own about what is inside")]
#[derive(Debug, Clone, Copy, Default)]
struct Summary {
    /// Bytes of text, and something for each value, counted as if nothing were shared.
    weight: u64,
    depth: u32,
    sensitive: bool,
    unknown: bool,
    late: bool,
    /// Something late that may be no text.
    waits: bool,
}

impl Summary {
    fn of<'a>(values: impl Iterator<Item = &'a Value>) -> Self {
        let mut summary = Self { weight: 1, ..Self::default() };
        for value in values {
            summary.weight = summary.weight.saturating_add(value.weight());
            summary.depth = summary.depth.max(value.depth());
            summary.sensitive |= value.is_sensitive();
            summary.unknown |= value.is_unknown();
            summary.late |= value.is_late();
            summary.waits |= value.waits();
        }
        summary.depth = summary.depth.saturating_add(1);
        summary
    }
}

impl Mapping {
    /// Entries by key, as `for`, `keys` and `jsonencode` see them.
    #[must_use]
    pub fn sorted(&self) -> Vec<(&String, &Value)> {
        let mut entries: Vec<_> = self.entries.iter().collect();
        entries.sort_by_key(|(key, _)| *key);
        entries
    }
}

impl Value {
    pub const NULL: Self = Self::plain(Kind::Null);
    pub const UNKNOWN: Self = Self::plain(Kind::Unknown);

    const fn plain(kind: Kind) -> Self {
        Self { kind, sensitive: false, late: Late::No }
    }

    /// A string. Text of the language is in Unicode's normal form C, whatever it is made of.
    #[must_use]
    pub fn string(text: impl Into<Arc<str>>) -> Self {
        let mut text: Arc<str> = text.into();
        if !text.is_ascii() && is_nfc_quick(text.chars()) != IsNormalized::Yes {
            text = text.nfc().collect::<String>().into();
        }
        Self::plain(Kind::String(text))
    }

    #[must_use]
    pub fn bool(flag: bool) -> Self {
        Self::plain(Kind::Bool(flag))
    }

    pub fn number(number: impl Into<Number>) -> Self {
        Self::plain(Kind::Number(number.into()))
    }

    #[must_use]
    pub fn sequence(shape: SequenceShape, items: Vec<Self>) -> Self {
        let summary = Summary::of(items.iter());
        Self::plain(Kind::Sequence(Arc::new(Sequence { shape, items, summary })))
    }

    #[must_use]
    pub fn tuple(items: Vec<Self>) -> Self {
        Self::sequence(SequenceShape::Tuple, items)
    }

    #[must_use]
    pub fn list(items: Vec<Self>) -> Self {
        Self::sequence(SequenceShape::List, items)
    }

    /// A set: sorted, without repetitions.
    #[must_use]
    pub fn set(mut items: Vec<Self>) -> Self {
        items.sort_by_cached_key(Self::sort_key);
        items.dedup();
        Self::sequence(SequenceShape::Set, items)
    }

    #[must_use]
    pub fn mapping(shape: MappingShape, entries: IndexMap<String, Self>) -> Self {
        let mut summary = Summary::of(entries.values());
        let keys: u64 = entries.keys().map(|key| key.len() as u64).sum();
        summary.weight = summary.weight.saturating_add(keys);
        Self::plain(Kind::Mapping(Arc::new(Mapping { shape, entries, summary })))
    }

    #[must_use]
    pub fn object(entries: IndexMap<String, Self>) -> Self {
        Self::mapping(MappingShape::Object, entries)
    }

    #[must_use]
    pub fn kind(&self) -> &Kind {
        &self.kind
    }

    #[must_use]
    pub fn marked(mut self, sensitive: bool) -> Self {
        self.sensitive |= sensitive;
        self
    }

    /// The value with another mark of what is late.
    #[must_use]
    pub fn with_late(mut self, late: Late) -> Self {
        self.late = late;
        self
    }

    /// Whether the value itself waits for the build; for a collection see [`Value::is_late`].
    #[must_use]
    pub fn late(&self) -> Late {
        self.late
    }

    /// Whether the value, or anything in it, is known only while the build runs.
    #[must_use]
    pub fn is_late(&self) -> bool {
        self.late != Late::No
            || match &self.kind {
                Kind::Sequence(sequence) => sequence.summary.late,
                Kind::Mapping(mapping) => mapping.summary.late,
                _ => false,
            }
    }

    /// Whether the value, or anything in it, is an expression's, which may turn out to be a list or a map.
    #[must_use]
    pub fn waits(&self) -> bool {
        matches!(self.late, Late::Expression(_) | Late::Collection(_))
            || match &self.kind {
                Kind::Sequence(sequence) => sequence.summary.waits,
                Kind::Mapping(mapping) => mapping.summary.waits,
                _ => false,
            }
    }

    /// Whether the value, or anything in it, is sensitive.
    #[must_use]
    pub fn is_sensitive(&self) -> bool {
        self.sensitive
            || match &self.kind {
                Kind::Sequence(sequence) => sequence.summary.sensitive,
                Kind::Mapping(mapping) => mapping.summary.sensitive,
                _ => false,
            }
    }

    /// Whether the mark is on the value itself, which then covers all of it.
    #[must_use]
    pub fn is_marked(&self) -> bool {
        self.sensitive
    }

    /// Whether the value, or anything in it, is unknown.
    #[must_use]
    pub fn is_unknown(&self) -> bool {
        match &self.kind {
            Kind::Unknown => true,
            Kind::Sequence(sequence) => sequence.summary.unknown,
            Kind::Mapping(mapping) => mapping.summary.unknown,
            _ => false,
        }
    }

    #[must_use]
    pub fn is_null(&self) -> bool {
        matches!(self.kind, Kind::Null)
    }

    #[must_use]
    pub fn weight(&self) -> u64 {
        match &self.kind {
            Kind::String(text) => text.len() as u64 + 1,
            Kind::Sequence(sequence) => sequence.summary.weight,
            Kind::Mapping(mapping) => mapping.summary.weight,
            Kind::Number(number) if !number.is_small() => LARGE_NUMBER_WEIGHT,
            _ => SCALAR_WEIGHT,
        }
    }

    #[must_use]
    pub fn depth(&self) -> u32 {
        match &self.kind {
            Kind::Sequence(sequence) => sequence.summary.depth,
            Kind::Mapping(mapping) => mapping.summary.depth,
            _ => 0,
        }
    }

    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        match &self.kind {
            Kind::String(text) => Some(text),
            _ => None,
        }
    }

    #[must_use]
    pub fn as_items(&self) -> Option<&[Self]> {
        match &self.kind {
            Kind::Sequence(sequence) => Some(&sequence.items),
            _ => None,
        }
    }

    #[must_use]
    pub fn as_mapping(&self) -> Option<&Mapping> {
        match &self.kind {
            Kind::Mapping(mapping) => Some(mapping),
            _ => None,
        }
    }

    /// How messages call the value's type.
    #[must_use]
    pub fn type_name(&self) -> &'static str {
        match &self.kind {
            Kind::Null => "null",
            Kind::Unknown => "unknown",
            Kind::Bool(_) => "bool",
            Kind::Number(_) => "number",
            Kind::String(_) => "string",
            Kind::Sequence(sequence) => match sequence.shape {
                SequenceShape::Tuple => "tuple",
                SequenceShape::List => "list",
                SequenceShape::Set => "set",
            },
            Kind::Mapping(mapping) => match mapping.shape {
                MappingShape::Object => "object",
                MappingShape::Map => "map",
            },
        }
    }

    /// The text of a string, number or bool, as a string template writes it.
    #[must_use]
    pub fn to_text(&self) -> Option<Arc<str>> {
        match &self.kind {
            Kind::String(text) => Some(Arc::clone(text)),
            Kind::Bool(flag) => Some(flag.to_string().into()),
            Kind::Number(number) => Some(number.to_string().into()),
            _ => None,
        }
    }

    /// As JSON; unknown becomes null.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        use serde_json::Value as Json;
        match &self.kind {
            Kind::Null | Kind::Unknown => Json::Null,
            Kind::Bool(flag) => Json::Bool(*flag),
            Kind::Number(number) => {
                if let Some(whole) = number.to_i64() {
                    return Json::from(whole);
                }
                serde_json::Number::from_f64(number.to_f64()).map_or(Json::Null, Json::Number)
            }
            Kind::String(text) => Json::String(text.to_string()),
            Kind::Sequence(sequence) => Json::Array(sequence.items.iter().map(Self::to_json).collect()),
            Kind::Mapping(mapping) => {
                Json::Object(mapping.sorted().into_iter().map(|(key, value)| (key.clone(), value.to_json())).collect())
            }
        }
    }

    /// From JSON; `None` when a number does not fit.
    #[must_use]
    pub fn from_json(json: &serde_json::Value) -> Option<Self> {
        use serde_json::Value as Json;
        Some(match json {
            Json::Null => Self::NULL,
            Json::Bool(flag) => Self::bool(*flag),
            Json::Number(number) => Self::number(Number::parse(&number.to_string())?),
            Json::String(text) => Self::string(text.as_str()),
            Json::Array(items) => Self::tuple(items.iter().map(Self::from_json).collect::<Option<_>>()?),
            Json::Object(entries) => Self::object(
                entries
                    .iter()
                    .map(|(key, value)| Some((key.clone(), Self::from_json(value)?)))
                    .collect::<Option<_>>()?,
            ),
        })
    }

    /// Adds every string in the value, numbers as their digits, to `into`.
    pub fn leaf_strings(&self, into: &mut Vec<String>) {
        match &self.kind {
            Kind::String(text) => into.push(text.to_string()),
            Kind::Number(number) => into.push(number.to_string()),
            Kind::Sequence(sequence) => sequence.items.iter().for_each(|item| item.leaf_strings(into)),
            Kind::Mapping(mapping) => mapping.entries.values().for_each(|value| value.leaf_strings(into)),
            Kind::Null | Kind::Unknown | Kind::Bool(_) => {}
        }
    }

    fn sort_key(&self) -> (u8, Option<Number>, String) {
        match &self.kind {
            Kind::Null | Kind::Unknown => (0, None, String::new()),
            Kind::Bool(flag) => (1, None, flag.to_string()),
            Kind::Number(number) => (2, Some(*number), String::new()),
            Kind::String(text) => (3, None, text.to_string()),
            _ => (4, None, self.to_json().to_string()),
        }
    }
}

/// Equality of content; marks and the difference between a tuple and a list do not count.
impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        match (&self.kind, &other.kind) {
            (Kind::Null, Kind::Null) | (Kind::Unknown, Kind::Unknown) => true,
            (Kind::Bool(left), Kind::Bool(right)) => left == right,
            (Kind::Number(left), Kind::Number(right)) => left == right,
            (Kind::String(left), Kind::String(right)) => left == right,
            (Kind::Sequence(left), Kind::Sequence(right)) => left.items == right.items,
            (Kind::Mapping(left), Kind::Mapping(right)) => left.entries == right.entries,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_collection_knows_what_is_in_it() {
        let secret = Value::string("s").marked(true);
        let list = Value::tuple(vec![Value::tuple(vec![secret]), Value::UNKNOWN]);
        assert!(list.is_sensitive() && !list.is_marked() && list.is_unknown());
        assert_eq!(list.depth(), 2);
        assert_eq!(list.weight(), 12);
    }

    #[test]
    fn shared_values_count_each_time() {
        let mut value = Value::string("0123456789");
        for _ in 0..60 {
            value = Value::tuple(vec![value.clone(), value]);
        }
        assert!(value.weight() > u64::from(u32::MAX));
    }

    #[test]
    fn sets_are_sorted_and_hold_a_value_once() {
        let set = Value::set(vec![Value::number(10_i64), Value::number(9_i64), Value::number(10_i64)]);
        assert_eq!(set.to_json(), serde_json::json!([9, 10]));
    }
}
