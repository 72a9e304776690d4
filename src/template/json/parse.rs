//! JSON with positions. `serde_json` knows neither where a value stands nor that a key came twice.

use std::collections::HashSet;

use indexmap::IndexMap;

use crate::domain::diagnostic::{Diagnostic, Hint};
use crate::template::number::Number;
use crate::template::options::{Content, Entry, Node};
use crate::template::source::SourceFile;
use crate::template::value::Value;

const MAX_NESTING: usize = 64;

/// Parses a document.
///
/// # Errors
/// With the first fault, located.
pub fn document(source: &SourceFile) -> Result<Node, Diagnostic> {
    let mut parser = Parser { source, text: &source.text, at: 0 };
    let node = parser.value(0)?;
    parser.space();
    if parser.at < parser.text.len() {
        return Err(parser.fault("there is text after the end of the JSON document", ""));
    }
    Ok(node)
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

struct Parser<'t> {
    source: &'t SourceFile,
    text: &'t str,
    at: usize,
}

impl Parser<'_> {
    fn fault(&self, summary: impl Into<String>, detail: impl Into<Hint>) -> Diagnostic {
        Diagnostic::error(summary).with_detail(detail).at(Some(self.source.location(self.at)))
    }

    fn space(&mut self) {
        let rest = &self.text[self.at..];
        self.at = self.text.len() - rest.trim_start_matches([' ', '\t', '\n', '\r']).len();
    }

    fn peek(&self) -> Option<char> {
        self.text[self.at..].chars().next()
    }

    fn value(&mut self, depth: usize) -> Result<Node, Diagnostic> {
        self.space();
        if depth > MAX_NESTING {
            return Err(self.fault("the JSON nests too deep: more than 64 levels", ""));
        }
        let at = self.source.location(self.at);
        let content = match self.peek() {
            Some('{') => Content::Map(self.object(depth)?),
            Some('[') => Content::List(self.array(depth)?),
            Some('"') => Content::String(self.string()?),
            Some('-' | '0'..='9') => Content::Number(self.number()?),
            Some('t') if self.word("true") => Content::Bool(true),
            Some('f') if self.word("false") => Content::Bool(false),
            Some('n') if self.word("null") => Content::Null,
            Some('/') => return Err(self.fault("JSON has no comments", "a key such as \"_comment\" can hold one")),
            Some('\'' | '\u{201c}' | '\u{201d}') => return Err(self.fault("strings are written with \" in JSON", "")),
            Some(other) => return Err(self.fault(format!("a value is expected here, not {other:?}"), "")),
            None => return Err(self.fault("the file ends where a value is expected", "a } or ] may be missing before")),
        };
        Ok(Node { at, content })
    }

    fn word(&mut self, word: &str) -> bool {
        let found = self.text[self.at..].starts_with(word);
        if found {
            self.at += word.len();
        }
        found
    }

    fn object(&mut self, depth: usize) -> Result<Vec<Entry>, Diagnostic> {
        self.at += 1;
        let mut entries: Vec<Entry> = Vec::new();
        let mut seen = HashSet::new();
        loop {
            self.space();
            match self.peek() {
                Some('}') if entries.is_empty() => {
                    self.at += 1;
                    return Ok(entries);
                }
                Some('"') => {}
                Some('}') => return Err(self.fault("there is a comma before this }", "take the comma out")),
                Some('/') => return Err(self.fault("JSON has no comments", "a key such as \"_comment\" can hold one")),
                None => return Err(self.fault("the file ends inside an object", "a } is missing")),
                Some(other) => return Err(self.fault(format!("a key in quotes is expected here, not {other:?}"), "")),
            }
            let key_at = self.source.location(self.at);
            let start = self.at;
            let key = self.string()?;
            if !seen.insert(key.clone()) {
                self.at = start;
                return Err(
                    self.fault(format!("the key {key:?} is there twice in one object"), "take one of the two out")
                );
            }
            self.space();
            if self.peek() != Some(':') {
                return Err(self.fault(format!("a : is missing after {key:?}"), ""));
            }
            self.at += 1;
            let node = self.value(depth + 1)?;
            entries.push(Entry { key, key_at, node });
            if self.separator('}')? {
                return Ok(entries);
            }
        }
    }

    fn array(&mut self, depth: usize) -> Result<Vec<Node>, Diagnostic> {
        self.at += 1;
        let mut items = Vec::new();
        loop {
            self.space();
            if self.peek() == Some(']') {
                if !items.is_empty() {
                    return Err(self.fault("there is a comma before this ]", "take the comma out"));
                }
                self.at += 1;
                return Ok(items);
            }
            items.push(self.value(depth + 1)?);
            if self.separator(']')? {
                return Ok(items);
            }
        }
    }

    /// Reads `,` or the closing bracket; says whether it was the latter.
    fn separator(&mut self, close: char) -> Result<bool, Diagnostic> {
        self.space();
        match self.peek() {
            Some(',') => {
                self.at += 1;
                Ok(false)
            }
            Some(found) if found == close => {
                self.at += 1;
                Ok(true)
            }
            Some(found) => Err(self.fault(
                format!("a , or {close} is expected here, not {found:?}"),
                "a comma may be missing on the line before",
            )),
            None => Err(self.fault(format!("the file ends where a , or {close} is expected"), "")),
        }
    }

    fn number(&mut self) -> Result<Number, Diagnostic> {
        let rest = &self.text[self.at..];
        let end = rest.find(|c: char| !matches!(c, '0'..='9' | '-' | '+' | '.' | 'e' | 'E')).unwrap_or(rest.len());
        let Some(number) = Number::parse(&rest[..end]) else {
            return Err(self.fault("this is no number, or has too many digits", ""));
        };
        self.at += end;
        Ok(number)
    }

    fn string(&mut self) -> Result<String, Diagnostic> {
        self.at += 1;
        let mut text = String::new();
        loop {
            let Some(character) = self.peek() else {
                return Err(self.fault("the file ends inside a string", "a \" is missing"));
            };
            match character {
                '"' => {
                    self.at += 1;
                    return Ok(text);
                }
                '\\' => text.push(self.escape()?),
                '\n' | '\r' => {
                    return Err(self.fault(
                        "a string can't go over several lines in JSON",
                        "write \\n for a line break, or close the \"",
                    ));
                }
                other if u32::from(other) < 0x20 => {
                    return Err(self
                        .fault(format!("the character {other:?} must be escaped in a string"), "write \\t for a tab"));
                }
                other => {
                    text.push(other);
                    self.at += other.len_utf8();
                }
            }
        }
    }

    fn escape(&mut self) -> Result<char, Diagnostic> {
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
            return Ok(simple);
        }
        let unit = |text: &str| {
            text.strip_prefix('u').and_then(|t| t.get(..4)).and_then(|hex| u32::from_str_radix(hex, 16).ok())
        };
        let Some(first) = unit(rest) else {
            return Err(self.fault("this escape is not known in JSON", "a backslash itself is written \\\\"));
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
            return Ok(char::from_u32(code).unwrap_or('\u{fffd}'));
        }
        Ok(char::from_u32(first).unwrap_or('\u{fffd}'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complaint(text: &str) -> String {
        document(&SourceFile::new("t.json", text)).unwrap_err().to_string()
    }

    #[test]
    fn faults_have_a_place() {
        insta::assert_snapshot!(complaint("{\"a\": 1,\n \"a\": 2}"), @r#"t.json:2:2: the key "a" is there twice in one object: take one of the two out"#);
        insta::assert_snapshot!(complaint("{\"a\": 1\n \"b\": 2}"), @r#"t.json:2:2: a , or } is expected here, not '"': a comma may be missing on the line before"#);
        insta::assert_snapshot!(complaint("{\"a\": [1,]}"), @"t.json:1:10: there is a comma before this ]: take the comma out");
        insta::assert_snapshot!(complaint("{\"a\": \"x\n\"}"), @r#"t.json:1:9: a string can't go over several lines in JSON: write \n for a line break, or close the ""#);
        insta::assert_snapshot!(complaint("{\n  // hm\n}"), @r#"t.json:2:3: JSON has no comments: a key such as "_comment" can hold one"#);
        insta::assert_snapshot!(complaint("{"), @"t.json:1:2: the file ends inside an object: a } is missing");
        assert!(document(&SourceFile::new("t", &"[".repeat(100_000))).is_err());
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
            let _ = document(&SourceFile::new("t", &text));
        }
    }
}
