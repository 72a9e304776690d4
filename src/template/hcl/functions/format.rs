//! `format` and `formatlist`: the verbs of Go's fmt that zclconf/go-cty has.

use unicode_segmentation::UnicodeSegmentation;

use super::{Call, Function, FunctionError, FunctionResult, any_or_null, json, text, variadic};
use crate::template::number::Number;
use crate::template::number_text;
use crate::template::types::{Type, convert};
use crate::template::value::{Kind, Value};

pub(super) const FUNCTIONS: &[Function] = &[
    variadic("format", &[text("format")], any_or_null("args"), |call| {
        Ok(Value::string(format(&call.text(0)?, &call.args[1..])?))
    }),
    variadic("formatlist", &[text("format")], any_or_null("args"), format_list),
];

/// Lists are gone through together; what is no list is the same each time.
fn format_list(call: &Call<'_>) -> FunctionResult {
    let pattern = call.text(0)?;
    let args = &call.args[1..];
    let list = |value: &'_ Value| match value.kind() {
        Kind::Sequence(sequence) => Some(sequence.items.len()),
        _ => None,
    };
    let mut length = None;
    for (at, arg) in args.iter().enumerate() {
        let Some(count) = list(arg) else { continue };
        match length {
            None => length = Some(count),
            Some(length) if length != count => {
                let message = format!("this list has {count} elements, the one before has {length}");
                return Call::fail(at + 1, message);
            }
            Some(_) => {}
        }
    }
    let length = length.unwrap_or(1);
    call.runtime.spend((length as u64).saturating_mul(call.len() as u64))?;
    let mut result = Vec::new();
    let mut bytes = 0;
    for index in 0..length {
        let one = |arg: &Value| match (list(arg), arg.as_items()) {
            (Some(_), Some(items)) => items[index].clone(),
            _ => arg.clone(),
        };
        let args: Vec<Value> = args.iter().map(one).collect();
        let text = format(&pattern, &args)?;
        bytes += text.len();
        Call::reserve(bytes)?;
        result.push(Value::string(text));
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

type Characters<'p> = std::iter::Peekable<std::str::Chars<'p>>;

fn digits(characters: &mut Characters<'_>) -> Result<Option<usize>, FunctionError> {
    let mut number: Option<usize> = None;
    while let Some(digit) = characters.peek().and_then(|c| c.to_digit(10)) {
        characters.next();
        let next = number.unwrap_or(0).saturating_mul(10).saturating_add(digit as usize);
        if next > 1024 {
            return Err(FunctionError::at(0, "a width, precision or number above 1024"));
        }
        number = Some(next);
    }
    Ok(number)
}

impl Spec {
    /// Reads flags, width, precision and `[n]`, and gives the verb.
    fn read(characters: &mut Characters<'_>, next: &mut usize) -> Result<(Self, char), FunctionError> {
        let mut spec = Self::default();
        loop {
            match characters.peek() {
                Some('-') => spec.minus = true,
                Some('+') => spec.plus = true,
                Some(' ') => spec.space = true,
                Some('#') => spec.sharp = true,
                Some('0') => spec.zero = true,
                _ => break,
            }
            characters.next();
        }
        if characters.peek() != Some(&'[') {
            spec.width = digits(characters)?.unwrap_or(0);
        }
        if characters.peek() == Some(&'.') {
            characters.next();
            spec.precision = Some(digits(characters)?.unwrap_or(0));
        }
        if characters.peek() == Some(&'[') {
            characters.next();
            let index = digits(characters)?.and_then(|index| index.checked_sub(1));
            match (index, characters.next()) {
                (Some(index), Some(']')) => *next = index,
                _ => return Err(FunctionError::at(0, "%[n] counts from 1")),
            }
            if spec.width == 0 {
                spec.width = digits(characters)?.unwrap_or(0);
            }
        }
        match characters.next() {
            Some(verb) => Ok((spec, verb)),
            None => Err(FunctionError::at(0, "the text ends within a % verb")),
        }
    }
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
        if characters.peek() == Some(&'%') {
            characters.next();
            result.push('%');
            continue;
        }
        let (spec, verb) = Spec::read(&mut characters, &mut next)?;
        let Some(arg) = args.get(next) else {
            let message = format!("there is no argument {} for %{verb}", next + 1);
            return Err(FunctionError::at(0, message));
        };
        next += 1;
        used = used.max(next);
        let text = render(verb, &spec, arg).map_err(|message| FunctionError::at(next, message))?;
        result.push_str(&pad(text, &spec, verb));
        Call::reserve(result.len())?;
    }
    if used < args.len() {
        return Err(FunctionError::at(used + 1, "the text has no % verb for this argument"));
    }
    Ok(result)
}

fn pad(text: String, spec: &Spec, verb: char) -> String {
    let missing = spec.width.saturating_sub(text.graphemes(true).count());
    // A bool is never padded.
    if missing == 0 || verb == 't' {
        return text;
    }
    let sign = usize::from(text.starts_with(['-', '+', ' ']) && !matches!(verb, 's' | 'q' | 'v' | 't'));
    if spec.minus {
        text + &" ".repeat(missing)
    } else if spec.zero {
        let (sign, digits) = text.split_at(sign);
        format!("{sign}{}{digits}", "0".repeat(missing))
    } else {
        " ".repeat(missing) + &text
    }
}

fn render(verb: char, spec: &Spec, arg: &Value) -> Result<String, String> {
    if !"vtbdoxXeEfgGsq".contains(verb) {
        return Err(format!("%{verb} is no verb; there are %s %q %d %f %g %e %t %v %x %X %o %b"));
    }
    if arg.is_null() && verb != 'v' {
        return Err(format!("%{verb} can't write null"));
    }
    let needs = |what: &str| format!("%{verb} needs {what}, this is {}", arg.type_name());
    match verb {
        'v' => {
            if let (Kind::String(text), false) = (arg.kind(), spec.sharp) {
                return Ok(text.to_string());
            }
            let mut text = String::new();
            json::write(arg, &mut text);
            Ok(text)
        }
        's' | 'q' => {
            let text = arg.to_text().ok_or_else(|| needs("a string"))?;
            let cut: String = text.graphemes(true).take(spec.precision.unwrap_or(usize::MAX)).collect();
            if verb == 's' {
                return Ok(cut);
            }
            let mut quoted = String::new();
            json::write(&Value::string(cut), &mut quoted);
            Ok(quoted)
        }
        't' => match convert(arg, &Type::Bool).map(|value| value.kind().clone()) {
            Ok(Kind::Bool(flag)) => Ok(flag.to_string()),
            _ => Err(needs("a bool")),
        },
        _ => match convert(arg, &Type::Number).map(|value| value.kind().clone()) {
            Ok(Kind::Number(number)) => numeric(verb, spec, number),
            _ => Err(needs("a number")),
        },
    }
}

fn numeric(verb: char, spec: &Spec, number: Number) -> Result<String, String> {
    let sign = match (number.is_negative(), spec.plus, spec.space) {
        (true, _, _) => "-",
        (false, true, _) => "+",
        (false, false, true) => " ",
        _ => "",
    };
    let text = match verb {
        'e' | 'E' | 'f' | 'g' | 'G' => number_text::formatted(&number, verb, spec.precision),
        _ => {
            let whole = number.whole().ok_or_else(|| format!("%{verb} needs a whole number"))?;
            let (radix, prefix) = match verb {
                'b' => (2, "0b"),
                'o' => (8, "0"),
                'x' => (16, "0x"),
                'X' => (16, "0X"),
                _ => (10, ""),
            };
            let mut digits = whole.to_str_radix(radix);
            if verb == 'X' {
                digits.make_ascii_uppercase();
            }
            let least = spec.precision.unwrap_or(0);
            let prefix = if spec.sharp { prefix } else { "" };
            format!("{prefix}{}{digits}", "0".repeat(least.saturating_sub(digits.len())))
        }
    };
    Ok(format!("{sign}{text}"))
}
