//! `[for v in c: value]` and `{for k, v in c: key => value}`.

use super::{Faulty, Parsed, Parser};
use crate::template::hcl::syntax::ast::{Expr, ExprKind, For, Ident, Spanned};
use crate::template::hcl::syntax::token::{Token, TokenKind};

impl Parser<'_> {
    /// From the word `for`. The bracket before it is read; line breaks don't count.
    pub(super) fn for_expr(&mut self, open: Token, closer: usize) -> Parsed<Expr> {
        let for_object = open.kind == TokenKind::OpenBrace;
        let Ok(expr) = self.for_parts(open, closer, for_object) else {
            self.skip_past(closer)?;
            return Ok(Self::invalid(self.since(open.span)));
        };
        self.raise(self.height)?;
        Ok(Expr { kind: ExprKind::For(Box::new(expr)), span: self.since(open.span) })
    }

    fn for_parts(&mut self, open: Token, closer: usize, for_object: bool) -> Parsed<For> {
        let word = self.read();
        if matches!(self.peek_kind(), TokenKind::Assign | TokenKind::Colon) && for_object {
            self.faults.report(word.span, "the key for begins a for expression", "put it in quotes: \"for\" = …");
            return Err(Faulty);
        }
        let (key_name, value_name) = self.for_names()?;
        let collection = self.expression()?;
        let mut height = self.height;
        let next = self.peek();
        if self.read_if(TokenKind::Colon).is_none() {
            self.unexpected(next, "the : after what for goes through");
            return Err(Faulty);
        }
        let mut value = self.expression()?;
        height = height.max(self.height);
        let mut key = None;
        if self.read_if(TokenKind::FatArrow).is_some() {
            key = Some(std::mem::replace(&mut value, self.expression()?));
            height = height.max(self.height);
        }
        let group = self.read_if(TokenKind::Ellipsis);
        let mut condition = None;
        if self.is_word("if") {
            self.read();
            condition = Some(self.expression()?);
            height = height.max(self.height);
        }
        let close = if for_object { TokenKind::CloseBrace } else { TokenKind::CloseBracket };
        if self.read_if(close).is_none() {
            self.after_element(open, closer, "the for", "the end of the for");
            return Err(Faulty);
        }
        self.check_kind(for_object, key.as_ref(), &value, group);
        self.height = height;
        Ok(For { key_name, value_name, collection, key, value, group: group.is_some(), condition })
    }

    /// Whether key and `...` fit the brackets.
    fn check_kind(&mut self, for_object: bool, key: Option<&Expr>, value: &Expr, group: Option<Token>) {
        if for_object {
            if key.is_none() {
                self.faults.report(
                    value.span(),
                    "a for in { } has no key",
                    "write {for … : key => value}, or [for … : value] for a list",
                );
            }
            return;
        }
        if let Some(key) = key {
            self.faults.report(key.span(), "a for in [ ] has a key", "write {for … : key => value} for a map");
        }
        if let Some(group) = group {
            self.faults.report(
                group.span,
                "a for in [ ] can't group with ...",
                "only {for … : key => value...} groups",
            );
        }
    }

    /// `v in` and `k, v in`, of an expression or a directive.
    pub(super) fn for_names(&mut self) -> Parsed<(Option<Ident>, Ident)> {
        let first = self.for_name()?;
        let (key_name, value_name) =
            if self.read_if(TokenKind::Comma).is_some() { (Some(first), self.for_name()?) } else { (None, first) };
        let next = self.peek();
        if !self.is_word("in") {
            self.unexpected(next, "the word in of a for");
            return Err(Faulty);
        }
        self.read();
        Ok((key_name, value_name))
    }

    fn for_name(&mut self) -> Parsed<Ident> {
        let token = self.peek();
        if token.kind != TokenKind::Identifier {
            self.unexpected(token, "the name of a for's element");
            return Err(Faulty);
        }
        self.read();
        Ok(self.ident(token))
    }
}
