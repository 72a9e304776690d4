//! `jsonencode` and `jsondecode`.

use super::{Call, FunctionError, FunctionResult};
use crate::template::value::{Kind, Value};

pub(super) fn decode(call: &Call<'_>) -> FunctionResult {
    let text = call.text(0)?;
    call.runtime.spend(text.len() as u64 / 4)?;
    match serde_json::from_str::<serde_json::Value>(&text) {
        Ok(json) => Value::from_json(&json).ok_or_else(|| FunctionError::at(0, "a number is too large")),
        Err(_) if text.trim().is_empty() => Call::fail(0, "this is no JSON: the text is empty"),
        Err(error) => Call::fail(0, format!("this is no JSON: line {}, column {}", error.line(), error.column())),
    }
}

pub(super) fn encode(call: &Call<'_>) -> FunctionResult {
    let mut text = String::new();
    write(&call.args[0], &mut text);
    Call::reserve(text.len())?;
    Ok(Value::string(text))
}

/// JSON as Go writes it: keys in order, all digits of numbers, and `<`, `>`, `&` escaped.
pub(super) fn write(value: &Value, into: &mut String) {
    match value.kind() {
        Kind::Null | Kind::Unknown => into.push_str("null"),
        Kind::Bool(flag) => into.push_str(if *flag { "true" } else { "false" }),
        Kind::Number(number) => into.push_str(&number.to_string()),
        Kind::String(text) => string(text, into),
        Kind::Sequence(sequence) => {
            into.push('[');
            for (at, item) in sequence.items.iter().enumerate() {
                if at > 0 {
                    into.push(',');
                }
                write(item, into);
            }
            into.push(']');
        }
        Kind::Mapping(mapping) => {
            into.push('{');
            for (at, (key, item)) in mapping.sorted().into_iter().enumerate() {
                if at > 0 {
                    into.push(',');
                }
                string(key, into);
                into.push(':');
                write(item, into);
            }
            into.push('}');
        }
    }
}

fn string(text: &str, into: &mut String) {
    into.push('"');
    for character in text.chars() {
        match character {
            '"' => into.push_str("\\\""),
            '\\' => into.push_str("\\\\"),
            '\n' => into.push_str("\\n"),
            '\r' => into.push_str("\\r"),
            '\t' => into.push_str("\\t"),
            '\u{2028}' => into.push_str("\\u2028"),
            '\u{2029}' => into.push_str("\\u2029"),
            '<' | '>' | '&' | '\0'..='\u{1f}' => {
                into.push_str("\\u00");
                into.push_str(&hex::encode([u8::try_from(u32::from(character)).unwrap_or(0)]));
            }
            _ => into.push(character),
        }
    }
    into.push('"');
}
