//! The files of a bundle that are its template, read as far as they can be read.

use super::model::Model;
use super::rules::add_uploads;
use super::{Input, from_hcl, from_json};
use crate::template::hcl::syntax::{self, ast::Body};
use crate::template::json;
use crate::template::source::SourceFile;

/// Bytes of one template file that are looked at.
const MAX_FILE: usize = 4 * 1024 * 1024;

/// Reads template, variable files and uploaded files.
pub fn load(input: &Input<'_>) -> Model {
    let mut model = Model::default();
    let given = |name: &str| {
        let set =
            input.evaluated.and_then(|evaluated| evaluated.variables.iter().find(|variable| variable.name == name));
        input.variables.contains_key(name) || set.is_some_and(|variable| !variable.is_default)
    };
    let root: Vec<&str> = input.bundle.iter().map(|(path, _)| path).filter(|path| !path.contains('/')).collect();
    let with = |ending: &str| root.iter().copied().filter(move |path| path.ends_with(ending)).collect::<Vec<_>>();
    let mut hcl = with(".pkr.hcl");
    hcl.extend(with(".pkr.json"));
    if hcl.is_empty() && with(".json").is_empty() {
        hcl = with(".hcl").into_iter().filter(|path| !path.ends_with(".pkrvars.hcl")).collect();
    }
    if hcl.is_empty() {
        let json = with(".json").into_iter().filter(|path| !path.ends_with(".pkrvars.json"));
        for file in json.filter_map(|path| source(input, path)) {
            if file.text.contains("\"builders\"") || file.text.contains("\"provisioners\"") {
                from_json::add(&mut model, file, &given);
            }
        }
        if let ([only], true) = (root.as_slice(), model.files.is_empty())
            && let Some(file) = source(input, only)
        {
            if file.text.trim_start().starts_with('{') {
                from_json::add(&mut model, file, &given);
            } else {
                hcl.push(only);
            }
        }
    }
    let files = hcl.iter().filter_map(|path| source(input, path)).map(|file| {
        let body = parse(&file);
        (file, body)
    });
    let files: Vec<(SourceFile, Body)> = files.collect();
    if !files.is_empty() {
        from_hcl::add(&mut model, files, &given);
    }
    for file in with(".pkrvars.hcl").iter().filter_map(|path| source(input, path)) {
        let body = parse(&file);
        from_hcl::add_values(&mut model, file, &body);
    }
    for file in with(".pkrvars.json").iter().filter_map(|path| source(input, path)) {
        from_json::add_values(&mut model, file);
    }
    model.template_files = model.files.len();
    add_uploads(&mut model, input);
    model
}

fn source(input: &Input<'_>, path: &str) -> Option<SourceFile> {
    let bytes = &input.bundle.get(path)?.bytes;
    let text = std::str::from_utf8(bytes).ok().filter(|text| text.len() <= MAX_FILE)?;
    Some(SourceFile::new(path, text))
}

/// What there is of a file; its faults are for others to tell.
#[expect(
    clippy::case_sensitive_file_extension_comparisons,
    reason = "Packer knows its files by lower-case endings only"
)]
fn parse(file: &SourceFile) -> Body {
    if file.path.ends_with(".json") { json::hcl::parse_file(file).0 } else { syntax::parse_file(file).0 }
}
