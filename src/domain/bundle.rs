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
/// whoever fills a bundle from outside goes through [`Bundle::insert`].
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
                "copy it into the template's folder, or run ingot in a folder that has both and write the path from there: \
                 shared/x.sh, not ../shared/x.sh"
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

    /// Looks a file up by the path a template gives, resolved against `base` (a folder of the bundle, `""` for its root).
    ///
    /// # Errors
    /// When the path is absolute or leaves the bundle.
    pub fn resolve(&self, base: &str, path: &str) -> Result<Option<(&str, &BundleFile)>, BundlePathError> {
        let joined = if base.is_empty() { path.to_owned() } else { format!("{base}/{path}") };
        if path.starts_with('/') {
            return Err(BundlePathError::Absolute(path.to_owned()));
        }
        let clean = normalise(&joined)?;
        Ok(self.files.get_key_value(&clean).map(|(key, file)| (key.as_str(), file)))
    }

    #[must_use]
    pub fn get(&self, path: &str) -> Option<&BundleFile> {
        self.files.get(path)
    }

    /// All files below a folder (`""`: all of them), in path order.
    pub fn under(&self, folder: &str) -> impl Iterator<Item = (&str, &BundleFile)> {
        let prefix = if folder.is_empty() { String::new() } else { format!("{}/", folder.trim_end_matches('/')) };
        self.files.iter().filter(move |(path, _)| path.starts_with(&prefix)).map(|(path, file)| (path.as_str(), file))
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &BundleFile)> {
        self.under("")
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
            ".." => {
                parts.pop().ok_or_else(|| BundlePathError::Outside(path.to_owned()))?;
            }
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
