//! Complaints as a person reads them, in the manner of rustc: what is wrong, where, the source line with the place marked,
//! and what to do.

use std::fmt::Write as _;
use std::io::IsTerminal as _;

use super::complaint::{Complaint, Sources};
use super::screen::{ColorChoice, wants_color};
use crate::domain::diagnostic::Severity;

/// Of a source line, characters shown at most: what is longer is cut around the marked place.
const WIDTH: usize = 120;
/// Characters shown before the marked place of a line that is cut.
const BEFORE: usize = 40;
/// A tab's width. A terminal's own tab stops would move the marks away from what they mark.
const TAB: &str = "    ";

/// ANSI codes.
const RED: &str = "1;31";
const YELLOW: &str = "1;33";
const BLUE: &str = "1;34";
const CYAN: &str = "1;36";
const BOLD: &str = "1";

/// Renders complaints.
#[derive(Debug, Clone, Copy)]
pub struct Renderer<'a> {
    /// Where source lines are looked up when a complaint has none.
    pub sources: &'a Sources,
    pub color: bool,
}

/// Whether complaints of commands without a choice of their own are coloured.
#[must_use]
pub fn color_of_complaints() -> bool {
    wants_color(ColorChoice::Auto, std::io::stderr().is_terminal())
}

/// The source line, cut and without tabs, and where its marks are, in characters from 0.
struct Quote {
    text: String,
    from: usize,
    marks: usize,
}

impl Renderer<'_> {
    /// All complaints, an empty line after each.
    #[must_use]
    pub fn all(&self, complaints: &[Complaint]) -> String {
        complaints.iter().map(|complaint| self.one(complaint) + "\n").collect()
    }

    /// One complaint, with a newline at its end.
    #[must_use]
    pub fn one(&self, complaint: &Complaint) -> String {
        let (word, color) = match complaint.severity() {
            Severity::Error => ("error", RED),
            Severity::Warning => ("warning", YELLOW),
            Severity::Info => ("info", CYAN),
        };
        let word = match &complaint.rule {
            Some(rule) => format!("{word}[{}]", clean(rule)),
            None => word.to_owned(),
        };
        let message = clean(&complaint.message);
        let mut lines = message.lines();
        let mut text = self.painted(color, &word);
        let headline = format!(": {}\n", lines.next().unwrap_or_default());
        text.push_str(&self.painted_line(BOLD, &headline));
        for line in lines {
            let _ = writeln!(text, "  {line}");
        }
        let gutter = complaint.line.map_or(1, |line| line.to_string().len());
        let blank = " ".repeat(gutter);
        if let Some(file) = &complaint.file {
            let place: String = [complaint.line, complaint.column]
                .into_iter()
                .flatten()
                .fold(clean(file), |text, n| format!("{text}:{n}"));
            let _ = writeln!(text, "{blank}{} {place}", self.painted(BLUE, "-->"));
        }
        let bar = self.painted(BLUE, "|");
        let quote = self.quote(complaint);
        if let (Some(quote), Some(line)) = (&quote, complaint.line) {
            let number = self.painted(BLUE, &line.to_string());
            let marks = self.painted(color, &"^".repeat(quote.marks));
            let _ = writeln!(text, "{blank} {bar}");
            let _ = writeln!(text, "{number} {bar} {}", quote.text);
            let _ = writeln!(text, "{blank} {bar} {}{marks}", " ".repeat(quote.from));
        }
        let help = help(complaint);
        if !help.is_empty() && quote.is_some() {
            let _ = writeln!(text, "{blank} {bar}");
        }
        for help in help {
            let mut lines = help.lines();
            let first = lines.next().unwrap_or_default();
            let _ = writeln!(text, "{blank} {} {}: {first}", self.painted(BLUE, "="), self.painted(BOLD, "help"));
            for line in lines {
                let _ = writeln!(text, "{blank}         {line}");
            }
        }
        text
    }

    /// The last line: what came of it.
    #[must_use]
    pub fn closing(&self, words: &str) -> String {
        self.painted(RED, "error") + &self.painted_line(BOLD, &format!(": {}\n", clean(words)))
    }

    /// The source line with its marks, when the line is known.
    fn quote(&self, complaint: &Complaint) -> Option<Quote> {
        let number = complaint.line?;
        let from_file = || {
            let source = self.sources.get(complaint.file.as_deref()?)?;
            let source = source.strip_prefix('\u{feff}').unwrap_or(source);
            source.lines().nth(usize::try_from(number).ok()?.checked_sub(1)?)
        };
        let line = complaint.source_line.as_deref().or_else(from_file)?;
        let characters: Vec<char> = line.trim_end().chars().collect();
        let position = |column: u32| usize::try_from(column).unwrap_or(usize::MAX).saturating_sub(1);
        let from = complaint.column.map_or(0, position).min(characters.len());
        let to = match (complaint.end_line, complaint.end_column) {
            (Some(line), Some(column)) if line == number => position(column).min(characters.len()),
            // The rest of it is on later lines.
            (Some(line), Some(_)) if line > number => characters.len(),
            _ => from + word(&characters[from..]),
        };
        Some(cut(&characters, from, to.max(from + 1)))
    }

    fn painted(&self, color: &str, text: &str) -> String {
        if self.color { format!("\u{1b}[{color}m{text}\u{1b}[0m") } else { text.to_owned() }
    }

    /// As `painted`, of a text with a newline at its end.
    fn painted_line(&self, color: &str, text: &str) -> String {
        self.painted(color, text.trim_end_matches('\n')) + "\n"
    }
}

/// How many characters to mark where only a place is known: the name or string that begins there.
fn word(rest: &[char]) -> usize {
    let is_name = |c: &char| c.is_alphanumeric() || matches!(c, '_' | '-');
    match rest.first() {
        Some('"') => rest.iter().skip(1).position(|c| *c == '"').map_or(1, |end| end + 2),
        Some(first) if is_name(first) => rest.iter().take_while(|c| is_name(c)).count(),
        _ => 1,
    }
}

/// A window of the line around its marks.
fn cut(line: &[char], from: usize, to: usize) -> Quote {
    let is_cut = line.len() > WIDTH;
    let start = if is_cut { from.saturating_sub(BEFORE) } else { 0 };
    let end = (start + WIDTH).min(line.len());
    let show = |part: &[char]| {
        part.iter().map(|c| if *c == '\t' { TAB.to_owned() } else { clean(&c.to_string()) }).collect::<String>()
    };
    let width = |part: &[char]| show(part).chars().count();
    let (left, right) = (if start > 0 { "…" } else { "" }, if end < line.len() { "…" } else { "" });
    let before = &line[start..from.min(end)];
    let marked = &line[from.min(end)..to.min(end)];
    Quote {
        text: format!("{left}{}{right}", show(&line[start..end])),
        from: left.chars().count() + width(before),
        marks: width(marked).max(1),
    }
}

/// What to do: the detail, and the nearest name when the detail does not say it already.
fn help(complaint: &Complaint) -> Vec<String> {
    let detail = complaint.detail.as_deref().map(clean).filter(|detail| !detail.trim().is_empty());
    let suggestion = complaint.suggestion.as_deref().map(clean);
    let unsaid = suggestion.filter(|name| !detail.as_ref().is_some_and(|detail| detail.contains(name.as_str())));
    detail.into_iter().chain(unsaid.map(|name| format!("did you mean {name:?}?"))).collect()
}

/// Text of others, without what would move a terminal's cursor.
#[must_use]
pub fn clean(text: &str) -> String {
    text.chars().filter(|c| !c.is_control() || matches!(c, '\t' | '\n')).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complaint(message: &str, line: u32, column: u32) -> Complaint {
        Complaint {
            message: message.into(),
            file: Some("web.pkr.hcl".into()),
            line: Some(line),
            column: Some(column),
            severity: Some(Severity::Error),
            ..Complaint::default()
        }
    }

    fn rendered(complaints: &[Complaint]) -> String {
        let text = "source \"amazon-ebs\" \"web\" {\n\tregion = regoin\n}\n".to_owned();
        let sources = Sources::from([("web.pkr.hcl".to_owned(), text)]);
        Renderer { sources: &sources, color: false }.all(complaints)
    }

    #[test]
    fn a_range_is_marked_and_the_help_follows() {
        let unknown = Complaint {
            end_line: Some(2),
            end_column: Some(17),
            detail: Some("did you mean \"region\"?".into()),
            suggestion: Some("region".into()),
            ..complaint("there is no variable or function \"regoin\"", 2, 11)
        };
        let lint = Complaint {
            severity: Some(Severity::Warning),
            rule: Some("stob-missing".into()),
            detail: Some("add a tag\nsuch as Git-SHA".into()),
            end_line: Some(3),
            end_column: Some(2),
            ..complaint("the image does not say its commit", 1, 1)
        };
        let nowhere =
            Complaint { suggestion: Some("greeting".into()), ..Complaint::error("no variable \"greting\"", "") };
        insta::assert_snapshot!(rendered(&[unknown, lint, nowhere]), @r#"
        error: there is no variable or function "regoin"
         --> web.pkr.hcl:2:11
          |
        2 |     region = regoin
          |              ^^^^^^
          |
          = help: did you mean "region"?

        warning[stob-missing]: the image does not say its commit
         --> web.pkr.hcl:1:1
          |
        1 | source "amazon-ebs" "web" {
          | ^^^^^^^^^^^^^^^^^^^^^^^^^^^
          |
          = help: add a tag
                  such as Git-SHA

        error: no variable "greting"
          = help: did you mean "greeting"?
        "#);
    }

    #[test]
    fn its_own_source_line_comes_before_the_files() {
        let masked =
            Complaint { source_line: Some("  password = <sensitive>".into()), ..complaint("too short", 120, 3) };
        insta::assert_snapshot!(rendered(&[masked]), @r"
        error: too short
           --> web.pkr.hcl:120:3
            |
        120 |   password = <sensitive>
            |   ^^^^^^^^
        ");
    }

    #[test]
    fn places_outside_the_file_quote_what_there_is() {
        assert_eq!(
            rendered(&[complaint("a } is missing\u{1b}[2J", 9, 1)]),
            "error: a } is missing[2J\n --> web.pkr.hcl:9:1\n\n"
        );
        let past = rendered(&[complaint("x", 3, 40)]);
        assert!(past.contains("3 | }\n  |  ^\n"), "{past}");
        assert!(!rendered(&[complaint("x", 0, 1)]).contains('|'));
    }

    #[test]
    fn a_long_line_is_cut_around_the_place() {
        let line = format!("{}bad{}", "a".repeat(3000), "b".repeat(3000));
        let long =
            Complaint { source_line: Some(line), end_line: Some(1), end_column: Some(3004), ..complaint("x", 1, 3001) };
        let text = rendered(&[long]);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[3], format!("1 | …{}bad{}…", "a".repeat(40), "b".repeat(77)));
        assert_eq!(lines[4], format!("  | {}^^^", " ".repeat(41)));
    }

    #[test]
    fn colours_are_closed_on_each_line() {
        let text = Renderer { sources: &Sources::new(), color: true }.one(&complaint("x", 1, 1));
        assert_eq!(
            text,
            "\u{1b}[1;31merror\u{1b}[0m\u{1b}[1m: x\u{1b}[0m\n \u{1b}[1;34m-->\u{1b}[0m web.pkr.hcl:1:1\n"
        );
        let closing = Renderer { sources: &Sources::new(), color: true }.closing("two errors");
        assert_eq!(closing, "\u{1b}[1;31merror\u{1b}[0m\u{1b}[1m: two errors\u{1b}[0m\n");
    }
}
