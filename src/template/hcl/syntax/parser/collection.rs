//! Lists, objects and calls.

use std::sync::Arc;

use super::{Faulty, Parsed, Parser};
use crate::template::hcl::syntax::ast::{Call, Expr, ExprKind, Ident, ObjectItem, ObjectKey, Spanned};
use crate::template::hcl::syntax::token::{Token, TokenKind};

/// Brackets whose elements are read, and how they are named in complaints.
#[derive(Clone, Copy)]
struct Brackets {
    open: Token,
    closer: usize,
    what: &'static str,
    wanted: &'static str,
}

impl Parser<'_> {
    /// `[a, b]` and `[for …]`.
    pub(super) fn tuple(&mut self) -> Parsed<Expr> {
        let (open, closer) = self.read_opener();
        self.with_newlines(false, |parser| {
            if parser.is_word("for") {
                return parser.for_expr(open, closer);
            }
            let brackets = Brackets { open, closer, what: "the list", wanted: "a comma or a ]" };
            let (elements, height) = parser.elements(brackets, TokenKind::CloseBracket, Self::expression)?;
            parser.raise(height)?;
            Ok(Expr { kind: ExprKind::Tuple(elements), span: parser.since(open.span) })
        })
    }

    /// Elements and commas up to the closing token, which is taken, and the height of the highest element. An element with
    /// a fault is left out.
    fn elements<T>(
        &mut self,
        brackets: Brackets,
        close: TokenKind,
        mut element: impl FnMut(&mut Self) -> Parsed<T>,
    ) -> Parsed<(Vec<T>, u32)> {
        let mut elements = Vec::new();
        let mut height = 0;
        while self.read_if(close).is_none() {
            if self.peek_kind() == TokenKind::EndOfFile {
                self.unclosed(brackets.open, brackets.closer, brackets.what);
                return Err(Faulty);
            }
            match element(self) {
                Ok(element) => elements.push(element),
                Err(Faulty) => self.skip_element(brackets.closer)?,
            }
            height = height.max(self.height);
            if self.read_if(TokenKind::Comma).is_none() && self.peek_kind() != close {
                self.after_element(brackets.open, brackets.closer, brackets.what, brackets.wanted);
                self.skip_element(brackets.closer)?;
                self.read_if(TokenKind::Comma);
            }
        }
        Ok((elements, height))
    }

    /// `name(a, b...)`, from behind the name's first part.
    pub(super) fn call(&mut self, first: Token) -> Parsed<Expr> {
        let mut name = first.text(self.text).to_owned();
        while self.read_if(TokenKind::DoubleColon).is_some() {
            let token = self.peek();
            if token.kind != TokenKind::Identifier {
                self.unexpected(token, "the name of a function after ::");
                return Err(Faulty);
            }
            self.read();
            name.push_str("::");
            name.push_str(token.text(self.text));
        }
        let name = Ident { name: Arc::from(name), span: self.since(first.span) };
        let next = self.peek();
        if next.kind != TokenKind::OpenParen {
            self.unexpected(next, "the ( of a function call");
            return Err(Faulty);
        }
        let (open, closer) = self.read_opener();
        let brackets = Brackets { open, closer, what: "the call", wanted: "a comma or a )" };
        let mut expand = false;
        let (arguments, height) = self.with_newlines(false, |parser| {
            parser.elements(brackets, TokenKind::CloseParen, |parser| {
                let argument = parser.expression()?;
                if parser.read_if(TokenKind::Ellipsis).is_some() {
                    expand = true;
                    let next = parser.peek();
                    if next.kind != TokenKind::CloseParen {
                        parser.unexpected(next, "the ) of the call after ...");
                        return Err(Faulty);
                    }
                }
                Ok(argument)
            })
        })?;
        self.raise(height)?;
        Ok(Expr { kind: ExprKind::Call(Call { name, arguments, expand }), span: self.since(first.span) })
    }

    /// `{ key = value }` and `{for …}`.
    pub(super) fn object(&mut self) -> Parsed<Expr> {
        let (open, closer) = self.read_opener();
        if self.with_newlines(false, |parser| parser.is_word("for")) {
            return self.with_newlines(false, |parser| parser.for_expr(open, closer));
        }
        self.with_newlines(true, |parser| {
            let mut items = Vec::new();
            let mut height = 0;
            loop {
                while parser.read_if(TokenKind::Newline).is_some() {}
                if parser.read_if(TokenKind::CloseBrace).is_some() {
                    break;
                }
                if parser.peek_kind() == TokenKind::EndOfFile {
                    parser.unclosed(open, closer, "the { }");
                    return Err(Faulty);
                }
                match parser.object_item(open, closer) {
                    Ok(item) => items.push(item),
                    Err(Faulty) => parser.skip_element(closer)?,
                }
                height = height.max(parser.height);
                if parser.read_if(TokenKind::Comma).is_some() || parser.peek_kind() == TokenKind::CloseBrace {
                    continue;
                }
                if parser.peek_kind() != TokenKind::Newline {
                    parser.after_element(open, closer, "the { }", "a comma, the end of the line or a }");
                    parser.skip_element(closer)?;
                    parser.read_if(TokenKind::Comma);
                }
            }
            parser.raise(height)?;
            Ok(Expr { kind: ExprKind::Object(items), span: parser.since(open.span) })
        })
    }

    fn object_item(&mut self, open: Token, closer: usize) -> Parsed<ObjectItem> {
        let key = self.expression()?;
        let mut height = self.height;
        let next = self.peek();
        if !matches!(next.kind, TokenKind::Assign | TokenKind::Colon) {
            self.no_value(&key, next, open, closer);
            return Err(Faulty);
        }
        self.read();
        let value = self.expression()?;
        height = height.max(self.height);
        self.height = height;
        let key = match key.kind {
            ExprKind::Variable(name) => ObjectKey::Name(name),
            ExprKind::Bool(_) | ExprKind::Null => {
                ObjectKey::Name(Ident { name: Arc::from(key.span.text(self.text)), span: key.span })
            }
            kind => ObjectKey::Expr(Expr { kind, span: key.span }),
        };
        Ok(ObjectItem { key, value })
    }

    /// A key that no `=` follows.
    fn no_value(&mut self, key: &Expr, next: Token, open: Token, closer: usize) {
        if !self.is_closed(closer) && next.kind == TokenKind::EndOfFile {
            return self.unclosed(open, closer, "the { }");
        }
        if matches!(next.kind, TokenKind::OpenBrace | TokenKind::OpenQuote) && matches!(key.kind, ExprKind::Variable(_))
        {
            let name = key.span().text(self.text);
            self.faults.report(
                next.span,
                format!("there is no = after the key {name}"),
                format!("a {{ }} value holds keys and values, no blocks: write {name} = …"),
            );
            return;
        }
        self.unexpected(next, "the = of a key");
    }
}
