use std::fmt::Write;

use super::{parse, simple};

/// Each command on a line: its pipeline, `sudo`, name and arguments, redirects.
fn show(text: &str) -> String {
    let script = parse(text);
    let mut lines = Vec::new();
    for (index, command) in script.commands.iter().enumerate() {
        let (_, position) = script.pipeline(index);
        let mut line = String::new();
        if position > 0 {
            line.push_str("| ");
        }
        if command.nested {
            line.push_str("$ ");
        }
        for assignment in &command.assignments {
            write!(line, "{}={:?} ", assignment.name, assignment.value.text).unwrap();
        }
        if let Some(simple) = simple(command) {
            if simple.sudo {
                line.push_str("(sudo) ");
            }
            line.push_str(simple.name);
            for word in simple.arguments {
                write!(line, " [{}]", word.text).unwrap();
            }
        }
        for redirect in &command.redirects {
            write!(line, " {}{}", redirect.operator, redirect.target.text).unwrap();
            if !redirect.body.is_empty() {
                write!(line, " {:?}", &text[redirect.body.clone()]).unwrap();
            }
        }
        lines.push(line.trim_end().to_owned());
    }
    lines.join("\n")
}

#[test]
fn words_quotes_and_pipes() {
    insta::assert_snapshot!(show("sudo -E env A=1 apt-get install \\\n  -y 'ng inx' \"$x\" # -q\ncurl -fsSL https://x | sudo -u root bash -s -- a"), @r"
    (sudo) apt-get [install] [-y] [ng inx] [$x]
    curl [-fsSL] [https://x]
    | (sudo) bash [-s] [--] [a]
    ");
    insta::assert_snapshot!(show("a && b || c; d & e 2>/dev/null >>f\nX=1 Y='2 3' cmd\nZ=4"), @r#"
    a
    b
    c
    d
    e >/dev/null >>f
    X="1" Y="2 3" cmd
    Z="4"
    "#);
    insta::assert_snapshot!(show("echo \\#x a#b '#' # c | d"), @"echo [#x] [a#b] [#]");
}

#[test]
fn control_flow_is_looked_through() {
    insta::assert_snapshot!(show("if ! grep -q x f; then\n  yum install y\nfi\nfor p in a b; do apt install $p; done\nwhile true; do x; done"), @r"
    grep [-q] [x] [f]
    yum [install] [y]
    for [p] [in] [a] [b]
    apt [install] [$p]
    true
    x
    ");
    insta::assert_snapshot!(show("case $x in\n a|b) one ;;\n *) two;;\nesac\nf() {\n three\n}\n( four; five ) | six\n{ seven; } | eight"), @r"
    one
    two
    three
    four
    five
    | six
    seven
    | eight
    ");
}

#[test]
fn substitutions_are_commands_too() {
    insta::assert_snapshot!(show("bash -c \"$(curl -L x)\" && y `date +%s` <(z)\na=(1 2) b\necho $((1+2)) ${x:-$(q)}"), @r#"
    $ curl [-L] [x]
    bash [-c] [$(curl -L x)]
    $ date [+%s]
    $ z
    y [`date +%s`] [<(z)]
    a="" b
    echo [$((1+2))] [${x:-$(q)}]
    "#);
    insta::assert_snapshot!(show("sudo sh -c 'apt-get install vim && echo x > /etc/y'"), @r"
    (sudo) sh [-c] [apt-get install vim && echo x > /etc/y]
    apt-get [install] [vim]
    echo [x] >/etc/y
    ");
}

#[test]
fn here_documents_are_data_unless_a_shell_reads_them() {
    insta::assert_snapshot!(show("cat >f <<EOF && next\napt-get install x\nEOF\nsudo bash <<-'END'\n\tyum install z\n\tEND\nlast"), @r#"
    cat >f <<EOF "apt-get install x\n"
    next
    (sudo) bash <<END "\tyum install z\n"
    last
    yum [install] [z]
    "#);
}

#[test]
fn spans_are_those_of_the_text() {
    let text = "echo ä; sudo  apt-get install 'x y'";
    let script = parse(text);
    let command = simple(&script.commands[1]).unwrap();
    assert_eq!(&text[command.command.span.clone()], "sudo  apt-get install 'x y'");
    assert_eq!(&text[command.name_word.span.clone()], "apt-get");
    assert_eq!(&text[command.arguments[1].span.clone()], "'x y'");
}

#[test]
fn hostile_text_ends() {
    for piece in ["$(", "(", "`", "\"$(", "'", "<<E\n", "${", "case x in ", "a=(", "sh -c '", "<(", "{ ", "$(("] {
        let text = piece.repeat(20_000);
        let _ = parse(&text);
    }
}

proptest::proptest! {
    #[test]
    fn reading_never_panics(text in "[a$(){}`'\"\\\\|&;<>#= \nEäc-]{0,60}") {
        let script = parse(&text);
        for (index, command) in script.commands.iter().enumerate() {
            let _ = (simple(command), script.pipeline(index));
            proptest::prop_assert!(text.get(command.span.clone()).is_some());
            for word in &command.words {
                proptest::prop_assert!(text.get(word.span.clone()).is_some());
                proptest::prop_assert!(script.commands.get(word.inner.clone()).is_some());
            }
        }
    }
}
