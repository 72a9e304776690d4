//! What holds for any text.

use std::path::Path;
use std::time::Instant;

use proptest::prelude::*;

use super::{complaints, expression, parse_expression, parse_file, parse_template, tree};
use crate::template::hcl::syntax::ast::{Body, Item, Span};
use crate::template::hcl::syntax::lexer::{Mode, lex};
use crate::template::hcl::syntax::parser::{MAX_DEPTH, MAX_HEIGHT};
use crate::template::hcl::syntax::token::TokenKind;
use crate::template::source::SourceFile;

/// Pieces of HCL2 that make the parser change its mind.
const ATOMS: &[&str] = &[
    "{",
    "}",
    "[",
    "]",
    "(",
    ")",
    "\"",
    "${",
    "%{",
    "${~",
    "~}",
    "$${",
    "$",
    "%",
    "\\",
    "\\u00e9",
    "<<E\n",
    "<<-E\n",
    "\nE\n",
    "\n",
    "\r\n",
    "\r",
    "\t",
    " ",
    ",",
    "=",
    ":",
    "?",
    ".",
    "...",
    "*",
    "-",
    "!",
    "&&",
    "==",
    "=>",
    "::",
    "a",
    "é",
    "b-c",
    "for",
    "in",
    "if",
    "%{if a}",
    "%{else}",
    "%{endif}",
    "%{for x in y}",
    "%{endfor}",
    "1",
    "1.5e3",
    "#",
    "//",
    "/*",
    "*/",
    ";",
    "'",
    "`",
    "\u{201c}",
    "\u{1f469}\u{200d}\u{1f680}",
    "a = ",
    "b \"c\" {",
    "null",
];

fn any_text() -> impl Strategy<Value = String> {
    prop_oneof![
        prop::collection::vec(prop::sample::select(ATOMS), 0..60).prop_map(|atoms| atoms.concat()),
        any::<String>(),
        mutated(),
    ]
}

/// A template with a few pieces put in and some characters left out.
fn mutated() -> impl Strategy<Value = String> {
    let template = include_str!("../../../tests/templates/golden.pkr.hcl");
    let change = (0..template.len(), prop::sample::select(ATOMS), 0..8_usize);
    prop::collection::vec(change, 1..5).prop_map(move |changes| {
        let mut characters: Vec<char> = template.chars().collect();
        for (at, atom, without) in changes {
            let at = at.min(characters.len());
            let end = (at + without).min(characters.len());
            characters.splice(at..end, atom.chars());
        }
        characters.into_iter().collect()
    })
}

fn spans(body: &Body, found: &mut Vec<Span>) {
    found.push(body.span);
    for item in &body.items {
        match item {
            Item::Attribute(attribute) => {
                found.extend([attribute.name.span, attribute.span, attribute.value.span]);
            }
            Item::Block(block) => {
                found.extend([block.kind.span, block.span]);
                found.extend(block.labels.iter().map(|label| label.span));
                spans(&block.body, found);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text_is_read_or_refused_at_its_characters(text in any_text()) {
        let file = SourceFile::new("t", &text);
        let (body, faults) = parse_file(&file);
        let mut found = Vec::new();
        spans(&body, &mut found);
        for span in found {
            let range = span.start as usize..span.end as usize;
            prop_assert!(file.text.get(range).is_some(), "{span:?} in {text:?}");
        }
        for fault in &faults {
            let (at, end) = (fault.at.clone().unwrap(), fault.end.unwrap());
            prop_assert!((at.line, at.column) <= (end.line, end.column), "{fault:?}");
        }
        let _ = parse_expression(&file);
        let _ = parse_template(&file);
    }

    #[test]
    fn tokens_cover_the_text(text in any_text()) {
        for mode in [Mode::Config, Mode::Template] {
            let (tokens, _) = lex(&text, mode);
            let mut at = 0;
            for token in &tokens {
                let between = &text[at..token.span.start as usize];
                prop_assert!(between.bytes().all(|byte| matches!(byte, b' ' | b'\t')), "{between:?} in {text:?}");
                at = token.span.end as usize;
                prop_assert!(text.is_char_boundary(at));
            }
            prop_assert_eq!(at, text.len());
            prop_assert_eq!(tokens.last().unwrap().kind, TokenKind::EndOfFile);
        }
    }

    #[test]
    fn a_second_fault_is_told_too(first in 0..5_usize, second in 0..5_usize, between in 0..20_usize) {
        let bad = ["a1 = [1 2]\n", "a2 = \"x\n", "a3 = 'x'\n", "a4 = f(\n", "a5 { x = 1, y = 2 }\n"];
        let good: Vec<String> = (0..between).map(|number| format!("b{number} = [{number}]\n")).collect();
        let good = good.concat();
        let text = format!("{}{good}{}", bad[first], bad[second].replace('a', "c"));
        let (_, faults) = parse_file(&SourceFile::new("t", &text));
        let last = u32::try_from(between).unwrap() + 2;
        let told: Vec<u32> = faults.iter().map(|fault| fault.at.as_ref().unwrap().line).collect();
        prop_assert_eq!(told, vec![1, last], "{}", text);
    }
}

#[test]
fn nesting_has_an_end() {
    let depth = MAX_DEPTH as usize - 2;
    for (open, close) in [("[", "]"), ("(", ")"), ("{a=", "}"), ("f(", ")"), ("-", ""), ("a[", "]"), ("\"${", "}\"")] {
        let nested = |times: usize| format!("a = {}1{}\n", open.repeat(times), close.repeat(times));
        // A string takes two levels: its own, and that of the expression in it.
        tree(&nested(depth / 2));
        for times in [MAX_DEPTH as usize, 20_000] {
            let said = complaints(&nested(times));
            assert!(said.contains("more than 128 levels of nesting"), "{open} {said}");
            assert_eq!(said.lines().count(), 1, "{said}");
        }
    }
    let blocks = |times: usize| "a {\n".repeat(times) + &"}\n".repeat(times);
    tree(&blocks(depth));
    assert!(complaints(&blocks(20_000)).contains("levels of nesting"));
    let directives = |times: usize| format!("a = \"{}{}\"\n", "%{if b}".repeat(times), "%{endif}".repeat(times));
    tree(&directives(depth));
    assert!(complaints(&directives(20_000)).contains("levels of %{ }"));
}

#[test]
fn chains_have_an_end() {
    let height = MAX_HEIGHT as usize - 2;
    for link in [" + 1", ".a", "[0]", "[*]", " && b"] {
        let chain = |times: usize| format!("a{}", link.repeat(times));
        expression(&chain(height.min(120)));
        let refused = parse_expression(&SourceFile::new("t", &chain(200_000)));
        assert!(refused.is_err(), "{link}");
    }
    expression(&format!("a{}", " + 1".repeat(height)));
    expression(&format!("[{}1]", "1, ".repeat(100_000)));
}

/// The deepest trees fit the smallest stack that runs the parser: that of a server's worker thread.
#[test]
fn the_stack_is_enough() {
    let texts = [
        "a = ".to_owned() + &"[".repeat(1000),
        "a = ".to_owned() + &"a || b && c == d < e + f * -(".repeat(1000),
        "a = ".to_owned() + &"\"${".repeat(1000),
        "a = ".to_owned() + &"{ a = [for x in y: f(".repeat(1000),
        "a {\n".repeat(1000),
        format!("a = b{}", "[1 + 1 + 1].c[*]".repeat(1000)),
    ];
    let thread = std::thread::Builder::new().stack_size(2 * 1024 * 1024).spawn(move || {
        for text in texts {
            assert!(!complaints(&text).is_empty());
        }
    });
    thread.unwrap().join().unwrap();
}

/// Twice the text takes about twice the time, also where everything is wrong.
#[test]
fn the_time_is_linear() {
    let hostile = [
        "a = [",
        "[",
        "(",
        "{",
        "a = \"${",
        "x\n",
        "]",
        ";",
        "a = 1\n",
        "\"",
        "<<A\n",
        "/*",
        "a = b ? ",
        "${",
        "a {",
        "%{if a}",
        "a = [1 2]\n",
        "a = f(\n",
        "#\n",
        "a.",
        "!",
        "a=1;",
    ];
    for piece in hostile {
        let size = 200_000;
        let text = piece.repeat(size / piece.len());
        let start = Instant::now();
        let _ = parse_file(&SourceFile::new("t", &text));
        let _ = parse_template(&SourceFile::new("t", &text));
        // A quadratic step would take minutes in a debug build.
        assert!(start.elapsed().as_secs() < 10, "{piece:?} took {:?}", start.elapsed());
    }
}

#[test]
fn corpus() {
    let Some(folder) = std::env::var_os("INGOT_CORPUS") else {
        eprintln!("skipped: INGOT_CORPUS is not set");
        return;
    };
    let cases = std::fs::read_to_string(Path::new(&folder).join("cases.jsonl")).unwrap();
    let (mut read, mut wrong) = (0, Vec::new());
    for line in cases.lines() {
        let case: serde_json::Value = serde_json::from_str(line).unwrap();
        let path = case["file"].as_str().unwrap();
        if Path::new(path).extension().is_none_or(|extension| extension != "hcl")
            || (case["exit"] != 0 && case["kind"] != "fmt")
        {
            continue;
        }
        let Ok(text) = std::fs::read_to_string(Path::new(&folder).join(path)) else { continue };
        let (_, faults) = parse_file(&SourceFile::new(path, &text));
        read += 1;
        wrong.extend(faults.iter().map(ToString::to_string));
    }
    eprintln!("{read} files of accepted cases were read");
    assert!(read > 0 && wrong.is_empty(), "{}", wrong.join("\n"));
}
