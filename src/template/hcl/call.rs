//! Calls.

use hcl_edit::expr::{Expression, FuncCall};

use super::eval::{EvalResult, Evaluator, Scope};
use super::functions;
use crate::domain::diagnostic::Diagnostic;
use crate::template::types::{Type, convert};
use crate::template::value::{Kind, Value};

impl Evaluator<'_> {
    pub(super) fn call(&self, call: &FuncCall, scope: &Scope<'_>) -> EvalResult {
        let name = call.name.name.as_str();
        if call.name.is_namespaced() {
            return Err(self.fault(call, format!("{name} is called with a namespace, which Packer does not have")));
        }
        match name {
            "try" => return self.try_call(call, scope),
            "can" => return self.can_call(call, scope),
            "convert" => return self.convert_call(call, scope),
            _ => {}
        }
        let args = self.arguments(call, scope)?;
        match name {
            "env" => self.env_call(&args, call),
            "templatefile" => self.template_file(&args, call),
            _ => functions::call(name, &args, self.runtime).map_err(|error| self.argument_fault(name, call, &error)),
        }
    }

    #[expect(clippy::unnecessary_box_returns, reason = "every result here has a boxed error, to keep it small")]
    fn argument_fault(&self, name: &str, call: &FuncCall, error: &functions::FunctionError) -> Box<Diagnostic> {
        let summary = if error.message.starts_with("there is no function") { error.message.clone() } else { format!("{name}: {}", error.message) };
        let mut fault = match error.argument.and_then(|at| call.args.get(at)) {
            Some(argument) => self.fault(argument, summary),
            None => self.fault(call, summary),
        };
        fault.set_hint(error.hint.clone());
        fault
    }

    fn arguments(&self, call: &FuncCall, scope: &Scope<'_>) -> Result<Vec<Value>, Box<Diagnostic>> {
        let mut args: Vec<Value> = call.args.iter().map(|arg| self.eval(arg, scope)).collect::<Result<_, _>>()?;
        if call.args.expand_final() {
            let last = args.pop().unwrap_or(Value::NULL);
            match last.kind() {
                Kind::Unknown => args.push(Value::UNKNOWN),
                Kind::Sequence(sequence) => {
                    args.extend(sequence.items.iter().map(|item| item.clone().marked(last.is_marked())));
                }
                _ => return Err(self.fault(call, format!("… expands a list, this is {}", last.type_name()))),
            }
        }
        Ok(args)
    }

    fn try_call(&self, call: &FuncCall, scope: &Scope<'_>) -> EvalResult {
        let mut last = None;
        for argument in &call.args {
            match self.eval(argument, scope) {
                Ok(value) => return Ok(value),
                // Work that is used up is no ordinary failure: going on would only use more.
                Err(error) => {
                    self.runtime.spend(0).map_err(|message| self.fault(call, message))?;
                    last = Some(error);
                }
            }
        }
        let Some(last) = last else { return Err(self.fault(call, "try: it takes at least one argument")) };
        let mut fault = self.fault(call, "try: none of the expressions could be evaluated");
        fault.detail = format!("the last one said: {}", last.summary);
        Err(fault)
    }

    fn can_call(&self, call: &FuncCall, scope: &Scope<'_>) -> EvalResult {
        let (Some(argument), 1) = (call.args.get(0), call.args.len()) else {
            return Err(self.fault(call, "can: it takes one argument"));
        };
        let result = self.eval(argument, scope);
        self.runtime.spend(0).map_err(|message| self.fault(call, message))?;
        Ok(match result {
            Ok(value) if value.is_unknown() => Value::UNKNOWN,
            result => Value::bool(result.is_ok()),
        })
    }

    fn convert_call(&self, call: &FuncCall, scope: &Scope<'_>) -> EvalResult {
        let (Some(argument), Some(to), 2) = (call.args.get(0), call.args.get(1), call.args.len()) else {
            return Err(self.fault(call, "convert: it takes a value and a type"));
        };
        let value = self.eval(argument, scope)?;
        let to = self.type_constraint(to)?;
        convert(&value, &to).map_err(|message| self.fault(argument, format!("convert: {message}")))
    }

    /// Reads a type expression of this file.
    ///
    /// # Errors
    /// With the complaint, located.
    pub fn type_constraint(&self, expr: &Expression) -> Result<Type, Box<Diagnostic>> {
        Type::parse(expr, &|default| self.value(default).map_err(|fault| fault.summary))
            .map_err(|error| self.fault_at(error.offset, error.message))
    }

    #[expect(clippy::unnecessary_box_returns, reason = "every result here has a boxed error, to keep it small")]
    fn fault_at(&self, offset: usize, summary: String) -> Box<Diagnostic> {
        Box::new(Diagnostic::error(summary).at(Some(self.file.location(offset))))
    }

    fn env_call(&self, args: &[Value], call: &FuncCall) -> EvalResult {
        if !self.env_allowed {
            let mut fault = self.fault(call, "env(…) can only be used in the default of a variable");
            "declare a variable with this default and use var.NAME".clone_into(&mut fault.detail);
            return Err(fault);
        }
        match args {
            [name] => match name.as_str() {
                Some(name) => Ok(Value::string(self.runtime.env(name).unwrap_or_default())),
                None => Err(self.fault(call, "env: a string is needed")),
            },
            _ => Err(self.fault(call, "env: it takes one argument")),
        }
    }

    fn template_file(&self, args: &[Value], call: &FuncCall) -> EvalResult {
        if self.in_template_file {
            return Err(self.fault(call, "templatefile: it can't be used inside a file that templatefile renders"));
        }
        let located = |at: usize, message: String| {
            let error = functions::FunctionError { argument: Some(at), message, hint: crate::domain::diagnostic::Hint::default() };
            self.argument_fault("templatefile", call, &error)
        };
        let [path, values] = args else {
            return Err(located(args.len(), format!("it takes a path and the values for it, {} arguments are given", args.len())));
        };
        if path.is_unknown() || matches!(values.kind(), Kind::Unknown) {
            return Ok(Value::UNKNOWN);
        }
        let Some(path) = path.as_str() else { return Err(located(0, "a string is needed".to_owned())) };
        let (path, text) = functions::filesystem::read_text(self.runtime, path).map_err(|message| located(0, message))?;
        let Some(mapping) = values.as_mapping() else {
            return Err(located(1, format!("a map or an object is needed, this is {}", values.type_name())));
        };
        let names = mapping.entries.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
        let file = crate::template::source::SourceFile::new(&path, &text);
        let template = hcl_edit::parser::parse_template(&file.text)
            .map_err(|error| Box::new(super::parse::explain(&file, &error)))?;
        let globals = super::eval::Globals::new();
        let mut inner = Evaluator::new(&file, self.runtime, &globals);
        inner.in_template_file = true;
        inner.template(&template, &Scope::child(&Scope::default(), names), true)
    }
}
