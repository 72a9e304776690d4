//! Faults while they are collected: places are offsets, and become lines and columns at the end only.

use super::ast::Span;
use crate::domain::diagnostic::{Diagnostic, Hint, Position};
use crate::template::source::SourceFile;

/// More faults than this in one file are not told: nobody reads them, and a hostile file has a million.
const MAX_FAULTS: usize = 100;

#[derive(Debug)]
struct Fault {
    span: Span,
    summary: String,
    detail: Hint,
    /// Found while the text was cut into tokens: what follows on its line is cut wrongly.
    lexical: bool,
}

/// The faults of one file.
#[derive(Debug, Default)]
pub struct Faults {
    found: Vec<Fault>,
    full: bool,
    /// Whether the text ends inside a string or heredoc, which has swallowed all closing brackets after it.
    swallowed: bool,
}

impl Faults {
    /// Notes a fault of the grammar. A second one at the same place says the same in other words, and is dropped.
    pub fn report(&mut self, span: Span, summary: impl Into<String>, detail: impl Into<Hint>) {
        self.push(Fault { span, summary: summary.into(), detail: detail.into(), lexical: false });
    }

    /// Notes a fault of the text's tokens.
    pub fn report_lexical(&mut self, span: Span, summary: impl Into<String>, detail: impl Into<Hint>) {
        self.push(Fault { span, summary: summary.into(), detail: detail.into(), lexical: true });
    }

    /// Drops the faults behind an offset: the text there is cut into tokens once more.
    pub fn forget_after(&mut self, offset: usize) {
        self.found.retain(|fault| fault.span.start as usize <= offset);
    }

    /// Notes that the text ends inside a string or heredoc.
    pub fn swallow(&mut self) {
        self.swallowed = true;
    }

    /// Whether brackets that are not closed are nobody's fault but an unclosed string's.
    #[must_use]
    pub fn swallowed(&self) -> bool {
        self.swallowed
    }

    fn push(&mut self, fault: Fault) {
        let known = self.found.iter().any(|other| other.span.start == fault.span.start && !other.lexical);
        if known || self.full {
            return;
        }
        self.full = self.found.len() + 1 >= MAX_FAULTS;
        self.found.push(fault);
    }

    /// Whether no more are taken, and looking for more is in vain.
    #[must_use]
    pub fn full(&self) -> bool {
        self.full
    }

    /// Takes no more.
    pub fn close(&mut self) {
        self.full = true;
    }

    /// The faults in the order of the file. Of a line with a lexical fault only the first fault counts: the others come
    /// of it.
    #[must_use]
    pub fn into_diagnostics(mut self, file: &SourceFile) -> Vec<Diagnostic> {
        self.found.sort_by_key(|fault| fault.span.start);
        let mut diagnostics = Vec::new();
        let mut line = None;
        let mut spoiled = false;
        for fault in self.found {
            let start = file.line_start(fault.span.start as usize);
            let first = line != Some(start);
            if first {
                spoiled = false;
            }
            if first || !(spoiled || fault.lexical) {
                diagnostics.push(located(file, fault.span, fault.summary, fault.detail));
            }
            spoiled |= fault.lexical;
            line = Some(start);
        }
        diagnostics
    }
}

fn located(file: &SourceFile, span: Span, summary: String, detail: Hint) -> Diagnostic {
    let end = file.location(span.end as usize);
    Diagnostic::error(summary)
        .with_detail(detail)
        .at(Some(file.location(span.start as usize)))
        .until(Some(Position { line: end.line, column: end.column }))
}
