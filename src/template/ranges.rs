//! The source line of each complaint, and where what it marks ends when whoever complains did not know.

use std::collections::HashMap;

use super::hcl::syntax::ast::{Body, Expr, ExprKind, Item, ObjectKey, Span};
use super::hcl::syntax::parse_file;
use super::hcl::walk::walk;
use super::json;
use super::source::SourceFile;
use crate::domain::bundle::Bundle;
use crate::domain::diagnostic::Diagnostic;

/// The longest source line that is kept, in characters; longer ones are cut.
const MAX_LINE: usize = 400;

/// Fills in `source_line`, and `end` where a token of the file begins at the place.
pub fn fill(complaints: &mut [Diagnostic], bundle: &Bundle) {
    let mut files: HashMap<String, Option<SourceFile>> = HashMap::new();
    let mut ends: HashMap<String, HashMap<(u32, u32), u32>> = HashMap::new();
    for complaint in complaints {
        let Some(at) = complaint.at.clone() else {
            continue;
        };
        let file = files.entry(at.file.clone()).or_insert_with(|| {
            let bytes = &bundle.get(&at.file)?.bytes;
            std::str::from_utf8(bytes).ok().map(|text| SourceFile::new(&at.file, text))
        });
        let Some(file) = file else { continue };
        if complaint.source_line.is_none() {
            complaint.source_line = file.line(at.line).map(|line| line.chars().take(MAX_LINE).collect());
        }
        if complaint.end.is_none() && has_hcl_name(&at.file) {
            let ends = ends.entry(at.file.clone()).or_insert_with(|| known_ends(file));
            if let Some(end) = ends.get(&(at.line, at.column)) {
                complaint.end = Some(file.position(*end as usize));
            }
        }
        if complaint.end.is_none() && has_json_name(&at.file) {
            complaint.end = json::ranges::end(file, &at);
        }
    }
}

#[expect(clippy::case_sensitive_file_extension_comparisons, reason = "Packer knows its files by lower-case endings")]
fn has_hcl_name(path: &str) -> bool {
    path.ends_with(".hcl")
}

#[expect(clippy::case_sensitive_file_extension_comparisons, reason = "Packer knows its files by lower-case endings")]
fn has_json_name(path: &str) -> bool {
    path.ends_with(".json")
}

/// For each place where something begins that a complaint can be about, where it ends: a name, a label, or the largest
/// expression that begins there.
fn known_ends(file: &SourceFile) -> HashMap<(u32, u32), u32> {
    let mut spans = Vec::new();
    body(&parse_file(file).0, &mut spans);
    let mut ends = HashMap::new();
    for span in spans {
        let at = file.location(span.start as usize);
        ends.entry((at.line, at.column)).or_insert(span.end);
    }
    ends
}

fn body(body_: &Body, spans: &mut Vec<Span>) {
    for item in &body_.items {
        match item {
            Item::Attribute(attribute) => {
                spans.push(attribute.name.span);
                expression(&attribute.value, spans);
            }
            Item::Block(block) => {
                let last = block.labels.last().map_or(block.kind.span, |label| label.span);
                spans.push(block.kind.span.to(last));
                spans.extend(block.labels.iter().map(|label| label.span));
                body(&block.body, spans);
            }
        }
    }
}

fn expression(expr: &Expr, spans: &mut Vec<Span>) {
    walk(expr, &mut |inner| {
        if let ExprKind::Object(items) = &inner.kind {
            spans.push(inner.span);
            for item in items {
                if let ObjectKey::Name(name) = &item.key {
                    spans.push(name.span);
                }
            }
        } else {
            spans.push(inner.span);
        }
    });
}
