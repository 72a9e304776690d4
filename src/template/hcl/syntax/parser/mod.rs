//! Tokens → tree. What is accepted is what hashicorp/hcl's parser accepts (hclsyntax/parser.go); going on after a fault is
//! our own: brackets are paired beforehand, so a fault inside a pair costs its element only, and a fault outside of any
//! costs the attribute or block header.

mod body;
mod collection;
mod complaint;
mod directive;
mod expression;
mod for_expr;
mod literal;
mod template;
mod traversal;

use std::sync::Arc;

use super::ast::{Expr, ExprKind, Ident, Span};
use super::fault::Faults;
use super::lexer::{Mode, lex};
use super::token::{Token, TokenKind};
use crate::domain::diagnostic::Diagnostic;
use crate::template::source::SourceFile;

/// How deep brackets, strings, blocks and the right sides of `?:` may nest.
pub const MAX_DEPTH: u32 = 128;
/// How high an expression's tree may grow, with the chains that need no brackets: `a + b + c`, `a.b.c`.
pub const MAX_HEIGHT: u32 = 512;

/// What is left of a construct whose fault has been reported.
#[derive(Debug)]
pub(super) struct Faulty;

type Parsed<T> = Result<T, Faulty>;

/// No token closes it.
const UNCLOSED: u32 = u32::MAX;

#[derive(Debug)]
pub struct Parser<'a> {
    text: &'a str,
    /// Without comments, and with one line break for several.
    tokens: Vec<Token>,
    /// For each token that opens something, the token that closes it.
    closers: Vec<u32>,
    /// The innermost bracket that is open where the text ends.
    open_at_end: Option<Token>,
    at: usize,
    /// Whether line breaks count: in bodies and between the entries of an object.
    newlines: bool,
    depth: u32,
    /// Of the expression that was read last.
    height: u32,
    /// Where the token that was read last ends.
    last_end: u32,
    /// Whether this line has been told about its `;` or `,`.
    separator_told: bool,
    faults: Faults,
}

impl<'a> Parser<'a> {
    #[must_use]
    pub fn new(text: &'a str, mode: Mode) -> Self {
        let (all, faults) = lex(text, mode);
        let tokens = significant(all, text);
        let (closers, open) = pair(&tokens);
        let open_at_end = open.map(|index| tokens[index]);
        Self {
            text,
            tokens,
            closers,
            open_at_end,
            at: 0,
            newlines: true,
            depth: 0,
            height: 0,
            last_end: 0,
            separator_told: false,
            faults,
        }
    }

    /// The faults, in the order of the file.
    #[must_use]
    pub fn into_diagnostics(self, file: &SourceFile) -> Vec<Diagnostic> {
        self.faults.into_diagnostics(file)
    }

    fn next_index(&self) -> usize {
        let skip = !self.newlines && self.tokens[self.at].kind == TokenKind::Newline;
        self.at + usize::from(skip)
    }

    fn peek(&self) -> Token {
        self.tokens[self.next_index()]
    }

    fn peek_kind(&self) -> TokenKind {
        self.peek().kind
    }

    /// The kind of the token after the next.
    fn kind_after_next(&self) -> TokenKind {
        let after = self.tokens.get(self.next_index() + 1);
        after.map_or(TokenKind::EndOfFile, |token| token.kind)
    }

    /// Takes the next token. The end of the file stays.
    fn read(&mut self) -> Token {
        let index = self.next_index();
        let token = self.tokens[index];
        self.at = if token.kind == TokenKind::EndOfFile { index } else { index + 1 };
        self.last_end = token.span.end;
        token
    }

    fn read_if(&mut self, kind: TokenKind) -> Option<Token> {
        (self.peek_kind() == kind).then(|| self.read())
    }

    fn is_word(&self, word: &str) -> bool {
        let token = self.peek();
        token.kind == TokenKind::Identifier && token.text(self.text) == word
    }

    fn ident(&self, token: Token) -> Ident {
        Ident { name: Arc::from(token.text(self.text)), span: token.span }
    }

    /// Takes the token that opens something, and tells where its closing token is.
    fn read_opener(&mut self) -> (Token, usize) {
        let index = self.next_index();
        (self.read(), self.closer_of(index))
    }

    /// The index of the closing token; the number of tokens where there is none.
    fn closer_of(&self, index: usize) -> usize {
        match self.closers[index] {
            UNCLOSED => self.tokens.len(),
            closer => closer as usize,
        }
    }

    fn is_closed(&self, closer: usize) -> bool {
        closer < self.tokens.len()
    }

    /// Works with line breaks counting or not, and puts the rule back.
    fn with_newlines<T>(&mut self, newlines: bool, work: impl FnOnce(&mut Self) -> T) -> T {
        let before = std::mem::replace(&mut self.newlines, newlines);
        let result = work(self);
        self.newlines = before;
        result
    }

    /// Works one level deeper.
    fn deeper<T>(&mut self, work: impl FnOnce(&mut Self) -> Parsed<T>) -> Parsed<T> {
        if self.depth >= MAX_DEPTH {
            return self.give_up(format!("more than {MAX_DEPTH} levels of nesting"));
        }
        self.depth += 1;
        let result = work(self);
        self.depth -= 1;
        result
    }

    /// Notes that the expression just read is one level above parts of that height.
    fn raise(&mut self, height: u32) -> Parsed<()> {
        self.height = height + 1;
        if self.height > MAX_HEIGHT {
            return self.give_up(format!("an expression of more than {MAX_HEIGHT} steps"));
        }
        Ok(())
    }

    /// Leaves the rest of the file unread.
    fn give_up<T>(&mut self, what: String) -> Parsed<T> {
        let here = self.peek().span;
        self.faults.report(here, what, "give parts of it names of their own: locals { … }");
        self.faults.close();
        self.at = self.tokens.len() - 1;
        Err(Faulty)
    }

    /// Goes past the closing token, if there is one ahead.
    fn skip_past(&mut self, closer: usize) -> Parsed<()> {
        if !self.is_closed(closer) || closer < self.at {
            return Err(Faulty);
        }
        self.at = closer;
        self.read();
        Ok(())
    }

    /// After a fault inside of brackets: goes on to the next separator of their elements, or to the closing token.
    fn skip_element(&mut self, closer: usize) -> Parsed<()> {
        if !self.is_closed(closer) || closer < self.at {
            return Err(Faulty);
        }
        while self.at < closer {
            match self.tokens[self.at].kind {
                TokenKind::Comma => break,
                TokenKind::Newline if self.newlines => break,
                _ => self.at = self.past(self.at),
            }
        }
        Ok(())
    }

    /// The token after this one, or after what it opens.
    fn past(&self, index: usize) -> usize {
        let closer = self.closer_of(index);
        if self.tokens[index].kind.closer().is_some() && self.is_closed(closer) { closer + 1 } else { index + 1 }
    }

    fn since(&self, start: Span) -> Span {
        Span { start: start.start, end: self.last_end.max(start.start) }
    }

    fn invalid(span: Span) -> Expr {
        Expr { kind: ExprKind::Invalid, span }
    }
}

/// The tokens that the grammar knows. A comment that ends its line is the line's end.
fn significant(all: Vec<Token>, text: &str) -> Vec<Token> {
    let mut tokens: Vec<Token> = Vec::with_capacity(all.len());
    for mut token in all {
        if token.kind == TokenKind::Comment {
            if !token.text(text).ends_with('\n') {
                continue;
            }
            token.kind = TokenKind::Newline;
        }
        let repeated = tokens.last().is_some_and(|last| last.kind == TokenKind::Newline);
        if token.kind != TokenKind::Newline || !repeated {
            tokens.push(token);
        }
    }
    tokens
}

/// Pairs brackets, quotes and the like. A closing token belongs to the nearest opener of its kind; openers between the two
/// are closed by nothing. Second is the last opener that is still open at the end.
fn pair(tokens: &[Token]) -> (Vec<u32>, Option<usize>) {
    let mut closers = vec![UNCLOSED; tokens.len()];
    let mut open: Vec<(TokenKind, usize)> = Vec::new();
    // How many are open of each kind, so that a stray closing token costs no search.
    let mut counts = [0_usize; 6];
    for (index, token) in tokens.iter().enumerate() {
        if let Some(closer) = token.kind.closer() {
            open.push((closer, index));
            counts[slot(closer)] += 1;
        } else if token.kind.closes() && counts[slot(token.kind)] > 0 {
            while let Some((kind, opener)) = open.pop() {
                counts[slot(kind)] -= 1;
                if kind == token.kind {
                    closers[opener] = u32::try_from(index).unwrap_or(UNCLOSED);
                    break;
                }
            }
        }
    }
    (closers, open.last().map(|(_, index)| *index))
}

fn slot(closer: TokenKind) -> usize {
    match closer {
        TokenKind::CloseBrace => 0,
        TokenKind::CloseBracket => 1,
        TokenKind::CloseParen => 2,
        TokenKind::CloseQuote => 3,
        TokenKind::CloseHeredoc => 4,
        _ => 5,
    }
}
