//! A field of a change: left out, null, or a value.

use serde::{Deserialize, Deserializer, Serialize};

/// What a request says of a field that may be taken back. Needs `#[serde(default)]`.
// Written only into the OpenAPI document, as a default: null.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(untagged)]
pub enum Given<T> {
    /// It stays as it is.
    #[default]
    LeftOut,
    /// It goes back to the default.
    Null,
    Value(T),
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Given<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Option::deserialize(deserializer)?.map_or(Self::Null, Self::Value))
    }
}

impl<T> Given<T> {
    /// The value; where the field was left out, `before`.
    pub fn or(self, before: Option<T>) -> Option<T> {
        match self {
            Self::LeftOut => before,
            Self::Null => None,
            Self::Value(value) => Some(value),
        }
    }

    /// Changes a setting that always has a value as the request says.
    pub fn replace(self, setting: &mut T)
    where
        T: Default,
    {
        match self {
            Self::LeftOut => {}
            Self::Null => *setting = T::default(),
            Self::Value(value) => *setting = value,
        }
    }

    /// Changes a setting as the request says.
    pub fn change(self, setting: &mut Option<T>) {
        match self {
            Self::LeftOut => {}
            Self::Null => *setting = None,
            Self::Value(value) => *setting = Some(value),
        }
    }
}
