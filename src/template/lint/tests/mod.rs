//! The rules, on templates of both languages.

mod commands;
mod corpus;
mod docs;
mod footguns;
mod policy;
mod rules;

use indexmap::IndexMap;
use uuid::Uuid;

use super::{Input, lint};
use crate::domain::bundle::Bundle;
use crate::domain::diagnostic::Diagnostic;
use crate::domain::lint::LintPolicy;
use crate::template::{Evaluated, Request, evaluate};

/// A request that a test changes to its needs.
struct Given {
    bundle: Bundle,
    variables: IndexMap<String, serde_json::Value>,
    clean_image: bool,
    policy: LintPolicy,
}

impl Given {
    fn file(path: &str, text: &str) -> Self {
        let bundle = Bundle::single(path, text.as_bytes().to_vec()).unwrap();
        Self { bundle, variables: IndexMap::new(), clean_image: true, policy: LintPolicy::default() }
    }

    fn hcl(text: &str) -> Self {
        Self::file("t.pkr.hcl", text)
    }

    fn json(text: &str) -> Self {
        Self::file("t.json", text)
    }

    fn and(mut self, path: &str, text: &str) -> Self {
        self.bundle.insert(path, text.as_bytes().to_vec(), false).unwrap();
        self
    }

    fn var(mut self, name: &str, value: &str) -> Self {
        self.variables.insert(name.to_owned(), value.into());
        self
    }

    fn policy(mut self, json: &str) -> Self {
        self.policy = serde_json::from_str(json).unwrap();
        self
    }

    /// With a text of the template replaced.
    fn with(self, old: &str, new: &str) -> Self {
        let name = if self.bundle.get("t.json").is_some() { "t.json" } else { "t.pkr.hcl" };
        let text = String::from_utf8(self.bundle.get(name).unwrap().bytes.clone()).unwrap();
        assert!(text.contains(old), "{old}");
        self.with_file(name, &text.replace(old, new))
    }

    /// With another text for a file.
    fn with_file(self, path: &str, text: &str) -> Self {
        let mut bundle = Bundle::default();
        for (name, file) in self.bundle.iter() {
            let bytes = if name == path { text.as_bytes().to_vec() } else { file.bytes.clone() };
            bundle.insert(name, bytes, false).unwrap();
        }
        Self { bundle, ..self }
    }

    fn text(&self) -> String {
        let files = self.bundle.iter();
        files
            .map(|(path, file)| format!("--- {path}\n{}", String::from_utf8_lossy(&file.bytes)))
            .collect::<Vec<_>>()
            .join("\n")
    }

    fn found(&self) -> Vec<Diagnostic> {
        let nothing = IndexMap::new();
        let evaluated = evaluate(&Request {
            bundle: &self.bundle,
            variables: &self.variables,
            var_files: &[],
            env: &nothing,
            default_region: None,
            only: &[],
            except: &[],
            git_sha: None,
            data: crate::template::DataMode::Unknown,
            now: "2024-03-05T14:07:09Z".parse().unwrap(),
            run_id: Uuid::nil(),
            clean_image: self.clean_image,
        });
        self.found_with(evaluated.as_ref().ok())
    }

    fn found_with(&self, evaluated: Option<&Evaluated>) -> Vec<Diagnostic> {
        lint(&Input {
            bundle: &self.bundle,
            variables: &self.variables,
            evaluated,
            clean_image: self.clean_image,
            policy: &self.policy,
        })
    }

    /// Rule, place and summary of each finding.
    fn lines(&self) -> String {
        self.found().iter().map(line).collect::<Vec<_>>().join("\n")
    }

    /// The findings of one rule: place, and the marked text.
    fn of(&self, rule: &str) -> Vec<String> {
        let found = self.found();
        let found = found.iter().filter(|finding| finding.rule.as_deref() == Some(rule));
        found.map(|finding| format!("{} {}", place(finding), marked(finding))).collect()
    }

    fn count(&self, rule: &str) -> usize {
        self.of(rule).len()
    }
}

fn place(finding: &Diagnostic) -> String {
    let at = finding.at.as_ref().unwrap();
    let file = if at.file.starts_with("t.") { String::new() } else { format!("{}:", at.file) };
    format!("{file}{}:{}", at.line, at.column)
}

/// The text between the marks, with secrets hidden as in what is shown.
fn marked(finding: &Diagnostic) -> String {
    let (at, end) = (finding.at.as_ref().unwrap(), finding.end.as_ref().unwrap());
    assert_eq!(at.line, end.line);
    let line: Vec<char> = finding.source_line.as_ref().unwrap().chars().collect();
    line[at.column as usize - 1..end.column as usize - 1].iter().collect()
}

fn line(finding: &Diagnostic) -> String {
    let rule = finding.rule.as_deref().unwrap();
    format!("{} {:?} {rule}: {}", place(finding), finding.severity, finding.summary)
}

/// An HCL2 template without findings, in which a test replaces or adds something.
const GOOD: &str = r#"variable "version" {
  type = string
}
source "amazon-ebs" "a" {
  ami_name      = "a-{{timestamp}}"
  region        = "us-east-1"
  instance_type = "t3.micro"
  ssh_username  = "ubuntu"
  encrypt_boot  = true
  source_ami_filter {
    filters     = { name = "ubuntu/images/hvm-ssd/ubuntu-jammy-22.04-amd64-server-*" }
    owners      = ["099720109477"]
    most_recent = true
  }
  tags = {
    Git-SHA    = "{{env `GIT_SHA`}}"
    Build-Time = "{{timestamp}}"
    Base-AMI   = "{{ .SourceAMIName }}"
    Built-By   = "packer"
  }
}
build {
  sources = ["source.amazon-ebs.a"]
  provisioner "shell" {
    inline = [
      "sudo apt-get update",
      "sudo apt-get clean",
    ]
  }
  post-processor "manifest" {}
}
"#;

/// [`GOOD`] with that line in the source.
fn source(line: &str) -> Given {
    Given::hcl(&GOOD.replace("  encrypt_boot  = true\n", &format!("  encrypt_boot  = true\n  {line}\n")))
        .var("version", "1")
}

/// [`GOOD`] with another line instead of one.
fn instead(old: &str, new: &str) -> Given {
    assert!(GOOD.contains(old));
    Given::hcl(&GOOD.replace(old, new)).var("version", "1")
}

/// [`GOOD`] with one more command, in quotes as HCL2 wants them.
fn command(command: &str) -> Given {
    let quoted = command.replace('\\', "\\\\").replace('"', "\\\"").replace("${", "$${").replace('\n', "\\n");
    instead("      \"sudo apt-get update\",\n", &format!("      \"sudo apt-get update\",\n      \"{quoted}\",\n"))
}

/// [`GOOD`] with something more in its build.
fn build(text: &str) -> Given {
    instead("  post-processor \"manifest\" {}\n", &format!("  post-processor \"manifest\" {{}}\n  {text}\n"))
}

/// A JSON template without findings but the one about JSON.
const GOOD_JSON: &str = r#"{
  "variables": { "version": null },
  "builders": [{
    "type": "amazon-ebs",
    "ami_name": "a-{{timestamp}}",
    "region": "us-east-1",
    "instance_type": "t3.micro",
    "ssh_username": "ubuntu",
    "encrypt_boot": true,
    "source_ami_filter": {
      "filters": { "name": "ubuntu/images/hvm-ssd/ubuntu-jammy-22.04-amd64-server-*" },
      "owners": ["099720109477"],
      "most_recent": true
    },
    "tags": { "Git-SHA": "{{env `GIT_SHA`}}", "Build-Time": "{{timestamp}}", "OS": "x", "Built-By": "packer" }
  }],
  "provisioners": [
    { "type": "shell", "inline": ["sudo apt-get clean"] }
  ],
  "post-processors": [{ "type": "manifest" }]
}
"#;

/// [`GOOD_JSON`] with another text instead of one.
fn json(old: &str, new: &str) -> Given {
    assert!(GOOD_JSON.contains(old));
    Given::json(&GOOD_JSON.replace(old, new)).var("version", "1")
}

/// [`GOOD_JSON`] with one more command.
fn json_command(command: &str) -> Given {
    let quoted = serde_json::to_string(command).unwrap();
    json("[\"sudo apt-get clean\"]", &format!("[\"sudo apt-get clean\", {quoted}]"))
}
