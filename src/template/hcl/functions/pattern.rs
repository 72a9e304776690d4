//! Regular expressions. Both Go's and Rust's packages follow RE2: no look-around, no back references, linear time.

use indexmap::IndexMap;
use regex::Regex;

use super::{Call, Function, FunctionError, FunctionResult, function, text};
use crate::template::value::Value;

pub(super) const FUNCTIONS: &[Function] = &[
    function("regex", &[text("pattern"), text("string")], |call| {
        let pattern = Pattern::compile(call, 0)?;
        match pattern.regex.captures(&call.text(1)?) {
            Some(captures) => Ok(pattern.value(&captures)),
            None => Call::fail(1, "the pattern does not match the text"),
        }
    }),
    function("regexall", &[text("pattern"), text("string")], |call| {
        let pattern = Pattern::compile(call, 0)?;
        let text = call.text(1)?;
        call.runtime.spend(text.len() as u64)?;
        Ok(Value::list(pattern.regex.captures_iter(&text).map(|captures| pattern.value(&captures)).collect()))
    }),
    function("regex_replace", &[text("str"), text("pattern"), text("replacement")], replace),
];

struct Pattern {
    regex: Regex,
    names: Vec<String>,
}

impl Pattern {
    fn compile(call: &Call<'_>, at: usize) -> Result<Self, FunctionError> {
        let regex = regex::RegexBuilder::new(&call.text(at)?).size_limit(1 << 20).build();
        let regex = regex.map_err(|error| match error {
            regex::Error::CompiledTooBig(_) => FunctionError::at(at, "this regular expression is too large"),
            _ => FunctionError::at(at, "this is no valid regular expression"),
        })?;
        let names: Vec<String> = regex.capture_names().flatten().map(str::to_owned).collect();
        if !names.is_empty() && names.len() + 1 < regex.captures_len() {
            return Call::fail(at, "either all groups of a pattern have names or none");
        }
        Ok(Self { regex, names })
    }

    /// What a match is worth: the whole match, a tuple of groups, or an object of named ones.
    fn value(&self, captures: &regex::Captures<'_>) -> Value {
        let group = |found: Option<regex::Match<'_>>| found.map_or(Value::NULL, |found| Value::string(found.as_str()));
        if !self.names.is_empty() {
            let named: IndexMap<String, Value> =
                self.names.iter().map(|name| (name.clone(), group(captures.name(name)))).collect();
            return Value::object(named);
        }
        if captures.len() > 1 {
            return Value::tuple((1..captures.len()).map(|index| group(captures.get(index))).collect());
        }
        group(captures.get(0))
    }
}

/// `$1` and `${name}` in the replacement stand for groups.
fn replace(call: &Call<'_>) -> FunctionResult {
    let (text, with) = (call.text(0)?, call.text(2)?);
    let pattern = Pattern { regex: Pattern::compile_any(call, 1)?, names: Vec::new() };
    call.runtime.spend(text.len() as u64)?;
    let mut result = String::new();
    let mut end = 0;
    for captures in pattern.regex.captures_iter(&text) {
        let Some(whole) = captures.get(0) else {
            continue;
        };
        result.push_str(&text[end..whole.start()]);
        captures.expand(&with, &mut result);
        end = whole.end();
        Call::reserve(result.len())?;
    }
    result.push_str(&text[end..]);
    Ok(Value::string(result))
}

impl Pattern {
    /// For replacing, groups with and without names may stand together.
    fn compile_any(call: &Call<'_>, at: usize) -> Result<Regex, FunctionError> {
        let regex = regex::RegexBuilder::new(&call.text(at)?).size_limit(1 << 20).build();
        regex.map_err(|_| FunctionError::at(at, "this is no valid regular expression, or a very large one"))
    }
}
