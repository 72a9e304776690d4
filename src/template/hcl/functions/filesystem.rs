//! Functions that read files: always the bundle's, never the server's.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use globset::GlobBuilder;

use super::{Call, Function, FunctionError, FunctionResult, function};
use crate::domain::bundle::{BundleFile, normalise};
use crate::template::value::Value;

pub(super) const FUNCTIONS: &[Function] = &[
    function("abspath", 1, 1, |call| Ok(Value::string(clean(&call.text(0)?)))),
    function("basename", 1, 1, |call| {
        let path = call.text(0)?;
        let trimmed = path.trim_end_matches('/');
        Ok(Value::string(trimmed.rsplit('/').next().filter(|name| !name.is_empty()).unwrap_or(".")))
    }),
    function("dirname", 1, 1, |call| {
        let path = call.text(0)?;
        Ok(Value::string(match path.rsplit_once('/') {
            Some(("", _)) => "/".to_owned(),
            Some((folder, _)) => clean(folder),
            None => ".".to_owned(),
        }))
    }),
    function("file", 1, 1, |call| Ok(Value::string(read_text(call, 0)?.1))),
    function("filebase64", 1, 1, |call| Ok(Value::string(STANDARD.encode(&read(call, 0)?.1.bytes)))),
    function("fileexists", 1, 1, |call| Ok(Value::bool(find(call, 0)?.is_some()))),
    function("fileset", 2, 2, file_set),
    function("pathexpand", 1, 1, |call| {
        let path = call.text(0)?;
        if path.starts_with('~') {
            return Call::fail(0, "there is no home folder here: paths stay inside the template's bundle");
        }
        Ok(Value::string(path))
    }),
];

/// A path without `.`, `..` and doubled slashes, as far as it stays inside the bundle.
fn clean(path: &str) -> String {
    normalise(path).unwrap_or_else(|_| if path.starts_with('/') { path.to_owned() } else { ".".to_owned() })
}

type Found<'c> = Option<(&'c str, &'c BundleFile)>;

fn find<'c>(call: &'c Call<'_>, at: usize) -> Result<Found<'c>, FunctionError> {
    let path = call.text(at)?;
    call.runtime
        .bundle
        .resolve("", &path)
        .map_err(|error| FunctionError { argument: Some(at), message: error.to_string() })
}

fn read<'c>(call: &'c Call<'_>, at: usize) -> Result<(&'c str, &'c BundleFile), FunctionError> {
    match find(call, at)? {
        Some(found) => Ok(found),
        None => Call::fail(at, format!("the bundle has no file {:?}", call.text(at)?)),
    }
}

/// A file's path in the bundle and its text.
pub(super) fn read_text(call: &Call<'_>, at: usize) -> Result<(String, Arc<str>), FunctionError> {
    let (path, file) = read(call, at)?;
    Call::reserve(file.bytes.len())?;
    match std::str::from_utf8(&file.bytes) {
        Ok(text) => Ok((path.to_owned(), text.into())),
        Err(_) => Call::fail(at, format!("{path:?} is not UTF-8 text; filebase64(…) reads any file")),
    }
}

fn file_set(call: &Call<'_>) -> FunctionResult {
    let folder = match normalise(&call.text(0)?) {
        Ok(folder) => folder,
        Err(crate::domain::bundle::BundlePathError::Empty) => String::new(),
        Err(error) => return Call::fail(0, error.to_string()),
    };
    let glob = GlobBuilder::new(&call.text(1)?).literal_separator(true).build();
    let Ok(glob) = glob else { return Call::fail(1, "this is no valid file pattern") };
    let matcher = glob.compile_matcher();
    let prefix = if folder.is_empty() { 0 } else { folder.len() + 1 };
    let bundle = call.runtime.bundle;
    let names = bundle.under(&folder).map(|(path, _)| &path[prefix..]).filter(|name| matcher.is_match(name));
    Ok(Value::set(names.map(Value::string).collect()))
}
