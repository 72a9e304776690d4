//! `[workers]`: how much this server builds at once.

use super::section::Section;
use super::{Lines, line};
use crate::domain::diagnostic::Diagnostic;

#[derive(Debug, Clone)]
pub struct Workers {
    /// Builds at once on this server; 0: none, but schedules, stage tags and sweeps go on.
    pub max_builds: usize,
}

impl Workers {
    pub(super) fn read(root: &mut Section, found: &mut Vec<Diagnostic>) -> Self {
        let mut section = root.section("workers", found);
        let max_builds = section.integer("max_builds", 0..=10_000, found);
        section.finish(found);
        Self { max_builds: max_builds.and_then(|count| usize::try_from(count).ok()).unwrap_or(64) }
    }

    pub(super) fn describe(&self, lines: &mut Lines) {
        line(lines, "workers.max_builds", self.max_builds);
    }
}
