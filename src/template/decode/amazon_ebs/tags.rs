//! Tags, as a map and as repeatable blocks.

use super::super::body::Decoder;
use super::required;
use crate::domain::config::{LateString, LateTags};
use crate::domain::diagnostic::SourceLocation;
use crate::template::legacy::early::{Late, SOURCE_AMI};

/// EC2 allows 50; twelve are kept for the server's own.
const MOST: usize = 38;

/// The names of one kind of tags: the map's, the block's, and how the block calls a key (`key`, or `name`).
#[derive(Debug, Clone, Copy)]
pub struct Names {
    pub map: &'static str,
    pub block: &'static str,
    pub key: &'static str,
}

/// Reads the tags of a map, then of its blocks.
pub fn read(decoder: &Decoder<'_>, names: Names) -> LateTags {
    let mut tags = LateTags::new();
    let late: Late = SOURCE_AMI;
    for (key, value) in decoder.map(names.map, late) {
        check(decoder, &key.value, &key.at, &value.value);
        tags.insert(key.value, value.value);
    }
    for options in decoder.blocks(names.block) {
        let inner = Decoder::new(&options, decoder.context);
        let key = required(&inner, names.key, "");
        let value = inner.late_or_empty("value", late).unwrap_or_default();
        inner.finish(names.block, &[]);
        check(decoder, &key, &options.at, &value);
        tags.insert(key, value);
    }
    check_count(decoder, names.map, tags.len());
    tags
}

/// Complains about more tags than there is room for.
pub fn check_count(decoder: &Decoder<'_>, name: &str, count: usize) {
    if count > MOST {
        let summary = format!("{name} has {count} tags; EC2 allows 50, and twelve are kept for the server's own");
        decoder.error_at(name, summary, "");
    }
}

fn check(decoder: &Decoder<'_>, key: &str, at: &SourceLocation, value: &LateString) {
    let lower = key.to_lowercase();
    if lower.starts_with("ingot:") || lower.starts_with("aws:") {
        let prefix = if lower.starts_with("aws:") { "aws:" } else { "ingot:" };
        decoder.error(
            at,
            format!("the tag {key:?} can't be set"),
            format!("keys that begin with {prefix} are reserved"),
        );
    }
    if key.chars().count() > 128 {
        decoder.error(at, "a tag's key may have at most 128 characters", "");
    }
    if value.0.chars().count() > 256 && !value.0.contains("{{") {
        decoder.error(at, format!("the value of the tag {key:?} has more than 256 characters"), "");
    }
}
