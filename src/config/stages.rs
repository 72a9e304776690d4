//! `[stages]`: the environments that images go through.

use super::section::Section;
use super::{Lines, line};
use crate::domain::diagnostic::Diagnostic;
use crate::domain::stage::StageOrder;

#[derive(Debug, Clone, Default)]
pub struct Stages {
    /// From the first to the last. All servers on one database need the same ones.
    pub order: StageOrder,
    /// Stages that `channels` of a template's `hcp_packer_registry` may put images on, whoever starts the run.
    pub from_templates: Vec<String>,
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
        let from_templates = section.strings("from_templates", found);
        for unknown in from_templates.iter().filter(|name| order.position(name).is_err()) {
            found.push(section.error(format!("stages.from_templates: there is no stage {unknown:?} in stages.names")));
        }
        section.finish(found);
        Self { order, from_templates }
    }

    pub(super) fn describe(&self, lines: &mut Lines) {
        line(lines, "stages.names", &self.order);
        line(lines, "stages.from_templates", self.from_templates.join(", "));
    }
}
