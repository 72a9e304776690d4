//! The text of strings, heredocs and bare templates. Where one piece of text ends and the next begins matters: a strip
//! marker eats white space of the piece next to it only, and `<<-` looks at pieces that begin a line.

use super::{Frame, Lexer, span};
use crate::template::hcl::syntax::token::TokenKind;

impl Lexer<'_> {
    /// One token of a quoted string.
    pub(super) fn quoted(&mut self) {
        let bytes = self.rest().as_bytes();
        match bytes[0] {
            b'"' => {
                self.frames.pop();
                self.push_bytes(TokenKind::CloseQuote, 1);
            }
            b'\n' | b'\r' => self.unclosed_on_line(),
            b'$' | b'%' => {
                if !self.sequence_start() {
                    let length = self.escaped_sequence().unwrap_or(1);
                    self.push_bytes(TokenKind::QuotedText, length);
                }
            }
            _ => {
                let mut length = 0;
                let mut characters = self.rest().char_indices();
                while let Some((at, character)) = characters.next() {
                    length = at;
                    match character {
                        '$' | '%' | '"' | '\n' | '\r' => break,
                        '\\' => match characters.next() {
                            Some((_, '\n' | '\r')) | None => break,
                            Some(_) => {}
                        },
                        _ => {}
                    }
                    length = self.rest().len() - characters.as_str().len();
                }
                if length == 0 {
                    // A backslash at the end of the line.
                    self.push_bytes(TokenKind::Invalid, 1);
                } else {
                    self.push_bytes(TokenKind::QuotedText, length);
                }
            }
        }
    }

    /// A line ends inside a quoted string. That is never right, and most often its quote is missing: all strings that
    /// began on the line are closed, so that the next line is read for itself.
    fn unclosed_on_line(&mut self) {
        let line_start = self.text[..self.at].rfind('\n').map_or(0, |at| at + 1);
        let mut lowest = self.frames.len() - 1;
        for (position, frame) in self.frames.iter().enumerate().rev() {
            match frame {
                Frame::Quoted { start, .. } if *start >= line_start => lowest = position,
                Frame::Sequence { start, .. } if *start >= line_start => {}
                _ => break,
            }
        }
        if let Some(Frame::Quoted { start, braces }) = self.frames.get(lowest) {
            let (start, braces) = (*start, *braces);
            self.unclosed_string(start, self.at);
            self.braces = braces;
        }
        for frame in self.frames.split_off(lowest).iter().rev() {
            let kind = match frame {
                Frame::Sequence { .. } => TokenKind::SequenceEnd,
                _ => TokenKind::CloseQuote,
            };
            self.push_bytes(kind, 0);
        }
        if self.line_break(0) == 0 {
            // A carriage return alone, which breaks no line outside of strings, but does in here.
            self.push_bytes(TokenKind::Newline, 1);
        }
    }

    pub(super) fn unclosed_string(&mut self, start: usize, end: usize) {
        self.faults.report_lexical(
            span(start, end),
            "a line ends inside the string that begins here",
            "close it with \" on the same line; write a line break as \\n, or a long text as a heredoc: <<EOT … EOT",
        );
    }

    /// `${`, `%{` and the two with `~`.
    fn sequence_start(&mut self) -> bool {
        let kind = match (self.byte(0), self.byte(1)) {
            (Some(b'$'), Some(b'{')) => TokenKind::Interpolation,
            (Some(b'%'), Some(b'{')) => TokenKind::Directive,
            _ => return false,
        };
        self.braces = self.braces.wrapping_add(1);
        if let Some(Frame::Heredoc { start_of_line, .. }) = self.frames.last_mut() {
            *start_of_line = false;
        }
        self.frames.push(Frame::Sequence { start: self.at, braces: self.braces });
        let length = if self.byte(2) == Some(b'~') { 3 } else { 2 };
        self.push_bytes(kind, length);
        true
    }

    /// The length of `$${`, `%%{` and the two with `~`, at the cursor.
    fn escaped_sequence(&self) -> Option<usize> {
        let sign = self.byte(0);
        (self.byte(1) == sign && self.byte(2) == Some(b'{')).then(|| if self.byte(3) == Some(b'~') { 4 } else { 3 })
    }

    /// One piece of text at a `$` or `%` that begins no sequence, without the line break after it: the escaped sequence,
    /// the sign, or the sign and the one character that the line ends with.
    fn sign_length(&self) -> (usize, bool) {
        if let Some(length) = self.escaped_sequence() {
            return (length, true);
        }
        let with_next = self.byte(1).is_some_and(|next| next.is_ascii() && next != b'{') && self.line_break(2) > 0;
        (if with_next { 2 } else { 1 }, false)
    }

    /// The length of text up to the next `$`, `%` or end of line.
    fn plain_length(&self) -> usize {
        let rest = self.rest();
        rest.find(['$', '%', '\n', '\r']).unwrap_or(rest.len())
    }

    /// One token of a heredoc.
    pub(super) fn heredoc(&mut self) {
        let signed = matches!(self.byte(0), Some(b'$' | b'%'));
        if signed && self.sequence_start() {
            return;
        }
        let (length, may_end_line) = if signed { self.sign_length() } else { (self.plain_length(), true) };
        let line_break = if may_end_line { self.line_break(length) } else { 0 };
        if length + line_break == 0 {
            let here = span(self.at, self.at + 1);
            self.faults.report_lexical(
                here,
                "a heredoc can't hold a carriage return alone",
                "end lines with \\n or \\r\\n",
            );
            self.push_bytes(TokenKind::Invalid, 1);
            return;
        }
        let Some(Frame::Heredoc { marker, start_of_line, .. }) = self.frames.last_mut() else { return };
        let marker = *marker;
        let began_line = std::mem::replace(start_of_line, line_break > 0);
        let line = &self.text[self.at..self.at + length];
        if began_line && line_break > 0 && line.trim() == marker.text(self.text) {
            self.frames.pop();
            self.push_bytes(TokenKind::CloseHeredoc, length);
            self.push_bytes(TokenKind::Newline, line_break);
        } else {
            self.push_bytes(TokenKind::Text, length + line_break);
        }
    }

    /// One token of a template without quotes around it.
    pub(super) fn bare(&mut self) {
        let signed = matches!(self.byte(0), Some(b'$' | b'%'));
        if signed && self.sequence_start() {
            return;
        }
        let length = if signed {
            let (length, may_end_line) = self.sign_length();
            length + if may_end_line { self.line_break(length) } else { 0 }
        } else {
            let length = self.plain_length();
            length + self.line_break(length)
        };
        // The scanner of hashicorp/hcl takes all that comes after a carriage return alone for text.
        let length = if length == 0 { self.rest().len() } else { length };
        self.push_bytes(TokenKind::Text, length);
    }
}
