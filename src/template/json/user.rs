//! User variables of JSON templates: defaults, overrides, and references among each other.

use std::collections::{HashMap, HashSet};

use indexmap::IndexMap;

use super::template::JsonTemplate;
use crate::domain::diagnostic::{Diagnostic, Hint};
use crate::template::hcl::variables::add_sensitive;
use crate::template::legacy::ast;
use crate::template::legacy::early::{self, Early, VARIABLE};
use crate::template::legacy::parse::parse;
use crate::template::options::{Content, Entry};
use crate::template::runtime::Runtime;
use crate::template::source::{SourceFile, did_you_mean};
use crate::template::value::Value;
use crate::template::{Request, VariableValue, var_files};

/// Evaluated user variables.
#[derive(Debug, Default)]
pub struct UserVariables {
    pub values: IndexMap<String, String>,
    /// Those of them that could not be worked out.
    pub faulty: HashSet<String>,
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
    let Raw { texts, given, missing } = raw_values(template, request, runtime, complaints);
    let (values, faulty) = resolve(template, source, &texts, missing, runtime, complaints);
    let mut result = UserVariables { faulty, ..UserVariables::default() };
    let secret: HashSet<&String> = template.sensitive.iter().collect();
    for name in texts.keys() {
        let Some(value) = values.get(name) else { continue };
        let sensitive = secret.contains(name);
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

/// Variables before their actions are rendered.
#[derive(Default)]
struct Raw {
    /// The declared ones, then those that are given besides: Packer takes them too, and says nothing of it.
    texts: IndexMap<String, String>,
    /// Which come from outside.
    given: HashSet<String>,
    /// Which have no value.
    missing: HashSet<String>,
}

fn raw_values(
    template: &JsonTemplate,
    request: &Request<'_>,
    runtime: &Runtime<'_>,
    complaints: &mut Vec<Diagnostic>,
) -> Raw {
    let mut raw = Raw::default();
    for entry in &template.variables {
        let text = match &entry.node.content {
            Content::String(text) => text.clone(),
            Content::Null => {
                raw.missing.insert(entry.key.clone());
                String::new()
            }
            // Its fault was already reported.
            _ => String::new(),
        };
        raw.texts.insert(entry.key.clone(), text);
    }
    let mut set = |name: &str, value: Option<String>, at, complaints: &mut Vec<Diagnostic>| {
        let Some(value) = value else {
            complaints.push(Diagnostic::error(format!("the value of variable {name:?} must be a string")).at(at));
            return;
        };
        raw.missing.remove(name);
        raw.given.insert(name.to_owned());
        raw.texts.insert(name.to_owned(), value);
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
    for entry in template.variables.iter().filter(|entry| raw.missing.contains(&entry.key)) {
        let diagnostic = Diagnostic::error(format!("the variable {:?} has no value", entry.key))
            .with_detail("give it in the request's variables, or give it a default other than null");
        complaints.push(diagnostic.at(Some(entry.key_at.clone())));
    }
    raw
}

/// Renders variables, each once those it names are done. `faulty` are those without a value; what can't be worked out is
/// added.
fn resolve(
    template: &JsonTemplate,
    source: &SourceFile,
    raw: &IndexMap<String, String>,
    mut faulty: HashSet<String>,
    runtime: &Runtime<'_>,
    complaints: &mut Vec<Diagnostic>,
) -> (IndexMap<String, String>, HashSet<String>) {
    let named: IndexMap<&str, Vec<String>> = raw.iter().map(|(name, text)| (name.as_str(), references(text))).collect();
    // How many variables each waits for, and who waits for it.
    let mut open: HashMap<&str, usize> = HashMap::new();
    let mut waiting: HashMap<&str, Vec<&str>> = HashMap::new();
    for (name, others) in &named {
        let others: HashSet<&str> =
            others.iter().map(String::as_str).filter(|other| raw.contains_key(*other)).collect();
        open.insert(name, others.len());
        for other in others {
            waiting.entry(other).or_default().push(name);
        }
    }
    let mut ready: Vec<&str> = named.keys().copied().filter(|name| open.get(name) == Some(&0)).collect();
    ready.reverse();
    let entries: HashMap<&str, &Entry> = template.variables.iter().map(|entry| (entry.key.as_str(), entry)).collect();
    let mut done: IndexMap<String, String> = IndexMap::new();
    while let Some(name) = ready.pop() {
        let missing = named[name].iter().find(|other| !raw.contains_key(*other)).map(String::as_str);
        let value = Rendering { source, raw, runtime, entry: entries.get(name).copied(), faulty: &faulty }
            .value(name, missing, &done, complaints);
        if value.is_none() {
            faulty.insert(name.to_owned());
        }
        done.insert(name.to_owned(), value.unwrap_or_default());
        for waiter in waiting.get(name).into_iter().flatten() {
            if let Some(count) = open.get_mut(waiter) {
                *count -= 1;
                if *count == 0 {
                    ready.push(waiter);
                }
            }
        }
    }
    for name in named.keys().copied().filter(|name| !done.contains_key(*name)).collect::<Vec<_>>() {
        let message = "it refers to itself, directly or through other variables";
        complaints.push(cannot(entries.get(name).copied(), name, message, chain(name, &named)));
        done.insert(name.to_owned(), String::new());
        faulty.insert(name.to_owned());
    }
    (done, faulty)
}

/// What is needed to render one variable.
struct Rendering<'a> {
    source: &'a SourceFile,
    raw: &'a IndexMap<String, String>,
    runtime: &'a Runtime<'a>,
    /// Where the template declares it.
    entry: Option<&'a Entry>,
    faulty: &'a HashSet<String>,
}

impl Rendering<'_> {
    /// The value; `None` when it can't be worked out. `missing` is a variable that it names and that there is not.
    fn value(
        &self,
        name: &str,
        missing: Option<&str>,
        done: &IndexMap<String, String>,
        complaints: &mut Vec<Diagnostic>,
    ) -> Option<String> {
        if self.faulty.contains(name) {
            return None;
        }
        if let Some(missing) = missing {
            let hint = did_you_mean(missing, self.raw.keys().map(String::as_str));
            let message = format!("it uses the variable {missing:?}, which is not declared");
            complaints.push(cannot(self.entry, name, &message, hint));
            return None;
        }
        let mut early = Early::new(self.runtime, "", "");
        early.user = Some(done);
        early.faulty = Some(self.faulty);
        early.in_variables = true;
        early.source = Some(self.source);
        let rendered = early::render(&self.raw[name], &early, VARIABLE);
        let at = self.entry.map(|entry| entry.node.at.clone());
        let warnings = early.warnings.take().into_iter();
        complaints.extend(warnings.map(|warning| Diagnostic::warning(warning).at(at.clone())));
        let fault = match rendered {
            Ok(text) => return Some(text),
            Err(_) if early.told.get() => return None,
            Err(fault) => fault,
        };
        // A value from outside stands elsewhere.
        let own = |entry: &&Entry| matches!(&entry.node.content, Content::String(text) if *text == self.raw[name]);
        let place = self.entry.filter(own).map(|entry| early.place(&entry.node.at, &fault));
        let mut diagnostic = cannot(self.entry, name, &fault.message, fault.hint);
        if let Some((at, end)) = place {
            diagnostic = diagnostic.at(Some(at)).until(end);
        }
        complaints.push(diagnostic);
        None
    }
}

/// Names that a chain shows.
const MAX_CHAIN: usize = 20;

/// `a → b → a`, for a variable that waits for itself.
fn chain(name: &str, named: &IndexMap<&str, Vec<String>>) -> String {
    let mut chain = vec![name];
    while let Some(next) = chain.last().and_then(|last| named.get(last)) {
        let Some(next) = next.iter().find(|other| named.contains_key(other.as_str())) else { break };
        let closed = chain.contains(&next.as_str()) || chain.len() >= MAX_CHAIN;
        chain.push(next);
        if closed {
            break;
        }
    }
    chain.join(" → ")
}

fn cannot(entry: Option<&Entry>, name: &str, message: &str, hint: impl Into<Hint>) -> Diagnostic {
    let mut hint: Hint = hint.into();
    hint.text = if hint.text.is_empty() { message.to_owned() } else { format!("{message}; {}", hint.text) };
    let at = entry.map(|entry| entry.node.at.clone());
    Diagnostic::error(format!("the variable {name:?} can't be evaluated")).with_detail(hint).at(at)
}

/// The variables that a text names with `{{ user }}`.
fn references(text: &str) -> Vec<String> {
    parse(text).map(|nodes| ast::user_references(&nodes)).unwrap_or_default()
}
