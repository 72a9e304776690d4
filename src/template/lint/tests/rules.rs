//! Each rule with what it finds and what it leaves alone, in both languages.

use super::*;
use crate::template::lint::RULES;

pub(super) struct Case {
    pub(super) rule: &'static str,
    /// Each has exactly one finding of the rule.
    pub(super) bad: Vec<Given>,
    /// None of them has one.
    pub(super) good: Vec<Given>,
}

fn case(rule: &'static str, bad: Vec<Given>, good: Vec<Given>) -> Case {
    Case { rule, bad, good }
}

fn image() -> Vec<Case> {
    let name = "\"a-{{timestamp}}\"";
    let locals = |text: &str, name: &str| {
        Given::hcl(&format!("{text}\n{}", GOOD.replace("\"a-{{timestamp}}\"", name))).var("version", "1")
    };
    let id = "source_ami = \"ami-0abcdef1234567890\"";
    vec![
        case(
            "ami-id-hard-coded",
            vec![
                source(id),
                locals(
                    "variable \"base\" {\n  default = \"ami-0abc\"\n}",
                    "\"a-{{timestamp}}\"\n  source_ami = var.base",
                ),
                locals(
                    "locals {\n  amis = { us-east-1 = \"ami-0abc\" }\n}",
                    "\"a-{{timestamp}}\"\n  source_ami = lookup(local.amis, \"us-east-1\", \"\")",
                ),
                json("\"encrypt_boot\": true", "\"encrypt_boot\": true, \"source_ami\": \"ami-0abc\""),
                json("\"version\": null", "\"version\": null, \"ami\": \"ami-0abc\"")
                    .with(r#""encrypt_boot""#, r#""source_ami": "{{user `ami`}}", "encrypt_boot""#),
            ],
            vec![
                source("source_ami = data.amazon-ami.base.id"),
                locals("variable \"base\" {\n  type = string\n}", "\"a-{{timestamp}}\"\n  source_ami = var.base"),
                locals(
                    "variable \"base\" {\n  default = \"ami-0abc\"\n}",
                    "\"a-{{timestamp}}\"\n  source_ami = var.base",
                )
                .var("base", "ami-1"),
                json("\"version\": null", "\"version\": null, \"ami\": null")
                    .with(r#""encrypt_boot""#, r#""source_ami": "{{user `ami`}}", "encrypt_boot""#),
            ],
        ),
        case(
            "ami-name-static",
            vec![
                instead(name, "\"web\""),
                locals(
                    "locals {\n  name = \"web-${var.env}\"\n}\nvariable \"env\" {\n  default = \"dev\"\n}",
                    "local.name",
                ),
                instead(name, "lower(join(\"-\", [\"A\", \"B\"]))"),
                json("a-{{timestamp}}", "web"),
                json("a-{{timestamp}}", "web-{{build_name}}"),
            ],
            vec![
                Given::hcl(GOOD),
                instead(name, "\"web-${formatdate(\"YYYYMMDD\", timestamp())}\""),
                locals("locals {\n  ts = regex_replace(timestamp(), \"[- TZ:]\", \"\")\n}", "\"web-${local.ts}\""),
                instead(name, "\"web-${var.version}\""),
                locals("variable \"app_version\" {\n  default = \"0.0.0\"\n}", "\"web-${var.app_version}\""),
                locals("variable \"name\" {\n  default = \"web\"\n}", "var.name").var("name", "web-7"),
                source("force_deregister = true").with("a-{{timestamp}}", "web"),
                json("a-{{timestamp}}", "web-{{isotime}}"),
                json("a-{{timestamp}}", "web-{{user `version`}}"),
            ],
        ),
    ]
}

fn sources_and_images() -> Vec<Case> {
    vec![
        case(
            "source-filter-most-recent",
            vec![
                instead("    most_recent = true\n", ""),
                instead("most_recent = true", "most_recent = false"),
                Given::hcl(&format!(
                    "{GOOD}data \"amazon-ami\" \"x\" {{\n  owners = [\"self\"]\n  filters = {{ name = \"y\" }}\n}}\n"
                )),
                json(",\n      \"most_recent\": true", ""),
            ],
            vec![Given::hcl(GOOD), instead("most_recent = true", "most_recent = var.version"), Given::json(GOOD_JSON)],
        ),
        case(
            "source-filter-owner",
            vec![
                instead("    owners      = [\"099720109477\"]\n", ""),
                instead("[\"099720109477\"]", "[]"),
                json("      \"owners\": [\"099720109477\"],\n", ""),
            ],
            vec![Given::hcl(GOOD), instead("[\"099720109477\"]", "[var.version]"), Given::json(GOOD_JSON)],
        ),
        case(
            "manifest-missing",
            vec![instead("  post-processor \"manifest\" {}\n", ""), json("\"manifest\"", "\"compress\"")],
            vec![
                instead("post-processor \"manifest\" {}", "post-processors {\n    post-processor \"manifest\" {}\n  }"),
                json("[{ \"type\": \"manifest\" }]", "[[{ \"type\": \"manifest\" }]]"),
                json("[{ \"type\": \"manifest\" }]", "[\"manifest\"]"),
                instead("source \"amazon-ebs\" \"a\"", "source \"null\" \"a\"")
                    .with("source.amazon-ebs.a", "source.null.a")
                    .with("  post-processor \"manifest\" {}\n", ""),
            ],
        ),
        case("json-legacy", vec![Given::json(GOOD_JSON)], vec![Given::hcl(GOOD)]),
        case(
            "root-volume-unencrypted",
            vec![
                instead("  encrypt_boot  = true\n", ""),
                instead("encrypt_boot  = true", "encrypt_boot = false"),
                json("    \"encrypt_boot\": true,\n", ""),
            ],
            vec![
                Given::hcl(GOOD),
                instead(
                    "encrypt_boot  = true",
                    "launch_block_device_mappings {\n    device_name = \"/dev/sda1\"\n    encrypted = true\n  }",
                ),
                json(
                    "\"encrypt_boot\": true",
                    "\"ami_block_device_mappings\": [{ \"device_name\": \"/dev/sda1\", \"encrypted\": true }]",
                ),
            ],
        ),
        case(
            "tags-incomplete",
            vec![
                instead("    Git-SHA    = \"{{env `GIT_SHA`}}\"\n", ""),
                instead("    Base-AMI   = \"{{ .SourceAMIName }}\"\n", ""),
                json("\"OS\": \"x\"", "\"a\": \"x\""),
            ],
            vec![
                Given::hcl(GOOD),
                instead("tags = {", "tags = merge(var.version, {").with("\"packer\"\n  }", "\"packer\"\n  })"),
                instead("    Git-SHA    = \"{{env `GIT_SHA`}}\"\n", "")
                    .with("  encrypt_boot", "  tag {\n    key = \"commit\"\n    value = \"x\"\n  }\n  encrypt_boot"),
                Given::json(GOOD_JSON),
            ],
        ),
    ]
}

fn access() -> Vec<Case> {
    let user = "ssh_username  = \"ubuntu\"";
    vec![
        case(
            "ssh-user-root",
            vec![
                instead(user, "ssh_username = \"root\""),
                json("\"ssh_username\": \"ubuntu\"", "\"ssh_username\": \"root\""),
            ],
            vec![
                Given::hcl(GOOD),
                instead(user, "ssh_username = \"root\"\n  user_data = \"#cloud-config\\ndisable_root: false\""),
            ],
        ),
        case(
            "ssh-user-mismatch",
            vec![
                instead(user, "ssh_username = \"ec2-user\""),
                instead("ubuntu/images/hvm-ssd/ubuntu-jammy-22.04-amd64-server-*", "al2023-ami-2023*")
                    .with("099720109477", "amazon"),
                instead("ubuntu/images/hvm-ssd/ubuntu-jammy-22.04-amd64-server-*", "debian-12-*")
                    .with("099720109477", "136693071363"),
                source("source_ami = data.amazon-ami.base.id").with("build {", "data \"amazon-ami\" \"base\" {\n  most_recent = true\n  owners = [\"amazon\"]\n  filters = { name = \"al2023-ami-*\" }\n}\nbuild {"),
                json("\"ssh_username\": \"ubuntu\"", "\"ssh_username\": \"ec2-user\""),
            ],
            vec![
                Given::hcl(GOOD),
                // One's own image may have any user.
                instead(user, "ssh_username = \"deploy\"").with("[\"099720109477\"]", "[\"self\"]"),
                instead(user, "ssh_username = \"deploy\"\n  user_data = \"users: [deploy]\""),
                instead(user, "ssh_username = var.nothing"),
                Given::json(GOOD_JSON),
            ],
        ),
        case(
            "security-group-open",
            vec![
                source("temporary_security_group_source_cidrs = [\"0.0.0.0/0\"]"),
                source("temporary_security_group_source_cidrs = [\"10.0.0.0/8\", \"::/0\"]"),
                command("aws ec2 authorize-security-group-ingress --group-id x --port 22 --cidr 0.0.0.0/0"),
                json(
                    "\"encrypt_boot\": true",
                    "\"encrypt_boot\": true, \"temporary_security_group_source_cidrs\": \"0.0.0.0/0\"",
                ),
            ],
            vec![
                Given::hcl(GOOD),
                source("temporary_security_group_source_cidrs = [\"10.0.0.0/8\"]"),
                Given::json(GOOD_JSON),
            ],
        ),
        case(
            "ami-public",
            vec![
                source("ami_groups = [\"all\"]"),
                json("\"encrypt_boot\": true", "\"encrypt_boot\": true, \"snapshot_groups\": [\"all\"]"),
            ],
            vec![source("ami_users = [\"123456789012\"]"), source("ami_groups = []"), Given::json(GOOD_JSON)],
        ),
    ]
}

fn machines() -> Vec<Case> {
    vec![
        case(
            "imds-v1-allowed",
            vec![
                source("metadata_options {\n    http_tokens = \"optional\"\n  }"),
                json(
                    "\"encrypt_boot\": true",
                    "\"encrypt_boot\": true, \"metadata_options\": { \"http_tokens\": \"optional\" }",
                ),
            ],
            vec![
                source("metadata_options {\n    http_tokens = \"required\"\n  }"),
                Given::hcl(GOOD),
                Given::json(GOOD_JSON),
            ],
        ),
        case(
            "single-az",
            vec![
                source("availability_zone = \"us-east-1a\""),
                source("subnet_id = \"subnet-1\""),
                json("\"encrypt_boot\": true", "\"encrypt_boot\": true, \"subnet_id\": \"subnet-1\""),
            ],
            vec![
                source("subnet_id = var.version"),
                source("subnet_filter {\n    most_free = true\n  }"),
                json("\"encrypt_boot\": true", "\"encrypt_boot\": true, \"subnet_id\": \"{{user `version`}}\""),
            ],
        ),
        case(
            "long-lived-keys",
            vec![
                source("access_key = var.version"),
                build(
                    "provisioner \"shell\" {\n    inline = [\"true\"]\n    environment_vars = [\"AWS_SECRET_ACCESS_KEY=${var.version}\"]\n  }",
                ),
                build("provisioner \"file\" {\n    source = \"~/.aws/credentials\"\n    destination = \"/tmp/x\"\n  }"),
                json("\"encrypt_boot\": true", "\"encrypt_boot\": true, \"secret_key\": \"{{user `version`}}\""),
            ],
            vec![
                source("access_key = \"\""),
                source("iam_instance_profile = \"x\""),
                json("\"encrypt_boot\": true", "\"access_key\": \"\""),
            ],
        ),
    ]
}

fn secrets() -> Vec<Case> {
    let secret_variable = "variable \"db_password\" {\n  default = \"hunter2\"\n  sensitive = true\n}\n";
    let script = |text: &str| build("provisioner \"shell\" {\n    script = \"x.sh\"\n  }").and("x.sh", text);
    let json_script =
        |text: &str| json("\"inline\": [\"sudo apt-get clean\"]", "\"scripts\": [\"x.sh\"]").and("x.sh", text);
    let environment =
        |text: &str| build(&format!("provisioner \"shell\" {{\n    inline = [\"true\"]\n    {text}\n  }}"));
    let file = |to: &str| {
        build(&format!("provisioner \"file\" {{\n    source = \"x\"\n    destination = \"{to}\"\n  }}")).and("x", "y")
    };
    vec![
        case(
            "secret-in-variable",
            vec![
                Given::hcl(&format!("{secret_variable}{GOOD}")),
                Given::hcl(&format!("locals {{\n  api_token = \"abcdef\"\n}}\n{GOOD}")),
                Given::hcl(GOOD).and("x.auto.pkrvars.hcl", "db_password = \"hunter2\"\n"),
                Given::hcl(GOOD).and("x.pkrvars.json", "{\"db_password\": \"hunter2\"}"),
                json("\"version\": null", "\"db_password\": \"hunter2\""),
                json("\"version\": null", "\"x\": \"AKIAIOSFODNN7EXAMPLE\""),
            ],
            vec![
                Given::hcl(&format!("variable \"db_password\" {{\n  default = \"\"\n}}\n{GOOD}")),
                Given::hcl(&format!("locals {{\n  api_token = var.version\n}}\n{GOOD}")),
                json("\"version\": null", "\"db_password\": null"),
                json("\"version\": null", "\"db_password\": \"{{env `DB_PASSWORD`}}\""),
            ],
        ),
        case(
            "secret-in-environment",
            vec![
                environment("environment_vars = [\"A=b\", \"DB_PASSWORD=hunter2\"]"),
                environment("env = { API_TOKEN = \"abcdef\" }"),
                environment("env = { API_TOKEN = \"abcdef\" }")
                    .with("\"shell\" {\n    inline = [\"true\"]", "\"shell-local\" {\n    inline = [\"true\"]"),
                json("\"inline\"", "\"environment_vars\": [\"DB_PASSWORD=hunter2\"], \"inline\""),
            ],
            vec![
                environment("environment_vars = [\"DB_PASSWORD=${var.version}\"]"),
                environment("env = { API_TOKEN = var.version }"),
                json("\"inline\"", "\"environment_vars\": [\"DB_PASSWORD={{user `version`}}\"], \"inline\""),
            ],
        ),
        case(
            "secret-in-template",
            vec![
                source("user_data = \"AKIAIOSFODNN7EXAMPLE\""),
                source("winrm_password = \"hunter2\""),
                source("user_data = \"#cloud-config\\npassword: hunter2\""),
                source("# AKIAIOSFODNN7EXAMPLE"),
                json("\"encrypt_boot\": true", "\"encrypt_boot\": true, \"ssh_password\": \"hunter2\""),
            ],
            vec![source("winrm_password = var.version"), source("ssh_password = \"\""), Given::json(GOOD_JSON)],
        ),
        case(
            "secret-in-provisioner",
            vec![
                script("#!/bin/sh -e\nexport DB_PASSWORD=hunter2\n"),
                file("/tmp/x").and("x.pem", "").with_file("x", "-----BEGIN RSA PRIVATE KEY-----\n"),
                file("/tmp/x").with_file("x", "db.password = hunter2\n"),
                json_script("#!/usr/bin/python3\nTOKEN = 'abcdefgh'\n"),
                build("provisioner \"shell-local\" {\n    inline = [\"curl -u bob:hunter2 https://x\"]\n  }"),
                build("provisioner \"shell-local\" {\n    command = \"export DB_PASSWORD=hunter2\"\n  }"),
                build("provisioner \"shell-local\" {\n    script = \"x.sh\"\n  }").and("x.sh", "DB_PASSWORD=hunter2\n"),
            ],
            vec![
                script("#!/bin/sh -e\n# DB_PASSWORD=hunter2 is an example\n"),
                file("/tmp/x"),
                json_script("#!/usr/bin/python3\nTOKEN = os.environ['X']\n"),
                // The server's own files are not in the image.
                build(
                    "provisioner \"shell-local\" {\n    inline = [\"echo DB_PASSWORD=${var.version} > /srv/x\"]\n  }",
                ),
            ],
        ),
        case(
            "variable-not-sensitive",
            vec![
                Given::hcl(&format!("variable \"db_password\" {{\n}}\n{GOOD}")),
                json("\"version\": null", "\"db_password\": null"),
            ],
            vec![
                Given::hcl(&format!("{secret_variable}{GOOD}")),
                json("\"version\": null },", "\"db_password\": null }, \"sensitive-variables\": [\"db_password\"],"),
            ],
        ),
    ]
}

fn habits() -> Vec<Case> {
    let script = |text: &str| build("provisioner \"shell\" {\n    script = \"x.sh\"\n  }").and("x.sh", text);
    let json_script =
        |text: &str| json("\"inline\": [\"sudo apt-get clean\"]", "\"scripts\": [\"x.sh\"]").and("x.sh", text);
    let environment =
        |text: &str| build(&format!("provisioner \"shell\" {{\n    inline = [\"true\"]\n    {text}\n  }}"));
    let file = |to: &str| {
        build(&format!("provisioner \"file\" {{\n    source = \"x\"\n    destination = \"{to}\"\n  }}")).and("x", "y")
    };
    let first = |text: &str| instead("\"sudo apt-get update\"", text);
    let bare = || instead("      \"sudo apt-get clean\",\n", "");
    vec![
        case(
            "script-without-set-e",
            vec![script("#!/bin/bash\nset -x\na\nb\n"), environment("inline_shebang = \"/bin/bash\"").with("[\"true\"]", "[\"a\", \"b\"]"), json_script("a\nb\n")],
            vec![
                script("#!/bin/bash\nset -euo pipefail\na\nb\n"),
                script("#!/bin/bash -e\na\nb\n"),
                script("#!/bin/sh\nset -o errexit\na\nb\n"),
                script("#!/usr/bin/python3\na\nb\n"),
                script("#!/bin/sh\na\n"),
                environment("inline_shebang = \"/bin/bash -ex\"").with("[\"true\"]", "[\"a\", \"b\"]"),
                json_script("a\nb\n").with("\"scripts\"", "\"execute_command\": \"sudo bash -e {{ .Path }}\", \"scripts\""),
            ],
        ),
        case(
            "sudo-missing",
            vec![script("#!/bin/sh -e\napt-get update\n"), json_script("#!/bin/sh -e\nyum -y update\n")],
            vec![
                build("provisioner \"shell\" {\n    execute_command = \"chmod +x {{ .Path }}; sudo {{ .Vars }} {{ .Path }}\"\n    script = \"x.sh\"\n  }").and("x.sh", "#!/bin/sh -e\napt-get update\n"),
                build("provisioner \"shell\" {\n    execute_command = local.as_root\n    script = \"x.sh\"\n  }").with("build {", "locals {\n  as_root = \"sudo sh -e {{ .Path }}\"\n}\nbuild {").and("x.sh", "apt-get update\n"),
                script("#!/bin/sh -e\nif [ $EUID -ne 0 ]; then exec sudo $0; fi\napt-get update\n"),
            ],
        ),
        case(
            "sleep-as-wait",
            vec![first("\"sleep 30\""), json("\"sudo apt-get clean\"", "\"sleep 30s\", \"sudo apt-get clean\"")],
            vec![first("\"cloud-init status --wait\""), first("\"sleep 1\""), json("\"sudo apt-get clean\"", "\"sudo apt-get clean\", \"sleep 10\"")],
        ),
        case(
            "file-destination-root-owned",
            vec![file("/etc/x"), file("/opt/app/"), json("{ \"type\": \"shell\"", "{ \"type\": \"file\", \"source\": \"t.json\", \"destination\": \"/usr/local/x\" }, { \"type\": \"shell\"")],
            vec![file("/tmp/x"), file("/home/ubuntu/x"), file("/var/tmp/x"), file("/etc/x").with("ssh_username  = \"ubuntu\"", "ssh_username = \"root\"")],
        ),
        case(
            "clean-up-missing",
            vec![bare(), Given { clean_image: false, ..bare() }, json("sudo apt-get clean", "true")],
            vec![
                Given::hcl(GOOD),
                first("\"sudo rm -f /home/*/.ssh/authorized_keys\"").with("      \"sudo apt-get clean\",\n", ""),
                first("\"history -c\"").with("      \"sudo apt-get clean\",\n", ""),
                bare().with("  post-processor", "  provisioner \"ansible\" {\n    playbook_file = \"x.yml\"\n  }\n  post-processor"),
                script("#!/bin/sh -e\ntrue\n").with("x.sh", "./cleanup.sh").and("cleanup.sh", "true").with("      \"sudo apt-get clean\",\n", ""),
            ],
        ),
        case(
            "image-test-missing",
            vec![Given::hcl(GOOD).policy("{\"image-test-missing\": \"warning\"}"), Given::json(GOOD_JSON).policy("{\"all\": \"info\"}")],
            vec![Given::hcl(GOOD), command("goss validate").policy("{\"image-test-missing\": \"warning\"}"), json_command("goss validate").policy("{\"all\": \"info\"}")],
        ),
        case(
            "ignore-comment",
            vec![source("# ingot:ignore single-zone why"), source("# ingot:ignore single-az"), json("\"encrypt_boot\": true", "\"encrypt_boot\": true,\n \"_comment\": \"ingot:ignore x y\"")],
            vec![source("# ingot:ignore single-az this subnet is the only one"), Given::json(GOOD_JSON)],
        ),
    ]
}

#[test]
fn every_rule_finds_what_is_bad_and_leaves_the_good_alone() {
    let cases: Vec<Case> = [image(), sources_and_images(), access(), machines(), commands::all(), secrets(), habits()]
        .into_iter()
        .flatten()
        .collect();
    let mut wrong = Vec::new();
    for Case { rule, bad, good } in &cases {
        for given in bad.iter().filter(|given| given.count(rule) != 1) {
            wrong.push(format!("{rule}: {:?} in\n{}", given.of(rule), given.text()));
        }
        for given in good.iter().filter(|given| given.count(rule) != 0) {
            wrong.push(format!("{rule}: {:?} wrongly in\n{}", given.of(rule), given.text()));
        }
    }
    assert!(wrong.is_empty(), "{}\n{}", wrong.join("\n"), wrong.len());
    for rule in RULES {
        assert!(cases.iter().any(|case| case.rule == rule.id), "{} has no case", rule.id);
    }
}

#[test]
fn the_good_templates_are_without_findings() {
    insta::assert_snapshot!(Given::hcl(GOOD).lines(), @"");
    insta::assert_snapshot!(Given::json(GOOD_JSON).lines(), @"3:3 Info json-legacy: the template is in the legacy JSON format");
}
