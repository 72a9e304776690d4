//! What an evaluation finds that only the running build can answer: an operation that looks into a late value (see
//! [`Late`]) notes it here, and the expression that it belongs to waits as a whole. `hcl/late.rs` makes it a
//! [`LateExpression`], `hcl/late_run.rs` evaluates it in the step.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};

use indexmap::IndexMap;

use super::number::Number;
use super::value::{Kind, Late, MappingShape, SequenceShape, Value};
use crate::domain::config::late::{LateExpression, LateValue};

/// What is noted during one evaluation.
#[derive(Debug, Default)]
pub struct Needs {
    looked: Cell<u64>,
    waiting: Cell<u64>,
    expressions: RefCell<Vec<Waiting>>,
    used: RefCell<BTreeSet<u32>>,
}

/// An expression that waits.
#[derive(Debug)]
pub struct Waiting {
    pub expression: LateExpression,
    /// What it asks for, as the template writes it: `build.ID`.
    pub asked: String,
}

impl Needs {
    /// Notes that an operation needs to see inside of a late value.
    pub fn look(&self) {
        self.looked.set(self.looked.get() + 1);
    }

    /// Notes that an operation looks at the value itself, not only at what a collection holds. Says whether it is late.
    pub fn look_at(&self, value: &Value) -> bool {
        let late = value.late() != Late::No;
        if late {
            self.look();
        }
        late
    }

    /// Notes that an operation looks at the value and at everything in it. Says whether something of it is late.
    pub fn look_into(&self, value: &Value) -> bool {
        let late = value.is_late();
        if late {
            self.look();
        }
        late
    }

    /// How often an operation has looked.
    #[must_use]
    pub fn looked(&self) -> u64 {
        self.looked.get()
    }

    /// An expression waits: what its operations have looked at since then is settled by that.
    pub fn wait(&self, since: u64) {
        self.looked.set(since);
        self.waiting.set(self.waiting.get() + 1);
    }

    /// How many expressions wait.
    #[must_use]
    pub fn waiting(&self) -> u64 {
        self.waiting.get()
    }

    /// Adds an expression; gives its number.
    pub fn add(&self, waiting: Waiting) -> u32 {
        let mut all = self.expressions.borrow_mut();
        all.push(waiting);
        u32::try_from(all.len() - 1).unwrap_or(u32::MAX)
    }

    /// What an expression asks for.
    #[must_use]
    pub fn asked(&self, number: u32) -> Option<String> {
        self.expressions.borrow().get(usize::try_from(number).ok()?).map(|waiting| waiting.asked.clone())
    }

    /// Notes that a text of the configuration names an expression. Says whether there is one of this number.
    pub fn mark_used(&self, number: u32) -> bool {
        let all = self.expressions.borrow();
        let mut used = self.used.borrow_mut();
        let mut open = vec![number];
        while let Some(number) = open.pop() {
            let Some(waiting) = usize::try_from(number).ok().and_then(|at| all.get(at)) else { return false };
            if used.insert(number) {
                for name in &waiting.expression.names {
                    name.value.expressions(&mut open);
                }
            }
        }
        true
    }

    /// The expressions that were named since this was asked last.
    #[must_use]
    pub fn take_used(&self) -> BTreeMap<u32, LateExpression> {
        let all = self.expressions.borrow();
        let used = std::mem::take(&mut *self.used.borrow_mut());
        let expression = |number: u32| Some((number, all.get(usize::try_from(number).ok()?)?.expression.clone()));
        used.into_iter().filter_map(expression).collect()
    }
}

impl LateValue {
    /// A value to keep; `None` when something in it is unknown.
    #[must_use]
    pub fn of(value: &Value) -> Option<Self> {
        let all = |items: &[Value]| items.iter().map(Self::of).collect::<Option<Vec<_>>>();
        let kept = match (value.late(), value.kind()) {
            (Late::Expression(number) | Late::Collection(number), _) => Self::Expression(number),
            (Late::Text, Kind::String(text)) => Self::Late(text.to_string()),
            (_, Kind::Unknown) => return None,
            (_, Kind::Null) => Self::Null,
            (_, Kind::Bool(flag)) => Self::Bool(*flag),
            (_, Kind::Number(number)) => Self::Number(number.to_string()),
            (_, Kind::String(text)) => Self::Text(text.to_string()),
            (_, Kind::Sequence(sequence)) => match sequence.shape {
                SequenceShape::List => Self::List(all(&sequence.items)?),
                SequenceShape::Set => Self::Set(all(&sequence.items)?),
                SequenceShape::Tuple => Self::Tuple(all(&sequence.items)?),
            },
            (_, Kind::Mapping(mapping)) => {
                let entries = mapping.entries.iter().map(|(key, item)| Some((key.clone(), Self::of(item)?)));
                let entries = entries.collect::<Option<Vec<_>>>()?;
                match mapping.shape {
                    MappingShape::Object => Self::Object(entries),
                    MappingShape::Map => Self::Map(entries),
                }
            }
        };
        Some(if value.is_marked() { Self::Sensitive(Box::new(kept)) } else { kept })
    }

    /// The value again. `late` gives the values of late text and of other expressions.
    ///
    /// # Errors
    /// Those of `late`.
    pub fn value<E>(&self, late: &mut dyn FnMut(&Self) -> Result<Value, E>) -> Result<Value, E> {
        let mut all = |items: &[Self]| items.iter().map(|item| item.value(late)).collect::<Result<Vec<_>, E>>();
        Ok(match self {
            Self::Null => Value::NULL,
            Self::Bool(flag) => Value::bool(*flag),
            Self::Number(text) => Number::parse(text).map_or(Value::UNKNOWN, Value::number),
            Self::Text(text) => Value::string(text.as_str()),
            Self::List(items) => Value::list(all(items)?),
            Self::Set(items) => Value::set(all(items)?),
            Self::Tuple(items) => Value::tuple(all(items)?),
            Self::Map(entries) | Self::Object(entries) => {
                let entries = entries.iter().map(|(key, item)| Ok((key.clone(), item.value(late)?)));
                let entries = entries.collect::<Result<IndexMap<_, _>, E>>()?;
                let shape = if matches!(self, Self::Map(_)) { MappingShape::Map } else { MappingShape::Object };
                Value::mapping(shape, entries)
            }
            Self::Sensitive(inner) => inner.value(late)?.marked(true),
            Self::Late(_) | Self::Expression(_) => late(self)?,
        })
    }

    /// Adds the numbers of the expressions that the value names.
    fn expressions(&self, into: &mut Vec<u32>) {
        match self {
            Self::Null | Self::Bool(_) | Self::Number(_) | Self::Text(_) => {}
            Self::List(items) | Self::Set(items) | Self::Tuple(items) => {
                for item in items {
                    item.expressions(into);
                }
            }
            Self::Map(entries) | Self::Object(entries) => {
                for (_, item) in entries {
                    item.expressions(into);
                }
            }
            Self::Sensitive(inner) => inner.expressions(into),
            Self::Late(text) => into.extend(named(text)),
            Self::Expression(number) => into.push(*number),
        }
    }

    /// Whether the value holds `{{`, which the options of a component render.
    #[must_use]
    pub fn has_actions(&self) -> bool {
        match self {
            Self::Null | Self::Bool(_) | Self::Number(_) | Self::Late(_) | Self::Expression(_) => false,
            Self::Text(text) => text.contains("{{"),
            Self::List(items) | Self::Set(items) | Self::Tuple(items) => items.iter().any(Self::has_actions),
            Self::Map(entries) | Self::Object(entries) => entries.iter().any(|(_, item)| item.has_actions()),
            Self::Sensitive(inner) => inner.has_actions(),
        }
    }
}

/// The action that stands for an expression.
#[must_use]
pub fn action(number: u32) -> String {
    format!("{ACTION}{number}` }}}}")
}

const ACTION: &str = "{{ expression `";

/// The expressions that a text names.
pub fn named(text: &str) -> impl Iterator<Item = u32> + '_ {
    text.split(ACTION).skip(1).filter_map(|rest| rest.split_once('`')?.0.parse().ok())
}
