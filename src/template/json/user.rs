//! User variables of JSON templates: defaults, overrides, and references among each other.

use indexmap::IndexMap;

use super::template::JsonTemplate;
use crate::domain::diagnostic::{Diagnostic, Hint};
use crate::template::hcl::variables::add_sensitive;
use crate::template::legacy::ast;
use crate::template::legacy::early::{self, Early, VARIABLE};
use crate::template::legacy::parse::parse;
use crate::template::options::Content;
use crate::template::runtime::Runtime;
use crate::template::source::{SourceFile, did_you_mean};
use crate::template::value::Value;
use crate::template::{Request, VariableValue, var_files};

/// Evaluated user variables.
#[derive(Debug, Default)]
pub struct UserVariables {
    pub values: IndexMap<String, String>,
    pub report: Vec<VariableValue>,
    pub sensitive_values: Vec<String>,
}

/// Evaluates a template's variables: default, then files, then the request.
pub fn evaluate(
    template: &JsonTemplate,
    source: &SourceFile,
    request: &Request<'_>,
    runtime: &Runtime<'_>,
    complaints: &mut Vec<Diagnostic>,
) -> UserVariables {
    let (raw, given) = raw_values(template, request, runtime, complaints);
    let values = resolve(template, source, &raw, runtime, complaints);
    let mut result = UserVariables::default();
    for name in template.variables.iter().map(|entry| &entry.key) {
        let Some(value) = values.get(name) else { continue };
        let sensitive = template.sensitive.contains(name);
        if sensitive {
            add_sensitive(&Value::string(value.as_str()), 1, &mut result.sensitive_values);
        }
        result.report.push(VariableValue {
            name: name.clone(),
            type_name: "string".to_owned(),
            value: serde_json::Value::String(value.clone()),
            sensitive,
            is_default: !given.contains(name),
        });
    }
    result.values = values;
    result
}

/// Each declared variable's text before its actions are rendered, and which come from outside.
fn raw_values(
    template: &JsonTemplate,
    request: &Request<'_>,
    runtime: &Runtime<'_>,
    complaints: &mut Vec<Diagnostic>,
) -> (IndexMap<String, String>, Vec<String>) {
    let declared = |name: &str| template.variables.iter().any(|entry| entry.key == name);
    let mut raw = IndexMap::new();
    let mut given = Vec::new();
    for entry in &template.variables {
        match &entry.node.content {
            Content::Null => {}
            Content::String(text) => drop(raw.insert(entry.key.clone(), text.clone())),
            // Its fault was already reported.
            _ => drop(raw.insert(entry.key.clone(), String::new())),
        }
    }
    let mut set = |name: &str, value: Option<String>, at, complaints: &mut Vec<Diagnostic>| {
        let Some(value) = value else {
            complaints.push(Diagnostic::error(format!("the value of variable {name:?} must be a string")).at(at));
            return;
        };
        if declared(name) {
            given.push(name.to_owned());
        } else {
            let names = template.variables.iter().map(|entry| entry.key.as_str());
            let warning = Diagnostic::warning(format!("the template declares no variable {name:?}"));
            complaints.push(warning.with_detail(did_you_mean(name, names)).at(at));
        }
        raw.insert(name.to_owned(), value);
    };
    for path in request.var_files {
        for entry in var_files::read(path, runtime, complaints) {
            let text = entry.value.to_text().map(|text| text.to_string());
            set(&entry.name, text, Some(entry.at), complaints);
        }
    }
    for (name, json) in request.variables {
        let text = Value::from_json(json).and_then(|value| value.to_text()).map(|text| text.to_string());
        set(name, text, None, complaints);
    }
    for entry in &template.variables {
        if !raw.contains_key(&entry.key) {
            let diagnostic = Diagnostic::error(format!("the variable {:?} has no value", entry.key))
                .with_detail("give it in the request's variables, or give it a default other than null");
            complaints.push(diagnostic.at(Some(entry.key_at.clone())));
            raw.insert(entry.key.clone(), String::new());
        }
    }
    (raw, given)
}

/// Renders variables until none is left, each once those it names are done.
fn resolve(
    template: &JsonTemplate,
    source: &SourceFile,
    raw: &IndexMap<String, String>,
    runtime: &Runtime<'_>,
    complaints: &mut Vec<Diagnostic>,
) -> IndexMap<String, String> {
    let mut done: IndexMap<String, String> = IndexMap::new();
    let named: IndexMap<&String, Vec<String>> = raw.iter().map(|(name, text)| (name, references(text))).collect();
    let mut left: Vec<&String> = raw.keys().collect();
    while !left.is_empty() {
        let is_ready =
            |name: &&String| named[*name].iter().all(|other| done.contains_key(other) || !raw.contains_key(other));
        let (ready, waiting): (Vec<&String>, Vec<&String>) = left.iter().copied().partition(is_ready);
        if ready.is_empty() {
            for name in waiting {
                let chain = chain(name, &named);
                let message = "it refers to itself, directly or through other variables";
                complaints.push(cannot(template, name, message, chain));
                done.insert(name.clone(), String::new());
            }
            return done;
        }
        for name in ready {
            let mut early = Early::new(runtime, "", "");
            early.user = Some(&done);
            early.in_variables = true;
            let rendered = match named[name].iter().find(|other| !raw.contains_key(*other)) {
                Some(missing) => {
                    let hint = did_you_mean(missing, raw.keys().map(String::as_str));
                    let message = format!("it uses the variable {missing:?}, which is not declared");
                    Err(cannot(template, name, &message, hint))
                }
                None => early::render(&raw[name], &early, VARIABLE).map_err(|fault| {
                    let written = template.variables.iter().find(|entry| entry.key == *name);
                    // A value from outside stands elsewhere.
                    let written = written
                        .filter(|entry| matches!(&entry.node.content, Content::String(text) if *text == raw[name]));
                    early.source = Some(source);
                    let place = written.map(|entry| early.place(&entry.node.at, &fault));
                    let mut diagnostic = cannot(template, name, &fault.message, fault.hint);
                    if let Some((at, end)) = place {
                        diagnostic = diagnostic.at(Some(at)).until(end);
                    }
                    diagnostic
                }),
            };
            let warnings = early.warnings.take();
            let value = rendered.unwrap_or_else(|diagnostic| {
                complaints.push(diagnostic);
                String::new()
            });
            let at = template.variables.iter().find(|entry| entry.key == *name).map(|entry| entry.node.at.clone());
            complaints.extend(warnings.into_iter().map(|warning| Diagnostic::warning(warning).at(at.clone())));
            done.insert(name.clone(), value);
        }
        left = waiting;
    }
    done
}

/// `a → b → a`, for a variable that waits for itself.
fn chain(name: &str, named: &IndexMap<&String, Vec<String>>) -> String {
    let mut chain = vec![name];
    while let Some(next) = chain.last().and_then(|last| named.iter().find(|(known, _)| known.as_str() == *last)) {
        let Some(next) = next.1.iter().find(|other| named.contains_key(*other)) else { break };
        let closed = chain.contains(&next.as_str());
        chain.push(next);
        if closed {
            break;
        }
    }
    chain.join(" → ")
}

fn cannot(template: &JsonTemplate, name: &str, message: &str, hint: impl Into<Hint>) -> Diagnostic {
    let at = template.variables.iter().find(|entry| entry.key == name).map(|entry| entry.node.at.clone());
    let mut hint: Hint = hint.into();
    hint.text = if hint.text.is_empty() { message.to_owned() } else { format!("{message}; {}", hint.text) };
    Diagnostic::error(format!("the variable {name:?} can't be evaluated")).with_detail(hint).at(at)
}

/// The variables that a text names with `{{ user }}`.
fn references(text: &str) -> Vec<String> {
    parse(text).map(|nodes| ast::user_references(&nodes)).unwrap_or_default()
}
