//! Functions that treat lists as sets.

use super::{ANY, Call, Function, FunctionResult, function};
use crate::template::types::unify;
use crate::template::value::{Kind, SequenceShape, Value};

pub(super) const FUNCTIONS: &[Function] = &[
    function("contains", 2, 2, |call| Ok(Value::bool(call.items(0)?.contains(&call.args[1])))),
    function("distinct", 1, 1, |call| {
        let items = call.items(0)?;
        call.runtime.spend((items.len() as u64).pow(2) / 8)?;
        let mut distinct: Vec<Value> = Vec::new();
        for item in items {
            if !distinct.contains(item) {
                distinct.push(item.clone());
            }
        }
        Ok(Value::list(distinct))
    }),
    function("setintersection", 1, ANY, |call| {
        let mut common = as_set(call, 0)?;
        for at in 1..call.len() {
            let other = as_set(call, at)?;
            call.runtime.spend((common.len() * other.len()) as u64 / 8)?;
            common.retain(|item| other.contains(item));
        }
        Ok(Value::set(common))
    }),
    function("setunion", 1, ANY, |call| {
        let mut all = Vec::new();
        for at in 0..call.len() {
            all.extend(call.items(at)?.iter().cloned());
        }
        Ok(Value::set(unify(all)))
    }),
    function("setproduct", 2, ANY, set_product),
];

fn as_set(call: &Call<'_>, at: usize) -> Result<Vec<Value>, super::FunctionError> {
    Ok(Value::set(unify(call.items(at)?.to_vec())).as_items().unwrap_or_default().to_vec())
}

fn set_product(call: &Call<'_>) -> FunctionResult {
    let mut rows: Vec<Vec<Value>> = vec![Vec::new()];
    let mut all_sets = true;
    for at in 0..call.len() {
        let items = unify(call.items(at)?.to_vec());
        all_sets &= matches!(call.args[at].kind(), Kind::Sequence(sequence) if sequence.shape == SequenceShape::Set);
        Call::reserve(rows.len().saturating_mul(items.len()).saturating_mul(at + 1))?;
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
