//! docs/amazon-ebs.md against the list of Packer's options and against the decoder.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::{Given, lines, with_options};

const OPTIONS: &str = include_str!("../../../tests/amazon_ebs_options.tsv");
const DOCUMENT: &str = include_str!("../../../docs/amazon-ebs.md");

/// One option of Packer's.
struct Row<'a> {
    table: &'a str,
    name: &'a str,
    with: String,
    without: String,
}

fn rows() -> Vec<Row<'static>> {
    let rows = OPTIONS.lines().filter(|line| !line.starts_with('#'));
    let rows = rows.map(|line| {
        let fields: Vec<&str> = line.split('\t').collect();
        let [table, name, with, without] = fields.as_slice() else { panic!("four fields: {line}") };
        Row { table, name, with: with.replace("\\n", "\n"), without: without.replace("\\n", "\n") }
    });
    rows.collect()
}

/// (table, option, what it says) of the document, in order.
fn documented() -> Vec<(String, String, String)> {
    let mut found = Vec::new();
    let mut table = "";
    for line in DOCUMENT.lines() {
        if let Some(title) = line.strip_prefix("## ") {
            table = title;
        }
        let Some(row) = line.strip_prefix("| `") else { continue };
        let cells: Vec<&str> = row.trim_end_matches(" |").split(" | ").collect();
        let [name, verdict, text] = cells.as_slice() else { panic!("three cells: {line}") };
        assert!(!text.trim().is_empty(), "{line}");
        found.push((table.to_owned(), name.trim_end_matches('`').to_owned(), (*verdict).to_owned()));
    }
    found
}

/// A private key without a passphrase, as far as a template can tell.
pub(super) fn key() -> String {
    let body = STANDARD.encode(b"openssh-key-v1\0\0\0\0\x04none and so on");
    format!("-----BEGIN OPENSSH PRIVATE KEY-----\n{body}\n-----END OPENSSH PRIVATE KEY-----\n")
}

/// A source with these options, which count before the ones that every source has.
fn source(options: &str) -> Given {
    let mut given = with_options(options);
    let text = String::from_utf8(given.files[0].1.clone()).unwrap();
    let own = |name: &str| options.lines().any(|line| line.starts_with(&format!("{name} = ")));
    let (head, rest) = text.split_at(text.find("  ssh_username").unwrap());
    let keep = |line: &&str| !line.trim().split_once(" = ").is_some_and(|(name, _)| own(name));
    let head: Vec<&str> = head.lines().filter(keep).collect();
    let rest = if own("ssh_username") { rest.replacen("  ssh_username = \"u\"\n", "", 1) } else { rest.to_owned() };
    given.files[0].1 = format!("{}\n{rest}", head.join("\n")).into_bytes();
    given.files.push(("data.bin".to_owned(), vec![0x1f, 0x8b, 0xff]));
    given.file("id_ed25519", &key()).file("id_ed25519-cert.pub", "ssh-ed25519-cert-v01@openssh.com AAAA x")
}

fn configuration(options: &str) -> Result<Value, String> {
    let evaluated = source(options).run().map_err(|complaints| lines(&complaints))?;
    let mut builder = evaluated.builds.into_iter().next().unwrap().builder;
    builder.locations_mut().clear();
    Ok(serde_json::to_value(builder).unwrap())
}

#[test]
fn the_document_has_a_row_for_each_option() {
    let documented = documented();
    let listed: BTreeSet<(&str, &str)> = rows().iter().map(|row| (row.table, row.name)).collect();
    let written: BTreeSet<(&str, &str)> =
        documented.iter().map(|(table, name, _)| (table.as_str(), name.as_str())).collect();
    assert_eq!(documented.len(), written.len(), "no row twice");
    assert_eq!(listed, written);
    assert!(listed.len() > 200, "{}", listed.len());
}

#[test]
fn each_option_does_what_its_row_says() {
    let documented = documented();
    let mut faults = Vec::new();
    for row in rows() {
        let said = documented.iter().find(|(table, name, _)| (table.as_str(), name.as_str()) == (row.table, row.name));
        let Some((_, _, verdict)) = said else { continue };
        let with = configuration(&row.with);
        let fault = match (verdict.as_str(), &with) {
            ("refused", Ok(_)) => Some("is not refused".to_owned()),
            ("refused", Err(complaints)) => refusal_fault(&row, complaints),
            (_, Err(complaints)) => Some(format!("does not work: {complaints}")),
            (verdict, Ok(with)) => match configuration(&row.without) {
                Err(complaints) => Some(format!("the text without it does not work: {complaints}")),
                // What says nothing says so.
                Ok(without) if verdict != "works" && *with == without => None,
                Ok(_) if verdict != "works" => Some(format!("{verdict:?} changes something")),
                Ok(without) if *with == without => Some("changes nothing".to_owned()),
                Ok(_) => None,
            },
        };
        faults.extend(fault.map(|fault| format!("{}: {} {fault}", row.table, row.name)));
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// The message must name the option, say that it is refused, and what to do instead.
fn refusal_fault(row: &Row<'_>, complaints: &str) -> Option<String> {
    let refuses = |line: &&str| line.contains("can't be used here: ") || line.contains("is not supported yet: ");
    let refusals: Vec<&str> = complaints.lines().filter(refuses).collect();
    let [refusal] = refusals.as_slice() else { return Some(format!("is refused with {complaints}")) };
    let named = refusal.contains(row.name) || refusal.contains(row.table);
    let alternative = refusal.rsplit_once("here: ").or(refusal.rsplit_once("yet: ")).map(|(_, text)| text);
    (!named || alternative.is_none_or(|text| text.len() < 15)).then(|| format!("is refused with {refusal}"))
}

#[test]
fn an_empty_value_says_the_same_as_none() {
    let plain = configuration("").unwrap();
    for row in rows().iter().filter(|row| !row.with.contains('{') && !row.with.contains('\n')) {
        let name = row.with.split_once(" = ").unwrap().0;
        if ["region", "ami_name", "instance_type", "source_ami", "ssh_username"].contains(&name) {
            continue;
        }
        let empty = configuration(&format!("{name} = null"));
        assert_eq!(empty.as_ref(), Ok(&plain), "{name}");
    }
}
