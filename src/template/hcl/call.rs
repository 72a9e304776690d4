//! Calls: the functions that see expressions are here (`try`, `can`, `convert`, `env`, `templatefile`); all others are in
//! `functions`.

use super::eval::{EvalResult, Evaluator, Globals, Scope};
use super::functions::{self, FunctionError};
use super::syntax::ast::{Call, Expr, Spanned};
use super::syntax::lexer::is_identifier;
use super::syntax::parse_template;
use super::type_expr;
use crate::domain::diagnostic::Diagnostic;
use crate::template::source::SourceFile;
use crate::template::types::{Type, convert};
use crate::template::value::{Kind, Value};

impl Evaluator<'_> {
    pub(super) fn call(&self, call: &Call, whole: &Expr, scope: &Scope<'_>) -> EvalResult {
        let name = &*call.name.name;
        if name.contains("::") {
            return Err(self.fault(&call.name, format!("{name}: Packer's functions have no namespaces")));
        }
        if call.expand && matches!(name, "try" | "can" | "convert") {
            return Err(self.fault(whole, format!("{name}: ... can't be used here, its arguments are expressions")));
        }
        match name {
            "try" => return self.try_call(call, whole, scope),
            "can" => return self.can_call(call, whole, scope),
            "convert" => return self.convert_call(call, whole, scope),
            _ => {}
        }
        let Some(args) = self.arguments(call, scope)? else {
            return Ok(Value::UNKNOWN);
        };
        match name {
            "env" => self.env_call(&args, call, whole),
            "templatefile" => self.template_file(&args, call, whole),
            _ => functions::call(name, &args, self.runtime).map_err(|error| self.blame(name, call, whole, error)),
        }
    }

    /// Puts a function's complaint to the argument that it is about.
    fn blame(&self, name: &str, call: &Call, whole: &Expr, error: FunctionError) -> Box<Diagnostic> {
        if error.message.starts_with("there is no function") {
            let mut fault = self.fault(&call.name, error.message);
            fault.set_hint(error.hint);
            return fault;
        }
        // An argument that came out of `...` stands where the list stands.
        let last = call.arguments.last().filter(|_| call.expand);
        let argument = error.argument.and_then(|at| call.arguments.get(at).or(last));
        let span = argument.map_or_else(|| whole.span(), Spanned::span);
        let mut fault = self.fault(&span, format!("{name}: {}", error.message));
        fault.set_hint(error.hint);
        fault
    }

    /// Evaluates the arguments; `None` when it is not known how many there are.
    fn arguments(&self, call: &Call, scope: &Scope<'_>) -> Result<Option<Vec<Value>>, Box<Diagnostic>> {
        let mut args = self.all(&call.arguments, scope)?;
        if call.expand {
            let last = args.pop().unwrap_or(Value::NULL);
            match last.kind() {
                _ if self.runtime.late.look_at(&last) => return Ok(None),
                Kind::Unknown => return Ok(None),
                Kind::Sequence(sequence) => {
                    args.extend(sequence.items.iter().map(|item| item.clone().marked(last.is_marked())));
                }
                _ => {
                    let at = call.arguments.last().map_or(call.name.span, Spanned::span);
                    return Err(self.fault(&at, format!("... expands a list, this is {}", last.type_name())));
                }
            }
        }
        Ok(Some(args))
    }

    /// [`Evaluator::attempt`] for who asks whether it fails: with something late in it that is known only later.
    fn attempt_now(&self, expr: &Expr, scope: &Scope<'_>) -> EvalResult {
        let waiting = self.runtime.late.waiting();
        let result = self.attempt(expr, scope);
        if self.runtime.late.waiting() > waiting {
            self.runtime.late.look();
            return Ok(Value::UNKNOWN);
        }
        result
    }

    fn try_call(&self, call: &Call, whole: &Expr, scope: &Scope<'_>) -> EvalResult {
        let mut last = None;
        for argument in &call.arguments {
            match self.attempt_now(argument, scope) {
                Ok(value) => return Ok(value),
                // Work that is used up is no ordinary failure: going on would only use more.
                Err(error) => {
                    self.spend(0, whole)?;
                    last = Some(error);
                }
            }
        }
        let Some(last) = last else {
            return Err(self.fault(whole, "try: it takes at least one argument"));
        };
        let mut fault = self.fault(whole, "try: none of the expressions could be evaluated");
        fault.set_hint(format!("the last one said: {}", last.summary));
        Err(fault)
    }

    fn can_call(&self, call: &Call, whole: &Expr, scope: &Scope<'_>) -> EvalResult {
        let [argument] = call.arguments.as_slice() else {
            return Err(self.fault(whole, "can: it takes one argument"));
        };
        let result = self.attempt_now(argument, scope);
        self.spend(0, whole)?;
        Ok(match result {
            Ok(value) if value.is_unknown() => Value::UNKNOWN,
            result => Value::bool(result.is_ok()),
        })
    }

    fn convert_call(&self, call: &Call, whole: &Expr, scope: &Scope<'_>) -> EvalResult {
        let [argument, to] = call.arguments.as_slice() else {
            return Err(self.fault(whole, "convert: it takes a value and a type"));
        };
        let value = self.eval(argument, scope)?;
        let to = self.type_constraint(to)?;
        self.spend(value.weight() / 8, whole)?;
        let converted = convert(&value, &to);
        // Text stays text; whether a number can be made of it, and how many values of a set differ, is not known.
        if converted.is_err() || matches!(to, Type::Set(_)) {
            self.runtime.late.look_into(&value);
        }
        converted.map_err(|message| self.fault(argument, format!("convert: {message}")))
    }

    /// Reads a type expression of this file.
    ///
    /// # Errors
    /// With the complaint, located.
    pub fn type_constraint(&self, expr: &Expr) -> Result<Type, Box<Diagnostic>> {
        let default = |expr: &Expr| self.value(expr).map_err(|fault| fault.summary);
        type_expr::parse(expr, &default).map_err(|error| self.fault(&error.span, error.message))
    }

    fn env_call(&self, args: &[Value], call: &Call, whole: &Expr) -> EvalResult {
        if !self.env_allowed {
            let mut fault = self.fault(whole, "env(…) can only be used in the default of a variable");
            fault.set_hint("declare a variable with this default and use var.NAME");
            return Err(fault);
        }
        let [name] = args else {
            return Err(self.fault(whole, "env: it takes one argument"));
        };
        if let Some(name) = name.as_str() {
            return Ok(Value::string(self.runtime.env(name).unwrap_or_default()));
        }
        let at = call.arguments.first().map_or(whole.span, Spanned::span);
        Err(self.fault(&at, format!("env: a string is needed, this is {}", name.type_name())))
    }

    fn template_file(&self, args: &[Value], call: &Call, whole: &Expr) -> EvalResult {
        let name = "templatefile";
        if self.in_template_file {
            return Err(self.fault(whole, "templatefile: it can't be used inside a file that templatefile renders"));
        }
        let blame = |at: usize, message: String| {
            let error = FunctionError { argument: Some(at), message, hint: crate::domain::diagnostic::Hint::default() };
            self.blame(name, call, whole, error)
        };
        let [path, values] = args else {
            let message = format!("it takes a path and the values for it, {} arguments are given", args.len());
            return Err(blame(args.len(), message));
        };
        let late = self.runtime.late.look_into(path) || self.runtime.late.look_at(values);
        if late || path.is_unknown() || matches!(values.kind(), Kind::Unknown) {
            return Ok(Value::UNKNOWN);
        }
        let Some(path) = path.to_text() else {
            return Err(blame(0, format!("a string is needed, this is {}", path.type_name())));
        };
        let (path, text) =
            functions::filesystem::read_text(self.runtime, &path).map_err(|message| blame(0, message))?;
        let Some(mapping) = values.as_mapping() else {
            return Err(blame(1, format!("a map or an object is needed, this is {}", values.type_name())));
        };
        if let Some(odd) = mapping.entries.keys().find(|name| !is_identifier(name)) {
            return Err(blame(1, format!("{odd:?} is no name that a template can use")));
        }
        let names: Vec<(String, Value)> =
            mapping.entries.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
        self.spend(text.len() as u64 / 16, whole)?;
        let file = SourceFile::new(&path, &text);
        let expr = parse_template(&file).map_err(|faults| {
            let first = faults.into_iter().next();
            first.map_or_else(|| self.fault(whole, "templatefile: the file can't be read"), Box::new)
        })?;
        if self.runtime.late.look_into(values) {
            return Ok(Value::UNKNOWN);
        }
        let globals = Globals::new();
        let mut inner = Evaluator::new(&file, self.runtime, &globals);
        inner.in_template_file = true;
        let value = inner.eval(&expr, &Scope::new(&names))?;
        Ok(value.marked(values.is_marked()))
    }
}
