//! What is read, and how.

use super::{expression, template, tree};

#[test]
fn bodies() {
    insta::assert_snapshot!(tree("a = 1 # one\nb \"c\" d { e = 2 }\nf {\n  // nothing\n}\n"), @r#"{(= a (num 1))(block b "c" "d" {(= e (num 2))})(block f {})}"#);
    insta::assert_snapshot!(tree("\u{feff}a = 1\r\nb {\r\n  c = [\r\n    1,\r\n  ]\r\n}"), @"{(= a (num 1))(block b {(= c (tuple (num 1)))})}");
    insta::assert_snapshot!(tree("a-b_é = /* x\n */ 1\nb {}\nc { /* d */ }\n"), @"{(= a-b_é (num 1))(block b {})(block c {})}");
    insta::assert_snapshot!(tree("b \"\\u00e9\\\"$${\" {\n}\n"), @r#"{(block b "é\x22${" {})}"#);
}

#[test]
fn names() {
    use crate::template::hcl::syntax::lexer::is_identifier;
    for name in ["a", "_", "a-b", "\u{e33}", "é1", "a‿b"] {
        assert!(is_identifier(name), "{name}");
    }
    for no_name in ["", "1a", "-a", "a b", "a.b", "٣"] {
        assert!(!is_identifier(no_name), "{no_name}");
    }
}

#[test]
fn operators() {
    insta::assert_snapshot!(expression("a || b && c == d < e + f * -g"), @"(|| a (&& b (== c (< d (+ e (* f (- g)))))))");
    insta::assert_snapshot!(expression("1 - 2 - 3 / 4 % 5"), @"(- (- (num 1) (num 2)) (% (/ (num 3) (num 4)) (num 5)))");
    insta::assert_snapshot!(expression("!a.b == c"), @"(== (! (attr a b)) c)");
    insta::assert_snapshot!(expression("a ? b : c ? d : e"), @"(cond a b (cond c d e))");
    insta::assert_snapshot!(expression("a\n+\n(b - c)"), @"(+ a (paren (- b c)))");
    insta::assert_snapshot!(expression("1e3 + 1.5E-2 + null"), @"(+ (+ (num 1e3) (num 1.5E-2)) null)");
}

#[test]
fn traversals() {
    insta::assert_snapshot!(expression("a.b[0].1[\"c\"][d]"), @r#"(index (index (index (index (attr a b) (num 0)) (num 1)) (tmpl "c")) d)"#);
    insta::assert_snapshot!(expression("a[*].b[0].c"), @"(splat a (attr (index (attr @ b) (num 0)) c))");
    insta::assert_snapshot!(expression("a.*.b.0[c]"), @"(index (splat a (index (attr @ b) (num 0))) c)");
    insta::assert_snapshot!(expression("f(x...)[0].y"), @"(attr (index (call f x ...) (num 0)) y)");
    insta::assert_snapshot!(expression("a::b::c(1, 2,)"), @"(call a::b::c (num 1) (num 2))");
}

#[test]
fn collections() {
    insta::assert_snapshot!(expression("[1, [2,], []]"), @"(tuple (num 1) (tuple (num 2)) (tuple))");
    insta::assert_snapshot!(expression("{ a = 1, \"b\" : 2\n (c) = 3\n true = 4, d.e = 5 }"), @r#"(object (name a) (num 1) (tmpl "b") (num 2) (paren c) (num 3) (name true) (num 4) (attr d e) (num 5))"#);
    insta::assert_snapshot!(expression("[for x in y: x if x != \"\"]"), @r#"(for  x y x if (!= x (tmpl "")))"#);
    insta::assert_snapshot!(expression("{\n for k, v in m:\n k => v... if v\n}"), @"(for k v m key k v ... if v)");
}

#[test]
fn strings() {
    insta::assert_snapshot!(expression(r#""${a}""#), @"(wrap a)");
    insta::assert_snapshot!(expression(r#"" ${~ a}""#), @r#"(tmpl "" a)"#);
    insta::assert_snapshot!(expression(r#""a ${~ b ~} c${d}""#), @r#"(tmpl "a" b "c" d)"#);
    insta::assert_snapshot!(expression(r#""$a $${b} %%{c} 100% \t\\""#), @r#"(tmpl "$a ${b} %{c} 100% \x09\x5c")"#);
    insta::assert_snapshot!(expression("\"${ {\n a = \"}\" } }\""), @r#"(wrap (object (name a) (tmpl "}")))"#);
    insta::assert_snapshot!(expression(r#""%{ if a }x%{ else }%{ for k, v in m }${v}%{ endfor }%{ endif }""#), @r#"(tmpl (cond a (tmpl "x") (tmpl (join (for k v m (tmpl v))))))"#);
}

#[test]
fn heredocs() {
    insta::assert_snapshot!(tree("a = <<EOT\n  x ${b}\n  EOT\nc = 1\n"), @r#"{(= a (tmpl "  x " b "\x0a"))(= c (num 1))}"#);
    insta::assert_snapshot!(tree("a = <<-EOT\n    x\n\n      y ${b}\n    EOT\n"), @r#"{(= a (tmpl "x\x0a\x0a  y " b "\x0a"))}"#);
    // A line that begins with ${ has no indentation, so no line loses any.
    insta::assert_snapshot!(tree("a = <<-EOT\n  x\n${b}\nEOT\n"), @r#"{(= a (tmpl "  x\x0a" b "\x0a"))}"#);
    insta::assert_snapshot!(tree("a = <<EOT\r\nx\r\nEOT\r\n"), @r#"{(= a (tmpl "x\x0d\x0a"))}"#);
    insta::assert_snapshot!(tree("a = <<EOT\n${b ~}\nEOT\n"), @r#"{(= a (tmpl b ""))}"#);
    insta::assert_snapshot!(tree("a = <<EOT\n%{ for x in y ~}\n- ${x}\n%{ endfor ~}\nEOT\n"), @r#"{(= a (tmpl (join (for  x y (tmpl "- " x "\x0a"))) ""))}"#);
    insta::assert_snapshot!(tree("a = f(<<A\n1\nA\n, <<B\n2\nB\n)\n"), @r#"{(= a (call f (tmpl "1\x0a") (tmpl "2\x0a")))}"#);
}

#[test]
fn templates() {
    insta::assert_snapshot!(template(""), @r#"(tmpl "")"#);
    insta::assert_snapshot!(template("\"$x\" costs $5\\n\n%{ if a ~}\n  ${b}\n%{~ endif }$"), @r#"(tmpl "\x22$x\x22 costs $5\x5cn\x0a" (cond a (tmpl "  " b "") (tmpl "")) "$")"#);
    insta::assert_snapshot!(template("${a}"), @"(wrap a)");
}
