//! `[janitor]`: how often what should not be there is looked for, and what becomes of Packer's leftovers.

use std::time::Duration;

use super::section::Section;
use super::{Lines, line, units};
use crate::domain::diagnostic::Diagnostic;
use crate::domain::janitor::SweepSettings;

/// Shorter, the janitor would use up the rate at which EC2 answers.
const SHORTEST_INTERVAL: Duration = Duration::from_secs(10);
const LONGEST_INTERVAL: Duration = Duration::from_hours(24);
/// A Packer build may take some hours; what is younger may be at work.
const SHORTEST_AGE: Duration = Duration::from_hours(1);

#[derive(Debug, Clone, Default)]
pub struct JanitorSection {
    pub sweeps: SweepSettings,
}

impl JanitorSection {
    pub(super) fn read(root: &mut Section, found: &mut Vec<Diagnostic>) -> Self {
        let defaults = SweepSettings::default();
        let mut section = root.section("janitor", found);
        let interval =
            section.parsed("interval", found, |text| within(text, SHORTEST_INTERVAL, Some(LONGEST_INTERVAL)));
        let age = section.parsed("packer_leftover_age", found, |text| within(text, SHORTEST_AGE, None));
        let remove = section.boolean("remove_packer_leftovers", found);
        section.finish(found);
        Self {
            sweeps: SweepSettings {
                interval: interval.unwrap_or(defaults.interval),
                packer_leftover_age: age.unwrap_or(defaults.packer_leftover_age),
                remove_packer_leftovers: remove.unwrap_or(defaults.remove_packer_leftovers),
            },
        }
    }

    pub(super) fn describe(&self, lines: &mut Lines) {
        let SweepSettings { interval, packer_leftover_age, remove_packer_leftovers } = self.sweeps;
        line(lines, "janitor.interval", units::show_duration(interval));
        line(lines, "janitor.packer_leftover_age", units::show_duration(packer_leftover_age));
        line(lines, "janitor.remove_packer_leftovers", remove_packer_leftovers);
    }
}

fn within(text: &str, shortest: Duration, longest: Option<Duration>) -> Result<Duration, String> {
    let duration = units::parse_duration(text)?;
    if duration < shortest {
        return Err(format!("{text:?} is too short; at least {}", units::show_duration(shortest)));
    }
    match longest.filter(|longest| duration > *longest) {
        Some(longest) => Err(format!("{text:?} is too long; at most {}", units::show_duration(longest))),
        None => Ok(duration),
    }
}
