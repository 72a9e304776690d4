//! The sentences in which it is told why a run was or was not made anew. They name parts and show what anybody may see of
//! a run; fingerprints and hidden values never get here.

use std::fmt::Write as _;
use std::time::Duration;

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use serde_json::Value;

use super::{Candidate, Compared, Dedupe, Difference};
use crate::domain::content_key::Content;

/// Differences that a sentence names.
const NAMED: usize = 4;
/// Longer values are not shown in a sentence.
const SHORT: usize = 60;

/// Of a request with `never`.
pub(super) const ASKED_FOR: &str = "Made anew: the request asked for it (`dedupe` was `never`).";

/// Who started a run that was made without looking for another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin<'a> {
    /// A request. `left_out`: it did not say `dedupe` at all.
    Request { left_out: bool },
    /// The schedule of this name, for this time; `None`: somebody triggered it.
    Schedule { name: &'a str, slot: Option<DateTime<Utc>> },
}

pub(super) fn no_content(why: &str) -> String {
    format!("Made anew: what it is made of can't be compared with other runs, because {why}.")
}

pub(super) fn no_sources(why: &str) -> String {
    format!("Made anew: whether another run would do can't be told, because {why}.")
}

pub(super) fn nothing(dedupe: Dedupe) -> String {
    let what = match dedupe {
        Dedupe::Reuse { .. } => "no run in progress or over has",
        Dedupe::Join | Dedupe::Never => "no run in progress has",
    };
    format!("Made anew: {what} the same content, and there is no other run of this template in this account.")
}

pub(super) fn joined(candidate: &Candidate) -> String {
    let sources = if candidate.sources.is_empty() {
        "it has not looked its source AMI up yet"
    } else {
        "its source AMI is the one that would be taken now"
    };
    format!("Joined: run {} ({}) has the same content, and {sources}.", candidate.run, candidate.state)
}

pub(super) fn reused(candidate: &Candidate, now: DateTime<Utc>) -> String {
    format!(
        "Reused: run {} made the same content {} ago from the source AMI that would be taken now; its image {} is built, \
         and all its AMIs are there.",
        candidate.run,
        age(now - candidate.created_at),
        candidate.image
    )
}

pub(super) fn unfit(candidate: &Candidate, why: &str) -> String {
    format!("Made anew: run {} ({}) has the same content, but it {why}.", candidate.run, candidate.state)
}

pub(super) fn other_source((build, own, wanted): &(&str, &str, &str)) -> String {
    format!("was made from another source AMI (build `{build}`: {own}; now it would be {wanted})")
}

/// The nearest run has another content.
pub(super) fn unlike(dedupe: Dedupe, content: &Content, candidate: &Candidate, differs: &[Difference]) -> String {
    let sought = match (dedupe, candidate.in_progress()) {
        (Dedupe::Reuse { .. }, _) => "no run in progress or over has the same content",
        (_, true) => "no run in progress has the same content",
        (_, false) => {
            "no run in progress has the same content, nor is one of this template in progress in this account"
        }
    };
    let nearest = format!("{} ({})", candidate.run, candidate.state);
    match &candidate.content {
        None => format!("Made anew: {sought}. Run {nearest} is from a time when the content was not recorded."),
        Some(other) if other.key_id != content.key_id => {
            format!("Made anew: {sought}. Run {nearest} can't be compared: the server's secret key was changed since.")
        }
        Some(_) => format!("Made anew: {sought}. The nearest is {nearest}: {}.", listed(differs)),
    }
}

pub(super) fn made_anyway(origin: &Origin<'_>, compared: Option<&Compared>, comparable: bool) -> String {
    let mut text = match origin {
        Origin::Request { left_out: true } => {
            "Made anew: the request did not ask to join or reuse a run (`dedupe` was left out).".to_owned()
        }
        Origin::Request { left_out: false } => ASKED_FOR.to_owned(),
        Origin::Schedule { name, slot: Some(slot) } => format!(
            "Made anew: schedule `{name}` started it for {}; each time of a schedule gets a run of its own.",
            slot.to_rfc3339_opts(SecondsFormat::Secs, true)
        ),
        Origin::Schedule { name, slot: None } => {
            format!("Made anew: somebody triggered schedule `{name}`; that makes a run each time.")
        }
    };
    let Some(compared) = compared else {
        text.push_str(" It is the first run of its template in this account.");
        return text;
    };
    let before = format!("{} ({}), the run of this template before it in this account", compared.run, compared.state);
    // Writing to a string does not fail.
    let _ = match (comparable, compared.differs.is_empty()) {
        (false, _) => write!(text, " It can't be compared with {before}."),
        (true, true) => write!(text, " It has the same content as {before}."),
        (true, false) => write!(text, " Compared with {before}: {}.", listed(&compared.differs)),
    };
    text
}

/// `A, B and C differ`. Options of a build follow from something else that differs, mostly: then they are left out.
fn listed(differs: &[Difference]) -> String {
    let follows =
        |difference: &&Difference| difference.part.strip_prefix("build:").is_some_and(|rest| rest.contains(':'));
    let causes: Vec<&Difference> = differs.iter().filter(|difference| !follows(difference)).collect();
    let causes = if causes.is_empty() { differs.iter().collect() } else { causes };
    let mut named: Vec<&str> = causes.iter().take(NAMED).map(|difference| difference.words.as_str()).collect();
    let more = match causes.len() - named.len() {
        0 => None,
        1 => Some("1 thing more".to_owned()),
        more => Some(format!("{more} things more")),
    };
    named.extend(more.as_deref());
    match named.as_slice() {
        [] => "nothing that is recorded differs".to_owned(),
        [one] => format!("{one} differs"),
        [first @ .., last] => format!("{} and {last} differ", first.join(", ")),
    }
}

/// A part as it goes into a sentence. `own` and `other` come with the variables as they are shown.
pub(super) fn part(name: &str, own: (&Content, &Value), other: (&Content, &Value)) -> String {
    let only_one = match (own.0.parts.contains_key(name), other.0.parts.contains_key(name)) {
        (true, false) => ", which only this run has,",
        (false, true) => ", which only that run has,",
        _ => "",
    };
    let mut pieces = name.splitn(2, ':');
    let text = match (pieces.next().unwrap_or_default(), pieces.next()) {
        ("template", _) => "the content of the template".to_owned(),
        ("ingot", _) => "Ingot's version".to_owned(),
        ("account", _) => "the account".to_owned(),
        ("family", _) => "the image family".to_owned(),
        ("git_sha", _) => "the commit (`git_sha`)".to_owned(),
        ("clean_image", _) => "the option `clean_image`".to_owned(),
        ("variable", Some(variable)) => {
            let values = shown_values(variable, own.1, other.1);
            format!("the variable `{variable}`{}", values.unwrap_or_default())
        }
        ("build", Some(build)) => match build.rsplit_once(':') {
            Some((build, option)) => format!("`{option}` of build `{build}`"),
            None => format!("the build `{build}`"),
        },
        _ => format!("`{name}`"),
    };
    text + only_one
}

/// ` ("a" instead of "b")`, when both values are short and anybody may see them.
fn shown_values(name: &str, own: &Value, other: &Value) -> Option<String> {
    let short = |variables: &Value| {
        let value = variables.get(name)?;
        let plain = matches!(value, Value::String(_) | Value::Number(_) | Value::Bool(_));
        let text = value.to_string();
        (plain && text.chars().count() <= SHORT).then_some(text)
    };
    let (own, other) = (short(own)?, short(other)?);
    // Both hidden, or alike as they are shown.
    (own != other).then(|| format!(" ({own} instead of {other})"))
}

pub(super) fn source((build, own, wanted): &(&str, &str, &str)) -> String {
    format!("the source AMI of build `{build}` ({wanted} instead of {own})")
}

/// About how long, in the largest unit that fits.
pub(super) fn age(age: TimeDelta) -> String {
    let seconds = age.num_seconds().max(0);
    let (count, unit) = match seconds {
        ..60 => (seconds, "second"),
        60..3600 => (seconds / 60, "minute"),
        3600..172_800 => (seconds / 3600, "hour"),
        _ => (seconds / 86_400, "day"),
    };
    if count == 1 { format!("1 {unit}") } else { format!("{count} {unit}s") }
}

pub(super) fn length(length: Duration) -> String {
    age(TimeDelta::from_std(length).unwrap_or(TimeDelta::MAX))
}
