//! JSON objects as the attributes and blocks of HCL2.

use std::collections::BTreeSet;
use std::fmt::Write;

use super::actions::{Shared, Translator};
use super::text::{Piece, quoted};
use crate::domain::diagnostic::Diagnostic;
use crate::template::hcl::syntax::lexer::is_identifier;
use crate::template::json::hcl::is_component_block;
use crate::template::options::{Content, Entry, Node};

/// A block's text, and the functions in it that stay.
#[derive(Debug, Default)]
pub struct Written {
    pub text: String,
    pub left: BTreeSet<&'static str>,
}

/// Options by name, as Packer sorts them.
#[must_use]
pub fn sorted(entries: &[Entry]) -> Vec<&Entry> {
    let mut sorted: Vec<&Entry> = entries.iter().collect();
    sorted.sort_by(|a, b| a.key.cmp(&b.key));
    sorted
}

/// Writes a block's options: an attribute or blocks each.
pub fn options(entries: &[Entry], translator: &mut Translator<'_, '_>) -> String {
    let mut text = String::new();
    for entry in sorted(entries) {
        option(&entry.key, &entry.node, translator, &mut text);
    }
    text
}

/// Writes one option.
pub fn option(key: &str, node: &Node, translator: &mut Translator<'_, '_>, into: &mut String) {
    if !is_identifier(key) {
        let fault = Diagnostic::error(format!("{key:?} can't be the name of an option in HCL2"));
        let hint = "take it out; a name is letters, digits, _ and -";
        translator.shared.faults.push(fault.with_detail(hint).at(Some(node.at.clone())));
        return;
    }
    match &node.content {
        Content::Map(entries) if is_block(key, entries) => block(key, entries, translator, into),
        Content::List(items) if items.is_empty() => {}
        Content::List(items) if items.iter().all(|item| matches!(item.content, Content::Map(_))) => {
            for item in items {
                if let Content::Map(entries) = &item.content {
                    block(key, entries, translator, into);
                }
            }
        }
        Content::String(text) if LISTS.contains(&key) => {
            if !text.is_empty() {
                let _ = writeln!(into, "{key} = {}", list(text, translator));
            }
        }
        Content::Number(_) | Content::Bool(_) if LISTS.contains(&key) => {
            let value = value(node, translator);
            let _ = writeln!(into, "{key} = [{value}]");
        }
        _ => {
            let value = value(node, translator);
            let _ = writeln!(into, "{key} = {value}");
        }
    }
}

/// Options that are lists of strings or numbers. JSON takes a text with commas for them, HCL2 does not.
const LISTS: &[&str] = &[
    "Action",
    "Resource",
    "ami_groups",
    "ami_org_arns",
    "ami_ou_arns",
    "ami_product_codes",
    "ami_regions",
    "ami_users",
    "ansible_env_vars",
    "environment_vars",
    "extra_arguments",
    "inline",
    "only_on",
    "owners",
    "policy_arns",
    "scripts",
    "security_group_ids",
    "snapshot_groups",
    "snapshot_users",
    "sources",
    "spot_instance_types",
    "ssh_ciphers",
    "ssh_key_exchange_algorithms",
    "ssh_local_tunnels",
    "ssh_remote_tunnels",
    "temporary_security_group_source_cidrs",
    "transitive_tag_keys",
    "valid_exit_codes",
];

/// A text with commas as a list. What is empty is no element: a variable's empty default is an empty list, as in JSON.
fn list(text: &str, translator: &mut Translator<'_, '_>) -> String {
    let pieces = translator.pieces(text);
    if pieces.iter().any(|piece| matches!(piece, Piece::Call(_))) {
        return format!("[{}]", quoted(&pieces));
    }
    match pieces.as_slice() {
        [Piece::Code(code)] => format!("compact(split(\",\", {code}))"),
        pieces if pieces.iter().any(|piece| matches!(piece, Piece::Code(_))) => {
            format!("compact(split(\",\", {}))", quoted(pieces))
        }
        pieces => {
            let text: String = pieces
                .iter()
                .filter_map(|piece| match piece {
                    Piece::Text(text) => Some(text.as_str()),
                    _ => None,
                })
                .collect();
            strings(&text.split(',').map(str::to_owned).collect::<Vec<_>>())
        }
    }
}

fn block(key: &str, entries: &[Entry], translator: &mut Translator<'_, '_>, into: &mut String) {
    let _ = write!(into, "{key} {{\n{}}}\n", options(entries, translator));
}

/// Whether an object is a block. JSON does not tell; the name does for amazon's, and for others an object with more than
/// plain values in it is one, as Packer guesses.
fn is_block(key: &str, entries: &[Entry]) -> bool {
    if key == "override" {
        return false;
    }
    let plain = |node: &Node| {
        matches!(node.content, Content::String(_) | Content::Number(_) | Content::Bool(_) | Content::Null)
    };
    let others = ["linux_options", "network_interface", "shared_image_gallery"];
    is_component_block(key) || others.contains(&key) || entries.iter().any(|entry| !plain(&entry.node))
}

/// A value as an expression.
pub fn value(node: &Node, translator: &mut Translator<'_, '_>) -> String {
    match &node.content {
        Content::Null | Content::Unknown => "null".to_owned(),
        Content::Bool(flag) => flag.to_string(),
        Content::Number(number) => number.to_string(),
        Content::String(text) | Content::Late(text) | Content::LateCollection(text) => quoted(&translator.pieces(text)),
        Content::List(items) => {
            let items: Vec<String> = items.iter().map(|item| value(item, translator)).collect();
            format!("[{}]", items.join(", "))
        }
        Content::Map(entries) if entries.is_empty() => "{}".to_owned(),
        Content::Map(entries) => {
            let mut text = String::from("{\n");
            for entry in sorted(entries) {
                let value = value(&entry.node, translator);
                let _ = writeln!(text, "{} = {value}", object_key(&entry.key, translator));
            }
            text.push('}');
            text
        }
    }
}

fn object_key(key: &str, translator: &mut Translator<'_, '_>) -> String {
    if is_identifier(key) {
        return key.to_owned();
    }
    quoted(&translator.pieces(key))
}

/// A string as an expression.
#[must_use]
pub fn string(text: &str) -> String {
    quoted(&[Piece::Text(text.to_owned())])
}

/// A list of strings as an expression.
#[must_use]
pub fn strings(texts: &[String]) -> String {
    let texts: Vec<String> = texts.iter().map(|text| string(text)).collect();
    format!("[{}]", texts.join(", "))
}

/// Writes something with a translator of its own.
pub fn with<'n>(
    shared: &mut Shared<'n>,
    place: super::actions::Place,
    write: impl FnOnce(&mut Translator<'_, 'n>) -> String,
) -> Written {
    let mut translator = Translator::new(shared, place);
    let text = write(&mut translator);
    Written { text, left: translator.left }
}

impl Written {
    /// The block with comments on what stays in it.
    #[must_use]
    pub fn commented(self) -> String {
        if self.left.is_empty() {
            return self.text;
        }
        let comments: String = self.left.iter().map(|name| super::actions::comment(name)).collect();
        let (space, text) = match self.text.strip_prefix('\n') {
            Some(text) => ("\n", text),
            None => ("", self.text.as_str()),
        };
        format!("{space}{comments}{text}")
    }
}
