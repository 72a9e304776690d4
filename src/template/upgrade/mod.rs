//! From a legacy JSON template to HCL2, as Packer's `hcl2_upgrade` (1.16) lays it out: variables, locals, data sources,
//! sources and one build. Where what Packer writes would not do the same as the template, this writes what does:
//! `only`, `except` and `override` name the new sources, options that are blocks are blocks, `env` in a local goes through
//! a variable, and the arguments of `replace` keep their order. Start at [`upgrade`].

mod actions;
mod annotations;
mod body;
mod components;
mod names;
mod text;
mod variables;

#[cfg(test)]
mod tests;

use super::hcl::fmt;
use super::json::ranges;
use super::json::template::{self, JsonTemplate};
use super::source::SourceFile;
use crate::domain::diagnostic::Diagnostic;
use actions::Shared;
use names::Names;

/// Writes a JSON template as formatted HCL2. With annotations, comments explain the blocks.
///
/// # Errors
/// With the template's faults. Text that only its use would show to be wrong is carried over.
pub fn upgrade(source: &SourceFile, with_annotations: bool) -> Result<String, Vec<Diagnostic>> {
    let mut complaints = Vec::new();
    let template = template::read(source, &mut complaints).map_err(|faults| placed(source, faults))?;
    if complaints.iter().any(Diagnostic::is_error) {
        return Err(placed(source, complaints));
    }
    let (text, mut faults) = written(&template, with_annotations);
    faults.extend(components::unwritable(&template));
    if !faults.is_empty() {
        return Err(placed(source, faults));
    }
    fmt::format(&format!("{}.pkr.hcl", source.path), &text)
}

fn placed(source: &SourceFile, faults: Vec<Diagnostic>) -> Vec<Diagnostic> {
    let mut faults = super::tidy(faults);
    ranges::fill(source, &mut faults);
    faults
}

/// The blocks in the order that Packer writes them, and what can't be written.
fn written(template: &JsonTemplate, with_annotations: bool) -> (String, Vec<Diagnostic>) {
    let note = |text: &'static str| if with_annotations { text } else { "" };
    let names = Names::new(template);
    let mut shared = Shared::new(&names);
    let variables = variables::variables(template, &mut shared);
    let (amis, builders) = components::amis(template, &names, &mut shared);
    let sources = components::sources(&builders, &names, &mut shared);
    let build = components::build(template, &builders, &names, &mut shared);
    let mut out = String::from(note(annotations::FILE));
    let packer = components::packer(template);
    if !packer.is_empty() {
        out.push_str(note(annotations::PACKER));
        out.push_str(&packer);
    }
    let declared = format!("{}{}", variables.declared, variables::environment(&shared));
    let secrets = components::secrets(&shared);
    for (annotation, part) in
        [(annotations::VARIABLES, &declared), (annotations::SECRETS, &secrets), (annotations::AMIS, &amis)]
    {
        if !part.is_empty() {
            out.push_str(note(annotation));
            out.push_str(part);
        }
    }
    if shared.timestamp {
        out.push('\n');
        out.push_str(note(annotations::TIMESTAMP));
        out.push_str("locals { timestamp = regex_replace(timestamp(), \"[- TZ:]\", \"\") }\n");
    }
    for (used, comment) in [(shared.isotime, annotations::ISOTIME), (shared.strftime, annotations::STRFTIME)] {
        if used {
            out.push_str(comment);
        }
    }
    for (annotation, part) in
        [(annotations::LOCALS, &variables.locals), (annotations::SOURCES, &sources), (annotations::BUILD, &build)]
    {
        if !part.is_empty() {
            out.push_str(note(annotation));
            out.push_str(part);
        }
    }
    (out, shared.faults)
}
