//! The functions that Go's text/template has by itself.

use std::cmp::Ordering;

use super::printf;
use super::value::Value;
use super::{Trouble, escape};

/// Their names, for suggestions.
pub const NAMES: &[&str] = &[
    "and", "or", "not", "eq", "ne", "lt", "le", "gt", "ge", "index", "slice", "len", "print", "printf", "println",
    "html", "js", "urlquery",
];

/// Calls a function by name; `None` when it is not one of [`NAMES`]. `and` and `or` are not here: they look at their
/// arguments one by one.
#[must_use]
pub fn call(name: &str, arguments: &[Value]) -> Option<Result<Value, Trouble>> {
    Some(match name {
        "not" => match arguments {
            [one] => Ok(Value::Bool(!one.is_true())),
            _ => Err(wrong_count(name, arguments.len(), "1")),
        },
        "eq" => equal(arguments),
        "ne" => two(name, arguments).and_then(|(a, b)| Ok(Value::Bool(!equals(a, b)?))),
        "lt" => compare(name, arguments, Ordering::is_lt),
        "le" => compare(name, arguments, Ordering::is_le),
        "gt" => compare(name, arguments, Ordering::is_gt),
        "ge" => compare(name, arguments, Ordering::is_ge),
        "index" => index(arguments),
        "slice" => slice(arguments),
        "len" => len(arguments),
        "print" => Ok(Value::Text(print(arguments))),
        "println" => {
            let words: Vec<String> = arguments.iter().map(Value::print).collect();
            Ok(Value::Text(words.join(" ") + "\n"))
        }
        "printf" => match arguments.split_first() {
            Some((Value::Text(format), rest)) => printf::format(format, rest).map(Value::Text),
            _ => Err(Trouble::new("printf needs a format, which is a string")),
        },
        "html" => Ok(Value::Text(escape::html(&print(arguments)))),
        "js" => Ok(Value::Text(escape::js(&print(arguments)))),
        "urlquery" => Ok(Value::Text(escape::url_query(&print(arguments)))),
        _ => return None,
    })
}

/// A complaint about the number of arguments.
#[must_use]
pub fn wrong_count(name: &str, given: usize, wanted: &str) -> Trouble {
    let plural = if wanted == "1" { "" } else { "s" };
    Trouble::new(format!("{name} takes {wanted} argument{plural}, not {given}"))
}

/// Go's `Sprint`: a space between two operands of which neither is a string.
fn print(arguments: &[Value]) -> String {
    let mut text = String::new();
    for (at, value) in arguments.iter().enumerate() {
        let strings = matches!(value, Value::Text(_)) || at == 0 || matches!(arguments[at - 1], Value::Text(_));
        if !strings {
            text.push(' ');
        }
        text.push_str(&value.print());
    }
    text
}

fn two<'a>(name: &str, arguments: &'a [Value]) -> Result<(&'a Value, &'a Value), Trouble> {
    match arguments {
        [a, b] => Ok((a, b)),
        _ => Err(wrong_count(name, arguments.len(), "2")),
    }
}

/// Whether the first equals any of the others.
fn equal(arguments: &[Value]) -> Result<Value, Trouble> {
    let Some((first, rest)) = arguments.split_first().filter(|(_, rest)| !rest.is_empty()) else {
        return Err(Trouble::new("eq needs two arguments or more"));
    };
    for other in rest {
        if equals(first, other)? {
            return Ok(Value::Bool(true));
        }
    }
    Ok(Value::Bool(false))
}

fn equals(a: &Value, b: &Value) -> Result<bool, Trouble> {
    match (a, b) {
        (Value::Map(_), _) | (_, Value::Map(_)) => Err(Trouble::new("a map can't be compared")),
        (Value::Nil, _) | (_, Value::Nil) => Ok(a == b),
        _ if std::mem::discriminant(a) == std::mem::discriminant(b) => Ok(a == b),
        _ => Err(incomparable(a, b)),
    }
}

fn incomparable(a: &Value, b: &Value) -> Trouble {
    let hint = match (a, b) {
        (Value::Text(_), Value::Integer(_) | Value::Float(_))
        | (Value::Integer(_) | Value::Float(_), Value::Text(_)) => "put the number in quotes",
        _ => "",
    };
    Trouble::new(format!("{} and {} can't be compared", a.kind(), b.kind())).with_hint(hint)
}

fn compare(name: &str, arguments: &[Value], holds: fn(Ordering) -> bool) -> Result<Value, Trouble> {
    let (a, b) = two(name, arguments)?;
    let ordering = match (a, b) {
        (Value::Text(a), Value::Text(b)) => Some(a.cmp(b)),
        (Value::Integer(a), Value::Integer(b)) => Some(a.cmp(b)),
        (Value::Float(a), Value::Float(b)) => a.partial_cmp(b),
        _ => return Err(incomparable(a, b)),
    };
    Ok(Value::Bool(ordering.is_some_and(holds)))
}

fn index(arguments: &[Value]) -> Result<Value, Trouble> {
    let Some((first, keys)) = arguments.split_first() else { return Err(wrong_count("index", 0, "2")) };
    let mut value = first.clone();
    for key in keys {
        value = match (&value, key) {
            (Value::Map(map), Value::Text(key)) => Value::Text(map.get(key).cloned().unwrap_or_default()),
            (Value::Text(text), Value::Integer(at)) => {
                let byte = usize::try_from(*at).ok().and_then(|at| text.as_bytes().get(at));
                let byte = byte.ok_or_else(|| Trouble::new(format!("index: there is no byte {at} in {text:?}")))?;
                Value::Integer(i64::from(*byte))
            }
            (value, key) => {
                return Err(Trouble::new(format!("index: {} has no element by {}", value.kind(), key.kind())));
            }
        };
    }
    Ok(value)
}

fn slice(arguments: &[Value]) -> Result<Value, Trouble> {
    let Some((Value::Text(text), bounds)) = arguments.split_first() else {
        return Err(Trouble::new("slice needs a string first"));
    };
    if bounds.len() > 2 {
        return Err(wrong_count("slice", arguments.len(), "1 to 3"));
    }
    let bound = |at: usize, default: usize| match bounds.get(at) {
        None => Some(default),
        Some(Value::Integer(number)) => usize::try_from(*number).ok(),
        Some(_) => None,
    };
    let cut = bound(0, 0).zip(bound(1, text.len())).and_then(|(from, to)| text.get(from..to));
    let cut = cut.ok_or_else(|| Trouble::new(format!("slice: the bounds don't fit {text:?}")))?;
    Ok(Value::text(cut))
}

fn len(arguments: &[Value]) -> Result<Value, Trouble> {
    let length = match arguments {
        [Value::Text(text)] => text.len(),
        [Value::Map(map)] => map.len(),
        [other] => return Err(Trouble::new(format!("len: {} has no length", other.kind()))),
        _ => return Err(wrong_count("len", arguments.len(), "1")),
    };
    Ok(Value::Integer(i64::try_from(length).unwrap_or(i64::MAX)))
}
