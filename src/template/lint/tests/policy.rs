//! Levels from the configuration, comments that switch rules off, and what is never shown.

use std::fmt::Write;

use super::*;
use crate::domain::diagnostic::Severity;
use crate::template::lint::unknown_rules;

const STATIC: &str = "ami-name-static";

fn static_name() -> Given {
    instead("\"a-{{timestamp}}\"", "\"web\"")
}

#[test]
fn the_policy_sets_levels() {
    let severity = |level: &str| {
        let given = static_name().policy(&format!("{{\"{STATIC}\": \"{level}\"}}"));
        given.found().iter().map(|finding| finding.severity).collect::<Vec<_>>()
    };
    assert_eq!(severity("off"), []);
    assert_eq!(severity("info"), [Severity::Info]);
    assert_eq!(severity("warning"), [Severity::Warning]);
    assert_eq!(severity("error"), [Severity::Error]);
    assert_eq!(severity("block"), [Severity::Error]);
    let all = Given::json(GOOD_JSON).policy("{\"all\": \"off\", \"json-legacy\": \"error\"}");
    assert_eq!(all.found().len(), 1);
    let wrong: LintPolicy =
        serde_json::from_str("{\"ami-name-statik\": \"off\", \"all\": \"info\", \"x\": \"off\"}").unwrap();
    assert_eq!(unknown_rules(&wrong), [("ami-name-statik", Some(STATIC)), ("x", None)]);
}

#[test]
fn comments_switch_rules_off() {
    let with = |comment: &str| static_name().with("  ami_name", &format!("  # ingot:ignore {comment}\n  ami_name"));
    assert_eq!(with("ami-name-static this image is replaced by hand").found(), []);
    assert_eq!(with("single-az,ami-name-static why").found(), []);
    let beside = static_name().with("\"web\"", "\"web\" // ingot:ignore ami-name-static it is");
    assert_eq!(beside.found(), []);
    let other = with("single-az why").lines();
    insta::assert_snapshot!(other, @"6:19 Warning ami-name-static: ami_name is the same in each run");
    let above = static_name().with("variable", "# ingot:ignore ami-name-static far away\nvariable");
    assert_eq!(above.count(STATIC), 1);
    let json = json(
        "    \"ami_name\": \"a-{{timestamp}}\"",
        "    \"_comment\": \"ingot:ignore ami-name-static why\",\n    \"ami_name\": \"web\"",
    );
    assert_eq!(json.count(STATIC), 0);
    insta::assert_snapshot!(with("ami-name-statik because").lines(), @r#"
    5:5 Warning ignore-comment: there is no rule "ami-name-statik" to ignore
    6:19 Warning ami-name-static: ami_name is the same in each run
    "#);
}

#[test]
fn what_blocks_can_not_be_ignored() {
    let given = static_name().with("  ami_name", "  # ingot:ignore ami-name-static I want to\n  ami_name");
    let given = given.policy("{\"ami-name-static\": \"block\"}");
    let found = given.found();
    assert!(found.iter().any(|finding| given.policy.blocks(finding)), "{found:?}");
}

/// Comments in scripts count as well.
#[test]
fn scripts_have_comments_too() {
    let script =
        "#!/bin/sh -e\n# ingot:ignore download-piped the installer checks itself\ncurl https://x.example | sh\n";
    let given = build("provisioner \"shell\" {\n    script = \"x.sh\"\n  }").and("x.sh", script);
    assert_eq!(given.found(), []);
}

#[test]
fn secrets_are_shown_nowhere() {
    let given = instead(
        "\"sudo apt-get update\"",
        "\"echo 'DB_PASSWORD=hunter2' >> /etc/x && apt-get install AKIAIOSFODNN7EXAMPLE && curl -u a:s3cr3tword https://x.example/a.zip -O\"",
    );
    let given = given.with(
        "variable \"version\" {",
        "variable \"api_token\" {\n  default = \"tok-abc-def\"\n}\nvariable \"version\" {",
    );
    let found = given.found();
    assert!(found.len() > 5);
    for finding in &found {
        let text = format!("{finding:?}");
        for secret in ["hunter2", "AKIAIOSFODNN7EXAMPLE", "s3cr3tword", "tok-abc-def"] {
            assert!(!text.contains(secret), "{text}");
        }
    }
    let line = found.iter().find(|finding| finding.rule.as_deref() == Some("download-unverified")).unwrap();
    insta::assert_snapshot!(line.source_line.as_ref().unwrap(), @r#"
      "echo 'DB_PASSWORD=*******' >> /etc/x && apt-get install ******************** && curl -u ************ https://x.example/a.zip -O",
    "#);
}

/// Of a line that is too long for people only the beginning is shown, and no secret in it.
#[test]
fn long_lines_are_cut() {
    let line = format!("export DB_PASSWORD=hunter2; echo {}; apt-get install x", "ä".repeat(5000));
    let found = command(&line).found();
    let prompt = found.iter().find(|finding| finding.rule.as_deref() == Some("package-prompt")).unwrap();
    let shown = prompt.source_line.as_ref().unwrap();
    assert!(shown.len() <= 4096 && shown.contains("DB_PASSWORD=*******;"), "{shown}");
}

/// The value of a sensitive variable of the request is hidden where it would stand in a message.
#[test]
fn given_secrets_are_hidden() {
    let text = GOOD.replace("\"sudo apt-get update\"", "join(\" \", [\"sudo apt-get install -y\", var.name])");
    let text = format!(
        "variable \"name\" {{\n  type = string\n  sensitive = true\n}}\n{}",
        text.replace("inline = [", "inline = concat([")
            .replace("      \"sudo apt-get clean\",\n    ]", "    ], var.more)")
    );
    let text = format!("variable \"more\" {{\n  type = list(string)\n}}\n{text}");
    let given = Given::hcl(&text).var("name", "sesame").var("version", "1").var("more", "[\"sudo apt-get clean\"]");
    let found = given.lines();
    assert!(found.contains("package-unpinned") && !found.contains("sesame"), "{found}");
}

/// Places in JSON's and HCL's escapes, in here documents, and behind variables.
#[test]
fn places_are_those_of_the_file() {
    let escaped = command("echo \"\tä\" && sudo apt-get install nginx");
    assert_eq!(escaped.of("package-prompt"), ["27:28 apt-get install nginx"]);
    let escaped = json_command("echo \"\tä\" && sudo apt-get install nginx");
    assert_eq!(escaped.of("package-prompt"), ["18:79 apt-get install nginx"]);
    let heredoc = instead(
        "      \"sudo apt-get update\",\n",
        "      <<-EOT\n        true\n        sudo yum install nginx\n        EOT\n      ,\n",
    );
    assert_eq!(heredoc.of("package-prompt"), ["28:14 yum install nginx"]);
    let variable = format!("variable \"tool\" {{\n  default = \"yum\"\n}}\n{GOOD}");
    let variable = Given::hcl(&variable).with("\"sudo apt-get update\"", "\"sudo ${var.tool} install nginx\"");
    assert_eq!(variable.of("package-prompt"), ["29:15 var.tool} install nginx"]);
}

/// Nothing a template holds makes lint hang, fail or recurse without end.
#[test]
fn hostile_templates_end() {
    let (mut locals, mut texts, mut commands) = (String::new(), String::new(), String::new());
    for n in 0..60 {
        let next = n + 1;
        writeln!(locals, "  l{n} = [local.l{next}, local.l{next}, \"$${{x}}\"]").unwrap();
        writeln!(texts, "  t{n} = \"${{local.t{next}}}${{local.t{next}}}\"").unwrap();
    }
    for n in 0..20_000 {
        writeln!(commands, "curl -o f{n} https://x.example/f{n} | sh").unwrap();
    }
    let long = format!("  t60 = \"{}\"\n  me = local.me\n", "x".repeat(100_000));
    let template = format!(
        "locals {{\n{locals}{texts}{long}}}\n{}",
        GOOD.replace("\"a-{{timestamp}}\"", "\"${local.l0}${local.t0}${local.me}\"")
    );
    let _ = Given::hcl(&template).found_with(None);
    let uses = "{{user `v`}}".repeat(20_000);
    let json = format!(
        "{{\"variables\": {{\"v\": \"{}\"}}, \"builders\": [{{\"type\": \"amazon-ebs\", \"ami_name\": \"{uses}\"}}]}}",
        "y".repeat(100_000)
    );
    let _ = Given::json(&json).found_with(None);
    let started = std::time::Instant::now();
    let _ = build("provisioner \"shell\" {\n    script = \"x.sh\"\n  }").and("x.sh", &commands).found_with(None);
    assert!(started.elapsed().as_secs() < 60, "{:?}", started.elapsed());
    let _ = Given::hcl(&"[".repeat(50_000)).found_with(None);
    let _ = Given::json(&"{\"builders\":[".repeat(50_000)).found_with(None);
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(96))]

    /// Templates and scripts with pieces missing, doubled and swapped are looked at without a panic.
    #[test]
    fn damaged_templates_do_no_harm(cuts in proptest::collection::vec((0..1200_usize, 0..40_usize, "[\"'{}$%\\\\<(|ä\u{fffc}\n#=:]{0,3}"), 1..6)) {
        let damage = |text: &str| {
            let mut characters: Vec<char> = text.chars().collect();
            for (at, length, new) in &cuts {
                let at = at % (characters.len() + 1);
                let end = (at + length).min(characters.len());
                characters.splice(at..end, new.chars());
            }
            characters.into_iter().collect::<String>()
        };
        let script = "#!/bin/bash\ncat > x <<EOF\nDB_PASSWORD=hunter2 $X\nEOF\ncurl -u a:b123 \"https://x.example/$(id)\" | sudo sh -c 'apt-get install x' && mysql -pabcdef\n";
        let _ = build("provisioner \"shell\" {\n    script = \"x.sh\"\n  }").and("x.sh", &damage(script)).found_with(None);
        let _ = Given::hcl(&damage(GOOD)).found_with(None);
        let _ = Given::json(&damage(GOOD_JSON)).found_with(None);
        let _ = Given::file("t.pkr.json", &damage(GOOD_JSON)).found_with(None);
    }
}
