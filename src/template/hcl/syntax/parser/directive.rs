//! Pieces → parts: `%{ if }` and `%{ for }` get what stands between them and their end.

use std::sync::Arc;

use super::template::Piece;
use super::{Faulty, MAX_DEPTH, Parsed, Parser};
use crate::template::hcl::syntax::ast::{Expr, ForPart, Ident, IfPart, Part, Span, Template};

/// A directive whose end has not come yet.
struct Open {
    head: Head,
    span: Span,
    /// What stands before it, at its level.
    before: Vec<Part>,
}

enum Head {
    If(Expr),
    /// With what is between `if` and `else`.
    Else(Expr, Vec<Part>),
    For(Option<Ident>, Ident, Expr),
}

impl Parser<'_> {
    /// The template of these pieces, the last thing read. `inside` is their place.
    pub(super) fn nest(&mut self, pieces: Vec<Piece>, inside: Span, heredoc: bool) -> Parsed<Template> {
        let mut parts: Vec<Part> = Vec::new();
        let mut open: Vec<Open> = Vec::new();
        let mut deepest = 0;
        for piece in meld(pieces) {
            match piece {
                Piece::Text(text, span) => parts.push(Part::Literal(Arc::from(text), span)),
                Piece::Interpolation(expr) => parts.push(Part::Interpolation(expr)),
                Piece::If(condition, span) => {
                    open.push(Open { head: Head::If(condition), span, before: std::mem::take(&mut parts) });
                }
                Piece::For(key_name, value_name, collection, span) => {
                    let head = Head::For(key_name, value_name, collection);
                    open.push(Open { head, span, before: std::mem::take(&mut parts) });
                }
                Piece::Else(span) => match open.pop() {
                    Some(Open { head: Head::If(condition), span, before }) => {
                        let head = Head::Else(condition, std::mem::take(&mut parts));
                        open.push(Open { head, span, before });
                    }
                    other => return self.stray(span, "else", other.as_ref()),
                },
                Piece::EndIf(span) => {
                    let (before, part) = match open.pop() {
                        Some(Open { head: Head::If(condition), before, .. }) => {
                            (before, IfPart { condition, yes: std::mem::take(&mut parts), no: Vec::new() })
                        }
                        Some(Open { head: Head::Else(condition, yes), before, .. }) => {
                            (before, IfPart { condition, yes, no: std::mem::take(&mut parts) })
                        }
                        other => return self.stray(span, "endif", other.as_ref()),
                    };
                    parts = before;
                    parts.push(Part::If(Box::new(part)));
                }
                Piece::EndFor(span) => match open.pop() {
                    Some(Open { head: Head::For(key_name, value_name, collection), before, .. }) => {
                        let body = std::mem::replace(&mut parts, before);
                        parts.push(Part::For(Box::new(ForPart { key_name, value_name, collection, body })));
                    }
                    other => return self.stray(span, "endfor", other.as_ref()),
                },
            }
            deepest = deepest.max(open.len());
            if open.len() > MAX_DEPTH as usize {
                return self.give_up(format!("more than {MAX_DEPTH} levels of %{{ }} in each other"));
            }
        }
        if let Some(Open { head, span, .. }) = open.pop() {
            let (name, end) = if matches!(head, Head::For(..)) { ("for", "endfor") } else { ("if", "endif") };
            self.faults.report(
                span,
                format!("the %{{ {name} }} that begins here has no %{{ {end} }}"),
                format!("end it in the same string with %{{ {end} }}"),
            );
            return Err(Faulty);
        }
        if parts.is_empty() {
            parts.push(Part::Literal(Arc::from(""), Span { start: inside.start, end: inside.start }));
        }
        self.raise(self.height.saturating_add(u32::try_from(deepest).unwrap_or(u32::MAX)))?;
        Ok(Template { parts, heredoc })
    }

    /// A directive that ends or divides nothing.
    fn stray(&mut self, span: Span, name: &str, open: Option<&Open>) -> Parsed<Template> {
        let detail = match open.map(|open| &open.head) {
            Some(Head::For(..)) => "a %{ for } is open here: end it with %{ endfor }",
            Some(Head::Else(..)) if name == "else" => "its %{ if } has an %{ else } already",
            Some(_) => "an %{ if } is open here: end it with %{ endif }",
            None if name == "endfor" => "there is no %{ for } before it in this string",
            None => "there is no %{ if } before it in this string",
        };
        self.faults.report(span, format!("%{{ {name} }} has no place here"), detail);
        Err(Faulty)
    }
}

/// Makes one text of texts next to each other.
fn meld(pieces: Vec<Piece>) -> Vec<Piece> {
    let mut melded: Vec<Piece> = Vec::with_capacity(pieces.len());
    for piece in pieces {
        match (melded.last_mut(), piece) {
            (Some(Piece::Text(before, place)), Piece::Text(text, span)) => {
                before.push_str(&text);
                place.end = span.end;
            }
            (_, piece) => melded.push(piece),
        }
    }
    melded
}
