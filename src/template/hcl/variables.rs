//! Input variables: where their values come from, in Packer's order, and whether these are good.

use indexmap::IndexMap;

use super::blocks::{Config, Validation, Variable};
use super::eval::{Evaluator, Globals};
use super::parse;
use super::syntax::ast::{Expr, ExprKind};
use super::walk::walk;
use crate::domain::diagnostic::{Diagnostic, SourceLocation};
use crate::template::runtime::Runtime;
use crate::template::source::{SourceFile, did_you_mean};
use crate::template::types::{Type, convert};
use crate::template::value::Value;
use crate::template::{Request, VariableValue, var_files};

/// Evaluated variables.
#[derive(Debug, Default)]
pub struct Variables {
    /// What `var` is.
    pub values: IndexMap<String, Value>,
    pub report: Vec<VariableValue>,
    pub sensitive_values: Vec<String>,
}

/// A value that overrides a default.
struct Given {
    value: Value,
    at: Option<SourceLocation>,
}

/// The type a variable's values are converted to.
#[must_use]
pub fn constraint(variable: &Variable<'_>, evaluator: &Evaluator<'_>, complaints: &mut Vec<Diagnostic>) -> Type {
    match variable.constraint.map(|expr| evaluator.type_constraint(expr)) {
        None => Type::Any,
        Some(Ok(constraint)) => constraint,
        Some(Err(fault)) => {
            complaints.push(*fault);
            Type::Any
        }
    }
}

/// Evaluates all variables.
pub fn evaluate(
    config: &Config<'_>,
    request: &Request<'_>,
    runtime: &Runtime<'_>,
    complaints: &mut Vec<Diagnostic>,
) -> Variables {
    let globals = Globals::new();
    let mut types = IndexMap::new();
    let mut defaults = IndexMap::new();
    for (name, variable) in &config.variables {
        let mut evaluator = Evaluator::new(variable.file, runtime, &globals);
        evaluator.env_allowed = true;
        let mut constraint = constraint(variable, &evaluator, complaints);
        if let Some(expr) = variable.default {
            let default = evaluator.value_or_complain(expr, complaints);
            if variable.constraint.is_none() {
                // Without a type, the default's is the variable's.
                constraint = Type::of(&default);
            }
            let default = convert(&default, &constraint).unwrap_or_else(|message| {
                let summary = format!("the default of variable {name:?} does not fit its type: {message}");
                complaints.push(evaluator.diagnostic(expr, summary));
                Value::UNKNOWN
            });
            defaults.insert(name.clone(), default);
        }
        types.insert(name.clone(), constraint);
    }
    let given = given(&types, request, runtime, complaints);
    let mut variables = Variables::default();
    for (name, variable) in &config.variables {
        let constraint = types.get(name).unwrap_or(&Type::Any);
        let given = given.get(name);
        let value = match (given, defaults.get(name)) {
            (Some(given), _) => checked(name, given, constraint, variable, complaints),
            (None, Some(default)) => default.clone(),
            (None, None) => {
                let diagnostic = variable.file.error(variable.span, format!("the variable {name:?} has no value"));
                complaints.push(diagnostic.with_detail("give it in the request's variables, or give it a default"));
                Value::UNKNOWN
            }
        };
        let value = value.marked(variable.sensitive);
        validate(name, variable, &value, runtime, complaints);
        if variable.sensitive {
            add_sensitive(&value, 1, &mut variables.sensitive_values);
        }
        variables.report.push(VariableValue {
            name: name.clone(),
            type_name: constraint.to_string(),
            value: value.to_json(),
            sensitive: variable.sensitive,
            is_default: given.is_none(),
        });
        variables.values.insert(name.clone(), value);
    }
    variables
}

/// Adds the strings of a value, and each line of those with several, when they have at least `shortest` characters.
pub fn add_sensitive(value: &Value, shortest: usize, into: &mut Vec<String>) {
    let mut leaves = Vec::new();
    value.leaf_strings(&mut leaves);
    for leaf in leaves {
        let lines =
            leaf.lines().map(str::trim).filter(|line| leaf.contains('\n') && !line.is_empty()).map(str::to_owned);
        let parts: Vec<String> = std::iter::once(leaf.clone()).chain(lines).collect();
        for part in parts {
            if part.chars().count() >= shortest && !part.trim().is_empty() && !into.contains(&part) {
                into.push(part);
            }
        }
    }
}

fn checked(
    name: &str,
    given: &Given,
    constraint: &Type,
    variable: &Variable<'_>,
    complaints: &mut Vec<Diagnostic>,
) -> Value {
    convert(&given.value, constraint).unwrap_or_else(|message| {
        let summary = if variable.sensitive {
            format!("the value of variable {name:?} does not fit its type {constraint}")
        } else {
            format!("the value of variable {name:?} does not fit its type {constraint}: {message}")
        };
        let mut diagnostic = variable.file.error(variable.span, summary);
        if let Some(at) = &given.at {
            diagnostic = diagnostic.at(Some(at.clone())).until(None);
        }
        if variable.constraint.is_none() && !constraint.is_primitive_or_any() {
            diagnostic
                .set_hint("the type is that of the default; give the variable a type, such as type = list(string)");
        }
        complaints.push(diagnostic);
        Value::UNKNOWN
    })
}

/// Values from outside, the later of several counting: environment, automatic files, named files, request.
fn given(
    types: &IndexMap<String, Type>,
    request: &Request<'_>,
    runtime: &Runtime<'_>,
    complaints: &mut Vec<Diagnostic>,
) -> IndexMap<String, Given> {
    let mut given: IndexMap<String, Given> = IndexMap::new();
    for (name, text) in runtime.environment() {
        let Some(name) = name.strip_prefix("PKR_VAR_") else {
            continue;
        };
        if let Some(constraint) = types.get(name) {
            match from_text(name, text, constraint, runtime) {
                Ok(value) => drop(given.insert(name.to_owned(), Given { value, at: None })),
                Err(diagnostic) => complaints.push(*diagnostic),
            }
        }
    }
    for path in var_files::automatic(request.bundle).into_iter().chain(request.var_files.iter().cloned()) {
        for entry in var_files::read(&path, runtime, complaints) {
            if !types.contains_key(&entry.name) {
                let hint = did_you_mean(&entry.name, types.keys().map(String::as_str));
                let diagnostic = Diagnostic::warning(format!("the template declares no variable {:?}", entry.name));
                complaints.push(diagnostic.with_detail(hint).at(Some(entry.at)));
                continue;
            }
            given.insert(entry.name, Given { value: entry.value, at: Some(entry.at) });
        }
    }
    for (name, json) in request.variables {
        let Some(constraint) = types.get(name) else {
            let hint = did_you_mean(name, types.keys().map(String::as_str));
            complaints.push(Diagnostic::error(format!("the template declares no variable {name:?}")).with_detail(hint));
            continue;
        };
        let value = match json {
            serde_json::Value::String(text) => from_text(name, text, constraint, runtime),
            other => Value::from_json(other).ok_or_else(|| {
                Box::new(Diagnostic::error(format!("the variable {name:?} holds a number with too many digits")))
            }),
        };
        match value {
            Ok(value) => drop(given.insert(name.clone(), Given { value, at: None })),
            Err(diagnostic) => complaints.push(*diagnostic),
        }
    }
    given
}

/// A string from outside: literal for strings, numbers and variables without a type, an expression for the others.
fn from_text(name: &str, text: &str, constraint: &Type, runtime: &Runtime<'_>) -> Result<Value, Box<Diagnostic>> {
    if matches!(constraint, Type::Any | Type::String | Type::Number) {
        return Ok(Value::string(text));
    }
    let source = SourceFile::new(&format!("<variable {name}>"), text);
    let globals = Globals::new();
    let expr = parse::expression(&source)?;
    Evaluator::new(&source, runtime, &globals).value(&expr).map_err(|mut fault| {
        fault.summary = format!("the value of variable {name:?}: {}", fault.summary);
        fault
    })
}

fn validate(
    name: &str,
    variable: &Variable<'_>,
    value: &Value,
    runtime: &Runtime<'_>,
    complaints: &mut Vec<Diagnostic>,
) {
    let own = Value::object(IndexMap::from([(name.to_owned(), value.clone())]));
    let globals = Globals::from([("var".to_owned(), own)]);
    let evaluator = Evaluator::new(variable.file, runtime, &globals);
    for Validation { span, condition, message } in &variable.validations {
        let text = match evaluator.value(message) {
            Ok(text) => text.to_text().map(|text| text.to_string()).unwrap_or_default(),
            Err(fault) => {
                complaints.push(*fault);
                continue;
            }
        };
        if !text.starts_with(char::is_uppercase) || !text.ends_with(['.', '?', '!']) {
            let diagnostic = evaluator.diagnostic(*message, "error_message must be a sentence");
            let detail = "it begins with an upper-case letter and ends with a full stop";
            complaints.push(diagnostic.with_detail(detail));
        }
        if !refers_to(condition, name) {
            let summary = format!("the condition must refer to var.{name}");
            complaints.push(evaluator.diagnostic(*condition, summary));
            continue;
        }
        let result = evaluator.value_or_complain(condition, complaints);
        if result.is_unknown() {
            continue;
        }
        match convert(&result, &Type::Bool) {
            Ok(flag) if flag == Value::bool(true) => {}
            Ok(flag) if flag == Value::bool(false) => {
                let summary = format!("the value of variable {name:?} is not valid");
                complaints.push(variable.file.error(*span, summary).with_detail(text));
            }
            Ok(_) => {
                let summary = "the condition of a validation must not be null";
                complaints.push(evaluator.diagnostic(*condition, summary));
            }
            Err(message) => {
                let summary = format!("the condition of a validation: {message}");
                complaints.push(evaluator.diagnostic(*condition, summary));
            }
        }
    }
}

fn refers_to(expr: &Expr, variable: &str) -> bool {
    let mut found = false;
    walk(expr, &mut |expr| {
        found |= match &expr.kind {
            ExprKind::Attribute(base, name) => &*name.name == variable && is_var(base),
            ExprKind::Index(base, key) => is_var(base) && key.literal().as_deref() == Some(variable),
            _ => false,
        };
    });
    found
}

fn is_var(expr: &Expr) -> bool {
    matches!(&expr.kind, ExprKind::Variable(name) if &*name.name == "var")
}
