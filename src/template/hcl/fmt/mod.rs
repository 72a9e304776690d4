//! The canonical layout of HCL2, as `packer fmt` writes it: hashicorp/hcl's formatter (hclwrite/format.go), byte for byte.
//!
//! Only the spaces between tokens change, on each line by itself; what is inside of strings and heredocs stays, and so do
//! all line breaks. A line has up to three cells: what is before its `=`, the `=` with its value, and a comment. The
//! second and third are aligned over consecutive lines that have them.

mod diff;
mod lines;
mod spaces;

#[cfg(test)]
mod tests;

use unicode_segmentation::UnicodeSegmentation;

pub use diff::unified_diff;
use lines::Lines;

use super::syntax::lexer::{Mode, lex};
use super::syntax::parse_file;
use super::syntax::token::TokenKind;
use crate::domain::diagnostic::Diagnostic;
use crate::template::source::SourceFile;

/// A token and the spaces before it.
#[derive(Debug, Clone, Copy)]
struct Piece<'a> {
    kind: TokenKind,
    text: &'a str,
    spaces: usize,
}

impl Piece<'_> {
    /// How many columns it takes, without the spaces before it.
    fn width(&self) -> usize {
        if self.text.is_ascii() && !self.text.contains('\r') {
            self.text.len()
        } else {
            self.text.graphemes(true).count()
        }
    }

    /// What it adds to the number of open brackets.
    fn bracket_change(&self) -> isize {
        match self.kind {
            TokenKind::OpenBrace
            | TokenKind::OpenBracket
            | TokenKind::OpenParen
            | TokenKind::Interpolation
            | TokenKind::Directive => 1,
            TokenKind::CloseBrace | TokenKind::CloseBracket | TokenKind::CloseParen | TokenKind::SequenceEnd => -1,
            _ => 0,
        }
    }

    fn ends_line(&self) -> bool {
        self.kind == TokenKind::Newline || (self.kind == TokenKind::Comment && self.text.ends_with('\n'))
    }
}

/// Formats a file. A byte order mark is left out.
///
/// # Errors
/// With the file's syntax errors: a file with any is not formatted. `path` names it in them.
pub fn format(path: &str, text: &str) -> Result<String, Vec<Diagnostic>> {
    let file = SourceFile::new(path, text);
    let (_, faults) = parse_file(&file);
    if !faults.is_empty() {
        return Err(faults);
    }
    let (tokens, _) = lex(&file.text, Mode::Config);
    let mut before = 0;
    let mut pieces = Vec::with_capacity(tokens.len());
    for token in tokens {
        let spaces = (token.span.start - before) as usize;
        before = token.span.end;
        pieces.push(Piece { kind: token.kind, text: token.text(&file.text), spaces });
    }
    Lines::new(&mut pieces).lay_out();
    let mut formatted = String::with_capacity(file.text.len());
    for piece in &pieces {
        formatted.extend(std::iter::repeat_n(' ', piece.spaces));
        formatted.push_str(piece.text);
    }
    Ok(formatted)
}
