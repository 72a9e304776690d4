//! The parser's tests.

mod dump;

use super::parse_file;
use crate::template::source::SourceFile;

/// The tree, or the complaints.
fn read(text: &str) -> String {
    let file = SourceFile::new("t.pkr.hcl", text);
    let (body, faults) = parse_file(&file);
    if faults.is_empty() { dump::body(&body) } else { lines(&faults) }
}

fn lines(faults: &[crate::domain::diagnostic::Diagnostic]) -> String {
    faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}
