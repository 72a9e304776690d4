//! Number functions. `log` and `pow` compute with floats of 64 bits, as Packer's do.

use num_bigint::BigUint;

use super::{Call, Function, FunctionError, FunctionResult, Takes, any, function, number, takes, variadic};
use crate::template::number::Number;
use crate::template::types::{Type, convert};
use crate::template::value::{Kind, Value};

pub(super) const FUNCTIONS: &[Function] = &[
    function("abs", &[number("num")], |call| {
        let number = call.number(0)?;
        Ok(Value::number(if number.is_negative() { -number } else { number }))
    }),
    function("ceil", &[number("num")], |call| Ok(Value::number(call.number(0)?.ceil()))),
    function("floor", &[number("num")], |call| Ok(Value::number(call.number(0)?.floor()))),
    function("log", &[number("num"), number("base")], |call| {
        range(Number::from_f64(call.number(0)?.to_f64().ln() / call.number(1)?.to_f64().ln()))
    }),
    variadic("max", &[], takes("numbers", Takes::Number), |call| extreme(call, Number::max)),
    variadic("min", &[], takes("numbers", Takes::Number), |call| extreme(call, Number::min)),
    function("parseint", &[any("number"), number("base")], parse_int),
    function("pow", &[number("num"), number("power")], |call| {
        range(Number::from_f64(call.number(0)?.to_f64().powf(call.number(1)?.to_f64())))
    }),
    function("signum", &[number("num")], |call| Ok(Value::number(call.integer(0)?.signum()))),
    function("sum", &[any("list")], sum),
];

fn out_of_range() -> FunctionError {
    "the result is no number, or too large a one".into()
}

fn range(number: Option<Number>) -> FunctionResult {
    number.map(Value::number).ok_or_else(out_of_range)
}

fn extreme(call: &Call<'_>, choose: fn(Number, Number) -> Number) -> FunctionResult {
    if call.len() == 0 {
        return Err("at least one number is needed".into());
    }
    let mut result = call.number(0)?;
    for at in 1..call.len() {
        result = choose(result, call.number(at)?);
    }
    Ok(Value::number(result))
}

fn sum(call: &Call<'_>) -> FunctionResult {
    let items = call.items(0)?;
    if items.is_empty() {
        return Call::fail(0, "an empty list has no sum");
    }
    let mut sum: Option<Number> = None;
    for (index, item) in items.iter().enumerate() {
        let Ok(Kind::Number(number)) = convert(item, &Type::Number).map(|value| value.kind().clone()) else {
            return Call::fail(0, format!("element {index} is no number"));
        };
        let next = sum.map_or(Some(number), |sum| sum.checked_add(number));
        sum = Some(next.ok_or_else(out_of_range)?);
    }
    range(sum)
}

fn parse_int(call: &Call<'_>) -> FunctionResult {
    let Some(text) = call.args[0].as_str() else {
        return Call::fail(0, format!("a string is needed, this is {}", call.type_name(0)));
    };
    let base = u32::try_from(call.integer(1)?).ok().filter(|base| (2..=62).contains(base));
    let Some(base) = base else {
        return Call::fail(1, "the base must be from 2 to 62");
    };
    let bad = || FunctionError::at(0, format!("this is no whole number in base {base}"));
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if digits.is_empty() || digits.len() > 600 {
        return Err(bad());
    }
    let mut magnitude = BigUint::default();
    for byte in digits.bytes() {
        let digit = match byte {
            b'0'..=b'9' => u32::from(byte - b'0'),
            b'a'..=b'z' => u32::from(byte - b'a') + 10,
            // Above base 36 upper and lower case are different digits.
            b'A'..=b'Z' if base <= 36 => u32::from(byte - b'A') + 10,
            b'A'..=b'Z' => u32::from(byte - b'A') + 36,
            _ => return Err(bad()),
        };
        if digit >= base {
            return Err(bad());
        }
        magnitude = magnitude * base + digit;
    }
    range(Number::from_integer(negative, &magnitude))
}
