//! Packer's documented examples, where `INGOT_CORPUS` names the folder that has them.

use chrono::DateTime;
use indexmap::IndexMap;
use uuid::Uuid;

use crate::domain::bundle::Bundle;
use crate::template::Request;
use crate::template::hcl::eval::{Evaluator, Globals};
use crate::template::hcl::parse::expression;
use crate::template::print::printed;
use crate::template::runtime::Runtime;
use crate::template::source::SourceFile;
use crate::template::value::Value;

fn evaluate(text: &str) -> Result<Value, String> {
    let (nothing, variables, bundle) = (IndexMap::new(), IndexMap::new(), Bundle::default());
    let request = Request {
        bundle: &bundle,
        variables: &variables,
        var_files: &[],
        env: &nothing,
        only: &[],
        except: &[],
        git_sha: None,
        now: DateTime::UNIX_EPOCH,
        run_id: Uuid::nil(),
        clean_image: true,
        data: crate::template::DataMode::Unknown,
    };
    let runtime = Runtime::new(&request);
    let source = SourceFile::new("x", text);
    let globals = Globals::new();
    let expr = expression(&source).map_err(|diagnostic| diagnostic.to_string())?;
    Evaluator::new(&source, &runtime, &globals).value(&expr).map_err(|diagnostic| diagnostic.to_string())
}

#[test]
fn documented_examples() {
    let Some(folder) = std::env::var_os("INGOT_CORPUS") else {
        eprintln!("skipped: INGOT_CORPUS is not set");
        return;
    };
    let text = std::fs::read_to_string(std::path::Path::new(&folder).join("functions.jsonl")).unwrap();
    let (mut agreed, mut different) = (0, Vec::new());
    for line in text.lines() {
        let case: serde_json::Value = serde_json::from_str(line).unwrap();
        let (expr, expected) = (case["expr"].as_str().unwrap(), case["result"].as_str().unwrap());
        match evaluate(expr) {
            // The recorded results have lost the line break at their end.
            Ok(value) if printed(&value).trim_end() == expected => agreed += 1,
            Ok(value) => different.push(format!("{expr}: {} instead of {expected}", printed(&value))),
            Err(error) => different.push(format!("{expr}: {error}")),
        }
    }
    eprintln!("{agreed} of {} documented examples agree", agreed + different.len());
    assert!(different.is_empty(), "{}", different.join("\n"));
    assert!(agreed > 0);
}

#[test]
fn functions() {
    for (expr, expected) in [
        ("format(\"%05.1f|%-4s|%+d|%x|%q|%%\", 3.14159, \"ab\", 5, 255, \"q\")", "003.1|ab  |+5|ff|\"q\"|%"),
        ("regex(\"(\\\\d+)-(\\\\d+)\", \"a 12-34\")[1]", "34"),
        ("regex_replace(\"2024-01-02T03:04:05Z\", \"[- TZ:]\", \"\")", "20240102030405"),
        ("replace(\"a/1/\", \"/1/\", \"\")", "a"),
        ("cidrsubnet(\"10.0.0.0/16\", 8, 2)", "10.0.2.0/24"),
        ("cidrhost(\"10.0.0.0/24\", -1)", "10.0.0.255"),
        ("formatdate(\"EEEE, D MMMM YYYY 'at' h''\", \"2018-01-02T23:12:01Z\")", "Tuesday, 2 January 2018 at 23"),
        ("lookup({ a = 1 }, \"b\", \"d\")", "d"),
        ("jsonencode({ b = [1, null], a = \"<x>\" })", "{\"a\":\"\\u003cx\\u003e\",\"b\":[1,null]}"),
        ("jsondecode(\"{\\\"a\\\": [1.5]}\").a[0]", "1.5"),
        ("merge({ a = 1 }, null, { a = 2 }).a", "2"),
        ("title(\"hello big-world\")", "Hello Big-World"),
        ("urlencode(\"a b/ü\")", "a+b%2F%C3%BC"),
        ("timeadd(\"2017-11-22T00:00:00Z\", \"-1h\")", "2017-11-21T23:00:00Z"),
        ("legacy_isotime(\"2006-01-02\")", "1970-01-01"),
        ("substr(\"hello\", -3, 2)", "ll"),
        ("parseint(\"ff\", 16)", "255"),
        ("sum([1, 2.5])", "3.5"),
    ] {
        assert_eq!(evaluate(expr).map(|value| printed(&value)).as_deref(), Ok(expected), "{expr}");
    }
}
