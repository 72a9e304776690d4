//! Whether the image's tags tell where it comes from: commit, time, base and builder ("STOB": SHA, time, OS, builder).

use crate::template::lint::context::Context;
use crate::template::lint::findings::Findings;
use crate::template::lint::model::{Component, Entry, Kind, Model, Value};
use crate::template::lint::names;

pub fn check(context: &Context<'_>, findings: &mut Findings) {
    for source in context.model.sources.iter().filter(|source| source.makes_ami()) {
        let mut tags = Tags::default();
        written(&context.model, source, &mut tags);
        if let Some(evaluated) = context.evaluated(source).filter(|_| tags.unknown) {
            tags.unknown = false;
            for (key, value) in &evaluated.tags {
                tags.add(key, &value.0, false);
            }
        }
        let missing = tags.missing();
        if tags.unknown || missing.is_empty() {
            continue;
        }
        let place = source.entry("tags").or_else(|| source.entry("tag")).map_or(source.at, |entry| entry.key_place);
        findings.add(
            "tags-incomplete",
            place,
            format!("the image's tags do not tell {}", names_list(&missing)),
            "When a machine misbehaves, its image's tags should lead to the commit and the base it was made from. Ingot writes ingot:sha, \
             ingot:time, ingot:os and ingot:builder by itself; what else reads tags needs them in the template: Git-SHA = \
             \"{{env `GIT_SHA`}}\", Build-Time = \"{{timestamp}}\", Base-AMI = \"{{ .SourceAMIName }}\", Built-By = \"packer\".",
        );
    }
}

fn names_list(missing: &[&str]) -> String {
    match missing {
        [one] => (*one).to_owned(),
        [first @ .., last] => format!("{} or {last}", first.join(", ")),
        [] => String::new(),
    }
}

#[expect(clippy::struct_excessive_bools, reason = "each is a question of its own")]
#[derive(Default)]
struct Tags {
    commit: bool,
    time: bool,
    base: bool,
    builder: bool,
    /// Some of them are not known.
    unknown: bool,
}

impl Tags {
    fn add(&mut self, key: &str, value: &str, changes: bool) {
        let words = names::words(key);
        let has = |list: &[&str]| words.iter().any(|word| list.contains(&word.as_str()));
        let joined = words.join("");
        let value_words = names::words(value);
        let says = |list: &[&str]| value_words.iter().any(|word| list.contains(&word.as_str()));
        self.commit |=
            has(&["sha", "sha1", "git", "commit", "revision", "rev", "githash", "gitsha", "gitcommit", "vcs", "ref"])
                || joined.contains("gitsha");
        self.time |= has(&["time", "date", "timestamp", "created", "built", "buildtime", "builddate", "createdat"])
            && !has(&["by"])
            || says(&["timestamp", "isotime"])
            || (changes && has(&["build", "release"]));
        self.base |= has(&[
            "os",
            "base",
            "distro",
            "distribution",
            "sourceami",
            "platform",
            "ubuntu",
            "debian",
            "rhel",
            "centos",
        ]) || joined.contains("sourceami")
            || joined.contains("baseami")
            || value.contains("SourceAMI");
        self.builder |= has(&["builder", "tool", "packer", "creator", "owner", "pipeline", "job", "managed", "ci"])
            || (has(&["by"]) && has(&["built", "created", "managed", "build", "made", "baked"]))
            || joined.contains("builtby")
            || joined.contains("createdby")
            || says(&["packer", "ingot"])
            || (has(&["build"]) && has(&["url", "id", "number"]));
    }

    fn missing(&self) -> Vec<&'static str> {
        let all = [
            (self.commit, "the commit"),
            (self.time, "the time"),
            (self.base, "the base image"),
            (self.builder, "the builder"),
        ];
        all.into_iter().filter(|(there, _)| !there).map(|(_, name)| name).collect()
    }
}

fn written(model: &Model, source: &Component, tags: &mut Tags) {
    for name in ["tags", "tag"] {
        for entry in source.all(name) {
            let Kind::Map(entries) = &entry.value.kind else {
                gather(model, &entry.value, tags);
                continue;
            };
            let field = |key: &str| entries.iter().find(|entry| entry.key == key).map(|entry| &entry.value);
            if let ("tag", Some(key), Some(value)) = (name, field("key"), field("value")) {
                one(model, &key.text().unwrap_or_default(), value, tags);
            } else {
                for Entry { key, value, .. } in entries {
                    one(model, key, value, tags);
                }
            }
        }
    }
}

/// `merge(local.tags, { … })` and their like.
fn gather(model: &Model, value: &Value, tags: &mut Tags) {
    match &value.kind {
        Kind::Map(entries) => entries.iter().for_each(|entry| one(model, &entry.key, &entry.value, tags)),
        Kind::List(items) => items.iter().for_each(|item| gather(model, item, tags)),
        Kind::Unknown(hole) => {
            tags.unknown |= hole.parts.is_empty() || hole.changes;
            hole.parts.iter().for_each(|part| gather(model, part, tags));
        }
        Kind::Null | Kind::Bool(_) | Kind::Text(_) => {}
    }
}

fn one(model: &Model, key: &str, value: &Value, tags: &mut Tags) {
    // The raw text shows `{{timestamp}}` and `{{ .SourceAMI }}`, too.
    tags.add(key, model.raw(value.place), value.changes());
}
