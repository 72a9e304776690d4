//! Names, numbers, operators, brackets and comments: everything outside of strings.

use super::{Frame, Lexer, span};
use crate::template::hcl::syntax::token::TokenKind;

const SYMBOLS_OF_TWO: [(&str, TokenKind); 8] = [
    ("==", TokenKind::Equal),
    ("!=", TokenKind::NotEqual),
    (">=", TokenKind::GreaterOrEqual),
    ("<=", TokenKind::LessOrEqual),
    ("&&", TokenKind::And),
    ("||", TokenKind::Or),
    ("::", TokenKind::DoubleColon),
    ("=>", TokenKind::FatArrow),
];

impl Lexer<'_> {
    pub(super) fn main(&mut self) {
        let spaces = self.rest().bytes().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
        self.at += spaces;
        let Some(first) = self.rest().chars().next() else { return };
        let line_break = self.line_break(0);
        if line_break > 0 {
            self.push_bytes(TokenKind::Newline, line_break);
        } else if first.is_ascii_digit() {
            self.push_bytes(TokenKind::Number, number_length(self.rest().as_bytes()));
        } else if is_identifier_start(first) {
            self.push_bytes(TokenKind::Identifier, identifier_length(self.rest()));
        } else if !(self.comment() || self.heredoc_start()) {
            self.symbol(first);
        }
    }

    fn comment(&mut self) -> bool {
        let rest = self.rest();
        if rest.starts_with('#') || rest.starts_with("//") {
            let length = rest.find('\n').map_or(rest.len(), |at| at + 1);
            self.push_bytes(TokenKind::Comment, length);
        } else if let Some(inside) = rest.strip_prefix("/*") {
            let length = inside.find("*/").map(|at| at + 4);
            if length.is_none() {
                let here = span(self.at, self.at + 2);
                self.faults.report_lexical(here, "the comment that begins here is not closed", "close it with */");
            }
            self.push_bytes(TokenKind::Comment, length.unwrap_or(rest.len()));
        } else {
            return false;
        }
        true
    }

    /// `<<EOT` and `<<-EOT`, with a line break right after the marker.
    fn heredoc_start(&mut self) -> bool {
        let rest = self.rest();
        let Some(after) = rest.strip_prefix("<<") else { return false };
        let name = after.strip_prefix('-').unwrap_or(after);
        if !name.starts_with(is_identifier_start) {
            return false;
        }
        let begin = rest.len() - name.len();
        let end = begin + identifier_length(name);
        let line_break = self.line_break(end);
        if line_break == 0 {
            return false;
        }
        let marker = span(self.at + begin, self.at + end);
        self.frames.push(Frame::Heredoc { start: self.at, marker, start_of_line: true });
        self.push_bytes(TokenKind::OpenHeredoc, end + line_break);
        true
    }

    fn symbol(&mut self, first: char) {
        let rest = self.rest();
        if rest.starts_with("...") {
            return self.push_bytes(TokenKind::Ellipsis, 3);
        }
        if rest.starts_with("~}") {
            self.close_sequence();
            return self.push_bytes(TokenKind::SequenceEnd, 2);
        }
        if let Some((_, kind)) = SYMBOLS_OF_TWO.iter().find(|(symbol, _)| rest.starts_with(symbol)) {
            return self.push_bytes(*kind, 2);
        }
        let kind = match first {
            '{' => {
                self.braces = self.braces.wrapping_add(1);
                TokenKind::OpenBrace
            }
            '}' => {
                if self.close_sequence() {
                    TokenKind::SequenceEnd
                } else {
                    TokenKind::CloseBrace
                }
            }
            '[' => TokenKind::OpenBracket,
            ']' => TokenKind::CloseBracket,
            '(' => TokenKind::OpenParen,
            ')' => TokenKind::CloseParen,
            '"' => {
                self.frames.push(Frame::Quoted { start: self.at, braces: self.braces });
                TokenKind::OpenQuote
            }
            '*' => TokenKind::Star,
            '/' => TokenKind::Slash,
            '+' => TokenKind::Plus,
            '-' => TokenKind::Minus,
            '%' => TokenKind::Percent,
            '=' => TokenKind::Assign,
            '<' => TokenKind::Less,
            '>' => TokenKind::Greater,
            '!' => TokenKind::Bang,
            '?' => TokenKind::Question,
            ':' => TokenKind::Colon,
            '.' => TokenKind::Dot,
            ',' => TokenKind::Comma,
            _ => TokenKind::Invalid,
        };
        self.push_bytes(kind, first.len_utf8());
    }

    /// Whether the brace at the cursor ends the sequence that the text is in; leaves it then.
    fn close_sequence(&mut self) -> bool {
        let ends = matches!(self.frames.last(), Some(Frame::Sequence { braces, .. }) if *braces == self.braces);
        if ends {
            self.frames.pop();
        }
        self.braces = self.braces.wrapping_sub(1);
        ends
    }
}

/// The length of the number at the start: digits, points and exponents, as long as it does not end in a point. Whether
/// that is a number at all, the parser looks at: `1..2` is taken for one.
fn number_length(bytes: &[u8]) -> usize {
    let digit = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_digit);
    let mut at = 1;
    let mut end = 1;
    loop {
        match bytes.get(at) {
            Some(byte) if byte.is_ascii_digit() => at += 1,
            Some(b'.') => {
                at += 1;
                continue;
            }
            Some(b'e' | b'E') if digit(at + 1) => at += 2,
            Some(b'e' | b'E') if matches!(bytes.get(at + 1), Some(b'+' | b'-')) && digit(at + 2) => at += 3,
            _ => return end,
        }
        end = at;
    }
}

fn identifier_length(text: &str) -> usize {
    text.find(|c: char| !is_identifier_continue(c)).unwrap_or(text.len())
}

/// Whether a text is a name that HCL2 can write without quotes.
#[must_use]
pub fn is_identifier(text: &str) -> bool {
    text.starts_with(is_identifier_start) && identifier_length(text) == text.len()
}

/// Unicode's `ID_Start`, and `_`.
pub fn is_identifier_start(c: char) -> bool {
    c == '_' || unicode_ident::is_xid_start(c) || is_id_only(c)
}

/// Unicode's `ID_Continue`, and `-`.
pub fn is_identifier_continue(c: char) -> bool {
    c == '-' || unicode_ident::is_xid_continue(c) || is_id_only(c)
}

/// Characters of `ID_Start` that are not in `XID_Start`, which the crate knows (UAX 31, section 5.1).
fn is_id_only(c: char) -> bool {
    matches!(
        c,
        '\u{37a}' | '\u{e33}' | '\u{eb3}' | '\u{309b}' | '\u{309c}' | '\u{fc5e}'
            ..='\u{fc63}'
                | '\u{fdfa}'
                | '\u{fdfb}'
                | '\u{fe70}'
                | '\u{fe72}'
                | '\u{fe74}'
                | '\u{fe76}'
                | '\u{fe78}'
                | '\u{fe7a}'
                | '\u{fe7c}'
                | '\u{fe7e}'
                | '\u{ff9e}'
                | '\u{ff9f}'
    )
}
