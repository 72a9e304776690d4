//! What only builds with some options make, and what an account's role need not be allowed to look for: launch templates of
//! spot instances, and temporary roles with their instance profiles. A refusal means that such builds can't have been made
//! there either; it is asked again after a day, after other failures (no way to IAM) in an hour. Whatever comes of it, the
//! rest of a sweep goes on.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use chrono::{DateTime, TimeDelta, Utc};

use super::look::{Origin, Thing, thing};
use crate::cloud::{Cloud, CloudErrorClass, CloudResult, Filter, Tags};
use crate::domain::ids::DeploymentId;
use crate::domain::janitor::FindingKind;
use crate::domain::tags;

const AFTER_REFUSAL: TimeDelta = TimeDelta::days(1);
const AFTER_FAILURE: TimeDelta = TimeDelta::hours(1);
/// Other codes of an identity that may do nothing pass by themselves, such as `ExpiredToken`.
const REFUSALS: [&str; 3] = ["AccessDenied", "AccessDeniedException", "UnauthorizedOperation"];

/// Looks for them, and remembers where that was refused.
#[derive(Debug, Default)]
pub struct Further {
    /// When it is asked again, by account, region and kind.
    later: Mutex<HashMap<(String, String, FindingKind), DateTime<Utc>>>,
}

/// What was found, and what was not looked for.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub things: Vec<Thing>,
    pub unseen: Vec<FindingKind>,
}

/// A place to look in.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub cloud: &'a dyn Cloud,
    pub account: &'a str,
    pub region: &'a str,
    /// IAM is the same in all regions of an account: one of them is enough.
    pub with_identities: bool,
}

impl Further {
    /// Those with our tags, temporary ones only.
    pub(super) async fn look(&self, place: Place<'_>, deployment: DeploymentId, now: DateTime<Utc>) -> Seen {
        let Place { cloud, region, with_identities, .. } = place;
        let deployment = deployment.to_string();
        let wanted = [(tags::DEPLOYMENT, deployment.as_str()), (tags::TEMPORARY, "true")];
        let filters: Vec<Filter> = wanted.iter().map(|(key, value)| Filter::tag(key, value)).collect();
        let mut seen = Seen::default();
        let ours = |kind, id, name: Option<String>, own: Tags, created_at| {
            let is_ours = wanted.iter().all(|(key, value)| tags::value(&own, key) == Some(value));
            is_ours.then(|| thing(kind, id, name, own, (created_at, Some(0.0)), Origin::of))
        };
        let kind = FindingKind::LaunchTemplate;
        let found = self.ask(place, kind, now, cloud.find_launch_templates(region, &filters), &mut seen).await;
        let found = found.into_iter().filter_map(|one| ours(kind, one.id, Some(one.name), one.tags, one.created_at));
        seen.things.extend(found);
        if !with_identities {
            return seen;
        }
        let kind = FindingKind::InstanceProfile;
        let found = self.ask(place, kind, now, cloud.find_instance_profiles(region), &mut seen).await;
        seen.things.extend(found.into_iter().filter_map(|one| ours(kind, one.name, None, one.tags, one.created_at)));
        let kind = FindingKind::Role;
        let found = self.ask(place, kind, now, cloud.find_roles(region), &mut seen).await;
        seen.things.extend(found.into_iter().filter_map(|one| ours(kind, one.name, None, one.tags, one.created_at)));
        seen
    }

    async fn ask<T>(
        &self,
        Place { account, region, .. }: Place<'_>,
        kind: FindingKind,
        now: DateTime<Utc>,
        answer: impl Future<Output = CloudResult<Vec<T>>>,
        seen: &mut Seen,
    ) -> Vec<T> {
        let key = (account.to_owned(), region.to_owned(), kind);
        let later = self.later.lock().unwrap_or_else(PoisonError::into_inner).get(&key).copied();
        if later.is_some_and(|later| now < later) {
            seen.unseen.push(kind);
            return Vec::new();
        }
        let error = match answer.await {
            Ok(found) => return found,
            Err(error) => error,
        };
        let refused = error.class == CloudErrorClass::Unauthorized && REFUSALS.contains(&error.code.as_str());
        let pause = if refused {
            tracing::debug!(account, region, %kind, %error, "the janitor may not look for these");
            AFTER_REFUSAL
        } else {
            tracing::warn!(account, region, %kind, %error, "the janitor could not look for these; it tries again in an hour");
            AFTER_FAILURE
        };
        self.later.lock().unwrap_or_else(PoisonError::into_inner).insert(key, now + pause);
        seen.unseen.push(kind);
        Vec::new()
    }
}

/// Removes a profile, out of which its role has to go first.
pub(super) async fn remove_instance_profile(cloud: &dyn Cloud, region: &str, name: &str) -> CloudResult<()> {
    if let Some(profile) = cloud.instance_profile(region, name).await? {
        for role in &profile.roles {
            unless_gone(cloud.remove_role_from_instance_profile(region, name, role).await)?;
        }
    }
    cloud.delete_instance_profile(region, name).await
}

/// Removes a role, whose policy has to go first.
pub(super) async fn remove_role(cloud: &dyn Cloud, region: &str, name: &str) -> CloudResult<()> {
    unless_gone(cloud.delete_role_policy(region, name).await)?;
    cloud.delete_role(region, name).await
}

fn unless_gone(done: CloudResult<()>) -> CloudResult<()> {
    match done {
        Err(error) if error.class == CloudErrorClass::NotFound => Ok(()),
        done => done,
    }
}
