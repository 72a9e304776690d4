//! What follows a term: attributes, indices and splats.

use super::{Faulty, Parsed, Parser};
use crate::template::hcl::syntax::ast::{Expr, ExprKind, Spanned};
use crate::template::hcl::syntax::token::{Token, TokenKind};

impl Parser<'_> {
    /// Everything that follows `base`. The term read last is `base`.
    pub(super) fn traversals(&mut self, mut base: Expr) -> Parsed<Expr> {
        loop {
            base = match self.peek_kind() {
                TokenKind::Dot => {
                    self.read();
                    if let Some(star) = self.read_if(TokenKind::Star) {
                        self.attribute_splat(base, star)?
                    } else {
                        self.after_dot(base)?
                    }
                }
                TokenKind::OpenBracket => self.index(base)?,
                _ => return Ok(base),
            };
        }
    }

    /// `.name` and `.0`, from behind the dot.
    fn after_dot(&mut self, base: Expr) -> Parsed<Expr> {
        let token = self.peek();
        let span = base.span().to(token.span);
        let kind = match token.kind {
            TokenKind::Identifier => {
                self.read();
                ExprKind::Attribute(Box::new(base), self.ident(token))
            }
            TokenKind::Number => {
                self.read();
                let key = self.dotted_index(token);
                ExprKind::Index(Box::new(base), Box::new(key))
            }
            _ => {
                self.unexpected(token, "a name after the dot");
                return Err(Faulty);
            }
        };
        self.raise(self.height)?;
        Ok(Expr { kind, span })
    }

    /// The number of `.0`. Two of them, `.0.1`, are one number for the scanner.
    fn dotted_index(&mut self, token: Token) -> Expr {
        let text = token.text(self.text);
        if let Some((first, second)) = text.split_once('.') {
            self.faults.report(
                token.span,
                format!("two indices follow each other with dots: .{text}"),
                format!("write [{first}][{second}]"),
            );
            return Self::invalid(token.span);
        }
        self.number(token)
    }

    /// `.*`, and the attributes after it, which are those of each element.
    fn attribute_splat(&mut self, base: Expr, star: Token) -> Parsed<Expr> {
        let height = self.height;
        self.height = 1;
        let mut each = Expr { kind: ExprKind::SplatItem, span: star.span };
        while self.read_if(TokenKind::Dot).is_some() {
            let next = self.peek();
            if next.kind == TokenKind::Star {
                self.faults.report(next.span, "a second .* can't follow .*", "write [*] for both");
                return Err(Faulty);
            }
            each = self.after_dot(each)?;
        }
        self.splat(base, each, height)
    }

    fn splat(&mut self, base: Expr, each: Expr, height: u32) -> Parsed<Expr> {
        self.raise(height.max(self.height))?;
        let span = base.span().to(each.span());
        Ok(Expr { kind: ExprKind::Splat { base: Box::new(base), each: Box::new(each) }, span })
    }

    /// `[key]` and `[*]`.
    fn index(&mut self, base: Expr) -> Parsed<Expr> {
        let height = self.height;
        let (open, closer) = self.read_opener();
        if let Some(star) = self.read_if(TokenKind::Star) {
            let next = self.peek();
            let close = self.read_if(TokenKind::CloseBracket);
            if close.is_none() {
                self.unexpected(next, "a ] right after [*");
                self.skip_past(closer)?;
            }
            self.height = 1;
            let item =
                Expr { kind: ExprKind::SplatItem, span: open.span.to(close.map_or(star.span, |close| close.span)) };
            let each = self.deeper(|parser| parser.traversals(item))?;
            return self.splat(base, each, height);
        }
        let key = self.with_newlines(false, |parser| {
            let key = parser.expression()?;
            if parser.read_if(TokenKind::CloseBracket).is_none() {
                parser.after_element(open, closer, "the index", "a ]");
                return Err(Faulty);
            }
            Ok(key)
        });
        let key = if let Ok(key) = key {
            key
        } else {
            self.skip_past(closer)?;
            Self::invalid(self.since(open.span))
        };
        self.raise(height.max(self.height))?;
        let span = self.since(base.span());
        Ok(Expr { kind: ExprKind::Index(Box::new(base), Box::new(key)), span })
    }
}
