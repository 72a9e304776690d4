//! Locals, in whatever order they refer to each other.

use std::collections::BTreeSet;

use hcl_edit::Decorated;
use hcl_edit::expr::{Expression, Traversal, TraversalOperator};
use hcl_edit::visit::{Visit, visit_traversal};
use indexmap::IndexMap;

use super::blocks::Config;
use super::eval::{Evaluator, Globals};
use super::variables::add_sensitive;
use crate::domain::diagnostic::Diagnostic;
use crate::template::runtime::Runtime;
use crate::template::value::Value;

/// A shorter string of a local that only derives from a secret is not hidden in logs: it would be found everywhere.
const SHORTEST_DERIVED_SECRET: usize = 8;

struct Evaluation<'a, 'f> {
    config: &'a Config<'f>,
    runtime: &'a Runtime<'a>,
    globals: Globals,
    done: IndexMap<String, Value>,
    /// Locals that are being evaluated, outermost first.
    path: Vec<String>,
    sensitive_values: &'a mut Vec<String>,
    complaints: &'a mut Vec<Diagnostic>,
}

/// Evaluates all locals over `globals`, which has `var`, and returns what `local` is.
pub fn evaluate(
    config: &Config<'_>,
    runtime: &Runtime<'_>,
    globals: &Globals,
    sensitive_values: &mut Vec<String>,
    complaints: &mut Vec<Diagnostic>,
) -> IndexMap<String, Value> {
    let mut evaluation = Evaluation {
        config,
        runtime,
        globals: globals.clone(),
        done: IndexMap::new(),
        path: Vec::new(),
        sensitive_values,
        complaints,
    };
    for name in config.locals.keys() {
        evaluation.local(name);
    }
    evaluation.done
}

/// How many locals may depend on each other in a row.
const MAX_CHAIN: usize = 200;

impl Evaluation<'_, '_> {
    fn local(&mut self, name: &str) {
        let Some(local) = self.config.locals.get(name).filter(|_| !self.done.contains_key(name)) else { return };
        if let Some(start) = self.path.iter().position(|other| other == name) {
            let mut cycle: Vec<String> = self.path[start..].iter().map(|name| format!("local.{name}")).collect();
            cycle.push(format!("local.{name}"));
            let diagnostic = Diagnostic::error(format!("the local {name:?} depends on itself"))
                .with_detail(cycle.join(" → "))
                .at(Some(local.at.clone()));
            self.complaints.push(diagnostic);
            self.done.insert(name.to_owned(), Value::UNKNOWN);
            return;
        }
        if self.path.len() >= MAX_CHAIN {
            let diagnostic =
                Diagnostic::error(format!("the local {name:?} is at the end of a chain of {MAX_CHAIN} locals"));
            self.complaints.push(diagnostic.at(Some(local.at.clone())));
            self.done.insert(name.to_owned(), Value::UNKNOWN);
            return;
        }
        self.path.push(name.to_owned());
        for dependency in references(local.expression) {
            self.local(&dependency);
        }
        self.path.pop();
        // A cycle through this local has settled it already.
        if self.done.contains_key(name) {
            return;
        }
        // Locals that don't exist stay out of the object, so that naming one is an error.
        self.globals.insert("local".to_owned(), Value::object(self.done.clone()));
        let value = match Evaluator::new(local.file, self.runtime, &self.globals).value(local.expression) {
            Ok(value) => value,
            Err(fault) => {
                self.complaints.push(*fault);
                Value::UNKNOWN
            }
        };
        if local.sensitive {
            add_sensitive(&value, 1, self.sensitive_values);
        } else if value.is_sensitive() {
            add_sensitive(&value, SHORTEST_DERIVED_SECRET, self.sensitive_values);
        }
        self.done.insert(name.to_owned(), value.marked(local.sensitive));
    }
}

/// The locals an expression names.
fn references(expr: &Expression) -> BTreeSet<String> {
    struct Finder(BTreeSet<String>);
    impl Visit for Finder {
        fn visit_traversal(&mut self, traversal: &Traversal) {
            if matches!(&traversal.expr, Expression::Variable(name) if name.as_str() == "local")
                && let Some(TraversalOperator::GetAttr(name)) = traversal.operators.first().map(Decorated::value)
            {
                self.0.insert(name.as_str().to_owned());
            }
            visit_traversal(self, traversal);
        }
    }
    let mut finder = Finder(BTreeSet::new());
    finder.visit_expr(expr);
    finder.0
}
