//! Functions that read files: always the bundle's, never the server's.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use globset::GlobBuilder;

use super::{Call, Function, FunctionError, FunctionResult, function, text};
use crate::domain::bundle::{BundleFile, BundlePathError, key, written};
use crate::template::runtime::Runtime;
use crate::template::value::Value;

pub(super) const FUNCTIONS: &[Function] = &[
    // The template's folder is the only one there is: a path in it stays relative to it, and no path of the server shows.
    function("abspath", &[text("path")], |call| Ok(Value::string(clean(&call.text(0)?)))),
    function("basename", &[text("path")], |call| {
        let path = call.text(0)?;
        let trimmed = path.trim_end_matches('/');
        Ok(Value::string(match trimmed.rsplit('/').next() {
            Some(name) if !name.is_empty() => name,
            _ if path.is_empty() => ".",
            _ => "/",
        }))
    }),
    function("dirname", &[text("path")], |call| {
        let path = call.text(0)?;
        Ok(Value::string(match path.rsplit_once('/') {
            Some(("", _)) => "/".to_owned(),
            Some((folder, _)) => lexical(folder),
            None => ".".to_owned(),
        }))
    }),
    function("file", &[text("path")], |call| {
        let path = call.text(0)?;
        read_text(call.runtime, &path).map(|(_, text)| Value::string(text)).map_err(blame)
    }),
    function("filebase64", &[text("path")], |call| {
        let file = read(call.runtime, &call.text(0)?).map_err(blame)?.1;
        Call::reserve(file.bytes.len().saturating_mul(2))?;
        Ok(Value::string(STANDARD.encode(&file.bytes)))
    }),
    function("fileexists", &[text("path")], exists),
    function("fileset", &[text("path"), text("pattern")], file_set),
    function("pathexpand", &[text("path")], |call| {
        let path = call.text(0)?;
        if path.starts_with('~') {
            return Call::fail(0, "there is no home folder here: paths stay inside the template's bundle");
        }
        Ok(Value::string(path))
    }),
];

fn blame(message: String) -> FunctionError {
    FunctionError::at(0, message)
}

/// Go's `filepath.Clean`.
fn lexical(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    let absolute = path.starts_with('/');
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => {
                parts.pop();
            }
            ".." if absolute => {}
            other => parts.push(other),
        }
    }
    match (absolute, parts.is_empty()) {
        (true, _) => format!("/{}", parts.join("/")),
        (false, true) => ".".to_owned(),
        (false, false) => parts.join("/"),
    }
}

fn exists(call: &Call<'_>) -> FunctionResult {
    let path = call.text(0)?;
    if find(call.runtime, &path).map_err(blame)?.is_some() {
        return Ok(Value::bool(true));
    }
    let folder = call.runtime.bundle.locate(&path).unwrap_or_default();
    if call.runtime.bundle.under(&folder).next().is_some() {
        return Call::fail(0, format!("{path:?} is a folder"));
    }
    Ok(Value::bool(false))
}

/// A path without `.` and doubled slashes, and with `..` only at its front.
fn clean(path: &str) -> String {
    match key(path) {
        Ok(key) => written(&key),
        Err(_) if path.starts_with('/') => path.to_owned(),
        Err(_) => ".".to_owned(),
    }
}

type Found<'b> = Option<(&'b str, &'b BundleFile)>;

fn find<'b>(runtime: &Runtime<'b>, path: &str) -> Result<Found<'b>, String> {
    runtime.spend(10)?;
    runtime.bundle.resolve(path).map_err(|error| format!("{error}; {}", error.advice()))
}

fn read<'b>(runtime: &Runtime<'b>, path: &str) -> Result<(&'b str, &'b BundleFile), String> {
    let found = find(runtime, path)?.ok_or_else(|| format!("the bundle has no file {path:?}"))?;
    runtime.spend(found.1.bytes.len() as u64 / 256)?;
    Ok(found)
}

/// A file's path in the bundle and its text.
///
/// # Errors
/// When the path leaves the bundle, and when there is no such file, or one that is no text or too large.
pub(crate) fn read_text(runtime: &Runtime<'_>, path: &str) -> Result<(String, Arc<str>), String> {
    let (path, file) = read(runtime, path)?;
    Call::reserve(file.bytes.len()).map_err(|error| error.message)?;
    match std::str::from_utf8(&file.bytes) {
        Ok(text) => Ok((path.to_owned(), text.into())),
        Err(_) => Err(format!("{path:?} is not UTF-8 text; filebase64(…) reads any file")),
    }
}

fn file_set(call: &Call<'_>) -> FunctionResult {
    let folder = match call.runtime.bundle.locate(&call.text(0)?) {
        Ok(folder) => folder,
        Err(BundlePathError::Empty) => String::new(),
        Err(error) => return Call::fail(0, format!("{error}; {}", error.advice())),
    };
    let glob = GlobBuilder::new(&call.text(1)?).literal_separator(true).build();
    let Ok(glob) = glob else {
        return Call::fail(1, "this is no valid file pattern");
    };
    let matcher = glob.compile_matcher();
    let prefix = if folder.is_empty() { 0 } else { folder.len() + 1 };
    let bundle = call.runtime.bundle;
    call.runtime.spend(bundle.len() as u64)?;
    let names = bundle.under(&folder).map(|(path, _)| &path[prefix..]).filter(|name| matcher.is_match(name));
    Ok(Value::set(names.map(Value::string).collect()))
}
