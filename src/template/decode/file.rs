//! The `file` provisioner's options.

use super::body::{Decoder, Located};
use crate::domain::bundle::{BundlePathError, normalise};
use crate::domain::config::LateString;
use crate::domain::config::provisioner::{Direction, FileTransfer};
use crate::template::legacy::early::MACHINE;

/// Reads the options. Complaints go to the decoder's context.
#[must_use]
pub fn decode(decoder: &Decoder<'_>) -> FileTransfer {
    let direction = direction(decoder);
    let content = decoder.late_or_empty("content", MACHINE);
    let mut sources = decoder.texts("sources");
    sources.extend(decoder.text("source"));
    let destination = decoder.late("destination", MACHINE);
    if destination.is_none() && !decoder.is_unknown("destination") {
        decoder.error_at("destination", "destination is missing", "the file provisioner needs to know where to");
    }
    let generated = decoder.flag("generated").unwrap_or(false);
    if generated && direction == Direction::Upload && !decoder.is_unknown("direction") {
        decoder.error_at(
            "generated",
            "generated can't be used here",
            "nothing runs beside the server that could make the file; send it with the template",
        );
    }
    let unknown = decoder.any_unknown(&["source", "sources", "content", "direction"]);
    match (direction, sources.is_empty(), content.is_some()) {
        (Direction::Upload, true, false) if !unknown => {
            decoder.error(decoder.at(), "the file provisioner needs source, sources or content", "");
        }
        (Direction::Upload, false, true) => {
            decoder.error_at("content", "only one of source, sources and content can be given", "");
        }
        (Direction::Download, true, _) if !unknown => {
            decoder.error(decoder.at(), "a download needs source: the path on the machine", "");
        }
        (Direction::Download, _, true) => {
            decoder.error_at("content", "content is only for uploads", "");
        }
        _ => {}
    }
    let is_upload = direction == Direction::Upload && !decoder.is_unknown("direction");
    let sources = sources
        .into_iter()
        .filter_map(|source| if is_upload { upload_source(decoder, &source) } else { Some(source.value) })
        .map(LateString)
        .collect();
    if let (Direction::Download, Some(destination)) = (direction, &destination)
        && let Err(error) = normalise(destination.0.trim_end_matches('/'))
    {
        decoder.error_at_value(
            "destination",
            format!("destination: {error}"),
            "a download becomes a file of the run; give it a plain name",
        );
    }
    decoder.finish("the file provisioner", &[]);
    FileTransfer { sources, content, destination: destination.unwrap_or_default(), direction }
}

fn direction(decoder: &Decoder<'_>) -> Direction {
    let Some(direction) = decoder.text("direction") else { return Direction::Upload };
    match direction.value.as_str() {
        "upload" => Direction::Upload,
        "download" => Direction::Download,
        other => {
            let summary = format!("direction must be \"upload\" or \"download\", this is {other:?}");
            decoder.error(&direction.at, summary, "");
            Direction::Upload
        }
    }
}

/// A source's one spelling; a slash at the end is kept, because it means "what is in this folder". The bundle's own folder
/// is `./`.
fn upload_source(decoder: &Decoder<'_>, source: &Located<String>) -> Option<String> {
    let bundle = decoder.context.bundle;
    let folder = source.value.ends_with('/');
    let clean = match bundle.locate(&source.value) {
        Ok(clean) => clean,
        Err(BundlePathError::Empty) => return Some(if folder { "./" } else { "." }.to_owned()),
        Err(error) => {
            decoder.error(&source.at, format!("source: {error}"), error.advice());
            return None;
        }
    };
    let is_folder = bundle.under(&clean).next().is_some();
    if (bundle.get(&clean).is_none() || folder) && !is_folder {
        let summary = format!("source: the bundle has no file or folder {:?}", source.value);
        decoder.error(&source.at, summary, "send the file with the template; paths count from the template's folder");
        return None;
    }
    Some(if folder { format!("{clean}/") } else { clean })
}
