//! What of `build` is known only while the build runs, and what can be made of it.

use std::sync::{Arc, Mutex};

use proptest::prelude::{Just, Strategy};
use proptest::prop_oneof;
use uuid::Uuid;

use super::Given;
use crate::domain::config::provisioner::Shell;
use crate::domain::config::{BuildConfig, ProvisionerConfig};
use crate::template::hcl::late_run::Expressions;
use crate::template::legacy::{self, LateData};

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
variable "zone" {{
  default = "z"
}}
locals {{
  unused = "unused"
  map    = {{ root = {{ x = "y" }} }}
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
    .file("x.txt", "id is ID")
    .file("x.tpl", "${id}\n${upper(id)}${n}")
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
      [build.ID, "echo ${build.Host}:${build.PackerHTTPPort}", convert(build.SourceAMIOwner, string)],
      [for name in ["a", build.SourceAMI] : "x${name}"],
      [{ a = build.ID }.a, element(["no", build.Host], 1), merge({ a = "b" }, { a = build.ConnType })["a"]],
      [join(" ", ["id", build.ID]), "%{ for x in [build.ID, "y"] }${x};%{ endfor }"],
    )"#,
    );
    insta::assert_snapshot!(lines.join("\n"), @r#"
    {{ build `ID` }}
    echo {{ build `Host` }}:{{ build `PackerHTTPPort` }}
    {{ build `SourceAMIOwner` }}
    xa
    x{{ build `SourceAMI` }}
    {{ build `ID` }}
    {{ build `Host` }}
    ssh
    id {{ build `ID` }}
    {{ build `ID` }};y;
    "#);
}

#[test]
fn what_is_known_is_given() {
    let lines = inline(
        r#"    inline = [
      upper(build.name), split("-", build.PackerRunUUID)[0], length([build.ID, build.Host]), keys({ a = build.ID })[0],
      build.User == "u" ? "me" : "other", build.Port + 1, upper(build.ConnType), "${build.User}:${build.Port}",
    ]"#,
    );
    insta::assert_snapshot!(lines.join("\n"), @r#"
    WEB
    01900000
    2
    a
    me
    23
    SSH
    u:22
    "#);
}

#[test]
fn what_planning_needs_can_not_wait() {
    let bad = |options: &str| shell(&format!("    inline = [\"x\"]\n    {options}")).bad();
    insta::assert_snapshot!(bad("max_retries = build.PackerHTTPPort"), @"t.pkr.hcl:27:19: max_retries is needed before the build runs, and build.PackerHTTPPort is known only then: use it in a provisioner's inline, environment_vars, env, content or execute_command, and let the script work with it");
    insta::assert_snapshot!(bad("timeout = \"${build.PackerHTTPPort}s\""), @"t.pkr.hcl:27:15: timeout is needed before the build runs, and build.PackerHTTPPort is known only then: use it in a provisioner's inline, environment_vars, env, content or execute_command, and let the script work with it");
    insta::assert_snapshot!(bad("skip_clean = build.SSHAgentAuth"), @"t.pkr.hcl:27:18: skip_clean is needed before the build runs, and build.SSHAgentAuth is known only then: use it in a provisioner's inline, environment_vars, env, content or execute_command, and let the script work with it");
    insta::assert_snapshot!(bad("only = [build.ID]"), @"t.pkr.hcl:27:13: only is needed before the build runs, and element 0 depends on build: write it out");
    insta::assert_snapshot!(bad("remote_path = \"/tmp/${build.ID}\""), @"t.pkr.hcl:27:19: remote_path is needed before the build runs, and build.ID is known only then: use it in a provisioner's inline, environment_vars, env, content or execute_command, and let the script work with it");
    insta::assert_snapshot!(bad("valid_exit_codes = [0, build.PackerHTTPPort]"), @"t.pkr.hcl:27:28: an element of valid_exit_codes is needed before the build runs, and build.PackerHTTPPort is known only then: use it in a provisioner's inline, environment_vars, env, content or execute_command, and let the script work with it");
}

/// The lines of `inline` as the step renders them, and what it hides.
fn rendered(given: &Given) -> (Result<Vec<String>, String>, Vec<String>) {
    let evaluated = given.good();
    // What is kept is read again by the server that builds.
    let kept = serde_json::to_vec(&evaluated.builds[0]).expect("a configuration can be written");
    let build: BuildConfig = serde_json::from_slice(&kept).expect("and read");
    let hidden = Arc::new(Mutex::new(Vec::new()));
    let hide = {
        let hidden = Arc::clone(&hidden);
        Arc::new(move |text: &str| hidden.lock().unwrap().push(text.to_owned()))
    };
    let said = [
        ("ID", "i-0abc"),
        ("Host", "10.0.0.7"),
        ("PackerHTTPPort", "22"),
        ("SourceAMIOwner", "root"),
        ("Password", "hunter3"),
        ("ConnType", "ssh"),
        ("SourceAMIName", "ubuntu/noble"),
        ("PackerRunUUID", "run"),
        ("name", "amazon-ebs.a"),
    ];
    let data = LateData {
        build: said.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
        fields: [("Path".to_owned(), "/tmp/s.sh".to_owned())].into(),
        expressions: Some(Expressions {
            config: Arc::new(build.clone()),
            bundle: Arc::new(given.bundle()),
            now: "2024-03-05T14:07:09Z".parse().expect("a time"),
            run_id: Uuid::from_u128(1),
            hide,
        }),
        ..LateData::default()
    };
    let shell = only(&build);
    let lines =
        shell.inline.iter().chain(shell.env.values()).chain(&shell.environment_vars).chain(&shell.execute_command);
    let lines = lines.map(|line| legacy::render_late(&line.0, &data)).collect();
    let hidden = hidden.lock().unwrap().clone();
    (lines, hidden)
}

fn value(expression: &str) -> String {
    let (lines, hidden) = rendered(&shell(&format!("    inline = [{expression}]")));
    assert!(hidden.is_empty(), "{expression}: {hidden:?}");
    lines.unwrap_or_else(|error| panic!("{expression}: {error}")).join("\n")
}

#[test]
fn what_needs_the_build_is_worked_out_while_it_runs() {
    for (expression, expected) in [
        ("upper(build.ID)", "I-0ABC"),
        ("\"id ${upper(build.ID)}!\"", "id I-0ABC!"),
        ("length(build.ID)", "6"),
        ("length(build.ID) > 5 ? \"long\" : \"short\"", "long"),
        ("trimprefix(build.SourceAMIName, \"ubuntu/\")", "noble"),
        ("build.SourceAMIOwner == \"root\" ? \"a\" : \"b\"", "a"),
        ("build.SourceAMIOwner == \"root\" ? \"a\" : upper(build.ID)", "a"),
        ("split(\"-\", build.ID)[1]", "0abc"),
        ("split(\"-\", build.ID)[1] == \"0abc\" ? 1 : 2", "1"),
        ("base64encode(build.SourceAMIOwner)", "cm9vdA=="),
        ("md5(\"x${build.ID}\")", "41e6bc6f5310fe573793a3f062b84c6b"),
        ("-build.PackerHTTPPort", "-22"),
        ("build.PackerHTTPPort + 1", "23"),
        ("build.ID != null", "true"),
        ("true && build.PackerHTTPPort > 20", "true"),
        ("build.PackerHTTPPort > 20 && false", "false"),
        ("build.PackerHTTPPort > 20 || false", "true"),
        ("build.PackerHTTPPort < 20 && [\"a\"][1] == \"b\" ? 1 : 2", "2"),
        ("build.PackerHTTPPort > 20 || {}[\"a\"] ? 1 : 2", "1"),
        ("\"%{ if build.PackerHTTPPort > 20 }a%{ else }b%{ endif }${build.ID}\"", "ai-0abc"),
        ("[for x in [build.ID] : upper(x)][0]", "I-0ABC"),
        ("[for x in [upper(build.ID)] : lower(x)][0]", "i-0abc"),
        ("[for x in [\"a${upper(build.ID)}\"] : lower(x)][0]", "ai-0abc"),
        ("[for x in [build.PackerHTTPPort] : x + 1][0]", "23"),
        ("[for x in [split(\"-\", build.ID)] : x[0]][0]", "i"),
        ("join(\",\", [for x in [build.ID, \"\"] : x if x != \"\"])", "i-0abc"),
        ("join(\",\", [for p in split(\"-\", build.ID) : upper(p)])", "I,0ABC"),
        ("join(\",\", split(\"-\", build.ID))", "i,0abc"),
        ("{ (build.ID) = \"a\" }[\"i-0abc\"]", "a"),
        ("{ for x in [build.ID] : x => \"a\" }[\"i-0abc\"]", "a"),
        ("{ root = \"b\" }[build.SourceAMIOwner]", "b"),
        ("{ a = \"b\", c = { root = \"d\" } }.c[build.SourceAMIOwner]", "d"),
        ("([for x in [{ root = 1 }] : x][*][build.SourceAMIOwner])[0]", "1"),
        ("[\"a\", \"b\"][build.PackerHTTPPort - 21]", "b"),
        ("try(split(\"-\", build.ID)[7], \"none\")", "none"),
        ("can(split(\"-\", build.ID)[7]) ? \"a\" : \"b\"", "b"),
        ("try(build.Nothing, \"x\")", "x"),
        ("convert(build.PackerHTTPPort, number) + 1", "23"),
        ("jsonencode({ a = build.ID, b = [build.PackerHTTPPort] })", "{\"a\":\"i-0abc\",\"b\":[22]}"),
        ("format(\"%s:%d\", build.Host, build.PackerHTTPPort)", "10.0.0.7:22"),
        ("contains([build.ID], \"x\") ? \"a\" : \"b\"", "b"),
        ("coalesce(build.ID, \"x\")", "i-0abc"),
        ("zipmap([build.ID], [\"x\"])[\"i-0abc\"]", "x"),
        ("distinct([build.ID, \"x\", \"i-0abc\"])[1]", "x"),
        ("max([build.PackerHTTPPort, 3]...)", "22"),
        ("lookup({ root = 1 }, build.SourceAMIOwner, 2)", "1"),
        ("\"${build.SourceAMIOwner}${var.suffix}\" == \"root-x\" ? var.suffix : local.unused", "-x"),
        ("local.map[build.SourceAMIOwner].x", "y"),
        ("var.zone == \"root\" ? \"a\" : \"b\"", "b"),
        ("upper(\"${build.name}-${build.ID}\")", "WEB-I-0ABC"),
        ("\"${source.name}${upper(source.type)}${upper(build.ID)}\"", "aAMAZON-EBSI-0ABC"),
        (
            "trimspace(<<-EOT\n      a ${build.ID}\n        %{ if build.PackerHTTPPort == 22 }yes%{ endif }\n      EOT\n    )",
            "a i-0abc\n  yes",
        ),
        ("replace(file(\"x.txt\"), \"ID\", build.ID)", "id is i-0abc"),
        ("templatefile(\"x.tpl\", { id = build.ID, n = 2 })", "i-0abc\nI-0ABC2"),
        ("formatdate(\"YYYY\", timestamp()) == build.ID ? \"a\" : formatdate(\"YYYY\", timestamp())", "2024"),
    ] {
        assert_eq!(value(expression), expected, "{expression}");
    }
}

#[test]
fn ids_made_late_are_not_those_made_before() {
    let text = value("uuidv4(), substr(\"${build.ID}${uuidv4()}\", 6, 36), uuidv4()");
    let ids: Vec<&str> = text.lines().collect();
    assert_eq!(ids.len(), 3);
    assert!(ids.iter().all(|id| id.len() == 36), "{ids:?}");
    assert!(ids[0] != ids[1] && ids[1] != ids[2] && ids[0] != ids[2], "{ids:?}");
}

#[test]
fn other_options_wait_too() {
    let given = shell(
        r#"    inline           = ["x"]
    env              = { ID = upper(build.ID) }
    environment_vars = [build.SourceAMIOwner == "root" ? "A=1" : "B=2", "C=${length(build.ID)}"]
    execute_command  = build.SourceAMIOwner == "root" ? "{{ .Path }}" : "sudo {{ .Path }} ${upper(build.ID)}""#,
    );
    insta::assert_snapshot!(rendered(&given).0.unwrap().join("\n"), @r#"
    x
    I-0ABC
    A=1
    C=6
    /tmp/s.sh
    "#);
}

#[test]
fn what_the_build_says_is_no_template() {
    // Its own text is rendered, as by Packer.
    assert_eq!(value(r#"build.SourceAMIOwner == "root" ? "{{ .Path }}" : """#), "/tmp/s.sh");
    assert_eq!(
        value(
            "replace(build.ID, \"i-\", \"{\") == \"\" ? 1 : join(\"\", [\"{\", replace(build.ID, \"i-0abc\", \"{ .Path }}\")])"
        ),
        "{{ .Path }}"
    );
    // An expression can't name itself.
    let given = shell(r#"    inline = [build.SourceAMIOwner == "root" ? "{{ expression `0` }}" : "b"]"#);
    insta::assert_snapshot!(rendered(&given).0.unwrap_err(), @r#"t.pkr.hcl:26:15: there is no function "expression""#);
    insta::assert_snapshot!(shell("    inline = [\"{{ expression `0` }}\"]").bad(), @r#"t.pkr.hcl:26:15: there is no function "expression" for {{ }}"#);
}

#[test]
fn what_is_made_of_secrets_is_hidden() {
    let (lines, hidden) = rendered(&shell(
        r#"    inline = [base64encode("${build.ID}${var.token}"), [for x in ["${upper(build.ID)}${var.token}"] : lower(x)][0], upper(build.ID), base64encode(build.Password)]"#,
    ));
    assert_eq!(lines.unwrap(), ["aS0wYWJjaHVudGVyMg==", "i-0abchunter2", "I-0ABC", "aHVudGVyMw=="]);
    assert_eq!(hidden, ["aS0wYWJjaHVudGVyMg==", "i-0abchunter2", "aHVudGVyMw=="]);
}

#[test]
fn only_what_is_used_is_kept() {
    let evaluated =
        shell("    inline = [\"a ${upper(lower(\"${build.ID}${var.suffix}\"))}\", \"b ${build.ID}\"]").good();
    insta::assert_json_snapshot!(evaluated.builds[0].expressions, @r#"
    {
      "1": {
        "source": "upper(lower(\"${build.ID}${var.suffix}\"))\n",
        "at": {
          "file": "t.pkr.hcl",
          "line": 26,
          "column": 20
        },
        "names": [
          {
            "path": [
              "var",
              "suffix"
            ],
            "value": {
              "text": "-x"
            }
          }
        ]
      }
    }
    "#);
    let evaluated = shell("    inline = [\"b ${build.ID}\"]").good();
    let kept = serde_json::to_value(&evaluated.builds[0]).unwrap();
    assert!(kept.get("expressions").is_none(), "as servers before expressions write it");
}

#[test]
fn faults_of_the_step_have_their_place() {
    let fault = |line: &str| rendered(&shell(&format!("    inline = [\n      {line},\n    ]"))).0.unwrap_err();
    insta::assert_snapshot!(fault("split(\"-\", build.ID)[7]"), @"t.pkr.hcl:27:28: there is no element 7: the list has 2");
    insta::assert_snapshot!(fault("\"ä ${upper(build.WinRMPassword)}\""), @"t.pkr.hcl:27:18: build.WinRMPassword has no value in this build");
    insta::assert_snapshot!(fault("build.SourceAMIOwner == \"root\" ? null : \"x\""), @"t.pkr.hcl:27:7: this must be text, it is null");
    insta::assert_snapshot!(fault("build.ID + 1"), @"t.pkr.hcl:27:7: + needs a number, this is string");
    insta::assert_snapshot!(fault("jsondecode(replace(build.ID, \"i-0abc\", \"[]\"))"), @"t.pkr.hcl:27:7: this must be text, it is tuple: use join(…) or jsonencode(…) to make it text");
    insta::assert_snapshot!(fault("length([for i in range(build.PackerHTTPPort * 40) : [for j in range(1000) : upper(\"${i}${j}\")]])"), @"t.pkr.hcl:27:96: the template needs too much work to evaluate (more than 3,000,000 steps)");
}

#[test]
fn what_is_wrong_already_is_told_at_once() {
    let bad = |options: &str| shell(&format!("    inline = [\n      {options},\n    ]")).bad();
    insta::assert_snapshot!(bad("upper(build.ID, 1)"), @"t.pkr.hcl:27:23: upper: it takes 1 argument, 2 are given");
    insta::assert_snapshot!(bad("upper(build.Id)"), @r#"t.pkr.hcl:27:19: there is no build.Id: did you mean "ID"?"#);
    insta::assert_snapshot!(bad("upper(\"${build.ID}${var.nothing}\")"), @r#"t.pkr.hcl:27:31: there is no variable "nothing": declare it: variable "nothing" { … }"#);
    insta::assert_snapshot!(bad("build.SourceAMIOwner == \"root\" ? var.nothing : nothing"), @r#"t.pkr.hcl:27:44: there is no variable "nothing": declare it: variable "nothing" { … }"#);
    insta::assert_snapshot!(bad("build.SourceAMIOwner == \"root\" ? \"a\" : var.nothing"), @r#"t.pkr.hcl:27:50: there is no variable "nothing": declare it: variable "nothing" { … }"#);
    insta::assert_snapshot!(bad("\"x${split(\"-\", build.ID)}\""), @"t.pkr.hcl:27:11: a list or map can't be put into a string: use join(…) or jsonencode(…) to make it text");
    insta::assert_snapshot!(bad("{ (upper(build.ID)) = nothing }[\"x\"]"), @r#"t.pkr.hcl:27:29: "nothing" is not defined: text goes in quotes; variables are var.NAME, locals are local.NAME"#);
    insta::assert_snapshot!(bad("split(\"-\", build.ID)"), @"t.pkr.hcl:27:7: an element of inline is needed before the build runs, and how much it holds depends on build.ID: write it out here; what its elements say may depend on build");
    let bad = |options: &str| shell(options).bad();
    insta::assert_snapshot!(bad("    inline = split(\"-\", build.ID)"), @"t.pkr.hcl:26:14: inline is needed before the build runs, and how much it holds depends on build.ID: write it out here; what its elements say may depend on build");
    insta::assert_snapshot!(bad("    inline = [for p in split(\"-\", build.ID) : p]"), @"t.pkr.hcl:26:14: inline is needed before the build runs, and how much it holds depends on build.ID: write it out here; what its elements say may depend on build");
    insta::assert_snapshot!(bad("    inline = build.SourceAMIOwner == \"root\" ? [\"a\"] : [\"a\", \"b\"]"), @"t.pkr.hcl:26:14: inline is needed before the build runs, and how much it holds depends on build.SourceAMIOwner: write it out here; what its elements say may depend on build");
    insta::assert_snapshot!(bad("    inline = [\"a\"]\n    env = build.SourceAMIOwner == \"root\" ? { A = \"b\" } : {}"), @"t.pkr.hcl:27:11: env is needed before the build runs, and how much it holds depends on build.SourceAMIOwner: write it out here; what its elements say may depend on build");
    insta::assert_snapshot!(bad("    inline = [\"a\"]\n    max_retries = length(build.ID)"), @"t.pkr.hcl:27:19: max_retries is needed before the build runs, and build.ID is known only then: use it in a provisioner's inline, environment_vars, env, content or execute_command, and let the script work with it");
    insta::assert_snapshot!(bad("    inline = [\"a\"]\n    skip_clean = build.SourceAMIOwner == \"root\""), @"t.pkr.hcl:27:18: skip_clean is needed before the build runs, and build.SourceAMIOwner is known only then: use it in a provisioner's inline, environment_vars, env, content or execute_command, and let the script work with it");
    insta::assert_snapshot!(bad("    inline = [\"a\"]\n    only = [upper(build.ID)]"), @"t.pkr.hcl:27:13: only is needed before the build runs, and element 0 depends on build: write it out");
    insta::assert_snapshot!(bad("    inline = [\"a\"]\n    override = { a = { timeout = \"${build.PackerHTTPPort + 1}s\" } }"), @"t.pkr.hcl:27:34: timeout is needed before the build runs, and build.PackerHTTPPort is known only then: use it in a provisioner's inline, environment_vars, env, content or execute_command, and let the script work with it");
}

#[test]
fn the_run_stands_for_what_the_registry_of_hcp_gives() {
    let evaluated = shell("    inline = [packer.versionFingerprint, \"${packer.iterationID}\"]").good();
    let run = "01900000-0000-7000-8000-000000000001";
    let lines: Vec<&str> = only(&evaluated.builds[0]).inline.iter().map(|line| line.0.as_str()).collect();
    assert_eq!(lines, [run, run]);
    insta::assert_snapshot!(super::lines(&evaluated.warnings), @r#"
    t.pkr.hcl:26:15: warning: packer.versionFingerprint is the run's id here: Packer has HCP's registry give it, and here there is none
    t.pkr.hcl:26:45: warning: packer.iterationID is the run's id here: Packer has HCP's registry give it, and here there is none
    "#);
}

#[test]
fn every_component_and_block_has_it() {
    let template = r#"source "amazon-ebs" "a" {
  ami_name      = "abc"
  region        = "us-east-1"
  instance_type = "t3.micro"
  source_ami    = "ami-1"
  ssh_username  = "u"
}
build {
  sources = ["amazon-ebs.a"]
  dynamic "provisioner" {
    for_each = ["-one", "-two"]
    iterator = suffix
    labels   = ["shell"]
    content {
      inline = ["${upper(build.ID)}${suffix.value}${upper("${build.ID}${suffix.value}")}"]
    }
  }
  provisioner "file" {
    content     = jsonencode({ id = build.ID })
    destination = "/tmp/${lower(build.ID)}"
  }
  error-cleanup-provisioner "shell" {
    inline = [upper(build.Host)]
  }
  post-processor "manifest" {
    custom_data = { id = "x-${upper(build.ID)}" }
  }
}
"#;
    let evaluated = Given::hcl(template).good();
    let build = &evaluated.builds[0];
    let sources: Vec<&str> = build.expressions.values().map(|expression| expression.source.trim()).collect();
    insta::assert_snapshot!(sources.join("\n"), @r#"
    upper(build.ID)
    upper("${build.ID}${suffix.value}")
    upper(build.ID)
    upper("${build.ID}${suffix.value}")
    jsonencode({ id = build.ID })
    lower(build.ID)
    upper(build.Host)
    upper(build.ID)
    "#);
    let names: Vec<String> = build.expressions.values().map(|one| format!("{:?}", one.names)).collect();
    insta::assert_snapshot!(names.join("\n"), @r#"
    []
    [LateName { path: ["suffix"], value: Object([("key", Number("0")), ("value", Text("-one"))]) }]
    []
    [LateName { path: ["suffix"], value: Object([("key", Number("1")), ("value", Text("-two"))]) }]
    []
    []
    []
    []
    "#);
    insta::assert_snapshot!(format!("{:?}", build.post_processors[0][0].config), @r#"Manifest(Manifest { output: "packer-manifest.json", strip_path: false, strip_time: false, custom_data: {"id": LateString("x-{{ expression `7` }}")} })"#);
}

#[test]
fn the_json_syntax_takes_plain_values_only() {
    let template = |line: &str| {
        format!(
            r#"{{
  "source": {{ "amazon-ebs": {{ "a": {{
    "ami_name": "abc", "region": "us-east-1", "instance_type": "t3.micro", "source_ami": "ami-1", "ssh_username": "u"
  }} }} }},
  "build": {{
    "sources": ["amazon-ebs.a"],
    "provisioner": {{ "shell": {{ "inline": ["{line}"] }} }}
  }}
}}"#
        )
    };
    let given = |line: &str| Given::default().file("t.pkr.json", &template(line));
    assert_eq!(only(&given("echo ${build.ID}").good().builds[0]).inline[0].0, "echo {{ build `ID` }}");
    insta::assert_snapshot!(given("echo ${upper(build.ID)}").bad(), @r#"t.pkr.json:7:52: build.ID is known only while the build runs, nothing can be worked out of it here: put it into text as it is and let the script work: inline = ["ID='${build.ID}'; …"]"#);
}

/// Expressions that give text, over `ID`, `OWNER`, which stand for `build.…`.
fn expressions() -> impl Strategy<Value = String> {
    let text =
        prop_oneof![Just("ID".to_owned()), Just("OWNER".to_owned()), Just("\"a-b\"".to_owned()), Just("x".to_owned())];
    text.prop_recursive(5, 40, 4, |text| {
        let list = prop_oneof![
            (text.clone(), text.clone()).prop_map(|(a, b)| format!("[{a}, {b}]")),
            text.clone().prop_map(|a| format!("split(\"-\", {a})")),
        ]
        .boxed();
        let list = prop_oneof![
            list.clone(),
            (list.clone(), text.clone()).prop_map(|(l, a)| format!("[for x in {l} : \"${{{a}}}.${{x}}\"]")),
            (list.clone(), text.clone()).prop_map(|(l, a)| format!("[for i, x in {l} : upper(x) if x != {a}]")),
            (list.clone(), list.clone()).prop_map(|(a, b)| format!("concat({a}, {b})")),
            (list.clone(), text.clone()).prop_map(|(l, a)| format!("concat({l}, [for y in [{a}] : y])[*]")),
            list.clone().prop_map(|l| format!("reverse({l})")),
            list.clone().prop_map(|l| format!("sort({l})")),
            (text.clone(), list.clone()).prop_map(|(a, l)| format!("values({{ ({a}) = {a}, b = {l}[0] }})")),
            (list.clone(), list).prop_map(|(a, b)| format!("flatten([{a}, {b}])")),
        ]
        .boxed();
        let condition = prop_oneof![
            (text.clone(), text.clone()).prop_map(|(a, b)| format!("{a} == {b}")),
            (list.clone(), text.clone()).prop_map(|(l, a)| format!("contains({l}, {a})")),
            (text.clone(), list.clone()).prop_map(|(a, l)| format!("length({a}) > length({l}) + 1")),
            (text.clone(), text.clone()).prop_map(|(a, b)| format!("!(startswith({a}, \"i\") && {b} != \"q\")")),
            list.clone().prop_map(|l| format!("can({l}[2])")),
        ]
        .boxed();
        prop_oneof![
            (text.clone(), text.clone()).prop_map(|(a, b)| format!("\"${{{a}}}/${{{b}}}\"")),
            text.clone().prop_map(|a| format!("upper({a})")),
            (text.clone(), text.clone()).prop_map(|(a, b)| format!("replace({a}, \"-\", {b})")),
            list.clone().prop_map(|l| format!("join(\",\", {l})")),
            (list.clone(), 0..3).prop_map(|(l, at)| format!("{l}[{at}]")),
            (list.clone(), text.clone()).prop_map(|(l, a)| format!("try({l}[1], {a})")),
            (condition.clone(), text.clone(), text.clone()).prop_map(|(c, a, b)| format!("({c} ? {a} : {b})")),
            (condition, text.clone()).prop_map(|(c, a)| format!("\"%{{ if {c} }}${{{a}}}%{{ else }}-%{{ endif }}\"")),
            (list.clone(), text.clone())
                .prop_map(|(l, a)| format!("\"%{{ for x in {l} }}${{x}}${{{a}}};%{{ endfor }}\"")),
            (text.clone(), list).prop_map(|(a, l)| format!("{{ for x in {l} : x => {a}... }}[{a}][0]")),
            (text.clone(), text.clone()).prop_map(|(a, b)| format!("lookup({{ a = {a} }}, {b}, {a})")),
            text.prop_map(|a| format!("merge({{ a = \"b\" }}, {{ a = {a} }}).a")),
        ]
        .boxed()
    })
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(150))]
    /// Whenever an expression is worked out, it gives the same. A fault in what nobody asks for in the end may go unseen.
    #[test]
    fn late_is_as_good_as_early(text in expressions()) {
        let with = |id: &str, owner: &str| {
            let words = text.replace("ID", id).replace("OWNER", owner);
            shell(&format!("    inline = [for x in [\"i-9\"] : {words}]"))
        };
        let told = |given: Given| match given.run() {
            Ok(_) => rendered(&given).0.map_err(|_| ()),
            Err(_) => Err(()),
        };
        let early = told(with("\"i-0abc\"", "\"root\""));
        if early.is_ok() {
            let late = told(with("build.ID", "build.SourceAMIOwner"));
            proptest::prop_assert_eq!(early, late, "{}", text);
        }
    }
}
