//! Text → tokens, by the rules of hashicorp/hcl's scanner (`hclsyntax/scan_tokens.rl`): the longest token wins, and strings,
//! heredocs and the expressions inside them nest to any depth without recursion.

pub(crate) mod symbols;
mod template;

pub use symbols::is_identifier;

use super::ast::Span;
use super::fault::Faults;
use super::token::{Token, TokenKind};

/// How often a string that runs to the end of the file is closed on its first line, and the rest read again.
const MAX_REREADS: u32 = 8;

/// What a text begins as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// A file of attributes and blocks, or an expression.
    Config,
    /// Text with `${…}` and `%{…}`, without quotes around it.
    Template,
}

/// What the text at the cursor is in, innermost last.
#[derive(Debug)]
enum Frame {
    /// A quoted string that begins at `start`; `braces` is the count there.
    Quoted { start: usize, braces: u32 },
    /// A heredoc. `marker` closes it, on a line of its own.
    Heredoc { start: usize, marker: Span, start_of_line: bool },
    /// `${…}` or `%{…}`; `braces` is the count of open braces with its own.
    Sequence { start: usize, braces: u32 },
}

pub(super) struct Lexer<'a> {
    text: &'a str,
    at: usize,
    tokens: Vec<Token>,
    frames: Vec<Frame>,
    /// Open braces, wrapping below zero as stray `}` come.
    braces: u32,
    faults: Faults,
    rereads: u32,
}

/// Cuts a text into tokens; the last one is `EndOfFile`. A string or heredoc that is not closed gets closing tokens
/// without text, so that openers and closers pair.
///
/// Texts are shorter than 4 GiB: spans count in 32 bits.
#[must_use]
pub fn lex(text: &str, mode: Mode) -> (Vec<Token>, Faults) {
    let mut lexer = Lexer {
        text,
        at: 0,
        tokens: Vec::with_capacity(text.len() / 4),
        frames: Vec::new(),
        braces: 0,
        faults: Faults::default(),
        rereads: 0,
    };
    while lexer.at < text.len() || lexer.reread() {
        match (lexer.frames.last(), mode) {
            (Some(Frame::Quoted { .. }), _) => lexer.quoted(),
            (Some(Frame::Heredoc { .. }), _) => lexer.heredoc(),
            (None, Mode::Template) => lexer.bare(),
            (Some(Frame::Sequence { .. }), _) | (None, Mode::Config) => lexer.main(),
        }
    }
    lexer.close_at_end();
    lexer.push(TokenKind::EndOfFile, text.len());
    (lexer.tokens, lexer.faults)
}

impl<'a> Lexer<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn byte(&self, offset: usize) -> Option<u8> {
        self.text.as_bytes().get(self.at + offset).copied()
    }

    /// A token from the cursor to `end`; the cursor moves there.
    fn push(&mut self, kind: TokenKind, end: usize) {
        let span = span(self.at, end);
        self.tokens.push(Token { kind, span });
        self.at = end;
    }

    /// A token of that many bytes.
    fn push_bytes(&mut self, kind: TokenKind, bytes: usize) {
        self.push(kind, self.at + bytes);
    }

    /// The length of the line break at an offset from the cursor, 0 if there is none.
    fn line_break(&self, offset: usize) -> usize {
        match (self.byte(offset), self.byte(offset + 1)) {
            (Some(b'\n'), _) => 1,
            (Some(b'\r'), Some(b'\n')) => 2,
            _ => 0,
        }
    }

    /// The text has ended in the `${…}` of a quoted string, which can go over lines, but seldom does so to the end: the
    /// string ends with its first line then, and the rest is read again. Tells whether there is any.
    fn reread(&mut self) -> bool {
        let Some(&Frame::Quoted { start, braces }) = self.frames.first() else { return false };
        let line_end = self.text[start..].find('\n').map(|length| start + length);
        let Some(line_end) = line_end.filter(|_| self.rereads < MAX_REREADS) else { return false };
        self.rereads += 1;
        self.frames.clear();
        self.faults.forget_after(start);
        self.unclosed_string(start, line_end);
        self.tokens.truncate(self.tokens.partition_point(|token| (token.span.start as usize) <= start));
        self.braces = braces;
        self.at = start + 1;
        self.push(TokenKind::QuotedText, line_end);
        self.push(TokenKind::CloseQuote, line_end);
        true
    }

    /// The text ends inside a string, heredoc or sequence: that is one fault, of the outermost.
    fn close_at_end(&mut self) {
        let Some(outermost) = self.frames.first() else { return };
        self.faults.swallow();
        let end = self.text.len();
        match *outermost {
            Frame::Quoted { start, .. } => self.faults.report_lexical(
                span(start, start + 1),
                "the string that begins here is not closed",
                "the file ends here; a } or \" may be missing before",
            ),
            Frame::Sequence { start, .. } => self.faults.report_lexical(
                span(start, start + 2),
                format!("the {} that begins here is not closed", &self.text[start..start + 2]),
                "the file ends first; close it with }",
            ),
            Frame::Heredoc { start, marker, .. } => {
                let name = marker.text(self.text);
                let detail = self.marker_hint(marker);
                self.faults.report_lexical(
                    span(start, marker.end as usize),
                    format!("the heredoc that begins here is not closed: there is no line that holds {name} alone"),
                    detail,
                );
            }
        }
        while let Some(frame) = self.frames.pop() {
            let kind = match frame {
                Frame::Quoted { .. } => TokenKind::CloseQuote,
                Frame::Heredoc { .. } => TokenKind::CloseHeredoc,
                Frame::Sequence { .. } => TokenKind::SequenceEnd,
            };
            self.push(kind, end);
        }
    }

    /// What may have been meant as a heredoc's closing line.
    fn marker_hint(&self, marker: Span) -> String {
        let name = marker.text(self.text);
        let mut offset = marker.end as usize;
        for line in self.text[offset..].split_inclusive('\n') {
            let content = line.trim_start();
            if let Some(after) = content.strip_prefix(name).filter(|_| offset > marker.end as usize) {
                if after.is_empty() || (after.trim().is_empty() && !after.ends_with('\n')) {
                    return format!("the last line is {name} without a line break: put one after it");
                }
                if !after.starts_with(|c: char| c.is_alphanumeric() || c == '_' || c == '-') {
                    let number = self.text[..offset].matches('\n').count() + 1;
                    return format!("on line {number} more follows after {name}: put what follows on the next line");
                }
            }
            offset += line.len();
        }
        format!("close it with a line that holds {name} only")
    }
}

/// The range of bytes from `start` to `end`.
pub(super) fn span(start: usize, end: usize) -> Span {
    let count = |offset: usize| u32::try_from(offset).unwrap_or(u32::MAX);
    Span { start: count(start), end: count(end) }
}
