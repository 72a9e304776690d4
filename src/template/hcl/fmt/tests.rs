//! The formatter's tests: the corpus, the rules one by one, and what holds for any text.

use std::path::Path;

use proptest::prelude::*;
use sha2::{Digest, Sha256};

use super::{format, unified_diff};

fn formatted(text: &str) -> String {
    match format("t.pkr.hcl", text) {
        Ok(formatted) => formatted,
        Err(faults) => panic!("{text}\n{faults:?}"),
    }
}

#[test]
fn spaces_and_cells() {
    insta::assert_snapshot!(formatted("a=1 # one\nlonger   =   [ 1,2 ,3 ]// two\n\nb   \"c\"{\nd=f( x ,y... )\n   e  =a . b [ 0 ]\n}\n"), @r#"
    a      = 1         # one
    longer = [1, 2, 3] // two

    b "c" {
      d = f(x, y...)
      e = a.b[0]
    }
    "#);
    insta::assert_snapshot!(formatted("a = - 1\nb = x - 1\nc = ! d\ne = x==- 1?[ ]:{}\ng={a=1}\nh = [ for x in [ y ] : x ]\ni = \"${ a }${ {b=1} }\"\nj = n :: f()\n"), @r#"
    a = -1
    b = x - 1
    c = !d
    e = x == -1 ? [] : {}
    g = { a = 1 }
    h = [for x in [y] : x]
    i = "${a}${ { b = 1 } }"
    j = n::f()
    "#);
}

#[test]
fn indentation() {
    insta::assert_snapshot!(formatted("a {\nb = [{\nc = 1\n}, {\nd = 2\n}]\n/* e\n   f */\n# g\n\n\nh = f(1,\n2)\n}\n"), @"
    a {
      b = [{
        c = 1
        }, {
        d = 2
      }]
      /* e
       f */
      # g


      h = f(1,
      2)
    }
    ");
    insta::assert_snapshot!(formatted("a {\nb = <<-EOT\n x  =  1\n   EOT\nc  = 1\n}\n"), @"
    a {
      b = <<-EOT
     x  =  1
       EOT
      c = 1
    }
    ");
}

#[test]
fn line_ends_are_kept() {
    assert_eq!(formatted("\u{feff}a  = 1\r\n# b\r\n  \r\nc=2"), "a = 1\r\n# b\r\n\r\nc = 2");
    assert_eq!(formatted("é\u{301}=1 # x\nab = 2 # y\n"), "é\u{301}  = 1 # x\nab = 2 # y\n");
    assert_eq!(formatted(""), "");
    assert!(format("t.pkr.hcl", "a = \n").unwrap_err()[0].to_string().starts_with("t.pkr.hcl:1:5: "));
}

#[test]
fn differences() {
    let old = "a  =  1\nb = 2\nc = 3\nd = 4\ne = 5\nf = 6\ng = 7\nh = 8\n\ni  = 9";
    insta::assert_snapshot!(unified_diff("x/t.pkr.hcl", old, &formatted(old)), @r"
    --- old/x/t.pkr.hcl
    +++ new/x/t.pkr.hcl
    @@ -1,4 +1,4 @@
    -a  =  1
    +a = 1
     b = 2
     c = 3
     d = 4
    @@ -7,4 +7,4 @@
     g = 7
     h = 8
     
    -i  = 9
    \ No newline at end of file
    +i = 9
    \ No newline at end of file
    ");
    assert_eq!(unified_diff("t", "a = 1\n", "a = 1\n"), "");

    // An empty line in a large change is part of it.
    let old = "a {\n b = 1\n c = 2\n d = 3\n}\n\n".repeat(7);
    let diff = unified_diff("t", &old, &formatted(&old));
    assert_eq!(diff.lines().filter(|line| line.starts_with('+')).count(), 22, "{diff}");
    // What would take long is compared by line number.
    let (old, new) = ("a\nb\nc\n".repeat(20_000), "b\na\nc\nd\n".repeat(15_000));
    let diff = unified_diff("t", &old, &new);
    assert_eq!(patched(&old, &diff), new);
}

/// The new lines, from the old ones and their differences.
fn patched(old: &str, diff: &str) -> String {
    let old: Vec<&str> = old.split_inclusive('\n').collect();
    let mut new = String::new();
    let mut at = 0;
    for line in diff.split_inclusive('\n').skip(2) {
        if let Some(place) = line.strip_prefix("@@ -") {
            let range = place.split(' ').next().unwrap();
            let (start, length) = range.split_once(',').unwrap_or((range, "1"));
            let start: usize = start.parse().unwrap();
            let start = if length == "0" { start } else { start - 1 };
            new.extend(old[at..start].iter().copied());
            at = start;
        } else if let Some(added) = line.strip_prefix('+') {
            new.push_str(added);
        } else {
            assert_eq!(&line[1..], old[at]);
            at += 1;
            new.push_str(line.strip_prefix(' ').unwrap_or_default());
        }
    }
    new.extend(old[at..].iter().copied());
    new
}

/// What `packer fmt` 1.6.6 makes of the corpus' cases, as SHA-256. The result that the corpus itself has belongs to none of
/// its unformatted files.
const PACKER: [(u64, &str); 4] = [
    (204, "9624c6efe111d3aefbfef4e90d79490e1a62f71146d3d87cca4cef88f422c8f2"),
    (205, "c0fd1eee9b35ab8d07f6f137b87c7163066696e6f18f8de83e83888974ed1529"),
    (206, "aa13b5b4a474dd03f1e891ef1c2637dafc27e881c057fc4f7894ad5742cb7391"),
    (207, "b1d71343e0970e40946038698fb238b21344b31a2cc94f0f1d05360c5b65932b"),
];

#[test]
fn corpus() {
    let Some(folder) = std::env::var_os("INGOT_CORPUS") else {
        eprintln!("skipped: INGOT_CORPUS is not set");
        return;
    };
    let cases = std::fs::read_to_string(Path::new(&folder).join("cases.jsonl")).unwrap();
    let (mut count, mut wrong) = (0, Vec::new());
    for line in cases.lines() {
        let case: serde_json::Value = serde_json::from_str(line).unwrap();
        if case["kind"] != "fmt" {
            continue;
        }
        let path = Path::new(&folder).join(case["file"].as_str().unwrap());
        let text = std::fs::read_to_string(&path).unwrap();
        let result = formatted(&text);
        let digest = hex::encode(Sha256::digest(&result));
        let same = PACKER.iter().any(|(id, expected)| case["id"] == *id && digest == *expected);
        // With -check, exit 3 is that something would change.
        let checked = case["args"][0] != "-check=true" || (result != text) == (case["exit"] == 3);
        count += 1;
        if !(same && checked) {
            wrong.push(format!("{} {}", case["id"], path.display()));
        }
    }
    eprintln!("fmt: {} of {count} cases byte for byte", count - wrong.len());
    assert!(count > 0 && wrong.is_empty(), "{wrong:#?}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn differences_make_the_new_text(
        old in prop::collection::vec(0..5_usize, 0..60),
        new in prop::collection::vec(0..6_usize, 0..60),
    ) {
        let text = |lines: &[usize]| lines.iter().map(|line| ["\n", "a\n", "b\n", "c\n", "d\n", "e\n"][*line]).collect::<String>();
        let (old, new) = (text(&old), text(&new));
        let diff = unified_diff("t", &old, &new);
        prop_assert_eq!(patched(&old, &diff), new, "{}", diff);
    }

    /// White space put around, formatted text stays as it is, and says the same as before.
    #[test]
    fn formatting_again_changes_nothing(seed in prop::collection::vec((0..2000_usize, 0..4_usize), 0..40)) {
        let mut text = include_str!("../../tests/templates/golden.pkr.hcl").to_owned();
        for (at, what) in seed {
            let blank: Vec<usize> = text.match_indices([' ', '=', ',']).map(|(at, _)| at).collect();
            let at = blank[at % blank.len()];
            text.insert_str(at, ["  ", " ", "\t", " /* é */ "][what]);
        }
        if let Ok(once) = format("t", &text) {
            let words = |text: &str| text.split_whitespace().collect::<String>();
            prop_assert_eq!(words(&once), words(&text));
            prop_assert_eq!(once.lines().count(), text.lines().count());
            // A comment in front of an = moves its column once more, as in packer.
            if !text.contains("/*") {
                prop_assert_eq!(format("t", &once).unwrap(), once);
            }
        }
    }
}
