//! Go's `printf`, for the values that actions have. A verb that does not fit its value prints what Go prints for it.

use std::fmt::Write;

use super::Trouble;
use super::value::Value;
use crate::template::number_text;
use crate::template::print::quoted;

/// How wide a value may be padded, and how many digits it may have.
const MAX_WIDTH: usize = 10_000;

/// One verb's flags, width and precision.
#[derive(Debug, Clone, Copy, Default)]
#[expect(clippy::struct_excessive_bools, reason = "Go has five flags, which combine freely")]
struct Verb {
    minus: bool,
    plus: bool,
    space: bool,
    zero: bool,
    sharp: bool,
    width: Option<usize>,
    precision: Option<usize>,
}

/// Formats values.
///
/// # Errors
/// When a width or the result is out of bounds.
pub fn format(format: &str, arguments: &[Value]) -> Result<String, Trouble> {
    let mut result = String::new();
    let mut next = 0;
    let mut rest = format.chars().peekable();
    while let Some(character) = rest.next() {
        if character != '%' {
            result.push(character);
            continue;
        }
        let mut verb = Verb::default();
        while let Some(flag) = rest.peek().copied().filter(|c| "-+ 0#".contains(*c)) {
            match flag {
                '-' => verb.minus = true,
                '+' => verb.plus = true,
                ' ' => verb.space = true,
                '0' => verb.zero = true,
                _ => verb.sharp = true,
            }
            rest.next();
        }
        verb.width = size(&mut rest, arguments, &mut next)?;
        if rest.next_if_eq(&'.').is_some() {
            verb.precision = Some(size(&mut rest, arguments, &mut next)?.unwrap_or(0));
        }
        let Some(letter) = rest.next() else {
            result.push_str("%!(NOVERB)");
            break;
        };
        if letter == '%' {
            result.push('%');
            continue;
        }
        let value = arguments.get(next);
        let rare = matches!((letter, value), ('x' | 'X' | 'b', Some(Value::Float(_))))
            || (letter == 'q' && (verb.plus || verb.sharp));
        if letter == '[' || rare {
            return Err(Trouble::new("printf: this use of a verb is not supported")
                .with_hint("use %s, %d, %v, %q, %x and %f with width, precision and the flags - + 0"));
        }
        match value {
            Some(value) => result.push_str(&verb.write(letter, value)),
            None => {
                let _ = write!(result, "%!{letter}(MISSING)");
            }
        }
        next += 1;
        if result.len() > super::execute::MAX_OUTPUT {
            return Err(Trouble::new("printf: the text becomes too long: more than 4 MiB"));
        }
    }
    if next < arguments.len() {
        let extra: Vec<String> =
            arguments[next..].iter().map(|value| format!("{}={}", go_type(value), value.print())).collect();
        let _ = write!(result, "%!(EXTRA {})", extra.join(", "));
    }
    Ok(result)
}

/// A width or precision: digits, or `*` for an argument.
fn size(
    rest: &mut std::iter::Peekable<std::str::Chars<'_>>,
    arguments: &[Value],
    next: &mut usize,
) -> Result<Option<usize>, Trouble> {
    let mut number: Option<usize> = None;
    if rest.next_if_eq(&'*').is_some() {
        number = match arguments.get(*next) {
            Some(Value::Integer(given)) => usize::try_from(*given).ok(),
            _ => None,
        };
        *next += 1;
    } else {
        while let Some(digit) = rest.peek().and_then(|c| c.to_digit(10)) {
            rest.next();
            number = Some(number.unwrap_or(0).saturating_mul(10).saturating_add(digit as usize));
        }
    }
    match number {
        Some(number) if number > MAX_WIDTH => Err(Trouble::new("printf: a width of more than 10,000 is refused")),
        number => Ok(number),
    }
}

fn go_type(value: &Value) -> &'static str {
    match value {
        Value::Nil => "<nil>",
        Value::Text(_) => "string",
        Value::Integer(_) => "int",
        Value::Float(_) => "float64",
        Value::Bool(_) => "bool",
        Value::Map(_) => "map[string]string",
    }
}

impl Verb {
    fn write(self, letter: char, value: &Value) -> String {
        let body = match (letter, value) {
            ('T', value) => Some(go_type(value).to_owned()),
            ('v', Value::Text(text)) if self.sharp => Some(quoted(text)),
            ('v' | 's', Value::Text(text)) => Some(self.cut(text)),
            ('q', Value::Text(text)) => Some(quoted(&self.cut(text))),
            ('x' | 'X', Value::Text(text)) => Some(self.hexadecimal(letter, text)),
            ('t' | 'v', Value::Bool(flag)) => Some(flag.to_string()),
            ('c', Value::Integer(number)) => {
                u32::try_from(*number).ok().and_then(char::from_u32).map(|character| character.to_string())
            }
            ('q', Value::Integer(number)) => {
                u32::try_from(*number).ok().and_then(char::from_u32).map(|character| format!("'{character}'"))
            }
            ('U', Value::Integer(number)) => Some(format!("U+{number:04X}")),
            ('d' | 'v' | 'x' | 'X' | 'o' | 'b' | 'O', Value::Integer(number)) => {
                // With %v, + asks for field names, of which there are none.
                return Self { plus: self.plus && letter != 'v', ..self }.integer(letter, *number);
            }
            ('v' | 'g' | 'G' | 'f' | 'F' | 'e' | 'E', Value::Float(number)) => {
                let plain = Self { plus: self.plus && letter != 'v', ..self };
                return plain.number(&number_text::float(*number, letter, self.precision));
            }
            ('v', Value::Map(_) | Value::Nil) => Some(value.print()),
            _ => None,
        };
        match body {
            Some(body) => self.pad(&body),
            None if *value == Value::Nil => format!("%!{letter}(<nil>)"),
            None => format!("%!{letter}({}={})", go_type(value), value.print()),
        }
    }

    fn cut(self, text: &str) -> String {
        match self.precision {
            Some(length) => text.chars().take(length).collect(),
            None => text.to_owned(),
        }
    }

    fn hexadecimal(self, letter: char, text: &str) -> String {
        let bytes = text.bytes().take(self.precision.unwrap_or(usize::MAX));
        let between = if self.space { " " } else { "" };
        let digits: Vec<String> =
            bytes.map(|byte| if letter == 'x' { format!("{byte:02x}") } else { format!("{byte:02X}") }).collect();
        let digits = digits.join(between);
        if self.sharp { format!("0{letter}{digits}") } else { digits }
    }

    fn integer(self, letter: char, number: i64) -> String {
        let size = number.unsigned_abs();
        let mut digits = match letter {
            'x' => format!("{size:x}"),
            'X' => format!("{size:X}"),
            'o' | 'O' => format!("{size:o}"),
            'b' => format!("{size:b}"),
            _ => size.to_string(),
        };
        if let Some(least) = self.precision {
            digits = format!("{digits:0>least$}");
        }
        let prefix = match letter {
            'O' => "0o",
            'x' if self.sharp => "0x",
            'X' if self.sharp => "0X",
            'b' if self.sharp => "0b",
            'o' if self.sharp => "0",
            _ => "",
        };
        let sign = if number < 0 { "-" } else { "" };
        // A precision says how many digits there are; zeros don't fill up then.
        let verb = Self { zero: self.zero && self.precision.is_none(), ..self };
        verb.number(&format!("{sign}{prefix}{digits}"))
    }

    /// Adds the sign that flags ask for, and fills up.
    fn number(self, digits: &str) -> String {
        let (sign, body) = match digits.strip_prefix('-') {
            Some(body) => ("-", body),
            None if self.plus => ("+", digits),
            None if self.space => (" ", digits),
            None => ("", digits),
        };
        let width = self.width.unwrap_or(0);
        if self.zero && !self.minus {
            let width = width.saturating_sub(sign.len());
            return format!("{sign}{body:0>width$}");
        }
        self.pad(&format!("{sign}{body}"))
    }

    fn pad(self, text: &str) -> String {
        let width = self.width.unwrap_or(0);
        match (self.minus, self.zero) {
            (true, _) => format!("{text:<width$}"),
            (false, true) => format!("{text:0>width$}"),
            (false, false) => format!("{text:>width$}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verbs_print_what_go_prints() {
        let f = |text: &str, arguments: &[Value]| format(text, arguments).unwrap();
        assert_eq!(
            f("%05d|%-5s|%q|%v", &[7.into(), "ab".into(), "c".into(), Value::Bool(true)]),
            "00007|ab   |\"c\"|true"
        );
        assert_eq!(
            f(
                "%x %X %#x %08b %o %c %U",
                &[255.into(), 255.into(), 255.into(), 5.into(), 8.into(), 97.into(), 97.into()]
            ),
            "ff FF 0xff 00000101 10 a U+0061"
        );
        assert_eq!(
            f("%.2f %8.3f %e %g", &[Value::Float(1.005), Value::Float(-2.5), Value::Float(12.5), Value::Float(1e21)]),
            "1.00   -2.500 1.250000e+01 1e+21"
        );
        assert_eq!(f("%+d % d %5.3d", &[1.into(), 2.into(), 7.into()]), "+1  2   007");
        assert_eq!(f("%d", &["a".into()]), "%!d(string=a)");
        assert_eq!(f("%s %s", &["a".into()]), "a %!s(MISSING)");
        assert_eq!(f("a", &[1.into()]), "a%!(EXTRA int=1)");
        assert_eq!(f("%.1s|%5s|%%", &["äö".into(), "ab".into()]), "ä|   ab|%");
        for refused in ["%99999999d", "%[1]d", "%+q"] {
            assert!(format(refused, &[1.into()]).is_err(), "{refused}");
        }
    }

    impl From<i64> for Value {
        fn from(number: i64) -> Self {
            Self::Integer(number)
        }
    }

    impl From<&str> for Value {
        fn from(text: &str) -> Self {
            Self::text(text)
        }
    }
}
