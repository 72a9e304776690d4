//! Type constraints of variables and of `convert`, and the conversions that Packer's language makes (those of
//! zclconf/go-cty's package convert). What types values of different types have in common is in `unify`.

use std::fmt;

use indexmap::IndexMap;

use super::number::Number;
use super::unify::unify;
use super::value::{Kind, MappingShape, SequenceShape, Value};

/// A type constraint.
#[derive(Debug, Clone, PartialEq)]
pub enum Type {
    Any,
    String,
    Number,
    Bool,
    List(Box<Self>),
    Set(Box<Self>),
    Map(Box<Self>),
    Object(IndexMap<String, Field>),
    Tuple(Vec<Self>),
}

/// An attribute of an object type.
#[derive(Debug, Clone, PartialEq)]
pub struct Field {
    pub constraint: Type,
    /// `optional(type, default)`: what a missing attribute becomes.
    pub optional: Option<Value>,
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("any"),
            Self::String => f.write_str("string"),
            Self::Number => f.write_str("number"),
            Self::Bool => f.write_str("bool"),
            Self::List(element) => write!(f, "list({element})"),
            Self::Set(element) => write!(f, "set({element})"),
            Self::Map(element) => write!(f, "map({element})"),
            Self::Tuple(elements) => {
                f.write_str("tuple([")?;
                for (index, element) in elements.iter().enumerate() {
                    write!(f, "{}{element}", if index == 0 { "" } else { ", " })?;
                }
                f.write_str("])")
            }
            Self::Object(fields) => {
                f.write_str("object({")?;
                for (index, (name, field)) in fields.iter().enumerate() {
                    let separator = if index == 0 { "" } else { ", " };
                    match field.optional {
                        Some(_) => write!(f, "{separator}{name}=optional({})", field.constraint)?,
                        None => write!(f, "{separator}{name}={}", field.constraint)?,
                    }
                }
                f.write_str("})")
            }
        }
    }
}

impl Type {
    /// Whether a variable of this type takes a request's string as it is, rather than as an expression.
    #[must_use]
    pub fn is_primitive_or_any(&self) -> bool {
        matches!(self, Self::Any | Self::String | Self::Number | Self::Bool)
    }

    /// Whether the type leaves something open.
    #[must_use]
    pub fn has_any(&self) -> bool {
        match self {
            Self::Any => true,
            Self::String | Self::Number | Self::Bool => false,
            Self::List(element) | Self::Set(element) | Self::Map(element) => element.has_any(),
            Self::Tuple(elements) => elements.iter().any(Self::has_any),
            Self::Object(fields) => fields.values().any(|field| field.constraint.has_any()),
        }
    }
}

/// Converts a value to a type, or says what stands in the way (`.tags["a"]: a string is needed, this is a list`).
///
/// # Errors
/// When the language has no such conversion.
pub fn convert(value: &Value, to: &Type) -> Result<Value, String> {
    if value.is_null() || matches!(value.kind(), Kind::Unknown) {
        return Ok(value.clone());
    }
    let converted = match to {
        Type::Any => value.clone(),
        Type::String => match value.to_text() {
            Some(text) => Value::string(text),
            None => return Err(mismatch(value, to)),
        },
        Type::Number => match value.kind() {
            Kind::Number(_) => value.clone(),
            Kind::String(text) => Value::number(Number::parse(text).ok_or_else(|| mismatch(value, to))?),
            _ => return Err(mismatch(value, to)),
        },
        Type::Bool => match value.kind() {
            Kind::Bool(_) => value.clone(),
            Kind::String(text) => match &**text {
                "true" | "1" => Value::bool(true),
                "false" | "0" => Value::bool(false),
                _ => return Err(mismatch(value, to)),
            },
            _ => return Err(mismatch(value, to)),
        },
        Type::List(element) => Value::list(convert_items(value, element, to)?),
        Type::Set(element) => Value::set(convert_items(value, element, to)?),
        Type::Tuple(types) => convert_tuple(value, types, to)?,
        Type::Map(element) => convert_map(value, element, to)?,
        Type::Object(fields) => convert_object(value, fields, to)?,
    };
    Ok(converted.marked(value.is_marked()).with_late(value.late()))
}

fn convert_tuple(value: &Value, types: &[Type], to: &Type) -> Result<Value, String> {
    let Kind::Sequence(sequence) = value.kind() else {
        return Err(mismatch(value, to));
    };
    if sequence.shape != SequenceShape::Tuple {
        return Err(mismatch(value, to));
    }
    if sequence.items.len() != types.len() {
        return Err(format!("a tuple of {} elements is needed, this has {}", types.len(), sequence.items.len()));
    }
    let items = sequence.items.iter().zip(types).enumerate();
    let items = items.map(|(index, (item, ty))| convert(item, ty).map_err(|e| at(&format!("[{index}]"), &e)));
    Ok(Value::tuple(items.collect::<Result<_, _>>()?))
}

fn convert_map(value: &Value, element: &Type, to: &Type) -> Result<Value, String> {
    let mapping = value.as_mapping().ok_or_else(|| mismatch(value, to))?;
    let mut entries = IndexMap::new();
    for (key, item) in &mapping.entries {
        let item = convert(item, element).map_err(|e| at(&format!("[{key:?}]"), &e))?;
        entries.insert(key.clone(), item);
    }
    if element.has_any() {
        let values = entries.values().cloned().collect();
        let unified = unify(values).ok_or_else(|| "all elements of a map must have one type".to_owned())?;
        for (slot, item) in entries.values_mut().zip(unified) {
            *slot = item;
        }
    }
    Ok(Value::mapping(MappingShape::Map, entries))
}

fn convert_object(value: &Value, fields: &IndexMap<String, Field>, to: &Type) -> Result<Value, String> {
    let mapping = value.as_mapping().ok_or_else(|| mismatch(value, to))?;
    let mut entries = IndexMap::new();
    for (name, field) in fields {
        let item = match (mapping.entries.get(name), &field.optional) {
            (Some(item), Some(default)) if item.is_null() => default,
            (Some(item), _) => item,
            (None, Some(default)) => default,
            (None, None) => return Err(format!("the attribute {name:?} is missing")),
        };
        let item = convert(item, &field.constraint).map_err(|e| at(&format!(".{name}"), &e))?;
        entries.insert(name.clone(), item);
    }
    Ok(Value::object(entries))
}

fn convert_items(value: &Value, element: &Type, to: &Type) -> Result<Vec<Value>, String> {
    let items = value.as_items().ok_or_else(|| mismatch(value, to))?;
    let items = items.iter().enumerate();
    let converted: Vec<Value> = items
        .map(|(index, item)| convert(item, element).map_err(|e| at(&format!("[{index}]"), &e)))
        .collect::<Result<_, _>>()?;
    if !element.has_any() {
        return Ok(converted);
    }
    unify(converted).ok_or_else(|| "all elements must have one type".to_owned())
}

fn mismatch(value: &Value, to: &Type) -> String {
    let article = |name: &str| {
        if name.starts_with(['a', 'o', 'u']) { "an" } else { "a" }
    };
    let to = to.to_string();
    let is = match value.kind() {
        Kind::Sequence(sequence) if sequence.shape == SequenceShape::Tuple => "list",
        Kind::String(text) if to == "number" && !value.is_sensitive() => {
            let shown: String = text.chars().take(40).collect();
            return format!("a number is needed, {shown:?} is none");
        }
        _ => value.type_name(),
    };
    format!("{} {to} is needed, this is {} {is}", article(&to), article(is))
}

fn at(path: &str, message: &str) -> String {
    if message.starts_with(['.', '[']) { format!("{path}{message}") } else { format!("{path}: {message}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conversions() {
        let text = |text: &str| Value::string(text);
        let list = |element: Type| Type::List(Box::new(element));
        assert_eq!(convert(&text("5"), &Type::Number), Ok(Value::number(5_i64)));
        assert_eq!(convert(&Value::bool(true), &Type::String), Ok(text("true")));
        assert!(convert(&text("yes"), &Type::Bool).is_err());
        let mixed = Value::tuple(vec![text("a"), Value::number(1_i64)]);
        assert_eq!(convert(&mixed, &list(Type::Any)), Ok(Value::list(vec![text("a"), text("1")])));
        let odd = Value::tuple(vec![Value::bool(true), Value::number(1_i64)]);
        insta::assert_snapshot!(convert(&odd, &list(Type::Any)).unwrap_err(), @"all elements must have one type");
        let nested = Value::object(IndexMap::from([("a".to_owned(), Value::tuple(vec![mixed]))]));
        let object = |name: &str, constraint: Type| {
            Type::Object(IndexMap::from([(name.to_owned(), Field { constraint, optional: None })]))
        };
        insta::assert_snapshot!(convert(&nested, &object("a", list(Type::String))).unwrap_err(), @".a[0]: a string is needed, this is a list");
        insta::assert_snapshot!(convert(&nested, &object("b", Type::Any)).unwrap_err(), @r#"the attribute "b" is missing"#);
    }
}
