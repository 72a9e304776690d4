//! Packer's functions, with the results and the conditions of Packer 1.16. The tables are the one place that knows which
//! exist and what they take; [`call`] looks a function up, checks and converts arguments as zclconf/go-cty does, and runs
//! it. Each file holds the functions of one kind. Functions that see expressions and not only values (`try`, `can`,
//! `convert`, `templatefile`, `env`) are the evaluator's.

mod cidr;
mod collection;
mod crypto;
mod csv;
mod date;
mod encoding;
pub(crate) mod filesystem;
mod format;
mod json;
mod list;
mod numeric;
mod pattern;
mod set;
mod text;
mod yaml_decode;
mod yaml_encode;
mod yaml_scalar;

use std::sync::Arc;

use crate::domain::diagnostic::Hint;
use crate::template::number::Number;
use crate::template::runtime::{MAX_VALUE_WEIGHT, Runtime};
use crate::template::source::did_you_mean;
use crate::template::types::{Type, convert};
use crate::template::value::{Kind, Late, Mapping, Sequence, SequenceShape, Value};

/// Why a call failed, and which argument is to blame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FunctionError {
    pub argument: Option<usize>,
    pub message: String,
    pub hint: Hint,
}

impl FunctionError {
    fn at(argument: usize, message: impl Into<String>) -> Self {
        Self { argument: Some(argument), message: message.into(), hint: Hint::default() }
    }
}

impl From<String> for FunctionError {
    fn from(message: String) -> Self {
        Self { argument: None, message, hint: Hint::default() }
    }
}

impl From<&str> for FunctionError {
    fn from(message: &str) -> Self {
        message.to_owned().into()
    }
}

type FunctionResult = Result<Value, FunctionError>;

/// A call's arguments, converted to what the function takes.
pub(crate) struct Call<'c> {
    args: &'c [Value],
    runtime: &'c Runtime<'c>,
}

/// What a parameter takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Takes {
    Text,
    Number,
    Texts,
    Bools,
    /// A list of anything, whose elements get one type.
    List,
    /// A set of anything, whose elements get one type.
    Set,
    Anything,
    /// Anything, null too.
    AnythingOrNull,
}

struct Parameter {
    name: &'static str,
    takes: Takes,
}

const fn text(name: &'static str) -> Parameter {
    Parameter { name, takes: Takes::Text }
}

const fn number(name: &'static str) -> Parameter {
    Parameter { name, takes: Takes::Number }
}

const fn any(name: &'static str) -> Parameter {
    Parameter { name, takes: Takes::Anything }
}

const fn any_or_null(name: &'static str) -> Parameter {
    Parameter { name, takes: Takes::AnythingOrNull }
}

const fn takes(name: &'static str, takes: Takes) -> Parameter {
    Parameter { name, takes }
}

/// One function: its name, its parameters, the one that the arguments after these are for, and what it does.
struct Function {
    name: &'static str,
    parameters: &'static [Parameter],
    rest: Option<Parameter>,
    /// Whether it looks at the outside of collections only, so that unknown elements don't stop it.
    shallow: bool,
    /// Whether it only puts texts together, late ones too.
    joins: bool,
    /// Whether it looks at what lists hold for other lists, although it is shallow.
    opens: bool,
    run: fn(&Call<'_>) -> FunctionResult,
}

type Run = fn(&Call<'_>) -> FunctionResult;

const fn function(name: &'static str, parameters: &'static [Parameter], run: Run) -> Function {
    Function { name, parameters, rest: None, shallow: false, joins: false, opens: false, run }
}

const fn variadic(name: &'static str, parameters: &'static [Parameter], rest: Parameter, run: Run) -> Function {
    Function { name, parameters, rest: Some(rest), shallow: false, joins: false, opens: false, run }
}

impl Function {
    const fn shallow(mut self) -> Self {
        self.shallow = true;
        self
    }

    const fn joins(mut self) -> Self {
        self.joins = true;
        self
    }

    const fn opens(mut self) -> Self {
        self.opens = true;
        self
    }

    /// Whether it can't do its work before an argument that is late, or holds something late, is known.
    fn waits_for(&self, at: usize, value: &Value) -> bool {
        let takes = self.parameter(at).map(|parameter| parameter.takes);
        if value.late() != Late::No {
            return !(self.joins && takes == Some(Takes::Text));
        }
        // What may be a list is neither text to put together with other text, nor an element among others.
        let converts = !matches!(takes, Some(Takes::Anything | Takes::AnythingOrNull));
        let collection = |item: &Value| matches!(item.late(), Late::Collection(_));
        let lists = value.as_items().is_some_and(|items| items.iter().any(collection));
        if self.joins && lists || !self.joins && value.waits() && (self.opens || converts) {
            return true;
        }
        // The keys of a map are looked at, its values only passed on.
        let passes_on = self.joins || self.shallow && takes != Some(Takes::Texts);
        value.is_late() && !passes_on
    }

    fn parameter(&self, at: usize) -> Option<&Parameter> {
        self.parameters.get(at).or(self.rest.as_ref())
    }

    fn check_count(&self, count: usize) -> Result<(), FunctionError> {
        let least = self.parameters.len();
        if count < least {
            let missing = self.parameters[count].name;
            let takes = if self.rest.is_some() { "at least " } else { "" };
            return Err(format!("it takes {takes}{}, {missing} is missing", arguments(least)).into());
        }
        if count > least && self.rest.is_none() {
            return Err(FunctionError::at(least, format!("it takes {}, {count} are given", arguments(least))));
        }
        Ok(())
    }
}

fn arguments(count: usize) -> String {
    match count {
        0 => "no arguments".to_owned(),
        1 => "1 argument".to_owned(),
        more => format!("{more} arguments"),
    }
}

impl Parameter {
    /// Converts an argument.
    fn convert(&self, at: usize, value: &Value) -> FunctionResult {
        if value.is_null() {
            return match self.takes {
                Takes::AnythingOrNull => Ok(value.clone()),
                _ => Err(FunctionError::at(at, format!("{} must not be null", self.name))),
            };
        }
        let to = match self.takes {
            Takes::Anything | Takes::AnythingOrNull => return Ok(value.clone()),
            Takes::Text => Type::String,
            Takes::Number => Type::Number,
            Takes::Texts => Type::List(Box::new(Type::String)),
            Takes::Bools => Type::List(Box::new(Type::Bool)),
            Takes::List => Type::List(Box::new(Type::Any)),
            Takes::Set => Type::Set(Box::new(Type::Any)),
        };
        convert(value, &to).map_err(|message| FunctionError::at(at, format!("{}: {message}", self.name)))
    }
}

impl Call<'_> {
    fn fail<T>(argument: usize, message: impl Into<String>) -> Result<T, FunctionError> {
        Err(FunctionError::at(argument, message))
    }

    fn len(&self) -> usize {
        self.args.len()
    }

    fn text(&self, at: usize) -> Result<Arc<str>, FunctionError> {
        match self.args.get(at).map(Value::kind) {
            Some(Kind::String(text)) => Ok(Arc::clone(text)),
            _ => Self::fail(at, "a string is needed"),
        }
    }

    fn number(&self, at: usize) -> Result<Number, FunctionError> {
        match self.args.get(at).map(Value::kind) {
            Some(Kind::Number(number)) => Ok(*number),
            _ => Self::fail(at, "a number is needed"),
        }
    }

    fn integer(&self, at: usize) -> Result<i64, FunctionError> {
        match self.number(at)?.to_i64() {
            Some(number) => Ok(number),
            None => Self::fail(at, "a whole number is needed, of 64 bits at most"),
        }
    }

    fn items(&self, at: usize) -> Result<&[Value], FunctionError> {
        match self.args.get(at).and_then(Value::as_items) {
            Some(items) => Ok(items),
            None => Self::fail(at, format!("a list is needed, this is {}", self.type_name(at))),
        }
    }

    /// A list or a tuple, but no set.
    fn ordered(&self, at: usize) -> Result<&Sequence, FunctionError> {
        match self.args.get(at).map(Value::kind) {
            Some(Kind::Sequence(sequence)) if sequence.shape != SequenceShape::Set => Ok(sequence),
            _ => Self::fail(at, format!("a list or a tuple is needed, this is {}", self.type_name(at))),
        }
    }

    fn mapping(&self, at: usize) -> Result<&Mapping, FunctionError> {
        match self.args.get(at).and_then(Value::as_mapping) {
            Some(mapping) => Ok(mapping),
            None => Self::fail(at, format!("a map or an object is needed, this is {}", self.type_name(at))),
        }
    }

    fn type_name(&self, at: usize) -> &'static str {
        self.args.get(at).map_or("missing", Value::type_name)
    }

    /// Refuses a result before it is made when it would be too large.
    fn reserve(bytes: usize) -> Result<(), FunctionError> {
        if bytes as u64 > MAX_VALUE_WEIGHT { Err("the result is too large: more than 4 MiB".into()) } else { Ok(()) }
    }
}

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
    ("filemd5", "md5(file(x))"),
    ("filesha256", "sha256(file(x))"),
    ("uuid", "uuidv4()"),
];

/// Functions that would ask another system while the template is read.
const REFUSED: &[(&str, &str)] = &[
    (
        "aws_secretsmanager",
        "read the secret with data \"amazon-secretsmanager\" \"NAME\" { name = … }, or give it as a sensitive variable",
    ),
    (
        "aws_secretsmanager_raw",
        "read the secret with data \"amazon-secretsmanager\" \"NAME\" { name = … } and its attribute secret_string, or \
         give it as a sensitive variable",
    ),
    (
        "vault",
        "give the value as a sensitive variable, or keep it in Secrets Manager and use data \"amazon-secretsmanager\"",
    ),
    ("consul_key", "give the value as a variable, or use data \"amazon-parameterstore\" or data \"http\""),
];

/// Handled by the evaluator itself.
pub(super) const SPECIAL: &[&str] = &["try", "can", "convert", "env", "templatefile"];

fn tables() -> impl Iterator<Item = &'static Function> {
    [
        text::FUNCTIONS,
        pattern::FUNCTIONS,
        numeric::FUNCTIONS,
        collection::FUNCTIONS,
        list::FUNCTIONS,
        set::FUNCTIONS,
        date::FUNCTIONS,
        encoding::FUNCTIONS,
        crypto::FUNCTIONS,
        filesystem::FUNCTIONS,
        format::FUNCTIONS,
        cidr::FUNCTIONS,
    ]
    .into_iter()
    .flatten()
}

/// The names of all functions, for suggestions and for `console`.
pub fn names() -> impl Iterator<Item = &'static str> {
    tables().map(|function| function.name).chain(SPECIAL.iter().copied())
}

/// Calls a function with evaluated arguments. The result is unknown where an argument is, and sensitive where one is.
///
/// # Errors
/// With what is wrong, and with which argument.
pub fn call(name: &str, args: &[Value], runtime: &Runtime<'_>) -> FunctionResult {
    let Some(function) = tables().find(|function| function.name == name) else {
        return Err(missing(name));
    };
    function.check_count(args.len())?;
    let work = args.iter().map(|arg| arg.weight() / 8 + 1).sum();
    runtime.spend(work)?;
    if args.iter().enumerate().any(|(at, arg)| function.waits_for(at, arg)) {
        runtime.late.look();
    }
    let mut converted = Vec::with_capacity(args.len());
    for (at, arg) in args.iter().enumerate() {
        converted.push(match function.parameter(at) {
            Some(parameter) => parameter.convert(at, arg)?,
            None => arg.clone(),
        });
    }
    let sensitive = args.iter().any(Value::is_sensitive);
    let late = args.iter().any(Value::is_late);
    let unknown = |value: &Value| {
        if function.shallow { matches!(value.kind(), Kind::Unknown) } else { value.is_unknown() }
    };
    if converted.iter().any(unknown) {
        return Ok(Value::UNKNOWN.marked(sensitive));
    }
    let value = (function.run)(&Call { args: &converted, runtime })?.marked(sensitive);
    Ok(if function.joins && late { value.with_late(Late::Text) } else { value })
}

fn missing(name: &str) -> FunctionError {
    if let Some((_, instead)) = REFUSED.iter().find(|(refused, _)| *refused == name) {
        let mut error = FunctionError::from("it can't be used: templates are read without a network");
        error.hint = (*instead).into();
        return error;
    }
    let mut error = FunctionError::from(format!("there is no function {name:?}"));
    error.hint = match ELSEWHERE.iter().find(|(other, _)| *other == name) {
        Some((_, instead)) => format!("that is Terraform's; in Packer write {instead}").into(),
        None => did_you_mean(name, names()),
    };
    error
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_functions_of_packer_are_here() {
        // hcl2template/functions.go of Packer 1.16.
        let packer = "abs abspath alltrue anytrue aws_secretsmanager aws_secretsmanager_raw basename base64decode \
            base64encode base64gzip bcrypt can ceil chomp chunklist cidrhost cidrnetmask cidrsubnet cidrsubnets coalesce \
            coalescelist compact concat consul_key contains convert csvdecode dirname distinct element endswith file \
            filebase64 fileexists fileset flatten floor format formatdate formatlist indent index join jsondecode \
            jsonencode keys legacy_isotime legacy_strftime length log lookup lower max md5 merge min parseint pathexpand \
            pow range reverse replace regex regexall regex_replace rfc3339_parse rsadecrypt setintersection setproduct \
            setunion sha1 sha256 sha512 signum slice sort split startswith strcontains strrev substr sum templatefile \
            textdecodebase64 textencodebase64 timestamp timeadd title trim trimprefix trimspace trimsuffix try \
            unix_timestamp_parse upper urlencode uuidv4 uuidv5 values vault yamldecode yamlencode zipmap env";
        let ours: Vec<&str> = names().chain(REFUSED.iter().map(|(name, _)| *name)).collect();
        let mut all: Vec<&str> = packer.split_whitespace().collect();
        for name in &all {
            assert!(ours.contains(name), "{name}");
        }
        assert_eq!(ours.len(), all.len());
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 104, "102 functions, templatefile and env");
    }
}
