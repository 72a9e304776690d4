//! Evaluates, while the build runs, the expressions of its template that waited for that.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use indexmap::IndexMap;
use uuid::Uuid;

use super::eval::{Evaluator, Globals};
use super::parse;
use super::syntax::ast::Expr;
use super::{late, walk};
use crate::domain::bundle::Bundle;
use crate::domain::config::BuildConfig;
use crate::domain::config::late::{LateExpression, LateValue};
use crate::domain::diagnostic::{Diagnostic, SourceLocation};
use crate::template::legacy::value::Value as LegacyValue;
use crate::template::legacy::{LateData, Names, Obstacle, Trouble, render_with};
use crate::template::number::Number;
use crate::template::runtime::Runtime;
use crate::template::source::SourceFile;
use crate::template::value::{Kind, Value};
use crate::template::{DataMode, Request, stack};

/// A build's expressions, and what they are evaluated with besides the [`LateData`] of the step.
#[derive(Clone)]
pub struct Expressions {
    pub config: Arc<BuildConfig>,
    pub bundle: Arc<Bundle>,
    /// The run's frozen time.
    pub now: DateTime<Utc>,
    pub run_id: Uuid,
    /// Is told each text that was made of something sensitive, before anybody uses it.
    pub hide: Arc<dyn Fn(&str) + Send + Sync>,
}

impl fmt::Debug for Expressions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Expressions").finish_non_exhaustive()
    }
}

/// The text that an expression stands for.
///
/// # Errors
/// With what is wrong, and where.
pub fn text(number: u32, all: &Expressions, data: &LateData) -> Result<String, String> {
    let text = stack::with_room(|| {
        let nothing = IndexMap::new();
        let variables = IndexMap::new();
        let request = Request {
            bundle: &all.bundle,
            variables: &variables,
            var_files: &[],
            env: &nothing,
            default_region: None,
            only: &[],
            except: &[],
            git_sha: None,
            now: all.now,
            run_id: all.run_id,
            clean_image: true,
            data: DataMode::Unknown,
        };
        let runtime = Runtime::new(&request);
        let run = Run { all, data, runtime: &runtime, values: RefCell::default() };
        run.text(number).map_err(|fault| vec![*fault])
    });
    text.map_err(|faults| faults.first().map(ToString::to_string).unwrap_or_default())
}

/// One evaluation. Each expression is evaluated once, whatever names it.
struct Run<'r> {
    all: &'r Expressions,
    data: &'r LateData,
    runtime: &'r Runtime<'r>,
    values: RefCell<BTreeMap<u32, Value>>,
}

impl Run<'_> {
    fn expression(&self, number: u32) -> Result<&LateExpression, Box<Diagnostic>> {
        let found = self.all.config.expressions.get(&number);
        found.ok_or_else(|| Box::new(Diagnostic::error(format!("the build has no expression {number}"))))
    }

    fn text(&self, number: u32) -> Result<String, Box<Diagnostic>> {
        let value = self.value(number)?;
        let expression = self.expression(number)?;
        let fault = |summary: String| Box::new(Diagnostic::error(summary).at(Some(expression.at.clone())));
        let Some(text) = value.to_text() else {
            let mut fault = fault(format!("this must be text, it is {}", value.type_name()));
            if !value.is_null() {
                fault.set_hint("use join(…) or jsonencode(…) to make it text");
            }
            return Err(fault);
        };
        if value.is_sensitive() {
            (self.all.hide)(&text);
        }
        // As Packer, which renders an option once it has its value. What only the build has said is no template.
        let names = &expression.names;
        if !text.contains("{{")
            || !(expression.source.contains("{{") || names.iter().any(|name| name.value.has_actions()))
        {
            return Ok(text.to_string());
        }
        let plain = LateData { expressions: None, ..self.data.clone() };
        let rendered = render_with(&text, &plain).map_err(&fault)?;
        if value.is_sensitive() {
            (self.all.hide)(&rendered);
        }
        Ok(rendered)
    }

    fn value(&self, number: u32) -> Result<Value, Box<Diagnostic>> {
        if let Some(known) = self.values.borrow().get(&number) {
            return Ok(known.clone());
        }
        let expression = self.expression(number)?;
        let mut globals = Globals::new();
        for name in &expression.names {
            let value = name.value.value(&mut |waiting| self.late(waiting, number))?;
            put(&mut globals, &name.path, value);
        }
        let known = globals.shift_remove("build");
        globals.insert("build".to_owned(), self.build(known.as_ref()));
        let file = placed(&expression.source, &expression.at);
        let expr = parse::expression(&file)?;
        if let Some(fault) = without_value(&expr, &globals, &file) {
            return Err(fault);
        }
        self.runtime.make_ids_of(number);
        let value = Evaluator::new(&file, self.runtime, &globals).value(&expr)?;
        self.values.borrow_mut().insert(number, value.clone());
        Ok(value)
    }

    fn late(&self, value: &LateValue, above: u32) -> Result<Value, Box<Diagnostic>> {
        match value {
            LateValue::Expression(number) if *number < above => self.value(*number),
            LateValue::Late(text) => {
                let sensitive = RefCell::new(false);
                let names = Inside { run: self, above, sensitive: &sensitive };
                let text = render_with(text, &names).map_err(|message| Box::new(Diagnostic::error(message)))?;
                let sensitive = *sensitive.borrow();
                Ok(Value::string(text).marked(sensitive))
            }
            _ => Err(Box::new(Diagnostic::error("the build's expressions name each other without end"))),
        }
    }

    /// `build` as the step knows it, and what of it was known before.
    fn build(&self, known: Option<&Value>) -> Value {
        let mut entries: IndexMap<String, Value> = IndexMap::new();
        for (name, text) in &self.data.build {
            let number = if matches!(name.as_str(), "Port" | "PackerHTTPPort") { Number::parse(text) } else { None };
            let value = number.map_or_else(|| Value::string(text.as_str()), Value::number);
            entries.insert(name.clone(), value.marked(name == "Password" && !text.is_empty()));
        }
        if let Some(known) = known.and_then(Value::as_mapping) {
            entries.extend(known.entries.iter().map(|(name, value)| (name.clone(), value.clone())));
        }
        Value::object(entries)
    }
}

/// The names of late text that an expression uses.
struct Inside<'i, 'r> {
    run: &'i Run<'r>,
    above: u32,
    sensitive: &'i RefCell<bool>,
}

impl Names for Inside<'_, '_> {
    fn root(&self) -> Result<LegacyValue, Obstacle> {
        self.run.data.root()
    }

    fn field(&self, path: &[String]) -> Result<LegacyValue, Obstacle> {
        self.run.data.field(path)
    }

    fn call(&self, name: &str, arguments: &[LegacyValue]) -> Result<LegacyValue, Obstacle> {
        let ("expression", [LegacyValue::Text(number)]) = (name, arguments) else {
            return self.run.data.call(name, arguments);
        };
        let number = number.parse().ok().filter(|number| *number < self.above);
        let number = number.ok_or_else(|| Obstacle::fault("the build has no such expression"))?;
        let told = |fault: Box<Diagnostic>| Obstacle::Fault(Trouble::new(fault.to_string()));
        let value = self.run.value(number).map_err(told)?;
        *self.sensitive.borrow_mut() |= value.is_sensitive();
        let text = value.to_text().ok_or_else(|| Obstacle::fault(format!("a {} is no text", value.type_name())))?;
        Ok(LegacyValue::text(text.to_string()))
    }
}

/// The fault of an expression that asks for what this build does not have, unless it says what to do then.
fn without_value(expr: &Expr, globals: &Globals, file: &SourceFile) -> Option<Box<Diagnostic>> {
    let build = globals.get("build").and_then(Value::as_mapping)?;
    let mut fault = None;
    let mut forgiving = false;
    walk::walk(expr, &mut |part| {
        forgiving |= late::is_forgiving(part);
        if let ["build", name] = walk::path(part).as_slice()
            && !build.entries.contains_key(*name)
        {
            fault.get_or_insert_with(|| {
                Box::new(file.error(part.span, format!("build.{name} has no value in this build")))
            });
        }
    });
    fault.filter(|_| !forgiving)
}

/// Puts a value where its path says; what is there already stays.
fn put(globals: &mut Globals, path: &[String], value: Value) {
    let [root, rest @ ..] = path else { return };
    let old = globals.get(root).cloned();
    globals.insert(root.clone(), with(old, rest, value));
}

fn with(old: Option<Value>, path: &[String], value: Value) -> Value {
    let [name, rest @ ..] = path else { return old.unwrap_or(value) };
    let mut entries = match old.as_ref().map(Value::kind) {
        Some(Kind::Mapping(mapping)) => mapping.entries.clone(),
        _ => IndexMap::new(),
    };
    let inner = entries.get(name).cloned();
    entries.insert(name.clone(), with(inner, rest, value));
    Value::object(entries).marked(old.is_some_and(|old| old.is_marked()))
}

/// The text at its place in its file, so that faults have the place that they have in the template.
fn placed(source: &str, at: &SourceLocation) -> SourceFile {
    let count = |number: u32| usize::try_from(number.saturating_sub(1)).unwrap_or_default().min(1_000_000);
    let (lines, columns) = (count(at.line), count(at.column));
    SourceFile::new(&at.file, &format!("{}{}{source}", "\n".repeat(lines), " ".repeat(columns)))
}
