//! What rules find, and where secrets stand.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::model::{Model, Place};
use super::rule::{self, Rule};
use crate::domain::lint::LintLevel;

/// Findings of one rule that are kept: nobody reads more, and a template that has a hundred thousand is an attack.
const MAX_OF_A_RULE: usize = 200;

/// One finding, before the policy has a word.
#[derive(Debug)]
pub struct Finding {
    pub rule: &'static Rule,
    /// Instead of the rule's own, where this case counts less or more.
    pub level: Option<LintLevel>,
    pub place: Place,
    pub summary: String,
    pub detail: String,
}

/// What the rules found, and where secrets stand, which are shown nowhere.
#[derive(Debug, Default)]
pub struct Findings {
    pub found: Vec<Finding>,
    pub secrets: Secrets,
    known: HashSet<(&'static str, Place)>,
    counts: HashMap<&'static str, usize>,
}

impl Findings {
    /// Adds a finding. `detail` says why it matters and what to do.
    pub fn add(&mut self, rule: &'static str, place: Place, summary: impl Into<String>, detail: impl Into<String>) {
        self.add_at(rule, None, place, summary, detail);
    }

    /// Adds a finding with a level of its own.
    pub fn add_at(
        &mut self,
        id: &'static str,
        level: Option<LintLevel>,
        place: Place,
        summary: impl Into<String>,
        detail: impl Into<String>,
    ) {
        // Each id that a rule's code uses is in the registry: a test has every rule found.
        let Some(rule) = rule::rule(id) else { return };
        let count = self.counts.entry(id).or_default();
        if *count < MAX_OF_A_RULE && self.known.insert((id, place)) {
            *count += 1;
            self.found.push(Finding { rule, level, place, summary: summary.into(), detail: detail.into() });
        }
    }
}

/// Places of secrets, overlapping ones as one.
#[derive(Debug, Default)]
pub struct Secrets {
    /// End by file and start.
    ends: BTreeMap<(usize, usize), usize>,
}

impl Secrets {
    /// Adds one. Says whether it is new: no known one overlaps it.
    pub fn add(&mut self, place: Place) -> bool {
        let (mut start, mut end) = (place.start, place.end);
        let overlapping: Vec<(usize, usize)> = self.overlapping(place).collect();
        for (known_start, known_end) in &overlapping {
            self.ends.remove(&(place.file, *known_start));
            (start, end) = (start.min(*known_start), end.max(*known_end));
        }
        self.ends.insert((place.file, start), end);
        overlapping.is_empty()
    }

    /// Start and end of those that overlap a place.
    fn overlapping(&self, place: Place) -> impl Iterator<Item = (usize, usize)> {
        let range = self.ends.range((place.file, 0)..(place.file, place.end)).rev();
        // They do not overlap each other, so the first that ends before the place ends the search.
        range.map(|((_, start), end)| (*start, *end)).take_while(move |(_, end)| *end > place.start)
    }

    /// A part of a file with a `*` for each character of a secret, so that columns stay.
    #[must_use]
    pub fn mask(&self, text: &str, place: Place) -> String {
        let hidden: Vec<(usize, usize)> = self.overlapping(place).collect();
        if hidden.is_empty() {
            return text.to_owned();
        }
        let is_hidden = |at: usize| hidden.iter().any(|(start, end)| (*start..*end).contains(&(place.start + at)));
        text.char_indices().map(|(at, character)| if is_hidden(at) { '*' } else { character }).collect()
    }

    /// A message about a place without the secrets that stand there.
    #[must_use]
    pub fn scrub(&self, mut message: String, place: Place, model: &Model) -> String {
        for (start, end) in self.overlapping(place) {
            let secret = model.raw(Place { start, end, ..place });
            if !secret.is_empty() && message.contains(secret) {
                message = message.replace(secret, "<secret>");
            }
        }
        message
    }
}
