//! What formatting changes, as `diff -u` shows it: `packer fmt -diff` calls that program.

mod compare;
mod rare;

use std::fmt::Write;
use std::ops::Range;

/// Unchanged lines shown around a change.
const CONTEXT: usize = 3;

/// Lines of the old text, and the lines of the new text in their place.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Change {
    old: Range<usize>,
    new: Range<usize>,
}

/// The difference between a file and its formatted text, in the form that `packer fmt -diff` prints: `--- old/PATH`,
/// `+++ new/PATH`, and the hunks. Empty when the two are the same.
#[must_use]
pub fn unified_diff(path: &str, old: &str, new: &str) -> String {
    let old: Vec<&str> = old.split_inclusive('\n').collect();
    let new: Vec<&str> = new.split_inclusive('\n').collect();
    let changes = compare::changes(&old, &new);
    if changes.is_empty() {
        return String::new();
    }
    let mut text = format!("--- old/{path}\n+++ new/{path}\n");
    // Changes whose contexts touch are one hunk.
    for hunk in changes.chunk_by(|one, next| next.old.start - one.old.end <= 2 * CONTEXT) {
        write_hunk(&mut text, hunk, &old, &new);
    }
    text
}

fn write_hunk(text: &mut String, hunk: &[Change], old: &[&str], new: &[&str]) {
    let (Some(first), Some(last)) = (hunk.first(), hunk.last()) else { return };
    let before = first.old.start.min(CONTEXT);
    let after = (old.len() - last.old.end).min(CONTEXT);
    let old_range = first.old.start - before..last.old.end + after;
    let new_range = first.new.start - before..last.new.end + after;
    // Writing to a String does not fail.
    let _ = writeln!(text, "@@ -{} +{} @@", place(&old_range), place(&new_range));
    let mut at = old_range.start;
    for change in hunk {
        write_lines(text, ' ', &old[at..change.old.start]);
        write_lines(text, '-', &old[change.old.clone()]);
        write_lines(text, '+', &new[change.new.clone()]);
        at = change.old.end;
    }
    write_lines(text, ' ', &old[at..old_range.end]);
}

/// First line and number of lines; a range without lines is behind a line.
fn place(range: &Range<usize>) -> String {
    match range.len() {
        0 => format!("{},0", range.start),
        1 => (range.start + 1).to_string(),
        length => format!("{},{length}", range.start + 1),
    }
}

fn write_lines(text: &mut String, sign: char, lines: &[&str]) {
    for line in lines {
        text.push(sign);
        text.push_str(line);
        if !line.ends_with('\n') {
            text.push_str("\n\\ No newline at end of file\n");
        }
    }
}
