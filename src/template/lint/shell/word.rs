//! Words: quotes, escapes and expansions.

use super::parse::{Close, Reader};
use super::{HOLE, Word};

impl Reader<'_> {
    /// Reads one word; an empty one where none begins.
    pub(super) fn word(&mut self) -> Word {
        let (start, first_inner) = (self.at, self.commands.len());
        let mut word = Word::default();
        while let Some(next) = self.peek() {
            match next {
                '<' | '>' if self.is_process_substitution() => {
                    self.at += 2;
                    self.substitution(&mut word);
                }
                ' ' | '\t' | '\r' | '\n' | ';' | '|' | '&' | '(' | ')' | '<' | '>' => break,
                '\'' => {
                    self.at += 1;
                    let rest = self.rest();
                    let length = rest.find('\'').unwrap_or(rest.len());
                    self.literal(&rest[..length], &mut word);
                    self.at = (self.at + 1).min(self.end);
                }
                '"' => self.double_quoted(&mut word),
                '\\' => {
                    self.at += 1;
                    if !self.eat("\n") && !self.eat("\r\n") {
                        self.character(&mut word);
                    }
                }
                '$' | '`' => self.expansion(&mut word),
                _ => self.character(&mut word),
            }
        }
        word.span = start..self.at;
        word.inner = first_inner..self.commands.len();
        word
    }

    fn character(&mut self, word: &mut Word) {
        let Some(next) = self.peek() else { return };
        word.expands |= next == HOLE;
        word.text.push(next);
        self.at += next.len_utf8();
    }

    fn literal(&mut self, text: &str, word: &mut Word) {
        word.expands |= text.contains(HOLE);
        word.text.push_str(text);
        self.at += text.len();
    }

    fn double_quoted(&mut self, word: &mut Word) {
        self.at += 1;
        while let Some(next) = self.peek() {
            match next {
                '"' => {
                    self.at += 1;
                    return;
                }
                '\\' => {
                    self.at += 1;
                    match self.peek() {
                        Some('\n') => self.at += 1,
                        Some('"' | '\\' | '$' | '`') => self.character(word),
                        _ => word.text.push('\\'),
                    }
                }
                '$' | '`' => self.expansion(word),
                _ => self.character(word),
            }
        }
    }

    /// `$x`, `${x}`, `$(…)`, `` `…` ``, `$'…'`.
    fn expansion(&mut self, word: &mut Word) {
        word.expands = true;
        let start = self.at;
        if self.eat("$((") {
            let rest = self.rest();
            self.at += rest.find("))").map_or(rest.len(), |found| found + 2);
        } else if self.eat("$(") {
            return self.substitution(word);
        } else if self.eat("${") {
            let mut open = 1_usize;
            while let Some(next) = self.peek() {
                self.at += next.len_utf8();
                match next {
                    '\\' => self.at += self.peek().map_or(0, char::len_utf8),
                    '{' => open += 1,
                    '}' => open -= 1,
                    _ => {}
                }
                if open == 0 {
                    break;
                }
            }
        } else if self.eat("`") {
            let rest = self.rest();
            let length = rest.find('`').unwrap_or(rest.len());
            let (end, after) = (self.at + length, (self.at + length + 1).min(self.end));
            self.inside(|reader| {
                let whole = std::mem::replace(&mut reader.end, end);
                reader.list(None);
                reader.end = whole;
            });
            self.at = after;
        } else {
            self.at += 1;
        }
        word.text.push_str(&self.text[start..self.at]);
    }

    /// After `$(` or `<(`, up to the bracket.
    fn substitution(&mut self, word: &mut Word) {
        word.expands = true;
        let start = self.at - 2;
        self.inside(|reader| reader.list(Some(Close::Parenthesis)));
        word.text.push_str(&self.text[start..self.at]);
    }
}
