//! Packer's functions. The table is the one place that knows which exist; [`Evaluator::call`] looks them up, evaluates
//! arguments (lazily for `try` and `can`) and puts the place to complaints. Each file holds the functions of one kind.

mod collection;
mod collection_sets;
mod date;
mod encoding;
mod filesystem;
mod format;
mod network;
mod numeric;
mod text;

use std::sync::Arc;

use hcl_edit::expr::{Expression, FuncCall};

use super::eval::{EvalResult, Evaluator, Scope};
use crate::domain::diagnostic::Diagnostic;
use crate::template::decimal::Decimal;
use crate::template::runtime::{MAX_VALUE_WEIGHT, Runtime};
use crate::template::source::did_you_mean;
use crate::template::types::{Type, convert};
use crate::template::value::{Kind, Mapping, Value};

/// Why a call failed, and which argument is to blame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FunctionError {
    pub argument: Option<usize>,
    pub message: String,
}

impl From<String> for FunctionError {
    fn from(message: String) -> Self {
        Self { argument: None, message }
    }
}

impl From<&str> for FunctionError {
    fn from(message: &str) -> Self {
        message.to_owned().into()
    }
}

pub(super) type FunctionResult = Result<Value, FunctionError>;

/// A call's arguments, none of them unknown.
pub(super) struct Call<'c> {
    args: &'c [Value],
    runtime: &'c Runtime<'c>,
}

impl Call<'_> {
    fn fail<T>(argument: usize, message: impl Into<String>) -> Result<T, FunctionError> {
        Err(FunctionError { argument: Some(argument), message: message.into() })
    }

    fn len(&self) -> usize {
        self.args.len()
    }

    fn converted(&self, at: usize, to: &Type) -> Result<Value, FunctionError> {
        let Some(value) = self.args.get(at) else { return Self::fail(at, "an argument is missing") };
        if value.is_null() {
            return Self::fail(at, "this argument must not be null");
        }
        convert(value, to).map_err(|message| FunctionError { argument: Some(at), message })
    }

    fn text(&self, at: usize) -> Result<Arc<str>, FunctionError> {
        match self.converted(at, &Type::String)?.kind() {
            Kind::String(text) => Ok(Arc::clone(text)),
            _ => Self::fail(at, "a string is needed"),
        }
    }

    fn number(&self, at: usize) -> Result<Decimal, FunctionError> {
        match self.converted(at, &Type::Number)?.kind() {
            Kind::Number(number) => Ok(*number),
            _ => Self::fail(at, "a number is needed"),
        }
    }

    fn integer(&self, at: usize) -> Result<i64, FunctionError> {
        match self.number(at)?.to_i64() {
            Some(number) => Ok(number),
            None => Self::fail(at, "a whole number is needed"),
        }
    }

    fn boolean(&self, at: usize) -> Result<bool, FunctionError> {
        match self.converted(at, &Type::Bool)?.kind() {
            Kind::Bool(flag) => Ok(*flag),
            _ => Self::fail(at, "a bool is needed"),
        }
    }

    fn items(&self, at: usize) -> Result<&[Value], FunctionError> {
        match self.args.get(at).and_then(Value::as_items) {
            Some(items) => Ok(items),
            None => Self::fail(at, format!("a list is needed, this is {}", self.type_name(at))),
        }
    }

    fn mapping(&self, at: usize) -> Result<&Mapping, FunctionError> {
        match self.args.get(at).and_then(Value::as_mapping) {
            Some(mapping) => Ok(mapping),
            None => Self::fail(at, format!("a map or an object is needed, this is {}", self.type_name(at))),
        }
    }

    /// A list's elements as text.
    fn texts(&self, at: usize) -> Result<Vec<Arc<str>>, FunctionError> {
        let texts: Option<Vec<_>> = self.items(at)?.iter().map(Value::to_text).collect();
        texts.map_or_else(|| Self::fail(at, "a list of strings is needed"), Ok)
    }

    fn type_name(&self, at: usize) -> &'static str {
        self.args.get(at).map_or("missing", Value::type_name)
    }

    /// Refuses a result before it is made when it would be too large.
    fn reserve(bytes: usize) -> Result<(), FunctionError> {
        if bytes as u64 > MAX_VALUE_WEIGHT { Err("the result is too large: more than 4 MiB".into()) } else { Ok(()) }
    }
}

/// One function: its name, how many arguments it takes, and what it does.
struct Function {
    name: &'static str,
    min: usize,
    max: usize,
    run: fn(&Call<'_>) -> FunctionResult,
}

/// No limit to the number of arguments.
const ANY: usize = usize::MAX;

const fn function(name: &'static str, min: usize, max: usize, run: fn(&Call<'_>) -> FunctionResult) -> Function {
    Function { name, min, max, run }
}

/// Packer's functions that this evaluator does not have yet.
const NOT_YET: &[&str] = &[
    "aws_secretsmanager",
    "aws_secretsmanager_raw",
    "base64gzip",
    "bcrypt",
    "consul_key",
    "legacy_strftime",
    "md5",
    "rfc3339_parse",
    "rsadecrypt",
    "sha1",
    "textdecodebase64",
    "textencodebase64",
    "unix_timestamp_parse",
    "vault",
    "yamldecode",
    "yamlencode",
];

/// Functions that Terraform has and Packer has not, with what to write instead.
const ELSEWHERE: &[(&str, &str)] = &[
    ("tostring", "convert(x, string)"),
    ("tonumber", "convert(x, number)"),
    ("tobool", "convert(x, bool)"),
    ("tolist", "convert(x, list(string))"),
    ("toset", "convert(x, set(string))"),
    ("tomap", "convert(x, map(string))"),
    ("sensitive", "sensitive = true in the variable or local"),
    ("nonsensitive", "a variable without sensitive = true"),
    ("one", "x[0]"),
    ("setsubtract", "[for x in a : x if !contains(b, x)]"),
    ("plantimestamp", "timestamp()"),
];

/// Handled by the evaluator itself, because they see expressions and not only values.
const SPECIAL: &[&str] = &["try", "can", "convert", "env", "templatefile"];

fn tables() -> impl Iterator<Item = &'static Function> {
    [
        text::FUNCTIONS,
        numeric::FUNCTIONS,
        collection::FUNCTIONS,
        collection_sets::FUNCTIONS,
        date::FUNCTIONS,
        encoding::FUNCTIONS,
        filesystem::FUNCTIONS,
        format::FUNCTIONS,
        network::FUNCTIONS,
    ]
    .into_iter()
    .flatten()
}

/// Functions that take a null argument.
fn takes_null(name: &str) -> bool {
    matches!(
        name,
        "coalesce"
            | "jsonencode"
            | "merge"
            | "contains"
            | "lookup"
            | "format"
            | "formatlist"
            | "concat"
            | "coalescelist"
    )
}

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
        if args.iter().any(Value::is_unknown) {
            return Ok(Value::UNKNOWN);
        }
        let sensitive = args.iter().any(Value::is_sensitive);
        let work = args.iter().map(|arg| arg.weight() / 16 + 1).sum();
        self.runtime.spend(work).map_err(|message| self.fault(call, message))?;
        let result = match name {
            "env" => self.env_call(&args, call)?,
            "templatefile" => self.template_file(&args, call)?,
            _ => {
                let Some(function) = tables().find(|function| function.name == name) else {
                    return Err(self.missing_function(name, call));
                };
                self.check_count(function, &args, call)?;
                let context = Call { args: &args, runtime: self.runtime };
                let null = args.iter().position(Value::is_null).filter(|_| !takes_null(name));
                let result = match null {
                    Some(at) => Call::fail(at, "this argument must not be null"),
                    None => (function.run)(&context),
                };
                result.map_err(|error| self.argument_fault(name, call, &error))?
            }
        };
        Ok(result.marked(sensitive))
    }

    #[expect(clippy::unnecessary_box_returns, reason = "every result here has a boxed error, to keep it small")]
    fn argument_fault(&self, name: &str, call: &FuncCall, error: &FunctionError) -> Box<Diagnostic> {
        let summary = format!("{name}: {}", error.message);
        match error.argument.and_then(|at| call.args.get(at)) {
            Some(argument) => self.fault(argument, summary),
            None => self.fault(call, summary),
        }
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

    fn check_count(&self, function: &Function, args: &[Value], call: &FuncCall) -> Result<(), Box<Diagnostic>> {
        let count = args.len();
        if count >= function.min && count <= function.max {
            return Ok(());
        }
        let takes = match (function.min, function.max) {
            (min, ANY) => format!("at least {min}"),
            (min, max) if min == max => min.to_string(),
            (min, max) => format!("{min} to {max}"),
        };
        Err(self.fault(call, format!("{}: it takes {takes} arguments, {count} are given", function.name)))
    }

    #[expect(clippy::unnecessary_box_returns, reason = "every result here has a boxed error, to keep it small")]
    fn missing_function(&self, name: &str, call: &FuncCall) -> Box<Diagnostic> {
        if NOT_YET.contains(&name) {
            let mut fault = self.fault(call, format!("the function {name} is not supported yet"));
            let instead = match name {
                "md5" | "sha1" => "use sha256(…)",
                "yamldecode" | "yamlencode" => "use jsondecode(…) or jsonencode(…)",
                "legacy_strftime" => "use formatdate(…, timestamp())",
                _ => "give the value as a variable",
            };
            instead.clone_into(&mut fault.detail);
            return fault;
        }
        let mut fault = self.fault(call, format!("there is no function {name:?}"));
        fault.set_hint(match ELSEWHERE.iter().find(|(other, _)| *other == name) {
            Some((_, instead)) => format!("that is Terraform's; in Packer write {instead}").into(),
            None => did_you_mean(name, tables().map(|function| function.name).chain(SPECIAL.iter().copied())),
        });
        fault
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
        let context = Call { args, runtime: self.runtime };
        let located = |error: FunctionError| self.argument_fault("templatefile", call, &error);
        if args.is_empty() || args.len() > 2 {
            return Err(located("it takes a path and the values for it".into()));
        }
        let (path, text) = filesystem::read_text(&context, 0).map_err(located)?;
        let names = if args.len() == 2 {
            let values = &context.mapping(1).map_err(located)?.entries;
            values.iter().map(|(name, value)| (name.clone(), value.clone())).collect()
        } else {
            Vec::new()
        };
        let file = crate::template::source::SourceFile::new(&path, &text);
        let template = hcl_edit::parser::parse_template(&file.text)
            .map_err(|error| Box::new(super::parse::explain(&file, &error)))?;
        let globals = super::eval::Globals::new();
        let mut inner = Evaluator::new(&file, self.runtime, &globals);
        inner.in_template_file = true;
        inner.template(&template, &Scope::child(&Scope::default(), names), true)
    }
}
