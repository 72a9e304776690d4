//! What `PostgreSQL`'s `text` and `jsonb` can't hold, and reading them back into the domain's words.

use std::borrow::Cow;
use std::str::FromStr;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::domain::error::{Error, Result};

/// `PostgreSQL` refuses U+0000 in text; what a machine prints may hold it. It becomes U+FFFD.
pub(super) fn storable(text: &str) -> Cow<'_, str> {
    if text.contains('\0') { Cow::Owned(text.replace('\0', "\u{fffd}")) } else { Cow::Borrowed(text) }
}

/// The same for every string and key of a JSON value.
pub(super) fn storable_json(value: Value) -> Value {
    match value {
        Value::String(text) if text.contains('\0') => Value::String(storable(&text).into_owned()),
        Value::Array(items) => Value::Array(items.into_iter().map(storable_json).collect()),
        Value::Object(fields) => Value::Object(
            fields.into_iter().map(|(key, value)| (storable(&key).into_owned(), storable_json(value))).collect(),
        ),
        other => other,
    }
}

pub(super) fn to_json<T: Serialize>(value: &T) -> Result<Value> {
    serde_json::to_value(value)
        .map(storable_json)
        .map_err(|error| Error::internal(format!("can't be written as JSON: {error}")))
}

pub(super) fn from_json<T: DeserializeOwned>(what: &str, value: Value) -> Result<T> {
    serde_json::from_value(value).map_err(|error| Error::internal(format!("stored {what} can't be read: {error}")))
}

/// Reads a state; the schema's CHECKs allow no other text.
pub(super) fn parse<T: FromStr<Err = String>>(what: &str, text: &str) -> Result<T> {
    text.parse().map_err(|error| Error::internal(format!("stored {what} can't be read: {error}")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn nul_is_replaced_everywhere() {
        assert_eq!(storable("a\0b"), "a\u{fffd}b");
        assert_eq!(storable_json(json!({"a\0": ["\0", 1]})), json!({"a\u{fffd}": ["\u{fffd}", 1]}));
    }
}
