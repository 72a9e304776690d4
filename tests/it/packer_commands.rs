//! Packer's commands by Packer's spellings, as pipelines call them: no server is needed for these.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::support::command::{Ended, folder, path, run};
use crate::support::server::ingot;
use crate::support::template::{debian, shell};

fn with_input(input: &str, here: &Path, arguments: &[&str]) -> Ended {
    let mut command = ingot();
    command.args(arguments).current_dir(here);
    run(command, input)
}

fn within(here: &Path, arguments: &[&str]) -> Ended {
    with_input("", here, arguments)
}

/// A valid template but for what is done to it.
fn template() -> String {
    debian("eu-west-1", "web-{{timestamp}}", &shell(&["true"])).text()
}

#[test]
fn validate_shows_each_mistake_with_its_line() {
    let text =
        template().replace("instance_type =", "instance_tpye =").replace("most_recent = true", "most_recnt = true");
    let dir = folder(&[("web.pkr.hcl", &text)]);
    let ended = within(dir.path(), &["validate", "."]);
    assert_eq!((ended.code, ended.out.as_str()), (Some(1), ""));
    let line = text.lines().position(|line| line.contains("instance_tpye")).expect("it is there") + 1;
    for part in [
        &format!(" --> web.pkr.hcl:{line}:3\n  |\n{line} |   instance_tpye = \"t3.micro\"\n  |   ^^^^^^^^^^^^^\n"),
        "help: did you mean \"instance_type\"?",
        "\"most_recnt\"",
        "error: The configuration is not valid: ",
    ] {
        assert!(ended.complaint.contains(part), "{part:?} is not in:\n{}", ended.complaint);
    }
    assert!(!ended.complaint.contains('\u{1b}'), "no colours go to a pipe");

    let colored = within(dir.path(), &["validate", "-color", "."]);
    assert!(colored.complaint.contains("\u{1b}[1;31merror"), "{}", colored.complaint);
    let json = within(dir.path(), &["-o", "json", "validate", "."]);
    let found: Value = serde_json::from_str(&json.out).expect("JSON");
    let unknown =
        &found["diagnostics"].as_array().expect("a list").iter().find(|found| found["suggestion"] == "instance_type");
    assert_eq!(unknown.expect("it is told")["range"]["start"]["line"], line);
    assert_eq!((json.code, &found["valid"]), (Some(1), &Value::Bool(false)));
}

#[test]
fn validate_reads_a_folder_a_file_and_standard_input() {
    let dir = folder(&[("web.pkr.hcl", &template())]);
    let valid = (Some(0), "The configuration is valid.\n");
    for arguments in [["validate", "."], ["validate", "web.pkr.hcl"], ["validate", path(dir.path())]] {
        let ended = within(dir.path(), &arguments);
        assert_eq!((ended.code, ended.out.as_str()), valid, "{}", ended.complaint);
    }
    let ended = with_input(&template(), dir.path(), &["validate", "-"]);
    assert_eq!((ended.code, ended.out.as_str()), valid, "{}", ended.complaint);
    let ended = with_input("source \"x\" {", dir.path(), &["validate", "-"]);
    assert!(ended.code == Some(1) && ended.complaint.contains(" --> <stdin>:1:"), "{}", ended.complaint);
    let json = r#"{"builders": [{"type": "amazon-ebs", "region": "us-east-1", "source_ami": "ami-1",
        "instance_type": "t3.micro", "ssh_username": "admin", "ami_name": "web-{{timestamp}}"}]}"#;
    let ended = with_input(json, dir.path(), &["validate", "-"]);
    assert_eq!((ended.code, ended.out.as_str()), valid, "{}", ended.complaint);
    let ended = within(dir.path(), &["validate", "-syntax-only", "."]);
    assert_eq!((ended.code, ended.out.as_str()), (Some(0), "Syntax-only check passed. Everything looks okay.\n"));
    assert_eq!(within(dir.path(), &["validate", "/no/such/folder"]).code, Some(1));
    assert_eq!(within(dir.path(), &["validate", "-only=nothing.like.this", "."]).code, Some(1));
    assert_eq!(within(dir.path(), &["validate"]).code, Some(2), "wrong usage");
}

#[test]
fn a_single_file_goes_with_the_files_it_names() {
    let steps = "  provisioner \"shell\" {\n    scripts = [\"scripts/setup.sh\", \"${path.root}/other.sh\"]\n  }\n";
    let text = debian("eu-west-1", "web-{{timestamp}}", steps).text();
    let dir = folder(&[("packer/web.pkr.hcl", &text), ("packer/other.sh", "true"), ("scripts/setup.sh", "true")]);
    // Packer takes paths from the working folder.
    for template in ["packer", "packer/web.pkr.hcl"] {
        let ended = within(dir.path(), &["validate", template]);
        assert_eq!(ended.code, Some(0), "{template}: {}", ended.complaint);
    }
    fs::remove_file(dir.path().join("scripts/setup.sh")).expect("it was there");
    let ended = within(dir.path(), &["validate", "packer/web.pkr.hcl"]);
    assert!(ended.code == Some(1) && ended.complaint.contains("scripts/setup.sh"), "{}", ended.complaint);
}

#[test]
fn machine_readable_lines_are_packers() {
    let dir = folder(&[("web.pkr.hcl", &template()), ("bad/web.pkr.hcl", "variable \"x\" { type = nonsense, }")]);
    let ended = within(dir.path(), &["-machine-readable", "validate", "."]);
    let (seconds, rest) = ended.out.split_once(',').expect("fields");
    assert!(seconds.parse::<i64>().is_ok_and(|seconds| seconds > 1_700_000_000), "{seconds}");
    assert_eq!(rest, ",ui,say,The configuration is valid.\n");
    let ended = within(dir.path(), &["validate", "-machine-readable", "bad"]);
    assert_eq!((ended.code, ended.complaint.as_str()), (Some(1), ""));
    assert!(ended.out.lines().all(|line| line.contains(",,ui,error,")), "{}", ended.out);
    assert!(ended.out.contains("%!(PACKER_COMMA)") && ended.out.contains(r"\n --> web.pkr.hcl:1:"), "{}", ended.out);
    let version = within(dir.path(), &["version", "-machine-readable"]);
    assert!(version.out.lines().next().is_some_and(|line| line.contains(",,version,1.")), "{}", version.out);
}

/// Each source of a variable's value wins over those before it.
#[test]
fn variables_are_taken_in_packers_order() {
    let text = |expected: &str| {
        let variable = format!(
            "variable \"x\" {{\n  default = \"default\"\n  validation {{\n    condition     = var.x == \"{expected}\"\n    error_message = \"It is not.\"\n  }}\n}}\n"
        );
        debian("eu-west-1", "web-${var.x}", "").with_preamble(&variable).text()
    };
    let dir = folder(&[("b.pkrvars.hcl", "x = \"file\""), ("c.pkrvars.json", "{\"x\": \"later file\"}")]);
    let valid = |expected: &str, environment: bool, arguments: &[&str]| {
        fs::write(dir.path().join("web.pkr.hcl"), text(expected)).expect("a file");
        let mut command = ingot();
        command.arg("validate").args(arguments).arg(".").current_dir(dir.path());
        if environment {
            command.env("PKR_VAR_x", "environment");
        }
        let ended = run(command, "");
        assert_eq!(ended.code, Some(0), "{expected}: {}", ended.complaint);
    };
    valid("default", false, &[]);
    valid("environment", true, &[]);
    fs::write(dir.path().join("z.auto.pkrvars.hcl"), "x = \"automatic\"").expect("a file");
    valid("automatic", true, &[]);
    fs::write(dir.path().join("a.auto.pkrvars.json"), "{\"x\": \"automatic JSON\"}").expect("a file");
    valid("automatic JSON", true, &[]);
    valid("file", true, &["-var-file=b.pkrvars.hcl"]);
    valid("later file", true, &["-var-file", "b.pkrvars.hcl", "-var-file", "c.pkrvars.json"]);
    valid("argument", true, &["-var", "x=argument", "-var-file=b.pkrvars.hcl"]);
}

#[test]
fn undeclared_variables_of_a_file_are_a_warning() {
    let dir = folder(&[("web.pkr.hcl", &template()), ("x.pkrvars.hcl", "nobody = 1")]);
    let told = within(dir.path(), &["validate", "-var-file=x.pkrvars.hcl", "."]);
    assert_eq!((told.code, told.out.as_str()), (Some(0), "The configuration is valid.\n"), "{}", told.complaint);
    assert!(told.complaint.contains("warning: ") && told.complaint.contains("nobody"), "{}", told.complaint);
    let quiet = within(dir.path(), &["validate", "-no-warn-undeclared-var", "-var-file=x.pkrvars.hcl", "."]);
    assert_eq!((quiet.code, quiet.complaint.as_str()), (Some(0), ""));
    let refused = within(dir.path(), &["validate", "-var", "nobody=1", "."]);
    assert!(refused.code == Some(1) && refused.complaint.contains("nobody"), "{}", refused.complaint);
}

#[test]
fn lint_says_what_is_regretted_later() {
    let text = template().replace("web-{{timestamp}}", "web");
    let dir = folder(&[("web.pkr.hcl", &text)]);
    assert_eq!(within(dir.path(), &["validate", "."]).complaint, "");
    let ended = within(dir.path(), &["validate", "--lint", "."]);
    assert_eq!((ended.code, ended.out.as_str()), (Some(0), "The configuration is valid.\n"), "{}", ended.complaint);
    assert!(ended.complaint.contains("warning[ami-name-static]: "), "{}", ended.complaint);
    let bad = text.replace("owners      = [\"136693071363\"]", "");
    fs::write(dir.path().join("web.pkr.hcl"), bad).expect("a file");
    let ended = within(dir.path(), &["validate", "-syntax-only", "-lint", "."]);
    assert!(ended.code == Some(1) && ended.complaint.contains("error[source-filter-owner]: "), "{}", ended.complaint);
}

#[test]
fn fmt_says_shows_and_does_what_packer_does() {
    let raw = "variable \"x\" { type=string }\n";
    let formatted = "variable \"x\" { type = string }\n";
    let dir = folder(&[
        ("a.pkr.hcl", raw),
        ("b.pkrvars.hcl", "x=1\n"),
        ("good.pkr.hcl", formatted),
        ("sub/c.pkr.hcl", raw),
        (".hidden/d.pkr.hcl", raw),
        ("other.hcl", raw),
    ]);
    let text = |name: &str| fs::read_to_string(dir.path().join(name)).expect("a file");
    let ended = within(dir.path(), &["fmt", "-check", "."]);
    assert_eq!((ended.code, ended.out.as_str()), (Some(3), "a.pkr.hcl\nb.pkrvars.hcl\n"));
    let ended = within(dir.path(), &["fmt", "-diff", "-write=false", "a.pkr.hcl"]);
    let diff = format!("a.pkr.hcl\n--- old/a.pkr.hcl\n+++ new/a.pkr.hcl\n@@ -1 +1 @@\n-{raw}+{formatted}");
    assert_eq!((ended.code, ended.out), (Some(0), diff));
    assert_eq!(text("a.pkr.hcl"), raw, "it is not written");
    let ended = within(dir.path(), &["fmt", "-recursive", "."]);
    assert_eq!((ended.code, ended.out.as_str()), (Some(0), "a.pkr.hcl\nb.pkrvars.hcl\nsub/c.pkr.hcl\n"));
    assert_eq!((text("a.pkr.hcl").as_str(), text("sub/c.pkr.hcl").as_str()), (formatted, formatted));
    assert_eq!((text("other.hcl").as_str(), text(".hidden/d.pkr.hcl").as_str()), (raw, raw));
    assert_eq!(within(dir.path(), &["fmt", "-check", "-recursive", "."]).code, Some(0));
    let ended = with_input(raw, dir.path(), &["fmt", "-"]);
    assert_eq!((ended.code, ended.out.as_str()), (Some(0), formatted));

    fs::write(dir.path().join("bad.pkr.hcl"), "x = = 1").expect("a file");
    let ended = within(dir.path(), &["fmt", "-check", "."]);
    assert!(ended.code == Some(1) && ended.complaint.contains(" --> bad.pkr.hcl:1:5"), "{}", ended.complaint);
    assert_eq!(within(dir.path(), &["fmt", "other.hcl"]).code, Some(1));
}

#[test]
fn hcl2_upgrade_writes_beside_the_template() {
    let json = r#"{"variables": {"size": "t3.micro"}, "builders": [{"type": "amazon-ebs", "region": "us-east-1",
        "source_ami": "ami-1", "instance_type": "{{user `size`}}", "ssh_username": "admin", "ami_name": "web-{{timestamp}}"}]}"#;
    let dir = folder(&[("web.json", json), ("bad.json", "{\"builders\": [}")]);
    let ended = within(dir.path(), &["hcl2_upgrade", "-with-annotations", "web.json"]);
    let said = "Successfully created web.json.pkr.hcl. Exit 0\n";
    assert_eq!((ended.code, ended.out.as_str()), (Some(0), said), "{}", ended.complaint);
    let ended = within(dir.path(), &["validate", "web.json.pkr.hcl"]);
    assert_eq!(ended.code, Some(0), "{}", ended.complaint);
    let ended = within(dir.path(), &["hcl2_upgrade", "-output-file=new/x.pkr.hcl", "web.json"]);
    assert_eq!(ended.code, Some(0), "{}", ended.complaint);
    let written = fs::read_to_string(dir.path().join("new/x.pkr.hcl")).expect("a file");
    assert!(written.contains("instance_type = \"${var.size}\""), "{written}");
    let ended = with_input(json, dir.path(), &["hcl2_upgrade", "-"]);
    assert_eq!((ended.code, ended.out), (Some(0), written));
    let ended = within(dir.path(), &["hcl2_upgrade", "bad.json"]);
    assert!(ended.code == Some(1) && ended.complaint.contains(" --> bad.json:1:15"), "{}", ended.complaint);
    assert!(!dir.path().join("bad.json.pkr.hcl").exists());
}

#[test]
fn inspect_and_console_answer_as_packer_does() {
    let preamble = "variable \"size\" {\n  default = \"t3.micro\"\n}\nvariable \"secret\" {\n  default   = \"hunter2\"\n  sensitive = true\n}\nlocals {\n  twice = \"${var.size}${var.size}\"\n}\n";
    let text = debian("eu-west-1", "web", &shell(&["true"])).with_preamble(preamble).text();
    let legacy =
        r#"{"variables": {"size": "t3.micro", "token": null}, "builders": [{"type": "amazon-ebs", "name": "web"}]}"#;
    let dir = folder(&[("web.pkr.hcl", &text), ("old.json", legacy)]);
    let ended = within(dir.path(), &["inspect", "web.pkr.hcl"]);
    let expected = "Packer Inspect: HCL2 mode

> input-variables:

var.secret: \"<sensitive>\"
var.size: \"t3.micro\"

> local-variables:

local.twice: \"t3.microt3.micro\"

> builds:

  > <unnamed build 0>:

    sources:

      amazon-ebs.test

    provisioners:

      shell

    post-processors:

      <no post-processor>

";
    assert_eq!((ended.code, ended.out.as_str()), (Some(0), expected), "{}", ended.complaint);
    let ended = within(dir.path(), &["inspect", "-machine-readable", "old.json"]);
    for line in
        [",,template-variable,token,,1", ",,template-variable,size,t3.micro,0", ",,template-builder,web,amazon-ebs"]
    {
        assert!(ended.out.lines().any(|said| said.ends_with(line)), "{line} is not in:\n{}", ended.out);
    }

    let console = |lines: &str, arguments: &[&str]| with_input(lines, dir.path(), &[&["console"], arguments].concat());
    let ended = console("var.size\nupper(local.twice)\n", &["-var", "size=x", "web.pkr.hcl"]);
    assert_eq!((ended.code, ended.out.as_str()), (Some(0), "XX\n"), "the last result: {}", ended.complaint);
    assert_eq!(console("var.secret", &["web.pkr.hcl"]).out, "<sensitive>\n");
    assert_eq!(console("1 + 5", &[]).out, "6\n");
    let ended = console("{{user `size`}}-{{upper `x`}}\n", &["-var", "token=t", "old.json"]);
    assert_eq!((ended.code, ended.out.as_str()), (Some(0), "t3.micro-X\n"), "{}", ended.complaint);
    assert_eq!(console("{{upper `x`}}", &[]).out, "X\n");
    let ended = console("a {{nope}}", &[]);
    assert!(ended.code == Some(1) && ended.complaint.contains(" --> <console-input>:1:"), "{}", ended.complaint);
    let ended = console("var.sise", &["web.pkr.hcl"]);
    assert!(ended.code == Some(1) && ended.complaint.contains(" --> <console-input>:1:5"), "{}", ended.complaint);
    assert!(console("variables", &["web.pkr.hcl"]).out.contains("var.size: \"t3.micro\""));
}

/// Steps that pipelines have and that are nothing here.
#[test]
fn init_plugins_version_and_fix_do_no_harm() {
    let required = "packer {\n  required_plugins {\n    amazon = {\n      version = \">= 1.3.0\"\n      source  = \"github.com/hashicorp/amazon\"\n    }\n  }\n}\n";
    let text = debian("eu-west-1", "web", "").with_preamble(required).text();
    let dir = folder(&[("web.pkr.hcl", &text), ("old.json", "{\"builders\": []}")]);
    for arguments in [
        &["init", "."][..],
        &["init", "-upgrade", "web.pkr.hcl"],
        &["plugins", "installed"],
        &["plugins", "install", "github.com/hashicorp/amazon", "v1.3.0"],
        &["version"],
        &["-v"],
    ] {
        let ended = within(dir.path(), arguments);
        assert_eq!((ended.code, ended.complaint.as_str()), (Some(0), ""), "{arguments:?}: {}", ended.out);
        assert!(!ended.out.trim().is_empty(), "{arguments:?}");
    }
    let required = within(dir.path(), &["plugins", "required", "web.pkr.hcl"]);
    assert_eq!(required.out, "amazon github.com/hashicorp/amazon \">= 1.3.0\" (built in)\n");
    fs::write(
        dir.path().join("docker.pkr.hcl"),
        text.replace("amazon =", "docker =").replace("/amazon\"", "/docker\""),
    )
    .expect("a file");
    let missing = within(dir.path(), &["init", "docker.pkr.hcl"]);
    assert!(
        missing.code == Some(1) && missing.complaint.contains("github.com/hashicorp/docker"),
        "{}",
        missing.complaint
    );
    let unknown = within(dir.path(), &["plugins", "install", "github.com/hashicorp/amazn"]);
    assert!(unknown.code == Some(1) && unknown.complaint.contains("hashicorp/amazon"), "{}", unknown.complaint);
    let fixed = within(dir.path(), &["fix", "-validate=false", "old.json"]);
    assert_eq!((fixed.code, fixed.out.as_str()), (Some(0), "{\"builders\": []}"));
}

/// A job of a pipeline, in which `packer` is Ingot.
#[test]
fn a_pipeline_only_needs_another_program_by_the_name() {
    let dir = folder(&[("web.pkr.hcl", &template())]);
    let programs = folder(&[]);
    symlink(ingot().get_program(), programs.path().join("packer")).expect("a link");
    let job = "set -e
        packer -version
        packer init .
        packer fmt .
        packer fmt -check -diff .
        packer validate -syntax-only .
        test \"$(packer validate -var-file=x.pkrvars.hcl -only='*.test' . 2>errors)\" = 'The configuration is valid.'
        packer -machine-readable validate . | cut -d, -f4- | grep -x 'say,The configuration is valid.'
        ! packer validate -except='*' . 2>errors";
    fs::write(dir.path().join("x.pkrvars.hcl"), "").expect("a file");
    let path = format!("{}:{}", path(programs.path()), std::env::var("PATH").expect("a path"));
    let mut command = Command::new("sh");
    command.args(["-c", job]).env("PATH", path).current_dir(dir.path());
    let ended = run(command, "");
    assert_eq!(ended.code, Some(0), "{}\n{}", ended.out, ended.complaint);
}
