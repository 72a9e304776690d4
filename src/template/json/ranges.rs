//! Where things are in a JSON text, worked out again from a place: for complaints, which keep only where they begin.

use super::tree::Span;
use crate::domain::diagnostic::{Diagnostic, Position, SourceLocation};
use crate::template::source::SourceFile;

/// Complaints whose ends are looked up; more than that nobody reads.
const MAX_FILLED: usize = 1000;

/// Turns offsets into places, quickly when they come in the order of the text.
pub struct Cursor<'s> {
    source: &'s SourceFile,
    offset: usize,
    line: u32,
    column: u32,
}

impl<'s> Cursor<'s> {
    #[must_use]
    pub fn new(source: &'s SourceFile) -> Self {
        Self { source, offset: 0, line: 1, column: 1 }
    }

    /// The place of an offset.
    pub fn at(&mut self, offset: usize) -> SourceLocation {
        let text = &self.source.text;
        let offset = offset.min(text.len());
        let (mut line, mut column) = (self.line, self.column);
        match text.get(self.offset..offset) {
            Some(passed) => {
                for character in passed.chars() {
                    if character == '\n' {
                        line = line.saturating_add(1);
                        column = 1;
                    } else {
                        column = column.saturating_add(1);
                    }
                }
            }
            None => return self.source.location(offset),
        }
        (self.offset, self.line, self.column) = (offset, line, column);
        SourceLocation { file: self.source.path.clone(), line, column }
    }

    /// Where a range begins and ends.
    pub fn range(&mut self, span: Span) -> (SourceLocation, Position) {
        let at = self.at(span.start);
        let end = self.at(span.end.max(span.start));
        (at, Position { line: end.line, column: end.column })
    }
}

/// Gives complaints about this file that don't say where they end the end of the string, number or word at their place.
pub fn fill(source: &SourceFile, complaints: &mut [Diagnostic]) {
    for complaint in complaints.iter_mut().filter(|complaint| complaint.end.is_none()).take(MAX_FILLED) {
        complaint.end = complaint.at.as_ref().and_then(|at| end(source, at));
    }
}

/// Where the string, number or word ends that begins at a place; for a bracket, after it.
#[must_use]
pub fn end(source: &SourceFile, at: &SourceLocation) -> Option<Position> {
    let offset = offset(source, at)?;
    Some(position(source, token_end(&source.text, offset)))
}

/// The places of a range of the text that the string at `at` holds; the range counts bytes of the text that the escapes
/// stand for. `None` when no string is there.
#[must_use]
pub fn inside(
    source: &SourceFile,
    at: &SourceLocation,
    start: usize,
    end: usize,
) -> Option<(SourceLocation, Position)> {
    let quote = offset(source, at)?;
    let body = source.text.get(quote..)?.strip_prefix('"')?;
    let from = quote + 1 + source_offset(body, start);
    let to = quote + 1 + source_offset(body, end.max(start + 1));
    Some((source.location(from), position(source, to)))
}

/// A place as a complaint's end.
#[must_use]
pub fn position(source: &SourceFile, offset: usize) -> Position {
    let at = source.location(offset);
    Position { line: at.line, column: at.column }
}

/// The byte offset of a place, when it is in this file.
#[must_use]
pub fn offset(source: &SourceFile, at: &SourceLocation) -> Option<usize> {
    if at.file != source.path {
        return None;
    }
    offset_of(source, Position { line: at.line, column: at.column })
}

/// The byte offset of a line and column.
#[must_use]
pub fn offset_of(source: &SourceFile, at: Position) -> Option<usize> {
    let line = source.line_offset(at.line)?;
    let column = usize::try_from(at.column).ok()?.checked_sub(1)?;
    let text = &source.text[line..];
    // Looking at each character of one long line takes its time.
    if text.get(..column).is_some_and(str::is_ascii) {
        return Some(line + column);
    }
    Some(line + text.char_indices().nth(column).map_or(text.len(), |(offset, _)| offset))
}

/// Where the token that begins at an offset ends; one character for brackets.
fn token_end(text: &str, offset: usize) -> usize {
    let rest = &text[offset..];
    let Some(first) = rest.chars().next() else { return offset };
    let word = |c: char| c.is_alphanumeric() || matches!(c, '-' | '+' | '.' | '_');
    if first == '"' {
        let mut escaped = false;
        for (at, character) in rest.char_indices().skip(1) {
            match character {
                '\n' => return offset + at,
                '"' if !escaped => return offset + at + 1,
                _ => escaped = character == '\\' && !escaped,
            }
        }
        return text.len();
    }
    if word(first) {
        return offset + rest.find(|c| !word(c)).unwrap_or(rest.len());
    }
    offset + first.len_utf8()
}

/// The way from the bytes of a string's value to where they are written.
pub struct StringMap {
    /// Where the value begins in the file.
    base: usize,
    /// For each byte of the value, and for its end, its offset from `base`; empty where nothing is escaped.
    offsets: Vec<usize>,
}

impl StringMap {
    /// The map of the string whose quote is at an offset. The first `skipped` bytes of its value don't count.
    #[must_use]
    pub fn new(text: &str, quote: usize, skipped: usize) -> Self {
        let base = quote + 1;
        let body = text.get(base..).unwrap_or_default();
        let end = token_end(text, quote).saturating_sub(base + 1);
        if !body.get(..end).unwrap_or_default().contains('\\') {
            return Self { base: base + skipped, offsets: Vec::new() };
        }
        let mut offsets = Vec::new();
        let mut at = 0;
        while at < end {
            let Some(character) = body[at..].chars().next() else { break };
            let (length, bytes) =
                if character == '\\' { escape(&body[at..]) } else { (character.len_utf8(), character.len_utf8()) };
            offsets.extend(std::iter::repeat_n(at, bytes));
            at += length;
        }
        offsets.push(at);
        Self { base, offsets: offsets.split_off(skipped.min(offsets.len())) }
    }

    /// Where a byte of the value is written.
    #[must_use]
    pub fn offset(&self, value: usize) -> usize {
        let last = self.offsets.last().copied().unwrap_or(value);
        self.base + self.offsets.get(value).copied().unwrap_or(last)
    }
}

/// Where in a string's source (after its quote) the byte `wanted` of its value is.
fn source_offset(body: &str, wanted: usize) -> usize {
    let mut value = 0;
    let mut at = 0;
    while value < wanted {
        let Some(character) = body[at..].chars().next() else { break };
        match character {
            '"' | '\n' => break,
            '\\' => {
                let (length, bytes) = escape(&body[at..]);
                at += length;
                value += bytes;
            }
            other => {
                at += other.len_utf8();
                value += other.len_utf8();
            }
        }
    }
    at
}

/// The length of the escape that stands here, and how many bytes of value it is.
fn escape(text: &str) -> (usize, usize) {
    let unit = |text: &str| {
        text.strip_prefix("\\u").and_then(|rest| rest.get(..4)).and_then(|hex| u32::from_str_radix(hex, 16).ok())
    };
    let Some(first) = unit(text) else {
        return (1 + text[1..].chars().next().map_or(0, char::len_utf8), 1);
    };
    let second = text.get(6..).and_then(unit).filter(|second| (0xdc00..0xe000).contains(second));
    if (0xd800..0xdc00).contains(&first) && second.is_some() {
        return (12, 4);
    }
    (6, char::from_u32(first).map_or(3, char::len_utf8))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_found_through_escapes() {
        let source = SourceFile::new("t.json", "{\n \"a\": \"ä\\n\\ud83d\\ude00{{ x }}\", \"b\": 12\n}");
        let at = SourceLocation { file: "t.json".into(), line: 2, column: 7 };
        // ä is two bytes, the line break one, the face four.
        let (from, to) = inside(&source, &at, 7, 14).unwrap();
        let line = source.text.lines().nth(1).unwrap();
        let cut: String =
            line.chars().skip(from.column as usize - 1).take((to.column - from.column) as usize).collect();
        assert_eq!(cut, "{{ x }}");
        let number = SourceLocation { file: "t.json".into(), line: 2, column: 38 };
        let mut complaints = vec![Diagnostic::error("x").at(Some(number)), Diagnostic::error("y").at(Some(at))];
        fill(&source, &mut complaints);
        assert_eq!(complaints[1].end, Some(Position { line: 2, column: 31 }));
        assert_eq!(complaints[0].end.map(|end| end.column), u32::try_from(line.chars().count() + 1).ok());
    }

    proptest::proptest! {
        #[test]
        fn ranges_never_panic(text in "[\\[\\]{},:\"\\\\ud8c0-9ä \n-]{0,40}", line in 0u32..4, column in 0u32..40, from in 0usize..50, to in 0usize..50) {
            let source = SourceFile::new("t", &text);
            let at = SourceLocation { file: "t".into(), line, column };
            let _ = inside(&source, &at, from, to);
            fill(&source, &mut [Diagnostic::error("x").at(Some(at))]);
        }
    }
}
