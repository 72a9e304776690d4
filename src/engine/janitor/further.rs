//! What only builds with some options make, and what an account's role need not be allowed to look for: launch templates of
//! spot instances, and temporary roles with their instance profiles. A refusal means that such builds can't have been made
//! there either; it is asked again after a day.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use chrono::{DateTime, TimeDelta, Utc};

use super::look::{Origin, Thing, thing};
use crate::cloud::{Cloud, CloudErrorClass, CloudResult, Filter, Tags};
use crate::domain::ids::DeploymentId;
use crate::domain::janitor::FindingKind;
use crate::domain::tags;

const ASK_AGAIN_AFTER: TimeDelta = TimeDelta::days(1);

/// Looks for them, and remembers where that was refused.
#[derive(Debug, Default)]
pub struct Further {
    refused: Mutex<HashMap<(String, FindingKind), DateTime<Utc>>>,
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
    pub(super) async fn look(
        &self,
        place: Place<'_>,
        deployment: DeploymentId,
        now: DateTime<Utc>,
    ) -> CloudResult<Vec<Thing>> {
        let Place { cloud, account, region, with_identities } = place;
        let deployment = deployment.to_string();
        let wanted = [(tags::DEPLOYMENT, deployment.as_str()), (tags::TEMPORARY, "true")];
        let filters: Vec<Filter> = wanted.iter().map(|(key, value)| Filter::tag(key, value)).collect();
        let is_ours = |own: &Tags| wanted.iter().all(|(key, value)| tags::value(own, key) == Some(value));
        let mut things = Vec::new();
        let templates =
            self.ask(account, FindingKind::LaunchTemplate, now, cloud.find_launch_templates(region, &filters));
        things.extend(templates.await?.into_iter().map(|found| {
            let facts = (found.created_at, Some(0.0));
            thing(FindingKind::LaunchTemplate, found.id, Some(found.name), found.tags, facts, Origin::of)
        }));
        if !with_identities {
            return Ok(things);
        }
        let profiles =
            self.ask(account, FindingKind::InstanceProfile, now, cloud.find_instance_profiles(region)).await?;
        things.extend(profiles.into_iter().filter(|found| is_ours(&found.tags)).map(|found| {
            let facts = (found.created_at, Some(0.0));
            thing(FindingKind::InstanceProfile, found.name, None, found.tags, facts, Origin::of)
        }));
        let roles = self.ask(account, FindingKind::Role, now, cloud.find_roles(region)).await?;
        things.extend(roles.into_iter().filter(|found| is_ours(&found.tags)).map(|found| {
            let facts = (found.created_at, Some(0.0));
            thing(FindingKind::Role, found.name, None, found.tags, facts, Origin::of)
        }));
        Ok(things)
    }

    async fn ask<T>(
        &self,
        account: &str,
        kind: FindingKind,
        now: DateTime<Utc>,
        answer: impl Future<Output = CloudResult<Vec<T>>>,
    ) -> CloudResult<Vec<T>> {
        let key = (account.to_owned(), kind);
        let refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner).get(&key).copied();
        if refused.is_some_and(|at| now - at < ASK_AGAIN_AFTER) {
            return Ok(Vec::new());
        }
        match answer.await {
            Err(error) if error.class == CloudErrorClass::Unauthorized => {
                tracing::debug!(account, %kind, %error, "the janitor may not look for these");
                self.refused.lock().unwrap_or_else(PoisonError::into_inner).insert(key, now);
                Ok(Vec::new())
            }
            answer => answer,
        }
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
