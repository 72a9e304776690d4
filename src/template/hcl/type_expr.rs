//! Type expressions, such as `list(object({ name = string, size = optional(number, 8) }))`.

use indexmap::IndexMap;

use super::syntax::ast::{Call, Expr, ExprKind, ObjectKey, Span};
use crate::template::types::{Field, Type, convert};
use crate::template::value::Value;

/// A fault in a type expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TypeError {
    pub span: Span,
    pub message: String,
}

/// Evaluates the default of `optional()`.
type Literal<'l> = &'l dyn Fn(&Expr) -> Result<Value, String>;

/// Reads a type expression. `literal` evaluates the default of `optional()`.
///
/// # Errors
/// When the expression is no type.
pub fn parse(expr: &Expr, literal: Literal<'_>) -> Result<Type, TypeError> {
    let error = |message: String| TypeError { span: expr.span, message };
    match &expr.kind {
        ExprKind::Variable(name) => keyword(&name.name).map_err(error),
        // Before HCL2 types were written in quotes; Packer still takes these.
        ExprKind::Template(_) => match expr.literal() {
            Some(name) => keyword(&name).map_err(error),
            None => Err(error("a type can't depend on anything".to_owned())),
        },
        ExprKind::Parenthesis(inner) => parse(inner, literal),
        ExprKind::Call(call) => constructor(call, expr.span, literal),
        ExprKind::Invalid => Ok(Type::Any),
        _ => Err(error("a type is a keyword such as string, or a call such as list(string)".to_owned())),
    }
}

fn keyword(name: &str) -> Result<Type, String> {
    Ok(match name {
        "any" => Type::Any,
        "string" => Type::String,
        "number" => Type::Number,
        "bool" => Type::Bool,
        "list" => Type::List(Box::new(Type::Any)),
        "set" => Type::Set(Box::new(Type::Any)),
        "map" => Type::Map(Box::new(Type::Any)),
        "object" | "tuple" => {
            return Err(format!("the type {name} needs its attributes: {name}(…)"));
        }
        other => {
            return Err(format!(
                "{other:?} is no type; there are string, number, bool, any, list(…), set(…), map(…), object({{…}}) and tuple([…])"
            ));
        }
    })
}

fn constructor(call: &Call, span: Span, literal: Literal<'_>) -> Result<Type, TypeError> {
    let name = &*call.name.name;
    let error = |span: Span, message: String| TypeError { span, message };
    let [first] = call.arguments.as_slice() else {
        return Err(error(span, format!("{name}(…) takes exactly one argument here")));
    };
    match name {
        "list" => Ok(Type::List(Box::new(parse(first, literal)?))),
        "set" => Ok(Type::Set(Box::new(parse(first, literal)?))),
        "map" => Ok(Type::Map(Box::new(parse(first, literal)?))),
        "tuple" => {
            let ExprKind::Tuple(items) = &first.kind else {
                return Err(error(first.span, "tuple(…) takes a list of types: tuple([string, number])".to_owned()));
            };
            Ok(Type::Tuple(items.iter().map(|item| parse(item, literal)).collect::<Result<_, _>>()?))
        }
        "object" => {
            let ExprKind::Object(items) = &first.kind else {
                return Err(error(first.span, "object(…) takes attributes: object({ name = string })".to_owned()));
            };
            let mut fields = IndexMap::new();
            for item in items {
                let key = match &item.key {
                    ObjectKey::Name(name) => Some((name.name.to_string(), name.span)),
                    ObjectKey::Expr(expr) => expr.literal().map(|name| (name, expr.span)),
                };
                let Some((key, at)) = key else {
                    return Err(error(item.value.span, "attribute names of a type are written out".to_owned()));
                };
                if fields.insert(key.clone(), field(&item.value, literal)?).is_some() {
                    return Err(error(at, format!("the attribute {key:?} is given twice")));
                }
            }
            Ok(Type::Object(fields))
        }
        "optional" => Err(error(span, "optional(…) is only for attributes of object({…})".to_owned())),
        other => Err(error(
            call.name.span,
            format!("{other:?} is no type constructor; there are list, set, map, object and tuple"),
        )),
    }
}

fn field(expr: &Expr, literal: Literal<'_>) -> Result<Field, TypeError> {
    let ExprKind::Call(call) = &expr.kind else {
        return Ok(Field { constraint: parse(expr, literal)?, optional: None });
    };
    if &*call.name.name != "optional" {
        return Ok(Field { constraint: parse(expr, literal)?, optional: None });
    }
    match call.arguments.as_slice() {
        [constraint] => Ok(Field { constraint: parse(constraint, literal)?, optional: Some(Value::NULL) }),
        [constraint, default] => {
            let constraint = parse(constraint, literal)?;
            let fault = |message: String| TypeError { span: default.span, message };
            let value = literal(default).map_err(fault)?;
            let value = convert(&value, &constraint)
                .map_err(|message| fault(format!("the default does not fit {constraint}: {message}")))?;
            Ok(Field { constraint, optional: Some(value) })
        }
        _ => {
            Err(TypeError { span: expr.span, message: "optional(type, default) takes one or two arguments".to_owned() })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::template::hcl::syntax::parse_expression;
    use crate::template::source::SourceFile;

    fn read(text: &str) -> Result<Type, TypeError> {
        let literal = |expr: &Expr| expr.literal().map(Value::string).ok_or_else(|| "no".to_owned());
        parse(&parse_expression(&SourceFile::new("t", text)).unwrap(), &literal)
    }

    #[test]
    fn types_read_and_print() {
        for text in
            ["string", "list(number)", "map(list(bool))", "tuple([string, any])", "object({a=string, b=set(any)})"]
        {
            assert_eq!(read(text).unwrap().to_string(), text);
        }
        assert_eq!(read("\"string\"").unwrap(), Type::String);
        assert_eq!(
            read("object({ a = optional(string, \"x\") })").unwrap().to_string(),
            "object({a=optional(string)})"
        );
        insta::assert_snapshot!(read("strin").unwrap_err().message, @r#""strin" is no type; there are string, number, bool, any, list(…), set(…), map(…), object({…}) and tuple([…])"#);
        insta::assert_snapshot!(read("object({ a = optional(number, \"x\") })").unwrap_err().message, @r#"the default does not fit number: a number is needed, "x" is none"#);
        assert!(read("list(string, string)").is_err());
        assert!(read("optional(string)").is_err());
    }
}
