//! JSON with positions. `serde_json` knows neither where a value stands nor that a key came twice. Reading goes on after
//! what can be understood anyway, so that one look shows all faults.

use indexmap::IndexMap;

use crate::domain::diagnostic::{Diagnostic, Hint};
use crate::template::decimal::Decimal;
use crate::template::options::{Content, Entry, Node};
use crate::template::source::{SourceFile, did_you_mean};
use crate::template::value::Value;

const MAX_NESTING: usize = 64;
/// Faults after which reading stops.
const MAX_FAULTS: usize = 50;

/// Parses a document.
///
/// # Errors
/// With the first fault, located.
pub fn document(source: &SourceFile) -> Result<Node, Diagnostic> {
    let (node, faults) = parse(source);
    match (node, faults.into_iter().next()) {
        (Some(node), None) => Ok(node),
        (_, Some(fault)) => Err(fault),
        (None, None) => Err(Diagnostic::error("the JSON can't be read").at(Some(source.location(0)))),
    }
}

/// Parses a document as far as it can be understood, with all its faults; no document means that they make it
/// unreadable.
#[must_use]
pub fn parse(source: &SourceFile) -> (Option<Node>, Vec<Diagnostic>) {
    let mut parser = Parser { source, text: &source.text, at: 0, faults: Vec::new() };
    let node = match parser.value(0) {
        Ok(node) => Some(node),
        Err(Unreadable) => None,
    };
    if node.is_some() {
        parser.space();
        if parser.at < parser.text.len() {
            parser.fault("there is text after the end of the JSON document", "");
        }
    }
    (node, parser.faults)
}

/// The entries of an object.
#[must_use]
pub fn into_entries(node: Node) -> Option<Vec<Entry>> {
    match node.content {
        Content::Map(entries) => Some(entries),
        _ => None,
    }
}

/// A node without its places.
#[must_use]
pub fn to_value(node: &Node) -> Value {
    match &node.content {
        Content::Null => Value::NULL,
        Content::Unknown => Value::UNKNOWN,
        Content::Bool(flag) => Value::bool(*flag),
        Content::Number(number) => Value::number(*number),
        Content::String(text) => Value::string(text.as_str()),
        Content::List(items) => Value::tuple(items.iter().map(to_value).collect()),
        Content::Map(entries) => Value::object(
            entries.iter().map(|entry| (entry.key.clone(), to_value(&entry.node))).collect::<IndexMap<_, _>>(),
        ),
    }
}

/// The text can't be read on; the reason is among the faults.
struct Unreadable;

struct Parser<'t> {
    source: &'t SourceFile,
    text: &'t str,
    at: usize,
    faults: Vec<Diagnostic>,
}

impl Parser<'_> {
    fn fault(&mut self, summary: impl Into<String>, detail: impl Into<Hint>) {
        let at = self.source.location(self.at);
        self.faults.push(Diagnostic::error(summary).with_detail(detail).at(Some(at)));
    }

    /// A fault after which nothing can be understood.
    fn stop<T>(&mut self, summary: impl Into<String>, detail: impl Into<Hint>) -> Result<T, Unreadable> {
        self.fault(summary, detail);
        Err(Unreadable)
    }

    /// Skips white space, and comments with a complaint.
    fn space(&mut self) {
        loop {
            let rest = &self.text[self.at..];
            let trimmed = rest.trim_start_matches([' ', '\t', '\n', '\r']);
            self.at = self.text.len() - trimmed.len();
            let length = if trimmed.starts_with("//") {
                trimmed.find('\n').unwrap_or(trimmed.len())
            } else if trimmed.starts_with("/*") {
                trimmed.find("*/").map_or(trimmed.len(), |end| end + 2)
            } else {
                return;
            };
            if self.faults.len() < MAX_FAULTS {
                self.fault("JSON has no comments", "a key such as \"_comment\" at the root can hold one");
            }
            self.at += length;
        }
    }

    fn peek(&self) -> Option<char> {
        self.text[self.at..].chars().next()
    }

    fn value(&mut self, depth: usize) -> Result<Node, Unreadable> {
        self.space();
        if depth > MAX_NESTING {
            return self.stop("the JSON nests too deep: more than 64 levels", "");
        }
        if self.faults.len() >= MAX_FAULTS {
            return Err(Unreadable);
        }
        let at = self.source.location(self.at);
        let content = match self.peek() {
            Some('{') => Content::Map(self.object(depth)?),
            Some('[') => Content::List(self.array(depth)?),
            Some('"') => Content::String(self.string()?),
            Some('-' | '0'..='9') => self.number(),
            Some(c) if c.is_alphabetic() => self.word(),
            Some('\'' | '\u{201c}' | '\u{201d}') => return self.stop("strings are written with \" in JSON", ""),
            Some(other) => return self.stop(format!("a value is expected here, not {other:?}"), ""),
            None => return self.stop("the file ends where a value is expected", "a } or ] may be missing before"),
        };
        Ok(Node { at, content })
    }

    /// `true`, `false`, `null`, or a complaint.
    fn word(&mut self) -> Content {
        let rest = &self.text[self.at..];
        let end = rest.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(rest.len());
        let word = &rest[..end];
        let content = match word {
            "true" => Content::Bool(true),
            "false" => Content::Bool(false),
            "null" => Content::Null,
            _ => {
                let hint = match word {
                    "None" | "nil" | "undefined" => Hint::from("write null"),
                    _ => did_you_mean(word, ["true", "false", "null"]),
                };
                let hint = if hint.text.is_empty() { Hint::from("a string stands in \"") } else { hint };
                self.fault(format!("a value is expected here, not {word}"), hint);
                Content::Unknown
            }
        };
        self.at += end;
        content
    }

    fn object(&mut self, depth: usize) -> Result<Vec<Entry>, Unreadable> {
        self.at += 1;
        let mut entries: IndexMap<String, Entry> = IndexMap::new();
        let mut comma = None;
        loop {
            self.space();
            match (self.peek(), comma) {
                (Some('}'), None) => {
                    self.at += 1;
                    return Ok(entries.into_values().collect());
                }
                (Some('}'), Some(comma)) => {
                    self.extra_comma(comma, '}');
                    return Ok(entries.into_values().collect());
                }
                (Some('"'), _) => {}
                (None, _) => return self.stop("the file ends inside an object", "a } is missing"),
                (Some(other), _) => return self.stop(format!("a key in quotes is expected here, not {other:?}"), ""),
            }
            let start = self.at;
            let key_at = self.source.location(start);
            let key = self.string()?;
            self.space();
            if self.peek() != Some(':') {
                return self.stop(format!("a : is missing after {key:?}"), "");
            }
            self.at += 1;
            let node = self.value(depth + 1)?;
            if let Some(first) = entries.get(&key) {
                let detail = format!("the first is at {}; take one of the two out", first.key_at);
                let fault = Diagnostic::error(format!("the key {key:?} is there twice in one object"));
                self.faults.push(fault.with_detail(detail).at(Some(key_at)));
            } else {
                entries.insert(key.clone(), Entry { key, key_at, node });
            }
            match self.separator('}')? {
                Some(at) => comma = Some(at),
                None => return Ok(entries.into_values().collect()),
            }
        }
    }

    fn array(&mut self, depth: usize) -> Result<Vec<Node>, Unreadable> {
        self.at += 1;
        let mut items = Vec::new();
        let mut comma = None;
        loop {
            self.space();
            if self.peek() == Some(']') {
                match comma {
                    Some(comma) => self.extra_comma(comma, ']'),
                    None => self.at += 1,
                }
                return Ok(items);
            }
            items.push(self.value(depth + 1)?);
            match self.separator(']')? {
                Some(at) => comma = Some(at),
                None => return Ok(items),
            }
        }
    }

    /// Complains about a comma before a closing bracket, and goes on after the bracket.
    fn extra_comma(&mut self, comma: usize, close: char) {
        let after = self.at + 1;
        self.at = comma;
        self.fault(format!("there is a comma before a {close}"), "take the comma out");
        self.at = after;
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
                let next = self.at;
                self.at = before;
                self.fault(format!("a , or {close} is missing here"), "put a comma between two values");
                self.at = next;
                Ok(Some(before))
            }
            Some(found) => self.stop(format!("a , or {close} is expected here, not {found:?}"), ""),
            None => self.stop(format!("the file ends where a , or {close} is expected"), ""),
        }
    }

    fn number(&mut self) -> Content {
        let rest = &self.text[self.at..];
        let end = rest.find(|c: char| !matches!(c, '0'..='9' | '-' | '+' | '.' | 'e' | 'E')).unwrap_or(rest.len());
        let number = Decimal::parse(&rest[..end]).filter(|_| is_number(&rest[..end]));
        if number.is_none() {
            self.fault("this is no number, or has too many digits", "text with digits stands in \"");
        }
        self.at += end;
        number.map_or(Content::Unknown, Content::Number)
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
                    if u32::from(other) < 0x20 && self.faults.len() < MAX_FAULTS {
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
            if self.faults.len() < MAX_FAULTS {
                self.fault("this escape is not known in JSON", "a backslash itself is written \\\\");
            }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn complaint(text: &str) -> String {
        document(&SourceFile::new("t.json", text)).unwrap_err().to_string()
    }

    #[test]
    fn faults_have_a_place() {
        insta::assert_snapshot!(complaint("{\"a\": 1,\n \"a\": 2}"), @r#"t.json:2:2: the key "a" is there twice in one object: the first is at t.json:1:2; take one of the two out"#);
        insta::assert_snapshot!(complaint("{\"a\": 1\n \"b\": 2}"), @"t.json:1:8: a , or } is missing here: put a comma between two values");
        insta::assert_snapshot!(complaint("{\"a\": [1,]}"), @"t.json:1:9: there is a comma before a ]: take the comma out");
        insta::assert_snapshot!(complaint("{\"a\": True}"), @r#"t.json:1:7: a value is expected here, not True: did you mean "true"?"#);
        insta::assert_snapshot!(complaint("{\"a\": 012}"), @r#"t.json:1:7: this is no number, or has too many digits: text with digits stands in ""#);
        insta::assert_snapshot!(complaint("{\"a\": \"x\n\"}"), @r#"t.json:1:9: a string can't go over several lines in JSON: write \n for a line break, or close the ""#);
        insta::assert_snapshot!(complaint("{\n  // hm\n}"), @r#"t.json:2:3: JSON has no comments: a key such as "_comment" at the root can hold one"#);
        insta::assert_snapshot!(complaint("{"), @"t.json:1:2: the file ends inside an object: a } is missing");
        assert!(document(&SourceFile::new("t", &"[".repeat(100_000))).is_err());
    }

    #[test]
    fn all_faults_come_at_once() {
        let text =
            "{\n  // comment\n  \"a\": [1 \"x\", 2,],\n  \"b\": \"C:\\dir\",\n  \"a\": {\"c\": 1, \"c\": 2,},\n}";
        let (node, faults) = parse(&SourceFile::new("t.json", text));
        let lines: Vec<String> = faults.iter().map(ToString::to_string).collect();
        assert!(node.is_some());
        insta::assert_snapshot!(lines.join("\n"), @r#"
        t.json:2:3: JSON has no comments: a key such as "_comment" at the root can hold one
        t.json:3:10: a , or ] is missing here: put a comma between two values
        t.json:3:17: there is a comma before a ]: take the comma out
        t.json:4:11: this escape is not known in JSON: a backslash itself is written \\
        t.json:5:17: the key "c" is there twice in one object: the first is at t.json:5:9; take one of the two out
        t.json:5:23: there is a comma before a }: take the comma out
        t.json:5:3: the key "a" is there twice in one object: the first is at t.json:3:3; take one of the two out
        t.json:5:25: there is a comma before a }: take the comma out
        "#);
        let (_, faults) = parse(&SourceFile::new("t.json", &"[\"\\x\",".repeat(1000)));
        assert!(faults.len() <= MAX_FAULTS + 1);
    }

    #[test]
    fn values_agree_with_serde() {
        let text = r#" {"a": [1, -2.5e1, true, null, "x\u00e4\ud83d\ude00\n\/"], "b": {}} "#;
        let ours = to_value(&document(&SourceFile::new("t", text)).unwrap()).to_json();
        let theirs: serde_json::Value = serde_json::from_str(text).unwrap();
        assert_eq!(ours["a"][4], theirs["a"][4]);
        assert_eq!(ours["b"], theirs["b"]);
        assert_eq!(ours["a"][1], serde_json::json!(-25));
    }

    proptest::proptest! {
        #[test]
        fn parsing_never_panics(text in "[\\[\\]{},:\"\\\\u0-9a-fä \n-]{0,40}") {
            let source = SourceFile::new("t", &text);
            let ours = document(&source);
            // Ours is serde's language but for keys that come twice.
            if serde_json::from_str::<serde_json::Value>(&text).is_err() {
                proptest::prop_assert!(ours.is_err());
            } else if let Err(fault) = ours {
                proptest::prop_assert!(fault.summary.contains("twice") || fault.summary.contains("digits"));
            }
        }
    }
}
