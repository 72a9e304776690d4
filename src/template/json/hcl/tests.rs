use super::*;
use crate::template::hcl::syntax;

fn lines(faults: &[Diagnostic]) -> String {
    faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

/// A tree without its places.
fn bare(body: &Body) -> String {
    let text = format!("{body:?}");
    let spans = regex::Regex::new(r",? ?(span: )?Span \{ start: \d+, end: \d+ \}").unwrap();
    spans.replace_all(&text, "").into_owned()
}

fn same(json: &str, native: &str) {
    let (ours, faults) = parse_file(&SourceFile::new("t.pkr.json", json));
    assert_eq!(lines(&faults), "");
    let (theirs, faults) = syntax::parse_file(&SourceFile::new("t.pkr.hcl", native));
    assert_eq!(lines(&faults), "");
    assert_eq!(bare(&ours), bare(&theirs), "{json}");
}

#[test]
fn the_tree_is_that_of_the_native_syntax() {
    same(
        r#"{"//": "a comment",
            "packer": {"required_version": ">= 1.7", "required_plugins": {"amazon": {"version": "~> 1", "source": "github.com/hashicorp/amazon"}}},
            "variable": {"a": {"type": "list(string)", "default": ["x", "y"]},
                         "n": [{"type": "number", "default": -1.5e3, "sensitive": true,
                                "validation": [{"condition": "${var.n > 1}", "error_message": "No."}, {"condition": "${true}", "error_message": "No."}]}]},
            "locals": [{"t": "${timestamp()}"}, {"o": {"k-${var.n}": null}}]}"#,
        r#"
        packer {
          required_version = ">= 1.7"
          required_plugins {
            amazon = { "version" = "~> 1", "source" = "github.com/hashicorp/amazon" }
          }
        }
        variable "a" {
          type = list(string)
          default = ["x", "y"]
        }
        variable "n" {
          type = number
          default = -1.5e3
          sensitive = true
          validation {
            condition = "${var.n > 1}"
            error_message = "No."
          }
          validation {
            condition = "${true}"
            error_message = "No."
          }
        }
        locals {
          t = "${timestamp()}"
        }
        locals {
          o = { "k-${var.n}" = null }
        }"#,
    );
    same(
        r#"{"source": {"amazon-ebs": {"a": {"ami_name": "x", "tags": {"a": "b"}, "tag": [{"key": "a", "value": "b"}, {"key": "c", "value": ""}],
                "source_ami_filter": {"filters": {"name": "u*"}, "owners": ["self"]},
                "dynamic": {"run_tag": {"for_each": "${var.tags}", "iterator": "it", "content": {"key": "${it.key}"}}}}}},
            "build": {"sources": ["amazon-ebs.a"], "source": {"null.b": {"name": "n"}},
                "provisioner": [{"shell": {"inline": ["a"]}}, {"file": {"source": "a", "override": {"x": {"source": "b"}}}}, {"shell": [{"script": "b"}, {"script": "c"}]}],
                "post-processors": [{"post-processor": [{"manifest": {}}, {"checksum": {}}]}]}}"#,
        r#"
        source "amazon-ebs" "a" {
          ami_name = "x"
          tags = { "a" = "b" }
          tag {
            key = "a"
            value = "b"
          }
          tag {
            key = "c"
            value = ""
          }
          source_ami_filter {
            filters = { "name" = "u*" }
            owners = ["self"]
          }
          dynamic "run_tag" {
            for_each = "${var.tags}"
            iterator = it
            content {
              key = "${it.key}"
            }
          }
        }
        build {
          sources = ["amazon-ebs.a"]
          source "null.b" {
            name = "n"
          }
          provisioner "shell" {
            inline = ["a"]
          }
          provisioner "file" {
            source = "a"
            override = { "x" = { "source" = "b" } }
          }
          provisioner "shell" {
            script = "b"
          }
          provisioner "shell" {
            script = "c"
          }
          post-processors {
            post-processor "manifest" {}
            post-processor "checksum" {}
          }
        }"#,
    );
}

#[test]
fn faults_are_placed() {
    let text = "{\n  \"locals\": {\"a\": \"\\u00e4\\n${foo(}\", \"b\": 1, \"b\": 2, \"//\": 1, \"//\": 2},\n  \"source\": {\"null\": 1},\n  \"build\": [3],\n  \"variable\": {\"v\": {\"type\": \"list(\"}}, \n  \"data\": \"x\", \"local\": {}\n}";
    let (body, faults) = parse_file(&SourceFile::new("t.pkr.json", text));
    insta::assert_snapshot!(lines(&faults), @r#"
    t.pkr.json:2:34: there is "}" where a value is needed
    t.pkr.json:2:46: "b" is set twice: the first is at t.pkr.json:2:38; take one of the two out
    t.pkr.json:3:22: what holds each source by its name must be an object here: write { … }
    t.pkr.json:4:13: a build block must be an object here: write { … }
    t.pkr.json:5:35: the call that begins here is not closed: the file ends here; a } or " may be missing before
    t.pkr.json:6:11: what holds each data by its type must be an object here: write { … }
    t.pkr.json:6:25: the name of a local is missing here: write "local": { "NAME": { … } }
    "#);
    assert_eq!(faults[0].end.map(|end| (end.line, end.column)), Some((2, 35)));
    assert!(body.blocks().count() >= 2);
}

#[test]
fn places_go_through_escapes() {
    let text = "{\"locals\": {\"a\": \"\\u00e4\\n-${var.x}-\\\"${ upper(\\\"y\\\") }\"}}";
    let (body, faults) = parse_file(&SourceFile::new("t.pkr.json", text));
    assert_eq!(lines(&faults), "");
    let value = &body.blocks().next().unwrap().body.attribute("a").unwrap().value;
    let crate::template::hcl::syntax::ast::ExprKind::Template(template) = &value.kind else { panic!("a template") };
    let written: Vec<&str> = template
        .parts
        .iter()
        .filter_map(|part| match part {
            crate::template::hcl::syntax::ast::Part::Interpolation(inner) => Some(inner.span.text(text)),
            _ => None,
        })
        .collect();
    assert_eq!(written, ["var.x", "upper(\\\"y\\\")"]);
}

proptest::proptest! {
    #[test]
    fn reading_never_panics(text in "(\\{|\\}|\\[|\\]|,|:|\"variable\"|\"source\"|\"dynamic\"|\"content\"|\"type\"|\"\\$\\{|\\}\"|\"a\\\\n|\"|\\\\|ä|1|null){0,40}") {
        let source = SourceFile::new("t.pkr.json", &text);
        let _ = parse_file(&source);
    }
}
