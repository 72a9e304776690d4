//! `dedupe` and `max_age` of a run request, and what an answer says of them.

use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::config::units::parse_duration;
use crate::domain::dedupe::{DEFAULT_MAX_AGE, Dedupe, DedupeMode, DedupeOutcome, Explanation};
use crate::domain::error::{Error, Result};
use crate::domain::ids::RunId;

/// What became of a request's `dedupe`.
#[derive(Debug, Serialize, ToSchema)]
pub struct Deduped {
    /// As it was asked: `never`, `join` or `reuse`.
    pub mode: &'static str,
    /// `made`, `joined` or `reused`.
    pub outcome: &'static str,
    /// The run that was there already; null when one was made.
    #[schema(required)]
    pub run: Option<Uuid>,
    /// Why, in words.
    pub reason: String,
}

impl Deduped {
    #[must_use]
    pub fn of(run: RunId, explanation: Explanation) -> Self {
        Self {
            mode: explanation.mode.as_str(),
            outcome: explanation.outcome.as_str(),
            run: (explanation.outcome != DedupeOutcome::Made).then_some(run.0),
            reason: explanation.reason,
        }
    }
}

/// Reads the two fields.
///
/// # Errors
/// `dedupe-invalid`, `max-age-invalid`.
pub fn read(mode: Option<&str>, max_age: Option<&str>) -> Result<Option<Dedupe>> {
    let mode = mode
        .map(str::parse::<DedupeMode>)
        .transpose()
        .map_err(|error| Error::unprocessable("dedupe-invalid", format!("The value of `dedupe` is wrong: {error}.")))?;
    if mode != Some(DedupeMode::Reuse) && max_age.is_some() {
        let public = "`max_age` says how old a run may be that is reused; it needs `dedupe` to be `reuse`.";
        return Err(Error::unprocessable("max-age-invalid", public));
    }
    let max_age = match max_age {
        None => DEFAULT_MAX_AGE,
        Some(text) => parse_duration(text)
            .map_err(|error| Error::unprocessable("max-age-invalid", format!("The `max_age` {error}.")))?,
    };
    Ok(mode.map(|mode| match mode {
        DedupeMode::Never => Dedupe::Never,
        DedupeMode::Join => Dedupe::Join,
        DedupeMode::Reuse => Dedupe::Reuse { max_age },
    }))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_fields_belong_together() {
        assert_eq!(read(None, None).unwrap(), None);
        assert_eq!(read(Some("never"), None).unwrap(), Some(Dedupe::Never));
        assert_eq!(read(Some("join"), None).unwrap(), Some(Dedupe::Join));
        assert_eq!(read(Some("reuse"), None).unwrap(), Some(Dedupe::Reuse { max_age: Duration::from_hours(168) }));
        assert_eq!(
            read(Some("reuse"), Some("12h")).unwrap(),
            Some(Dedupe::Reuse { max_age: Duration::from_hours(12) })
        );
        for (mode, max_age, code) in [
            (Some("always"), None, "dedupe-invalid"),
            (Some("join"), Some("1h"), "max-age-invalid"),
            (None, Some("1h"), "max-age-invalid"),
            (Some("reuse"), Some("soon"), "max-age-invalid"),
        ] {
            assert_eq!(read(mode, max_age).unwrap_err().code, code, "{mode:?} {max_age:?}");
        }
    }
}
