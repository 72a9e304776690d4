//! Number functions.

use super::{ANY, Call, Function, FunctionError, FunctionResult, function};
use crate::template::decimal::Decimal;
use crate::template::value::Value;

pub(super) const FUNCTIONS: &[Function] = &[
    function("abs", 1, 1, |call| {
        let number = call.number(0)?;
        if number.is_negative() { range(number.checked_neg()) } else { Ok(Value::number(number)) }
    }),
    function("ceil", 1, 1, |call| Ok(Value::number(call.number(0)?.ceil()))),
    function("floor", 1, 1, |call| Ok(Value::number(call.number(0)?.floor()))),
    function("log", 2, 2, |call| {
        range(Decimal::from_f64(call.number(0)?.to_f64().ln() / call.number(1)?.to_f64().ln()))
    }),
    function("max", 1, ANY, |call| extreme(call, Decimal::max)),
    function("min", 1, ANY, |call| extreme(call, Decimal::min)),
    function("parseint", 2, 2, parse_int),
    function("pow", 2, 2, power),
    function("signum", 1, 1, |call| Ok(Value::number(i64::from(call.number(0)?.cmp(&Decimal::ZERO) as i8)))),
    function("sum", 1, 1, |call| {
        let mut sum = Decimal::ZERO;
        for item in call.items(0)? {
            let item = Call { args: std::slice::from_ref(item), runtime: call.runtime }.number(0)?;
            sum = sum.checked_add(item).ok_or_else(out_of_range)?;
        }
        Ok(Value::number(sum))
    }),
];

fn out_of_range() -> FunctionError {
    "the result is out of range".into()
}

fn range(number: Option<Decimal>) -> FunctionResult {
    number.map(Value::number).ok_or_else(out_of_range)
}

fn extreme(call: &Call<'_>, choose: fn(Decimal, Decimal) -> Decimal) -> FunctionResult {
    let mut result = call.number(0)?;
    for at in 1..call.len() {
        result = choose(result, call.number(at)?);
    }
    Ok(Value::number(result))
}

fn parse_int(call: &Call<'_>) -> FunctionResult {
    let base = u32::try_from(call.integer(1)?).ok().filter(|base| (2..=36).contains(base));
    let Some(base) = base else { return Call::fail(1, "the base must be from 2 to 36") };
    match i64::from_str_radix(&call.text(0)?, base) {
        Ok(number) => Ok(Value::number(number)),
        Err(_) => Call::fail(0, format!("this is no whole number in base {base}")),
    }
}

fn power(call: &Call<'_>) -> FunctionResult {
    let (base, exponent) = (call.number(0)?, call.number(1)?);
    if let Some(exponent @ 0..=1024) = exponent.to_i64() {
        let mut result = Decimal::ONE;
        for _ in 0..exponent {
            result = result.checked_mul(base).ok_or_else(out_of_range)?;
        }
        return Ok(Value::number(result));
    }
    range(Decimal::from_f64(base.to_f64().powf(exponent.to_f64())))
}
