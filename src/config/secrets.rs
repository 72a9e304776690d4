//! `[secrets]`: the key that builds' secrets are encrypted with.

use std::path::PathBuf;

use super::section::Section;
use super::{Lines, line};
use crate::domain::diagnostic::Diagnostic;

#[derive(Debug, Clone)]
pub struct Secrets {
    /// All servers on one database need the same key; `None`: `data_dir/secret.key`, made when it is missing.
    pub key_file: Option<PathBuf>,
}

impl Secrets {
    pub(super) fn read(root: &mut Section, found: &mut Vec<Diagnostic>) -> Self {
        let mut section = root.section("secrets", found);
        let key_file = section.string("key_file", found).map(PathBuf::from);
        section.finish(found);
        Self { key_file }
    }

    pub(super) fn describe(&self, lines: &mut Lines) {
        let shown = self
            .key_file
            .as_ref()
            .map_or_else(|| "(data_dir/secret.key)".to_owned(), |path| path.display().to_string());
        line(lines, "secrets.key_file", shown);
    }
}
