//! What a person reads when something is wrong.

use super::{Given, with_options};
use crate::domain::config::ProvisionerConfig;
use crate::domain::config::provisioner::Breakpoint;

#[test]
fn options() {
    insta::assert_snapshot!(with_options("  access_key = \"AKIA\"\n  secret_key = \"hunter2\"").bad(), @"
    t.pkr.hcl:7:3: access_key can't be used here: the server assumes a role in each account: remove access_key and secret_key, configure [accounts.<name>] role_arn, and name that account in the request with `account`
    t.pkr.hcl:8:3: secret_key can't be used here: the server assumes a role in each account: remove access_key and secret_key, configure [accounts.<name>] role_arn, and name that account in the request with `account`
    ");
    insta::assert_snapshot!(with_options("  instance_typ = \"x\"\n  Region = \"y\"\n  ssh_agent_auth = true").bad(), @r#"
    t.pkr.hcl:7:3: amazon-ebs has no option "instance_typ": did you mean "instance_type"?
    t.pkr.hcl:8:3: amazon-ebs has no option "Region": did you mean "region"?
    t.pkr.hcl:9:3: ssh_agent_auth can't be used here: a server has no SSH agent: leave it out, and a key is made for the build; or give ssh_private_key_file, a file of the bundle or a sensitive variable's value
    "#);
    insta::assert_snapshot!(with_options("  tags = { \"ingot:family\" = \"x\", \"aws:x\" = \"y\" }").bad(), @r#"
    t.pkr.hcl:7:12: the tag "ingot:family" can't be set: keys that begin with ingot: are reserved
    t.pkr.hcl:7:34: the tag "aws:x" can't be set: keys that begin with aws: are reserved
    "#);
    insta::assert_snapshot!(with_options("  tags = { a = \"{{ .SourceAMIx }}\" }\n  vpc_id = \"{{ .SourceAMI }}\"").bad(), @r#"
    t.pkr.hcl:7:16: {{ .SourceAMIx }} has no value in this option: did you mean "SourceAMI"?
    t.pkr.hcl:8:12: {{ .SourceAMI }} has no value in this option
    "#);
    insta::assert_snapshot!(with_options("  tags {\n    a = 1\n  }\n  metadata_options = { http_tokens = \"required\" }").bad(), @"
    t.pkr.hcl:7:3: tags is an attribute, not a block: write tags = { … }
    t.pkr.hcl:10:3: metadata_options is a block, not an attribute: leave the = out: metadata_options { … }
    ");
    insta::assert_snapshot!(with_options("  ssh_timeout = \"5 minutes\"\n  ssh_port = \"ssh\"\n  ssh_pty = \"maybe\"").bad(), @r#"
    t.pkr.hcl:7:17: ssh_timeout must be a duration, "5 minutes" is none: write a number with its unit: 30s, 5m, 1h30m
    t.pkr.hcl:8:14: ssh_port must be a whole number
    t.pkr.hcl:9:13: ssh_pty must be true or false
    "#);
    insta::assert_snapshot!(with_options("  kms_key_id = \"alias/x\"\n  imds_support = \"v1\"\n  ami_users = { a = 1 }").bad(), @r#"
    t.pkr.hcl:7:16: kms_key_id needs encrypt_boot = true
    t.pkr.hcl:8:18: imds_support must be "v2.0" or left out, this is "v1"
    t.pkr.hcl:9:15: ami_users must be a list, this is a map: write ami_users = [ … ]
    "#);
    insta::assert_snapshot!(with_options("  aws_polling {\n    delay_seconds = -1\n    max_attempts = \"many\"\n    delay = 3\n  }").bad(), @r#"
    t.pkr.hcl:8:21: delay_seconds must be from 0 to 86400
    t.pkr.hcl:9:20: max_attempts must be a whole number
    t.pkr.hcl:10:5: aws_polling has no option "delay"
    "#);
    insta::assert_snapshot!(with_options("  aws_polling = { delay_seconds = 1 }").bad(), @"t.pkr.hcl:7:3: aws_polling is a block, not an attribute: leave the = out: aws_polling { … }");
    insta::assert_snapshot!(with_options("  launch_block_device_mappings {\n    volume_type = \"gp2\"\n    iops = 100\n  }").bad(), @"
    t.pkr.hcl:7:3: device_name is missing: such as /dev/sda1 or /dev/xvda
    t.pkr.hcl:9:5: warning: iops is only for io1, io2 and gp3 volumes; it is left out: Packer leaves it out, too
    ");
}

#[test]
fn sources() {
    let text = r#"
source "amazon-ebs" "a" {
  ami_name = "a:b"
  source_ami_filter {
    filters = { name = "ubuntu*" }
  }
}
build {
  sources = ["source.amazon-ebs.a", "source.amazon-ebs.b", "oops"]
}
"#;
    insta::assert_snapshot!(Given::hcl(text).bad(), @r#"
    t.pkr.hcl:2:1: region is missing: name the region to build in, such as us-east-1, or set AWS_REGION in the run's env
    t.pkr.hcl:2:1: instance_type is missing: name the machine to build on, such as t3.micro
    t.pkr.hcl:2:1: ssh_username is missing: name the image's user, such as ubuntu, ec2-user or admin
    t.pkr.hcl:3:3: ami_name "a:b" holds ':', which EC2 does not allow: letters, digits, spaces and ( ) [ ] . / - ' @ _ are allowed; clean_resource_name replaces the rest
    t.pkr.hcl:4:3: for safety a source_ami_filter needs owners: without them anybody's look-alike image would be taken; give account ids, "self" or "amazon": owners = ["099720109477"] is Canonical's Ubuntu
    t.pkr.hcl:9:37: there is no source "amazon-ebs.b": did you mean "amazon-ebs.a"?
    t.pkr.hcl:9:60: "oops" is no source: write "source.TYPE.NAME", such as "source.amazon-ebs.ubuntu"
    "#);
    insta::assert_snapshot!(with_options("").only("docker.*").bad(), @r#"no build is left by only "docker.*": the template has the builds amazon-ebs.a"#);
}

#[test]
fn expressions_and_names() {
    let text = r#"
variable "region" {
  type    = strin
  default = "x"
}
variable "n" {
  type = number
}
variable "checked" {
  default = "bad"
  validation {
    condition     = length(var.checked) > 5
    error_message = "It must be longer."
  }
}
locals {
  a = local.b
  b = local.a
  c = var.regoin
  d = "${["x"]}"
  e = 1 / 0
  f = tostring(1)
  g = md5("x")
  h = lenght([])
  i = ubuntu
  j = substr("x", 1)
}
source "amazon-ebs" "a" {
  ami_name = local.c
}
build {
  sources = ["amazon-ebs.a"]
  provisionr "shell" {}
}
"#;
    insta::assert_snapshot!(Given::hcl(text).var("n", "five").var("nope", "x").bad(), @r#"
    the template declares no variable "nope"
    t.pkr.hcl:3:13: "strin" is no type; there are string, number, bool, any, list(…), set(…), map(…), object({…}) and tuple([…])
    t.pkr.hcl:6:1: the value of variable "n" does not fit its type number: a number is needed, "five" is none
    t.pkr.hcl:11:3: the value of variable "checked" is not valid: It must be longer.
    t.pkr.hcl:17:3: local.a depends on itself: local.a → local.b → local.a
    t.pkr.hcl:19:11: there is no variable "regoin": did you mean "region"?
    t.pkr.hcl:21:11: division by zero
    t.pkr.hcl:22:7: there is no function "tostring": that is Terraform's; in Packer write convert(x, string)
    t.pkr.hcl:24:7: there is no function "lenght": did you mean "length"?
    t.pkr.hcl:25:7: "ubuntu" is not defined: text goes in quotes; variables are var.NAME, locals are local.NAME
    t.pkr.hcl:26:7: substr: it takes 3 arguments, length is missing
    t.pkr.hcl:28:1: region is missing: name the region to build in, such as us-east-1, or set AWS_REGION in the run's env
    t.pkr.hcl:28:1: source_ami or source_ami_filter is missing: name the image to start from
    t.pkr.hcl:28:1: instance_type is missing: name the machine to build on, such as t3.micro
    t.pkr.hcl:28:1: ssh_username is missing: name the image's user, such as ubuntu, ec2-user or admin
    t.pkr.hcl:33:3: a build has no block "provisionr": did you mean "provisioner"?
    "#);
}

#[test]
fn provisioners() {
    let text = |block: &str| {
        let given = with_options("");
        let source = String::from_utf8(given.files[0].1.clone()).unwrap();
        Given::hcl(
            &source.replace("  sources = [\"amazon-ebs.a\"]\n", &format!("  sources = [\"amazon-ebs.a\"]\n{block}")),
        )
    };
    insta::assert_snapshot!(text("  provisioner \"shell\" {}\n  provisioner \"powershell\" {}\n  provisioner \"shel\" {}\n").bad(), @r#"
    t.pkr.hcl:11:3: the shell provisioner needs inline, script or scripts
    t.pkr.hcl:12:3: provisioner "powershell" is not supported yet: shell, shell-local, file and breakpoint are
    t.pkr.hcl:13:3: there is no provisioner "shel": did you mean "shell"?
    "#);
    insta::assert_snapshot!(text("  provisioner \"shell\" {\n    script = \"setup.sh\"\n    execute_comand = \"x\"\n  }\n").bad(), @r#"
    t.pkr.hcl:12:14: script: the bundle has no file "setup.sh": send the file with the template; paths count from the template's folder
    t.pkr.hcl:13:5: the shell provisioner has no option "execute_comand": did you mean "execute_command"?
    "#);
    insta::assert_snapshot!(text("  provisioner \"file\" {\n    source = \"../x\"\n  }\n").bad(), @r#"
    t.pkr.hcl:11:3: destination is missing: the file provisioner needs to know where to
    t.pkr.hcl:12:14: source: "../x" leaves the template's folder: a file above it comes along when it is there and is named without variables; check the path, or copy the file into the folder
    "#);
    insta::assert_snapshot!(text("  provisioner \"shell\" {\n    inline = [\"{{ if .X }}\"]\n    pause_before = \"soon\"\n  }\n").bad(), @r#"
    t.pkr.hcl:12:15: {{ if }} is not closed: write {{ end }} where it ends
    t.pkr.hcl:13:20: pause_before must be a duration, "soon" is none: write a number with its unit: 30s, 5m, 1h30m
    "#);
}

#[test]
fn breakpoints_and_error_cleanup() {
    let text = |block: &str| {
        let given = with_options("");
        let source = String::from_utf8(given.files[0].1.clone()).unwrap();
        Given::hcl(
            &source.replace("  sources = [\"amazon-ebs.a\"]\n", &format!("  sources = [\"amazon-ebs.a\"]\n{block}")),
        )
    };
    let good = text(
        "  provisioner \"breakpoint\" {\n    note = \"look\"\n  }\n  error-cleanup-provisioner \"shell\" {\n    inline = [\"save\"]\n  }\n",
    )
    .good();
    let build = &good.builds[0];
    assert_eq!(
        build.provisioners[0].config,
        ProvisionerConfig::Breakpoint(Breakpoint { disable: false, note: "look".into() })
    );
    assert_eq!(build.provisioners.len(), 1, "it is not one of the provisioners");
    let Some(ProvisionerConfig::Shell(shell)) = build.error_cleanup.as_ref().map(|block| &block.config) else {
        panic!("a shell")
    };
    assert_eq!(shell.inline[0].0, "save");

    let twice = "  error-cleanup-provisioner \"shell\" {\n    inline = [\"x\"]\n  }\n".repeat(2);
    insta::assert_snapshot!(text(&twice).bad(), @r#"
    t.pkr.hcl:14:3: a build has one error-cleanup-provisioner at most: put what it does into one script
    "#);
    insta::assert_snapshot!(text("  error-cleanup-provisioner \"breakpoint\" {}\n  provisioner \"breakpoint\" {\n    wait = 1\n  }\n").bad(), @r#"
    t.pkr.hcl:11:3: a breakpoint can't be the error-cleanup-provisioner: start the run with on_error "ask" to look at a machine where something failed
    t.pkr.hcl:13:5: the breakpoint provisioner has no option "wait"
    "#);
}

#[test]
fn a_json_template_has_an_error_cleanup_provisioner_too() {
    let json = r#"{
      "builders": [{"type": "amazon-ebs", "ami_name": "web", "region": "us-east-1", "instance_type": "t3.micro",
                    "source_ami": "ami-12345678", "ssh_username": "u"}],
      "provisioners": [{"type": "breakpoint", "disable": true}],
      "error-cleanup-provisioner": {"type": "shell", "inline": ["save"]}
    }"#;
    let good = Given::default().file("t.json", json).good();
    assert_eq!(good.builds[0].error_cleanup.as_ref().unwrap().config.provisioner_type(), "shell");
}

#[test]
fn secrets_stay_out_of_complaints() {
    let secret = "variable \"t\" {\n  sensitive = true\n  default   = \"hunter2\"\n}\n";
    let given = with_options("  ssh_timeout = var.t\n  imds_support = \"x${var.t}\"");
    let text = String::from_utf8(given.files[0].1.clone()).unwrap();
    let bad = Given::hcl(&format!("{secret}{text}")).bad();
    assert!(bad.contains("<sensitive>") && !bad.contains("hunter2"), "{bad}");
}

#[test]
fn which_file() {
    let json = "{\"builders\": []}";
    insta::assert_snapshot!(Given::default().file("a.json", json).file("b.json", json).bad(), @"the bundle has several templates: a.json, b.json: send one JSON template in a bundle");
    insta::assert_snapshot!(Given::default().file("README.md", "x").file("x/t.pkr.hcl", "").file("y", "").bad(), @"no file of the bundle is a template: a template is *.pkr.hcl, *.pkr.json, or one JSON file with builders, at the root of the bundle; at the root there are README.md, y");
    insta::assert_snapshot!(Given::default().file("t.pkr.json", "{}").bad(), @"t.pkr.json:1:1: the template has no build block: add a source block and a build block that names it");
    insta::assert_snapshot!(Given::default().file("t.json", json).bad(), @r#"t.json:1:1: the template has no builders: add "builders": [{ "type": "amazon-ebs", … }]"#);
    insta::assert_snapshot!(Given::hcl("").bad(), @"t.pkr.hcl:1:1: the template has no build block: add a source block and a build block that names it");
}

#[test]
fn json() {
    let text = r#"{
  "variables": { "a": "{{user `b`}}", "b": "{{user `a`}}", "c": null },
  "builders": [{ "type": "amazon-ebs", "ami_nam": "x", "secret_key": "hunter2" }],
  "provisioners": [{ "type": "shell", "only": ["other"], "inline": [1] }],
  "postprocessors": []
}"#;
    insta::assert_snapshot!(Given::default().file("t.json", text).bad(), @r#"
    t.json:2:23: the variable "a" can't be evaluated: it refers to itself, directly or through other variables; a → b → a
    t.json:2:44: the variable "b" can't be evaluated: it refers to itself, directly or through other variables; b → a → b
    t.json:2:60: the variable "c" has no value: give it in the request's variables, or give it a default other than null
    t.json:3:16: region is missing: name the region to build in, such as us-east-1, or set AWS_REGION in the run's env
    t.json:3:16: source_ami or source_ami_filter is missing: name the image to start from
    t.json:3:16: instance_type is missing: name the machine to build on, such as t3.micro
    t.json:3:16: ssh_username is missing: name the image's user, such as ubuntu, ec2-user or admin
    t.json:3:16: ami_name is missing: put {{timestamp}} into it, so that each image has a name of its own
    t.json:3:40: amazon-ebs has no option "ami_nam": did you mean "ami_name"?
    t.json:3:56: secret_key can't be used here: the server assumes a role in each account: remove access_key and secret_key, configure [accounts.<name>] role_arn, and name that account in the request with `account`
    t.json:4:20: only names "other", and there is no such builder
    t.json:5:3: a template has no key "postprocessors": did you mean "post-processors"?
    "#);
}

#[test]
fn a_refused_communicator_or_provisioner_says_nothing_of_the_machine() {
    let template = |communicator: &str, provisioner: &str| {
        Given::hcl(&format!(
            "source \"null\" \"a\" {{\n  communicator = \"{communicator}\"\n}}\nbuild {{\n  sources = [\"null.a\"]\n{provisioner}}}\n"
        ))
    };
    let shell = "  provisioner \"shell\" {\n    inline = [\"x\"]\n  }\n";
    insta::assert_snapshot!(template("winrm", shell).bad(), @r#"t.pkr.hcl:2:18: communicator "winrm" is not supported yet: only ssh and none are; Windows images from 2019 on have an OpenSSH server to switch on in user_data"#);
    insta::assert_snapshot!(template("telnet", shell).bad(), @r#"t.pkr.hcl:2:18: there is no communicator "telnet": there are ssh and none"#);
    let other = "  provisioner \"powershell\" {}\n";
    insta::assert_snapshot!(template("none", other).bad(), @r#"t.pkr.hcl:6:3: provisioner "powershell" is not supported yet: shell, shell-local, file and breakpoint are"#);
    insta::assert_snapshot!(template("none", &format!("{other}{shell}")).bad(), @r#"
    t.pkr.hcl:6:3: provisioner "powershell" is not supported yet: shell, shell-local, file and breakpoint are
    t.pkr.hcl:7:3: warning: with communicator "none" there is no machine: the build will fail at this provisioner: name a host in ssh_host and set communicator = "ssh"
    "#);
}

#[test]
fn only_the_cause_is_told() {
    let filter = "  source_ami_filter {\n    filters = { name = \"x\" }\n    owners  = [\"{{user `x`}}\"]\n  }";
    let given = with_options(filter);
    let text = String::from_utf8(given.files[0].1.clone()).unwrap().replace("  source_ami = \"ami-1\"\n", "");
    insta::assert_snapshot!(Given::hcl(&text).bad(), @"t.pkr.hcl:8:16: {{ user `x` }} is for JSON templates: in HCL2 write ${var.x}");
    insta::assert_snapshot!(with_options("  security_group_filter {\n    filters = { a = [] }\n  }").bad(), @"t.pkr.hcl:8:21: filters.a must be a string, this is a list");
    let json = r#"{
  "variables": { "r": null, "s": "{{user `r`}}-x", "t": "{{user `t`}}" },
  "builders": [{ "type": "amazon-ebs", "ami_name": "{{user `t`}}", "region": "{{user `r`}}", "instance_type": "{{user `s`}}",
                 "source_ami_filter": { "filters": {"name": "x"}, "owners": "{{user `s`}}" }, "ssh_username": "u" }]
}"#;
    insta::assert_snapshot!(Given::default().file("t.json", json).bad(), @r#"
    t.json:2:18: the variable "r" has no value: give it in the request's variables, or give it a default other than null
    t.json:2:57: the variable "t" can't be evaluated: it refers to itself, directly or through other variables; t → t
    "#);
}

#[test]
fn paths_that_lead_out_of_the_template_s_folder() {
    insta::assert_snapshot!(with_options("  user_data_file = \"${path.root}/../../shared/x.sh\"").bad(), @r#"t.pkr.hcl:7:20: user_data_file: "./../../shared/x.sh" leaves the template's folder: a file above it comes along when it is there and is named without variables; check the path, or copy the file into the folder"#);
    insta::assert_snapshot!(with_options("  user_data = file(\"/opt/x.sh\")").bad(), @r#"t.pkr.hcl:7:20: file: "/opt/x.sh" is absolute; paths in a bundle are relative to the template's folder; copy it into the template's folder, and write the path from there"#);
    let text = String::from_utf8(with_options("").files[0].1.clone()).unwrap();
    let file = |options: &str| {
        let block = format!("  sources = [\"amazon-ebs.a\"]\n  provisioner \"file\" {{\n{options}\n  }}\n");
        Given::hcl(&text.replace("  sources = [\"amazon-ebs.a\"]\n", &block)).bad()
    };
    insta::assert_snapshot!(file("    source = \"../x\"\n    destination = \"/tmp/x\""), @r#"t.pkr.hcl:12:14: source: "../x" leaves the template's folder: a file above it comes along when it is there and is named without variables; check the path, or copy the file into the folder"#);
    insta::assert_snapshot!(file("    direction = \"download\"\n    source = \"/tmp/x\"\n    destination = \"/tmp/x\""), @r#"t.pkr.hcl:14:19: destination: "/tmp/x" is absolute; paths in a bundle are relative to the template's folder: a download becomes a file of the run; give it a plain name"#);
}

#[test]
fn empty_text_is_no_json() {
    insta::assert_snapshot!(with_options("  tags = jsondecode(\"\")").bad(), @"t.pkr.hcl:7:21: jsondecode: this is no JSON: the text is empty");
    insta::assert_snapshot!(with_options("  tags = jsondecode(\"{\")").bad(), @"t.pkr.hcl:7:21: jsondecode: this is no JSON: line 1, column 1");
}

#[test]
fn what_only_registered_images_have() {
    insta::assert_snapshot!(with_options("  boot_mode = \"uefi\"\n  tpm_support = \"v2.0\"").bad(), @"
    t.pkr.hcl:7:3: boot_mode can't be used here: of the amazon builders only amazon-ebssurrogate has it: an image made of an instance has the boot mode of the image that the instance was started from; choose that image accordingly
    t.pkr.hcl:8:3: tpm_support can't be used here: of the amazon builders only amazon-ebssurrogate has it: an image made of an instance has this from the image that the instance was started from
    ");
}

#[test]
fn files_that_are_no_private_key() {
    let key = |text: &str| with_options("  ssh_private_key_file = \"key\"").file("key", text).bad();
    let framed = |kind: &str, body: &str| format!("-----BEGIN {kind}-----\n{body}\n-----END {kind}-----\n");
    let no_key = key("hello");
    insta::assert_snapshot!(no_key, @"t.pkr.hcl:7:26: ssh_private_key_file is no private key: one is -----BEGIN … PRIVATE KEY-----, Base64, -----END … PRIVATE KEY-----; PuTTY keys must be converted");
    for text in [
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI me@here".to_owned(),
        framed("OPENSSH PRIVATE KEY", "not base64"),
        framed("OPENSSH PRIVATE KEY", "bm90IGEga2V5"),
        framed("RSA PRIVATE KEY", "..."),
        framed("RSA PRIVATE KEY", ""),
        framed("CERTIFICATE", "AAAA"),
        "-----BEGIN RSA PRIVATE KEY-----\nAAAA\n".to_owned(),
        "PuTTY-User-Key-File-3: ssh-ed25519".to_owned(),
    ] {
        assert_eq!(key(&text), no_key, "{text}");
    }
    insta::assert_snapshot!(key(&framed("ENCRYPTED PRIVATE KEY", "AAAA")), @"t.pkr.hcl:7:26: ssh_private_key_file has a passphrase: nobody is there to type it: ssh-keygen -p takes it off; keep the key in a sensitive variable");
}
