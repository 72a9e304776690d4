//! What `packer console` does with a line: it is an expression over the template's variables, locals and data sources.

use super::files::{self, Template};
use super::hcl::config::{self, Scene};
use super::hcl::eval::Evaluator;
use super::hcl::parse::HclFile;
use super::hcl::syntax::parse_expression;
use super::print::printed;
use super::runtime::Runtime;
use super::source::SourceFile;
use super::{Request, hide, stack};
use crate::domain::diagnostic::Diagnostic;

/// The file name of complaints about the line itself.
pub const INPUT: &str = "<console-input>";

/// Evaluates a line as `packer console` prints the result. A bundle without files is an empty template. What is sensitive
/// is hidden.
///
/// # Errors
/// With what is wrong with the template or with the line.
pub fn eval(request: &Request<'_>, line: &str) -> Result<String, Vec<Diagnostic>> {
    stack::with_room(|| eval_here(request, line))
}

fn eval_here(request: &Request<'_>, line: &str) -> Result<String, Vec<Diagnostic>> {
    let files = read(request)?;
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
    hide(&mut complaints, &variables.sensitive_values);
    complaints.retain(Diagnostic::is_error);
    Err(complaints)
}

fn read(request: &Request<'_>) -> Result<Vec<HclFile>, Vec<Diagnostic>> {
    if request.bundle.is_empty() {
        return Ok(Vec::new());
    }
    match files::load(request.bundle)? {
        Template::Hcl2(files) => Ok(files),
        Template::Json(_) => Err(vec![
            Diagnostic::error("the console evaluates HCL2 expressions, and this is a legacy JSON template")
                .with_detail("hcl2_upgrade turns it into HCL2"),
        ]),
    }
}
