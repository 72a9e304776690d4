//! Side by side with Packer, where one is installed (Debian has 1.6.6) and `INGOT_CORPUS` is set: what `packer inspect`
//! prints of expressions, as locals of one template, and of the corpus's templates.

use std::fmt::Write;
use std::path::Path;
use std::process::Command;

use super::Given;
use crate::template::inspect::inspect;

/// Expressions that both evaluate to the same, a line each.
const VALUES: &str = include_str!("values.txt");
/// Expressions that both refuse.
const FAULTS: &str = include_str!("faults.txt");

/// Expressions whose results differ on purpose: Packer 1.16 differs from 1.6.6 there.
const CHANGED: &[(&str, &str)] = &[
    ("merge()", "an empty object now, null then"),
    ("merge(null)", "an empty object now, null then"),
    ("yamldecode(\"---\\n\")", "null; unknown then"),
    (
        "yamldecode(\"- 1\\n- 0x1f\\n- 0o17\\n- 017\\n- 1_000\\n- .inf\\n- 1e3\\n- +5\\n- 0b11\\n- 1:30\\n- 2001-01-01\\n- !!str 5\\n- !!int \\\"5\\\"\\n- yes\\n- On\\n- TRUE\\n- False\")",
        "infinity is no number here",
    ),
    ("log(0,10)", "infinity is no number here"),
    ("pow(0,-1)", "infinity is no number here"),
    ("convert(convert({a=\"x\"},map(string)),object({a=string,b=string}))", "a missing attribute is an error now"),
    ("cidrsubnet(\"10.0.0.0/16\",-1,0)", "a shorter prefix is refused here"),
    ("cidrsubnet(\"10.0.0.0/16\",8,-1)", "a negative number is refused here"),
    ("cidrhost(\"::ffff:10.0.0.0/104\",1)", "an address of IPv4 within IPv6 was computed wrongly then"),
    ("3%0", "division by zero is an error"),
    ("1e5000", "numbers have a limit here, infinity there"),
    ("can(index([\"a\",\"b\"],\"b\"))", "index did not work then"),
    ("can(setunion([[1]],[[1],[2]]))", "it crashed then"),
];

fn packer(folder: &Path, args: &[&str]) -> Option<std::process::Output> {
    let run = Command::new("packer").args(args).current_dir(folder).env("CHECKPOINT_DISABLE", "1").output();
    run.ok()
}

fn corpus() -> Option<std::path::PathBuf> {
    let Some(folder) = std::env::var_os("INGOT_CORPUS") else {
        eprintln!("skipped: INGOT_CORPUS is not set");
        return None;
    };
    let folder = std::path::PathBuf::from(folder);
    if packer(&folder, &["version"]).is_none_or(|run| !run.status.success()) {
        eprintln!("skipped: packer is not installed");
        return None;
    }
    Some(folder)
}

fn local_lines(text: &str) -> Vec<&str> {
    text.lines().filter(|line| line.starts_with("local.")).collect()
}

#[test]
fn expressions() {
    if corpus().is_none() {
        return;
    }
    let mut template = "locals {\n".to_owned();
    let mut names = Vec::new();
    let values = VALUES.lines().map(str::to_owned);
    let faults = FAULTS.lines().map(|line| format!("can({line})"));
    for (index, expression) in values.chain(faults).enumerate() {
        if !CHANGED.iter().any(|(changed, _)| *changed == expression) {
            let _ = writeln!(template, "  e{index} = {expression}");
            names.push((format!("local.e{index}: "), expression));
        }
    }
    template.push_str("}\n");
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("a.pkr.hcl"), &template).unwrap();
    let output = packer(folder.path(), &["inspect", "."]).unwrap();
    let theirs = String::from_utf8_lossy(&output.stdout).into_owned();
    let given = Given::default().file("a.pkr.hcl", &template);
    let inspection = given.with(inspect).unwrap();
    let ours = inspection.to_string();
    let (theirs, ours) = (local_lines(&theirs), local_lines(&ours));
    let mut different = Vec::new();
    for (name, expression) in &names {
        let find = |lines: &[&str]| lines.iter().find_map(|line| line.strip_prefix(name.as_str()).map(str::to_owned));
        let (theirs, ours) = (find(&theirs), find(&ours));
        if theirs.is_none() || theirs != ours {
            different.push(format!("{expression}\n  packer: {theirs:?}\n  ingot:  {ours:?}"));
        }
    }
    eprintln!("{} of {} expressions agree with packer", names.len() - different.len(), names.len());
    let said: Vec<String> = inspection.complaints.iter().map(ToString::to_string).take(20).collect();
    assert!(
        different.is_empty(),
        "{}\n{}\n{}",
        different.join("\n"),
        said.join("\n"),
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn templates() {
    let Some(folder) = corpus() else { return };
    let cases = std::fs::read_to_string(folder.join("cases.jsonl")).unwrap();
    let (mut compared, mut different) = (0, Vec::new());
    for line in cases.lines() {
        let case: serde_json::Value = serde_json::from_str(line).unwrap();
        let path = case["file"].as_str().unwrap();
        if Path::new(path).extension().is_none_or(|extension| extension != "hcl")
            || case["kind"] == "fmt"
            || case["exit"] != 0
        {
            continue;
        }
        let text = std::fs::read_to_string(folder.join(path)).unwrap();
        let name = path.rsplit('/').next().unwrap();
        let alone = tempfile::tempdir().unwrap();
        std::fs::write(alone.path().join(name), &text).unwrap();
        let output = packer(alone.path(), &["inspect", name]).unwrap();
        let theirs = String::from_utf8_lossy(&output.stdout).into_owned();
        // 1.6.6 prints an inspection without builds of a template that it can't read.
        if !output.status.success() || text.contains("build {") && !theirs.contains("\n  > ") {
            continue;
        }
        let ours = Given::default().file(name, &text).with(inspect);
        let ours = ours.map_or_else(|faults| super::lines(&faults), |inspection| inspection.to_string());
        compared += 1;
        if theirs.trim_end() != ours.trim_end() {
            different.push(format!("{path}\n--- packer\n{theirs}\n--- ingot\n{ours}"));
        }
    }
    eprintln!("{} of {compared} templates agree with packer inspect", compared - different.len());
    assert!(different.is_empty(), "{}", different.join("\n"));
    assert!(compared > 0);
}
