//! The files of one template version, held in memory.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// One file of a bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BundleFile {
    pub bytes: Vec<u8>,
    pub executable: bool,
}

/// A template's files by their path. Paths are relative, use `/`, and hold no `.` or `..` component:
/// whoever fills a bundle from outside goes through [`Bundle::insert`]. What a template takes from above its folder lies in
/// [`ABOVE`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Bundle {
    files: BTreeMap<String, BundleFile>,
}

/// Why a path can't be in a bundle.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BundlePathError {
    #[error("the path is empty")]
    Empty,
    #[error("{0:?} is absolute; paths in a bundle are relative to the template's folder")]
    Absolute(String),
    #[error("{0:?} leaves the template's folder")]
    Outside(String),
    #[error("{0:?} holds a control character or a backslash")]
    Character(String),
    #[error("{0:?} appears twice")]
    Duplicate(String),
}

impl BundlePathError {
    /// What whoever wrote the path into a template can do.
    #[must_use]
    pub fn advice(&self) -> &'static str {
        match self {
            Self::Outside(_) => {
                "a file above it comes along when it is there and is named without variables; check the path, or copy the \
                 file into the folder"
            }
            Self::Absolute(_) => "copy it into the template's folder, and write the path from there",
            Self::Empty | Self::Character(_) | Self::Duplicate(_) => {
                "only files that are sent with the template can be used"
            }
        }
    }
}

/// SHA-256 over the sorted (path, executable bit, file hash) of a bundle, as 64 hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ContentHash(pub String);

impl Bundle {
    /// A bundle of one file, such as a template posted by itself.
    ///
    /// # Errors
    /// When the path can't be in a bundle.
    pub fn single(path: &str, bytes: Vec<u8>) -> Result<Self, BundlePathError> {
        let mut bundle = Self::default();
        bundle.insert(path, bytes, false)?;
        Ok(bundle)
    }

    /// Adds a file.
    ///
    /// # Errors
    /// When the path is not a clean relative path or is there already.
    pub fn insert(&mut self, path: &str, bytes: Vec<u8>, executable: bool) -> Result<(), BundlePathError> {
        let path = normalise(path)?;
        if self.files.contains_key(&path) {
            return Err(BundlePathError::Duplicate(path));
        }
        self.files.insert(path, BundleFile { bytes, executable });
        Ok(())
    }

    /// Looks a file up by the path that a template gives.
    ///
    /// # Errors
    /// When the path is absolute, or is above the template's folder and nothing was sent of there.
    pub fn resolve(&self, path: &str) -> Result<Option<(&str, &BundleFile)>, BundlePathError> {
        let key = self.locate(path)?;
        Ok(self.files.get_key_value(&key).map(|(key, file)| (key.as_str(), file)))
    }

    /// The path in the bundle of a file or folder that a template names. What is within the template's folder need not be
    /// there.
    ///
    /// # Errors
    /// As [`Self::resolve`]; `Empty` for the template's folder itself.
    pub fn locate(&self, path: &str) -> Result<String, BundlePathError> {
        let key = key(path)?;
        let is_there = || self.files.contains_key(&key) || self.under(&key).next().is_some();
        match split_above(&key) {
            (0, _) => Ok(key),
            // Of a whole folder above only some files were sent.
            (_, "") => Err(BundlePathError::Outside(path.to_owned())),
            _ if !is_there() => Err(BundlePathError::Outside(path.to_owned())),
            _ => Ok(key),
        }
    }

    #[must_use]
    pub fn get(&self, path: &str) -> Option<&BundleFile> {
        self.files.get(path)
    }

    /// All files below a folder (`""`: the template's own, without what lies above it), in path order.
    pub fn under(&self, folder: &str) -> impl Iterator<Item = (&str, &BundleFile)> {
        let prefix = if folder.is_empty() { String::new() } else { format!("{}/", folder.trim_end_matches('/')) };
        let is_below = move |path: &str| {
            if prefix.is_empty() { split_above(path).0 == 0 } else { path.starts_with(&prefix) }
        };
        self.iter().filter(move |(path, _)| is_below(path))
    }

    /// All files, in path order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &BundleFile)> {
        self.files.iter().map(|(path, file)| (path.as_str(), file))
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.files.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// The sum of the files' sizes, in bytes.
    #[must_use]
    pub fn total_bytes(&self) -> usize {
        self.files.values().map(|file| file.bytes.len()).sum()
    }

    #[must_use]
    pub fn content_hash(&self) -> ContentHash {
        let mut hash = Sha256::new();
        for (path, file) in &self.files {
            hash.update((path.len() as u64).to_be_bytes());
            hash.update(path.as_bytes());
            hash.update([u8::from(file.executable)]);
            hash.update(Sha256::digest(&file.bytes));
        }
        ContentHash(hex::encode(hash.finalize()))
    }
}

/// Brings a relative path to its one spelling: no empty or `.` parts, `..` resolved.
///
/// # Errors
/// When the path is empty, absolute, leaves its folder, or holds characters no portable file name has.
pub fn normalise(path: &str) -> Result<String, BundlePathError> {
    spell(path, false)
}

/// The folder of a bundle that holds files of the folder above the template's; in it, the one of the same name those of the
/// folder above that. A real `..` is never part of a path that is stored, sent or unpacked.
pub const ABOVE: &str = ".ingot-above";

/// The path in a bundle of what a template names, be it there or not: of `../x` it is `.ingot-above/x`.
///
/// # Errors
/// When the path is empty, absolute, or holds characters no portable file name has.
pub fn key(path: &str) -> Result<String, BundlePathError> {
    spell(path, true)
}

/// How many folders above the template's a path of a bundle starts, and what follows.
#[must_use]
pub fn split_above(key: &str) -> (usize, &str) {
    let (mut levels, mut rest) = (0, key);
    while let Some(next) = rest.strip_prefix(ABOVE) {
        rest = match next.strip_prefix('/') {
            Some(next) => next,
            None if next.is_empty() => next,
            None => break,
        };
        levels += 1;
    }
    (levels, rest)
}

/// A path of a bundle as templates write it: `../x`.
#[must_use]
pub fn written(key: &str) -> String {
    let (levels, rest) = split_above(key);
    format!("{}{rest}", "../".repeat(levels))
}

fn spell(path: &str, may_leave: bool) -> Result<String, BundlePathError> {
    if path.starts_with('/') {
        return Err(BundlePathError::Absolute(path.to_owned()));
    }
    if path.chars().any(|c| c.is_control() || c == '\\') {
        return Err(BundlePathError::Character(path.to_owned()));
    }
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != ABOVE) => {
                parts.pop();
            }
            ".." if may_leave => parts.push(ABOVE),
            ".." => return Err(BundlePathError::Outside(path.to_owned())),
            part => parts.push(part),
        }
    }
    if parts.is_empty() {
        return Err(BundlePathError::Empty);
    }
    Ok(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_have_one_spelling_and_stay_inside() {
        assert_eq!(normalise("./a//b/../c").unwrap(), "a/c");
        assert_eq!(normalise("a/../../etc/passwd"), Err(BundlePathError::Outside("a/../../etc/passwd".into())));
        assert!(matches!(normalise("/etc/passwd"), Err(BundlePathError::Absolute(_))));
        assert!(matches!(normalise("a\\b"), Err(BundlePathError::Character(_))));
        assert_eq!(normalise("."), Err(BundlePathError::Empty));
    }

    #[test]
    fn what_is_above_the_folder_is_there_when_it_was_sent() {
        assert_eq!(key("./../a").unwrap(), ".ingot-above/a");
        assert_eq!(key("a/../../../b/../c").unwrap(), ".ingot-above/.ingot-above/c");
        assert_eq!(key("..").unwrap(), ABOVE);
        assert!(matches!(key("/a"), Err(BundlePathError::Absolute(_))));
        assert_eq!(written(".ingot-above/.ingot-above/c"), "../../c");
        assert_eq!(written(".ingot-above-all/c"), ".ingot-above-all/c");
        assert_eq!(split_above(&key("../a").unwrap()), (1, "a"));
        assert_eq!(split_above("a/.ingot-above/b").0, 0);

        let mut bundle = Bundle::single("a", vec![]).unwrap();
        bundle.insert(".ingot-above/shared/b", vec![], false).unwrap();
        assert!(bundle.resolve("../shared/b").unwrap().is_some());
        assert_eq!(bundle.locate("x/../../shared").unwrap(), ".ingot-above/shared");
        for path in ["../shared/c", "../../shared/b", "../a", "..", "../shared/..", "../../../etc/passwd"] {
            let outside = Err(BundlePathError::Outside(path.to_owned()));
            assert_eq!(bundle.resolve(path), outside.clone().map(|()| None));
            assert_eq!(bundle.locate(path), outside.map(|()| String::new()));
        }
        assert_eq!(bundle.resolve("c"), Ok(None));
        let paths = |folder: &str| bundle.under(folder).map(|(path, _)| path.to_owned()).collect::<Vec<_>>();
        assert_eq!(paths(""), ["a"], "it is not in the folder");
        assert_eq!(paths(".ingot-above/shared"), [".ingot-above/shared/b"]);
        for path in ["../x", ".ingot-above/../../x"] {
            assert_eq!(bundle.insert(path, vec![], false), Err(BundlePathError::Outside(path.to_owned())));
        }
    }

    #[test]
    fn the_hash_sees_path_mode_and_content() {
        let plain = Bundle::single("a", b"x".to_vec()).unwrap();
        let renamed = Bundle::single("b", b"x".to_vec()).unwrap();
        let mut executable = Bundle::default();
        executable.insert("a", b"x".to_vec(), true).unwrap();
        let mut twice = plain.clone();
        assert_eq!(twice.insert("./a", vec![], false), Err(BundlePathError::Duplicate("a".into())));
        assert_ne!(plain.content_hash(), renamed.content_hash());
        assert_ne!(plain.content_hash(), executable.content_hash());
        assert_eq!(plain.content_hash(), Bundle::single("./a", b"x".to_vec()).unwrap().content_hash());
    }
}
