//! Attributes and blocks.

use std::collections::HashMap;
use std::sync::Arc;

use super::{Faulty, Parsed, Parser};
use crate::template::hcl::syntax::ast::{Attribute, Block, Body, Ident, Item, Label, Span};
use crate::template::hcl::syntax::token::{Token, TokenKind};

/// Where attributes and blocks stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    File,
    /// In a block, a line for each.
    Lines,
    /// In a block on one line, which holds one attribute.
    OneLine,
}

impl Parser<'_> {
    /// A whole file.
    pub fn file(&mut self) -> Body {
        let span = Span { start: 0, end: u32::try_from(self.text.len()).unwrap_or(u32::MAX) };
        if self.looks_like_json() {
            return Body { items: Vec::new(), span };
        }
        Body { items: self.items(Place::File), span }
    }

    fn looks_like_json(&mut self) -> bool {
        let first = usize::from(self.peek_kind() == TokenKind::Newline);
        let json = self.tokens[first].kind == TokenKind::OpenBrace;
        if json {
            let here = self.tokens[first].span;
            self.faults.report(
                here,
                "a { can't begin an attribute or a block",
                "this looks like JSON: name the file .json, or .pkr.json if it is HCL2 in JSON",
            );
            self.faults.close();
        }
        json
    }

    fn items(&mut self, mut place: Place) -> Vec<Item> {
        let mut items = Vec::new();
        let mut names: HashMap<Arc<str>, Span> = HashMap::new();
        loop {
            let index = self.at;
            let token = self.peek();
            let item = match token.kind {
                TokenKind::EndOfFile => break,
                TokenKind::CloseBrace if place != Place::File => break,
                TokenKind::Newline => {
                    self.read();
                    self.separator_told = false;
                    continue;
                }
                TokenKind::Identifier => self.item(&mut place),
                _ => {
                    self.not_an_item(token);
                    Err(Faulty)
                }
            };
            match item {
                Ok(Item::Attribute(attribute)) => {
                    let name = attribute.name.clone();
                    if let Some(first) = names.get(&name.name) {
                        self.set_twice(&name, *first);
                    } else {
                        names.insert(name.name, name.span);
                        items.push(Item::Attribute(attribute));
                    }
                }
                Ok(block) => items.push(block),
                Err(Faulty) => self.skip_item(index, place),
            }
        }
        items
    }

    fn item(&mut self, place: &mut Place) -> Parsed<Item> {
        let token = self.read();
        let name = self.ident(token);
        match self.peek_kind() {
            TokenKind::Assign => self.attribute(name, place).map(Item::Attribute),
            TokenKind::OpenQuote | TokenKind::OpenBrace | TokenKind::Identifier => {
                if *place == Place::OneLine {
                    self.faults.report(
                        name.span,
                        "a block on one line holds one attribute only",
                        "put a block inside of another on lines of its own",
                    );
                }
                self.block(name, *place).map(Item::Block)
            }
            _ => {
                self.lone_name(&name);
                Err(Faulty)
            }
        }
    }

    fn attribute(&mut self, name: Ident, place: &mut Place) -> Parsed<Attribute> {
        self.read();
        let value = self.expression()?;
        let span = self.since(name.span);
        let attribute = Attribute { name, value, span };
        let next = self.peek();
        match (next.kind, *place) {
            (TokenKind::CloseBrace, Place::OneLine)
            | (TokenKind::Newline, Place::File | Place::Lines)
            | (TokenKind::EndOfFile, _) => {}
            (TokenKind::Newline, Place::OneLine) => {
                self.faults.report(
                    next.span,
                    "a block that has an attribute on its first line ends on that line",
                    "put the attribute on a line of its own, or a } after it",
                );
                *place = Place::Lines;
            }
            _ => self.after_item(next, *place),
        }
        Ok(attribute)
    }

    /// Something follows an attribute or block on its line. What comes after a separator is read as if it had a line of
    /// its own.
    fn after_item(&mut self, next: Token, place: Place) {
        let separator = next.kind == TokenKind::Comma || next.text(self.text) == ";";
        if !separator {
            self.trailing(next, place == Place::OneLine);
            if next.kind != TokenKind::CloseBrace {
                self.skip_item(usize::MAX, place);
            }
            return;
        }
        self.read();
        if !std::mem::replace(&mut self.separator_told, true) {
            let line_goes_on = !matches!(self.peek_kind(), TokenKind::Newline | TokenKind::EndOfFile);
            self.separated(next, line_goes_on);
        }
    }

    fn block(&mut self, kind: Ident, place: Place) -> Parsed<Block> {
        let labels = self.labels(&kind)?;
        let (open, closer) = self.read_opener();
        let inner = match self.peek_kind() {
            TokenKind::Newline | TokenKind::EndOfFile | TokenKind::CloseBrace => Place::Lines,
            _ => Place::OneLine,
        };
        let told = std::mem::replace(&mut self.separator_told, false);
        let items = self.deeper(|parser| Ok(parser.items(inner)))?;
        self.separator_told = told;
        if self.read_if(TokenKind::CloseBrace).is_none() {
            self.unclosed(open, closer, &format!("the block {}", kind.name));
        }
        let body = Body { items, span: self.since(open.span) };
        let span = self.since(kind.span);
        let next = self.peek();
        let ended = matches!(next.kind, TokenKind::Newline | TokenKind::EndOfFile);
        if !ended && place != Place::OneLine {
            self.after_item(next, place);
        }
        Ok(Block { kind, labels, body, span })
    }

    fn labels(&mut self, kind: &Ident) -> Parsed<Vec<Label>> {
        let mut labels = Vec::new();
        loop {
            let next = self.peek();
            match next.kind {
                TokenKind::OpenBrace => return Ok(labels),
                TokenKind::OpenQuote => labels.push(self.quoted_label()?),
                TokenKind::Identifier => {
                    self.read();
                    labels.push(Label { text: Arc::from(next.text(self.text)), span: next.span });
                }
                TokenKind::Assign if self.kind_after_next() == TokenKind::OpenBrace => {
                    self.faults.report(
                        next.span,
                        "a block has no = before its {",
                        format!("write {} … {{, or leave the labels out if an attribute is meant", kind.name),
                    );
                    self.read();
                }
                TokenKind::Newline if self.kind_after_next() == TokenKind::OpenBrace => {
                    self.faults.report(
                        self.tokens[self.at + 1].span,
                        format!("the {{ of the block {} is not on the line of its name", kind.name),
                        "put it at the end of the line before",
                    );
                    self.read();
                }
                _ => {
                    self.unexpected(next, "a label or a {");
                    return Err(Faulty);
                }
            }
        }
    }

    /// A label in quotes, which has escapes but no `${…}`.
    fn quoted_label(&mut self) -> Parsed<Label> {
        let (open, closer) = self.read_opener();
        let mut text = String::new();
        loop {
            let token = self.read();
            match token.kind {
                TokenKind::CloseQuote => break,
                TokenKind::QuotedText => text.push_str(&self.unescape(token)),
                _ => {
                    self.faults.report(
                        token.span,
                        "a block's label can't be worked out: it holds no ${ } or %{ }",
                        "write the text itself; a literal ${ is written $${",
                    );
                    self.skip_past(closer)?;
                    break;
                }
            }
        }
        Ok(Label { text: Arc::from(text), span: self.since(open.span) })
    }

    /// After a fault: goes on to the next attribute or block. That is the one on the next line, or the one on the cursor's
    /// line where brackets left open made the parser read on. `from` is where the faulty one begins.
    fn skip_item(&mut self, from: usize, place: Place) {
        let line = (from.saturating_add(1)..=self.at).rev().find(|at| self.begins_line(*at));
        if let Some(line) = line.filter(|line| self.begins_item(*line)) {
            self.at = line;
            return;
        }
        loop {
            match self.tokens[self.at].kind {
                TokenKind::EndOfFile => return,
                TokenKind::Newline => {
                    self.read();
                    self.separator_told = false;
                    return;
                }
                TokenKind::CloseBrace if place != Place::File => return,
                TokenKind::Identifier if self.at > from && self.begins_item(self.at) => return,
                _ => self.at = self.past(self.at),
            }
        }
    }

    fn begins_line(&self, index: usize) -> bool {
        index.checked_sub(1).is_none_or(|before| self.tokens[before].kind == TokenKind::Newline)
    }

    /// Whether a line begins there with an attribute or a block, by its first two tokens.
    fn begins_item(&self, index: usize) -> bool {
        let next = self.tokens.get(index + 1).map(|token| token.kind);
        let known = [TokenKind::Assign, TokenKind::OpenBrace, TokenKind::OpenQuote];
        self.begins_line(index)
            && self.tokens[index].kind == TokenKind::Identifier
            && next.is_some_and(|next| known.contains(&next))
    }
}
