//! Which image a build starts from, and what the one it makes is called.

use crate::template::lint::context::Context;
use crate::template::lint::findings::Findings;
use crate::template::lint::model::{self, Component, Entry, Kind, Language, Piece, Place, Value};
use crate::template::lint::names;

pub fn check(context: &Context<'_>, findings: &mut Findings) {
    for source in &context.model.sources {
        if source.makes_ami() {
            name(source, findings);
        }
        if source.is_amazon() {
            base(source, findings);
            encryption(source, findings);
            filter(source.entry("source_ami_filter"), findings);
        }
    }
    for data in context.model.data.iter().filter(|data| data.kind == "amazon-ami") {
        let entries = Value { place: data.at, kind: Kind::Map(data.options.clone()) };
        let entry = Entry { key: "data".to_owned(), key_place: data.at, value: entries };
        filter(Some(&entry), findings);
    }
    for build in &context.model.builds {
        let known = build.post_processors.iter().any(|one| one.kind == "manifest");
        let unknown = build.dynamic.iter().any(|kind| kind.starts_with("post-processor"));
        if !known && !unknown && context.makes_images(build) {
            findings.add(
                "manifest-missing",
                build.at,
                "no manifest post-processor records which image this build made",
                "Without one, the steps after the build have to guess the image's id or search for it by name. Add \
                 `post-processor \"manifest\" { output = \"manifest.json\" }`; Ingot keeps the file with the run.",
            );
        }
    }
    if let (Language::LegacyJson, Some(at)) = (context.model.language, context.model.at) {
        findings.add(
            "json-legacy",
            at,
            "the template is in the legacy JSON format",
            "JSON templates have no locals, no functions, no comments and no validation of variables, and Packer adds nothing \
             to them any more. `ingot hcl2_upgrade` writes it as HCL2; look over what comes out.",
        );
    }
}

fn name(source: &Component, findings: &mut Findings) {
    let Some(entry) = source.entry("ami_name") else { return };
    let same_name_wanted = source.text("force_deregister").as_deref() == Some("true");
    if entry.value.changes() || entry.value.is_empty() || same_name_wanted || has_version_variable(&entry.value) {
        return;
    }
    findings.add(
        "ami-name-static",
        entry.value.place,
        "ami_name is the same in each run",
        "An account can have only one image of a name in a region: the second run fails, after all its work. Put \
         `{{timestamp}}`, `formatdate(…, timestamp())` or a version that the run gives into the name.",
    );
}

/// A variable for a version has a default for people who try the template out; pipelines give it.
fn has_version_variable(value: &Value) -> bool {
    const VERSION: &[&str] = &[
        "version",
        "sha",
        "commit",
        "revision",
        "rev",
        "tag",
        "release",
        "timestamp",
        "date",
        "time",
        "suffix",
        "number",
        "id",
        "stamp",
        "ref",
    ];
    let versioned = |name: &str| names::words(name).iter().any(|word| VERSION.contains(&word.as_str()));
    match &value.kind {
        Kind::Unknown(hole) => {
            hole.variables.iter().any(|name| versioned(name)) || hole.parts.iter().any(has_version_variable)
        }
        Kind::Text(text) => text.pieces.iter().any(|piece| match piece {
            Piece::Hole(_, hole) => {
                hole.variables.iter().any(|name| versioned(name)) || hole.parts.iter().any(has_version_variable)
            }
            Piece::Literal { via, .. } => via.as_ref().is_some_and(|via| versioned(&via.variable)),
        }),
        Kind::List(items) => items.iter().any(has_version_variable),
        _ => false,
    }
}

fn base(source: &Component, findings: &mut Findings) {
    let mut written: Vec<(String, Place)> = Vec::new();
    for path in ["source_ami", "source_ami_filter.filters.image-id"] {
        if let Some(value) = source.get(path) {
            value.literals(&mut |text, place| {
                if is_ami_id(text) {
                    written.push((text.trim().to_owned(), place));
                }
            });
        }
    }
    for (id, place) in written {
        findings.add(
            "ami-id-hard-coded",
            place,
            format!("the base image {id} is written into the template"),
            "An AMI id belongs to one region, gets no security updates, and vanishes when its owner withdraws it. Name the image \
             by source_ami_filter with a name pattern, owners and most_recent = true, or by a data source.",
        );
    }
}

fn is_ami_id(text: &str) -> bool {
    text.trim()
        .strip_prefix("ami-")
        .is_some_and(|rest| (1..=32).contains(&rest.len()) && rest.bytes().all(|byte| byte.is_ascii_alphanumeric()))
}

fn filter(entry: Option<&Entry>, findings: &mut Findings) {
    let Some(entry) = entry else { return };
    let options = match &entry.value.kind {
        Kind::Map(entries) => entries.as_slice(),
        Kind::List(items) => items.first().and_then(Value::entries).unwrap_or_default(),
        _ => return,
    };
    let get = |name: &str| model::entry(options, name);
    if get("owners").is_none_or(|owners| owners.value.is_empty()) && get("owner").is_none() {
        let place = get("owners").map_or(entry.key_place, |owners| owners.value.place);
        findings.add(
            "source-filter-owner",
            place,
            "the image filter names no owner",
            "Anybody can publish an image with a name that matches, and the newest one would be taken. Give the publisher's account \
             in owners: \"099720109477\" is Canonical's, \"amazon\" Amazon's own, \"self\" yours.",
        );
    }
    let by_id = get("filters.image-id").is_some();
    let most_recent = get("most_recent").map(|entry| &entry.value);
    let off = most_recent.is_none_or(|value| matches!(value.text().as_deref(), Some("false")));
    if off && !by_id {
        findings.add(
            "source-filter-most-recent",
            most_recent.map_or(entry.key_place, |value| value.place),
            "the image filter does not say most_recent = true",
            "Publishers release a new image every few weeks. As soon as two match, the build fails. Add most_recent = true to take \
             the newest.",
        );
    }
}

fn encryption(source: &Component, findings: &mut Findings) {
    let encrypts = |value: &Value| value.text().is_none_or(|text| text == "true");
    let boot = source.get("encrypt_boot");
    let devices = [
        "launch_block_device_mappings",
        "ami_block_device_mappings",
        "ami_root_device",
        "launch_volumes",
        "ebs_volumes",
    ];
    let device = devices.iter().flat_map(|name| source.all(name)).any(|device| match &device.value.kind {
        Kind::Map(entries) => model::entry(entries, "encrypted").is_some_and(|entry| encrypts(&entry.value)),
        Kind::List(items) => items
            .iter()
            .filter_map(Value::entries)
            .any(|entries| model::entry(entries, "encrypted").is_some_and(|entry| encrypts(&entry.value))),
        _ => true,
    });
    if source.makes_ami() && !boot.is_some_and(encrypts) && !device {
        findings.add(
            "root-volume-unencrypted",
            boot.map_or(source.at, |value| value.place),
            "nothing asks for the image's root volume to be encrypted",
            "Unless the account encrypts volumes by itself, everything in the image lies in plain on its snapshot. Set \
             encrypt_boot = true, with a kms_key_id of your own if the image is to be shared.",
        );
    }
}
