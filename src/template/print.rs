//! Values as `packer console` and `packer inspect` print them.

use super::number_text;
use super::value::{Kind, Value};

/// The text of a value. Whatever holds something unknown is unknown as a whole; a map's null entries are left out.
#[must_use]
pub fn printed(value: &Value) -> String {
    if value.is_unknown() {
        return "<unknown>".to_owned();
    }
    match value.kind() {
        Kind::String(text) => text.to_string(),
        _ => nested(value, 0),
    }
}

fn nested(value: &Value, indent: usize) -> String {
    let pad = "  ".repeat(indent + 1);
    let end = "  ".repeat(indent);
    match value.kind() {
        Kind::Null | Kind::Unknown => "null".to_owned(),
        Kind::Bool(flag) => flag.to_string(),
        Kind::Number(number) => match number.to_i64() {
            Some(whole) => whole.to_string(),
            None => number_text::float(number.to_f64(), 'g', None),
        },
        Kind::String(text) => quoted(text),
        Kind::Sequence(sequence) if sequence.items.is_empty() => "[]".to_owned(),
        Kind::Sequence(sequence) => {
            let items = sequence.items.iter().map(|item| format!("{pad}{},\n", nested(item, indent + 1)));
            format!("[\n{}{end}]", items.collect::<String>())
        }
        Kind::Mapping(mapping) => {
            let entries = mapping.sorted().into_iter().filter(|(_, item)| !item.is_null());
            let entries = entries.map(|(key, item)| format!("{pad}{} = {}\n", quoted(key), nested(item, indent + 1)));
            let entries = entries.collect::<String>();
            if entries.is_empty() { "{}".to_owned() } else { format!("{{\n{entries}{end}}}") }
        }
    }
}

/// A string as Go's `%q` writes it.
#[must_use]
pub fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for character in text.chars() {
        match character {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\u{7}' => quoted.push_str("\\a"),
            '\u{8}' => quoted.push_str("\\b"),
            '\u{c}' => quoted.push_str("\\f"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            '\u{b}' => quoted.push_str("\\v"),
            ' ' => quoted.push(' '),
            _ if character.is_control() || is_invisible(character) => {
                let code = u32::from(character);
                let escape = match code {
                    0..0x80 => format!("\\x{code:02x}"),
                    0x80..0x1_0000 => format!("\\u{code:04x}"),
                    _ => format!("\\U{code:08x}"),
                };
                quoted.push_str(&escape);
            }
            _ => quoted.push(character),
        }
    }
    quoted.push('"');
    quoted
}

/// White space other than the space, and formatting characters: Go takes them for not printable.
fn is_invisible(character: char) -> bool {
    character.is_whitespace()
        || matches!(
            character,
            '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
                | '\u{e000}'..='\u{f8ff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0001}'..='\u{e007f}'
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_packer_prints() {
        let text = Value::string("a\"b\n");
        assert_eq!(printed(&text), "a\"b\n");
        let list = Value::tuple(vec![text, Value::NULL, Value::number(1_i64), Value::tuple(vec![])]);
        assert_eq!(printed(&list), "[\n  \"a\\\"b\\n\",\n  null,\n  1,\n  [],\n]");
        let object = Value::object([("b".to_owned(), Value::NULL), ("a".to_owned(), list)].into_iter().collect());
        assert_eq!(printed(&object), "{\n  \"a\" = [\n    \"a\\\"b\\n\",\n    null,\n    1,\n    [],\n  ]\n}");
        assert_eq!(quoted("é\u{1}\u{a0}\u{200d}😀"), "\"é\\x01\\u00a0\\u200d😀\"");
        assert_eq!(printed(&Value::tuple(vec![Value::UNKNOWN])), "<unknown>");
    }
}
