//! String functions.

use std::sync::Arc;

use regex::Regex;

use super::{Call, Function, FunctionError, FunctionResult, function};
use crate::template::value::Value;

pub(super) const FUNCTIONS: &[Function] = &[
    function("chomp", 1, 1, |call| Ok(Value::string(call.text(0)?.trim_end_matches(['\n', '\r'])))),
    function("endswith", 2, 2, |call| Ok(Value::bool(call.text(0)?.ends_with(&*call.text(1)?)))),
    function("startswith", 2, 2, |call| Ok(Value::bool(call.text(0)?.starts_with(&*call.text(1)?)))),
    function("strcontains", 2, 2, |call| Ok(Value::bool(call.text(0)?.contains(&*call.text(1)?)))),
    function("indent", 2, 2, indent),
    function("join", 2, super::ANY, join),
    function("lower", 1, 1, |call| Ok(Value::string(call.text(0)?.to_lowercase()))),
    function("upper", 1, 1, |call| Ok(Value::string(call.text(0)?.to_uppercase()))),
    function("title", 1, 1, title),
    function("regex", 2, 2, regex),
    function("regexall", 2, 2, regex_all),
    function("regex_replace", 3, 3, regex_replace),
    function("replace", 3, 3, replace),
    function("split", 2, 2, split),
    function("strrev", 1, 1, |call| Ok(Value::string(call.text(0)?.chars().rev().collect::<String>()))),
    function("substr", 3, 3, substr),
    function("trim", 2, 2, |call| {
        let cut: Vec<char> = call.text(1)?.chars().collect();
        Ok(Value::string(call.text(0)?.trim_matches(|c| cut.contains(&c))))
    }),
    function("trimprefix", 2, 2, |call| {
        let (text, prefix) = (call.text(0)?, call.text(1)?);
        Ok(Value::string(text.strip_prefix(&*prefix).unwrap_or(&text)))
    }),
    function("trimsuffix", 2, 2, |call| {
        let (text, suffix) = (call.text(0)?, call.text(1)?);
        Ok(Value::string(text.strip_suffix(&*suffix).unwrap_or(&text)))
    }),
    function("trimspace", 1, 1, |call| Ok(Value::string(call.text(0)?.trim()))),
];

fn indent(call: &Call<'_>) -> FunctionResult {
    let spaces =
        usize::try_from(call.integer(0)?).map_err(|_| FunctionError::from("the number must not be negative"))?;
    let text = call.text(1)?;
    let breaks = text.matches('\n').count();
    Call::reserve(text.len().saturating_add(breaks.saturating_mul(spaces)))?;
    Ok(Value::string(text.replace('\n', &format!("\n{}", " ".repeat(if breaks == 0 { 0 } else { spaces })))))
}

fn join(call: &Call<'_>) -> FunctionResult {
    let separator = call.text(0)?;
    let mut parts: Vec<Arc<str>> = Vec::new();
    for list in 1..call.len() {
        parts.extend(call.texts(list)?);
    }
    let bytes: usize = parts.iter().map(|part| part.len()).sum();
    Call::reserve(bytes.saturating_add(separator.len().saturating_mul(parts.len())))?;
    Ok(Value::string(parts.join(&*separator)))
}

fn title(call: &Call<'_>) -> FunctionResult {
    let mut start = true;
    let mut result = String::new();
    for character in call.text(0)?.chars() {
        if start {
            result.extend(character.to_uppercase());
        } else {
            result.push(character);
        }
        start = !(character.is_alphanumeric() || character == '_' || character == '\'');
    }
    Ok(Value::string(result))
}

fn compile(call: &Call<'_>, at: usize) -> Result<Regex, FunctionError> {
    let pattern = call.text(at)?;
    regex::RegexBuilder::new(&pattern)
        .size_limit(1 << 20)
        .build()
        .map_err(|_| FunctionError { argument: Some(at), message: "this is no valid regular expression".to_owned() })
}

/// What a match is worth: the whole match, a list of groups, or an object of named ones.
fn match_value(regex: &Regex, captures: &regex::Captures<'_>) -> Value {
    let group = |found: Option<regex::Match<'_>>| found.map_or(Value::NULL, |found| Value::string(found.as_str()));
    let named: Vec<&str> = regex.capture_names().flatten().collect();
    if !named.is_empty() {
        return Value::object(named.into_iter().map(|name| (name.to_owned(), group(captures.name(name)))).collect());
    }
    if regex.captures_len() > 1 {
        return Value::tuple((1..regex.captures_len()).map(|index| group(captures.get(index))).collect());
    }
    group(captures.get(0))
}

fn regex(call: &Call<'_>) -> FunctionResult {
    let regex = compile(call, 0)?;
    match regex.captures(&call.text(1)?) {
        Some(captures) => Ok(match_value(&regex, &captures)),
        None => Call::fail(1, "the pattern does not match the text"),
    }
}

fn regex_all(call: &Call<'_>) -> FunctionResult {
    let regex = compile(call, 0)?;
    Ok(Value::list(regex.captures_iter(&call.text(1)?).map(|captures| match_value(&regex, &captures)).collect()))
}

fn regex_replace(call: &Call<'_>) -> FunctionResult {
    let (text, with) = (call.text(0)?, call.text(2)?);
    replace_matches(&compile(call, 1)?, &text, &with)
}

fn replace(call: &Call<'_>) -> FunctionResult {
    let (text, find, with) = (call.text(0)?, call.text(1)?, call.text(2)?);
    if let Some(pattern) = find.strip_prefix('/').and_then(|rest| rest.strip_suffix('/')) {
        let regex = Regex::new(pattern).map_err(|_| FunctionError {
            argument: Some(1),
            message: "this is no valid regular expression".to_owned(),
        })?;
        return replace_matches(&regex, &text, &with);
    }
    let hits = if find.is_empty() { text.len() + 1 } else { text.matches(&*find).count() };
    Call::reserve(text.len().saturating_add(hits.saturating_mul(with.len())))?;
    Ok(Value::string(text.replace(&*find, &with)))
}

fn replace_matches(regex: &Regex, text: &str, with: &str) -> FunctionResult {
    let mut result = String::new();
    let mut end = 0;
    for captures in regex.captures_iter(text) {
        let Some(whole) = captures.get(0) else { continue };
        result.push_str(&text[end..whole.start()]);
        captures.expand(with, &mut result);
        end = whole.end();
        Call::reserve(result.len())?;
    }
    result.push_str(&text[end..]);
    Ok(Value::string(result))
}

fn split(call: &Call<'_>) -> FunctionResult {
    let (separator, text) = (call.text(0)?, call.text(1)?);
    if separator.is_empty() {
        return Ok(Value::list(text.chars().map(|character| Value::string(character.to_string())).collect()));
    }
    Ok(Value::list(text.split(&*separator).map(Value::string).collect()))
}

fn substr(call: &Call<'_>) -> FunctionResult {
    let characters: Vec<char> = call.text(0)?.chars().collect();
    let (offset, length) = (call.integer(1)?, call.integer(2)?);
    let count = i64::try_from(characters.len()).unwrap_or(i64::MAX);
    let start = if offset < 0 { count.saturating_add(offset).max(0) } else { offset.min(count) };
    let end = if length < 0 { count } else { start.saturating_add(length).min(count) };
    let (start, end) = (usize::try_from(start).unwrap_or(0), usize::try_from(end).unwrap_or(0));
    Ok(Value::string(characters.get(start..end).unwrap_or_default().iter().collect::<String>()))
}
