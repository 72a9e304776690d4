//! What an action works with.

use std::collections::BTreeMap;

use crate::template::number_text;

/// A value of Go's text/template, as far as Packer's data has such.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    Nil,
    Text(String),
    Integer(i64),
    Float(f64),
    Bool(bool),
    Map(BTreeMap<String, String>),
}

impl Value {
    /// Text out of anything like it.
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    /// What `{{if}}` takes it for.
    #[must_use]
    pub fn is_true(&self) -> bool {
        match self {
            Self::Nil => false,
            Self::Text(text) => !text.is_empty(),
            Self::Integer(number) => *number != 0,
            Self::Float(number) => *number != 0.0,
            Self::Bool(flag) => *flag,
            Self::Map(map) => !map.is_empty(),
        }
    }

    /// The kind of value, for complaints.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Nil => "nil",
            Self::Text(_) => "a string",
            Self::Integer(_) => "a whole number",
            Self::Float(_) => "a number",
            Self::Bool(_) => "a bool",
            Self::Map(_) => "a map",
        }
    }

    /// As Go's `%v` prints it.
    #[must_use]
    pub fn print(&self) -> String {
        match self {
            Self::Nil => "<nil>".to_owned(),
            Self::Text(text) => text.clone(),
            Self::Integer(number) => number.to_string(),
            Self::Float(number) => number_text::float(*number, 'g', None),
            Self::Bool(flag) => flag.to_string(),
            Self::Map(map) => {
                let entries: Vec<String> = map.iter().map(|(key, value)| format!("{key}:{value}")).collect();
                format!("map[{}]", entries.join(" "))
            }
        }
    }
}
