//! A template is hostile data: whatever it asks for has a bound, and running into it is a complaint.

use std::fmt::Write;

use super::{Given, with_options};

/// What is said of an expression that asks for too much.
fn refused(expression: &str) -> String {
    with_options(&format!("  ami_description = {expression}")).bad()
}

#[test]
fn expressions_are_bounded() {
    for (expression, limit) in [
        ("jsonencode(range(2000))", "more than 1024 numbers"),
        ("jsonencode([for a in range(1000) : [for b in range(1000) : [for c in range(1000) : c]]])", "too "),
        ("join(\"\", [for a in range(1000) : join(\"\", [for b in range(1000) : \"0123456789\"])])", "too "),
        (
            "\"%{ for a in range(1000) }%{ for b in range(1000) }%{ for c in range(1000) }x%{ endfor }%{ endfor }%{ endfor }\"",
            "too ",
        ),
        ("format(\"%9999d\", 1)", "above 1024"),
        ("jsonencode(setproduct(range(1000), range(1000), range(1000)))", "too "),
        ("indent(1000000000, \"a\\nb\")", "too large"),
        ("replace(join(\"\", range(1000)), \"\", join(\"\", range(1000)))", "too large"),
        ("regex_replace(join(\"\", range(1000)), \"\", join(\"\", range(1000)))", "too large"),
        ("regex(\"((a{100}){100}){100}\", \"a\")", "too large"),
        ("bcrypt(\"x\", 20)", "too much work"),
        ("yamldecode(file(\"bomb.yaml\"))[\"i\"]", "too large"),
        ("jsonencode(yamldecode(join(\"\", [for i in range(200) : \"[\"])))", "nests too deep"),
        ("jsonencode(jsondecode(join(\"\", [for i in range(500) : \"[\"])))", "no JSON"),
        ("pow(10, 400)", "too large a one"),
        ("1e5000", "too large"),
        ("templatefile(\"self.tpl\", {})", "can't be used inside a file that templatefile renders"),
        ("join(\"\", [for i in range(1000) : file(\"big.txt\")])", "too "),
    ] {
        let mut bomb = "a: &a [x, x, x, x, x, x, x, x, x]\n".to_owned();
        for (outer, inner) in ('b'..='i').zip('a'..) {
            let aliases = vec![format!("*{inner}"); 9].join(", ");
            let _ = writeln!(bomb, "{outer}: &{outer} [{aliases}]");
        }
        let given = with_options(&format!("  ami_description = {expression}"))
            .file("bomb.yaml", &bomb)
            .file("big.txt", &"x".repeat(100_000))
            .file("self.tpl", "${templatefile(\"self.tpl\", {})}");
        let bad = given.bad();
        assert!(bad.contains(limit), "{expression}: {bad}");
    }
}

#[test]
fn nesting_is_bounded() {
    for (open, close) in
        [("[", "]"), ("(", ")"), ("{ a = ", " }"), ("max(", ")"), ("\"${", "}\""), ("true ? (", ") : 0")]
    {
        let bad = refused(&format!("{}1{}", open.repeat(5000), close.repeat(5000)));
        assert!(bad.contains("t.pkr.hcl:7:"), "{open}: {bad}");
    }
    let blocks = format!("{}{}", "  a {\n".repeat(5000), "  }\n".repeat(5000));
    assert!(with_options(&blocks).bad().contains("t.pkr.hcl:"));
    // Values nest deeper than expressions, by way of locals.
    let mut locals = "locals {\n  l0 = 1\n".to_owned();
    for index in 0..150 {
        let _ = writeln!(locals, "  l{} = [local.l{index}]", index + 1);
    }
    let bad = Given::hcl(&format!("{locals}}}\n")).bad();
    assert!(bad.contains("nests too deep"), "{bad}");
    let mut chain = "locals {\n  l0 = 1\n".to_owned();
    for index in 0..300 {
        let _ = writeln!(chain, "  l{} = local.l{index}", index + 1);
    }
    // Locals that are written before what they refer to are worked out from the last one back.
    let backwards: Vec<&str> = chain.lines().rev().take(301).collect();
    let bad = Given::hcl(&format!("locals {{\n{}\n}}\n", backwards.join("\n"))).bad();
    assert!(bad.contains("at the end of a chain of 200"), "{bad}");
}

#[test]
fn complaints_are_bounded() {
    let mut text = "locals {\n".to_owned();
    for index in 0..5000 {
        let _ = writeln!(text, "  l{index} = nope{index}");
    }
    let complaints = Given::hcl(&format!("{text}}}\n")).run().unwrap_err();
    assert_eq!(complaints.len(), 1001);
    assert_eq!(complaints.last().unwrap().to_string(), "4001 more faults are not shown");
    let mut json = "{\n".to_owned();
    for index in 0..5000 {
        let _ = writeln!(json, "  \"nope{index}\": 1,");
    }
    let complaints = Given::default().file("t.json", &format!("{json}  \"builders\": []\n}}\n")).run().unwrap_err();
    assert_eq!(complaints.len(), 1001);
    assert_eq!(complaints.last().unwrap().to_string(), "4000 more faults are not shown");
}
