//! JSON requests: malformed ones are told the line and column, unknown fields the one that was probably meant.

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::domain::diagnostic::{Diagnostic, SourceLocation};
use crate::domain::error::{Error, Result};
use crate::template::source::did_you_mean;

/// The file name that complaints about a request's body carry.
const BODY: &str = "request body";

/// Reads a request object.
///
/// # Errors
/// `json-invalid` when it is not JSON, `request-invalid` when a field is unknown, missing or of a wrong type.
pub fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T> {
    check_form(bytes)?;
    serde_json::from_slice(bytes).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        let place = format!(" at line {line} column {column}");
        let message = error.to_string().replace(&place, "");
        let at = SourceLocation {
            file: BODY.to_owned(),
            line: u32::try_from(line).unwrap_or(u32::MAX).max(1),
            column: u32::try_from(column).unwrap_or(u32::MAX).max(1),
        };
        let (code, public, detail) = match error.classify() {
            serde_json::error::Category::Data => {
                ("request-invalid", "The request is JSON, but not as this endpoint takes it", hint(&message))
            }
            _ => ("json-invalid", "The body is not JSON", String::new()),
        };
        let public = format!("{public}: {message} (line {}, column {}).", at.line, at.column);
        Error::bad_request(code, public)
            .with_diagnostics(vec![Diagnostic::error(message).with_detail(detail).at(Some(at))])
    })
}

/// What serde would take and the API does not: a list in the place of an object's fields, and U+0000, which no database
/// column can hold.
fn check_form(bytes: &[u8]) -> Result<()> {
    let wrong = |what: &str| Error::bad_request("request-invalid", format!("The request can't be used: {what}."));
    if bytes.trim_ascii_start().first() == Some(&b'[') {
        return Err(wrong("it is a list, and this takes an object: {…}"));
    }
    let escape = b"\\u0000";
    if bytes.windows(escape.len()).any(|window| window == escape)
        && serde_json::from_slice(bytes).is_ok_and(|value: Value| holds_nul(&value))
    {
        return Err(wrong("a text in it holds U+0000"));
    }
    Ok(())
}

fn holds_nul(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains('\0'),
        Value::Array(items) => items.iter().any(holds_nul),
        Value::Object(fields) => fields.iter().any(|(key, value)| key.contains('\0') || holds_nul(value)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

/// From serde's "unknown field `a`, expected one of `b`, `c`".
fn hint(message: &str) -> String {
    let Some(rest) = message.strip_prefix("unknown field ") else { return String::new() };
    let mut quoted = rest.split('`').skip(1).step_by(2);
    let Some(unknown) = quoted.next() else { return String::new() };
    did_you_mean(unknown, quoted).text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Wanted {
        #[expect(dead_code, reason = "only its name and type matter here")]
        template: String,
    }

    #[test]
    fn complaints_have_a_place_and_a_hint() {
        let malformed = parse::<Wanted>(b"{\n  \"template\": }").unwrap_err();
        assert_eq!(malformed.code, "json-invalid");
        assert!(malformed.public.ends_with("(line 2, column 15)."), "{}", malformed.public);
        let unknown = parse::<Wanted>(b"{\"templat\": \"x\"}").unwrap_err();
        assert_eq!(
            (unknown.code, unknown.diagnostics[0].detail.as_str()),
            ("request-invalid", "did you mean \"template\"?")
        );
        assert_eq!(parse::<Wanted>(b"{\"template\": 1}").unwrap_err().code, "request-invalid");
    }
}
