//! Packer's functions that depend on nothing but their arguments.

use super::Trouble;
use super::builtins::wrong_count;
use super::execute::MAX_OUTPUT;
use super::value::Value;

/// Names of the functions here, for suggestions and to check what a late action may call.
pub const PURE: &[&str] = &["upper", "lower", "split", "replace", "replace_all", "clean_resource_name"];

/// Calls a function by name; `None` when it is not one of [`PURE`].
#[must_use]
pub fn pure(name: &str, arguments: &[Value]) -> Option<Result<Value, Trouble>> {
    let result = match name {
        "upper" => texts::<1>(name, arguments).map(|[text]| text.to_uppercase()),
        "lower" => texts::<1>(name, arguments).map(|[text]| text.to_lowercase()),
        "clean_resource_name" => texts::<1>(name, arguments).map(|[text]| clean_resource_name(text)),
        "replace_all" => texts::<3>(name, arguments).and_then(|[old, new, text]| replace(name, text, old, new, -1)),
        "replace" => match arguments {
            [old, new, count, text] => {
                let count = integer(name, count);
                count
                    .and_then(|count| replace(name, string(name, text)?, string(name, old)?, string(name, new)?, count))
            }
            _ => Err(wrong_count(name, arguments.len(), "4")),
        },
        "split" => match arguments {
            [text, separator, index] => split(string(name, text), string(name, separator), integer(name, index)),
            _ => Err(wrong_count(name, arguments.len(), "3")),
        },
        _ => return None,
    };
    Some(result.map(Value::Text))
}

/// All arguments, which must be strings.
///
/// # Errors
/// When there are more or fewer, or one is something else.
pub fn texts<'a, const N: usize>(name: &str, arguments: &'a [Value]) -> Result<[&'a str; N], Trouble> {
    let texts: Vec<&str> = arguments.iter().map(|value| string(name, value)).collect::<Result<_, _>>()?;
    texts.try_into().map_err(|_| wrong_count(name, arguments.len(), &N.to_string()))
}

fn string<'a>(name: &str, value: &'a Value) -> Result<&'a str, Trouble> {
    match value {
        Value::Text(text) => Ok(text),
        other => Err(Trouble::new(format!("{name} needs a string here, this is {}", other.kind()))
            .with_hint("put it in quotes or backquotes")),
    }
}

fn integer(name: &str, value: &Value) -> Result<i64, Trouble> {
    match value {
        Value::Integer(number) => Ok(*number),
        other => Err(Trouble::new(format!("{name} needs a whole number here, this is {}", other.kind()))
            .with_hint("write the number without quotes")),
    }
}

fn split(
    text: Result<&str, Trouble>,
    separator: Result<&str, Trouble>,
    index: Result<i64, Trouble>,
) -> Result<String, Trouble> {
    let (text, separator, index) = (text?, separator?, index?);
    // Go splits by an empty separator into characters, without empty parts at the ends.
    let parts: Vec<&str> = if separator.is_empty() {
        text.split("").filter(|part| !part.is_empty()).collect()
    } else {
        text.split(separator).collect()
    };
    let part = usize::try_from(index).ok().and_then(|index| parts.get(index));
    part.map(|part| (*part).to_owned()).ok_or_else(|| {
        Trouble::new(format!("split: {text:?} has no part {index} by {separator:?}; it has {} parts", parts.len()))
    })
}

/// Go's `strings.Replace`: a negative count replaces all; an empty `old` is found before each character and at the end.
fn replace(name: &str, text: &str, old: &str, new: &str, count: i64) -> Result<String, Trouble> {
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    let found = text.matches(old).count().min(count);
    if text.len().saturating_add(found.saturating_mul(new.len())) > MAX_OUTPUT {
        return Err(Trouble::new(format!("{name}: the text becomes too long: more than 4 MiB")));
    }
    Ok(text.replacen(old, new, count))
}

/// What AMI names may hold; everything else becomes `-`.
#[must_use]
pub fn clean_resource_name(text: &str) -> String {
    text.chars().map(|c| if is_ami_name_character(c) { c } else { '-' }).collect()
}

/// The characters EC2 takes in an AMI's name.
#[must_use]
pub fn is_ami_name_character(c: char) -> bool {
    c.is_ascii_alphanumeric() || "()[] ./-'@_".contains(c)
}
