//! Functions that treat lists as sets.

use super::{Call, Function, FunctionError, FunctionResult, Takes, any, takes, variadic};
use crate::template::types::{Type, convert};
use crate::template::unify::common;
use crate::template::value::{Kind, SequenceShape, Value};

pub(super) const FUNCTIONS: &[Function] = &[
    variadic("setintersection", &[takes("first_set", Takes::Set)], takes("other_sets", Takes::Set), |call| {
        let (first, others) = sets(call)?;
        let mut kept = first;
        for other in others {
            call.runtime.spend((kept.len() as u64).saturating_mul(other.len() as u64) / 8)?;
            kept.retain(|item| other.contains(item));
        }
        Ok(Value::set(kept))
    }),
    variadic("setunion", &[takes("first_set", Takes::Set)], takes("other_sets", Takes::Set), |call| {
        let (mut all, others) = sets(call)?;
        all.extend(others.into_iter().flatten());
        Ok(Value::set(all))
    }),
    variadic("setproduct", &[], any("sets"), product),
];

/// The arguments' elements in the type that all sets have in common.
fn sets(call: &Call<'_>) -> Result<(Vec<Value>, Vec<Vec<Value>>), FunctionError> {
    let types: Vec<Type> = call.args.iter().map(Type::of).collect();
    let Some(ty) = common(&types) else {
        return Err("the sets must have elements of one type".into());
    };
    let mut all = Vec::new();
    for (at, arg) in call.args.iter().enumerate() {
        let set = convert(arg, &ty).map_err(|message| FunctionError::at(at, message))?;
        all.push(set.as_items().unwrap_or_default().to_vec());
    }
    let first = if all.is_empty() { Vec::new() } else { all.remove(0) };
    Ok((first, all))
}

/// Every combination, the last argument varying fastest. A set when all arguments are sets.
fn product(call: &Call<'_>) -> FunctionResult {
    if call.len() < 2 {
        return Err("at least two arguments are needed".into());
    }
    let mut rows: Vec<Vec<Value>> = vec![Vec::new()];
    let mut all_sets = true;
    for at in 0..call.len() {
        all_sets &= matches!(call.args[at].kind(), Kind::Sequence(sequence) if sequence.shape == SequenceShape::Set);
        let items = convert(&call.args[at], &Type::List(Box::new(Type::Any)));
        let items = items.map_err(|message| FunctionError::at(at, message))?;
        let items = items.as_items().unwrap_or_default();
        let count = rows.len().saturating_mul(items.len()).saturating_mul(at + 1);
        Call::reserve(count)?;
        call.runtime.spend(count as u64)?;
        rows = rows
            .iter()
            .flat_map(|row| {
                items.iter().map(move |item| {
                    let mut row = row.clone();
                    row.push(item.clone());
                    row
                })
            })
            .collect();
    }
    let rows: Vec<Value> = rows.into_iter().map(Value::tuple).collect();
    Ok(if all_sets { Value::set(rows) } else { Value::list(rows) })
}
