//! Files of variable values: `*.pkrvars.hcl` and JSON.

use super::hcl::eval::{Evaluator, Globals};
use super::hcl::parse;
use super::json;
use super::runtime::Runtime;
use super::source::SourceFile;
use super::value::Value;
use crate::domain::bundle::Bundle;
use crate::domain::diagnostic::{Diagnostic, SourceLocation};

/// One value of a file.
#[derive(Debug)]
pub struct FileEntry {
    pub name: String,
    pub value: Value,
    pub at: SourceLocation,
}

/// The files that Packer reads without being asked, in its order.
#[must_use]
pub fn automatic(bundle: &Bundle) -> Vec<String> {
    let ending = |ending: &'static str| {
        let root =
            bundle.iter().map(|(path, _)| path).filter(move |path| !path.contains('/') && path.ends_with(ending));
        root.map(str::to_owned)
    };
    ending(".auto.pkrvars.hcl").chain(ending(".auto.pkrvars.json")).collect()
}

/// Reads a file of values; faults go to `complaints`.
pub fn read(path: &str, runtime: &Runtime<'_>, complaints: &mut Vec<Diagnostic>) -> Vec<FileEntry> {
    let (path, file) = match runtime.bundle.resolve(path) {
        Ok(Some(found)) => found,
        Ok(None) => {
            complaints.push(Diagnostic::error(format!("var_files: the bundle has no file {path:?}")));
            return Vec::new();
        }
        Err(error) => {
            complaints.push(Diagnostic::error(format!("var_files: {error}")));
            return Vec::new();
        }
    };
    let source = match SourceFile::from_bytes(path, &file.bytes) {
        Ok(source) => source,
        Err(diagnostic) => {
            complaints.push(*diagnostic);
            return Vec::new();
        }
    };
    if path.to_ascii_lowercase().ends_with(".json") {
        from_json(&source, complaints)
    } else {
        from_hcl(source, runtime, complaints)
    }
}

fn from_json(source: &SourceFile, complaints: &mut Vec<Diagnostic>) -> Vec<FileEntry> {
    let (node, faults) = json::parse::parse(source);
    complaints.extend(faults);
    let Some(node) = node else { return Vec::new() };
    let Some(entries) = json::parse::into_entries(node) else {
        let diagnostic = Diagnostic::error("a file of variables must be a JSON object").at(Some(source.location(0)));
        complaints.push(diagnostic);
        return Vec::new();
    };
    // HCL's JSON has comments under this key.
    let entries = entries.into_iter().filter(|entry| entry.key != "//");
    entries
        .map(|entry| FileEntry { name: entry.key, value: json::parse::to_value(&entry.node), at: entry.key_at })
        .collect()
}

fn from_hcl(source: SourceFile, runtime: &Runtime<'_>, complaints: &mut Vec<Diagnostic>) -> Vec<FileEntry> {
    let file = match parse::file(source) {
        Ok(file) => file,
        Err(mut faults) => {
            complaints.append(&mut faults);
            return Vec::new();
        }
    };
    let globals = Globals::new();
    let evaluator = Evaluator::new(&file.source, runtime, &globals);
    for block in file.body.blocks() {
        let diagnostic = evaluator.diagnostic(&block.kind, "a file of variables holds NAME = value only");
        complaints.push(diagnostic.with_detail("variables are declared in *.pkr.hcl files"));
    }
    let mut entries = Vec::new();
    for attribute in file.body.attributes() {
        match evaluator.value(&attribute.value) {
            Ok(value) => entries.push(FileEntry {
                name: attribute.name.name.to_string(),
                value,
                at: evaluator.place(&attribute.name),
            }),
            Err(fault) => complaints.push(*fault),
        }
    }
    entries
}
