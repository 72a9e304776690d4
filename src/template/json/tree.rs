//! JSON text to its tree with places. Reading goes on after what can be understood anyway, so that one look shows all
//! faults.

use std::collections::HashMap;

use crate::domain::diagnostic::{Diagnostic, Hint};
use crate::template::number::Number;
use crate::template::source::{SourceFile, did_you_mean};

use super::ranges::Cursor;

const MAX_NESTING: usize = 64;
/// Faults after which reading stops.
const MAX_FAULTS: usize = 50;

/// A range of bytes of the text, end exclusive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    pub start: usize,
    pub end: usize,
}

/// A value with its place.
#[derive(Debug, Clone)]
pub struct Tree {
    pub span: Span,
    pub kind: TreeKind,
}

#[derive(Debug, Clone)]
pub enum TreeKind {
    Null,
    Bool(bool),
    /// As it is written; a [`Number`] holds it.
    Number(String),
    String(String),
    List(Vec<Tree>),
    /// In the order of the text; a key can come twice when that was asked for.
    Object(Vec<Member>),
    /// What could not be read; its fault is told.
    Unknown,
}

#[derive(Debug, Clone)]
pub struct Member {
    pub key: String,
    pub key_span: Span,
    pub value: Tree,
}

struct Fault {
    span: Span,
    summary: String,
    hint: Hint,
    /// Where the key stands that came again.
    first: Option<usize>,
}

/// Whether an object may hold a key twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repeats {
    /// Every further one is a fault, and is left out.
    Refused,
    /// Whoever reads the tree judges.
    Kept,
}

/// Reads a document as far as it can be understood, with all its faults; no tree means that they make it unreadable.
#[must_use]
pub fn read(source: &SourceFile, repeats: Repeats) -> (Option<Tree>, Vec<Diagnostic>) {
    let mut parser = Parser { text: &source.text, at: 0, faults: Vec::new(), repeats };
    let tree = parser.value(0).ok();
    if tree.is_some() {
        parser.space();
        if parser.at < parser.text.len() {
            parser.fault("there is text after the end of the JSON document", "");
        }
    }
    let mut faults = parser.faults;
    faults.sort_by_key(|fault| fault.span.start);
    let mut cursor = Cursor::new(source);
    let mut diagnostics = Vec::new();
    for Fault { span, summary, mut hint, first } in faults {
        if let Some(first) = first {
            hint = format!("the first is at {}; take one of the two out", source.location(first)).into();
        }
        let (at, end) = cursor.range(span);
        diagnostics.push(Diagnostic::error(summary).with_detail(hint).at(Some(at)).until(Some(end)));
    }
    (tree, diagnostics)
}

/// The text can't be read on; the reason is among the faults.
struct Unreadable;

struct Parser<'t> {
    text: &'t str,
    at: usize,
    faults: Vec<Fault>,
    repeats: Repeats,
}

impl Parser<'_> {
    /// A fault of the next character.
    fn fault(&mut self, summary: impl Into<String>, hint: impl Into<Hint>) {
        let width = self.peek().filter(|c| !matches!(c, '\n' | '\r')).map_or(0, char::len_utf8);
        self.fault_of(Span { start: self.at, end: self.at + width }, summary, hint);
    }

    fn fault_of(&mut self, span: Span, summary: impl Into<String>, hint: impl Into<Hint>) {
        if self.faults.len() <= MAX_FAULTS {
            self.faults.push(Fault { span, summary: summary.into(), hint: hint.into(), first: None });
        }
    }

    /// A fault after which nothing can be understood.
    fn stop<T>(&mut self, summary: impl Into<String>, hint: impl Into<Hint>) -> Result<T, Unreadable> {
        self.fault(summary, hint);
        Err(Unreadable)
    }

    /// Skips white space, and comments with a complaint.
    fn space(&mut self) {
        loop {
            let rest = &self.text[self.at..];
            let trimmed = rest.trim_start_matches([' ', '\t', '\n', '\r']);
            self.at = self.text.len() - trimmed.len();
            let length = if trimmed.starts_with("//") {
                trimmed.find(['\n', '\r']).unwrap_or(trimmed.len())
            } else if trimmed.starts_with("/*") {
                trimmed.find("*/").map_or(trimmed.len(), |end| end + 2)
            } else {
                return;
            };
            let span = Span { start: self.at, end: self.at + length };
            self.fault_of(span, "JSON has no comments", "a key such as \"_comment\" at the root can hold one");
            self.at += length;
        }
    }

    fn peek(&self) -> Option<char> {
        self.text[self.at..].chars().next()
    }

    fn value(&mut self, depth: usize) -> Result<Tree, Unreadable> {
        self.space();
        if depth > MAX_NESTING {
            return self.stop("the JSON nests too deep: more than 64 levels", "");
        }
        if self.faults.len() >= MAX_FAULTS {
            return Err(Unreadable);
        }
        let start = self.at;
        let kind = match self.peek() {
            Some('{') => TreeKind::Object(self.object(depth)?),
            Some('[') => TreeKind::List(self.array(depth)?),
            Some('"') => TreeKind::String(self.string()?),
            Some('-' | '0'..='9') => self.number(),
            Some(c) if c.is_alphabetic() => self.word(),
            Some('\'' | '\u{201c}' | '\u{201d}') => return self.stop("strings are written with \" in JSON", ""),
            Some(other) => return self.stop(format!("a value is expected here, not {other:?}"), ""),
            None => return self.stop("the file ends where a value is expected", "a } or ] may be missing before"),
        };
        Ok(Tree { span: Span { start, end: self.at }, kind })
    }

    /// `true`, `false`, `null`, or a complaint.
    fn word(&mut self) -> TreeKind {
        let rest = &self.text[self.at..];
        let end = rest.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(rest.len());
        let (word, span) = (&rest[..end], Span { start: self.at, end: self.at + end });
        self.at += end;
        match word {
            "true" => return TreeKind::Bool(true),
            "false" => return TreeKind::Bool(false),
            "null" => return TreeKind::Null,
            _ => {}
        }
        let hint = match word {
            "None" | "nil" | "undefined" => Hint::from("write null"),
            _ => did_you_mean(word, ["true", "false", "null"]),
        };
        let hint = if hint.text.is_empty() { Hint::from("a string stands in \"") } else { hint };
        self.fault_of(span, format!("a value is expected here, not {word}"), hint);
        TreeKind::Unknown
    }

    fn object(&mut self, depth: usize) -> Result<Vec<Member>, Unreadable> {
        self.at += 1;
        let mut members: Vec<Member> = Vec::new();
        let mut seen: HashMap<String, usize> = HashMap::new();
        let mut comma = None;
        loop {
            self.space();
            match self.peek() {
                Some('}') => {
                    self.after_comma(comma, '}');
                    return Ok(members);
                }
                Some('"') => {}
                None => return self.stop("the file ends inside an object", "a } is missing"),
                Some(other) => return self.stop(format!("a key in quotes is expected here, not {other:?}"), ""),
            }
            let start = self.at;
            let key = self.string()?;
            let key_span = Span { start, end: self.at };
            self.space();
            if self.peek() != Some(':') {
                return self.stop(format!("a : is missing after {key:?}"), "");
            }
            self.at += 1;
            let value = self.value(depth + 1)?;
            match seen.get(&key) {
                Some(first) if self.repeats == Repeats::Refused => {
                    let (first, summary) = (Some(*first), format!("the key {key:?} is there twice in one object"));
                    self.faults.push(Fault { span: key_span, summary, hint: Hint::default(), first });
                }
                _ => {
                    seen.entry(key.clone()).or_insert(start);
                    members.push(Member { key, key_span, value });
                }
            }
            comma = self.separator('}')?;
            if comma.is_none() {
                return Ok(members);
            }
        }
    }

    fn array(&mut self, depth: usize) -> Result<Vec<Tree>, Unreadable> {
        self.at += 1;
        let mut items = Vec::new();
        let mut comma = None;
        loop {
            self.space();
            if self.peek() == Some(']') {
                self.after_comma(comma, ']');
                return Ok(items);
            }
            items.push(self.value(depth + 1)?);
            comma = self.separator(']')?;
            if comma.is_none() {
                return Ok(items);
            }
        }
    }

    /// Reads the closing bracket, with a complaint when a comma stands before it.
    fn after_comma(&mut self, comma: Option<usize>, close: char) {
        if let Some(start) = comma {
            let span = Span { start, end: start + 1 };
            self.fault_of(span, format!("there is a comma before a {close}"), "take the comma out");
        }
        self.at += 1;
    }

    /// Reads `,` and gives its offset, or reads the closing bracket.
    fn separator(&mut self, close: char) -> Result<Option<usize>, Unreadable> {
        let before = self.at;
        self.space();
        match self.peek() {
            Some(',') => {
                self.at += 1;
                Ok(Some(self.at - 1))
            }
            Some(found) if found == close => {
                self.at += 1;
                Ok(None)
            }
            // What follows is the next element: only the comma is missing.
            Some('"' | '{' | '[') => {
                let span = Span { start: before, end: before };
                self.fault_of(span, format!("a , or {close} is missing here"), "put a comma between two values");
                Ok(Some(before))
            }
            Some(found) => self.stop(format!("a , or {close} is expected here, not {found:?}"), ""),
            None => self.stop(format!("the file ends where a , or {close} is expected"), ""),
        }
    }

    fn number(&mut self) -> TreeKind {
        let rest = &self.text[self.at..];
        let end = rest.find(|c: char| !matches!(c, '0'..='9' | '-' | '+' | '.' | 'e' | 'E')).unwrap_or(rest.len());
        let span = Span { start: self.at, end: self.at + end };
        self.at += end;
        let text = &rest[..end];
        if is_number(text) && Number::parse(text).is_some() {
            return TreeKind::Number(text.to_owned());
        }
        self.fault_of(span, "this is no number, or has too many digits", "text with digits stands in \"");
        TreeKind::Unknown
    }

    fn string(&mut self) -> Result<String, Unreadable> {
        self.at += 1;
        let mut text = String::new();
        loop {
            let Some(character) = self.peek() else {
                return self.stop("the file ends inside a string", "a \" is missing");
            };
            match character {
                '"' => {
                    self.at += 1;
                    return Ok(text);
                }
                '\\' => text.push(self.escape()),
                '\n' | '\r' => {
                    return self.stop(
                        "a string can't go over several lines in JSON",
                        "write \\n for a line break, or close the \"",
                    );
                }
                other => {
                    if u32::from(other) < 0x20 {
                        let summary = format!("the character {other:?} must be escaped in a string");
                        self.fault(summary, "write \\t for a tab");
                    }
                    text.push(other);
                    self.at += other.len_utf8();
                }
            }
        }
    }

    fn escape(&mut self) -> char {
        let rest = &self.text[self.at + 1..];
        let simple = match rest.chars().next() {
            Some(c @ ('"' | '\\' | '/')) => Some(c),
            Some('b') => Some('\u{8}'),
            Some('f') => Some('\u{c}'),
            Some('n') => Some('\n'),
            Some('r') => Some('\r'),
            Some('t') => Some('\t'),
            _ => None,
        };
        if let Some(simple) = simple {
            self.at += 2;
            return simple;
        }
        let unit = |text: &str| {
            let hex = text.strip_prefix('u').and_then(|text| text.get(..4));
            hex.filter(|hex| hex.bytes().all(|b| b.is_ascii_hexdigit()))
                .and_then(|hex| u32::from_str_radix(hex, 16).ok())
        };
        let Some(first) = unit(rest) else {
            let span = Span { start: self.at, end: self.at + 1 + rest.chars().next().map_or(0, char::len_utf8) };
            self.fault_of(span, "this escape is not known in JSON", "a backslash itself is written \\\\");
            self.at += 1;
            return '\\';
        };
        self.at += 6;
        let second = if (0xd800..0xdc00).contains(&first) {
            self.text[self.at..].strip_prefix('\\').and_then(unit).filter(|unit| (0xdc00..0xe000).contains(unit))
        } else {
            None
        };
        if let Some(second) = second {
            self.at += 6;
            let code = 0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00);
            return char::from_u32(code).unwrap_or('\u{fffd}');
        }
        char::from_u32(first).unwrap_or('\u{fffd}')
    }
}

/// JSON's grammar of numbers.
fn is_number(text: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let text = text.strip_prefix('-').unwrap_or(text);
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent.strip_prefix(['+', '-']).unwrap_or(exponent))),
        None => (text, None),
    };
    let (whole, fraction) = match mantissa.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (mantissa, None),
    };
    let leads_with_zero = whole.len() > 1 && whole.starts_with('0');
    digits(whole) && !leads_with_zero && fraction.is_none_or(digits) && exponent.is_none_or(digits)
}
