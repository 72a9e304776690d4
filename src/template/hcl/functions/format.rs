//! `format` and `formatlist`: the verbs of Go's fmt that HCL has.

use super::{ANY, Call, Function, FunctionError, FunctionResult, function};
use crate::template::decimal::Decimal;
use crate::template::types::{Type, convert};
use crate::template::value::{Kind, Value};

pub(super) const FUNCTIONS: &[Function] = &[
    function("format", 1, ANY, |call| Ok(Value::string(format(&call.text(0)?, &call.args[1..])?))),
    function("formatlist", 1, ANY, format_list),
];

fn format_list(call: &Call<'_>) -> FunctionResult {
    let pattern = call.text(0)?;
    let lists = || call.args[1..].iter().filter_map(Value::as_items);
    let length = lists().map(<[Value]>::len).max().unwrap_or(1);
    if lists().any(|list| list.len() != length) {
        return Err("the lists have different lengths".into());
    }
    call.runtime.spend((length as u64).saturating_mul(call.len() as u64))?;
    let mut result = Vec::new();
    for index in 0..length {
        let args: Vec<Value> = call.args[1..]
            .iter()
            .map(|arg| arg.as_items().map_or_else(|| arg.clone(), |items| items[index].clone()))
            .collect();
        result.push(Value::string(format(&pattern, &args)?));
    }
    Ok(Value::list(result))
}

/// What stands between `%` and the verb.
#[derive(Default)]
#[expect(clippy::struct_excessive_bools, reason = "these are the flags of a format verb")]
struct Spec {
    minus: bool,
    plus: bool,
    space: bool,
    zero: bool,
    sharp: bool,
    width: usize,
    precision: Option<usize>,
}

fn format(pattern: &str, args: &[Value]) -> Result<String, FunctionError> {
    let mut result = String::new();
    let mut characters = pattern.chars().peekable();
    let mut next = 0;
    let mut used = 0;
    while let Some(character) = characters.next() {
        if character != '%' {
            result.push(character);
            continue;
        }
        let mut spec = Spec::default();
        let mut number: Option<usize> = None;
        let mut in_precision = false;
        let verb = loop {
            let Some(c) = characters.next() else { return Err("the text ends within a % verb".into()) };
            match c {
                '-' => spec.minus = true,
                '+' => spec.plus = true,
                ' ' => spec.space = true,
                '#' => spec.sharp = true,
                '0' if number.is_none() && !in_precision => spec.zero = true,
                '0'..='9' => {
                    let digit = c.to_digit(10).unwrap_or(0) as usize;
                    number = Some(number.unwrap_or(0).saturating_mul(10).saturating_add(digit));
                    if number.is_some_and(|n| n > 1024) {
                        return Err("a width or precision above 1024".into());
                    }
                }
                '.' => {
                    spec.width = number.take().unwrap_or(0);
                    in_precision = true;
                }
                '[' => {
                    let index: String = characters.by_ref().take_while(|c| *c != ']').collect();
                    let index = index.parse::<usize>().ok().and_then(|index| index.checked_sub(1));
                    next = index.ok_or_else(|| FunctionError::from("%[n] counts from 1"))?;
                }
                verb => break verb,
            }
        };
        if in_precision {
            spec.precision = Some(number.unwrap_or(0));
        } else {
            spec.width = number.unwrap_or(0);
        }
        if verb == '%' {
            result.push('%');
            continue;
        }
        let Some(arg) = args.get(next) else { return Err(format!("there is no argument for %{verb}").into()) };
        next += 1;
        used = used.max(next);
        let text = render(verb, &spec, arg).map_err(|message| FunctionError { argument: Some(next), message })?;
        result.push_str(&pad(text, &spec, verb));
        Call::reserve(result.len())?;
    }
    if used < args.len() {
        return Err(format!("{} arguments are given, the text uses {used}", args.len()).into());
    }
    Ok(result)
}

fn pad(text: String, spec: &Spec, verb: char) -> String {
    let missing = spec.width.saturating_sub(text.chars().count());
    if missing == 0 {
        return text;
    }
    let numeric = matches!(verb, 'd' | 'f' | 'e' | 'g' | 'b' | 'o' | 'x' | 'X' | 'G' | 'E');
    if spec.minus {
        text + &" ".repeat(missing)
    } else if spec.zero && numeric {
        let (sign, digits) = text.split_at(usize::from(text.starts_with(['-', '+'])));
        format!("{sign}{}{digits}", "0".repeat(missing))
    } else {
        " ".repeat(missing) + &text
    }
}

fn render(verb: char, spec: &Spec, arg: &Value) -> Result<String, String> {
    let number = || match convert(arg, &Type::Number).map(|value| value.kind().clone()) {
        Ok(Kind::Number(number)) => Ok(number),
        _ => Err(format!("%{verb} needs a number, this is {}", arg.type_name())),
    };
    let whole = || number()?.floor().to_i64().ok_or_else(|| format!("%{verb}: the number is out of range"));
    let signed = |text: String| {
        if spec.plus && !text.starts_with('-') {
            format!("+{text}")
        } else if spec.space && !text.starts_with('-') {
            format!(" {text}")
        } else {
            text
        }
    };
    Ok(match verb {
        'v' if spec.sharp => arg.to_json().to_string(),
        'v' => match arg.kind() {
            Kind::Null => "null".to_owned(),
            _ => arg.to_text().map_or_else(|| arg.to_json().to_string(), |text| text.to_string()),
        },
        's' | 'q' => {
            let text = arg.to_text().ok_or_else(|| format!("%{verb} needs a string, this is {}", arg.type_name()))?;
            let cut: String = text.chars().take(spec.precision.unwrap_or(usize::MAX)).collect();
            if verb == 'q' { serde_json::Value::String(cut).to_string() } else { cut }
        }
        't' => match convert(arg, &Type::Bool).map(|value| value.kind().clone()) {
            Ok(Kind::Bool(flag)) => flag.to_string(),
            _ => return Err(format!("%t needs a bool, this is {}", arg.type_name())),
        },
        'd' => signed(truncated(number()?).to_string()),
        'b' => signed(sign_and(whole()?, |n| format!("{n:b}"))),
        'o' => signed(sign_and(whole()?, |n| format!("{n:o}"))),
        'x' => signed(sign_and(whole()?, |n| format!("{n:x}"))),
        'X' => signed(sign_and(whole()?, |n| format!("{n:X}"))),
        'f' => signed(format!("{:.*}", spec.precision.unwrap_or(6), number()?.to_f64())),
        'g' | 'G' => signed(match spec.precision {
            None => number()?.to_string(),
            Some(digits) => significant(number()?.to_f64(), digits),
        }),
        'e' | 'E' => signed(exponent(number()?.to_f64(), spec.precision.unwrap_or(6), verb)),
        other => return Err(format!("%{other} is no verb; there are %s %d %f %g %e %t %v %q %x %X %o %b")),
    })
}

fn truncated(number: Decimal) -> Decimal {
    if number.is_negative() { number.ceil() } else { number.floor() }
}

fn sign_and(number: i64, digits: fn(u64) -> String) -> String {
    format!("{}{}", if number < 0 { "-" } else { "" }, digits(number.unsigned_abs()))
}

fn significant(number: f64, digits: usize) -> String {
    let text = format!("{number:.*e}", digits.saturating_sub(1));
    text.parse::<f64>().map_or(text, |rounded| rounded.to_string())
}

/// Go writes at least two digits of exponent, with its sign.
fn exponent(number: f64, precision: usize, verb: char) -> String {
    let text = format!("{number:.precision$e}");
    let Some((mantissa, exponent)) = text.split_once('e') else { return text };
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{mantissa}{verb}{sign}{:02}", exponent.unsigned_abs())
}
