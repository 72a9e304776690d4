//! The parser's tests: trees, complaints, bounds, and what holds for any text.

mod complaints;
mod dump;
mod properties;
mod trees;

use super::{parse_expression, parse_file, parse_template};
use crate::domain::diagnostic::Diagnostic;
use crate::template::source::SourceFile;

/// The tree of a file without faults.
fn tree(text: &str) -> String {
    let (body, faults) = parse_file(&SourceFile::new("t.pkr.hcl", text));
    assert!(faults.is_empty(), "{text}\n{}", lines(&faults));
    dump::body(&body)
}

/// The tree of an expression without faults.
fn expression(text: &str) -> String {
    match parse_expression(&SourceFile::new("t", text)) {
        Ok(expr) => dump::expr(&expr),
        Err(faults) => panic!("{text}\n{}", lines(&faults)),
    }
}

/// The tree of a text without quotes.
fn template(text: &str) -> String {
    match parse_template(&SourceFile::new("t", text)) {
        Ok(expr) => dump::expr(&expr),
        Err(faults) => panic!("{text}\n{}", lines(&faults)),
    }
}

/// What is said about a file.
fn complaints(text: &str) -> String {
    let (_, faults) = parse_file(&SourceFile::new("t.pkr.hcl", text));
    assert!(!faults.is_empty(), "{text} should be refused");
    lines(&faults)
}

fn lines(faults: &[Diagnostic]) -> String {
    faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}
