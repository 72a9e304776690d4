//! The evaluator of HCL2 expressions over hcl-edit's tree. Every error says where it is. Values that could not be worked
//! out are unknown, and what depends on them stays silent, so that one fault is one complaint.

use hcl_edit::Decorated;
use hcl_edit::expr::{
    BinaryOp, BinaryOperator, Conditional, Expression, ForExpr, ObjectKey, Traversal, TraversalOperator,
};
use hcl_edit::expr::{UnaryOp, UnaryOperator};
use hcl_edit::prelude::*;
use indexmap::IndexMap;

use crate::domain::diagnostic::Diagnostic;
use crate::template::number::Number;
use crate::template::runtime::{MAX_VALUE_DEPTH, MAX_VALUE_WEIGHT, Runtime};
use crate::template::source::{SourceFile, did_you_mean};
use crate::template::types::{Type, convert};
use crate::template::value::{Kind, SequenceShape, Value};

/// A value, or the one complaint that stopped it.
pub type EvalResult = Result<Value, Box<Diagnostic>>;

/// Root names an expression can use: `var`, `local`, `path`, `packer`, and where they exist `source` and `build`.
pub type Globals = IndexMap<String, Value>;

/// Names that `for` expressions bring in, innermost first.
#[derive(Debug, Default)]
pub struct Scope<'s> {
    names: Vec<(String, Value)>,
    parent: Option<&'s Scope<'s>>,
}

impl<'s> Scope<'s> {
    #[must_use]
    pub fn child(parent: &'s Scope<'s>, names: Vec<(String, Value)>) -> Self {
        Scope { names, parent: Some(parent) }
    }

    fn get(&self, name: &str) -> Option<&Value> {
        let own = self.names.iter().find(|(own, _)| own == name).map(|(_, value)| value);
        own.or_else(|| self.parent.and_then(|parent| parent.get(name)))
    }
}

/// Evaluates the expressions of one file.
#[derive(Debug, Clone, Copy)]
pub struct Evaluator<'a> {
    pub file: &'a SourceFile,
    pub runtime: &'a Runtime<'a>,
    pub globals: &'a Globals,
    /// `env("NAME")` is for variable defaults only.
    pub env_allowed: bool,
    /// Inside a file that `templatefile` renders.
    pub in_template_file: bool,
}

impl<'a> Evaluator<'a> {
    #[must_use]
    pub fn new(file: &'a SourceFile, runtime: &'a Runtime<'a>, globals: &'a Globals) -> Self {
        Self { file, runtime, globals, env_allowed: false, in_template_file: false }
    }

    /// Evaluates an expression outside any `for`.
    ///
    /// # Errors
    /// With the complaint, located.
    pub fn value(&self, expr: &Expression) -> EvalResult {
        self.eval(expr, &Scope::default())
    }

    #[expect(clippy::unnecessary_box_returns, reason = "every result here has a boxed error, to keep it small")]
    pub(super) fn fault(&self, at: &impl Span, summary: impl Into<String>) -> Box<Diagnostic> {
        let offset = at.span().map_or(0, |span| span.start);
        Box::new(Diagnostic::error(summary).at(Some(self.file.location(offset))))
    }

    /// Evaluates an expression.
    ///
    /// # Errors
    /// With the complaint, located.
    pub fn eval(&self, expr: &Expression, scope: &Scope<'_>) -> EvalResult {
        self.runtime.spend(1).map_err(|message| self.fault(expr, message))?;
        let value = match expr {
            Expression::Null(_) => Value::NULL,
            Expression::Bool(flag) => Value::bool(*flag.value()),
            Expression::Number(number) => match Number::parse(&number.value().to_string()) {
                Some(number) => Value::number(number),
                None => return Err(self.fault(expr, "this number has too many digits")),
            },
            Expression::String(text) => Value::string(text.as_str()),
            Expression::Array(items) => {
                Value::tuple(items.iter().map(|item| self.eval(item, scope)).collect::<Result<_, _>>()?)
            }
            Expression::Object(object) => {
                let mut entries = IndexMap::new();
                for (key, value) in object {
                    if let Some(key) = self.object_key(key, scope)? {
                        entries.insert(key, self.eval(value.expr(), scope)?);
                    }
                }
                Value::object(entries)
            }
            Expression::StringTemplate(template) => self.template(template, scope, true)?,
            Expression::HeredocTemplate(heredoc) => self.template(&heredoc.template, scope, false)?,
            Expression::Parenthesis(inner) => self.eval(inner.inner(), scope)?,
            Expression::Variable(name) => self.root(name.as_str(), expr, scope)?,
            Expression::Conditional(conditional) => self.conditional(conditional, scope)?,
            Expression::FuncCall(call) => self.call(call, scope)?,
            Expression::Traversal(traversal) => self.traversal(traversal, scope)?,
            Expression::UnaryOp(op) => self.unary(op, scope)?,
            Expression::BinaryOp(op) => self.binary(op, scope)?,
            Expression::ForExpr(for_expr) => self.for_expr(for_expr, scope)?,
        };
        if value.weight() > MAX_VALUE_WEIGHT {
            return Err(self.fault(expr, "this value is too large: more than 4 MiB"));
        }
        if value.depth() > MAX_VALUE_DEPTH {
            return Err(self.fault(expr, "this value nests too deep: more than 100 levels"));
        }
        Ok(value)
    }

    /// The key of an object's entry; `None` when it is unknown.
    fn object_key(&self, key: &ObjectKey, scope: &Scope<'_>) -> Result<Option<String>, Box<Diagnostic>> {
        match key {
            ObjectKey::Ident(ident) => Ok(Some(ident.as_str().to_owned())),
            // A bare name is a key, as it is in `{ name = 1 }`; `(name)` is an expression.
            ObjectKey::Expression(Expression::Variable(name)) => Ok(Some(name.as_str().to_owned())),
            ObjectKey::Expression(expr) => {
                let value = self.eval(expr, scope)?;
                if value.is_unknown() {
                    return Ok(None);
                }
                let text = value.to_text();
                text.map(|text| Some(text.to_string()))
                    .ok_or_else(|| self.fault(expr, format!("a key must be a string, this is {}", value.type_name())))
            }
        }
    }

    fn root(&self, name: &str, at: &impl Span, scope: &Scope<'_>) -> EvalResult {
        if let Some(value) = scope.get(name).or_else(|| self.globals.get(name)) {
            return Ok(value.clone());
        }
        let (summary, detail) = match name {
            "data" => ("data sources are not supported yet".to_owned(), "give the value as a variable".into()),
            "env" => ("env is a function: env(\"NAME\")".to_owned(), "it is allowed in a variable's default".into()),
            "source" | "build" => (
                format!("{name}.… has no value here"),
                format!("{name}.… can be used in provisioners and post-processors of a build block").into(),
            ),
            "var" | "local" => (
                format!("{name}.… can't be used here"),
                "a variable's default and its type may not refer to other variables or locals".into(),
            ),
            _ => {
                let names = self.globals.keys().map(String::as_str);
                (format!("{name:?} is not defined"), did_you_mean(name, names.chain(["true", "false", "null"])))
            }
        };
        let mut fault = self.fault(at, summary);
        if detail.text.is_empty() {
            fault.set_hint("text goes in quotes; variables are var.NAME, locals are local.NAME");
        } else {
            fault.set_hint(detail);
        }
        Err(fault)
    }

    pub(super) fn boolean(&self, value: &Value, at: &impl Span, what: &str) -> Result<bool, Box<Diagnostic>> {
        match convert(value, &Type::Bool).map(|value| value.kind().clone()) {
            Ok(Kind::Bool(flag)) => Ok(flag),
            _ => Err(self.fault(at, format!("{what} must be true or false, this is {}", value.type_name()))),
        }
    }

    fn conditional(&self, conditional: &Conditional, scope: &Scope<'_>) -> EvalResult {
        let condition = self.eval(&conditional.cond_expr, scope)?;
        if condition.is_unknown() {
            return Ok(Value::UNKNOWN);
        }
        let chosen = if self.boolean(&condition, &conditional.cond_expr, "a condition")? {
            &conditional.true_expr
        } else {
            &conditional.false_expr
        };
        Ok(self.eval(chosen, scope)?.marked(condition.is_sensitive()))
    }

    fn unary(&self, op: &UnaryOp, scope: &Scope<'_>) -> EvalResult {
        let value = self.eval(&op.expr, scope)?;
        if value.is_unknown() {
            return Ok(Value::UNKNOWN);
        }
        let result = match op.operator.value() {
            UnaryOperator::Not => Value::bool(!self.boolean(&value, &op.expr, "the operand of !")?),
            UnaryOperator::Neg => {
                let number = self.operand(&value, &op.expr, "-")?;
                Value::number(-number)
            }
        };
        Ok(result.marked(value.is_sensitive()))
    }

    fn operand(&self, value: &Value, at: &impl Span, operator: &str) -> Result<Number, Box<Diagnostic>> {
        match convert(value, &Type::Number).map(|value| value.kind().clone()) {
            Ok(Kind::Number(number)) => Ok(number),
            _ => Err(self.fault(at, format!("{operator} needs a number, this is {}", value.type_name()))),
        }
    }

    fn binary(&self, op: &BinaryOp, scope: &Scope<'_>) -> EvalResult {
        let operator = *op.operator.value();
        let left = self.eval(&op.lhs_expr, scope)?;
        if let (BinaryOperator::And | BinaryOperator::Or, false) = (operator, left.is_unknown()) {
            let decided = self.boolean(&left, &op.lhs_expr, "an operand of && or ||")?;
            if decided == (operator == BinaryOperator::Or) {
                return Ok(Value::bool(decided).marked(left.is_sensitive()));
            }
        }
        let right = self.eval(&op.rhs_expr, scope)?;
        if left.is_unknown() || right.is_unknown() {
            return Ok(Value::UNKNOWN);
        }
        let sensitive = left.is_sensitive() || right.is_sensitive();
        let result = match operator {
            BinaryOperator::And | BinaryOperator::Or => {
                Value::bool(self.boolean(&right, &op.rhs_expr, "an operand of && or ||")?)
            }
            BinaryOperator::Eq | BinaryOperator::NotEq => {
                let work = left.weight().min(right.weight()) / 16;
                self.runtime.spend(work).map_err(|message| self.fault(&op.lhs_expr, message))?;
                Value::bool((left == right) == (operator == BinaryOperator::Eq))
            }
            _ => {
                let a = self.operand(&left, &op.lhs_expr, operator.as_str())?;
                let b = self.operand(&right, &op.rhs_expr, operator.as_str())?;
                self.arithmetic(operator, a, b, op)?
            }
        };
        Ok(result.marked(sensitive))
    }

    fn arithmetic(&self, operator: BinaryOperator, a: Number, b: Number, op: &BinaryOp) -> EvalResult {
        let number = match operator {
            BinaryOperator::Less => return Ok(Value::bool(a < b)),
            BinaryOperator::LessEq => return Ok(Value::bool(a <= b)),
            BinaryOperator::Greater => return Ok(Value::bool(a > b)),
            BinaryOperator::GreaterEq => return Ok(Value::bool(a >= b)),
            BinaryOperator::Plus => a.checked_add(b),
            BinaryOperator::Minus => a.checked_sub(b),
            BinaryOperator::Mul => a.checked_mul(b),
            _ if b == Number::ZERO => return Err(self.fault(&op.rhs_expr, "division by zero")),
            BinaryOperator::Div => a.checked_div(b),
            _ => a.checked_rem(b),
        };
        number.map(Value::number).ok_or_else(|| self.fault(&op.lhs_expr, "the result is out of range"))
    }

    fn traversal(&self, traversal: &Traversal, scope: &Scope<'_>) -> EvalResult {
        let name = match &traversal.expr {
            Expression::Variable(name) => Some(name.as_str()),
            _ => None,
        };
        let base = match name {
            Some(name) => self.root(name, &traversal.expr, scope)?,
            None => self.eval(&traversal.expr, scope)?,
        };
        self.steps(base, &traversal.operators, name, scope)
    }

    /// Applies `.name`, `[index]` and splats. `root` is the name the traversal starts with, for the messages.
    fn steps(
        &self,
        mut value: Value,
        operators: &[Decorated<TraversalOperator>],
        root: Option<&str>,
        scope: &Scope<'_>,
    ) -> EvalResult {
        for (position, operator) in operators.iter().enumerate() {
            if matches!(value.kind(), Kind::Unknown) {
                return Ok(Value::UNKNOWN);
            }
            let root = root.filter(|_| position == 0);
            value = match operator.value() {
                TraversalOperator::GetAttr(name) => self.attribute(&value, name.as_str(), root, name)?,
                TraversalOperator::LegacyIndex(index) => {
                    self.index(&value, &Value::number(*index.value()), operator)?
                }
                TraversalOperator::Index(expr) => {
                    let index = self.eval(expr, scope)?;
                    self.index(&value, &index, expr)?
                }
                TraversalOperator::AttrSplat(_) => {
                    let rest = &operators[position + 1..];
                    let attributes =
                        rest.iter().take_while(|next| matches!(next.value(), TraversalOperator::GetAttr(_))).count();
                    let items = self.splat(&value, &rest[..attributes], scope)?;
                    return self.steps(items, &rest[attributes..], None, scope);
                }
                TraversalOperator::FullSplat(_) => return self.splat(&value, &operators[position + 1..], scope),
            };
        }
        Ok(value)
    }

    fn splat(&self, value: &Value, rest: &[Decorated<TraversalOperator>], scope: &Scope<'_>) -> EvalResult {
        let items = match value.kind() {
            Kind::Null => Vec::new(),
            Kind::Sequence(sequence) => sequence.items.clone(),
            _ => vec![value.clone()],
        };
        let items = items.into_iter().map(|item| self.steps(item, rest, None, scope));
        Ok(Value::tuple(items.collect::<Result<_, _>>()?).marked(value.is_marked()))
    }

    fn attribute(&self, value: &Value, name: &str, root: Option<&str>, at: &impl Span) -> EvalResult {
        let Some(mapping) = value.as_mapping() else {
            let hint = match value.kind() {
                Kind::Null => "this is null, it has no attributes".to_owned(),
                Kind::Sequence(_) => format!("this is a {}; use [0] for an element, [*] for all", value.type_name()),
                _ => format!("this is a {}, it has no attributes", value.type_name()),
            };
            return Err(self.fault(at, format!("there is no attribute {name:?} here: {hint}")));
        };
        if let Some(found) = mapping.entries.get(name) {
            return Ok(found.clone().marked(value.is_marked()));
        }
        let summary = match root {
            Some("var") => format!("there is no variable {name:?}"),
            Some("local") => format!("there is no local {name:?}"),
            Some("build") => format!("there is no build.{name}"),
            _ => format!("there is no attribute {name:?}"),
        };
        let mut fault = self.fault(at, summary);
        fault.set_hint(did_you_mean(name, mapping.entries.keys().map(String::as_str)));
        if fault.detail.is_empty() && root == Some("var") {
            fault.detail = format!("declare it: variable {name:?} {{ … }}");
        }
        Err(fault)
    }

    fn index(&self, value: &Value, index: &Value, at: &impl Span) -> EvalResult {
        if matches!(index.kind(), Kind::Unknown) {
            return Ok(Value::UNKNOWN);
        }
        let sensitive = value.is_marked() || index.is_sensitive();
        match value.kind() {
            Kind::Sequence(sequence) if sequence.shape != SequenceShape::Set => {
                let position = self.operand(index, at, "an index")?;
                let item = position.to_i64().and_then(|i| usize::try_from(i).ok()).and_then(|i| sequence.items.get(i));
                item.map(|item| item.clone().marked(sensitive)).ok_or_else(|| {
                    let summary = format!("there is no element {position}: the list has {}", sequence.items.len());
                    self.fault(at, summary)
                })
            }
            Kind::Mapping(mapping) => {
                let Some(key) = index.to_text() else {
                    return Err(self.fault(at, format!("a key must be a string, this is {}", index.type_name())));
                };
                mapping.entries.get(&*key).map(|item| item.clone().marked(sensitive)).ok_or_else(|| {
                    let mut fault = self.fault(
                        at,
                        if index.is_sensitive() {
                            "there is no such key".to_owned()
                        } else {
                            format!("there is no key {key:?}")
                        },
                    );
                    fault.set_hint(did_you_mean(&key, mapping.entries.keys().map(String::as_str)));
                    fault
                })
            }
            _ => Err(self.fault(at, format!("a {} has no elements to pick with […]", value.type_name()))),
        }
    }

    /// The pairs a `for` goes through.
    pub(super) fn pairs(&self, value: &Value, at: &impl Span) -> Result<Vec<(Value, Value)>, Box<Diagnostic>> {
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

    fn for_expr(&self, expr: &ForExpr, scope: &Scope<'_>) -> EvalResult {
        let collection = self.eval(&expr.intro.collection_expr, scope)?;
        if matches!(collection.kind(), Kind::Unknown) {
            return Ok(Value::UNKNOWN);
        }
        let mut list = Vec::new();
        let mut entries: IndexMap<String, Value> = IndexMap::new();
        let mut groups: IndexMap<String, Vec<Value>> = IndexMap::new();
        for (key, item) in self.pairs(&collection, &expr.intro.collection_expr)? {
            let mut names = vec![(expr.intro.value_var.as_str().to_owned(), item)];
            if let Some(key_var) = &expr.intro.key_var {
                names.push((key_var.as_str().to_owned(), key));
            }
            let inner = Scope::child(scope, names);
            if let Some(condition) = &expr.cond {
                let keep = self.eval(&condition.expr, &inner)?;
                if keep.is_unknown() {
                    return Ok(Value::UNKNOWN);
                }
                if !self.boolean(&keep, &condition.expr, "the if of a for")? {
                    continue;
                }
            }
            let value = self.eval(&expr.value_expr, &inner)?;
            let Some(key_expr) = &expr.key_expr else {
                list.push(value);
                continue;
            };
            let key = self.eval(key_expr, &inner)?;
            if key.is_unknown() {
                return Ok(Value::UNKNOWN);
            }
            let Some(key) = key.to_text() else {
                return Err(self.fault(key_expr, format!("a key must be a string, this is {}", key.type_name())));
            };
            if expr.grouping {
                groups.entry(key.to_string()).or_default().push(value);
            } else if entries.insert(key.to_string(), value).is_some() {
                let mut fault = self.fault(key_expr, "two elements have the same key");
                "write … after the value to group them: { for … : key => value... }".clone_into(&mut fault.detail);
                return Err(fault);
            }
        }
        let result = if expr.key_expr.is_none() {
            Value::tuple(list)
        } else if expr.grouping {
            Value::object(groups.into_iter().map(|(key, items)| (key, Value::tuple(items))).collect())
        } else {
            Value::object(entries)
        };
        Ok(result.marked(collection.is_marked()))
    }
}
