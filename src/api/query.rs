//! A request's query, with unknown and repeated parameters refused.

use std::fmt::Display;
use std::str::FromStr;

use axum::extract::FromRequestParts;
use axum::http::Uri;
use axum::http::request::Parts;
use chrono::{DateTime, Datelike as _, Utc};

use super::problem::ApiError;
use crate::domain::error::{Error, Result};
use crate::template::source::did_you_mean;

/// Parameters that were not taken yet.
#[derive(Debug, Clone)]
pub struct Query {
    pairs: Vec<(String, String)>,
    known: Vec<String>,
}

impl<S: Send + Sync> FromRequestParts<S> for Query {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> std::result::Result<Self, ApiError> {
        Self::of(&parts.uri).map_err(ApiError)
    }
}

impl Query {
    /// The query of a URL.
    ///
    /// # Errors
    /// When it can't be read.
    pub fn of(uri: &Uri) -> Result<Self> {
        axum::extract::Query::<Vec<(String, String)>>::try_from_uri(uri)
            .map(|pairs| Self { pairs: pairs.0, known: Vec::new() })
            .map_err(|_| Error::bad_request("query-invalid", "The query of the URL can't be read."))
    }

    /// All values of a parameter, split at commas.
    pub fn list(&mut self, key: &str) -> Vec<String> {
        let values = self.all(key);
        values
            .iter()
            .flat_map(|value| value.split(','))
            .map(str::trim)
            .filter(|item| !item.is_empty())
            .map(ToOwned::to_owned)
            .collect()
    }

    /// All values of a parameter.
    pub fn all(&mut self, key: &str) -> Vec<String> {
        self.known.push(key.to_owned());
        self.pairs.extract_if(.., |(name, _)| name == key).map(|(_, value)| value).collect()
    }

    /// All parameters that begin with a prefix, without it.
    pub fn prefixed(&mut self, prefix: &str) -> Vec<(String, String)> {
        self.known.push(format!("{prefix}NAME"));
        self.pairs
            .extract_if(.., |(name, _)| name.len() > prefix.len() && name.starts_with(prefix))
            .map(|(name, value)| (name[prefix.len()..].to_owned(), value))
            .collect()
    }

    /// A parameter that may be there once. An empty one counts as absent.
    ///
    /// # Errors
    /// When it is there more than once.
    pub fn one(&mut self, key: &str) -> Result<Option<String>> {
        let mut values = self.all(key);
        if values.len() > 1 {
            return Err(Error::bad_request(
                "query-invalid",
                format!("The query parameter {key:?} is there more than once."),
            ));
        }
        Ok(values.pop().filter(|value| !value.is_empty()))
    }

    /// As [`Query::one`], but an empty value is refused: from a script whose variable was not set it must not mean "any".
    ///
    /// # Errors
    /// When it is there more than once, or empty.
    pub fn filled(&mut self, key: &str) -> Result<Option<String>> {
        let is_empty = self.pairs.iter().any(|(name, value)| name == key && value.trim().is_empty());
        if is_empty {
            let public = format!("The query parameter {key:?} is empty; give it a value, or leave it out.");
            return Err(Error::bad_request("query-invalid", public));
        }
        self.one(key)
    }

    /// A point in time.
    ///
    /// # Errors
    /// When it is there more than once, or is not RFC 3339 of the years 1 to 9999.
    pub fn time(&mut self, key: &str) -> Result<Option<DateTime<Utc>>> {
        let Some(text) = self.one(key)? else { return Ok(None) };
        let time = DateTime::parse_from_rfc3339(&text).ok().map(|time| time.to_utc());
        time.filter(|time| (1..=9999).contains(&time.year())).map(Some).ok_or_else(|| {
            let public = format!(
                "The query parameter {key:?} must be a time such as 2026-11-26T06:00:00Z (a + in it is written %2B), not {text:?}."
            );
            Error::bad_request("query-invalid", public)
        })
    }

    /// A parameter of a type.
    ///
    /// # Errors
    /// When it is there more than once or can't be read.
    pub fn parsed<T: FromStr<Err: Display>>(&mut self, key: &str) -> Result<Option<T>> {
        self.one(key)?
            .map(|value| {
                value.parse().map_err(|error| {
                    Error::bad_request("query-invalid", format!("The query parameter {key:?}: {error}."))
                })
            })
            .transpose()
    }

    /// What is left, sorted.
    #[must_use]
    pub fn remaining(&self) -> Vec<(String, String)> {
        let mut pairs = self.pairs.clone();
        pairs.sort();
        pairs
    }

    /// Refuses what was not taken.
    ///
    /// # Errors
    /// When a parameter is left over.
    pub fn finish(self) -> Result<()> {
        let Some((unknown, _)) = self.pairs.first() else { return Ok(()) };
        let hint = did_you_mean(unknown, self.known.iter().map(String::as_str)).text;
        let hint = match (hint.is_empty(), self.known.is_empty()) {
            (false, _) => capitalised(&hint),
            (true, true) => "There are none here.".to_owned(),
            (true, false) => format!("Known here: {}.", self.known.join(", ")),
        };
        Err(Error::bad_request("query-invalid", format!("Unknown query parameter {unknown:?}. {hint}")))
    }
}

fn capitalised(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}
