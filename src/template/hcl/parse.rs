//! From files to trees.

use super::syntax::ast::{Body, Expr};
use super::syntax::{parse_expression, parse_file};
use crate::domain::diagnostic::Diagnostic;
use crate::template::json;
use crate::template::source::SourceFile;

/// A parsed file.
#[derive(Debug)]
pub struct HclFile {
    pub source: SourceFile,
    pub body: Body,
}

/// Parses a whole file.
///
/// # Errors
/// With every syntax error, located.
pub fn file(source: SourceFile) -> Result<HclFile, Vec<Diagnostic>> {
    let (body, faults) = tree(&source);
    if faults.is_empty() { Ok(HclFile { source, body }) } else { Err(faults) }
}

/// A file's tree, by its name in the native or in the JSON syntax, with all syntax errors.
#[must_use]
pub fn tree(source: &SourceFile) -> (Body, Vec<Diagnostic>) {
    if source.path.ends_with(".pkr.json") { json::hcl::parse_file(source) } else { parse_file(source) }
}

/// Parses one expression.
///
/// # Errors
/// With the first syntax error, located.
pub fn expression(source: &SourceFile) -> Result<Expr, Box<Diagnostic>> {
    parse_expression(source).map_err(|faults| {
        let first = faults.into_iter().next();
        Box::new(first.unwrap_or_else(|| Diagnostic::error("syntax error").at(Some(source.location(0)))))
    })
}
