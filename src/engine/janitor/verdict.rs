//! What is to become of a thing, decided from what the database knows of its build, without I/O.

use std::collections::HashMap;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use super::look::{Origin, Thing};
use crate::domain::ids::{Attempt, BuildId};
use crate::domain::janitor::{FindingKind, SweepSettings, Why};
use crate::store::janitor::BuildStanding;

/// From which age on an instance of a build at work is worth a person's look.
pub(super) const LONG_AT_WORK: Duration = Duration::from_hours(12);

/// What the database knows of builds.
#[derive(Debug, Default)]
pub(super) struct Knowledge {
    pub standing: HashMap<BuildId, BuildStanding>,
    pub attempts: HashMap<BuildId, Attempt>,
}

/// Why a thing is a finding, and whether it goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Verdict {
    pub why: Why,
    pub remove: bool,
    /// Why it stays.
    pub detail: Option<String>,
}

impl Verdict {
    fn remove(why: Why) -> Self {
        Self { why, remove: true, detail: None }
    }

    fn report(why: Why, detail: impl Into<String>) -> Self {
        Self { why, remove: false, detail: Some(detail.into()) }
    }
}

/// `None`: all is well with it.
pub(super) fn judge(thing: &Thing, known: &Knowledge, settings: &SweepSettings, now: DateTime<Utc>) -> Option<Verdict> {
    match &thing.origin {
        Origin::Ours { build, attempt } => judge_ours(thing, *build, *attempt, known, now),
        Origin::Packer { used_by: Some(user) } => {
            Some(Verdict::report(Why::PackerLeftover, format!("{user} uses it, which is not a leftover of Packer's")))
        }
        Origin::Packer { used_by: None } if settings.remove_packer_leftovers => {
            Some(Verdict::remove(Why::PackerLeftover))
        }
        Origin::Packer { used_by: None } => Some(Verdict { why: Why::PackerLeftover, remove: false, detail: None }),
    }
}

fn judge_ours(
    thing: &Thing,
    build: Option<BuildId>,
    attempt: Option<Attempt>,
    known: &Knowledge,
    now: DateTime<Utc>,
) -> Option<Verdict> {
    let unknown = |detail: String| Some(Verdict::report(Why::UnknownBuild, detail));
    let Some(build) = build else { return unknown("no tag ingot:build-id that can be read".to_owned()) };
    let Some(attempt) = attempt else { return unknown("no tag ingot:attempt that can be read".to_owned()) };
    let newest = known.attempts.get(&build).copied();
    match (known.standing.get(&build), newest) {
        (Some(BuildStanding::Over | BuildStanding::Active), Some(newest)) if attempt > newest => {
            // A server of the same backup may have gone on with this build, and be at work on it.
            unknown(format!("attempt {attempt} of a build of which this database knows {newest} only"))
        }
        (Some(BuildStanding::Over), Some(_)) => Some(Verdict::remove(Why::LeftBehind)),
        (Some(BuildStanding::Active), Some(_)) => {
            let limit = TimeDelta::from_std(LONG_AT_WORK).unwrap_or(TimeDelta::MAX);
            let long = thing.created_at.is_some_and(|created| now - created >= limit);
            (thing.kind == FindingKind::Instance && long).then(|| {
                Verdict::report(
                    Why::Held,
                    "its build is not over for long: held, left in place, stuck or slow; answer it, cancel its run, or try it again",
                )
            })
        }
        _ => unknown("this database does not know the build".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    const BUILD: BuildId = BuildId(Uuid::from_u128(7));

    fn thing(kind: FindingKind, origin: Origin) -> Thing {
        let created_at = Some(DateTime::UNIX_EPOCH);
        Thing { kind, id: "x-1".into(), name: None, tags: Vec::new(), created_at, usd_per_hour: None, origin }
    }

    fn ours(attempt: i32) -> Origin {
        Origin::Ours { build: Some(BUILD), attempt: Some(Attempt(attempt)) }
    }

    fn known(standing: BuildStanding, attempt: i32) -> Knowledge {
        Knowledge { standing: HashMap::from([(BUILD, standing)]), attempts: HashMap::from([(BUILD, Attempt(attempt))]) }
    }

    /// After a day, with Packer's leftovers removed.
    fn verdict(origin: Origin, known: &Knowledge) -> Option<(Why, bool)> {
        let settings = SweepSettings { remove_packer_leftovers: true, ..SweepSettings::default() };
        let now = DateTime::UNIX_EPOCH + TimeDelta::days(1);
        judge(&thing(FindingKind::Instance, origin), known, &settings, now).map(|found| (found.why, found.remove))
    }

    #[test]
    fn only_what_is_over_goes() {
        assert_eq!(verdict(ours(1), &known(BuildStanding::Over, 1)), Some((Why::LeftBehind, true)));
        assert_eq!(verdict(ours(1), &known(BuildStanding::Over, 2)), Some((Why::LeftBehind, true)));
        let unknown = Some((Why::UnknownBuild, false));
        assert_eq!(verdict(ours(3), &known(BuildStanding::Over, 2)), unknown);
        assert_eq!(verdict(ours(3), &known(BuildStanding::Active, 2)), unknown);
        assert_eq!(verdict(ours(1), &known(BuildStanding::Unknown, 1)), unknown);
        assert_eq!(verdict(ours(1), &Knowledge::default()), unknown);
        let over = known(BuildStanding::Over, 1);
        assert_eq!(verdict(Origin::Ours { build: Some(BUILD), attempt: None }, &over), unknown);
        assert_eq!(verdict(Origin::Ours { build: None, attempt: Some(Attempt(1)) }, &over), unknown);
    }

    #[test]
    fn instances_that_are_at_work_for_long_are_told_and_stay() {
        let active = known(BuildStanding::Active, 1);
        assert_eq!(verdict(ours(1), &active), Some((Why::Held, false)));
        let settings = SweepSettings::default();
        let at = |hours| DateTime::UNIX_EPOCH + TimeDelta::hours(hours);
        assert_eq!(judge(&thing(FindingKind::Instance, ours(1)), &active, &settings, at(11)), None);
        assert_eq!(judge(&thing(FindingKind::Volume, ours(1)), &active, &settings, at(24)), None);
    }

    #[test]
    fn packers_leftovers_go_when_configured_and_nobody_needs_them() {
        let none = Knowledge::default();
        assert_eq!(verdict(Origin::Packer { used_by: None }, &none), Some((Why::PackerLeftover, true)));
        let used = Origin::Packer { used_by: Some("i-9".into()) };
        assert_eq!(verdict(used, &none), Some((Why::PackerLeftover, false)));
        let thing = thing(FindingKind::KeyPair, Origin::Packer { used_by: None });
        let found = judge(&thing, &none, &SweepSettings::default(), DateTime::UNIX_EPOCH).unwrap();
        assert!(!found.remove, "reported by default");
    }
}
