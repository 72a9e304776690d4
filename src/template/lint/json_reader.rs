//! A lenient reader of JSON with the place of everything, for rules that should say something about a file that is not
//! quite JSON: it takes missing and superfluous commas, comments, and files that end too early. Whether a template is valid
//! is for others to say.

const MAX_DEPTH: usize = 64;

/// A value with its range of bytes.
#[derive(Debug, Clone)]
pub struct Json {
    pub start: usize,
    pub end: usize,
    pub kind: Kind,
}

#[derive(Debug, Clone)]
pub enum Kind {
    Null,
    Bool(bool),
    Number(String),
    /// Decoded; the raw text lies between the quotes.
    String(String),
    List(Vec<Json>),
    Object(Vec<Member>),
}

#[derive(Debug, Clone)]
pub struct Member {
    pub key: String,
    /// Quotes included.
    pub key_start: usize,
    pub key_end: usize,
    pub value: Json,
}

/// Reads a document as far as it makes sense.
#[must_use]
pub fn read(text: &str) -> Option<Json> {
    Reader { text, at: 0 }.value(0)
}

impl Json {
    #[must_use]
    pub fn members(&self) -> &[Member] {
        match &self.kind {
            Kind::Object(members) => members,
            _ => &[],
        }
    }

    #[must_use]
    pub fn items(&self) -> &[Json] {
        match &self.kind {
            Kind::List(items) => items,
            _ => &[],
        }
    }

    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Json> {
        self.members().iter().find(|member| member.key == key).map(|member| &member.value)
    }

    #[must_use]
    pub fn string(&self) -> Option<&str> {
        match &self.kind {
            Kind::String(text) => Some(text),
            _ => None,
        }
    }
}

struct Reader<'t> {
    text: &'t str,
    at: usize,
}

impl<'t> Reader<'t> {
    fn rest(&self) -> &'t str {
        &self.text[self.at..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    /// Skips white space, commas and comments.
    fn space(&mut self) {
        loop {
            let rest = self.rest().trim_start_matches(|c: char| c.is_whitespace() || c == ',');
            self.at = self.text.len() - rest.len();
            if !rest.starts_with("//") && !rest.starts_with('#') {
                return;
            }
            self.at += rest.find('\n').unwrap_or(rest.len());
        }
    }

    fn value(&mut self, depth: usize) -> Option<Json> {
        self.space();
        let start = self.at;
        let kind = match self.peek()? {
            '{' if depth < MAX_DEPTH => {
                self.at += 1;
                Kind::Object(self.object(depth))
            }
            '[' if depth < MAX_DEPTH => {
                self.at += 1;
                Kind::List(self.list(depth))
            }
            '"' => Kind::String(self.string()),
            _ => {
                let rest = self.rest();
                let length = rest.find(|c: char| !c.is_alphanumeric() && !matches!(c, '.' | '-' | '+' | '_'));
                let word = &rest[..length.unwrap_or(rest.len())];
                self.at += word.len();
                match word {
                    "" => return None,
                    "null" => Kind::Null,
                    "true" => Kind::Bool(true),
                    "false" => Kind::Bool(false),
                    other => Kind::Number(other.to_owned()),
                }
            }
        };
        Some(Json { start, end: self.at, kind })
    }

    fn object(&mut self, depth: usize) -> Vec<Member> {
        let mut members = Vec::new();
        loop {
            self.space();
            match self.peek() {
                Some('}') => {
                    self.at += 1;
                    return members;
                }
                // A list that was not closed goes on around this object.
                None | Some(']') => return members,
                Some('"') => {}
                Some(other) => {
                    self.at += other.len_utf8();
                    continue;
                }
            }
            let key_start = self.at;
            let key = self.string();
            let key_end = self.at;
            self.space();
            if self.peek() != Some(':') {
                continue;
            }
            self.at += 1;
            if let Some(value) = self.value(depth + 1) {
                members.push(Member { key, key_start, key_end, value });
            }
        }
    }

    fn list(&mut self, depth: usize) -> Vec<Json> {
        let mut items = Vec::new();
        loop {
            self.space();
            match self.peek() {
                Some(']') => {
                    self.at += 1;
                    return items;
                }
                None | Some('}') => return items,
                Some(other) => match self.value(depth + 1) {
                    Some(item) => items.push(item),
                    None => self.at += other.len_utf8(),
                },
            }
        }
    }

    /// A string never goes over the end of its line, whatever is missing.
    fn string(&mut self) -> String {
        self.at += 1;
        let mut text = String::new();
        while let Some(next) = self.peek() {
            match next {
                '\n' => break,
                '"' => {
                    self.at += 1;
                    break;
                }
                '\\' => self.escape(&mut text),
                _ => {
                    text.push(next);
                    self.at += next.len_utf8();
                }
            }
        }
        text
    }

    fn escape(&mut self, text: &mut String) {
        self.at += 1;
        let Some(next) = self.peek() else { return };
        self.at += next.len_utf8();
        match next {
            'n' => text.push('\n'),
            't' => text.push('\t'),
            'r' => text.push('\r'),
            'b' => text.push('\u{8}'),
            'f' => text.push('\u{c}'),
            'u' => {
                let unit = |text: &str| text.get(..4).and_then(|hex| u32::from_str_radix(hex, 16).ok());
                let Some(first) = unit(self.rest()) else { return };
                self.at += 4;
                let second =
                    self.rest().strip_prefix("\\u").and_then(unit).filter(|unit| (0xdc00..0xe000).contains(unit));
                let code = match second {
                    Some(second) if (0xd800..0xdc00).contains(&first) => {
                        self.at += 6;
                        0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00)
                    }
                    _ => first,
                };
                text.push(char::from_u32(code).unwrap_or('\u{fffd}'));
            }
            other => text.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn broken_documents_are_read_as_far_as_they_go() {
        let json =
            read("{\"a\": [{\"type\": \"x\", \"b\": tru \"c\": 1,}, // hm\n \"d\"\n \"e\": {\"f\": \"g\\u00e4\"")
                .unwrap();
        assert_eq!(json.get("a").unwrap().items()[0].get("type").unwrap().string(), Some("x"));
        assert!(matches!(&json.get("a").unwrap().items()[0].get("c").unwrap().kind, Kind::Number(n) if n == "1"));
        assert!(read("").is_none());
    }

    proptest::proptest! {
        #[test]
        fn reading_never_panics(text in "[\\[\\]{},:\"\\\\u0-9a-fä/# \n-]{0,60}") {
            let _ = read(&text);
        }
    }
}
