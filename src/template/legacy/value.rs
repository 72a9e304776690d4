//! What an action works with.

use std::collections::BTreeMap;
use std::fmt::Write;

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
            Self::Float(number) => print_float(*number),
            Self::Bool(flag) => flag.to_string(),
            Self::Map(map) => {
                let entries: Vec<String> = map.iter().map(|(key, value)| format!("{key}:{value}")).collect();
                format!("map[{}]", entries.join(" "))
            }
        }
    }
}

/// A number as Go's `%v` prints it: the shortest text, with an exponent when it is below -4 or above 5.
#[must_use]
pub fn print_float(number: f64) -> String {
    let shortest = format!("{number:e}");
    let exponent = shortest.split_once('e').and_then(|(_, exponent)| exponent.parse::<i32>().ok()).unwrap_or(0);
    if number == 0.0 || !number.is_finite() || (-4..6).contains(&exponent) {
        return match () {
            () if number.is_nan() => "NaN".to_owned(),
            () if number.is_infinite() => if number > 0.0 { "+Inf" } else { "-Inf" }.to_owned(),
            () => format!("{number}"),
        };
    }
    exponent_form(&shortest)
}

/// Rust's `1e-7` as Go writes it: `1e-07`.
#[must_use]
pub fn exponent_form(text: &str) -> String {
    let Some((mantissa, exponent)) = text.split_once(['e', 'E']) else { return text.to_owned() };
    let (sign, digits) = exponent.strip_prefix('-').map_or(('+', exponent), |digits| ('-', digits));
    format!("{mantissa}e{sign}{digits:0>2}")
}

/// Text in double quotes that the parser of actions reads back.
#[must_use]
pub fn quote(text: &str) -> String {
    let mut quoted = String::from("\"");
    for character in text.chars() {
        match character {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            other if other.is_control() => {
                // Control characters end at U+009F.
                let _ = write!(quoted, "\\u{:04x}", u32::from(other));
            }
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}
