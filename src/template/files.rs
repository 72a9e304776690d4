//! Which files of a bundle are its template.

#![expect(
    clippy::case_sensitive_file_extension_comparisons,
    reason = "Packer knows its files by lower-case endings only"
)]

use super::hcl::parse::{self, HclFile};
use super::source::SourceFile;
use crate::domain::bundle::Bundle;
use crate::domain::diagnostic::Diagnostic;

/// A template's files, parsed where one file's syntax does not depend on another's.
#[derive(Debug)]
pub enum Template {
    Hcl2(Vec<HclFile>),
    Json(SourceFile),
}

/// Finds and reads the template: all `*.pkr.hcl` and `*.pkr.json` of the root together, or one JSON template, or the only file there is.
///
/// # Errors
/// When it is not clear which file is meant, or a file can't be read; with all syntax errors of all files.
pub fn load(bundle: &Bundle) -> Result<Template, Vec<Diagnostic>> {
    let root: Vec<&str> = bundle.iter().map(|(path, _)| path).filter(|path| !path.contains('/')).collect();
    let ending = |ending: &str| root.iter().copied().filter(|path| path.ends_with(ending)).collect::<Vec<_>>();
    let (hcl, hcl_json) = (ending(".pkr.hcl"), ending(".pkr.json"));
    let hcl: Vec<&str> = hcl.into_iter().chain(hcl_json).collect();
    if !hcl.is_empty() {
        return hcl2(bundle, &hcl);
    }
    let json: Vec<&str> = root
        .iter()
        .copied()
        .filter(|path| path.ends_with(".json") && !path.ends_with(".pkrvars.json") && has_builders(bundle, path))
        .collect();
    match (json.as_slice(), root.as_slice()) {
        ([one], _) => Ok(Template::Json(source(bundle, one)?)),
        ([], [only]) => single(bundle, only),
        ([], []) => Err(vec![Diagnostic::error("the bundle has no file at its root").with_detail(WANTED)]),
        ([], _) => {
            let others = ending(".hcl");
            match others.iter().filter(|path| !path.ends_with(".pkrvars.hcl")).copied().collect::<Vec<_>>().as_slice() {
                [one] => hcl2(bundle, &[one]),
                _ => Err(vec![
                    Diagnostic::error("no file of the bundle is a template")
                        .with_detail(format!("{WANTED}; at the root there are {}", root.join(", "))),
                ]),
            }
        }
        (several, _) => Err(vec![
            Diagnostic::error(format!("the bundle has several templates: {}", several.join(", ")))
                .with_detail("send one JSON template in a bundle"),
        ]),
    }
}

const WANTED: &str = "a template is *.pkr.hcl, *.pkr.json, or one JSON file with builders, at the root of the bundle";

/// Whether a file looks like a legacy template; it may be broken and still be meant as one.
fn has_builders(bundle: &Bundle, path: &str) -> bool {
    bundle.get(path).is_some_and(|file| String::from_utf8_lossy(&file.bytes).contains("\"builders\""))
}

fn source(bundle: &Bundle, path: &str) -> Result<SourceFile, Vec<Diagnostic>> {
    let bytes = bundle.get(path).map(|file| file.bytes.as_slice()).unwrap_or_default();
    SourceFile::from_bytes(path, bytes).map_err(|diagnostic| vec![*diagnostic])
}

fn single(bundle: &Bundle, path: &str) -> Result<Template, Vec<Diagnostic>> {
    let file = source(bundle, path)?;
    if path.ends_with(".json") || (!path.ends_with(".hcl") && file.text.trim_start().starts_with('{')) {
        return Ok(Template::Json(file));
    }
    hcl2(bundle, &[path])
}

fn hcl2(bundle: &Bundle, paths: &[&str]) -> Result<Template, Vec<Diagnostic>> {
    let mut files = Vec::new();
    let mut complaints = Vec::new();
    for path in paths {
        match source(bundle, path).and_then(parse::file) {
            Ok(file) => files.push(file),
            Err(mut faults) => complaints.append(&mut faults),
        }
    }
    if complaints.is_empty() { Ok(Template::Hcl2(files)) } else { Err(complaints) }
}
