//! Encodings, hashes and ids.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use indexmap::IndexMap;
use sha2::{Digest, Sha256, Sha512};
use uuid::Uuid;

use super::{Call, Function, FunctionError, FunctionResult, function};
use crate::template::value::Value;

pub(super) const FUNCTIONS: &[Function] = &[
    function("base64decode", 1, 1, |call| {
        let Ok(bytes) = STANDARD.decode(call.text(0)?.trim()) else { return Call::fail(0, "this is no base64") };
        match String::from_utf8(bytes) {
            Ok(text) => Ok(Value::string(text)),
            Err(_) => Call::fail(0, "the decoded bytes are no UTF-8 text"),
        }
    }),
    function("base64encode", 1, 1, |call| Ok(Value::string(STANDARD.encode(call.text(0)?.as_bytes())))),
    function("csvdecode", 1, 1, csv_decode),
    function("jsondecode", 1, 1, |call| match serde_json::from_str(&call.text(0)?) {
        Ok(json) => Value::from_json(&json).ok_or_else(|| "a number has too many digits".into()),
        Err(error) => Call::fail(0, format!("this is no JSON: line {}, column {}", error.line(), error.column())),
    }),
    function("jsonencode", 1, 1, |call| Ok(Value::string(go_json(&call.args[0].to_json())))),
    function("sha256", 1, 1, |call| Ok(Value::string(hex::encode(Sha256::digest(call.text(0)?.as_bytes()))))),
    function("sha512", 1, 1, |call| Ok(Value::string(hex::encode(Sha512::digest(call.text(0)?.as_bytes()))))),
    function("urlencode", 1, 1, |call| Ok(Value::string(url_encode(&call.text(0)?)))),
    function("uuidv4", 0, 0, |call| Ok(Value::string(call.runtime.next_uuid().to_string()))),
    function("uuidv5", 2, 2, uuid_v5),
];

/// JSON as Go writes it: `<`, `>`, `&` and the two line separators are escaped.
fn go_json(json: &serde_json::Value) -> String {
    let mut text = String::new();
    for character in json.to_string().chars() {
        match character {
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                text.extend(['\\', 'u']);
                text.push_str(&hex::encode(u16::try_from(u32::from(character)).unwrap_or(0).to_be_bytes()));
            }
            _ => text.push(character),
        }
    }
    text
}

fn url_encode(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => encoded.push(char::from(byte)),
            b' ' => encoded.push('+'),
            _ => {
                encoded.push('%');
                encoded.push_str(&hex::encode_upper([byte]));
            }
        }
    }
    encoded
}

fn uuid_v5(call: &Call<'_>) -> FunctionResult {
    let namespace = match &*call.text(0)? {
        "dns" => Uuid::NAMESPACE_DNS,
        "url" => Uuid::NAMESPACE_URL,
        "oid" => Uuid::NAMESPACE_OID,
        "x500" => Uuid::NAMESPACE_X500,
        other => match Uuid::parse_str(other) {
            Ok(namespace) => namespace,
            Err(_) => return Call::fail(0, "this is neither dns, url, oid, x500 nor a UUID"),
        },
    };
    Ok(Value::string(Uuid::new_v5(&namespace, call.text(1)?.as_bytes()).to_string()))
}

fn csv_decode(call: &Call<'_>) -> FunctionResult {
    let mut rows = csv_rows(&call.text(0)?)?.into_iter();
    let header = rows.next().unwrap_or_default();
    let mut result = Vec::new();
    for row in rows {
        if row.len() != header.len() {
            return Err(
                format!("row {} has {} fields, the header has {}", result.len() + 2, row.len(), header.len()).into()
            );
        }
        let entries: IndexMap<String, Value> = header.iter().cloned().zip(row.into_iter().map(Value::string)).collect();
        result.push(Value::object(entries));
    }
    Ok(Value::list(result))
}

/// Rows of RFC 4180 CSV; empty lines are skipped.
fn csv_rows(text: &str) -> Result<Vec<Vec<String>>, FunctionError> {
    let mut rows = Vec::new();
    let mut row = Vec::new();
    let mut field = String::new();
    let mut quoted = false;
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '"' if quoted && characters.peek() == Some(&'"') => {
                characters.next();
                field.push('"');
            }
            '"' if quoted => quoted = false,
            '"' if field.is_empty() => quoted = true,
            _ if quoted => field.push(character),
            ',' => row.push(std::mem::take(&mut field)),
            '\r' if characters.peek() == Some(&'\n') => {}
            '\n' => {
                if !(row.is_empty() && field.is_empty()) {
                    row.push(std::mem::take(&mut field));
                    rows.push(std::mem::take(&mut row));
                }
            }
            _ => field.push(character),
        }
    }
    if quoted {
        return Err("a quoted field does not end".into());
    }
    if !(row.is_empty() && field.is_empty()) {
        row.push(field);
        rows.push(row);
    }
    Ok(rows)
}
