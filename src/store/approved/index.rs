//! What the stages point to, in memory, and the look-up.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use chrono::{DateTime, Utc};

use crate::store::images::{CopyRow, ImageRow};

/// What is asked for; what is empty does not matter. What is asked of copies, tags included, must be true of one copy.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ApprovedQuery {
    pub stage: String,
    /// One of them.
    pub families: Vec<String>,
    pub region: Option<String>,
    pub account: Option<String>,
    pub arch: Option<String>,
    /// All of them.
    pub tags: Vec<(String, String)>,
}

/// What a stage holds of one family.
#[derive(Debug, Clone)]
pub struct Entry {
    pub stage: String,
    pub generation: i64,
    pub since: DateTime<Utc>,
    pub image: Arc<ImageRow>,
}

/// An approved image with those of its copies that were asked for, the build's own region first.
#[derive(Debug, Clone)]
pub struct Found {
    pub entry: Arc<Entry>,
    pub copies: Vec<CopyRow>,
}

/// The newest promotion first; the family tells two of the same instant apart.
type Place = (Reverse<DateTime<Utc>>, String);

/// One stage.
#[derive(Debug, Default)]
pub(super) struct Stage {
    by_family: HashMap<String, Arc<Entry>>,
    newest: BTreeMap<Place, Arc<Entry>>,
    by_tag: HashMap<(String, String), BTreeMap<Place, Arc<Entry>>>,
}

/// All stages, as of one value of the approval clock.
#[derive(Debug, Default)]
pub struct Index {
    clock: i64,
    stages: BTreeMap<String, Stage>,
}

impl ApprovedQuery {
    /// The copies that were asked for.
    pub(super) fn copies<'i>(&'i self, image: &'i ImageRow) -> impl Iterator<Item = &'i CopyRow> {
        let same = |wanted: &Option<String>, value: &str| wanted.as_ref().is_none_or(|wanted| wanted == value);
        image.copies.iter().filter(move |copy| {
            copy.state == "available"
                && same(&self.region, &copy.region)
                && same(&self.account, &copy.account)
                && same(&self.arch, &copy.arch)
                && self.tags.iter().all(|(key, value)| copy.tags.get(key) == Some(value))
        })
    }

    fn matches(&self, entry: &Entry) -> bool {
        let image = &entry.image;
        (self.families.is_empty() || self.families.contains(&image.family)) && self.copies(image).next().is_some()
    }
}

impl Index {
    #[must_use]
    pub fn clock(&self) -> i64 {
        self.clock
    }

    pub(super) fn set_clock(&mut self, clock: i64) {
        self.clock = clock;
    }

    /// Takes over what a stage holds of a family now.
    pub(super) fn set(&mut self, stage: &str, family: &str, entry: Option<Entry>) {
        let stage = self.stages.entry(stage.to_owned()).or_default();
        if let Some(old) = stage.by_family.remove(family) {
            let place = place(&old);
            stage.newest.remove(&place);
            for tag in tags_of(&old.image) {
                if let Some(holders) = stage.by_tag.get_mut(&tag) {
                    holders.remove(&place);
                    if holders.is_empty() {
                        stage.by_tag.remove(&tag);
                    }
                }
            }
        }
        let Some(entry) = entry.map(Arc::new) else { return };
        let place = place(&entry);
        for tag in tags_of(&entry.image) {
            let holders = stage.by_tag.entry(tag).or_default();
            holders.insert(place.clone(), entry.clone());
        }
        stage.by_family.insert(family.to_owned(), entry.clone());
        stage.newest.insert(place, entry);
    }

    /// Of the entries that match, the one that was promoted last.
    #[must_use]
    pub fn find(&self, query: &ApprovedQuery) -> Option<Found> {
        let stage = self.stages.get(&query.stage)?;
        let entry = if query.families.is_empty() {
            let mut rarest = &stage.newest;
            for tag in &query.tags {
                let holders = stage.by_tag.get(tag)?;
                if holders.len() < rarest.len() {
                    rarest = holders;
                }
            }
            rarest.values().find(|entry| query.matches(entry))
        } else {
            let entries = query.families.iter().filter_map(|family| stage.by_family.get(family));
            entries.filter(|entry| query.matches(entry)).min_by_key(|entry| place(entry))
        };
        let entry = entry?.clone();
        let copies = query.copies(&entry.image).cloned().collect();
        Some(Found { entry, copies })
    }

    /// What a stage holds, the newest promotion first.
    pub(super) fn entries(&self, stage: &str) -> impl Iterator<Item = &Arc<Entry>> {
        self.stages.get(stage).into_iter().flat_map(|stage| stage.newest.values())
    }

    /// What all stages hold of a family.
    pub(super) fn of_family<'i>(&'i self, family: &'i str) -> impl Iterator<Item = &'i Arc<Entry>> {
        self.stages.values().filter_map(move |stage| stage.by_family.get(family))
    }
}

/// What any copy of the image has; an AMI's own tags are looked at in the end.
fn tags_of(image: &ImageRow) -> BTreeSet<(String, String)> {
    let tags = image.copies.iter().flat_map(|copy| &copy.tags);
    tags.map(|(key, value)| (key.clone(), value.clone())).collect()
}

fn place(entry: &Entry) -> Place {
    (Reverse(entry.since), entry.image.family.clone())
}

#[cfg(test)]
pub(super) mod tests {
    use chrono::TimeDelta;
    use indexmap::IndexMap;
    use uuid::Uuid;

    use super::*;
    use crate::domain::ids::{BuildId, ImageId, RunId};
    use crate::domain::image::ImageState;
    use crate::store::images::{StageTags, StobRow};

    /// An image of a family with tags `A=1,B=2` and copies `region/arch`.
    pub fn entry(stage: &str, family: &str, number: i64, minute: i64, tags: &str, copies: &str) -> Entry {
        let at = DateTime::UNIX_EPOCH + TimeDelta::minutes(minute);
        let tags: IndexMap<String, String> = tags
            .split(',')
            .filter_map(|tag| tag.split_once('='))
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect();
        let copy = |text: &str| {
            let (region, arch) = text.split_once('/').unwrap();
            CopyRow {
                build: "amazon-ebs.web".into(),
                build_id: BuildId(Uuid::nil()),
                platform: "linux".into(),
                arch: arch.into(),
                account: "default".into(),
                region: region.into(),
                ami_id: format!("ami-{family}-{number}-{region}-{arch}"),
                snapshot_ids: Vec::new(),
                state: "available".into(),
                tags: tags.clone(),
            }
        };
        let image = ImageRow {
            id: ImageId(Uuid::from_u128(u128::try_from(number).unwrap())),
            family: family.into(),
            number,
            state: ImageState::Built,
            stob: StobRow { sha: "abc".into(), time: at, os: None, builder: "ingot".into() },
            source_image: None,
            copies: copies.split(' ').map(copy).collect(),
            tags: tags.clone(),
            run_id: RunId(Uuid::nil()),
            stages: Vec::new(),
            stage_tags: StageTags::Written,
            created_at: at,
        };
        Entry { stage: stage.into(), generation: 1, since: at, image: Arc::new(image) }
    }

    pub fn index(entries: Vec<Entry>) -> Index {
        let mut index = Index::default();
        for entry in entries {
            let (stage, family) = (entry.stage.clone(), entry.image.family.clone());
            index.set(&stage, &family, Some(entry));
        }
        index
    }

    pub fn query(text: &str) -> ApprovedQuery {
        let mut query = ApprovedQuery { stage: "prod".into(), ..ApprovedQuery::default() };
        for (key, value) in text.split('&').filter_map(|pair| pair.split_once('=')) {
            match key {
                "stage" => query.stage = value.into(),
                "family" => query.families.push(value.into()),
                "region" => query.region = Some(value.into()),
                "arch" => query.arch = Some(value.into()),
                "account" => query.account = Some(value.into()),
                tag => query.tags.push((tag.into(), value.into())),
            }
        }
        query
    }

    fn found(index: &Index, text: &str) -> Option<String> {
        let found = index.find(&query(text))?;
        Some(found.copies.iter().map(|copy| copy.ami_id.clone()).collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn the_newest_promotion_that_matches_wins() {
        let index = index(vec![
            entry("prod", "web", 7, 10, "OS=Ubuntu,Team=shop", "eu-west-1/x86_64 us-east-1/x86_64"),
            entry("prod", "api", 3, 20, "OS=Ubuntu,Team=core", "us-east-1/arm64"),
            entry("prod", "db", 1, 30, "OS=Debian,Team=core", "us-east-1/x86_64"),
            entry("dev", "web", 9, 40, "OS=Ubuntu,Team=shop", "eu-west-1/x86_64"),
        ]);
        let find = |text: &str| found(&index, text);
        assert_eq!(find("").unwrap(), "ami-db-1-us-east-1-x86_64");
        assert_eq!(find("OS=Ubuntu").unwrap(), "ami-api-3-us-east-1-arm64");
        assert_eq!(find("OS=Ubuntu&arch=x86_64&region=us-east-1").unwrap(), "ami-web-7-us-east-1-x86_64");
        assert_eq!(find("family=web").unwrap(), "ami-web-7-eu-west-1-x86_64 ami-web-7-us-east-1-x86_64");
        assert_eq!(find("family=web&family=api").unwrap(), "ami-api-3-us-east-1-arm64");
        assert_eq!(find("stage=dev").unwrap(), "ami-web-9-eu-west-1-x86_64");
        for nothing in ["family=web&OS=Debian", "Team=none", "stage=staging", "region=eu-west-1&arch=arm64"] {
            assert_eq!(find(nothing), None, "{nothing}");
        }
    }

    /// Two sources of one template with tags of their own.
    #[test]
    fn tags_are_those_of_the_ami() {
        let mut two = entry("prod", "web", 7, 10, "OS=Ubuntu", "eu-west-1/x86_64 us-east-1/x86_64");
        let image = Arc::get_mut(&mut two.image).unwrap();
        image.copies[1].tags = [("OS".to_owned(), "Debian".to_owned())].into();
        let index = index(vec![two]);
        assert_eq!(found(&index, "OS=Ubuntu").unwrap(), "ami-web-7-eu-west-1-x86_64");
        assert_eq!(found(&index, "OS=Debian").unwrap(), "ami-web-7-us-east-1-x86_64");
        assert_eq!(found(&index, "OS=Debian&region=eu-west-1"), None);
    }

    #[test]
    fn what_a_stage_held_before_is_forgotten() {
        let mut index = index(vec![entry("prod", "web", 7, 10, "OS=Ubuntu", "us-east-1/x86_64")]);
        index.set("prod", "web", Some(entry("prod", "web", 8, 20, "OS=Debian", "us-east-1/x86_64")));
        assert_eq!(found(&index, "OS=Ubuntu"), None);
        assert_eq!(found(&index, "OS=Debian").unwrap(), "ami-web-8-us-east-1-x86_64");
        index.set("prod", "web", None);
        assert_eq!(found(&index, ""), None);
        assert!(index.stages["prod"].by_tag.is_empty());
    }
}
