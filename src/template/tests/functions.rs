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

/// Made for this test only.
const KEY: &str = include_str!("functions/key.pem");
const CIPHER: &str = "GtHCib5Ytund+5mX4A6LGdZCBTASh/walb2Tx4tL5aA2ndK8h7pja/H5wlNdMrVUGPuQiOXLFE2W403P8VZmQ+bfRxQk8Y0If4/HTArH+IeyVjdzD9SplosUUqJwN0S0vMmt/DcWAA4DCPEwjpkAdV0IHMrNthkWLoccCFNmLcc=";

fn evaluate(text: &str) -> Result<Value, String> {
    let (nothing, variables, bundle) = (IndexMap::new(), IndexMap::new(), Bundle::default());
    let request = Request {
        bundle: &bundle,
        variables: &variables,
        var_files: &[],
        env: &nothing,
        default_region: None,
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

/// Functions that no Packer of Debian's has, by their documentation.
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
        ("sum([1, \"2.5\"])", "3.5"),
        ("startswith(\"abc\", \"ab\") && endswith(\"abc\", \"bc\") && strcontains(\"abc\", \"b\")", "true"),
        (
            "[alltrue([]), alltrue([true, null]), anytrue([null, \"true\"]), anytrue([])]",
            "[\n  true,\n  false,\n  true,\n  false,\n]",
        ),
        ("index([1, \"1\"], \"1\")", "1"),
        ("element([1, 2], 3)", "2"),
        ("regex(\"[a-z]+\", \"53453453.345345aaabbbccc23454\")", "aaabbbccc"),
        ("regex(\"(?P<y>\\\\d+)-(?P<m>\\\\d+)?\", \"2019-\")", "{\n  \"y\" = \"2019\"\n}"),
        ("regexall(\"[a-z]+\", \"1234abcd5678efgh9\")", "[\n  \"abcd\",\n  \"efgh\",\n]"),
        ("legacy_strftime(\"%Y-%m-%d %H:%M:%S %Z %p\")", "1970-01-01 00:00:00 UTC AM"),
        ("textencodebase64(\"Hello\", \"UTF-16LE\")", "SABlAGwAbABvAA=="),
        ("textencodebase64(\"H\", \"UTF-16\")", "/v8ASA=="),
        ("textencodebase64(\"é\", \"ISO-8859-1\")", "6Q=="),
        ("textdecodebase64(\"SABlAGwAbABvAA==\", \"utf-16le\")", "Hello"),
        ("textdecodebase64(textencodebase64(\"łż\", \"windows-1250\"), \"windows-1250\")", "łż"),
        ("rfc3339_parse(\"2023-07-25T23:43:16+02:00\").unix", "1690321396"),
        ("rfc3339_parse(\"2023-07-25 23:43:16.5Z\").weekday_name", "Tuesday"),
        (
            "join(\"-\", [for k in [\"iso_year\", \"iso_week\", \"year_day\", \"month_name\"] : unix_timestamp_parse(1690321396)[k]])",
            "2023-30-206-July",
        ),
        ("unix_timestamp_parse(1690321396).rfc3339", "2023-07-25T21:43:16Z"),
        ("rsadecrypt(CIPHER, KEY)", "secret text"),
        ("timestamp()", "1970-01-01T00:00:00Z"),
        ("merge(convert({ a = 1 }, map(number)), convert({ b = 2 }, map(number)))", "{\n  \"a\" = 1\n  \"b\" = 2\n}"),
    ] {
        let expr = expr.replace("KEY", &format!("{KEY:?}")).replace("CIPHER", &format!("{CIPHER:?}"));
        assert_eq!(evaluate(&expr).map(|value| printed(&value)).as_deref(), Ok(expected), "{expr}");
    }
}

#[test]
fn functions_whose_results_vary() {
    let text = |expr: &str| evaluate(expr).map(|value| printed(&value)).unwrap();
    let hash = text("bcrypt(\"secret\", 4)");
    assert!(hash.starts_with("$2a$04$") && bcrypt::verify("secret", &hash).unwrap(), "{hash}");
    assert_eq!(hash, text("bcrypt(\"secret\", 4)"), "an evaluation can be repeated");
    let uuid = text("uuidv4()");
    assert_eq!(uuid::Uuid::parse_str(&uuid).unwrap().get_version_num(), 4);
    let zipped = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, text("base64gzip(\"a text\")"));
    let mut unzipped = String::new();
    let mut reader = flate2::read::GzDecoder::new(zipped.as_deref().unwrap());
    std::io::Read::read_to_string(&mut reader, &mut unzipped).unwrap();
    assert_eq!(unzipped, "a text");
}

#[test]
fn what_is_wrong_with_a_call() {
    let calls = [
        "upper()",
        "upper(\"a\", \"b\")",
        "join(\",\", [\"a\"], [null])",
        "substr(\"a\", \"b\", 1)",
        "max([1, \"x\"]...)",
        "lookup({ a = 1 }, \"a\")",
        "vault(\"secret/data/x\", \"y\")",
        "aws_secretsmanager(\"x\")",
        "a::b(1)",
        "bcrypt(\"x\", 31)",
        "regex(\"(a)(?P<n>b)\", \"ab\")",
        "file(\"../x\")",
        "pathexpand(\"~/x\")",
        "rsadecrypt(\"aGk=\", \"key\")",
        "textencodebase64(\"ł\", \"latin1\")",
        "env(\"HOME\")",
    ];
    let faults: Vec<String> = calls.iter().map(|call| evaluate(call).unwrap_err()).collect();
    insta::assert_snapshot!(faults.join("\n"), @r#"
    x:1:1: upper: it takes 1 argument, str is missing
    x:1:12: upper: it takes 1 argument, 2 are given
    x:1:18: join: element 0 is null
    x:1:13: substr: offset: a number is needed, "b" is none
    x:1:5: max: numbers: a number is needed, "x" is none
    x:1:1: lookup: it takes 3 arguments, default is missing
    x:1:1: vault: it can't be used: templates are read without a network: give the value as a sensitive variable, or keep it in Secrets Manager and use data "amazon-secretsmanager"
    x:1:1: aws_secretsmanager: it can't be used: templates are read without a network: read the secret with data "amazon-secretsmanager" "NAME" { name = … }, or give it as a sensitive variable
    x:1:1: a::b: Packer's functions have no namespaces
    x:1:1: bcrypt: the template needs too much work to evaluate (more than 3,000,000 steps)
    x:1:7: regex: either all groups of a pattern have names or none
    x:1:6: file: "../x" leaves the template's folder; a file above it comes along when it is there and is named without variables; check the path, or copy the file into the folder
    x:1:12: pathexpand: there is no home folder here: paths stay inside the template's bundle
    x:1:20: rsadecrypt: this is no private key that begins with -----BEGIN RSA PRIVATE KEY-----
    x:1:18: textencodebase64: the text holds characters that ISO-8859-1 can't represent
    x:1:1: env(…) can only be used in the default of a variable: declare a variable with this default and use var.NAME
    "#);
}
