//! The type that values of different types have in common: for the two sides of a conditional, the elements of a list,
//! and functions that take anything. The rules are those of zclconf/go-cty's `convert.Unify`.

use indexmap::IndexMap;

use super::types::{Field, Type, convert};
use super::value::{Kind, MappingShape, SequenceShape, Value};

impl Type {
    /// The type of a value. What can't be told, as with null and what is unknown, is `any`.
    #[must_use]
    pub fn of(value: &Value) -> Self {
        match value.kind() {
            Kind::Null | Kind::Unknown => Self::Any,
            Kind::Bool(_) => Self::Bool,
            Kind::Number(_) => Self::Number,
            Kind::String(_) => Self::String,
            Kind::Sequence(sequence) => {
                let first = || sequence.items.iter().map(Self::of).find(|ty| *ty != Self::Any);
                match sequence.shape {
                    SequenceShape::Tuple => Self::Tuple(sequence.items.iter().map(Self::of).collect()),
                    SequenceShape::List => Self::List(Box::new(first().unwrap_or(Self::Any))),
                    SequenceShape::Set => Self::Set(Box::new(first().unwrap_or(Self::Any))),
                }
            }
            Kind::Mapping(mapping) => match mapping.shape {
                MappingShape::Object => {
                    let field = |item| Field { constraint: Self::of(item), optional: None };
                    Self::Object(mapping.entries.iter().map(|(key, item)| (key.clone(), field(item))).collect())
                }
                MappingShape::Map => {
                    let first = mapping.entries.values().map(Self::of).find(|ty| *ty != Self::Any);
                    Self::Map(Box::new(first.unwrap_or(Self::Any)))
                }
            },
        }
    }

    fn is_primitive(&self) -> bool {
        matches!(self, Self::String | Self::Number | Self::Bool)
    }
}

/// The type that all of these can be converted to without loss; `None` when there is none.
#[must_use]
pub fn common(types: &[Type]) -> Option<Type> {
    let known: Vec<&Type> = types.iter().filter(|ty| **ty != Type::Any).collect();
    let Some(first) = known.first() else {
        return Some(Type::Any);
    };
    if known.iter().all(|ty| ty == first) {
        return Some((*first).clone());
    }
    if known.iter().all(|ty| ty.is_primitive()) {
        // Numbers and bools become strings, and only where a string is among them.
        return known.contains(&&Type::String).then_some(Type::String);
    }
    if known.iter().all(|ty| matches!(ty, Type::Object(_))) {
        return objects(&known);
    }
    if known.iter().all(|ty| matches!(ty, Type::Object(_) | Type::Map(_))) {
        return Some(Type::Map(Box::new(elements(&known)?)));
    }
    if known.iter().all(|ty| matches!(ty, Type::Tuple(_))) {
        return tuples(&known);
    }
    if known.iter().all(|ty| matches!(ty, Type::Tuple(_) | Type::List(_))) {
        return Some(Type::List(Box::new(elements(&known)?)));
    }
    if known.iter().all(|ty| matches!(ty, Type::Tuple(_) | Type::List(_) | Type::Set(_))) {
        return Some(Type::Set(Box::new(elements(&known)?)));
    }
    None
}

/// The common type of everything in these collections.
fn elements(collections: &[&Type]) -> Option<Type> {
    let mut inner = Vec::new();
    for collection in collections {
        match collection {
            Type::List(element) | Type::Set(element) | Type::Map(element) => inner.push((**element).clone()),
            Type::Tuple(elements) => inner.extend(elements.iter().cloned()),
            Type::Object(fields) => inner.extend(fields.values().map(|field| field.constraint.clone())),
            _ => return None,
        }
    }
    common(&inner)
}

/// Objects with the same attributes stay objects; others become a map.
fn objects(types: &[&Type]) -> Option<Type> {
    let fields: Vec<&IndexMap<String, Field>> = types
        .iter()
        .filter_map(|ty| match ty {
            Type::Object(fields) => Some(fields),
            _ => None,
        })
        .collect();
    let first = fields.first()?;
    if fields.iter().all(|other| other.len() == first.len() && other.keys().all(|key| first.contains_key(key))) {
        let attribute = |key: &String| {
            let types: Vec<Type> = fields.iter().map(|fields| fields[key].constraint.clone()).collect();
            Some((key.clone(), Field { constraint: common(&types)?, optional: None }))
        };
        let unified: Option<IndexMap<String, Field>> = first.keys().map(attribute).collect();
        if let Some(unified) = unified {
            return Some(Type::Object(unified));
        }
    }
    Some(Type::Map(Box::new(elements(types)?)))
}

/// Tuples of one length stay tuples; others become a list.
fn tuples(types: &[&Type]) -> Option<Type> {
    let items: Vec<&Vec<Type>> = types
        .iter()
        .filter_map(|ty| match ty {
            Type::Tuple(items) => Some(items),
            _ => None,
        })
        .collect();
    let first = items.first()?;
    if items.iter().all(|other| other.len() == first.len()) {
        let element = |index: usize| common(&items.iter().map(|items| items[index].clone()).collect::<Vec<Type>>());
        let unified: Option<Vec<Type>> = (0..first.len()).map(element).collect();
        if let Some(unified) = unified {
            return Some(Type::Tuple(unified));
        }
    }
    Some(Type::List(Box::new(elements(types)?)))
}

/// Converts values to the type they have in common; `None` when they have none.
#[must_use]
pub fn unify(values: Vec<Value>) -> Option<Vec<Value>> {
    let types: Vec<Type> = values.iter().map(Type::of).collect();
    let known = types.iter().find(|ty| **ty != Type::Any);
    if known.is_none_or(|first| types.iter().all(|ty| ty == first || *ty == Type::Any)) {
        return Some(values);
    }
    let target = common(&types)?;
    values.iter().map(|value| convert(value, &target).ok()).collect()
}

/// Whether two values are equal to the language, which never finds values of different types equal; `None` when one
/// of them is not known yet.
#[must_use]
pub fn equals(left: &Value, right: &Value) -> Option<bool> {
    match (left.kind(), right.kind()) {
        (Kind::Unknown, _) | (_, Kind::Unknown) => None,
        (Kind::Sequence(a), Kind::Sequence(b)) => {
            if a.shape != b.shape || a.items.len() != b.items.len() {
                return Some(false);
            }
            all(a.items.iter().zip(&b.items).map(|(a, b)| equals(a, b)))
        }
        (Kind::Mapping(a), Kind::Mapping(b)) => {
            if a.shape != b.shape || a.entries.len() != b.entries.len() {
                return Some(false);
            }
            all(a.entries.iter().map(|(key, a)| b.entries.get(key).map_or(Some(false), |b| equals(a, b))))
        }
        _ => Some(left == right),
    }
}

/// False as soon as one is; not known when one is not.
fn all(results: impl Iterator<Item = Option<bool>>) -> Option<bool> {
    let mut known = true;
    for result in results {
        match result {
            Some(false) => return Some(false),
            Some(true) => {}
            None => known = false,
        }
    }
    known.then_some(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_values_have_in_common() {
        let text = Value::string("a");
        let one = Value::number(1_i64);
        let yes = Value::bool(true);
        let shown = |values: &[Value]| {
            let types: Vec<Type> = values.iter().map(Type::of).collect();
            common(&types).map(|ty| ty.to_string())
        };
        assert_eq!(shown(&[text.clone(), one.clone()]).as_deref(), Some("string"));
        assert_eq!(shown(&[yes.clone(), one.clone()]), None);
        assert_eq!(shown(&[yes.clone(), one.clone(), text.clone()]).as_deref(), Some("string"));
        assert_eq!(shown(&[Value::NULL, one.clone()]).as_deref(), Some("number"));
        let tuple = |items: &[&Value]| Value::tuple(items.iter().map(|item| (*item).clone()).collect());
        assert_eq!(shown(&[tuple(&[&one]), tuple(&[&text])]).as_deref(), Some("tuple([string])"));
        assert_eq!(shown(&[tuple(&[&one]), tuple(&[&text, &text])]).as_deref(), Some("list(string)"));
        assert_eq!(shown(&[tuple(&[&one]), text.clone()]), None);
        let object = |key: &str, value: &Value| Value::object(IndexMap::from([(key.to_owned(), value.clone())]));
        assert_eq!(shown(&[object("a", &one), object("a", &text)]).as_deref(), Some("object({a=string})"));
        assert_eq!(shown(&[object("a", &one), object("b", &text)]).as_deref(), Some("map(string)"));
        assert_eq!(shown(&[object("a", &one), tuple(&[&one])]), None);
    }

    #[test]
    fn equality_looks_at_types() {
        let (list, tuple) = (Value::list(vec![Value::string("a")]), Value::tuple(vec![Value::string("a")]));
        assert_eq!(equals(&list, &tuple), Some(false));
        assert_eq!(equals(&tuple, &tuple), Some(true));
        assert_eq!(equals(&Value::string("1"), &Value::number(1_i64)), Some(false));
        assert_eq!(equals(&Value::UNKNOWN, &tuple), None);
        let open = Value::tuple(vec![Value::UNKNOWN, Value::string("b")]);
        assert_eq!(equals(&open, &Value::tuple(vec![Value::string("a"), Value::string("c")])), Some(false));
    }
}
