//! EC2's filters over what the world holds.

use crate::cloud::{CloudError, CloudErrorClass, CloudResult, Filter, Tags};
use crate::domain::tags;

/// The most values of all filters of one call.
const MOST_VALUES: usize = 200;

/// Something that lists show.
pub(super) trait Listed {
    type Shown: Clone;

    fn shown(&self) -> &Self::Shown;
    fn tags(&self) -> &Tags;
    fn tags_mut(&mut self) -> &mut Tags;
    /// A filter's values for this; `None` when there is no such filter.
    fn attribute(&self, filter: &str) -> Option<Vec<String>>;
    /// How many lists still don't show it.
    fn hidden(&mut self) -> &mut u32;
    /// A list shows it.
    fn seen(&mut self) {}
}

/// What the filters let through and can be seen.
pub(super) fn list<'w, T: Listed + 'w>(
    all: impl Iterator<Item = &'w mut T>,
    filters: &[Filter],
) -> CloudResult<Vec<T::Shown>> {
    if filters.iter().map(|filter| filter.values.len()).sum::<usize>() > MOST_VALUES {
        return Err(refuse(CloudErrorClass::Invalid, "FilterLimitExceeded", "more than 200 filter values"));
    }
    let mut found = Vec::new();
    for one in all {
        if !matches_all(one, filters)? {
            continue;
        }
        if *one.hidden() > 0 {
            *one.hidden() -= 1;
            continue;
        }
        found.push(one.shown().clone());
        one.seen();
    }
    Ok(found)
}

fn matches_all<T: Listed>(one: &T, filters: &[Filter]) -> CloudResult<bool> {
    for filter in filters {
        let has = values_of(one, &filter.name).ok_or_else(|| {
            refuse(
                CloudErrorClass::Invalid,
                "InvalidParameterValue",
                format!("The filter '{}' is invalid", filter.name),
            )
        })?;
        if !filter.values.iter().any(|pattern| has.iter().any(|value| like(pattern, value))) {
            return Ok(false);
        }
    }
    Ok(true)
}

fn values_of<T: Listed>(one: &T, filter: &str) -> Option<Vec<String>> {
    if let Some(key) = filter.strip_prefix("tag:") {
        return Some(tags::value(one.tags(), key).map(str::to_owned).into_iter().collect());
    }
    if filter == "tag-key" {
        return Some(one.tags().iter().map(|(key, _)| key.clone()).collect());
    }
    one.attribute(filter)
}

/// `*` for any characters, `?` for one.
fn like(pattern: &str, text: &str) -> bool {
    fn from(pattern: &[char], text: &[char]) -> bool {
        match pattern.split_first() {
            None => text.is_empty(),
            Some((&'*', rest)) => (0..=text.len()).any(|skip| from(rest, &text[skip..])),
            Some((&'?', rest)) => text.split_first().is_some_and(|(_, text)| from(rest, text)),
            Some((wanted, rest)) => text.split_first().is_some_and(|(found, text)| found == wanted && from(rest, text)),
        }
    }
    from(&pattern.chars().collect::<Vec<_>>(), &text.chars().collect::<Vec<_>>())
}

/// A refusal; the operation is filled in by the call.
pub(super) fn refuse(class: CloudErrorClass, code: &str, message: impl Into<String>) -> CloudError {
    CloudError::new(class, "", code, message)
}

pub(super) fn not_found(kind: &str, id: &str) -> CloudError {
    refuse(CloudErrorClass::NotFound, &format!("{kind}.NotFound"), format!("The ID '{id}' does not exist"))
}

pub(super) fn invalid(code: &str, message: impl Into<String>) -> CloudError {
    refuse(CloudErrorClass::Invalid, code, message)
}

pub(super) fn duplicate(code: &str, message: impl Into<String>) -> CloudError {
    refuse(CloudErrorClass::Duplicate, code, message)
}

pub(super) fn busy(code: &str, message: impl Into<String>) -> CloudError {
    refuse(CloudErrorClass::Busy, code, message)
}

/// The one value of a filter.
#[expect(clippy::unnecessary_wraps, reason = "an arm of a match whose other arms have nothing")]
pub(super) fn one(value: impl std::fmt::Display) -> Option<Vec<String>> {
    Some(vec![value.to_string()])
}

#[expect(clippy::unnecessary_wraps, reason = "an arm of a match whose other arms have nothing")]
pub(super) fn optional(value: Option<&String>) -> Option<Vec<String>> {
    Some(value.cloned().into_iter().collect())
}

#[cfg(test)]
mod tests {
    use super::like;

    #[test]
    fn wildcards() {
        assert!(like(
            "ubuntu/images/*ubuntu-jammy-22.04-amd64-server-*",
            "ubuntu/images/hvm-ssd/ubuntu-jammy-22.04-amd64-server-1"
        ));
        assert!(like("a?c*", "abc"));
        assert!(!like("a?c", "ac"));
        assert!(!like("abc", "abcd"));
    }
}
