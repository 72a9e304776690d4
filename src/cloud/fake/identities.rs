//! Roles and instance profiles of an account.

use std::collections::BTreeMap;

use async_trait::async_trait;

use super::FakeCloud;
use super::filters::{busy, duplicate, invalid, refuse};
use super::world::World;
use crate::cloud::{
    CloudError, CloudErrorClass, CloudResult, IAM_PATH, Identities, InstanceProfile, NewRole, Role, Tags,
};

/// One account's.
#[derive(Default)]
pub(super) struct Iam {
    pub roles: BTreeMap<String, FakeRole>,
    pub profiles: BTreeMap<String, FakeProfile>,
}

pub(super) struct FakeRole {
    pub shown: Role,
    trust_policy: String,
    policy: Option<String>,
    hidden: u32,
}

pub(super) struct FakeProfile {
    pub shown: InstanceProfile,
    /// Somebody else's, outside of [`IAM_PATH`].
    pub base: bool,
    hidden: u32,
    /// How many launches still don't know it.
    hidden_from_launches: u32,
}

impl Iam {
    fn role(&mut self, name: &str) -> CloudResult<&mut FakeRole> {
        self.roles.get_mut(name).ok_or_else(|| no_such("role", name))
    }

    fn profile(&mut self, name: &str) -> CloudResult<&mut FakeProfile> {
        self.profiles.get_mut(name).ok_or_else(|| no_such("Instance Profile", name))
    }

    /// Whether EC2 takes the profile, by name or ARN.
    pub(super) fn launches_with(&mut self, profile: &str) -> CloudResult<()> {
        let of = |found: &&mut FakeProfile| found.shown.arn == profile || found.shown.name == profile;
        let parameter = if profile.starts_with("arn:") { "arn" } else { "name" };
        let Some(found) = self.profiles.values_mut().find(of) else { return Err(unknown(profile, parameter)) };
        if found.hidden_from_launches > 0 {
            found.hidden_from_launches -= 1;
            return Err(unknown(profile, parameter));
        }
        if found.shown.roles.is_empty() {
            let message = format!("IAM Instance Profile \"{profile}\" has no associated IAM Roles");
            return Err(refuse(CloudErrorClass::NotFound, "InvalidParameterValue", message));
        }
        Ok(())
    }
}

/// EC2 does not know a new profile for some seconds, and says it so.
fn unknown(profile: &str, parameter: &str) -> CloudError {
    let message = format!(
        "Value ({profile}) for parameter iamInstanceProfile.{parameter} is invalid. Invalid IAM Instance Profile {parameter}"
    );
    refuse(CloudErrorClass::NotFound, "InvalidParameterValue", message)
}

fn no_such(kind: &str, name: &str) -> CloudError {
    refuse(CloudErrorClass::NotFound, "NoSuchEntity", format!("The {kind} with name {name} cannot be found."))
}

fn exists(kind: &str, name: &str) -> CloudError {
    duplicate("EntityAlreadyExists", format!("{kind} with name {name} already exists."))
}

fn conflict(message: &str) -> CloudError {
    busy("DeleteConflict", message)
}

fn profile_arn(account: &str, path: &str, name: &str) -> String {
    format!("arn:aws:iam::{account}:instance-profile{path}{name}")
}

/// Whether a list shows it already.
fn seen(hidden: &mut u32) -> bool {
    let seen = *hidden == 0;
    *hidden = hidden.saturating_sub(1);
    seen
}

impl World {
    pub(super) fn iam(&mut self, account: &str) -> &mut Iam {
        self.iam.entry(account.to_owned()).or_default()
    }
}

#[async_trait]
impl Identities for FakeCloud {
    async fn instance_profile(&self, region: &str, name: &str) -> CloudResult<Option<InstanceProfile>> {
        self.look("GetInstanceProfile", region, name.to_owned(), |world, at| {
            let found = world.iam(at.account).profiles.get_mut(name);
            Ok(found.and_then(|found| seen(&mut found.hidden).then(|| found.shown.clone())))
        })
        .await
    }

    async fn find_instance_profiles(&self, region: &str) -> CloudResult<Vec<InstanceProfile>> {
        self.look("ListInstanceProfiles", region, IAM_PATH.to_owned(), |world, at| {
            let ours = world.iam(at.account).profiles.values_mut().filter(|found| !found.base);
            Ok(ours.filter_map(|found| seen(&mut found.hidden).then(|| found.shown.clone())).collect())
        })
        .await
    }

    async fn find_roles(&self, region: &str) -> CloudResult<Vec<Role>> {
        self.look("ListRoles", region, IAM_PATH.to_owned(), |world, at| {
            let roles = world.iam(at.account).roles.values_mut();
            Ok(roles.filter_map(|found| seen(&mut found.hidden).then(|| found.shown.clone())).collect())
        })
        .await
    }

    async fn create_role(&self, region: &str, request: &NewRole) -> CloudResult<()> {
        self.change("CreateRole", region, &request.name, |world, at| {
            document(&request.trust_policy)?;
            let (hidden, created_at) = (world.invisible_for, world.now);
            let roles = &mut world.iam(at.account).roles;
            if roles.contains_key(&request.name) {
                return Err(exists("Role", &request.name));
            }
            let shown = Role { name: request.name.clone(), created_at, tags: request.tags.clone() };
            let trust_policy = request.trust_policy.clone();
            roles.insert(request.name.clone(), FakeRole { shown, trust_policy, policy: None, hidden });
            Ok(())
        })
        .await
    }

    async fn put_role_policy(&self, region: &str, role: &str, policy: &str) -> CloudResult<()> {
        self.change("PutRolePolicy", region, role, |world, at| {
            document(policy)?;
            world.iam(at.account).role(role)?.policy = Some(policy.to_owned());
            Ok(())
        })
        .await
    }

    async fn delete_role_policy(&self, region: &str, role: &str) -> CloudResult<()> {
        self.change("DeleteRolePolicy", region, role, |world, at| {
            let removed = world.iam(at.account).role(role)?.policy.take();
            removed.map(drop).ok_or_else(|| no_such("role policy", role))
        })
        .await
    }

    async fn delete_role(&self, region: &str, role: &str) -> CloudResult<()> {
        self.change("DeleteRole", region, role, |world, at| {
            let iam = world.iam(at.account);
            if iam.role(role)?.policy.is_some() {
                return Err(conflict("Cannot delete entity, must delete policies first."));
            }
            if iam.profiles.values().any(|profile| profile.shown.roles.iter().any(|name| name == role)) {
                return Err(conflict("Cannot delete entity, must remove roles from instance profile first."));
            }
            iam.roles.remove(role);
            Ok(())
        })
        .await
    }

    async fn create_instance_profile(&self, region: &str, name: &str, tags: &Tags) -> CloudResult<()> {
        self.change("CreateInstanceProfile", region, name, |world, at| {
            let (hidden, created_at) = (world.invisible_for, world.now);
            let profiles = &mut world.iam(at.account).profiles;
            if profiles.contains_key(name) {
                return Err(exists("Instance Profile", name));
            }
            let arn = profile_arn(at.account, IAM_PATH, name);
            let shown =
                InstanceProfile { name: name.to_owned(), arn, roles: Vec::new(), created_at, tags: tags.clone() };
            let profile = FakeProfile { shown, base: false, hidden, hidden_from_launches: hidden };
            profiles.insert(name.to_owned(), profile);
            Ok(())
        })
        .await
    }

    async fn add_role_to_instance_profile(&self, region: &str, profile: &str, role: &str) -> CloudResult<()> {
        self.change("AddRoleToInstanceProfile", region, profile, |world, at| {
            let iam = world.iam(at.account);
            iam.role(role)?;
            let roles = &mut iam.profile(profile)?.shown.roles;
            if !roles.is_empty() {
                let message = "Cannot exceed quota for InstanceSessionsPerInstanceProfile: 1";
                return Err(refuse(CloudErrorClass::Capacity, "LimitExceeded", message));
            }
            roles.push(role.to_owned());
            Ok(())
        })
        .await
    }

    async fn remove_role_from_instance_profile(&self, region: &str, profile: &str, role: &str) -> CloudResult<()> {
        self.change("RemoveRoleFromInstanceProfile", region, profile, |world, at| {
            let roles = &mut world.iam(at.account).profile(profile)?.shown.roles;
            let before = roles.len();
            roles.retain(|name| name != role);
            if roles.len() == before { Err(no_such("role", role)) } else { Ok(()) }
        })
        .await
    }

    async fn delete_instance_profile(&self, region: &str, name: &str) -> CloudResult<()> {
        self.change("DeleteInstanceProfile", region, name, |world, at| {
            let iam = world.iam(at.account);
            if !iam.profile(name)?.shown.roles.is_empty() {
                return Err(conflict("Cannot delete entity, must remove roles from instance profile first."));
            }
            iam.profiles.remove(name);
            Ok(())
        })
        .await
    }
}

fn document(text: &str) -> CloudResult<()> {
    match serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(text) {
        Ok(map) if map.contains_key("Statement") => Ok(()),
        _ => Err(invalid("MalformedPolicyDocument", "Syntax errors in policy.")),
    }
}

impl FakeCloud {
    /// An instance profile of somebody else's, with a role of the same name.
    pub fn add_instance_profile(&self, name: &str) {
        let account = self.account_number();
        let arn = profile_arn(&account, "/", name);
        let shown = InstanceProfile {
            name: name.to_owned(),
            arn,
            roles: vec![name.to_owned()],
            created_at: None,
            tags: Tags::new(),
        };
        let profile = FakeProfile { shown, base: true, hidden: 0, hidden_from_launches: 0 };
        self.world().iam(&account).profiles.insert(name.to_owned(), profile);
    }

    /// A role's trust policy and its policy.
    #[must_use]
    pub fn role_policies(&self, role: &str) -> Option<(String, Option<String>)> {
        let account = self.account_number();
        let mut world = self.world();
        let found = world.iam(&account).roles.get(role)?;
        Some((found.trust_policy.clone(), found.policy.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{EAST, code, with_machine};
    use super::*;
    use crate::cloud::{Accounts as _, Cloud as _};
    use crate::domain::config::launch::AssumeRole;

    const POLICY: &str = r#"{"Version": "2012-10-17", "Statement": []}"#;

    fn role(name: &str) -> NewRole {
        let tags = vec![("ingot:temporary".to_owned(), "true".to_owned())];
        NewRole { name: name.to_owned(), trust_policy: POLICY.to_owned(), tags }
    }

    #[tokio::test]
    async fn a_profile_is_made_used_and_removed_in_order() {
        let cloud = FakeCloud::new();
        cloud.set_invisible_for(1);
        cloud.create_role(EAST, &role("ingot-1")).await.unwrap();
        assert_eq!(code(cloud.create_role(EAST, &role("ingot-1")).await), "EntityAlreadyExists");
        cloud.put_role_policy(EAST, "ingot-1", POLICY).await.unwrap();
        assert_eq!(code(cloud.put_role_policy(EAST, "ingot-1", "{").await), "MalformedPolicyDocument");
        cloud.create_instance_profile(EAST, "ingot-1", &role("").tags).await.unwrap();
        assert_eq!(cloud.instance_profile(EAST, "ingot-1").await.unwrap(), None);
        let profile = cloud.instance_profile(EAST, "ingot-1").await.unwrap().unwrap();
        assert!(profile.arn.ends_with(":instance-profile/ingot/ingot-1"), "{}", profile.arn);
        let launch = with_machine(&cloud, "t", |machine| machine.iam_instance_profile = Some("ingot-1".to_owned()));
        let not_yet = cloud.run_instance(EAST, &launch).await.unwrap_err();
        assert_eq!(not_yet.class, CloudErrorClass::NotFound, "{not_yet}");
        let empty = cloud.run_instance(EAST, &launch).await.unwrap_err();
        assert!(empty.message.contains("no associated IAM Roles"), "{empty}");
        cloud.add_role_to_instance_profile(EAST, "ingot-1", "ingot-1").await.unwrap();
        let twice = cloud.add_role_to_instance_profile(EAST, "ingot-1", "ingot-1").await.unwrap_err();
        assert_eq!((twice.class, twice.code.as_str()), (CloudErrorClass::Capacity, "LimitExceeded"));
        cloud.run_instance(EAST, &launch).await.unwrap();
        assert_eq!(cloud.role_policies("ingot-1").unwrap().1.as_deref(), Some(POLICY));
        assert_eq!(
            cloud
                .leftovers_with_tag("ingot:temporary", "true")
                .iter()
                .filter(|left| left.contains(" iam-") || left.contains("instance-profile"))
                .count(),
            2
        );

        assert_eq!(code(cloud.delete_instance_profile(EAST, "ingot-1").await), "DeleteConflict");
        assert_eq!(code(cloud.delete_role(EAST, "ingot-1").await), "DeleteConflict");
        cloud.remove_role_from_instance_profile(EAST, "ingot-1", "ingot-1").await.unwrap();
        assert_eq!(code(cloud.remove_role_from_instance_profile(EAST, "ingot-1", "ingot-1").await), "NoSuchEntity");
        cloud.delete_instance_profile(EAST, "ingot-1").await.unwrap();
        assert_eq!(code(cloud.delete_role(EAST, "ingot-1").await), "DeleteConflict");
        cloud.delete_role_policy(EAST, "ingot-1").await.unwrap();
        assert!(cloud.find_roles(EAST).await.unwrap().is_empty(), "not seen by the first list");
        assert_eq!(cloud.find_roles(EAST).await.unwrap()[0].tags, role("").tags);
        cloud.delete_role(EAST, "ingot-1").await.unwrap();
        assert_eq!(code(cloud.delete_role(EAST, "ingot-1").await), "NoSuchEntity");
    }

    #[tokio::test]
    async fn a_role_is_an_account_of_its_own_when_it_may_be_assumed() {
        let cloud = FakeCloud::new().with_account("prod", "210987654321");
        let role = AssumeRole {
            role_arn: "arn:aws:iam::210987654321:role/images".to_owned(),
            duration_seconds: None,
            external_id: Some("right".to_owned()),
            policy: None,
            policy_arns: Vec::new(),
            session_name: None,
            tags: indexmap::IndexMap::new(),
            transitive_tag_keys: Vec::new(),
        };
        assert!(cloud.account_with_role("other", &role).is_none());
        let assumed = cloud.account_with_role("default", &role).unwrap();
        let refused = assumed.account_id().await.unwrap_err();
        assert_eq!((refused.class, refused.code.as_str()), (CloudErrorClass::Unauthorized, "AccessDenied"));
        cloud.add_assumable_role(&role.role_arn, Some("right"));
        assert_eq!(assumed.account_id().await.unwrap(), "210987654321");
        let wrong = AssumeRole { external_id: None, ..role.clone() };
        assert!(cloud.account_with_role("default", &wrong).unwrap().account_id().await.is_err());
        assert_eq!(cloud.assumed_roles(), [role, wrong]);
    }

    #[tokio::test]
    async fn somebody_elses_profile_is_found_by_name_and_not_by_the_janitor() {
        let cloud = FakeCloud::new();
        let launch = with_machine(&cloud, "t", |machine| machine.iam_instance_profile = Some("web".to_owned()));
        assert_eq!(code(cloud.run_instance(EAST, &launch).await), "InvalidParameterValue");
        cloud.add_instance_profile("web");
        assert_eq!(cloud.instance_profile(EAST, "web").await.unwrap().unwrap().roles, ["web"]);
        assert!(cloud.find_instance_profiles(EAST).await.unwrap().is_empty());
        let instance = cloud.run_instance(EAST, &launch).await.unwrap();
        assert_eq!(cloud.leftovers().iter().filter(|left| left.contains("web")).count(), 0);
        assert!(!instance.spot);
    }
}
