//! What a person reads about faults.

use super::complaints;

#[test]
fn one_line_blocks_are_explained() {
    insta::assert_snapshot!(complaints("variable \"app_version\" { type = string }\nvariable \"env\"         { type = string; default = \"dev\" }\n"), @"t.pkr.hcl:2:39: attributes on one line are separated by ';', which HCL2 does not have: put each attribute on a line of its own; HCL2 has no ';', and a block on one line holds one attribute only");
    insta::assert_snapshot!(complaints("build {\n  post-processor \"manifest\" { output = \"manifest.json\"; strip_path = true }\n}\n"), @"t.pkr.hcl:2:55: attributes on one line are separated by ';', which HCL2 does not have: put each attribute on a line of its own; HCL2 has no ';', and a block on one line holds one attribute only");
    insta::assert_snapshot!(complaints("variable \"env\" { type = string, default = \"dev\" }\n"), @"t.pkr.hcl:1:31: attributes on one line are separated by ',', which HCL2 does not have: put each attribute on a line of its own; HCL2 has no ';', and a block on one line holds one attribute only");
    insta::assert_snapshot!(complaints("provisioner \"file\" {\n  source = \"a;b\"; destination = \"/tmp/x\"\n}\n"), @"t.pkr.hcl:2:17: attributes on one line are separated by ';', which HCL2 does not have: put each attribute on a line of its own; HCL2 has no ';', and a block on one line holds one attribute only");
    insta::assert_snapshot!(complaints("x = 1,\ny = 2;\nz = {\n a = 1;\n}\n"), @r#"
    t.pkr.hcl:1:6: an attribute ends with ',', which HCL2 does not have: remove it: the end of the line ends an attribute
    t.pkr.hcl:2:6: an attribute ends with ';', which HCL2 does not have: remove it: the end of the line ends an attribute
    t.pkr.hcl:4:7: there is ";" where a comma, the end of the line or a } is needed: HCL2 has no ';': put each attribute on a line of its own, and a comma between elements of a list
    "#);
    insta::assert_snapshot!(complaints("a { x = 1\n y = 2\n}\nb {\n x = 1 }\nc { d { e = 1 } }\nf {} g {}\n"), @r#"
    t.pkr.hcl:1:10: a block that has an attribute on its first line ends on that line: put the attribute on a line of its own, or a } after it
    t.pkr.hcl:5:8: there is "}" where the end of the line is needed: put the } on a line of its own; only a block on one line has it at the end
    t.pkr.hcl:6:5: a block on one line holds one attribute only: put a block inside of another on lines of its own
    t.pkr.hcl:7:6: there is "g" where the end of the line is needed: an attribute or block ends with its line
    "#);
}

#[test]
fn other_places_and_hints() {
    insta::assert_snapshot!(complaints("a = 'x'\nb = `x`\nä = “x”\nc = d & e\nf = g | h\n"), @r#"
    t.pkr.hcl:1:5: there is "'" where a value is needed: strings are written with ", not with '
    t.pkr.hcl:2:5: there is "`" where a value is needed: strings are written with "; a long text is a heredoc: <<EOT … EOT
    t.pkr.hcl:3:5: there is "“" where a value is needed: the quotes here are typographic ones; use the plain " character
    t.pkr.hcl:4:7: there is "&" where the end of the line is needed: HCL2 has no operator &; the logical one is &&
    t.pkr.hcl:5:7: there is "|" where the end of the line is needed: HCL2 has no operator |; the logical one is ||
    "#);
    insta::assert_snapshot!(complaints("source \"a\" \"b\" {\n  x = 1\n"), @r#"t.pkr.hcl:1:16: the block source that begins here is not closed: the file ends here; a } or " may be missing before"#);
    insta::assert_snapshot!(complaints("{\n  \"builders\": []\n}"), @"t.pkr.hcl:1:1: a { can't begin an attribute or a block: this looks like JSON: name the file .json, or .pkr.json if it is HCL2 in JSON");
    insta::assert_snapshot!(complaints("a = ${b}\nc = d and e\nf == 1\ng: 1\nh.i = 1\nj\n\"k\" = 1\n}\n"), @r#"
    t.pkr.hcl:1:5: there is "$" where a value is needed: ${ } is for the inside of strings; outside of them write what is between the braces alone
    t.pkr.hcl:2:7: there is "and" where the end of the line is needed: write && for and
    t.pkr.hcl:3:1: f is neither an attribute nor a block: == compares; write = to set it
    t.pkr.hcl:4:1: g is neither an attribute nor a block: write = for the colon
    t.pkr.hcl:5:1: h is neither an attribute nor a block: only whole attributes can be set here
    t.pkr.hcl:6:1: j is neither an attribute nor a block: an attribute is j = value, a block is j { … }
    t.pkr.hcl:7:1: the name of an attribute or block has no quotes: remove them; only block labels and the keys of a { … } value may have quotes
    t.pkr.hcl:8:1: this } closes nothing: remove it, or add the { that it belongs to
    "#);
    insta::assert_snapshot!(complaints("a = 1\nb = 2\na = 3\n"), @"t.pkr.hcl:3:1: a is set twice, first on line 1: keep one of the two; several values go into one list or map");
    insta::assert_snapshot!(complaints("a \"b\"\n{\n}\nc \"d\" = {\n}\ne \"${f}\" {\n}\n"), @"
    t.pkr.hcl:2:1: the { of the block a is not on the line of its name: put it at the end of the line before
    t.pkr.hcl:4:7: a block has no = before its {: write c … {, or leave the labels out if an attribute is meant
    t.pkr.hcl:6:4: a block's label can't be worked out: it holds no ${ } or %{ }: write the text itself; a literal ${ is written $${
    ");
}

#[test]
fn brackets() {
    insta::assert_snapshot!(complaints("x = [1, 2\ny = 3\nz = 4 5\n"), @r#"
    t.pkr.hcl:1:5: the list that begins here is not closed: close it with ]
    t.pkr.hcl:3:7: there is "5" where the end of the line is needed: an attribute or block ends with its line
    "#);
    insta::assert_snapshot!(complaints("x = {\n a = 1 b = 2\n c\n d = \n e {\n }\n}\ny = {\n"), @r#"
    t.pkr.hcl:2:8: there is "b" where a comma, the end of the line or a } is needed
    t.pkr.hcl:3:3: the line ends where the = of a key is needed
    t.pkr.hcl:4:6: the line ends where a value is needed
    t.pkr.hcl:5:4: there is no = after the key e: a { } value holds keys and values, no blocks: write e = …
    t.pkr.hcl:8:5: the { } that begins here is not closed: the file ends here; a } or " may be missing before
    "#);
    insta::assert_snapshot!(complaints("x = [\"a\" \"b\", \"c\" \"d\"]\ny = f(a b, g(,), h...,)\nz = (1 2)\n"), @r#"
    t.pkr.hcl:1:10: there is a " where a comma or a ] is needed
    t.pkr.hcl:1:19: there is a " where a comma or a ] is needed
    t.pkr.hcl:2:9: there is "b" where a comma or a ) is needed
    t.pkr.hcl:2:14: there is "," where a value is needed
    t.pkr.hcl:2:22: there is "," where the ) of the call after ... is needed
    t.pkr.hcl:3:8: there is "2" where an operator or a ) is needed
    "#);
    insta::assert_snapshot!(complaints("x = a.0.1\ny = b.\nz = c.*.d.*\nv = e[1 2]\nw = f[*"), @r#"
    t.pkr.hcl:1:7: two indices follow each other with dots: .0.1: write [0][1]
    t.pkr.hcl:2:7: the line ends where a name after the dot is needed
    t.pkr.hcl:3:11: a second .* can't follow .*: write [*] for both
    t.pkr.hcl:4:9: there is "2" where a ] is needed
    t.pkr.hcl:5:6: the [ that begins here is not closed: the file ends here; a } or " may be missing before
    "#);
    insta::assert_snapshot!(complaints("x = { for = 1 }\ny = [for a : b]\nz = {for a in b: c}\nv = [for a in b: c => d...]\nw = [for a in b c]\n"), @r#"
    t.pkr.hcl:1:7: the key for begins a for expression: put it in quotes: "for" = …
    t.pkr.hcl:2:12: there is ":" where the word in of a for is needed
    t.pkr.hcl:3:18: a for in { } has no key: write {for … : key => value}, or [for … : value] for a list
    t.pkr.hcl:4:18: a for in [ ] has a key: write {for … : key => value} for a map
    t.pkr.hcl:4:24: a for in [ ] can't group with ...: only {for … : key => value...} groups
    t.pkr.hcl:5:17: there is "c" where the : after what for goes through is needed
    "#);
    insta::assert_snapshot!(complaints("x = a ? b\ny = !\nz = a::b\n"), @"
    t.pkr.hcl:1:10: the line ends where the : of a condition ? yes : no is needed
    t.pkr.hcl:2:6: the line ends where a value is needed
    t.pkr.hcl:3:9: the line ends where the ( of a function call is needed
    ");
}

#[test]
fn strings() {
    insta::assert_snapshot!(complaints("x = \"abc\ny = \"${foo\"\nz = \"${f(\"a)}\"\nv = [1 2]\n"), @r#"
    t.pkr.hcl:1:5: a line ends inside the string that begins here: close it with " on the same line; write a line break as \n, or a long text as a heredoc: <<EOT … EOT
    t.pkr.hcl:2:5: a line ends inside the string that begins here: close it with " on the same line; write a line break as \n, or a long text as a heredoc: <<EOT … EOT
    t.pkr.hcl:3:5: a line ends inside the string that begins here: close it with " on the same line; write a line break as \n, or a long text as a heredoc: <<EOT … EOT
    t.pkr.hcl:4:8: there is "2" where a comma or a ] is needed
    "#);
    insta::assert_snapshot!(complaints("x = \"${var:-default}\"\ny = <<EOT\n%{ iff a }\n${b c}\nEOT\n"), @r#"
    t.pkr.hcl:1:11: there is ":" where the } of ${ is needed: if ${ is meant for another language, such as a shell, write $${ to keep it as text
    t.pkr.hcl:3:4: there is no directive %{ iff }: did you mean "if"? there are if, else, endif, for and endfor; a literal %{ is written %%{
    t.pkr.hcl:4:5: there is "c" where the } of ${ is needed: if ${ is meant for another language, such as a shell, write $${ to keep it as text
    "#);
    insta::assert_snapshot!(complaints("x = \"\\q \\u12 \\uD800 \\U00110000\"\ny = 1..2\n"), @r#"
    t.pkr.hcl:1:6: there is no escape \q: a backslash itself is written \\; the escapes are \n \r \t \" \\ \uXXXX and \UXXXXXXXX
    t.pkr.hcl:1:9: \u needs 4 hexadecimal digits: write \u00e9 or \U0001f600
    t.pkr.hcl:1:14: \uD800 is no character: Unicode ends at 10FFFF, and D800 to DFFF are no characters
    t.pkr.hcl:1:21: \U00110000 is no character: Unicode ends at 10FFFF, and D800 to DFFF are no characters
    t.pkr.hcl:2:5: 1..2 is no number: a number has one point and one exponent at most; put a version in quotes
    "#);
    insta::assert_snapshot!(complaints("x = \"%{ if a }\"\ny = \"%{ endfor }\"\nz = \"%{ if a }%{ else }%{ else }%{ endif }\"\nv = \"%{ for a in b }%{ endif }\"\n"), @"
    t.pkr.hcl:1:6: the %{ if } that begins here has no %{ endif }: end it in the same string with %{ endif }
    t.pkr.hcl:2:6: %{ endfor } has no place here: there is no %{ for } before it in this string
    t.pkr.hcl:3:24: %{ else } has no place here: its %{ if } has an %{ else } already
    t.pkr.hcl:4:21: %{ endif } has no place here: a %{ for } is open here: end it with %{ endfor }
    ");
    insta::assert_snapshot!(complaints("x = f(<<EOT\nfoo\nEOT)\n"), @"t.pkr.hcl:1:7: the heredoc that begins here is not closed: there is no line that holds EOT alone: on line 3 more follows after EOT: put what follows on the next line");
    insta::assert_snapshot!(complaints("x = {\n y = <<EOT\nfoo\nEOT"), @"t.pkr.hcl:2:6: the heredoc that begins here is not closed: there is no line that holds EOT alone: the last line is EOT without a line break: put one after it");
    insta::assert_snapshot!(complaints("x = <<EOT\nfoo\n"), @"t.pkr.hcl:1:5: the heredoc that begins here is not closed: there is no line that holds EOT alone: close it with a line that holds EOT only");
    insta::assert_snapshot!(complaints("x = \"a"), @r#"t.pkr.hcl:1:5: the string that begins here is not closed: the file ends here; a } or " may be missing before"#);
    insta::assert_snapshot!(complaints("x = 1\n/* y = 2\n"), @"t.pkr.hcl:2:1: the comment that begins here is not closed: close it with */");
}

#[test]
fn the_marked_range() {
    let file = crate::template::source::SourceFile::new("t", "aé = [bc déf]\n");
    let (_, faults) = super::parse_file(&file);
    let (at, end) = (faults[0].at.clone().unwrap(), faults[0].end.unwrap());
    assert_eq!((at.line, at.column, end.line, end.column), (1, 10, 1, 13));
}

#[test]
fn a_thousand_faults_are_told_in_part() {
    let said = complaints(&"a = [1 2]\n".repeat(1000));
    assert_eq!(said.lines().count(), 100);
}
