//! `[stages]`: the environments that images go through.

use super::section::Section;
use super::{Lines, line};
use crate::domain::diagnostic::Diagnostic;
use crate::domain::stage::StageOrder;

#[derive(Debug, Clone, Default)]
pub struct Stages {
    /// From the first to the last. All servers on one database need the same ones.
    pub order: StageOrder,
}

impl Stages {
    pub(super) fn read(root: &mut Section, found: &mut Vec<Diagnostic>) -> Self {
        let mut section = root.section("stages", found);
        let given = section.has("names");
        let complaints = found.len();
        let names = section.strings("names", found);
        let order = if names.is_empty() && (!given || found.len() > complaints) {
            StageOrder::default()
        } else {
            StageOrder::new(names).unwrap_or_else(|complaint| {
                found.push(section.error(format!("stages.names: {complaint}")));
                StageOrder::default()
            })
        };
        section.finish(found);
        Self { order }
    }

    pub(super) fn describe(&self, lines: &mut Lines) {
        line(lines, "stages.names", &self.order);
    }
}
