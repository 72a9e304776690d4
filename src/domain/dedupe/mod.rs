//! Joining identical work: whether a request is served by a run that is there already, and in which words that is told.
//! Pure; `store::dedupe` finds the candidates, inside the transaction that would write the run. Start reading at
//! [`decide`]; the sentences are in `words`.

mod words;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::content_key::Content;
use super::ids::RunId;
use super::state::{RunState, text_enum};

pub use words::Origin;

/// How old a run may be that is reused, when the request does not say: a week.
pub const DEFAULT_MAX_AGE: Duration = Duration::from_hours(7 * 24);

text_enum! {
    /// What a request asks for.
    DedupeMode {
        /// A run of its own.
        Never = "never",
        /// A run in progress with the same content, if there is one.
        Join = "join",
        /// That, or else a run that has made the same content not long ago.
        Reuse = "reuse",
    }
}

text_enum! {
    /// What became of it.
    DedupeOutcome {
        Made = "made",
        Joined = "joined",
        Reused = "reused",
    }
}

impl DedupeMode {
    #[must_use]
    pub fn looks_at_others(self) -> bool {
        self != Self::Never
    }
}

/// What a request asks for, with how old a reused run may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dedupe {
    Never,
    Join,
    Reuse { max_age: Duration },
}

impl Dedupe {
    #[must_use]
    pub fn mode(self) -> DedupeMode {
        match self {
            Self::Never => DedupeMode::Never,
            Self::Join => DedupeMode::Join,
            Self::Reuse { .. } => DedupeMode::Reuse,
        }
    }
}

/// Why a request got the run that it got. Kept with the run that was made, and shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explanation {
    pub mode: DedupeMode,
    pub outcome: DedupeOutcome,
    /// One or more sentences.
    pub reason: String,
    /// The run that it was compared with.
    pub compared_with: Option<Compared>,
}

/// Another run, and what is not the same there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Compared {
    pub run: RunId,
    /// As it was then.
    pub state: RunState,
    pub differs: Vec<Difference>,
}

/// One thing that is not the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// `template`, `variable:NAME`, `build:NAME`, `build:NAME:OPTION`, `source_ami:BUILD` …
    pub part: String,
    /// The same for people, as it goes into a sentence.
    pub words: String,
}

/// The source AMIs of a request by build, or why they are not known, as the rest of a sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sources {
    Known(BTreeMap<String, String>),
    Unknown(String),
}

/// A request that asks not to be made anew.
#[derive(Debug)]
pub struct Wanted<'a> {
    pub dedupe: Dedupe,
    /// `Err`: why there is none, as the rest of a sentence.
    pub content: Result<&'a Content, &'a str>,
    pub sources: &'a Sources,
    /// As they are shown: what is hidden is replaced.
    pub variables: &'a Value,
    pub now: DateTime<Utc>,
}

/// A run that may do.
#[derive(Debug, Clone, PartialEq)]
pub struct Candidate {
    pub run: RunId,
    pub state: RunState,
    pub cancel_requested: bool,
    /// A build of it has failed, was cancelled or holds, or the run may hold.
    pub spoiled: bool,
    pub created_at: DateTime<Utc>,
    /// `None` for runs of a time when it was not recorded.
    pub content: Option<Content>,
    /// Source AMIs by build, as far as they have been looked up.
    pub sources: BTreeMap<String, String>,
    /// As they are shown.
    pub variables: Value,
    /// Such as `web #7`.
    pub image: String,
    pub image_is_built: bool,
    /// AMIs of the image, and how many of them are gone.
    pub copies: i64,
    pub copies_gone: i64,
}

impl Candidate {
    fn in_progress(&self) -> bool {
        matches!(self.state, RunState::Queued | RunState::Running)
    }

    fn is_alive(&self) -> bool {
        self.in_progress() && !self.cancel_requested && !self.spoiled
    }

    /// The builds whose source AMI is another one: name, the candidate's, the request's. One that has not been looked up yet
    /// will be looked up later than now, so it counts as the same.
    fn other_sources<'a>(&'a self, wanted: &'a BTreeMap<String, String>) -> Vec<(&'a str, &'a str, &'a str)> {
        let unlike = |(build, wanted): (&'a String, &'a String)| {
            let own = self.sources.get(build)?;
            (own != wanted).then_some((build.as_str(), own.as_str(), wanted.as_str()))
        };
        wanted.iter().filter_map(unlike).collect()
    }
}

/// What a request gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// `None`: a run is made.
    pub run: Option<RunId>,
    pub explanation: Explanation,
}

/// Decides. Of several runs in progress the one furthest along is joined; of several that are over, the newest is reused.
#[must_use]
pub fn decide(wanted: &Wanted<'_>, candidates: &[Candidate]) -> Decision {
    let made = |reason: String, compared_with: Option<Compared>| {
        let outcome = DedupeOutcome::Made;
        Decision { run: None, explanation: Explanation { mode: wanted.dedupe.mode(), outcome, reason, compared_with } }
    };
    if wanted.dedupe == Dedupe::Never {
        return made(words::ASKED_FOR.to_owned(), None);
    }
    let content = match wanted.content {
        Ok(content) => content,
        Err(why) => return made(words::no_content(why), None),
    };
    let sources = match wanted.sources {
        Sources::Known(sources) => sources,
        Sources::Unknown(why) => return made(words::no_sources(why), None),
    };
    let equal = |candidate: &&Candidate| candidate.content.as_ref().is_some_and(|other| other.is_same_as(content));
    let equals: Vec<&Candidate> = candidates.iter().filter(equal).collect();
    let usable: Vec<&Candidate> =
        equals.iter().copied().filter(|one| refusal(wanted, sources, one).is_none()).collect();
    let furthest = |one: &&Candidate| (one.state != RunState::Running, one.created_at, one.run);
    let joined = usable.iter().filter(|one| one.in_progress()).min_by_key(|one| furthest(one));
    let reused = usable.iter().filter(|one| !one.in_progress()).max_by_key(|one| (one.created_at, one.run));
    let used = |candidate: &Candidate, outcome: DedupeOutcome, reason: String| {
        let compared_with = Some(Compared { run: candidate.run, state: candidate.state, differs: Vec::new() });
        let explanation = Explanation { mode: wanted.dedupe.mode(), outcome, reason, compared_with };
        Decision { run: Some(candidate.run), explanation }
    };
    if let Some(candidate) = joined {
        return used(candidate, DedupeOutcome::Joined, words::joined(candidate));
    }
    if let Some(candidate) = reused {
        return used(candidate, DedupeOutcome::Reused, words::reused(candidate, wanted.now));
    }
    // One with the same content that does not do says more than any other.
    let compared = |candidate: &Candidate| {
        let differs = differences(content, sources, wanted.variables, candidate);
        Compared { run: candidate.run, state: candidate.state, differs }
    };
    if let Some((candidate, why)) = equals.iter().find_map(|one| Some((*one, refusal(wanted, sources, one)?))) {
        return made(words::unfit(candidate, &why), Some(compared(candidate)));
    }
    let nearest = |in_progress: bool| {
        let those = candidates.iter().filter(move |one| one.in_progress() == in_progress);
        let compared = those.map(|candidate| (candidate, compared(candidate)));
        compared.min_by_key(|(candidate, compared)| {
            (candidate.content.is_none(), compared.differs.len(), std::cmp::Reverse(candidate.created_at))
        })
    };
    match nearest(true).or_else(|| nearest(false)) {
        Some((candidate, compared)) => {
            made(words::unlike(wanted.dedupe, content, candidate, &compared.differs), Some(compared))
        }
        None => made(words::nothing(wanted.dedupe), None),
    }
}

/// Why a run with the same content does not do, as the rest of a sentence.
fn refusal(wanted: &Wanted<'_>, sources: &BTreeMap<String, String>, candidate: &Candidate) -> Option<String> {
    if let Some(unlike) = candidate.other_sources(sources).first() {
        return Some(words::other_source(unlike));
    }
    if candidate.is_alive() {
        return None;
    }
    if candidate.in_progress() {
        let why = if candidate.cancel_requested {
            "is being cancelled"
        } else {
            "has a build that did not succeed, or waits for a person"
        };
        return Some(why.to_owned());
    }
    match candidate.state {
        RunState::Succeeded => {}
        RunState::Unwinding => return Some("is undoing what it made".to_owned()),
        RunState::Stuck => return Some("is stuck".to_owned()),
        _ => return Some("did not succeed".to_owned()),
    }
    let Dedupe::Reuse { max_age } = wanted.dedupe else {
        return Some("is over, and the request asks for `join` only".to_owned());
    };
    let age = wanted.now - candidate.created_at;
    if TimeDelta::from_std(max_age).is_ok_and(|most| age > most) {
        return Some(format!("is {} old, and {} is the most", words::age(age), words::length(max_age)));
    }
    if !candidate.image_is_built {
        return Some(format!("has no complete image ({})", candidate.image));
    }
    match (candidate.copies, candidate.copies_gone) {
        (0, _) => Some("made no AMI".to_owned()),
        (_, 0) => None,
        (all, gone) => Some(format!("has lost {gone} of the {all} AMIs of its image {}", candidate.image)),
    }
}

/// What differs between a content and that of a run.
fn differences(
    content: &Content,
    sources: &BTreeMap<String, String>,
    variables: &Value,
    candidate: &Candidate,
) -> Vec<Difference> {
    let Some(other) = candidate.content.as_ref().filter(|other| other.key_id == content.key_id) else {
        return Vec::new();
    };
    let unlike = content.parts_unlike(other);
    let parts = unlike.into_iter().map(|part| Difference {
        part: part.to_owned(),
        words: words::part(part, (content, variables), (other, &candidate.variables)),
    });
    let sources = candidate
        .other_sources(sources)
        .into_iter()
        .map(|unlike| Difference { part: format!("source_ami:{}", unlike.0), words: words::source(&unlike) });
    parts.chain(sources).collect()
}

/// A run that was made without looking for another one.
#[derive(Debug)]
pub struct MadeAnyway<'a> {
    pub origin: Origin<'a>,
    pub content: Option<&'a Content>,
    pub sources: &'a BTreeMap<String, String>,
    pub variables: &'a Value,
}

/// Explains such a run, beside the newest one before it of the same template and account.
#[must_use]
pub fn explain_made(made: &MadeAnyway<'_>, before: Option<&Candidate>) -> Explanation {
    let compared_with = before.map(|before| Compared {
        run: before.run,
        state: before.state,
        differs: made
            .content
            .map(|content| differences(content, made.sources, made.variables, before))
            .unwrap_or_default(),
    });
    let comparable = match (made.content, before) {
        (Some(content), Some(before)) => before.content.as_ref().is_some_and(|other| other.key_id == content.key_id),
        _ => false,
    };
    let reason = words::made_anyway(&made.origin, compared_with.as_ref(), comparable);
    Explanation { mode: DedupeMode::Never, outcome: DedupeOutcome::Made, reason, compared_with }
}
