//! Why no approved image was found: which condition had no match, and what came nearest.

use std::collections::BTreeSet;

use super::index::{ApprovedQuery, Entry, Index};

/// Entries that are looked at for an explanation.
const MOST_EXAMINED: usize = 10_000;
/// Alternatives that are named.
const MOST_NAMED: usize = 6;
const MOST_NEAR: usize = 3;

/// Names the one of the known words that was perhaps meant; empty when none was.
pub type Suggest = fn(&str, &[&str]) -> String;

/// One line of the explanation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Miss {
    /// `family=web`, `region=eu-west-1`, `tag.OS=Ubuntu`; empty when it is about the whole.
    pub condition: String,
    pub explanation: String,
}

/// A condition of a query, by itself.
#[derive(Clone, Copy)]
enum Condition<'q> {
    Families(&'q [String]),
    Region(&'q str),
    Account(&'q str),
    Arch(&'q str),
    Tag(&'q str, &'q str),
}

impl<'q> Condition<'q> {
    fn all(query: &'q ApprovedQuery) -> Vec<Self> {
        let families = (!query.families.is_empty()).then_some(Self::Families(&query.families));
        let copies = [
            query.region.as_deref().map(Self::Region),
            query.account.as_deref().map(Self::Account),
            query.arch.as_deref().map(Self::Arch),
        ];
        let tags = query.tags.iter().map(|(key, value)| Self::Tag(key, value));
        families.into_iter().chain(copies.into_iter().flatten()).chain(tags).collect()
    }

    fn name(self) -> String {
        match self {
            Self::Families(names) => format!("family={}", names.join(",")),
            Self::Region(name) => format!("region={name}"),
            Self::Account(name) => format!("account={name}"),
            Self::Arch(name) => format!("arch={name}"),
            Self::Tag(key, value) => format!("tag.{key}={value}"),
        }
    }

    /// What an entry has of this kind.
    fn values(self, entry: &Entry) -> BTreeSet<String> {
        let image = &entry.image;
        let copies = image.copies.iter().filter(|copy| copy.state == "available");
        match self {
            Self::Families(_) => BTreeSet::from([image.family.clone()]),
            Self::Region(_) => copies.map(|copy| copy.region.clone()).collect(),
            Self::Account(_) => copies.map(|copy| copy.account.clone()).collect(),
            Self::Arch(_) => copies.map(|copy| copy.arch.clone()).collect(),
            Self::Tag(key, _) => copies.filter_map(|copy| copy.tags.get(key).cloned()).collect(),
        }
    }

    fn met_by(self, entry: &Entry) -> bool {
        let values = self.values(entry);
        match self {
            Self::Families(names) => names.iter().any(|name| values.contains(name)),
            Self::Region(wanted) | Self::Account(wanted) | Self::Arch(wanted) | Self::Tag(_, wanted) => {
                values.contains(wanted)
            }
        }
    }
}

/// Says why the index has nothing for the query.
pub(super) fn explain(index: &Index, query: &ApprovedQuery, suggest: Suggest) -> Vec<Miss> {
    let stage = &query.stage;
    let entries: Vec<&Entry> = index.entries(stage).take(MOST_EXAMINED).map(AsRef::as_ref).collect();
    let conditions = Condition::all(query);
    if entries.is_empty() {
        let mut misses = vec![Miss {
            condition: format!("stage={stage}"),
            explanation: format!("no image is in {stage}; one gets there by POST /v1/images/ID/promote"),
        }];
        misses.extend(query.families.iter().filter_map(|family| elsewhere(index, family)));
        return misses;
    }
    let mut misses: Vec<Miss> = Vec::new();
    for condition in &conditions {
        if entries.iter().any(|entry| condition.met_by(entry)) {
            continue;
        }
        match condition {
            Condition::Families(names) => {
                misses.extend(names.iter().map(|family| family_miss(index, &entries, stage, family, suggest)));
            }
            condition => {
                misses.push(Miss { condition: condition.name(), explanation: value_miss(&entries, stage, *condition) });
            }
        }
    }
    if misses.is_empty() {
        misses = near(&entries, &conditions);
    }
    misses
}

fn family_miss(index: &Index, entries: &[&Entry], stage: &str, family: &str, suggest: Suggest) -> Miss {
    if let Some(miss) = elsewhere(index, family) {
        return miss;
    }
    let known: Vec<&str> = entries.iter().map(|entry| entry.image.family.as_str()).collect();
    let hint = suggest(family, &known);
    let hint = if hint.is_empty() { String::new() } else { format!("; {hint}") };
    Miss {
        condition: format!("family={family}"),
        explanation: format!("no image of this family is in {stage} or any other stage{hint}"),
    }
}

/// Where a family is instead.
fn elsewhere(index: &Index, family: &str) -> Option<Miss> {
    let places: Vec<String> =
        index.of_family(family).map(|entry| format!("{} holds #{}", entry.stage, entry.image.number)).collect();
    (!places.is_empty()).then(|| Miss {
        condition: format!("family={family}"),
        explanation: format!("it has no image in this stage; {}", places.join(", ")),
    })
}

fn value_miss(entries: &[&Entry], stage: &str, condition: Condition<'_>) -> String {
    let there: BTreeSet<String> = entries.iter().flat_map(|entry| condition.values(entry)).collect();
    if there.is_empty() {
        let copies = entries.iter().flat_map(|entry| &entry.image.copies);
        let keys: BTreeSet<&String> = copies.flat_map(|copy| copy.tags.keys()).collect();
        let own = keys.into_iter().filter(|key| !key.starts_with(crate::domain::tags::PREFIX));
        return format!("no image in {stage} has this tag; tags there are {}", named(own.cloned()));
    }
    format!("no image in {stage} has it; there are {}", named(there.into_iter()))
}

fn named(values: impl Iterator<Item = String>) -> String {
    let values: Vec<String> = values.collect();
    let more = values.len().saturating_sub(MOST_NAMED);
    let text = values.iter().take(MOST_NAMED).cloned().collect::<Vec<_>>().join(", ");
    match (text.is_empty(), more) {
        (true, _) => "(none)".to_owned(),
        (false, 0) => text,
        (false, more) => format!("{text} and {more} more"),
    }
}

/// Each condition is met by something, but nothing meets all: what comes nearest.
fn near(entries: &[&Entry], conditions: &[Condition<'_>]) -> Vec<Miss> {
    let failed = |entry: &Entry| -> Vec<Condition<'_>> {
        conditions.iter().filter(|condition| !condition.met_by(entry)).copied().collect()
    };
    let mut ranked: Vec<(Vec<Condition<'_>>, &Entry)> = entries.iter().map(|entry| (failed(entry), *entry)).collect();
    // Who names a family does not want another one.
    let other_family = |failed: &[Condition<'_>]| failed.iter().any(|one| matches!(one, Condition::Families(_)));
    ranked.sort_by_key(|(failed, _)| (other_family(failed), failed.len()));
    let line = |(failed, entry): (Vec<Condition<'_>>, &Entry)| {
        let name = format!("{} #{}", entry.image.family, entry.image.number);
        if failed.is_empty() {
            // All but the family is asked of one copy.
            let copies =
                entry.image.copies.iter().map(|copy| format!("{} {} in {}", copy.region, copy.arch, copy.account));
            let explanation = format!("{name} has no single copy with all of this; it has {}", named(copies));
            return Miss { condition: String::new(), explanation };
        }
        let reasons = failed.iter().map(|condition| {
            let has = condition.values(entry);
            let has = if has.is_empty() { "no such tag".to_owned() } else { named(has.into_iter()) };
            format!("{} (it has {has})", condition.name())
        });
        let explanation = format!("{name} fails only {}", reasons.collect::<Vec<_>>().join(" and "));
        Miss { condition: String::new(), explanation }
    };
    ranked.into_iter().take(MOST_NEAR).map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::super::index::tests::{entry, index, query};
    use super::*;

    #[test]
    fn misses_as_people_read_them() {
        let index = index(vec![
            entry("prod", "web", 7, 10, "OS=Ubuntu,Team=shop", "eu-west-1/x86_64 us-east-1/arm64"),
            entry("prod", "db", 1, 30, "OS=Debian,Team=core,ingot:sha=1", "us-east-1/x86_64"),
            entry("staging", "api", 3, 20, "OS=Ubuntu", "us-east-1/arm64"),
        ]);
        let told = |text: &str| {
            let lines: Vec<String> = explain(&index, &query(text), |_, known| format!("known: {}", known.join(" ")))
                .into_iter()
                .map(|miss| format!("{}: {}", miss.condition, miss.explanation))
                .collect();
            format!("[{text}]\n{}", lines.join("\n"))
        };
        let all = [
            "stage=dev&family=api",
            "family=api",
            "family=wbe",
            "region=eu-west-9&OS=Ubunto&Tier=1",
            "Team=core&region=eu-west-1",
            "family=web&arch=x86_64&region=us-east-1",
        ];
        insta::assert_snapshot!(all.map(told).join("\n\n"), @r#"
        [stage=dev&family=api]
        stage=dev: no image is in dev; one gets there by POST /v1/images/ID/promote
        family=api: it has no image in this stage; staging holds #3

        [family=api]
        family=api: it has no image in this stage; staging holds #3

        [family=wbe]
        family=wbe: no image of this family is in prod or any other stage; known: db web

        [region=eu-west-9&OS=Ubunto&Tier=1]
        region=eu-west-9: no image in prod has it; there are eu-west-1, us-east-1
        tag.OS=Ubunto: no image in prod has it; there are Debian, Ubuntu
        tag.Tier=1: no image in prod has this tag; tags there are OS, Team

        [Team=core&region=eu-west-1]
        : db #1 fails only region=eu-west-1 (it has us-east-1)
        : web #7 fails only tag.Team=core (it has shop)

        [family=web&arch=x86_64&region=us-east-1]
        : web #7 has no single copy with all of this; it has eu-west-1 x86_64 in default, us-east-1 arm64 in default
        : db #1 fails only family=web (it has db)
        "#);
    }
}
