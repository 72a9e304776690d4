//! Packer's own test templates, where `INGOT_CORPUS` names the folder that has them. Each has Packer's verdict.

use std::path::Path;

use indexmap::IndexMap;

use super::{Given, lines};
use crate::template::outline;

/// Templates that are judged differently here, and why.
const KNOWN: &[(u64, &str)] = &[
    (279, "a required variable has no value, which Packer's core test does not look at"),
    (301, "the case comes without the value of a required variable"),
];

/// Complaints that say nothing about the language: components and options that are made up or not there yet.
pub(super) fn about_components(complaint: &str) -> bool {
    [
        "not supported yet",
        "there is no provisioner",
        "there is no post-processor",
        "there is no builder",
        "can't be used here",
        "the bundle has no file",
        "has no option",
        "is missing",
        "needs inline, script",
        "needs source, sources",
        "that is not NAME=value",
        "var_files",
        // Cases that are only parsed there have no builders; AMI names are "%s", filled in by Packer's tests.
        "the template has no builders",
        "ami_name must have 3 to 128 characters, \"%s\"",
        "ami_name \"%s\" holds",
        "deprecate_at must be a time such as 2027-01-31T00:00:00Z, this is \"%s\"",
        "source_ami_filter is missing",
    ]
    .iter()
    .any(|part| complaint.contains(part))
}

#[test]
fn verdicts() {
    let Some(folder) = std::env::var_os("INGOT_CORPUS") else {
        eprintln!("skipped: INGOT_CORPUS is not set");
        return;
    };
    let folder = Path::new(&folder);
    let cases = std::fs::read_to_string(folder.join("cases.jsonl")).unwrap();
    let mut counts: IndexMap<&str, usize> = IndexMap::new();
    let mut wrong = Vec::new();
    for line in cases.lines() {
        let case: serde_json::Value = serde_json::from_str(line).unwrap();
        let (id, path, kind) =
            (case["id"].as_u64().unwrap(), case["file"].as_str().unwrap(), case["kind"].as_str().unwrap());
        let Ok(bytes) = std::fs::read(folder.join(path)) else { continue };
        if kind == "fmt" {
            continue;
        }
        let name = path.rsplit('/').next().unwrap();
        let mut given = Given::default();
        given.files.push((name.to_owned(), bytes));
        let args: Vec<&str> = case["args"].as_array().unwrap().iter().filter_map(|arg| arg.as_str()).collect();
        for pair in args.windows(2).filter(|pair| pair[0] == "-var") {
            let (name, value) = pair[1].split_once('=').unwrap();
            given = given.var(name, value);
        }
        // What only parses needs no values.
        let result = if kind == "json-template-parse" || kind == "hcl-parse-only" {
            outline(&given.bundle()).map(|_| ())
        } else {
            given.run().map(|_| ())
        };
        let accept = case["exit"] == 0;
        let verdict = match (&result, accept) {
            (Ok(()), true) | (Err(_), false) => "right",
            (Ok(()), false) => "accepted, should be refused",
            (Err(complaints), true)
                if complaints.iter().filter(|c| c.is_error()).all(|c| about_components(&c.to_string())) =>
            {
                "refused for its components"
            }
            (Err(_), true) => "refused, should be accepted",
        };
        *counts.entry(verdict).or_default() += 1;
        if verdict.contains("should") && !KNOWN.iter().any(|(known, _)| *known == id) {
            let said = result.err().map(|complaints| lines(&complaints)).unwrap_or_default();
            wrong.push(format!("{id} {path}: {verdict}\n{said}"));
        }
    }
    eprintln!("{counts:#?}");
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}
