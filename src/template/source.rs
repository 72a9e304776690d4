//! A template's source text, and the way from a byte offset back to line and column.

use super::hcl::syntax::ast::Span;
use crate::domain::diagnostic::{Diagnostic, Hint, Position, SourceLocation};

/// One file's text without its byte order mark.
#[derive(Debug, Clone)]
pub struct SourceFile {
    pub path: String,
    pub text: String,
    line_starts: Vec<usize>,
}

impl SourceFile {
    #[must_use]
    pub fn new(path: &str, text: &str) -> Self {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text).to_owned();
        let line_starts = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Self { path: path.to_owned(), text, line_starts }
    }

    /// A file of a bundle.
    ///
    /// # Errors
    /// When the bytes are not UTF-8.
    pub fn from_bytes(path: &str, bytes: &[u8]) -> Result<Self, Box<Diagnostic>> {
        match std::str::from_utf8(bytes) {
            Ok(text) => Ok(Self::new(path, text)),
            Err(error) => {
                let valid = String::from_utf8_lossy(&bytes[..error.valid_up_to()]).into_owned();
                let file = Self::new(path, &valid);
                let diagnostic = Diagnostic::error("the file is not UTF-8 text");
                let diagnostic = diagnostic.with_detail("save it in the encoding UTF-8");
                Err(Box::new(diagnostic.at(Some(file.location(valid.len())))))
            }
        }
    }

    /// Where a byte offset is, for a person: the column counts characters from 1.
    #[must_use]
    pub fn location(&self, offset: usize) -> SourceLocation {
        let mut offset = offset.min(self.text.len());
        while !self.text.is_char_boundary(offset) {
            offset -= 1;
        }
        let line = self.line_starts.partition_point(|&start| start <= offset).max(1);
        let start = self.line_starts[line - 1];
        let column = self.text[start..offset].chars().count() + 1;
        SourceLocation {
            file: self.path.clone(),
            line: u32::try_from(line).unwrap_or(u32::MAX),
            column: u32::try_from(column).unwrap_or(u32::MAX),
        }
    }

    /// Where a line begins, counted from 1; `None` when there is no such line.
    #[must_use]
    pub fn line_offset(&self, line: u32) -> Option<usize> {
        self.line_starts.get(usize::try_from(line).ok()?.checked_sub(1)?).copied()
    }

    /// A complaint about a range of this file.
    pub fn error(&self, span: Span, summary: impl Into<String>) -> Diagnostic {
        let (start, end) = (span.start as usize, span.end as usize);
        Diagnostic::error(summary).at(Some(self.location(start))).until((end > start).then(|| self.position(end)))
    }

    /// Where a range that ends at an offset ends, exclusive.
    #[must_use]
    pub fn position(&self, offset: usize) -> Position {
        let SourceLocation { line, column, .. } = self.location(offset);
        Position { line, column }
    }

    /// The text of a line, counted from 1, without its line ending; `None` when there is no such line.
    #[must_use]
    pub fn line(&self, number: u32) -> Option<&str> {
        let start = *self.line_starts.get(usize::try_from(number.checked_sub(1)?).ok()?)?;
        Some(self.line_at(start))
    }

    /// The line that holds an offset, without its line ending.
    #[must_use]
    pub fn line_at(&self, offset: usize) -> &str {
        let line = self.line_starts.partition_point(|&start| start <= offset).max(1);
        let start = self.line_starts[line - 1];
        let end = self.line_starts.get(line).copied().unwrap_or(self.text.len());
        self.text[start..end].trim_end_matches(['\n', '\r'])
    }

    /// The offset where the line that holds `offset` begins.
    #[must_use]
    pub fn line_start(&self, offset: usize) -> usize {
        self.line_starts[self.line_starts.partition_point(|&start| start <= offset).max(1) - 1]
    }
}

/// `did you mean "x"?` for the candidate that is near enough to be a misspelling.
#[must_use]
pub fn suggestion<'a>(given: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let wanted = given.to_lowercase();
    candidates
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(&wanted, &candidate.to_lowercase()), candidate))
        .min_by_key(|(distance, _)| *distance)
        .filter(|(distance, candidate)| *distance <= candidate.chars().count().max(3) / 3)
        .map(|(_, candidate)| candidate)
}

/// `did you mean "x"?`, or nothing.
#[must_use]
pub fn did_you_mean<'a>(given: &str, candidates: impl IntoIterator<Item = &'a str>) -> Hint {
    suggestion(given, candidates).map_or_else(Hint::default, |name| Hint {
        text: format!("did you mean {name:?}?"),
        suggestion: Some(name.to_owned()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_count_characters() {
        let file = SourceFile::new("a", "\u{feff}x\nä€y\r\nz");
        assert_eq!(file.location(0).to_string(), "a:1:1");
        let y = file.text.find('y').unwrap();
        assert_eq!(file.location(y).to_string(), "a:2:3");
        assert_eq!(file.line_at(y), "ä€y");
        assert_eq!(file.location(999).to_string(), "a:3:2");
        assert!(SourceFile::from_bytes("a", b"ok\n\xff").unwrap_err().to_string().starts_with("a:2:1:"));
    }

    #[test]
    fn suggestions_are_near() {
        assert_eq!(suggestion("instance_typ", ["ami_name", "instance_type"]), Some("instance_type"));
        assert_eq!(suggestion("foo", ["ami_name"]), None);
    }
}
