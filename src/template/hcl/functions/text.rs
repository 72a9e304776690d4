//! String functions. What counts as a character is a grapheme cluster, as in zclconf/go-cty.

use std::sync::Arc;

use unicode_segmentation::UnicodeSegmentation;

use super::{Call, Function, FunctionError, FunctionResult, Takes, function, number, takes, text, variadic};
use crate::template::value::Value;

pub(super) const FUNCTIONS: &[Function] = &[
    function("chomp", &[text("str")], |call| Ok(Value::string(call.text(0)?.trim_end_matches(['\n', '\r'])))),
    function("endswith", &[text("str"), text("suffix")], |call| {
        Ok(Value::bool(call.text(0)?.ends_with(&*call.text(1)?)))
    }),
    function("startswith", &[text("str"), text("prefix")], |call| {
        Ok(Value::bool(call.text(0)?.starts_with(&*call.text(1)?)))
    }),
    function("strcontains", &[text("str"), text("substr")], |call| {
        Ok(Value::bool(call.text(0)?.contains(&*call.text(1)?)))
    }),
    function("indent", &[number("spaces"), text("str")], indent),
    variadic("join", &[text("separator")], takes("lists", Takes::Texts), join).joins(),
    function("lower", &[text("str")], |call| Ok(Value::string(call.text(0)?.chars().map(lower).collect::<String>()))),
    function("upper", &[text("str")], |call| Ok(Value::string(call.text(0)?.chars().map(upper).collect::<String>()))),
    function("title", &[text("str")], title),
    function("replace", &[text("str"), text("substr"), text("replace")], replace),
    function("split", &[text("separator"), text("str")], split),
    function("strrev", &[text("str")], |call| {
        Ok(Value::string(call.text(0)?.graphemes(true).rev().collect::<String>()))
    }),
    function("substr", &[text("str"), number("offset"), number("length")], substr),
    function("trim", &[text("str"), text("cutset")], |call| {
        let cut: Vec<char> = call.text(1)?.chars().collect();
        Ok(Value::string(call.text(0)?.trim_matches(|c| cut.contains(&c))))
    }),
    function("trimprefix", &[text("str"), text("prefix")], |call| {
        let (text, prefix) = (call.text(0)?, call.text(1)?);
        Ok(Value::string(text.strip_prefix(&*prefix).unwrap_or(&text)))
    }),
    function("trimsuffix", &[text("str"), text("suffix")], |call| {
        let (text, suffix) = (call.text(0)?, call.text(1)?);
        Ok(Value::string(text.strip_suffix(&*suffix).unwrap_or(&text)))
    }),
    function("trimspace", &[text("str")], |call| Ok(Value::string(call.text(0)?.trim()))),
];

/// How many characters a person counts.
pub(super) fn length(text: &str) -> usize {
    text.graphemes(true).count()
}

/// Go maps each code point to one: `ß` has no upper case that is one letter, and stays.
fn upper(character: char) -> char {
    let mut upper = character.to_uppercase();
    match (upper.next(), upper.next()) {
        (Some(one), None) => one,
        _ => character,
    }
}

fn lower(character: char) -> char {
    let mut lower = character.to_lowercase();
    // The dotted capital I is the only letter whose lower case is two code points; Go writes an i.
    lower.next().unwrap_or(character)
}

fn indent(call: &Call<'_>) -> FunctionResult {
    let Ok(spaces) = usize::try_from(call.integer(0)?) else {
        return Call::fail(0, "the number of spaces must not be negative");
    };
    let text = call.text(1)?;
    let breaks = text.matches('\n').count();
    Call::reserve(text.len().saturating_add(breaks.saturating_mul(spaces)))?;
    Ok(Value::string(text.replace('\n', &format!("\n{}", " ".repeat(if breaks == 0 { 0 } else { spaces })))))
}

fn join(call: &Call<'_>) -> FunctionResult {
    let separator = call.text(0)?;
    if call.len() == 1 {
        return Err("at least one list is needed".into());
    }
    let mut parts: Vec<Arc<str>> = Vec::new();
    for list in 1..call.len() {
        for (index, item) in call.items(list)?.iter().enumerate() {
            match item.to_text() {
                Some(text) => parts.push(text),
                None => return Call::fail(list, format!("element {index} is null")),
            }
        }
    }
    let bytes: usize = parts.iter().map(|part| part.len()).sum();
    Call::reserve(bytes.saturating_add(separator.len().saturating_mul(parts.len())))?;
    Ok(Value::string(parts.join(&*separator)))
}

/// Go's `strings.Title`: a letter that begins a word, where words are made of letters, digits and `_`.
fn title(call: &Call<'_>) -> FunctionResult {
    let mut start = true;
    let mut result = String::new();
    for character in call.text(0)?.chars() {
        result.push(if start { upper(character) } else { character });
        start = if character.is_ascii() {
            !(character.is_ascii_alphanumeric() || character == '_')
        } else {
            !character.is_alphanumeric() && character.is_whitespace()
        };
    }
    Ok(Value::string(result))
}

fn replace(call: &Call<'_>) -> FunctionResult {
    let (text, find, with) = (call.text(0)?, call.text(1)?, call.text(2)?);
    let hits = if find.is_empty() { text.len() + 1 } else { text.matches(&*find).count() };
    Call::reserve(text.len().saturating_add(hits.saturating_mul(with.len())))?;
    Ok(Value::string(text.replace(&*find, &with)))
}

fn split(call: &Call<'_>) -> FunctionResult {
    let (separator, text) = (call.text(0)?, call.text(1)?);
    if separator.is_empty() {
        return Ok(Value::list(text.chars().map(|character| Value::string(character.to_string())).collect()));
    }
    Ok(Value::list(text.split(&*separator).map(Value::string).collect()))
}

fn substr(call: &Call<'_>) -> FunctionResult {
    let text = call.text(0)?;
    let characters: Vec<&str> = text.graphemes(true).collect();
    let (offset, length) = (call.integer(1)?, call.integer(2)?);
    let count = i64::try_from(characters.len()).map_err(|_| FunctionError::from("the string is too long"))?;
    let start = if offset < 0 { count.saturating_add(offset).max(0) } else { offset.min(count) };
    let end = if length < 0 { count } else { start.saturating_add(length).min(count) };
    let (start, end) = (usize::try_from(start).unwrap_or(0), usize::try_from(end).unwrap_or(0));
    Ok(Value::string(characters.get(start..end).unwrap_or_default().concat()))
}
