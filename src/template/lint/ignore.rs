//! Comments that switch a rule off: `# ingot:ignore RULE reason` on the line or above it. In JSON, which has no comments, a
//! key such as `"_comment": "ingot:ignore RULE reason"` does the same.

use super::context::Context;
use super::findings::Findings;
use super::model::Place;
use super::rule;
use crate::template::source::{SourceFile, suggestion};

const MARK: &str = "ingot:ignore";

/// One comment.
#[derive(Debug, PartialEq, Eq)]
struct Ignore<'t> {
    rules: Vec<&'t str>,
    has_reason: bool,
    /// In bytes of the file.
    start: usize,
    end: usize,
    /// The line that it is about, from 0.
    line: usize,
}

/// What is switched off in a model's files.
#[derive(Debug, Default)]
pub struct Ignored {
    /// File, line from 1, rule.
    entries: Vec<(usize, u32, String)>,
}

impl Ignored {
    /// Reads the comments of all files. Those that are wrong become findings.
    pub fn read(context: &Context<'_>, findings: &mut Findings) -> Self {
        let mut ignored = Self::default();
        for (index, file) in context.model.files.iter().enumerate() {
            for ignore in comments(file) {
                check(&ignore, index, findings);
                let line = u32::try_from(ignore.line + 1).unwrap_or(u32::MAX);
                let rules = ignore.rules.iter().map(|rule| (index, line, (*rule).to_owned()));
                ignored.entries.extend(rules);
            }
        }
        ignored
    }

    /// Whether a comment switches the rule off on that line, from 1.
    #[must_use]
    pub fn covers(&self, file: usize, line: u32, rule: &str) -> bool {
        self.entries.iter().any(|(at, on, name)| *at == file && *on == line && name == rule)
    }
}

fn check(ignore: &Ignore<'_>, file: usize, findings: &mut Findings) {
    let place = Place { file, start: ignore.start, end: ignore.end };
    let unknown = ignore.rules.iter().find(|id| rule::rule(id).is_none());
    if let Some(unknown) = unknown {
        let near = suggestion(unknown, rule::RULES.iter().map(|rule| rule.id));
        let detail = near.map_or("docs/lint lists the rules".to_owned(), |near| format!("did you mean {near:?}?"));
        findings.add("ignore-comment", place, format!("there is no rule {unknown:?} to ignore"), detail);
    } else if ignore.rules.is_empty() {
        findings.add("ignore-comment", place, "this comment names no rule", format!("write # {MARK} RULE reason"));
    } else if !ignore.has_reason {
        findings.add(
            "ignore-comment",
            place,
            format!("this comment gives no reason to ignore {}", ignore.rules.join(", ")),
            "say after the rule's name why it does not matter here, for the next person who reads it",
        );
    }
}

fn comments(file: &SourceFile) -> Vec<Ignore<'_>> {
    if !file.text.contains(MARK) {
        return Vec::new();
    }
    let lines: Vec<&str> = file.text.split('\n').collect();
    let mut found = Vec::new();
    let mut start_of_line = 0;
    for (number, line) in lines.iter().enumerate() {
        if let Some((at, alone)) = mark(line) {
            let after = &line[at + MARK.len()..];
            let after = after.split(['"', '\r']).next().unwrap_or_default().trim().trim_end_matches("*/");
            let mut words = after.split_whitespace();
            let rules = words.next().unwrap_or_default().split(',').filter(|rule| !rule.is_empty()).collect();
            // A comment of its own is about the next line that is no comment.
            let next = || (number + 1..lines.len()).find(|line| !is_comment(lines[*line])).unwrap_or(number);
            found.push(Ignore {
                rules,
                has_reason: words.next().is_some(),
                start: start_of_line + at,
                end: start_of_line + line.trim_end().len(),
                line: if alone { next() } else { number },
            });
        }
        start_of_line += line.len() + 1;
    }
    found
}

/// Where the mark stands in a comment, and whether the line holds nothing else.
fn mark(line: &str) -> Option<(usize, bool)> {
    let at = line.find(MARK)?;
    let before = line[..at].trim();
    let json = before.ends_with('"') && before.contains("\"_comment");
    let comment = ["#", "//", "/*"].iter().any(|sign| before.ends_with(sign));
    let alone = matches!(before, "#" | "//" | "/*" | "*")
        || (json && before.starts_with(['"', '{', ',']) && is_only_comment(before));
    (comment || json).then_some((at, alone))
}

/// `"_comment…": "` and nothing before.
fn is_only_comment(before: &str) -> bool {
    before.trim_start_matches(['{', ',', ' ', '\t']).starts_with("\"_comment") && before.matches(':').count() == 1
}

fn is_comment(line: &str) -> bool {
    let line = line.trim();
    line.is_empty() || line.starts_with('#') || line.starts_with("//") || line.starts_with("\"_comment")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_are_about_their_line_or_the_next() {
        let file = SourceFile::new(
            "t",
            "a = 1 # ingot:ignore one why\n# ingot:ignore two,three because\n\n# other\nb = \"ingot:ignore four x\"\n  \"_comment\": \"ingot:ignore five\",\n \"c\": 1",
        );
        let found: Vec<(Vec<&str>, usize, bool)> =
            comments(&file).into_iter().map(|ignore| (ignore.rules, ignore.line, ignore.has_reason)).collect();
        assert_eq!(found, [(vec!["one"], 0, true), (vec!["two", "three"], 4, true), (vec!["five"], 6, false)]);
    }
}
