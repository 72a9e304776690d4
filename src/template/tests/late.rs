//! What of `build` is known only while the build runs, and what can be made of it.

use super::Given;
use crate::domain::config::{BuildConfig, ProvisionerConfig};
use crate::domain::config::provisioner::Shell;

/// A template with one shell provisioner of these options.
fn shell(options: &str) -> Given {
    Given::hcl(&format!(
        r#"source "amazon-ebs" "a" {{
  ami_name      = "abc"
  region        = "us-east-1"
  instance_type = "t3.micro"
  source_ami    = "ami-1"
  ssh_username  = "u"
}}
variable "suffix" {{
  default = "-x"
}}
variable "token" {{
  default   = "hunter2"
  sensitive = true
}}
build {{
  name    = "web"
  sources = ["amazon-ebs.a"]
  provisioner "shell" {{
{options}
  }}
}}
"#
    ))
}

fn only(build: &BuildConfig) -> &Shell {
    match &build.provisioners[0].config {
        ProvisionerConfig::Shell(shell) => shell,
        other => panic!("a shell provisioner, not {other:?}"),
    }
}

fn inline(options: &str) -> Vec<String> {
    let evaluated = shell(options).good();
    only(&evaluated.builds[0]).inline.iter().map(|line| line.0.clone()).collect()
}

#[test]
fn text_and_collections_take_late_values() {
    let lines = inline(
        r#"    inline = concat(
      [build.ID, "echo ${build.Host}:${build.Port}", convert(build.User, string)],
      [for name in ["a", build.SourceAMI] : "x${name}"],
      [{ a = build.ID }.a, element(["no", build.Host], 1), merge({ a = "b" }, { a = build.ConnType })["a"]],
      [join(" ", ["id", build.ID]), "%{ for x in [build.ID, "y"] }${x};%{ endfor }"],
    )"#,
    );
    insta::assert_snapshot!(lines.join("\n"), @r#"
    {{ build `ID` }}
    echo {{ build `Host` }}:{{ build `Port` }}
    {{ build `User` }}
    xa
    x{{ build `SourceAMI` }}
    {{ build `ID` }}
    {{ build `Host` }}
    {{ build `ConnType` }}
    id {{ build `ID` }}
    {{ build `ID` }};y;
    "#);
}

#[test]
fn what_is_known_is_given() {
    let lines = inline(
        r#"    inline = [
      upper(build.name), split("-", build.PackerRunUUID)[0], length([build.ID, build.Host]), keys({ a = build.ID })[0],
    ]"#,
    );
    insta::assert_snapshot!(lines.join("\n"), @r#"
    WEB
    01900000
    2
    a
    "#);
}

#[test]
fn what_planning_needs_can_not_wait() {
    let bad = |options: &str| shell(&format!("    inline = [\"x\"]\n    {options}")).bad();
    insta::assert_snapshot!(bad("max_retries = build.Port"), @"t.pkr.hcl:20:19: max_retries is needed before the build runs, and build.Port is known only then: use it in a provisioner's inline, environment_vars, env, content or execute_command, and let the script work with it");
    insta::assert_snapshot!(bad("timeout = \"${build.Port}s\""), @"t.pkr.hcl:20:15: timeout is needed before the build runs, and build.Port is known only then: use it in a provisioner's inline, environment_vars, env, content or execute_command, and let the script work with it");
    insta::assert_snapshot!(bad("skip_clean = build.SSHAgentAuth"), @"t.pkr.hcl:20:18: skip_clean is needed before the build runs, and build.SSHAgentAuth is known only then: use it in a provisioner's inline, environment_vars, env, content or execute_command, and let the script work with it");
    insta::assert_snapshot!(bad("only = [build.ID]"), @"t.pkr.hcl:20:13: each element of only is needed before the build runs, and build.ID is known only then: use it in a provisioner's inline, environment_vars, env, content or execute_command, and let the script work with it");
    insta::assert_snapshot!(bad("remote_path = \"/tmp/${build.ID}\""), @"t.pkr.hcl:20:19: remote_path is needed before the build runs, and build.ID is known only then: use it in a provisioner's inline, environment_vars, env, content or execute_command, and let the script work with it");
    insta::assert_snapshot!(bad("valid_exit_codes = [0, build.Port]"), @"t.pkr.hcl:20:28: each element of valid_exit_codes is needed before the build runs, and build.Port is known only then: use it in a provisioner's inline, environment_vars, env, content or execute_command, and let the script work with it");
}

#[test]
fn nothing_is_worked_out_of_a_placeholder() {
    for expression in [
        "upper(build.ID)",
        "length(build.ID)",
        "trimprefix(build.SourceAMIName, \"ubuntu/\")",
        "build.User == \"root\" ? \"a\" : \"b\"",
        "split(\"-\", build.ID)[0]",
        "base64encode(build.Password)",
        "sha256(\"x${build.ID}\")",
        "!build.SSHAgentAuth",
        "-build.Port",
        "build.Port + 1",
        "build.ID != null",
        "true && build.SSHAgentAuth",
        "build.SSHAgentAuth && true",
        "build.SSHAgentAuth ? \"a\" : \"b\"",
        "\"%{ if build.SSHAgentAuth }a%{ endif }\"",
        "[for x in [build.ID] : upper(x)][0]",
        "join(\",\", [for x in [build.ID] : x if x != \"\"])",
        "{ (build.ID) = \"a\" }[\"b\"]",
        "{ for x in [build.ID] : x => \"a\" }[\"b\"]",
        "{ a = \"b\" }[build.ID]",
        "[\"a\", \"b\"][build.Port]",
        "build.ID[0]",
        "build.ID.x",
        "build.ID[*][0]",
        "try(upper(build.ID), \"x\")",
        "can(upper(build.ID)) ? \"a\" : \"b\"",
        "convert(build.Port, number)",
        "jsonencode({ a = build.ID })",
        "format(\"%s\", build.ID)",
        "contains([build.ID], \"x\") ? \"a\" : \"b\"",
        "coalesce(build.ID, \"x\")",
        "zipmap([build.ID], [\"x\"])[\"y\"]",
        "distinct([build.ID, \"x\"])[0]",
        "max([build.Port]...)",
        "lookup({ a = 1 }, build.ID, 2)",
    ] {
        let complaints = shell(&format!("    inline = [{expression}]")).bad();
        assert!(complaints.contains("only while the build runs"), "{expression}: {complaints}");
    }
    insta::assert_snapshot!(shell("    inline = [\"a\", \"b ${upper(build.ID)}\"]").bad(), @r#"t.pkr.hcl:19:25: build.ID is known only while the build runs, nothing can be worked out of it here: put it into text as it is and let the script work: inline = ["ID='${build.ID}'; …"]"#);
}
