//! The language: expressions, variables, locals, selection.

use proptest::prelude::*;

use super::{Given, ebs, with_options};
use crate::domain::config::ProvisionerConfig;

/// Evaluates an expression to the text of a tag.
fn text(expression: &str) -> String {
    let given = with_options(&format!("  tags = {{ x = {expression} }}"));
    ebs(&given.good().builds[0]).tags["x"].0.clone()
}

#[test]
fn expressions() {
    for (expression, expected) in [
        ("1 + 2 * 3", "7"),
        ("\"5\" + 1", "6"),
        ("0.1 + 0.2", "0.3"),
        ("7 % 3 == 1 && !false ? \"y\" : \"n\"", "y"),
        ("join(\",\", [for i, x in [\"a\", \"b\"] : \"${i}${x}\" if x != \"a\"])", "1b"),
        ("{ for k, v in { b = 1, a = 2 } : k => v }.a", "2"),
        ("join(\"\", [{ n = \"p\" }, { n = \"q\" }][*].n)", "pq"),
        ("join(\"\", [{ n = \"p\" }].*.n)", "p"),
        ("[\"a\", \"b\"][1]", "b"),
        ("max([1, 5, 3]...)", "5"),
        ("try(local.nope, \"fallback\")", "fallback"),
        ("can(1 / 0)", "false"),
        ("convert(\"3\", number) + 1", "4"),
        ("\"a %{ if true ~}  b  %{ else }c%{ endif } d\"", "a b   d"),
        ("\"%{ for x in [1, 2] }<${x}>%{ endfor }\"", "<1><2>"),
        ("\"$${x} %%{y}\"", "${x} %{y}"),
        ("packer.version", "1.16.0"),
        ("\"${path.root}/x\"", "./x"),
        ("upper(\"{{ build_name }}\")", "{{ BUILD_NAME }}"),
    ]
    .into_iter()
    .filter(|(expression, _)| !expression.contains("build_name"))
    {
        assert_eq!(text(expression), expected, "{expression}");
    }
}

#[test]
fn heredocs_keep_their_last_line_break() {
    let given = with_options(
        "  user_data = <<-EOF\n    #!/bin/sh\n      echo ${1 + 1}\n    EOF\n  ami_description = <<EOF\nx\nEOF\n",
    );
    let evaluated = given.good();
    let ebs = ebs(&evaluated.builds[0]);
    assert_eq!(ebs.user_data.as_deref(), Some("#!/bin/sh\n  echo 2\n"));
    assert_eq!(ebs.ami_description.0, "x\n");
}

const VARIABLES: &str = r#"
variable "s" {
  default = "d"
}
variable "l" {
  type    = list(string)
  default = []
}
variable "o" {
  type = object({ a = number, b = optional(string, "z") })
  default = { a = 1 }
}
variable "secret" {
  type      = string
  sensitive = true
  default   = env("SECRET")
}
locals {
  b = "${local.a}!"
  a = join("-", concat([var.s], var.l))
}
local "hidden" {
  expression = base64encode(var.secret)
}
source "amazon-ebs" "a" {
  ami_name      = "abc"
  region        = "us-east-1"
  instance_type = "t3.micro"
  source_ami    = "ami-1"
  ssh_username  = "u"
  tags          = { b = local.b, o = jsonencode(var.o), h = local.hidden }
}
build {
  sources = ["amazon-ebs.a"]
}
"#;

#[test]
fn variables_take_values_in_packers_order() {
    let tag = |given: &Given, key: &str| ebs(&given.good().builds[0]).tags[key].0.clone();
    let given = Given::hcl(VARIABLES);
    assert_eq!(tag(&given, "b"), "d!");
    assert_eq!(tag(&given, "o"), r#"{"a":1,"b":"z"}"#);
    let given = given.env("PKR_VAR_s", "env").env("PKR_VAR_l", "[\"x\"]");
    assert_eq!(tag(&given, "b"), "env-x!");
    let given = given.file("a.auto.pkrvars.hcl", "s = \"auto\"\n");
    assert_eq!(tag(&given, "b"), "auto-x!");
    let mut given = given.file("b.pkrvars.json", "{\"s\": \"file\"}");
    given.var_files.push("b.pkrvars.json".to_owned());
    assert_eq!(tag(&given, "b"), "file-x!");
    let given = given.var("s", "${literal}").var("l", serde_json::json!(["y"])).var("o", "{ a = \"2\" }");
    assert_eq!(tag(&given, "b"), "${literal}-y!");
    assert_eq!(tag(&given, "o"), r#"{"a":2,"b":"z"}"#);
}

#[test]
fn secrets_are_listed_and_so_is_what_derives_from_them() {
    let evaluated = Given::hcl(VARIABLES).env("SECRET", "one\ntwo").good();
    assert_eq!(evaluated.sensitive_values, ["one\ntwo", "one", "two", "b25lCnR3bw=="]);
    let secret = evaluated.variables.iter().find(|variable| variable.name == "secret").unwrap();
    assert!(secret.sensitive && secret.is_default);
}

#[test]
fn build_blocks() {
    let text = r#"
source "amazon-ebs" "a" {
  region        = "us-east-1"
  instance_type = "t3.micro"
  source_ami    = "ami-1"
  ssh_username  = "u"
}
source "null" "n" {}
build {
  name = "web"
  source "amazon-ebs.a" {
    name     = "small"
    ami_name = "web-${source.name}"
  }
  source "source.amazon-ebs.a" {
    ami_name = "web-a"
  }
  sources = ["null.n"]
  provisioner "shell" {
    inline = ["echo ${source.type} ${build.name} {{build `ID`}}"]
    override = {
      small = { inline = ["small"] }
    }
  }
  provisioner "breakpoint" {
    only = ["null.n"]
  }
  post-processors {
    post-processor "manifest" {}
    post-processor "manifest" {
      name   = "second"
      output = "b.json"
    }
    post-processor "compress" {}
  }
}
"#;
    let evaluated = Given::hcl(text).except("*.null.n").except("second").good();
    let names: Vec<&str> = evaluated.builds.iter().map(|build| build.name.as_str()).collect();
    assert_eq!(names, ["web.amazon-ebs.small", "web.amazon-ebs.a"]);
    let inline = |index: usize| match &evaluated.builds[index].provisioners[0].config {
        ProvisionerConfig::Shell(shell) => shell.inline[0].0.clone(),
        _ => panic!("a shell"),
    };
    assert_eq!(ebs(&evaluated.builds[0]).ami_name, "web-small");
    assert_eq!(inline(0), "small");
    assert_eq!(inline(1), "echo amazon-ebs web {{build `ID`}}");
    assert_eq!(evaluated.builds[1].post_processors[0].len(), 1);
}

#[test]
fn files_come_from_the_bundle_only() {
    let given =
        with_options("  user_data_file = \"x/u.sh\"\n  ami_description = templatefile(\"d.tpl\", { n = \"v\" })")
            .file("x/u.sh", "#!/bin/sh")
            .file("d.tpl", "<${n}>");
    let evaluated = given.good();
    assert_eq!(ebs(&evaluated.builds[0]).user_data.as_deref(), Some("#!/bin/sh"));
    assert_eq!(ebs(&evaluated.builds[0]).ami_description.0, "<v>");
    insta::assert_snapshot!(with_options("  user_data_file = \"../secret\"").bad(), @r#"t.pkr.hcl:7:20: user_data_file: "../secret" leaves the template's folder: a file above it comes along when it is there and is named without variables; check the path, or copy the file into the folder"#);
    insta::assert_snapshot!(with_options("  ami_description = file(\"/etc/passwd\")").bad(), @r#"t.pkr.hcl:7:26: file: "/etc/passwd" is absolute; paths in a bundle are relative to the template's folder; copy it into the template's folder, and write the path from there"#);
    insta::assert_snapshot!(with_options("  ami_description = file(\"nope\")").bad(), @r#"t.pkr.hcl:7:26: file: the bundle has no file "nope""#);
}

#[test]
fn files_of_above_the_template_s_folder_are_those_that_were_sent() {
    let given = Given::hcl(
        r#"locals {
  shared = "${path.root}/../shared"
}
source "null" "a" {
  communicator = "none"
}
build {
  sources = ["null.a"]
  post-processor "manifest" {
    custom_data = {
      name = "${file("../shared/name")}-${join(",", fileset(local.shared, "*"))}-${fileexists("../../x")}"
      path = abspath("x/../../shared/./name")
      text = templatefile("${local.shared}/t", { x = 1 })
    }
  }
}"#,
    )
    .file(".ingot-above/shared/name", "web")
    .file(".ingot-above/shared/t", "<${x}>")
    .file(".ingot-above/.ingot-above/x", "");
    let build = &given.good().builds[0];
    let custom = format!("{:?}", build.post_processors[0][0].config);
    for text in ["web-name,t-true", "\"../shared/name\"", "<1>"] {
        assert!(custom.contains(text), "{custom}");
    }
    let outside =
        Given::hcl("locals {\n  a = [fileset(\"..\", \"*\"), file(\"../shared/no\"), fileexists(\"../../../x\")]\n}")
            .file(".ingot-above/shared/name", "");
    assert_eq!(outside.bad().matches("leaves the template's folder").count(), 3);
}

#[test]
fn evaluation_is_bounded() {
    let doubling: Vec<String> = (0..40).map(|i| format!("  l{} = [local.l{i}, local.l{i}]\n", i + 1)).collect();
    let doubling = doubling.concat();
    let given = Given::hcl(&format!("locals {{\n  l0 = \"x\"\n{doubling}}}\n{}", minimal()));
    assert!(given.bad().contains("too large"));
    let nested = "[for a in range(1000) : [for b in range(1000) : [for c in range(1000) : c]]]";
    let bad = Given::hcl(&format!("locals {{\n  x = {nested}\n}}\n{}", minimal())).bad();
    assert!(bad.contains("too large") || bad.contains("too much work"), "{bad}");
}

/// Test threads have the same 2 MiB of stack as a server's workers, and this overflowed them once.
#[test]
fn the_deepest_expressions_that_parse_fit_the_stack() {
    for (open, close) in [
        ("max(", ")"),
        ("[for x in ", " : x][0]"),
        ("\"${", "}\""),
        ("true ? (", ") : 0"),
        ("1 + (", ")"),
        ("1+1+max(1+1+", ")"),
    ] {
        let mut deepest = 0;
        for depth in 1..80 {
            let expression = format!("{}[1]{}", open.repeat(depth), close.repeat(depth));
            if let Err(complaints) = with_options(&format!("  tags = {{ x = {expression} }}")).run()
                && complaints.iter().any(|complaint| complaint.summary.starts_with("syntax error"))
            {
                break;
            }
            deepest = depth;
        }
        assert!(deepest >= 10, "{open} {deepest}");
    }
}

fn minimal() -> String {
    String::from_utf8(with_options("").files[0].1.clone()).unwrap()
}

#[test]
fn an_evaluation_can_be_repeated() {
    let given = with_options("  tags = { a = uuidv4(), b = \"{{uuid}}\" }");
    let (first, second) = (given.good(), given.good());
    assert_eq!(first, second);
    let tags = &ebs(&first.builds[0]).tags;
    assert_ne!(tags["a"], tags["b"]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn arbitrary_text_never_panics(text in ".{0,80}") {
        let _ = Given::hcl(&text).run();
        let _ = Given::default().file("t.json", &text).run();
    }

    #[test]
    fn arbitrary_expressions_never_panic(
        parts in proptest::collection::vec(proptest::sample::select(vec![
            "1", "-", "0", "1e30", "/", "*", "%", "(", ")", "[", "]", "{", "}", ",", "\"a${", "}\"", "\"", "var.x",
            "for x in", ":", "=>", "?", "substr(", "format(\"%d%s\", ", "range(", "cidrsubnet(\"10.0.0.0/8\", ", "...",
            "null", ".*.a", "[*]", "pow(", "element(", "chunklist([1,2], ", "slice([1], ", "-9223372036854775808",
            "formatdate(\"YYYY\", ", "{{ timestamp }}", "jsonencode(", "cidrhost(\"::/0\", ", "regexall(\"(a*)\", ",
        ]), 0..12)
    ) {
        let _ = with_options(&format!("  tags = {{ x = {} }}", parts.join(" "))).run();
    }
}
