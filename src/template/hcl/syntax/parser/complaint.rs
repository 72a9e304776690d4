//! What is said about faults.

use super::Parser;
use crate::template::hcl::syntax::ast::{Ident, Span};
use crate::template::hcl::syntax::token::{Token, TokenKind};

/// What to do where a file ends too early.
const FILE_ENDS: &str = "the file ends here; a } or \" may be missing before";

impl Parser<'_> {
    /// A token that the grammar has no place for.
    pub(super) fn unexpected(&mut self, token: Token, wanted: &str) {
        if token.kind == TokenKind::EndOfFile
            && let Some(open) = self.open_at_end
        {
            let sign = open.text(self.text).to_owned();
            return self.unclosed(open, self.tokens.len(), &format!("the {sign}"));
        }
        let found = self.describe(token);
        let detail = self.advice(token);
        self.faults.report(token.span, format!("{found} where {wanted} is needed"), detail);
    }

    pub(super) fn describe(&self, token: Token) -> String {
        match token.kind {
            TokenKind::EndOfFile => "the file ends".to_owned(),
            TokenKind::Newline => "the line ends".to_owned(),
            TokenKind::OpenHeredoc => "there is a heredoc".to_owned(),
            TokenKind::OpenQuote | TokenKind::CloseQuote => "there is a \"".to_owned(),
            _ => {
                let text: String = token.text(self.text).chars().take(40).collect();
                format!("there is {text:?}")
            }
        }
    }

    /// What to do about a token where it is wrong.
    fn advice(&self, token: Token) -> String {
        let text = token.text(self.text);
        match token.kind {
            TokenKind::EndOfFile => FILE_ENDS.to_owned(),
            TokenKind::Invalid => match text {
                "'" => "strings are written with \", not with '",
                "`" => "strings are written with \"; a long text is a heredoc: <<EOT … EOT",
                "\u{201c}" | "\u{201d}" | "\u{2018}" | "\u{2019}" | "\u{201e}" | "\u{201a}" | "\u{ab}" | "\u{bb}" => {
                    "the quotes here are typographic ones; use the plain \" character"
                }
                "&" => "HCL2 has no operator &; the logical one is &&",
                "|" => "HCL2 has no operator |; the logical one is ||",
                "~" => "HCL2 has no operator ~; the logical one is !",
                "$" => "${ } is for the inside of strings; outside of them write what is between the braces alone",
                "^" => "HCL2 has no operator ^; use pow(a, b) for powers",
                ";" => {
                    "HCL2 has no ';': put each attribute on a line of its own, and a comma between elements of a list"
                }
                "\u{a0}" => "this is a no-break space; use a plain one",
                "\r" => "this is a carriage return alone; end lines with \\n or \\r\\n",
                _ => "this character has no meaning in HCL2 outside of strings",
            }
            .to_owned(),
            TokenKind::Assign => "= gives an attribute its value; to compare, write ==".to_owned(),
            TokenKind::Identifier | TokenKind::QuotedText if text == "and" => "write && for and".to_owned(),
            TokenKind::Identifier if text == "or" => "write || for or".to_owned(),
            TokenKind::Identifier if text == "not" => "write ! for not".to_owned(),
            TokenKind::Less if self.text[token.span.start as usize..].starts_with("<<") => {
                "a heredoc begins with << and its name, and nothing may follow on that line".to_owned()
            }
            _ => String::new(),
        }
    }

    /// Something at the place of an attribute or block that can't begin one.
    pub(super) fn not_an_item(&mut self, token: Token) {
        match token.kind {
            TokenKind::CloseBrace => {
                self.faults.report(token.span, "this } closes nothing", "remove it, or add the { that it belongs to");
            }
            TokenKind::OpenQuote => self.faults.report(
                token.span,
                "the name of an attribute or block has no quotes",
                "remove them; only block labels and the keys of a { … } value may have quotes",
            ),
            _ => self.unexpected(token, "the name of an attribute or block"),
        }
    }

    /// A name that neither `=` nor a block follows.
    pub(super) fn lone_name(&mut self, name: &Ident) {
        let next = self.peek();
        let mut detail = match next.kind {
            TokenKind::Colon => "write = for the colon".to_owned(),
            TokenKind::Equal => "== compares; write = to set it".to_owned(),
            TokenKind::Dot | TokenKind::OpenBracket => "only whole attributes can be set here".to_owned(),
            _ => self.advice(next),
        };
        if detail.is_empty() || next.kind == TokenKind::EndOfFile {
            detail = format!("an attribute is {} = value, a block is {} {{ … }}", name.name, name.name);
        }
        self.faults.report(name.span, format!("{} is neither an attribute nor a block", name.name), detail);
    }

    pub(super) fn set_twice(&mut self, name: &Ident, first: Span) {
        if self.faults.full() {
            return;
        }
        let line = self.text[..first.start as usize].matches('\n').count() + 1;
        self.faults.report(
            name.span,
            format!("{} is set twice, first on line {line}", name.name),
            "keep one of the two; several values go into one list or map",
        );
    }

    /// Something follows an attribute or block on its line.
    pub(super) fn trailing(&mut self, token: Token, one_line: bool) {
        let advice = self.advice(token);
        let found = self.describe(token);
        let (wanted, rule) = match (token.kind, one_line) {
            (TokenKind::CloseBrace, _) => {
                ("the end of the line", "put the } on a line of its own; only a block on one line has it at the end")
            }
            (_, true) => ("the } of the block", "a block on one line holds one attribute only"),
            (_, false) => ("the end of the line", "an attribute or block ends with its line"),
        };
        let detail = if advice.is_empty() { rule.to_owned() } else { advice };
        self.faults.report(token.span, format!("{found} where {wanted} is needed"), detail);
    }

    /// A `;` or `,` after an attribute or block.
    pub(super) fn separated(&mut self, token: Token, line_goes_on: bool) {
        let separator = token.text(self.text).chars().next().unwrap_or(';');
        if line_goes_on {
            self.faults.report(
                token.span,
                format!("attributes on one line are separated by {separator:?}, which HCL2 does not have"),
                "put each attribute on a line of its own; HCL2 has no ';', and a block on one line holds one attribute \
                 only",
            );
        } else {
            self.faults.report(
                token.span,
                format!("an attribute ends with {separator:?}, which HCL2 does not have"),
                "remove it: the end of the line ends an attribute",
            );
        }
    }

    /// What opens here is never closed. Where a closing token is ahead all the same, something else is wrong, and has
    /// been told.
    pub(super) fn unclosed(&mut self, open: Token, closer: usize, what: &str) {
        if !self.is_closed(closer) && !self.faults.swallowed() {
            let sign = match open.kind {
                TokenKind::OpenBrace => '}',
                TokenKind::OpenBracket => ']',
                _ => ')',
            };
            let detail = if self.peek_kind() == TokenKind::EndOfFile {
                FILE_ENDS.to_owned()
            } else {
                format!("close it with {sign}")
            };
            self.faults.report(open.span, format!("{what} that begins here is not closed"), detail);
        }
    }

    /// An element of a list, object or call is followed by something else than a separator or the end.
    pub(super) fn after_element(&mut self, open: Token, closer: usize, what: &str, wanted: &str) {
        if self.is_closed(closer) {
            let next = self.peek();
            self.unexpected(next, wanted);
        } else {
            self.unclosed(open, closer, what);
        }
    }
}
