//! Functions on maps, and those that take collections of any kind.

use indexmap::IndexMap;

use super::{Call, Function, FunctionError, FunctionResult, Takes, any, any_or_null, function, takes, text, variadic};
use crate::template::types::{Type, convert};
use crate::template::unify::{equals, unify};
use crate::template::value::{Kind, MappingShape, Value};

pub(super) const FUNCTIONS: &[Function] = &[
    function("alltrue", &[takes("list", Takes::Bools)], |call| {
        Ok(Value::bool(call.items(0)?.iter().all(|item| *item == Value::bool(true))))
    }),
    function("anytrue", &[takes("list", Takes::Bools)], |call| {
        Ok(Value::bool(call.items(0)?.contains(&Value::bool(true))))
    }),
    variadic("coalesce", &[], any_or_null("vals"), coalesce).shallow(),
    variadic("coalescelist", &[], any_or_null("vals"), coalesce_list).shallow(),
    function("contains", &[any("list"), any("value")], contains),
    function("keys", &[any("inputMap")], |call| {
        Ok(Value::list(call.mapping(0)?.sorted().into_iter().map(|(key, _)| Value::string(key.as_str())).collect()))
    })
    .shallow(),
    function("values", &[any("mapping")], |call| {
        let mapping = call.mapping(0)?;
        let values = mapping.sorted().into_iter().map(|(_, value)| value.clone()).collect();
        Ok(if mapping.shape == MappingShape::Map { Value::list(values) } else { Value::tuple(values) })
    })
    .shallow(),
    function("length", &[any("value")], |call| {
        Ok(Value::number(match call.args[0].kind() {
            Kind::String(text) => super::text::length(text),
            Kind::Sequence(sequence) => sequence.items.len(),
            Kind::Mapping(mapping) => mapping.entries.len(),
            _ => {
                return Call::fail(0, format!("a string, a list or a map is needed, this is {}", call.type_name(0)));
            }
        }))
    })
    .shallow(),
    function("lookup", &[any("inputMap"), text("key"), any("default")], lookup).shallow(),
    variadic("merge", &[], any_or_null("maps"), merge).shallow(),
    function("zipmap", &[takes("keys", Takes::Texts), any("values")], zip_map).shallow(),
];

/// The first argument that is neither null nor an empty string, in the type that all have in common.
fn coalesce(call: &Call<'_>) -> FunctionResult {
    if call.len() == 0 {
        return Err("at least one argument is needed".into());
    }
    let Some(unified) = unify(call.args.to_vec()) else {
        return Err("all arguments must have one type".into());
    };
    let found = unified.into_iter().find(|value| !value.is_null() && value.as_str() != Some(""));
    found.ok_or_else(|| "every argument is null or empty".into())
}

fn coalesce_list(call: &Call<'_>) -> FunctionResult {
    if call.len() == 0 {
        return Err("at least one argument is needed".into());
    }
    for at in 0..call.len() {
        if call.args[at].is_null() {
            return Call::fail(at, "a list is needed, this is null");
        }
        if !call.items(at)?.is_empty() {
            return Ok(call.args[at].clone());
        }
    }
    Err("every list is empty".into())
}

fn contains(call: &Call<'_>) -> FunctionResult {
    call.runtime.spend(call.args[1].weight().saturating_mul(call.items(0)?.len() as u64) / 64)?;
    Ok(Value::bool(call.items(0)?.iter().any(|item| equals(item, &call.args[1]) == Some(true))))
}

fn lookup(call: &Call<'_>) -> FunctionResult {
    let (mapping, key, default) = (call.mapping(0)?, call.text(1)?, &call.args[2]);
    let found = mapping.entries.get(&*key);
    if mapping.shape == MappingShape::Object {
        return Ok(found.unwrap_or(default).clone());
    }
    let Type::Map(element) = Type::of(&call.args[0]) else {
        return Ok(found.unwrap_or(default).clone());
    };
    let Ok(default) = convert(default, &element) else {
        return Call::fail(2, format!("the default must have the type of the map's elements, {element}"));
    };
    Ok(found.cloned().unwrap_or(default))
}

/// A map when all arguments are maps of one type, else an object.
fn merge(call: &Call<'_>) -> FunctionResult {
    let mut merged = IndexMap::new();
    let mut shape = None;
    let types: Vec<Type> = call.args.iter().map(Type::of).collect();
    for at in (0..call.len()).filter(|at| !call.args[*at].is_null()) {
        let mapping = call.mapping(at)?;
        shape = Some(mapping.shape).filter(|_| types.iter().all(|ty| *ty == types[0])).or(Some(MappingShape::Object));
        merged.extend(mapping.entries.iter().map(|(key, value)| (key.clone(), value.clone())));
    }
    Ok(Value::mapping(shape.unwrap_or(MappingShape::Object), merged))
}

fn zip_map(call: &Call<'_>) -> FunctionResult {
    let values = call.ordered(1)?;
    let mut keys = Vec::new();
    for key in call.items(0)? {
        match key.as_str() {
            Some(key) => keys.push(key.to_owned()),
            None => return Call::fail(0, "a key must not be null"),
        }
    }
    if keys.len() != values.items.len() {
        let message = format!("there are {} keys and {} values", keys.len(), values.items.len());
        return Err(FunctionError::at(1, message));
    }
    let shape = match values.shape {
        crate::template::value::SequenceShape::List => MappingShape::Map,
        _ => MappingShape::Object,
    };
    Ok(Value::mapping(shape, keys.into_iter().zip(values.items.iter().cloned()).collect()))
}
