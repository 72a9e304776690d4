//! Expressions of a template that need what only the running build knows, as they wait for it.

use serde::{Deserialize, Serialize};

use crate::domain::diagnostic::SourceLocation;

/// An expression with all that it uses, but for `build`. A [`LateString`](super::LateString) names it by its number:
/// ``{{ expression `3` }}`` stands for its value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LateExpression {
    /// As the template writes it.
    pub source: String,
    pub at: SourceLocation,
    pub names: Vec<LateName>,
}

/// A value that an expression uses, by the names that lead to it: `["var", "size"]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LateName {
    pub path: Vec<String>,
    pub value: LateValue,
}

/// A value of the template's language.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LateValue {
    Null,
    Bool(bool),
    /// As the language writes it.
    Number(String),
    Text(String),
    List(Vec<LateValue>),
    Set(Vec<LateValue>),
    Tuple(Vec<LateValue>),
    Map(Vec<(String, LateValue)>),
    Object(Vec<(String, LateValue)>),
    /// Hidden where people could see it, and what is made of it too.
    Sensitive(Box<LateValue>),
    /// Text with actions that are rendered first.
    Late(String),
    /// The value of another expression, which has a smaller number.
    Expression(u32),
}
