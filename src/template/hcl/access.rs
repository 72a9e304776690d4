//! `a.name`, `a[key]`, and splats.

use super::eval::{EvalResult, Evaluator, Scope};
use super::syntax::ast::{Expr, ExprKind, Ident};
use crate::template::source::did_you_mean;
use crate::template::value::{Kind, SequenceShape, Value};

impl Evaluator<'_> {
    pub(super) fn attribute_of(&self, base: &Expr, name: &Ident, scope: &Scope<'_>) -> EvalResult {
        let value = self.eval(base, scope)?;
        if matches!(value.kind(), Kind::Unknown) || self.runtime.late.look_at(&value) {
            return Ok(value);
        }
        let Some(mapping) = value.as_mapping() else {
            let hint = match value.kind() {
                Kind::Null => "this is null, it has no attributes".to_owned(),
                Kind::Sequence(_) => format!("this is a {}; use [0] for an element, [*] for all", value.type_name()),
                _ => format!("this is a {}, it has no attributes", value.type_name()),
            };
            return Err(self.fault(name, format!("there is no attribute {:?} here: {hint}", name.name)));
        };
        if let Some(found) = mapping.entries.get(&*name.name) {
            return Ok(found.clone().marked(value.is_marked()));
        }
        let (summary, declare) = missing(base, &name.name);
        let mut fault = self.fault(name, summary);
        fault.set_hint(did_you_mean(&name.name, mapping.entries.keys().map(String::as_str)));
        if fault.detail.is_empty() {
            fault.detail = declare;
        }
        Err(fault)
    }

    pub(super) fn index_of(&self, base: &Expr, key: &Expr, scope: &Scope<'_>) -> EvalResult {
        let value = self.eval(base, scope)?;
        let index = self.eval(key, scope)?;
        let sensitive = value.is_marked() || index.is_sensitive();
        let late = self.runtime.late.look_at(&value) || self.runtime.late.look_into(&index);
        if late || matches!(value.kind(), Kind::Unknown) || matches!(index.kind(), Kind::Unknown) {
            return Ok(Value::UNKNOWN.marked(sensitive));
        }
        match value.kind() {
            Kind::Sequence(sequence) if sequence.shape != SequenceShape::Set => {
                let position = self.operand(&index, key, "an index")?;
                let item = position.to_i64().and_then(|i| usize::try_from(i).ok()).and_then(|i| sequence.items.get(i));
                item.map(|item| item.clone().marked(sensitive)).ok_or_else(|| {
                    let shown =
                        if index.is_sensitive() { "such element".to_owned() } else { format!("element {position}") };
                    let count = sequence.items.len();
                    self.fault(key, format!("there is no {shown}: the {} has {count}", value.type_name()))
                })
            }
            Kind::Mapping(mapping) => {
                let Some(text) = index.to_text() else {
                    return Err(self.fault(key, format!("a key must be a string, this is {}", index.type_name())));
                };
                mapping.entries.get(&*text).map(|item| item.clone().marked(sensitive)).ok_or_else(|| {
                    if index.is_sensitive() {
                        return self.fault(key, "there is no such key");
                    }
                    let mut fault = self.fault(key, format!("there is no key {text:?}"));
                    fault.set_hint(did_you_mean(&text, mapping.entries.keys().map(String::as_str)));
                    fault
                })
            }
            Kind::Sequence(_) => {
                let mut fault = self.fault(key, "the elements of a set have no order to pick one by");
                fault.set_hint("go through them with for, or sort them: sort(x)[0]");
                Err(fault)
            }
            Kind::Null => Err(self.fault(base, "this is null, it has no elements")),
            _ => Err(self.fault(key, format!("a {} has no elements to pick with […]", value.type_name()))),
        }
    }

    /// What follows `.*` or `[*]`, for each element. Null has none; what is no list is the only element.
    pub(super) fn splat(&self, base: &Expr, each: &Expr, scope: &Scope<'_>) -> EvalResult {
        let value = self.eval(base, scope)?;
        let (items, list) = match value.kind() {
            _ if self.runtime.late.look_at(&value) => return Ok(value),
            Kind::Unknown => return Ok(value),
            Kind::Null => (Vec::new(), false),
            Kind::Sequence(sequence) => (sequence.items.clone(), sequence.shape != SequenceShape::Tuple),
            _ => (vec![value.clone()], false),
        };
        let mut results = Vec::with_capacity(items.len());
        let waiting = self.runtime.late.waiting();
        for item in &items {
            results.push(self.eval(each, &Scope::with_splat(scope, item))?);
        }
        // What follows a splat means nothing without it.
        if self.runtime.late.waiting() > waiting {
            self.runtime.late.look();
        }
        Ok(if list { Value::list(results) } else { Value::tuple(results) }.marked(value.is_marked()))
    }
}

/// What is said about an attribute that is not there, and what to do where no other name is near.
fn missing(base: &Expr, name: &str) -> (String, String) {
    match &base.kind {
        ExprKind::Variable(root) => match &*root.name {
            "var" => (format!("there is no variable {name:?}"), format!("declare it: variable {name:?} {{ … }}")),
            "local" => (format!("there is no local {name:?}"), format!("declare it: locals {{ {name} = … }}")),
            "build" => (format!("there is no build.{name}"), String::new()),
            "data" => (
                format!("there is no data source of type {name:?}"),
                format!("declare it: data {name:?} \"NAME\" {{ … }}"),
            ),
            _ => (format!("there is no attribute {name:?}"), String::new()),
        },
        ExprKind::Attribute(root, kind) if matches!(&root.kind, ExprKind::Variable(root) if &*root.name == "data") => (
            format!("there is no data source {:?} {name:?}", kind.name),
            format!("declare it: data {:?} {name:?} {{ … }}", kind.name),
        ),
        _ => (format!("there is no attribute {name:?}"), String::new()),
    }
}
