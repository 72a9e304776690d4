//! `inspect` and `console`.

use super::{Given, lines};
use crate::template::console;
use crate::template::inspect::inspect;

const TEMPLATE: &str = r#"
variable "b" {
  default = "x\ny"
}
variable "a" {
  type    = list(string)
  default = ["p"]
}
variable "s" {
  default   = "sec"
  sensitive = true
}
variable "req" {
  type = string
}
locals {
  x = "${var.b}-${var.s}"
  o = { a = 1, b = [true] }
}
source "null" "one" {}
source "null" "two" {}
build {
  name        = "foo"
  description = "some text"
  sources     = ["null.two", "source.null.one"]
  provisioner "shell" {
    inline = ["echo"]
  }
  provisioner "shell" {
    name   = "p"
    inline = ["echo"]
  }
  post-processor "manifest" {
    name = "mm"
  }
  post-processors {
    post-processor "checksum" {}
    post-processor "manifest" {}
  }
}
build {
  source "null.one" {
    name = "renamed"
  }
}
"#;

#[test]
fn an_inspection_prints_as_packers() {
    let inspection = Given::hcl(TEMPLATE).var("req", "1").with(inspect).unwrap();
    insta::assert_snapshot!(inspection.to_string(), @r#"
    Packer Inspect: HCL2 mode

    > input-variables:

    var.a: "[\n  \"p\",\n]"
    var.b: "x\ny"
    var.req: "1"
    var.s: "<sensitive>"

    > local-variables:

    local.o: "{\n  \"a\" = 1\n  \"b\" = [\n    true,\n  ]\n}"
    local.x: "<sensitive>"

    > builds:

      > foo:

      > Description: some text

        sources:

          null.two

          null.one

        provisioners:

          shell
          shell.p

        post-processors:

          0:
            manifest.mm

          1:
            checksum
            manifest

      > <unnamed build 1>:

        sources:

          null.one

        provisioners:

          <no provisioner>

        post-processors:

          <no post-processor>
    "#);
    let unset = Given::hcl(TEMPLATE).with(inspect).unwrap();
    assert_eq!(unset.variables[2].value, "<unknown>");
    assert!(unset.complaints[0].is_error());
}

#[test]
fn the_console_evaluates_a_line() {
    let eval = |line: &str| {
        let given = Given::hcl(TEMPLATE).var("req", "1");
        given.with(|request| console::eval(request, line)).map_err(|faults| super::lines(&faults))
    };
    assert_eq!(eval("upper(local.o.b[0] ? var.b : \"\")").as_deref(), Ok("X\nY"));
    assert_eq!(eval("local.o").as_deref(), Ok("{\n  \"a\" = 1\n  \"b\" = [\n    true,\n  ]\n}"));
    assert_eq!(eval("var.s").as_deref(), Ok("<sensitive>"));
    assert_eq!(eval("[var.s, 1]").as_deref(), Ok("[\n  \"<sensitive>\",\n  1,\n]"));
    insta::assert_snapshot!(eval("var.bb").unwrap_err(), @r#"<console-input>:1:5: there is no variable "bb": did you mean "b"?"#);
    let empty = Given::default().with(|request| console::eval(request, "10 / 4"));
    assert_eq!(empty.as_deref(), Ok("2.5"));
}

#[test]
fn a_broken_json_template_is_shown_where_it_is_broken() {
    for text in ["{\n  \"builders\": [oops}\n", "{\n  \"builders\": [{}]\n}\n"] {
        let given = Given::default().file("t.json", text);
        let inspected = given.with(inspect).unwrap_err();
        assert_eq!(lines(&inspected), given.bad());
        assert!(inspected[0].source_line.as_deref().is_some_and(|line| line.contains("builders")), "{inspected:?}");
    }
}
