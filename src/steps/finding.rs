//! Finding a build's own things again by their tags. A name is never proof of ownership.

use std::time::Duration;

use crate::cloud::Filter;
use crate::domain::tags;
use crate::engine::step::{Made, StepContext, StepResult};

/// Between two looks for something whose making got no answer.
const SECOND_LOOK: Duration = Duration::from_secs(30);

/// Filters that match what this attempt of this build made.
#[must_use]
pub fn own(context: &StepContext) -> Vec<Filter> {
    context.ownership().tags().iter().map(|(key, value)| Filter::tag(key, value)).collect()
}

/// Whether tags say that a thing is this attempt's.
#[must_use]
pub fn is_own(context: &StepContext, tags: &[(String, String)]) -> bool {
    context.ownership().owns(tags)
}

/// The tags of what must be gone when the build is over, with the template's `run_tags` before Ingot's own.
#[must_use]
pub fn temporary_tags(context: &StepContext, name: &str, more: &[(String, String)]) -> tags::TagList {
    let mut list: tags::TagList = vec![("Name".into(), name.into())];
    for (key, value) in more {
        set(&mut list, key, value);
    }
    list.extend(context.ownership().temporary_tags());
    list.push((tags::RUN_ID.into(), context.facts.run.to_string()));
    list
}

/// Sets a tag, replacing one of the same key.
pub fn set(list: &mut tags::TagList, key: &str, value: &str) {
    match list.iter_mut().find(|(present, _)| present == key) {
        Some(entry) => value.clone_into(&mut entry.1),
        None => list.push((key.to_owned(), value.to_owned())),
    }
}

/// Looks for things; when nobody knows whether they were made and none are found, looks again 30 s later, because what a
/// lost call made may become visible late.
///
/// # Errors
/// Those of the look, or the end of the build's work here.
pub async fn look<T, O, F>(context: &StepContext, made: &Made<O>, mut find: impl FnMut() -> F) -> StepResult<Vec<T>>
where
    F: Future<Output = StepResult<Vec<T>>>,
{
    let found = find().await?;
    if !found.is_empty() || !matches!(made, Made::Unknown) {
        return Ok(found);
    }
    context.pause(SECOND_LOOK).await?;
    find().await
}
