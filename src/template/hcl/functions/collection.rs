//! Functions on lists and maps.

use indexmap::IndexMap;

use super::{ANY, Call, Function, FunctionError, FunctionResult, function};
use crate::template::types::unify;
use crate::template::value::{Kind, MappingShape, Value};

pub(super) const FUNCTIONS: &[Function] = &[
    function("alltrue", 1, 1, |call| quantify(call, true)),
    function("anytrue", 1, 1, |call| quantify(call, false)),
    function("chunklist", 2, 2, chunk_list),
    function("coalesce", 1, ANY, coalesce),
    function("coalescelist", 1, ANY, coalesce_list),
    function("compact", 1, 1, |call| {
        Ok(Value::list(call.texts(0)?.into_iter().filter(|text| !text.is_empty()).map(Value::string).collect()))
    }),
    function("concat", 1, ANY, |call| {
        let mut all = Vec::new();
        for at in 0..call.len() {
            all.extend(call.items(at)?.iter().cloned());
        }
        Ok(Value::tuple(all))
    }),
    function("element", 2, 2, element),
    function("flatten", 1, 1, |call| {
        let mut flat = Vec::new();
        flatten(call.items(0)?, &mut flat);
        Ok(Value::tuple(flat))
    }),
    function("index", 2, 2, |call| {
        let wanted = &call.args[1];
        match call.items(0)?.iter().position(|item| item == wanted) {
            Some(at) => Ok(Value::number(at)),
            None => Call::fail(1, "the list has no such element"),
        }
    }),
    function("keys", 1, 1, |call| {
        Ok(Value::list(call.mapping(0)?.sorted().into_iter().map(|(key, _)| Value::string(key.as_str())).collect()))
    }),
    function("values", 1, 1, |call| {
        Ok(Value::tuple(call.mapping(0)?.sorted().into_iter().map(|(_, value)| value.clone()).collect()))
    }),
    function("length", 1, 1, |call| {
        Ok(Value::number(match call.args[0].kind() {
            Kind::String(text) => graphemes(text),
            Kind::Sequence(sequence) => sequence.items.len(),
            Kind::Mapping(mapping) => mapping.entries.len(),
            _ => return Call::fail(0, "a string, a list or a map is needed"),
        }))
    }),
    function("lookup", 2, 3, lookup),
    function("merge", 0, ANY, merge),
    function("range", 1, 3, range),
    function("reverse", 1, 1, |call| Ok(Value::tuple(call.items(0)?.iter().rev().cloned().collect()))),
    function("slice", 3, 3, slice),
    function("sort", 1, 1, |call| {
        let mut texts = call.texts(0)?;
        texts.sort();
        Ok(Value::list(texts.into_iter().map(Value::string).collect()))
    }),
    function("zipmap", 2, 2, |call| {
        let (keys, values) = (call.texts(0)?, call.items(1)?);
        if keys.len() != values.len() {
            return Err(format!("there are {} keys and {} values", keys.len(), values.len()).into());
        }
        Ok(Value::object(keys.iter().map(ToString::to_string).zip(values.iter().cloned()).collect()))
    }),
];

/// Characters as people count them, near enough: marks and joiners belong to the character before.
fn graphemes(text: &str) -> usize {
    text.chars()
        .filter(|c| !matches!(u32::from(*c), 0x300..=0x36f | 0x200d | 0xfe00..=0xfe0f | 0x1f3fb..=0x1f3ff))
        .count()
}

fn quantify(call: &Call<'_>, all: bool) -> FunctionResult {
    for item in call.items(0)? {
        let item = Call { args: std::slice::from_ref(item), runtime: call.runtime }.boolean(0)?;
        if item != all {
            return Ok(Value::bool(!all));
        }
    }
    Ok(Value::bool(all))
}

fn chunk_list(call: &Call<'_>) -> FunctionResult {
    let size = match usize::try_from(call.integer(1)?) {
        Ok(0) => return Ok(Value::tuple(vec![call.args[0].clone()])),
        Ok(size) => size,
        Err(_) => return Call::fail(1, "the size must not be negative"),
    };
    Ok(Value::tuple(call.items(0)?.chunks(size).map(|chunk| Value::tuple(chunk.to_vec())).collect()))
}

fn coalesce(call: &Call<'_>) -> FunctionResult {
    let unified = unify(call.args.to_vec());
    let found = unified.into_iter().find(|value| !value.is_null() && value.as_str() != Some(""));
    found.ok_or_else(|| "every argument is null or empty".into())
}

fn coalesce_list(call: &Call<'_>) -> FunctionResult {
    let found = call.args.iter().find(|value| value.as_items().is_some_and(|items| !items.is_empty()));
    found.cloned().ok_or_else(|| "every list is empty".into())
}

fn element(call: &Call<'_>) -> FunctionResult {
    let items = call.items(0)?;
    if items.is_empty() {
        return Call::fail(0, "the list is empty");
    }
    let Ok(index) = usize::try_from(call.integer(1)?) else { return Call::fail(1, "the index must not be negative") };
    Ok(items[index % items.len()].clone())
}

fn flatten(items: &[Value], into: &mut Vec<Value>) {
    for item in items {
        match item.as_items() {
            Some(inner) => flatten(inner, into),
            None => into.push(item.clone()),
        }
    }
}

fn lookup(call: &Call<'_>) -> FunctionResult {
    let key = call.text(1)?;
    if let Some(found) = call.mapping(0)?.entries.get(&*key) {
        return Ok(found.clone());
    }
    match call.args.get(2) {
        Some(default) => Ok(default.clone()),
        None => Call::fail(1, "the map has no such key, and no default is given"),
    }
}

fn merge(call: &Call<'_>) -> FunctionResult {
    let mut merged = IndexMap::new();
    let mut shape = MappingShape::Map;
    for at in (0..call.len()).filter(|at| !call.args[*at].is_null()) {
        let mapping = call.mapping(at)?;
        if mapping.shape == MappingShape::Object {
            shape = MappingShape::Object;
        }
        merged.extend(mapping.entries.iter().map(|(key, value)| (key.clone(), value.clone())));
    }
    Ok(Value::mapping(shape, merged))
}

fn range(call: &Call<'_>) -> FunctionResult {
    let (start, end) = match call.len() {
        1 => (crate::template::decimal::Decimal::ZERO, call.number(0)?),
        _ => (call.number(0)?, call.number(1)?),
    };
    let one = crate::template::decimal::Decimal::ONE;
    let zero = crate::template::decimal::Decimal::ZERO;
    let step = match call.len() {
        3 => call.number(2)?,
        _ if end < start => one.checked_neg().unwrap_or(one),
        _ => one,
    };
    if step == zero || (step < zero) != (end < start) && start != end {
        return Err("the step leads away from the end".into());
    }
    let mut items = Vec::new();
    let mut current = start;
    while if step < zero { current > end } else { current < end } {
        if items.len() >= 1024 {
            return Err("more than 1024 numbers".into());
        }
        items.push(Value::number(current));
        current = current.checked_add(step).ok_or_else(|| FunctionError::from("the numbers are out of range"))?;
    }
    Ok(Value::list(items))
}

fn slice(call: &Call<'_>) -> FunctionResult {
    let items = call.items(0)?;
    let bounds = usize::try_from(call.integer(1)?).ok().zip(usize::try_from(call.integer(2)?).ok());
    let part = bounds.and_then(|(start, end)| items.get(start..end));
    part.map(|part| Value::tuple(part.to_vec()))
        .ok_or_else(|| format!("the bounds must be in order and between 0 and {}", items.len()).into())
}
