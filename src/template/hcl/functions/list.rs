//! Functions on lists and tuples.

use super::{Call, Function, FunctionError, FunctionResult, Takes, any, function, number, takes, variadic};
use crate::template::number::Number;
use crate::template::types::Type;
use crate::template::unify::{common, equals, unify};
use crate::template::value::{Kind, Sequence, SequenceShape, Value};

/// Numbers that `range` makes at most, as in Packer.
const MAX_RANGE: usize = 1024;

pub(super) const FUNCTIONS: &[Function] = &[
    function("chunklist", &[takes("list", Takes::List), number("size")], chunk_list).shallow(),
    function("compact", &[takes("list", Takes::Texts)], |call| {
        let kept = call.items(0)?.iter().filter(|item| !item.is_null() && item.as_str() != Some(""));
        Ok(Value::list(kept.cloned().collect()))
    }),
    variadic("concat", &[], any("seqs"), concat).shallow(),
    function("distinct", &[takes("list", Takes::List)], |call| {
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
    function("element", &[any("list"), number("index")], element).shallow(),
    function("flatten", &[any("list")], |call| {
        let mut flat = Vec::new();
        flatten(call.items(0)?, &mut flat);
        Ok(Value::tuple(flat))
    })
    .shallow()
    .opens(),
    function("index", &[any("list"), any("value")], |call| {
        let items = &call.ordered(0)?.items;
        if items.is_empty() {
            return Call::fail(0, "the list is empty");
        }
        match items.iter().position(|item| equals(item, &call.args[1]) == Some(true)) {
            Some(at) => Ok(Value::number(at)),
            None => Call::fail(1, "the list has no such element"),
        }
    }),
    variadic("range", &[], takes("params", Takes::Number), range),
    function("reverse", &[any("list")], |call| {
        let mut items = call.items(0)?.to_vec();
        items.reverse();
        Ok(match call.args[0].kind() {
            Kind::Sequence(sequence) if sequence.shape != SequenceShape::Tuple => Value::list(items),
            _ => Value::tuple(items),
        })
    })
    .shallow(),
    function("slice", &[any("list"), number("start_index"), number("end_index")], slice).shallow(),
    function("sort", &[takes("list", Takes::Texts)], |call| {
        let items = call.items(0)?;
        if let Some(at) = items.iter().position(Value::is_null) {
            return Call::fail(0, format!("element {at} is null"));
        }
        let mut texts: Vec<&str> = items.iter().filter_map(Value::as_str).collect();
        texts.sort_unstable();
        Ok(Value::list(texts.into_iter().map(Value::string).collect()))
    }),
];

fn same_shape(sequence: &Sequence, items: Vec<Value>) -> Value {
    Value::sequence(
        if sequence.shape == SequenceShape::List { SequenceShape::List } else { SequenceShape::Tuple },
        items,
    )
}

fn chunk_list(call: &Call<'_>) -> FunctionResult {
    let Ok(size) = usize::try_from(call.integer(1)?) else {
        return Call::fail(1, "the size must not be negative");
    };
    let items = call.items(0)?;
    if size == 0 {
        return Ok(Value::list(vec![call.args[0].clone()]));
    }
    Ok(Value::list(items.chunks(size).map(|chunk| Value::list(chunk.to_vec())).collect()))
}

/// A list when all arguments are lists whose elements have one type, else a tuple.
fn concat(call: &Call<'_>) -> FunctionResult {
    if call.len() == 0 {
        return Err("at least one list is needed".into());
    }
    let mut all = Vec::new();
    let mut lists = true;
    for at in 0..call.len() {
        let sequence = call.ordered(at)?;
        lists &= sequence.shape == SequenceShape::List;
        let mark = call.args[at].is_marked();
        all.extend(sequence.items.iter().map(|item| item.clone().marked(mark)));
    }
    if lists && common(&call.args.iter().map(Type::of).collect::<Vec<_>>()).is_some() {
        return Ok(Value::list(unify(all.clone()).unwrap_or(all)));
    }
    Ok(Value::tuple(all))
}

fn element(call: &Call<'_>) -> FunctionResult {
    let items = &call.ordered(0)?.items;
    let index = call.integer(1)?;
    if items.is_empty() {
        return Call::fail(0, "the list is empty");
    }
    let Ok(index) = usize::try_from(index) else {
        return Call::fail(1, "the index must not be negative");
    };
    Ok(items[index % items.len()].clone())
}

fn flatten(items: &[Value], into: &mut Vec<Value>) {
    for item in items {
        match item.as_items() {
            Some(inner) => {
                let before = into.len();
                flatten(inner, into);
                if item.is_marked() {
                    for flat in &mut into[before..] {
                        *flat = flat.clone().marked(true);
                    }
                }
            }
            None => into.push(item.clone()),
        }
    }
}

fn range(call: &Call<'_>) -> FunctionResult {
    let (start, end) = match call.len() {
        1 => (Number::ZERO, call.number(0)?),
        2 | 3 => (call.number(0)?, call.number(1)?),
        _ => return Err("it takes one, two or three numbers".into()),
    };
    let down = end < start;
    let step = match call.len() {
        3 => call.number(2)?,
        _ if down => -Number::ONE,
        _ => Number::ONE,
    };
    if step.is_zero() && start != end {
        return Call::fail(2, "the step must not be 0");
    }
    if start != end && step.is_negative() != down {
        let way = if down {
            "the end is less than the start, so the step must be negative"
        } else {
            "the end is greater than the start, so the step must be positive"
        };
        return Call::fail(2, way);
    }
    let mut items = Vec::new();
    let mut current = start;
    while if down { current > end } else { current < end } {
        if items.len() >= MAX_RANGE {
            return Err(format!("more than {MAX_RANGE} numbers").into());
        }
        items.push(Value::number(current));
        current = current.checked_add(step).ok_or_else(|| FunctionError::from("the numbers are out of range"))?;
    }
    call.runtime.spend(items.len() as u64)?;
    Ok(Value::list(items))
}

fn slice(call: &Call<'_>) -> FunctionResult {
    let sequence = call.ordered(0)?;
    let (start, end) = (call.integer(1)?, call.integer(2)?);
    let count = sequence.items.len();
    let Ok(from) = usize::try_from(start) else {
        return Call::fail(1, "the start must not be negative");
    };
    let Ok(to) = usize::try_from(end) else {
        return Call::fail(2, "the end must not be negative");
    };
    if to > count {
        return Call::fail(2, format!("the end must not be beyond the list, which has {count} elements"));
    }
    if from > to {
        return Call::fail(1, "the start must not be after the end");
    }
    Ok(same_shape(sequence, sequence.items[from..to].to_vec()))
}
