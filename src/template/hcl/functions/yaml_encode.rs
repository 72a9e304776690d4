//! `yamlencode`: block style with every string in double quotes, or as a literal block when it has several lines, as
//! zclconf/go-cty-yaml writes it.

use super::{Call, FunctionResult};
use crate::template::value::{Kind, Value};

/// Columns after which a quoted string is folded at its next space.
const WIDTH: usize = 80;

pub(super) fn encode(call: &Call<'_>) -> FunctionResult {
    let mut writer = Writer { text: String::new() };
    let value = &call.args[0];
    writer.node(value, 0, Place::Root);
    // A document that is one plain scalar is closed, or what follows could belong to it.
    let plain = matches!(value.kind(), Kind::Null | Kind::Bool(_) | Kind::Number(_));
    if plain {
        writer.text.push_str("\n...\n");
    } else if !writer.text.ends_with('\n') {
        writer.text.push('\n');
    }
    Call::reserve(writer.text.len())?;
    Ok(Value::string(writer.text))
}

/// What stands before a node.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Root,
    /// After `- `.
    Item,
    /// After `key:`.
    Entry,
}

struct Writer {
    text: String,
}

impl Writer {
    /// Writes a node whose collections are indented by `indent` columns.
    fn node(&mut self, value: &Value, indent: usize, place: Place) {
        match value.kind() {
            Kind::Sequence(sequence) if !sequence.items.is_empty() => {
                // A list in a map is not indented further.
                let indent = if place == Place::Entry { indent.saturating_sub(2) } else { indent };
                for (at, item) in sequence.items.iter().enumerate() {
                    self.begin(at == 0 && place != Place::Entry, indent);
                    self.text.push_str("- ");
                    self.node(item, indent + 2, Place::Item);
                }
            }
            Kind::Mapping(mapping) if !mapping.entries.is_empty() => {
                for (at, (key, item)) in mapping.sorted().into_iter().enumerate() {
                    self.begin(at == 0 && place != Place::Entry, indent);
                    self.entry(key, item, indent);
                }
            }
            _ => {
                if place == Place::Entry {
                    self.text.push(' ');
                }
                self.scalar(value, indent);
            }
        }
    }

    /// Goes to the place where an element of a collection begins.
    fn begin(&mut self, here: bool, indent: usize) {
        if here {
            return;
        }
        if !self.text.ends_with('\n') {
            self.text.push('\n');
        }
        self.text.push_str(&" ".repeat(indent));
    }

    fn entry(&mut self, key: &str, item: &Value, indent: usize) {
        // Keys of several lines, and very long ones, need the explicit form.
        if key.contains('\n') || key.len() > 128 {
            self.text.push_str("? ");
            self.string(key, indent + 2);
            if !self.text.ends_with('\n') {
                self.text.push('\n');
            }
            self.text.push_str(&" ".repeat(indent));
            self.text.push(':');
        } else {
            self.quoted(key, indent, false);
            self.text.push(':');
        }
        self.node(item, indent + 2, Place::Entry);
    }

    fn scalar(&mut self, value: &Value, indent: usize) {
        match value.kind() {
            Kind::Bool(flag) => self.text.push_str(if *flag { "true" } else { "false" }),
            Kind::Number(number) => self.text.push_str(&number.to_string()),
            Kind::String(text) => self.string(text, indent),
            Kind::Sequence(_) => self.text.push_str("[]"),
            Kind::Mapping(_) => self.text.push_str("{}"),
            Kind::Null | Kind::Unknown => self.text.push_str("null"),
        }
    }

    fn string(&mut self, text: &str, indent: usize) {
        if text.contains('\n') && may_be_literal(text) {
            self.literal(text, indent);
        } else {
            self.quoted(text, indent, true);
        }
    }

    fn literal(&mut self, text: &str, indent: usize) {
        let indent = indent.max(2);
        self.text.push('|');
        if text.starts_with([' ', '\n']) {
            self.text.push('2');
        }
        let breaks = text.len() - text.trim_end_matches('\n').len();
        match breaks {
            0 => self.text.push('-'),
            1 if text.len() > 1 => {}
            _ => self.text.push('+'),
        }
        let body = text.strip_suffix('\n').unwrap_or(text);
        for line in body.split('\n') {
            self.text.push('\n');
            if !line.is_empty() {
                self.text.push_str(&" ".repeat(indent));
                self.text.push_str(line);
            }
        }
        self.text.push('\n');
    }

    fn column(&self) -> usize {
        let line = self.text.rfind('\n').map_or(0, |at| at + 1);
        self.text[line..].chars().count()
    }

    fn quoted(&mut self, text: &str, indent: usize, may_fold: bool) {
        self.text.push('"');
        let count = text.chars().count();
        let mut after_space = false;
        let mut column = self.column();
        for (at, character) in text.chars().enumerate() {
            let before = self.text.len();
            if may_fold && character == ' ' && !after_space && column > WIDTH && at > 0 && at + 1 < count {
                self.text.push('\n');
                self.text.push_str(&" ".repeat(indent.max(2)));
                column = indent.max(2);
                // A space at the start of the line would be lost.
                if text.chars().nth(at + 1) == Some(' ') {
                    self.text.push('\\');
                    column += 1;
                }
                after_space = true;
                continue;
            }
            self.escaped(character);
            column += self.text[before..].chars().count();
            after_space = character == ' ';
        }
        self.text.push('"');
    }

    fn escaped(&mut self, character: char) {
        let short = match character {
            '"' => '"',
            '\\' => '\\',
            '\0' => '0',
            '\u{7}' => 'a',
            '\u{8}' => 'b',
            '\t' => 't',
            '\n' => 'n',
            '\u{b}' => 'v',
            '\u{c}' => 'f',
            '\r' => 'r',
            '\u{1b}' => 'e',
            '\u{85}' => 'N',
            '\u{2028}' => 'L',
            '\u{2029}' => 'P',
            _ => {
                let code = u32::from(character);
                if is_printable(character) {
                    self.text.push(character);
                    return;
                }
                let escape = match code {
                    0..=0xff => format!("\\x{code:02X}"),
                    0x100..=0xffff => format!("\\u{code:04X}"),
                    _ => format!("\\U{code:08X}"),
                };
                self.text.push_str(&escape);
                return;
            }
        };
        self.text.push('\\');
        self.text.push(short);
    }
}

/// What libyaml's emitter writes as it is.
fn is_printable(character: char) -> bool {
    matches!(character, '\n' | ' '..='~' | '\u{a0}'..='\u{d7ff}' | '\u{e000}'..='\u{fefe}' | '\u{ff00}'..='\u{fffd}')
}

/// A literal block can't hold what must be escaped, nor spaces before a line break.
fn may_be_literal(text: &str) -> bool {
    text.chars().all(|c| is_printable(c) && !matches!(c, '\u{2028}' | '\u{2029}'))
        && !text.contains(" \n")
        && !text.ends_with(' ')
}
