//! What formatting changes, as `diff -u` shows it.

use std::fmt::Write;
use std::ops::Range;

/// Unchanged lines shown around a change.
const CONTEXT: usize = 3;

/// The difference between a file and its formatted text, in the form that `packer fmt -diff` prints: `--- old/PATH`,
/// `+++ new/PATH`, and the hunks. Empty when the two are the same.
///
/// Formatting keeps the number of lines, so a line is compared with the one of the same number.
#[must_use]
pub fn unified_diff(path: &str, old: &str, new: &str) -> String {
    if old == new {
        return String::new();
    }
    let old: Vec<&str> = old.split_inclusive('\n').collect();
    let new: Vec<&str> = new.split_inclusive('\n').collect();
    let mut text = format!("--- old/{path}\n+++ new/{path}\n");
    for hunk in hunks(&old, &new) {
        let range = match hunk.len() {
            1 => (hunk.start + 1).to_string(),
            length => format!("{},{length}", hunk.start + 1),
        };
        // Writing to a String does not fail.
        let _ = writeln!(text, "@@ -{range} +{range} @@");
        let mut at = hunk.start;
        while at < hunk.end {
            let same = old[at] == new[at];
            let run = at..(at..hunk.end).find(|line| (old[*line] == new[*line]) != same).unwrap_or(hunk.end);
            if same {
                lines(&mut text, ' ', &old[run.clone()]);
            } else {
                lines(&mut text, '-', &old[run.clone()]);
                lines(&mut text, '+', &new[run.clone()]);
            }
            at = run.end;
        }
    }
    text
}

fn lines(text: &mut String, sign: char, lines: &[&str]) {
    for line in lines {
        text.push(sign);
        text.push_str(line);
        if !line.ends_with('\n') {
            text.push_str("\n\\ No newline at end of file\n");
        }
    }
}

/// Ranges of lines to show: changes with their context, as one where contexts touch.
fn hunks(old: &[&str], new: &[&str]) -> Vec<Range<usize>> {
    let count = old.len().min(new.len());
    let mut hunks: Vec<Range<usize>> = Vec::new();
    for changed in (0..count).filter(|line| old[*line] != new[*line]) {
        let shown = changed.saturating_sub(CONTEXT)..(changed + CONTEXT + 1).min(count);
        match hunks.last_mut() {
            Some(last) if last.end >= shown.start => last.end = shown.end,
            _ => hunks.push(shown),
        }
    }
    hunks
}
