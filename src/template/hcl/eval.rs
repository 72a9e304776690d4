//! The evaluator of HCL2 expressions. Every error says where it is. Values that could not be worked out are unknown, and
//! what depends on them stays silent, so that one fault is one complaint. Operators are in `operators`, `a.b[c]` in
//! `access`, calls in `call`, text in `string_template`.

use indexmap::IndexMap;

use super::syntax::ast::{Conditional, Expr, ExprKind, For, ObjectItem, ObjectKey, Spanned};
use crate::domain::diagnostic::Diagnostic;
use crate::template::number::Number;
use crate::template::runtime::{MAX_VALUE_DEPTH, MAX_VALUE_WEIGHT, Runtime};
use crate::template::source::{SourceFile, did_you_mean};
use crate::template::types::{Type, convert};
use crate::template::unify::common;
use crate::template::value::{Kind, SequenceShape, Value};

/// A value, or the one complaint that stopped it.
pub type EvalResult = Result<Value, Box<Diagnostic>>;

/// Root names an expression can use: `var`, `local`, `data`, `path`, `packer`, and where they exist `source` and `build`.
pub type Globals = IndexMap<String, Value>;

/// Names with their values, the innermost first.
pub type Names = Vec<(String, Value)>;

/// Names that `for` expressions and dynamic blocks bring in, innermost first.
#[derive(Debug, Default)]
pub struct Scope<'s> {
    names: &'s [(String, Value)],
    /// The element that a splat looks at.
    splat: Option<&'s Value>,
    parent: Option<&'s Scope<'s>>,
}

impl<'s> Scope<'s> {
    #[must_use]
    pub fn new(names: &'s [(String, Value)]) -> Self {
        Scope { names, splat: None, parent: None }
    }

    #[must_use]
    pub fn child(parent: &'s Scope<'s>, names: &'s [(String, Value)]) -> Self {
        Scope { names, splat: None, parent: Some(parent) }
    }

    pub(super) fn with_splat(parent: &'s Scope<'s>, item: &'s Value) -> Self {
        Scope { names: &[], splat: Some(item), parent: Some(parent) }
    }

    pub(super) fn get(&self, name: &str) -> Option<&Value> {
        let own = self.names.iter().find(|(own, _)| own == name).map(|(_, value)| value);
        own.or_else(|| self.parent.and_then(|parent| parent.get(name)))
    }

    pub(super) fn splat_item(&self) -> Option<&Value> {
        self.splat.or_else(|| self.parent.and_then(Scope::splat_item))
    }
}

/// Evaluates the expressions of one file.
#[derive(Debug, Clone, Copy)]
pub struct Evaluator<'a> {
    pub file: &'a SourceFile,
    pub runtime: &'a Runtime<'a>,
    pub globals: &'a Globals,
    /// What dynamic blocks around the expression bring in.
    pub names: &'a [(String, Value)],
    /// `env("NAME")` is for variable defaults only.
    pub env_allowed: bool,
    /// Inside a file that `templatefile` renders.
    pub in_template_file: bool,
}

impl<'a> Evaluator<'a> {
    #[must_use]
    pub fn new(file: &'a SourceFile, runtime: &'a Runtime<'a>, globals: &'a Globals) -> Self {
        Self { file, runtime, globals, names: &[], env_allowed: false, in_template_file: false }
    }

    /// The same with the names of dynamic blocks.
    #[must_use]
    pub fn with_names(mut self, names: &'a [(String, Value)]) -> Self {
        self.names = names;
        self
    }

    /// Evaluates an expression outside any `for`.
    ///
    /// # Errors
    /// With the complaint, located.
    pub fn value(&self, expr: &Expr) -> EvalResult {
        self.eval(expr, &Scope::new(self.names))
    }

    /// Evaluates an expression; a fault goes to `complaints`, and the value is unknown.
    pub fn value_or_complain(&self, expr: &Expr, complaints: &mut Vec<Diagnostic>) -> Value {
        self.runtime.forget(0);
        self.value(expr).unwrap_or_else(|fault| {
            complaints.push(*fault);
            complaints.append(&mut self.runtime.take_further());
            Value::UNKNOWN
        })
    }

    /// A complaint about something of this file.
    pub fn diagnostic(&self, at: &impl Spanned, summary: impl Into<String>) -> Diagnostic {
        self.file.error(at.span(), summary)
    }

    pub(super) fn fault(&self, at: &impl Spanned, summary: impl Into<String>) -> Box<Diagnostic> {
        Box::new(self.diagnostic(at, summary))
    }

    pub(super) fn spend(&self, steps: u64, at: &impl Spanned) -> Result<(), Box<Diagnostic>> {
        self.runtime.spend(steps).map_err(|message| self.fault(at, message))
    }

    /// Evaluates an expression.
    ///
    /// # Errors
    /// With the complaint, located.
    pub fn eval(&self, expr: &Expr, scope: &Scope<'_>) -> EvalResult {
        self.spend(1, expr)?;
        let looked = self.runtime.late.looked();
        let result = self.eval_now(expr, scope);
        let value =
            if self.runtime.late.looked() == looked { result? } else { self.deferred(expr, scope, result, looked)? };
        self.check_weight(value.weight(), expr)?;
        // What makes new values pays for them, so that all values of a template together are bounded too.
        if matches!(expr.kind, ExprKind::Call(_) | ExprKind::Template(_)) {
            self.spend(value.weight() / 64, expr)?;
        }
        if value.depth() > MAX_VALUE_DEPTH {
            return Err(self.fault(expr, "this value nests too deep: more than 100 levels"));
        }
        Ok(value)
    }

    fn eval_now(&self, expr: &Expr, scope: &Scope<'_>) -> EvalResult {
        Ok(match &expr.kind {
            ExprKind::Null => Value::NULL,
            ExprKind::Bool(flag) => Value::bool(*flag),
            ExprKind::Number(text) => match Number::parse(text) {
                Some(number) => Value::number(number),
                None => return Err(self.fault(expr, "this number is too large")),
            },
            ExprKind::Tuple(items) => Value::tuple(self.all(items, scope)?),
            ExprKind::Object(items) => self.object(items, scope)?,
            ExprKind::Template(template) => self.template(template, scope)?,
            ExprKind::Parenthesis(inner) => self.eval(inner, scope)?,
            ExprKind::Variable(name) => self.root(&name.name, expr, scope)?,
            ExprKind::Conditional(conditional) => self.conditional(conditional, expr, scope)?,
            ExprKind::Call(call) => self.call(call, expr, scope)?,
            ExprKind::Attribute(base, name) => self.attribute_of(base, name, scope)?,
            ExprKind::Index(base, key) => self.index_of(base, key, scope)?,
            ExprKind::Splat { base, each } => self.splat(base, each, scope)?,
            ExprKind::SplatItem => scope.splat_item().cloned().unwrap_or(Value::UNKNOWN),
            ExprKind::Unary(operator, operand) => self.unary(*operator, operand, scope)?,
            ExprKind::Binary(binary) => self.binary(binary, scope)?,
            ExprKind::For(for_expr) => self.for_expr(for_expr, scope)?,
            ExprKind::Invalid => Value::UNKNOWN,
        })
    }

    fn check_weight(&self, weight: u64, at: &Expr) -> Result<(), Box<Diagnostic>> {
        if weight > MAX_VALUE_WEIGHT {
            return Err(self.fault(at, "this value is too large: more than 4 MiB"));
        }
        Ok(())
    }

    /// Evaluates expressions that don't depend on each other. The fault is the first one's; those of the others are
    /// noted.
    pub(super) fn all(&self, items: &[Expr], scope: &Scope<'_>) -> Result<Vec<Value>, Box<Diagnostic>> {
        let mut values = Vec::with_capacity(items.len());
        let mut first = None;
        let mut weight = 0_u64;
        for item in items {
            if let Some(value) = self.unless_faulty(self.eval(item, scope), &mut first)? {
                weight = weight.saturating_add(value.weight());
                self.check_weight(weight, item)?;
                values.push(value);
            }
        }
        first.map_or(Ok(values), Err)
    }

    /// The value of one of several results; a fault goes to `first`, or is noted where there is one. Work that is used up
    /// is an end, and no reason to go on.
    pub(super) fn unless_faulty<T>(
        &self,
        result: Result<T, Box<Diagnostic>>,
        first: &mut Option<Box<Diagnostic>>,
    ) -> Result<Option<T>, Box<Diagnostic>> {
        match result {
            Ok(value) => return Ok(Some(value)),
            Err(fault) if self.runtime.spend(0).is_err() => return Err(first.take().unwrap_or(fault)),
            Err(fault) if first.is_none() => *first = Some(fault),
            Err(fault) => self.runtime.note(*fault),
        }
        Ok(None)
    }

    /// Tries an expression: what it notes is forgotten when it fails.
    pub(super) fn attempt(&self, expr: &Expr, scope: &Scope<'_>) -> EvalResult {
        let noted = self.runtime.further_faults();
        let result = self.eval(expr, scope);
        if result.is_err() {
            self.runtime.forget(noted);
        }
        result
    }

    /// Of several values for one key the last counts. An unknown key leaves the whole object unknown.
    fn object(&self, items: &[ObjectItem], scope: &Scope<'_>) -> EvalResult {
        let mut entries = IndexMap::new();
        let mut unknown = false;
        let mut weight = 0_u64;
        let mut first = None;
        for item in items {
            let key = self.unless_faulty(self.object_key(&item.key, scope), &mut first)?;
            let value = self.unless_faulty(self.eval(&item.value, scope), &mut first)?;
            match (key, value) {
                (Some(Some(key)), Some(value)) => {
                    weight = weight.saturating_add(value.weight());
                    self.check_weight(weight, &item.value)?;
                    entries.insert(key, value);
                }
                _ => unknown = true,
            }
        }
        if let Some(fault) = first {
            return Err(fault);
        }
        Ok(if unknown { Value::UNKNOWN } else { Value::object(entries) })
    }

    /// The key of an object's entry; `None` when it is unknown.
    fn object_key(&self, key: &ObjectKey, scope: &Scope<'_>) -> Result<Option<String>, Box<Diagnostic>> {
        let expr = match key {
            ObjectKey::Name(ident) => return Ok(Some(ident.name.to_string())),
            ObjectKey::Expr(expr) => expr,
        };
        if matches!(expr.kind, ExprKind::Attribute(..) | ExprKind::Index(..) | ExprKind::Splat { .. }) {
            let mut fault = self.fault(expr, "it is not clear whether this key is text or a reference");
            fault.set_hint("put it into parentheses to have it evaluated, or into quotes to have it as text");
            return Err(fault);
        }
        let value = self.eval(expr, scope)?;
        if self.runtime.late.look_at(&value) {
            return Ok(None);
        }
        self.key_text(&value, expr)
    }

    /// The text of a key; `None` when it is unknown.
    pub(super) fn key_text(&self, value: &Value, at: &Expr) -> Result<Option<String>, Box<Diagnostic>> {
        if matches!(value.kind(), Kind::Unknown) {
            return Ok(None);
        }
        let text = value.to_text();
        text.map(|text| Some(text.to_string()))
            .ok_or_else(|| self.fault(at, format!("a key must be a string, this is {}", value.type_name())))
    }

    /// What a name stands for.
    pub(super) fn root(&self, name: &str, at: &impl Spanned, scope: &Scope<'_>) -> EvalResult {
        if let Some(value) = scope.get(name).or_else(|| self.globals.get(name)) {
            return Ok(value.clone());
        }
        let mut fault = self.fault(at, format!("{name:?} is not defined"));
        if self.in_template_file {
            fault.set_hint("a file that templatefile renders knows only the values that templatefile is given");
            return Err(fault);
        }
        match name {
            "env" => {
                "env is a function: env(\"NAME\")".clone_into(&mut fault.summary);
                fault.set_hint("it is allowed in a variable's default");
            }
            "source" | "build" => {
                fault.summary = format!("{name}.… has no value here");
                fault.set_hint(format!("{name}.… can be used in provisioners and post-processors of a build block"));
            }
            "var" | "local" | "data" => {
                fault.summary = format!("{name}.… can't be used here");
                fault.set_hint("a variable's default and its type may not refer to other variables, locals or data");
            }
            "each" => {
                fault.set_hint("a dynamic block's element is NAME.key and NAME.value, where NAME is the block's kind");
            }
            _ => {
                let names = self.globals.keys().map(String::as_str);
                let hint = did_you_mean(name, names.chain(["true", "false", "null"]));
                if hint.text.is_empty() {
                    fault.set_hint("text goes in quotes; variables are var.NAME, locals are local.NAME");
                } else {
                    fault.set_hint(hint);
                }
            }
        }
        Err(fault)
    }

    pub(super) fn boolean(&self, value: &Value, at: &impl Spanned, what: &str) -> Result<bool, Box<Diagnostic>> {
        match convert(value, &Type::Bool).map(|value| value.kind().clone()) {
            Ok(Kind::Bool(flag)) => Ok(flag),
            _ => Err(self.fault(at, format!("{what} must be true or false, this is {}", value.type_name()))),
        }
    }

    /// Both results are evaluated, for their common type; what is wrong with the one that is not chosen does not matter.
    fn conditional(&self, conditional: &Conditional, whole: &Expr, scope: &Scope<'_>) -> EvalResult {
        let condition = self.eval(&conditional.condition, scope)?;
        if self.runtime.late.look_into(&condition) {
            return self.either(conditional, scope);
        }
        if condition.is_unknown() {
            return Ok(Value::UNKNOWN.marked(condition.is_sensitive()));
        }
        let yes = self.boolean(&condition, &conditional.condition, "a condition")?;
        let (chosen, other) =
            if yes { (&conditional.yes, &conditional.no) } else { (&conditional.no, &conditional.yes) };
        let value = self.eval(chosen, scope)?;
        let value = match self.attempt(other, scope) {
            Ok(other) => self.in_common_type(value, &other, whole)?,
            Err(_) => value,
        };
        Ok(value.marked(condition.is_sensitive()))
    }

    /// One of the two results, of which only the build will know which it is: what is wrong with both is wrong.
    fn either(&self, conditional: &Conditional, scope: &Scope<'_>) -> EvalResult {
        let yes = self.attempt(&conditional.yes, scope);
        let no = self.attempt(&conditional.no, scope);
        match yes {
            Ok(value) if !value.is_null() && !value.is_unknown() => Ok(value),
            Ok(yes) => Ok(no.unwrap_or(yes)),
            Err(fault) => no.map_err(|_| fault),
        }
    }

    fn in_common_type(&self, value: Value, other: &Value, whole: &Expr) -> EvalResult {
        if value.is_late() || other.is_late() || other.is_null() || other.is_unknown() || value.is_unknown() {
            return Ok(value);
        }
        let (own, its) = (Type::of(&value), Type::of(other));
        if own == its {
            return Ok(value);
        }
        self.spend((value.weight() + other.weight()) / 8, whole)?;
        let converted = common(&[own.clone(), its.clone()]).and_then(|common| convert(&value, &common).ok());
        converted.ok_or_else(|| {
            let summary = format!(
                "the two results of a condition must have one type, these are {} and {}",
                value.type_name(),
                other.type_name()
            );
            self.fault(whole, summary)
        })
    }

    /// The pairs a `for` goes through.
    pub(super) fn pairs(&self, value: &Value, at: &impl Spanned) -> Result<Vec<(Value, Value)>, Box<Diagnostic>> {
        let marked = value.is_marked();
        match value.kind() {
            Kind::Sequence(sequence) => Ok(sequence
                .items
                .iter()
                .enumerate()
                .map(|(index, item)| {
                    let key = if sequence.shape == SequenceShape::Set { item.clone() } else { Value::number(index) };
                    (key, item.clone().marked(marked))
                })
                .collect()),
            Kind::Mapping(mapping) => Ok(mapping
                .sorted()
                .into_iter()
                .map(|(key, item)| (Value::string(key.as_str()), item.clone().marked(marked)))
                .collect()),
            _ => Err(self.fault(at, format!("for needs a list, a set or a map, this is {}", value.type_name()))),
        }
    }

    fn for_expr(&self, expr: &For, scope: &Scope<'_>) -> EvalResult {
        let collection = self.eval(&expr.collection, scope)?;
        if matches!(collection.kind(), Kind::Unknown) || self.runtime.late.look_at(&collection) {
            return Ok(Value::UNKNOWN.marked(collection.is_marked()));
        }
        let mut result = ForResult::default();
        for (key, item) in self.pairs(&collection, &expr.collection)? {
            let mut names = vec![(expr.value_name.name.to_string(), item)];
            if let Some(key_name) = &expr.key_name {
                names.push((key_name.name.to_string(), key));
            }
            self.for_element(expr, &Scope::child(scope, &names), &mut result)?;
        }
        if result.unknown {
            return Ok(Value::UNKNOWN.marked(collection.is_marked()));
        }
        let value = if expr.key.is_none() {
            Value::tuple(result.list)
        } else if expr.group {
            Value::object(result.groups.into_iter().map(|(key, items)| (key, Value::tuple(items))).collect())
        } else {
            Value::object(result.entries)
        };
        Ok(value.marked(collection.is_marked() || result.sensitive))
    }

    fn for_element(&self, expr: &For, inner: &Scope<'_>, result: &mut ForResult) -> Result<(), Box<Diagnostic>> {
        if let Some(condition) = &expr.condition {
            let keep = self.eval(condition, inner)?;
            result.sensitive |= keep.is_sensitive();
            if keep.is_unknown() || self.runtime.late.look_into(&keep) {
                result.unknown = true;
                return Ok(());
            }
            if !self.boolean(&keep, condition, "the if of a for")? {
                return Ok(());
            }
        }
        let Some(key_expr) = &expr.key else {
            let value = self.eval(&expr.value, inner)?;
            result.weight = result.weight.saturating_add(value.weight());
            result.list.push(value);
            return self.check_weight(result.weight, &expr.value);
        };
        let key = self.eval(key_expr, inner)?;
        result.sensitive |= key.is_sensitive();
        let sensitive = key.is_sensitive();
        let key = if self.runtime.late.look_at(&key) { None } else { self.key_text(&key, key_expr)? };
        let value = self.eval(&expr.value, inner)?;
        result.weight = result.weight.saturating_add(value.weight());
        self.check_weight(result.weight, &expr.value)?;
        let Some(key) = key else {
            result.unknown = true;
            return Ok(());
        };
        if expr.group {
            result.groups.entry(key).or_default().push(value);
        } else if result.entries.contains_key(&key) {
            let shown = if sensitive { String::new() } else { format!(" {key:?}") };
            let mut fault = self.fault(key_expr, format!("two elements have the same key{shown}"));
            fault.set_hint("write ... after the value to group them: { for … : key => value... }");
            return Err(fault);
        } else {
            result.entries.insert(key, value);
        }
        Ok(())
    }
}

/// What a `for` has made so far.
#[derive(Default)]
struct ForResult {
    list: Vec<Value>,
    entries: IndexMap<String, Value>,
    groups: IndexMap<String, Vec<Value>>,
    weight: u64,
    unknown: bool,
    sensitive: bool,
}
