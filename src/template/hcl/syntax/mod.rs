//! HCL2's native syntax, after the specification of hashicorp/hcl (hclsyntax/spec.md) and its parser, which decides where
//! the specification is silent: text → tokens (`lexer`) → tree (`ast`, by `parser`). The parser goes on after a fault, so
//! that one reading finds them all.
//!
//! What a file may do is bounded: see [`parser::MAX_DEPTH`] and [`parser::MAX_HEIGHT`]. The time is linear in the size.

pub mod ast;
pub mod fault;
pub mod lexer;
pub mod parser;
pub mod token;

#[cfg(test)]
mod tests;

use ast::{Body, Expr};
use lexer::Mode;
use parser::Parser;

use crate::domain::diagnostic::Diagnostic;
use crate::template::source::SourceFile;

/// Reads a file of attributes and blocks. Where there are faults, the body holds what could be read.
#[must_use]
pub fn parse_file(file: &SourceFile) -> (Body, Vec<Diagnostic>) {
    let mut parser = Parser::new(&file.text, Mode::Config);
    let body = parser.file();
    (body, parser.into_diagnostics(file))
}

/// Reads one expression; line breaks in it mean nothing.
///
/// # Errors
/// With every fault, in the order of the file.
pub fn parse_expression(file: &SourceFile) -> Result<Expr, Vec<Diagnostic>> {
    let mut parser = Parser::new(&file.text, Mode::Config);
    let expr = parser.only_expression();
    sound(expr, parser.into_diagnostics(file))
}

/// Reads text with `${…}` and `%{…}` that has no quotes around it: a file of `templatefile`, or a string of HCL's JSON
/// syntax.
///
/// # Errors
/// With every fault, in the order of the file.
pub fn parse_template(file: &SourceFile) -> Result<Expr, Vec<Diagnostic>> {
    let mut parser = Parser::new(&file.text, Mode::Template);
    let expr = parser.only_template();
    sound(expr, parser.into_diagnostics(file))
}

fn sound(expr: Expr, faults: Vec<Diagnostic>) -> Result<Expr, Vec<Diagnostic>> {
    if faults.is_empty() { Ok(expr) } else { Err(faults) }
}
