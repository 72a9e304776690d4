//! Packer's own test templates, where `INGOT_CORPUS` names the folder that has them. Each has Packer's verdict. Where a
//! case uses components that Packer's tests make up, what counts is the verdict on the language: complaints about
//! components that are made up are left out.

use std::path::Path;

use super::{Given, lines};
use crate::domain::diagnostic::Diagnostic;
use crate::template::outline;

/// Cases that can't have Packer's verdict, and why.
const KNOWN: &[(u64, &str)] = &[
    (279, "a required variable has no value, which Packer's core test does not look at"),
    (301, "the case comes without the value of a required variable"),
];

/// What a made-up component leads to: it does not exist here, or has other options.
const MADE_UP: &[&str] = &[
    "not supported yet",
    "can't be used here",
    "the bundle has no file",
    "has no option",
    "is missing",
    "needs inline, script",
    "needs source, sources",
    "that is not NAME=value",
    "source_ami_filter is missing",
    "there is no data source \"mock\"",
    "there is no provisioner \"test\"",
    "there is no builder \"test\"",
    "there is no post-processor \"test\"",
];

/// Names that Packer's tests use for what must not exist.
fn is_about_made_up(complaint: &Diagnostic, kind: &str) -> bool {
    let text = complaint.to_string();
    let nonexistent = text.contains("nonexistent") || text.contains("nonexistant");
    // JSON templates of the core tests name components such as "something" and "a".
    let component = ["builder", "provisioner", "post-processor"]
        .iter()
        .any(|what| complaint.summary.starts_with(&format!("there is no {what} ")));
    MADE_UP.iter().any(|part| text.contains(part)) && !nonexistent
        || component && complaint.at.as_ref().is_some_and(|at| is_json(&at.file))
        // What is only parsed there may have no builders.
        || kind == "json-template-parse" && text.contains("the template has no builders")
}

fn is_json(path: &str) -> bool {
    Path::new(path).extension().is_some_and(|extension| extension == "json")
}

struct Case {
    id: u64,
    path: String,
    kind: String,
    mock: bool,
    accept: bool,
    given: Given,
}

impl Case {
    fn read(folder: &Path, line: &str) -> Option<Self> {
        let case: serde_json::Value = serde_json::from_str(line).unwrap();
        let text = |key: &str| case[key].as_str().unwrap_or_default().to_owned();
        let (path, kind) = (text("file"), text("kind"));
        if kind == "fmt" {
            return None;
        }
        let bytes = std::fs::read(folder.join(&path)).unwrap_or_else(|error| panic!("{path}: {error}"));
        let mut given = Given::default();
        // Packer's tests fill in a name and a time.
        let text = String::from_utf8_lossy(&bytes);
        let text = text
            .replace("deprecate_at     = \"%s\"", "deprecate_at = \"2099-01-31T00:00:00Z\"")
            .replace("deprecate_at = \"%s\"", "deprecate_at = \"2099-01-31T00:00:00Z\"")
            .replace("%s", "packer-test");
        let bytes = if kind == "real-aws-acceptance" { text.into_bytes() } else { bytes };
        given.files.push((path.rsplit('/').next().unwrap_or(&path).to_owned(), bytes));
        if kind == "real-aws-acceptance" {
            // They write a key to where the template says that it is.
            given.files.push(("packer-test".into(), super::amazon_ebs::key().into_bytes()));
        }
        if kind == "example" {
            // Their folders have it.
            given.files.push(("packages.sh".into(), b"true\n".to_vec()));
            // Packer takes the region from where it runs.
            given.env.insert("AWS_REGION".into(), "us-east-1".into());
        }
        let args: Vec<&str> = case["args"].as_array().unwrap().iter().filter_map(|arg| arg.as_str()).collect();
        for pair in args.windows(2).filter(|pair| pair[0] == "-var") {
            let (name, value) = pair[1].split_once('=').unwrap();
            given = given.var(name, value);
        }
        // The variable file of these cases is not part of the corpus: it sets foo.
        if args.iter().any(|arg| arg.ends_with("set-foo-too-wee.hcl")) && !path.ends_with("empty.pkr.hcl") {
            given = given.var("foo", "wee");
        }
        let id = case["id"].as_u64().unwrap();
        let (mock, accept) = (case["mock_components"] == true, case["exit"] == 0);
        Some(Self { id, path, kind, mock, accept, given })
    }

    /// Errors; what only parses needs no values.
    fn errors(&self) -> Vec<Diagnostic> {
        let result = if self.kind == "json-template-parse" || self.kind == "hcl-parse-only" {
            outline(&self.given.bundle()).map(|_| ())
        } else {
            self.given.run().map(|_| ())
        };
        result.err().unwrap_or_default().into_iter().filter(Diagnostic::is_error).collect()
    }
}

#[test]
fn verdicts() {
    let Some(folder) = std::env::var_os("INGOT_CORPUS") else {
        eprintln!("skipped: INGOT_CORPUS is not set");
        return;
    };
    let folder = Path::new(&folder);
    let cases = std::fs::read_to_string(folder.join("cases.jsonl")).unwrap();
    let cases: Vec<Case> = cases.lines().filter_map(|line| Case::read(folder, line)).collect();
    let (mut agreed, mut waiting, mut wrong) = (0, Vec::new(), Vec::new());
    for case in &cases {
        let errors = case.errors();
        let (components, language): (Vec<_>, Vec<_>) =
            errors.into_iter().partition(|error| is_about_made_up(error, &case.kind));
        let told = || format!("{} {}\n{}", case.id, case.path, lines(&language));
        match (case.accept, language.is_empty(), components.is_empty()) {
            _ if KNOWN.iter().any(|(known, _)| *known == case.id) => agreed += 1,
            (true, false, _) => wrong.push(format!("refused, should be accepted: {}", told())),
            (true, true, false) if !case.mock => {
                waiting.push(format!("{} {}\n{}", case.id, case.path, lines(&components)));
            }
            (false, true, true) => wrong.push(format!("accepted, should be refused: {}", told())),
            // A case that must be refused for its language is refused for its components only.
            (false, true, false) if case.mock && is_json(&case.path) => {
                waiting.push(format!(
                    "{} {} must be refused for its language\n{}",
                    case.id,
                    case.path,
                    lines(&components)
                ));
            }
            (false, true, false) if case.mock => wrong.push(format!("refused for the wrong reason: {}", told())),
            _ => agreed += 1,
        }
    }
    eprintln!("{agreed} of {} verdicts agree", cases.len());
    assert!(
        waiting.is_empty(),
        "{} are refused for components that are not there:\n{}",
        waiting.len(),
        waiting.join("\n")
    );
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n\n"));
}
