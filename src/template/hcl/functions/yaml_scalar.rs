//! What a plain scalar of YAML stands for. zclconf/go-cty-yaml has the words of YAML 1.1, decimal numbers with `_`, and
//! times, which become text.

use chrono::{DateTime, NaiveDate, NaiveDateTime, SecondsFormat};

use crate::template::number::Number;
use crate::template::value::Value;

const TRUE: &[&str] = &["y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"];
const FALSE: &[&str] = &["n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"];
const NULL: &[&str] = &["", "~", "null", "Null", "NULL"];
const INFINITE: &[&str] =
    &[".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF", "-.inf", "-.Inf", "-.INF", ".nan", ".NaN", ".NAN"];

/// A scalar without quotes and without a tag.
///
/// # Errors
/// For numbers that the language has not.
pub(super) fn plain(text: &str) -> Result<Value, String> {
    if TRUE.contains(&text) {
        return Ok(Value::bool(true));
    }
    if FALSE.contains(&text) {
        return Ok(Value::bool(false));
    }
    if NULL.contains(&text) {
        return Ok(Value::NULL);
    }
    if INFINITE.contains(&text) {
        return Err(format!("{text} is no number here"));
    }
    match text.as_bytes().first() {
        Some(b'0'..=b'9' | b'+' | b'-') => {
            if let Some(time) = timestamp(text) {
                return Ok(Value::string(time));
            }
            Ok(integer_or_float(text).map_or_else(|| Value::string(text), Value::number))
        }
        Some(b'.') => Ok(Number::parse(text).map_or_else(|| Value::string(text), Value::number)),
        _ => Ok(Value::string(text)),
    }
}

fn integer_or_float(text: &str) -> Option<Number> {
    let digits = text.replace('_', "");
    if let Some(number) = Number::parse(&digits) {
        return Some(number);
    }
    let (negative, binary) = match digits.strip_prefix("-0b") {
        Some(binary) => (true, binary),
        None => (false, digits.strip_prefix("0b")?),
    };
    let magnitude = i64::from_str_radix(binary, 2).ok()?;
    Some(Number::from(if negative { -magnitude } else { magnitude }))
}

/// A number in base 16, 8 or 2, which only a tag makes one.
fn prefixed(text: &str) -> Option<Number> {
    let digits = text.replace('_', "");
    let (negative, magnitude) = match digits.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, digits.as_str()),
    };
    let radix = match magnitude.get(..2)? {
        "0x" | "0X" => 16,
        "0o" | "0O" => 8,
        "0b" | "0B" => 2,
        _ => return None,
    };
    let magnitude = i64::from_str_radix(&magnitude[2..], radix).ok()?;
    Some(Number::from(if negative { -magnitude } else { magnitude }))
}

/// A scalar with a tag of YAML's own.
///
/// # Errors
/// When the text is none of the tag's.
pub(super) fn tagged(tag: &str, text: &str, quoted: bool) -> Result<Value, String> {
    let bad = || format!("{text:?} is no {tag}");
    match tag {
        "str" | "binary" => Ok(Value::string(text)),
        _ if quoted => Ok(Value::string(text)),
        "null" => Ok(Value::NULL),
        "bool" if TRUE.contains(&text) => Ok(Value::bool(true)),
        "bool" if FALSE.contains(&text) => Ok(Value::bool(false)),
        "int" | "float" => prefixed(text).or_else(|| integer_or_float(text)).map(Value::number).ok_or_else(bad),
        "timestamp" => timestamp(text).map(Value::string).ok_or_else(bad),
        "bool" => Err(bad()),
        other => Err(format!("the tag !!{other} is not known here")),
    }
}

/// A date or a time as RFC 3339 text.
fn timestamp(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    if bytes.len() < 8 || !bytes[..4].iter().all(u8::is_ascii_digit) || bytes[4] != b'-' {
        return None;
    }
    if let Ok(time) =
        DateTime::parse_from_str(&text.replace('t', "T").replace('Z', "+00:00"), "%Y-%m-%dT%H:%M:%S%.f%:z")
    {
        return Some(time.to_rfc3339_opts(SecondsFormat::Secs, true));
    }
    if let Ok(time) = NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S%.f") {
        return Some(time.and_utc().to_rfc3339_opts(SecondsFormat::Secs, true));
    }
    let date = NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?;
    Some(format!("{}T00:00:00Z", date.format("%Y-%m-%d")))
}
