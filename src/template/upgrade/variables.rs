//! The `variable` and `local` blocks.

use std::fmt::Write;

use super::actions::{NEEDS_LOCAL, Place, Shared, environment_variable};
use super::body::{self, string, value};
use crate::template::json::template::JsonTemplate;
use crate::template::legacy::ast::{self, Operand};
use crate::template::legacy::parse::parse;
use crate::template::options::{Content, Entry};

/// Blocks as text.
#[derive(Debug, Default)]
pub struct Variables {
    pub declared: String,
    pub locals: String,
}

/// Writes a template's variables, sorted by name; those that need functions become locals.
pub fn variables(template: &JsonTemplate, shared: &mut Shared<'_>) -> Variables {
    let entries = body::sorted(&template.variables);
    shared.locals = entries.iter().filter(|entry| is_local(entry)).map(|entry| entry.key.clone()).collect();
    let mut result = Variables::default();
    let mut plain = body::Written::default();
    let mut declared: Vec<(String, String)> = Vec::new();
    for entry in entries {
        let name = shared.names.variables.get(&entry.key).cloned().unwrap_or_default();
        let sensitive = template.sensitive.contains(&entry.key);
        if !is_local(entry) {
            declared.push((entry.key.clone(), variable(entry, &name, sensitive, shared)));
            continue;
        }
        let written = body::with(shared, Place::Local, |translator| value(&entry.node, translator));
        if sensitive {
            let text = format!("\nlocal {} {{\nsensitive = true\nexpression = {}\n}}\n", string(&name), written.text);
            result.locals.push_str(&body::Written { text, left: written.left }.commented());
        } else {
            let _ = writeln!(plain.text, "{name} = {}", written.text);
            plain.left.extend(written.left);
        }
    }
    for name in &shared.names.undeclared {
        let identifier = shared.names.variables.get(name).cloned().unwrap_or_default();
        declared.push((name.clone(), format!("\nvariable {} {{\ntype = string\n}}\n", string(&identifier))));
    }
    declared.sort_by(|a, b| a.0.cmp(&b.0));
    result.declared = declared.into_iter().map(|(_, text)| text).collect();
    if !plain.text.is_empty() {
        plain.text = format!("\nlocals {{\n{}}}\n", plain.text);
        result.locals.push_str(&plain.commented());
    }
    result
}

fn variable(entry: &Entry, name: &str, sensitive: bool, shared: &mut Shared<'_>) -> String {
    let mut text = format!("\nvariable {} {{\ntype = string\n", string(name));
    if !matches!(entry.node.content, Content::Null) {
        let default = body::with(shared, Place::Default, |translator| value(&entry.node, translator));
        let _ = writeln!(text, "default = {}", default.text);
    }
    if sensitive {
        text.push_str("sensitive = true\n");
    }
    text.push_str("}\n");
    text
}

/// Variables for what locals take from the environment.
#[must_use]
pub fn environment(shared: &Shared<'_>) -> String {
    let blocks = shared.environment.iter().map(|name| {
        let (variable, default) = (string(&environment_variable(name)), string(name));
        format!("\nvariable {variable} {{\ntype = string\ndefault = \"${{env({default})}}\"\n}}\n")
    });
    blocks.collect()
}

/// Whether a default needs more than a variable's default can do.
fn is_local(entry: &Entry) -> bool {
    let Content::String(text) = &entry.node.content else { return false };
    let Ok(nodes) = parse(text) else { return false };
    let mut found = false;
    ast::pipelines(&nodes, &mut |pipeline| {
        pipeline.visit(&mut |operand| {
            found |= matches!(operand, Operand::Function(name) if NEEDS_LOCAL.contains(&name.as_str()));
        });
    });
    found
}
