//! Blocks: dynamic ones, data sources, the registry, required plugins.

use indexmap::IndexMap;

use super::{Given, ebs, lines, with_options};
use crate::domain::config::ProvisionerConfig;
use crate::domain::config::data_source::{DataRequest, DataResult, DataResults, DataSourceConfig};
use crate::template::Evaluated;

const SOURCE: &str = r#"
source "amazon-ebs" "a" {
  ami_name      = "abc"
  region        = "us-east-1"
  instance_type = "t3.micro"
  source_ami    = "ami-1"
  ssh_username  = "u"
}
"#;

fn with_source(text: &str) -> Given {
    Given::hcl(&format!("{SOURCE}{text}"))
}

fn commands(evaluated: &Evaluated) -> Vec<String> {
    let shells = evaluated.builds.iter().flat_map(|build| &build.provisioners);
    let inline = shells.flat_map(|block| match &block.config {
        ProvisionerConfig::Shell(shell) => shell.inline.iter().map(|line| line.0.clone()).collect(),
        _ => Vec::new(),
    });
    inline.collect()
}

#[test]
fn dynamic_blocks() {
    let given = with_source(
        r#"
locals {
  steps = { b = ["x"], a = ["y", "z"] }
}
build {
  dynamic "source" {
    for_each = toset
    labels   = ["amazon-ebs.a"]
    content {
      name = source.value
    }
  }
  dynamic "provisioner" {
    for_each = local.steps
    iterator = step
    labels   = ["shell"]
    content {
      inline = [for word in step.value : "${step.key} ${word} ${source.name}"]
    }
  }
}
"#
        .replace("toset", "[\"one\", \"two\"]")
        .as_str(),
    );
    let evaluated = given.good();
    let names: Vec<&str> = evaluated.builds.iter().map(|build| build.name.as_str()).collect();
    assert_eq!(names, ["amazon-ebs.one", "amazon-ebs.two"]);
    assert_eq!(commands(&evaluated), ["a y one", "a z one", "b x one", "a y two", "a z two", "b x two"]);
}

#[test]
fn dynamic_blocks_nest_and_make_sources() {
    let given = Given::hcl(
        r#"
variable "sizes" {
  default = { small = [8], large = [20, 40] }
}
dynamic "source" {
  for_each = var.sizes
  labels   = ["amazon-ebs", source.key]
  content {
    ami_name      = "img-${source.key}"
    region        = "us-east-1"
    instance_type = "t3.micro"
    source_ami    = "ami-1"
    ssh_username  = "u"
    dynamic "launch_block_device_mappings" {
      for_each = source.value
      iterator = disk
      content {
        device_name           = "/dev/sd${source.key == "small" ? "s" : "l"}${disk.key}"
        volume_size           = disk.value
        delete_on_termination = true
      }
    }
  }
}
build {
  sources = [for name, _ in var.sizes : "amazon-ebs.${name}"]
}
"#,
    );
    let evaluated = given.good();
    let disks: Vec<(String, Vec<Option<i32>>)> = evaluated
        .builds
        .iter()
        .map(|build| {
            let ebs = ebs(build);
            (ebs.ami_name.clone(), ebs.launch_block_device_mappings.iter().map(|disk| disk.volume_size).collect())
        })
        .collect();
    let expected = [("img-large".to_owned(), vec![Some(20), Some(40)]), ("img-small".to_owned(), vec![Some(8)])];
    assert_eq!(disks, expected);
}

#[test]
fn dynamic_blocks_are_checked() {
    let build = |block: &str| with_source(&format!("build {{\n  sources = [\"amazon-ebs.a\"]\n{block}\n}}\n")).bad();
    let shell = |options: &str| build(&format!("  dynamic \"provisioner\" {{\n{options}\n  }}"));
    insta::assert_snapshot!(shell("    labels = [\"shell\"]\n    content {}"), @"t.pkr.hcl:11:3: a dynamic block needs for_each: for_each takes a list, a set or a map");
    insta::assert_snapshot!(shell("    for_each = [1]\n    labels = [\"shell\"]"), @r#"t.pkr.hcl:11:3: a dynamic block needs a content block: write content { … } with what each "provisioner" block holds"#);
    insta::assert_snapshot!(shell("    for_each = 5\n    labels = [\"shell\"]\n    content {}"), @"t.pkr.hcl:12:16: for_each needs a list, a set or a map, this is number");
    insta::assert_snapshot!(shell("    for_eech = [1]\n    content {}"), @r#"t.pkr.hcl:12:5: a dynamic block has no such option or block: "for_eech": did you mean "for_each"?"#);
    insta::assert_snapshot!(shell("    for_each = [1]\n    labels = [1 / 0]\n    content {}"), @"t.pkr.hcl:13:19: division by zero");
    insta::assert_snapshot!(shell("    for_each = [1]\n    labels = [\"shell\"]\n    content {\n      inline = [each.value]\n    }"), @r#"t.pkr.hcl:15:17: "each" is not defined: a dynamic block's element is NAME.key and NAME.value, where NAME is the block's kind"#);
    insta::assert_snapshot!(with_source("dynamic \"variable\" {\n  for_each = []\n}\nbuild {\n  sources = [\"amazon-ebs.a\"]\n}\n").bad(), @r#"t.pkr.hcl:9:9: a dynamic block can't make "variable" blocks here: at the top level it can make source and build blocks"#);
    let endless = build(
        "  dynamic \"provisioner\" {\n    for_each = range(1000)\n    labels = [\"shell\"]\n    content {\n      dynamic \"x\" {\n        for_each = range(1000)\n        content {\n          dynamic \"y\" {\n            for_each = range(1000)\n            content {}\n          }\n        }\n      }\n    }\n  }",
    );
    assert!(endless.contains("too much work"), "{endless}");
}

#[test]
fn an_inline_source_adds_and_never_overrides() {
    let given =
        with_source("build {\n  source \"amazon-ebs.a\" {\n    name     = \"b\"\n    ami_name = \"xyz\"\n  }\n}\n");
    insta::assert_snapshot!(given.bad(), @"t.pkr.hcl:12:5: ami_name is set twice: the source sets it at t.pkr.hcl:3:3; take it out there");
}

#[test]
fn the_first_of_three_parts_of_a_source_s_name_can_be_anything() {
    let names = |build: &str| -> Vec<String> {
        with_source(build).good().builds.iter().map(|build| build.name.clone()).collect()
    };
    for first in ["source.", "sources.", "foo.", ""] {
        assert_eq!(names(&format!("build {{\n  sources = [\"{first}amazon-ebs.a\"]\n}}\n")), ["amazon-ebs.a"]);
        let inline = format!("build {{\n  source \"{first}amazon-ebs.a\" {{\n    name = \"b\"\n  }}\n}}\n");
        assert_eq!(names(&inline), ["amazon-ebs.b"]);
    }
    let bad = |name: &str| with_source(&format!("build {{\n  sources = [\"{name}\"]\n}}\n")).bad();
    insta::assert_snapshot!(bad("source.amazon-ebs.a.b"), @r#"t.pkr.hcl:10:14: "source.amazon-ebs.a.b" is no source: write "source.TYPE.NAME", such as "source.amazon-ebs.ubuntu""#);
    insta::assert_snapshot!(bad("source.a"), @r#"t.pkr.hcl:10:14: there is no source "source.a""#);
}

#[test]
fn sources_and_builds_are_checked_whether_used_or_not() {
    let given = with_source(
        "source \"amazon-ebz\" \"x\" {}\nbuild {\n  sources = [\"amazon-ebs.b\", \"nothing\"]\n  provisoner \"shell\" {}\n}\n",
    );
    insta::assert_snapshot!(given.bad(), @r#"
    t.pkr.hcl:9:1: there is no builder "amazon-ebz": did you mean "amazon-ebs"?
    t.pkr.hcl:11:14: there is no source "amazon-ebs.b": did you mean "amazon-ebs.a"?
    t.pkr.hcl:11:30: "nothing" is no source: write "source.TYPE.NAME", such as "source.amazon-ebs.ubuntu"
    t.pkr.hcl:12:3: a build has no block "provisoner": did you mean "provisioner"?
    "#);
}

#[test]
fn required_plugins() {
    let packer = |plugins: &str| {
        let text = format!("packer {{\n  required_version = \">= 1.7\"\n  required_plugins {{\n{plugins}\n  }}\n}}\n");
        with_source(&format!("{text}build {{\n  sources = [\"amazon-ebs.a\"]\n}}\n"))
    };
    packer("    amazon = {\n      version = \"~> 1\"\n      source = \"github.com/hashicorp/amazon\"\n    }").good();
    insta::assert_snapshot!(packer("    comment = {\n      version = \">=v0.2.23\"\n      source = \"github.com/sylviamoss/comment\"\n    }").bad(), @r#"t.pkr.hcl:12:5: the plugin "comment" is not part of Ingot: components are built in and plugins are not installed; the template does not use this one, so take it out of required_plugins"#);
    insta::assert_snapshot!(packer("    amazon = {\n      version = \"one\"\n      source = \"amazon\"\n      name = \"x\"\n    }").bad(), @r#"
    t.pkr.hcl:13:17: "one" is no version constraint; write for example ">= 1.7.0" or "~> 1.2"
    t.pkr.hcl:14:16: the source of plugin amazon must be host/namespace/name: such as "github.com/hashicorp/amazon"
    t.pkr.hcl:15:7: a required plugin has no option "name": there are source and version
    "#);
}

#[test]
fn the_registry_block() {
    let registry = "hcp_packer_registry {\n  bucket_name = \"web-images\"\n  description = \"d ${var.x}\"\n  bucket_labels = { team = \"web\" }\n  build_labels = { n = 1 }\n  channels = [\"dev\", \"staging\"]\n}\n";
    let rest = "variable \"x\" {\n  default = \"y\"\n}\nbuild {\n  sources = [\"amazon-ebs.a\"]\n}\n";
    let found = with_source(&format!("{registry}{rest}")).good().registry.expect("a registry");
    assert_eq!((found.bucket_name.as_deref(), found.description.as_str()), (Some("web-images"), "d y"));
    assert_eq!((found.bucket_labels["team"].as_str(), found.build_labels["n"].as_str()), ("web", "1"));
    assert_eq!(found.channels, ["dev", "staging"]);
    let inner = with_source(
        "build {\n  hcp_packer_registry {\n    bucket_name = \"b\"\n    chanels = []\n  }\n  sources = [\"amazon-ebs.a\"]\n}\n",
    );
    insta::assert_snapshot!(inner.bad(), @r#"
    t.pkr.hcl:11:19: "b" can't be a bucket's name: it has 3 to 36 letters, digits and hyphens
    t.pkr.hcl:12:5: hcp_packer_registry has no option "chanels": did you mean "channels"?
    "#);
    let twice = with_source(&format!("{registry}{registry}{rest}"));
    insta::assert_snapshot!(twice.bad(), @"t.pkr.hcl:16:1: a template has one hcp_packer_registry at most: the first one is at t.pkr.hcl:9:1");
}

const DATA: &str = r#"
data "null" "region" {
  input = "eu-${local.side}-1"
}
locals {
  side  = "west"
  image = data.amazon-ami.base.id
}
data "amazon-ami" "base" {
  region      = data.null.region.output
  filters     = { name = "base-*", virtualization-type = "hvm,x" }
  owners      = ["self"]
  most_recent = true
}
data "amazon-secretsmanager" "key" {
  name = "app/${local.image}"
  assume_role {
    role_arn = "arn:aws:iam::123456789012:role/reader"
  }
}
data "http" "unused" {
  url = "https://example.com"
}
source "amazon-ebs" "a" {
  ami_name      = "abc"
  region        = "us-east-1"
  instance_type = "t3.micro"
  source_ami    = local.image
  ssh_username  = "u"
  tags          = { key = upper(data.amazon-secretsmanager.key.value), base = data.amazon-ami.base.tags["Base"] }
}
build {
  sources = ["amazon-ebs.a"]
}
"#;

#[test]
fn a_data_source_s_role_needs_its_arn() {
    for inside in ["", "\n    session_name = \"x\"\n  "] {
        let text = format!(
            "data \"amazon-ami\" \"a\" {{\n  owners = [\"self\"]\n  filters = {{ name = \"x\" }}\n  assume_role {{{inside}}}\n}}\n"
        );
        let bad = Given::hcl(&text).bad();
        assert!(bad.contains("t.pkr.hcl:4:3: role_arn is missing"), "{bad}");
    }
}

#[test]
fn data_sources_are_asked_for_in_rounds() {
    // Nothing is known: options are checked, attributes are not.
    let validated = Given::hcl(DATA).good();
    assert!(validated.data_requests.is_empty());
    let mut given = Given::hcl(DATA);
    given.data = Some(DataResults::default());
    // What no build needs is not asked for, and what waits for another result comes later.
    let first = given.good().data_requests;
    let keys: Vec<String> = first.iter().map(DataRequest::key).collect();
    assert_eq!(keys, ["amazon-ami.base"]);
    let DataSourceConfig::AmazonAmi(query) = &first[0].config else { panic!("an image") };
    assert_eq!(query.access.region.as_deref(), Some("eu-west-1"));
    assert_eq!(query.filters["virtualization-type"], ["hvm", "x"]);
    assert_eq!((query.most_recent, first[0].at.line), (true, 9));
    assert!(given.good().complete().is_err());
    let ami = DataResult::AmazonAmi {
        id: "ami-7".to_owned(),
        name: "base-7".to_owned(),
        creation_date: "2024-01-01T00:00:00.000Z".to_owned(),
        owner: "123456789012".to_owned(),
        owner_name: String::new(),
        tags: IndexMap::from([("Base".to_owned(), "7".to_owned())]),
    };
    given.data.as_mut().unwrap().0.insert("amazon-ami.base".to_owned(), ami);
    let second = given.good().data_requests;
    let DataSourceConfig::AmazonSecretsmanager(secret) = &second[0].config else { panic!("a secret") };
    assert_eq!((second.len(), secret.name.as_str()), (1, "app/ami-7"));
    let secret = DataResult::AmazonSecretsmanager {
        value: "s3cret-value".to_owned(),
        secret_string: "{\"k\":\"s3cret-value\"}".to_owned(),
        secret_binary: String::new(),
        version_id: "v".to_owned(),
    };
    given.data.as_mut().unwrap().0.insert("amazon-secretsmanager.key".to_owned(), secret);
    let done = given.good().complete().unwrap();
    assert_eq!(ebs(&done.builds[0]).tags["key"].0, "S3CRET-VALUE");
    assert_eq!(ebs(&done.builds[0]).tags["base"].0, "7");
    assert!(done.sensitive_values.contains(&"s3cret-value".to_owned()));
}

#[test]
fn a_secret_stays_one_on_its_way_through_null() {
    let text = "variable \"s\" {\n  default   = \"hunter22\"\n  sensitive = true\n}\ndata \"null\" \"n\" {\n  input = \"x-${var.s}\"\n}\n\
                locals {\n  derived = base64encode(data.null.n.output)\n}\n";
    let evaluated = with_source(&format!("{text}build {{\n  sources = [\"amazon-ebs.a\"]\n}}\n")).good();
    assert_eq!(evaluated.sensitive_values, ["hunter22", "x-hunter22", "eC1odW50ZXIyMg=="]);
}

#[test]
fn data_sources_are_checked() {
    let text = r#"
data "amazon-amy" "a" {}
data "hcp-packer-image" "a" {}
data "amazon-ami" "b" {
  filter = {}
  profile = "x"
}
data "http" "c" {
  url    = "file:///etc/passwd"
  method = "GETT"
}
data "null" "d" {
  input = data.null.e.output
}
data "null" "e" {
  input = local.f
}
locals {
  f = data.null.d.output
  g = data.http.c.boddy
  h = data.http.d.body
}
"#;
    let given = with_source(&format!("{text}build {{\n  sources = [\"amazon-ebs.a\"]\n}}\n"));
    insta::assert_snapshot!(given.bad(), @r#"
    t.pkr.hcl:10:6: there is no data source "amazon-amy": did you mean "amazon-ami"?
    t.pkr.hcl:11:6: data source "hcp-packer-image" can't be used here: there are amazon-ami, amazon-parameterstore, amazon-secretsmanager, http, null; give the value as a variable
    t.pkr.hcl:12:1: filters is missing: say which image is meant: filters = { name = "…" }
    t.pkr.hcl:12:1: owners is missing: anybody can publish an image of that name: say whose is meant, such as owners = ["amazon"]
    t.pkr.hcl:13:3: data "amazon-ami" has no option "filter": did you mean "filters"?
    t.pkr.hcl:14:3: profile can't be used here: the server's account gives the credentials: name it with account in the run
    t.pkr.hcl:17:3: "file:///etc/passwd" is no URL that begins with https:// or http://
    t.pkr.hcl:18:12: there is no method "GETT": did you mean "GET"?
    t.pkr.hcl:27:3: local.f depends on itself: local.f → data.null.d → data.null.e → local.f
    t.pkr.hcl:28:19: there is no attribute "boddy": did you mean "body"?
    t.pkr.hcl:29:17: there is no data source "http" "d": did you mean "c"?
    "#);
}

#[test]
fn complaints_have_a_range_and_their_line() {
    let given =
        with_options("  tags = { x = upper([]), y = \"${nope} ${var.none}\" }\n  regoin = \"x\"").run().unwrap_err();
    let marks: Vec<String> = given
        .iter()
        .map(|complaint| {
            let (at, end) = (complaint.at.as_ref().unwrap(), complaint.end.unwrap());
            let line = complaint.source_line.as_ref().unwrap();
            let marked: String =
                line.chars().skip(at.column as usize - 1).take((end.column - at.column) as usize).collect();
            format!("{marked} | {}", complaint.suggestion.clone().unwrap_or_default())
        })
        .collect();
    assert_eq!(marks, ["[] | ", "nope | ", "none | ", "regoin | region"]);
    // A secret that stands in the line that is complained about is hidden there too.
    let secret =
        "variable \"s\" {\n  default   = \"hunter22\"\n  sensitive = true\n}\nlocals {\n  x = \"hunter22\" + 1\n}\n";
    let complaints = with_source(&format!("{secret}build {{\n  sources = [\"amazon-ebs.a\"]\n}}\n")).run().unwrap_err();
    assert_eq!(complaints[0].source_line.as_deref(), Some("  x = \"<sensitive>\" + 1"), "{}", lines(&complaints));
}

#[test]
fn what_has_no_labels_gets_them_in_labels() {
    let dynamic = |kind: &str| format!("dynamic \"{kind}\" {{\n  for_each = [1]\n  content {{}}\n}}\n");
    let build = |block: &str| with_source(&format!("build {{\n  sources = [\"amazon-ebs.a\"]\n{block}}}\n")).bad();
    insta::assert_snapshot!(build(&dynamic("provisioner")), @r#"t.pkr.hcl:11:9: provisioner needs one label, it has 0: write labels = ["shell"]"#);
    insta::assert_snapshot!(build(&dynamic("post-processor")), @r#"t.pkr.hcl:11:9: post-processor needs one label, it has 0: write labels = ["manifest"]"#);
    insta::assert_snapshot!(build("provisioner {}\n"), @r#"t.pkr.hcl:11:1: provisioner needs one label, it has 0: such as provisioner "shell" { … }"#);
    insta::assert_snapshot!(with_source(&format!("{}build {{\n  sources = [\"amazon-ebs.a\"]\n}}\n", dynamic("source"))).bad(), @r#"t.pkr.hcl:9:9: source needs 2 labels, it has 0: write labels = ["amazon-ebs", "name"]"#);
}

#[test]
fn an_unknown_source_hides_nothing() {
    let build = "build {\n  sources = [\"amazon-ebs.b\"]\n  provisioner \"shell\" {\n    only = [\"amazon-ebs.b\"]\n    inline = var.nope\n  }\n  \
                 provisioner \"shel\" {}\n  provisioner \"shell\" {\n    inline = [\"${source.name} ${build.ID}\"]\n    scriptt = \"x\"\n  }\n  \
                 post-processor \"manifest\" {\n    outputt = 1\n  }\n}\n";
    insta::assert_snapshot!(with_source(build).bad(), @r#"
    t.pkr.hcl:10:14: there is no source "amazon-ebs.b": did you mean "amazon-ebs.a"?
    t.pkr.hcl:13:18: there is no variable "nope": declare it: variable "nope" { … }
    t.pkr.hcl:15:3: there is no provisioner "shel": did you mean "shell"?
    t.pkr.hcl:18:5: the shell provisioner has no option "scriptt": did you mean "script"?
    t.pkr.hcl:21:5: the manifest post-processor has no option "outputt": did you mean "output"?
    "#);
}

#[test]
fn blocks_that_stand_in_the_packer_block() {
    let text =
        "packer {\n  source \"null\" \"a\" {}\n  build {\n    sources = [\"null.a\"]\n  }\n  require_plugins {}\n}\n";
    insta::assert_snapshot!(Given::hcl(text).bad(), @r#"
    t.pkr.hcl:2:3: packer has no block "source": move it out of packer { … }: source stands at the top level
    t.pkr.hcl:3:3: packer has no block "build": move it out of packer { … }: build stands at the top level
    t.pkr.hcl:6:3: packer has no block "require_plugins": did you mean "required_plugins"?
    "#);
}
