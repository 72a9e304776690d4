//! What `packer console` does with a line: it is an expression over the template's variables, locals and data sources.

use super::files::{self, Template};
use super::hcl::config::{self, Scene};
use super::hcl::eval::Evaluator;
use super::hcl::syntax::parse_expression;
use super::json::{template, user};
use super::legacy::early::{self, Early, NOW};
use super::print::printed;
use super::runtime::Runtime;
use super::source::SourceFile;
use super::{Request, finish, stack};
use crate::domain::diagnostic::{Diagnostic, Position};

/// The file name of complaints about the line itself.
pub const INPUT: &str = "<console-input>";

/// Evaluates a line as `packer console` prints the result. A bundle without files is an empty template. With a
/// JSON template, or with none and `{{` in the line, the line is a text with actions. What is sensitive is hidden.
///
/// # Errors
/// With what is wrong with the template or with the line.
pub fn eval(request: &Request<'_>, line: &str) -> Result<String, Vec<Diagnostic>> {
    stack::with_room(|| eval_here(request, line))
}

fn eval_here(request: &Request<'_>, line: &str) -> Result<String, Vec<Diagnostic>> {
    let files = match read(request)? {
        Some(Template::Hcl2(files)) => files,
        Some(Template::Json(source)) => return legacy(Some(&source), request, line),
        None if line.contains("{{") => return legacy(None, request, line),
        None => Vec::new(),
    };
    let runtime = Runtime::new(request);
    let mut complaints = Vec::new();
    let Scene { globals, variables, .. } = config::scene(&files, request, &runtime, &mut complaints);
    let source = SourceFile::new(INPUT, line);
    if complaints.iter().all(|complaint| !complaint.is_error()) {
        match parse_expression(&source) {
            Err(mut faults) => complaints.append(&mut faults),
            Ok(expr) => match Evaluator::new(&source, &runtime, &globals).value(&expr) {
                Err(fault) => complaints.push(*fault),
                Ok(value) if value.is_marked() => return Ok("<sensitive>".to_owned()),
                Ok(value) => {
                    let mut text = printed(&value);
                    if value.is_sensitive() {
                        super::hide_in(&mut text, &variables.sensitive_values);
                    }
                    return Ok(text);
                }
            },
        }
    }
    Err(refused(complaints, &variables.sensitive_values, request, line))
}

/// The errors, as they are told.
fn refused(complaints: Vec<Diagnostic>, secrets: &[String], request: &Request<'_>, line: &str) -> Vec<Diagnostic> {
    let mut complaints = finish(complaints, secrets, request.bundle);
    complaints.retain(Diagnostic::is_error);
    for complaint in complaints.iter_mut().filter(|complaint| complaint.at.as_ref().is_some_and(|at| at.file == INPUT))
    {
        complaint.source_line = Some(line.to_owned());
    }
    complaints
}

/// The template; `None` for a bundle without files.
fn read(request: &Request<'_>) -> Result<Option<Template>, Vec<Diagnostic>> {
    if request.bundle.is_empty() { Ok(None) } else { files::load(request.bundle).map(Some) }
}

/// With a JSON template a line is a text with actions, as the template's own strings are.
fn legacy(source: Option<&SourceFile>, request: &Request<'_>, line: &str) -> Result<String, Vec<Diagnostic>> {
    let runtime = Runtime::new(request);
    let mut complaints = Vec::new();
    let variables = match source {
        Some(source) => {
            let template = template::read(source, &mut complaints)?;
            Some(user::evaluate(&template, source, request, &runtime, &mut complaints))
        }
        None => None,
    };
    let secrets = variables.as_ref().map(|variables| variables.sensitive_values.as_slice()).unwrap_or_default();
    if !complaints.iter().any(Diagnostic::is_error) {
        let mut early = Early::new(&runtime, "", "");
        early.user = variables.as_ref().map(|variables| &variables.values);
        early.faulty = variables.as_ref().map(|variables| &variables.faulty);
        match early::render(line, &early, NOW) {
            Ok(mut text) => {
                super::hide_in(&mut text, secrets);
                return Ok(text);
            }
            Err(fault) => {
                let input = SourceFile::new(INPUT, line);
                let end = input.location(fault.end);
                let diagnostic = Diagnostic::error(fault.message).with_detail(fault.hint);
                let end = Position { line: end.line, column: end.column };
                complaints.push(diagnostic.at(Some(input.location(fault.offset))).until(Some(end)));
            }
        }
    }
    Err(refused(complaints, secrets, request, line))
}
