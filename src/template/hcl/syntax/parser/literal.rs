//! Numbers, and the escapes of strings.

use std::sync::Arc;

use super::Parser;
use crate::template::hcl::syntax::ast::{Expr, ExprKind, Span};
use crate::template::hcl::syntax::token::Token;

impl Parser<'_> {
    /// A number as it is written, if it is one: the scanner takes `1..2` and `1e5e5` for numbers too.
    pub(super) fn number(&mut self, token: Token) -> Expr {
        let text = token.text(self.text);
        let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
        let exponent = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
        let fine = mantissa.matches('.').count() <= 1 && exponent.bytes().all(|byte| byte.is_ascii_digit());
        if !fine {
            self.faults.report(
                token.span,
                format!("{text} is no number"),
                "a number has one point and one exponent at most; put a version in quotes",
            );
            return Self::invalid(token.span);
        }
        Expr { kind: ExprKind::Number(Arc::from(text)), span: token.span }
    }

    /// The text that a piece of a quoted string stands for.
    pub(super) fn unescape(&mut self, token: Token) -> String {
        let written = token.text(self.text);
        if let Some(sequence) = escaped_sequence(written) {
            return sequence;
        }
        let mut result = String::with_capacity(written.len());
        let mut rest = written;
        while let Some(at) = rest.find('\\') {
            result.push_str(&rest[..at]);
            let offset = token.span.start as usize + written.len() - rest.len() + at;
            let escape = &rest[at + 1..];
            let used = self.escape(escape, offset, &mut result);
            rest = &escape[used..];
        }
        result.push_str(rest);
        result
    }

    /// Writes what the escape after a backslash stands for, and tells its length. `offset` is the backslash's place.
    fn escape(&mut self, escape: &str, offset: usize, result: &mut String) -> usize {
        let mark = |length: usize| {
            let count = |offset: usize| u32::try_from(offset).unwrap_or(u32::MAX);
            Span { start: count(offset), end: count(offset + 1 + length) }
        };
        let Some(selector) = escape.chars().next() else { return 0 };
        let simple = match selector {
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            '"' | '\\' => selector,
            'u' | 'U' => {
                let wanted = if selector == 'u' { 4 } else { 8 };
                let digits = escape[1..].bytes().take(wanted).take_while(u8::is_ascii_hexdigit).count();
                let code = u32::from_str_radix(&escape[1..=digits], 16).ok();
                match code.and_then(char::from_u32).filter(|_| digits == wanted) {
                    Some(character) => result.push(character),
                    None if digits == wanted => self.faults.report(
                        mark(1 + digits),
                        format!("\\{} is no character", &escape[..=digits]),
                        "Unicode ends at 10FFFF, and D800 to DFFF are no characters",
                    ),
                    None => self.faults.report(
                        mark(1 + digits),
                        format!("\\{selector} needs {wanted} hexadecimal digits"),
                        "write \\u00e9 or \\U0001f600",
                    ),
                }
                return 1 + digits;
            }
            other => {
                self.faults.report(
                    mark(other.len_utf8()),
                    format!("there is no escape \\{other}"),
                    "a backslash itself is written \\\\; the escapes are \\n \\r \\t \\\" \\\\ \\uXXXX and \\UXXXXXXXX",
                );
                other
            }
        };
        result.push(simple);
        selector.len_utf8()
    }

    /// The text that a piece of a heredoc or bare template stands for.
    pub(super) fn plain(&self, token: Token) -> String {
        let written = token.text(self.text);
        if !written.contains('{') {
            return written.to_owned();
        }
        // A whole file's rest can be one piece, with several escaped sequences in it.
        written.replace("$${", "${").replace("%%{", "%{")
    }
}

/// The text of an escaped sequence, which is always a piece of its own.
fn escaped_sequence(written: &str) -> Option<String> {
    let rest = written.strip_prefix("$${").map(|rest| ("${", rest));
    let (start, rest) = rest.or_else(|| written.strip_prefix("%%{").map(|rest| ("%{", rest)))?;
    Some(format!("{start}{rest}"))
}
