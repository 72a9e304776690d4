//! The pieces of a string: text, `${…}` and `%{…}`, with white space taken off by strip markers and by `<<-`.

use unicode_segmentation::UnicodeSegmentation;

use super::{Faulty, Parsed, Parser};
use crate::template::hcl::syntax::ast::{Expr, ExprKind, Ident, Span};
use crate::template::hcl::syntax::token::{Token, TokenKind};
use crate::template::source::did_you_mean;

/// A piece of a string, before directives are nested.
#[derive(Debug)]
pub(super) enum Piece {
    Text(String, Span),
    Interpolation(Expr),
    If(Expr, Span),
    For(Option<Ident>, Ident, Expr, Span),
    Else(Span),
    EndIf(Span),
    EndFor(Span),
}

const DIRECTIVES: [&str; 5] = ["if", "else", "endif", "for", "endfor"];

impl Parser<'_> {
    /// A text without quotes.
    pub fn only_template(&mut self) -> Expr {
        let end = u32::try_from(self.text.len()).unwrap_or(u32::MAX);
        let span = Span { start: 0, end };
        let template = self.pieces(TokenKind::EndOfFile).and_then(|pieces| self.nest(pieces, span, false));
        match template {
            Ok(template) => Expr { kind: ExprKind::Template(template), span },
            Err(Faulty) => Self::invalid(span),
        }
    }

    /// A quoted string or a heredoc.
    pub(super) fn string(&mut self) -> Parsed<Expr> {
        let (open, closer) = self.read_opener();
        let heredoc = open.kind == TokenKind::OpenHeredoc;
        let close = if heredoc { TokenKind::CloseHeredoc } else { TokenKind::CloseQuote };
        let Ok(mut pieces) = self.pieces(close) else {
            self.skip_past(closer)?;
            return Ok(Self::invalid(self.since(open.span)));
        };
        if open.text(self.text).starts_with("<<-") {
            flush(&mut pieces);
        }
        let span = self.since(open.span);
        let inside = Span { start: open.span.end, end: self.last_end.max(open.span.end) };
        match self.nest(pieces, inside, heredoc) {
            Ok(template) => Ok(Expr { kind: ExprKind::Template(template), span }),
            Err(Faulty) => Ok(Self::invalid(span)),
        }
    }

    /// The pieces up to the closing token, which is taken.
    fn pieces(&mut self, close: TokenKind) -> Parsed<Vec<Piece>> {
        let mut pieces: Vec<Piece> = Vec::new();
        let mut strip_next = false;
        let mut height = 0;
        loop {
            let next = self.tokens[self.at];
            if next.kind == close {
                self.read();
                self.height = height;
                return Ok(pieces);
            }
            let strip = std::mem::take(&mut strip_next);
            match next.kind {
                TokenKind::QuotedText | TokenKind::Text => {
                    self.read();
                    let quoted = next.kind == TokenKind::QuotedText;
                    let mut text = if quoted { self.unescape(next) } else { self.plain(next) };
                    if strip {
                        text.drain(..text.len() - text.trim_start().len());
                    }
                    pieces.push(Piece::Text(text, next.span));
                }
                TokenKind::Interpolation | TokenKind::Directive => {
                    if next.text(self.text).ends_with('~')
                        && let Some(Piece::Text(text, _)) = pieces.last_mut()
                    {
                        text.truncate(text.trim_end().len());
                    }
                    let (open, closer) = self.read_opener();
                    let piece = self.with_newlines(false, |parser| parser.sequence(open, closer));
                    if let Ok((piece, end)) = piece {
                        pieces.push(piece);
                        strip_next = end.text(self.text).starts_with('~');
                    } else {
                        self.skip_past(closer)?;
                        pieces.push(Piece::Interpolation(Self::invalid(self.since(open.span))));
                    }
                    height = height.max(self.height);
                }
                _ => {
                    // A text that is cut wrongly has its own, lexical fault.
                    self.unexpected(next, "the end of the string");
                    return Err(Faulty);
                }
            }
        }
    }

    /// What a `${` or `%{` begins, and the token that ends it.
    fn sequence(&mut self, open: Token, closer: usize) -> Parsed<(Piece, Token)> {
        let piece = if open.kind == TokenKind::Interpolation {
            Piece::Interpolation(self.expression()?)
        } else {
            self.directive(open)?
        };
        let next = self.peek();
        if next.kind == TokenKind::SequenceEnd {
            return Ok((piece, self.read()));
        }
        let sign = open.text(self.text).trim_end_matches('~').to_owned();
        if self.is_closed(closer) {
            let found = self.describe(next);
            let detail = format!(
                "if {sign} is meant for another language, such as a shell, write {}{sign} to keep it as text",
                &sign[..1]
            );
            self.faults.report(next.span, format!("{found} where the }} of {sign} is needed"), detail);
        } else {
            self.faults.report(open.span, format!("the {sign} that begins here is not closed"), "close it with }");
        }
        Err(Faulty)
    }

    fn directive(&mut self, open: Token) -> Parsed<Piece> {
        let word = self.peek();
        let name = word.text(self.text);
        if word.kind != TokenKind::Identifier || !DIRECTIVES.contains(&name) {
            if word.kind == TokenKind::Identifier {
                let mut hint = did_you_mean(name, DIRECTIVES);
                let others = "there are if, else, endif, for and endfor; a literal %{ is written %%{";
                let separator = if hint.text.is_empty() { "" } else { " " };
                hint.text = format!("{}{separator}{others}", hint.text);
                self.faults.report(word.span, format!("there is no directive %{{ {name} }}"), hint);
            } else {
                self.unexpected(word, "if, else, endif, for or endfor after %{");
            }
            return Err(Faulty);
        }
        self.read();
        self.height = 1;
        Ok(match name {
            "if" => {
                let condition = self.expression()?;
                Piece::If(condition, self.since(open.span))
            }
            "for" => {
                let (key_name, value_name) = self.for_names()?;
                let collection = self.expression()?;
                Piece::For(key_name, value_name, collection, self.since(open.span))
            }
            "else" => Piece::Else(self.since(open.span)),
            "endif" => Piece::EndIf(self.since(open.span)),
            _ => Piece::EndFor(self.since(open.span)),
        })
    }
}

/// Takes the common indentation off the lines of a `<<-` heredoc. A line that begins with `${` or `%{` has none; a blank
/// line does not count.
fn flush(pieces: &mut [Piece]) {
    let mut indent = None;
    let mut line_begins = true;
    let mut indented = Vec::new();
    for (position, piece) in pieces.iter().enumerate() {
        let text = match piece {
            Piece::Text(text, _) => Some(text.as_str()),
            _ => None,
        };
        if line_begins {
            let spaces = match text {
                Some(text) if text.trim_start().is_empty() && text.ends_with('\n') => None,
                Some(text) => {
                    indented.push(position);
                    let white = text.len() - text.trim_start().len();
                    Some(text[..white].graphemes(true).count())
                }
                None => Some(0),
            };
            indent = spaces.map_or(indent, |spaces| Some(indent.map_or(spaces, |indent: usize| indent.min(spaces))));
        }
        line_begins = text.is_some_and(|text| text.ends_with('\n'));
    }
    for position in indented {
        if let Piece::Text(text, span) = &mut pieces[position] {
            let cut: usize = text.graphemes(true).take(indent.unwrap_or(0)).map(str::len).sum();
            text.drain(..cut);
            span.start = span.start.saturating_add(u32::try_from(cut).unwrap_or(0)).min(span.end);
        }
    }
}
