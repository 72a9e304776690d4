//! IAM. Its lists come in pages with markers, and without tags.

use async_trait::async_trait;
use aws_sdk_iam::Client;
use aws_sdk_iam::error::BuildError;
use aws_sdk_iam::types as iam;

use super::account::AwsAccount;
use super::call::Call;
use super::convert;
use super::paging::all_pages;
use crate::cloud::{
    CloudError, CloudErrorClass, CloudResult, IAM_BUDGET, IAM_PATH, Identities, InstanceProfile, NewRole, POLICY_NAME,
    Role, Tags,
};

impl AwsAccount {
    fn iam(&self, region: &str) -> Client {
        Client::new(&self.config_in(region))
    }

    fn iam_call(&self, operation: &'static str) -> Call<'_> {
        self.call(operation, IAM_BUDGET)
    }

    async fn role_tags(&self, client: &Client, role: &str) -> CloudResult<Tags> {
        all_pages!(marked: self.iam_call("ListRoleTags"), client.list_role_tags().role_name(role), tags, from_tag)
    }
}

#[async_trait]
impl Identities for AwsAccount {
    async fn instance_profile(&self, region: &str, name: &str) -> CloudResult<Option<InstanceProfile>> {
        let client = self.iam(region);
        let call = self.iam_call("GetInstanceProfile");
        match call.read(|| client.get_instance_profile().instance_profile_name(name).send()).await {
            Ok(answer) => Ok(answer.instance_profile().map(instance_profile)),
            Err(error) if error.class == CloudErrorClass::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn find_instance_profiles(&self, region: &str) -> CloudResult<Vec<InstanceProfile>> {
        let request = self.iam(region).list_instance_profiles().path_prefix(IAM_PATH);
        let call = self.iam_call("ListInstanceProfiles");
        let name = |profile: &iam::InstanceProfile| profile.instance_profile_name().to_owned();
        let names: Vec<String> = all_pages!(marked: call, request, instance_profiles, name)?;
        let mut found = Vec::new();
        for name in names {
            // With its tags, and not at all if it went meanwhile.
            self.iam_call("GetInstanceProfile").count();
            found.extend(self.instance_profile(region, &name).await?);
        }
        Ok(found)
    }

    async fn find_roles(&self, region: &str) -> CloudResult<Vec<Role>> {
        let client = self.iam(region);
        let request = client.list_roles().path_prefix(IAM_PATH);
        let mut roles: Vec<Role> = all_pages!(marked: self.iam_call("ListRoles"), request, roles, role)?;
        let mut gone = Vec::new();
        for role in &mut roles {
            self.iam_call("ListRoleTags").count();
            match self.role_tags(&client, &role.name).await {
                Ok(tags) => role.tags = tags,
                Err(error) if error.class == CloudErrorClass::NotFound => gone.push(role.name.clone()),
                Err(error) => return Err(error),
            }
        }
        roles.retain(|role| !gone.contains(&role.name));
        Ok(roles)
    }

    async fn create_role(&self, region: &str, request: &NewRole) -> CloudResult<()> {
        const OPERATION: &str = "CreateRole";
        let request = self
            .iam(region)
            .create_role()
            .path(IAM_PATH)
            .role_name(&request.name)
            .assume_role_policy_document(&request.trust_policy)
            .set_tags(to_tags(OPERATION, &request.tags)?);
        self.iam_call(OPERATION).change(|| request.clone().send()).await.map(drop)
    }

    async fn put_role_policy(&self, region: &str, role: &str, policy: &str) -> CloudResult<()> {
        let client = self.iam(region);
        let request = client.put_role_policy().role_name(role).policy_name(POLICY_NAME).policy_document(policy);
        self.iam_call("PutRolePolicy").change(|| request.clone().send()).await.map(drop)
    }

    async fn delete_role_policy(&self, region: &str, role: &str) -> CloudResult<()> {
        let request = self.iam(region).delete_role_policy().role_name(role).policy_name(POLICY_NAME);
        self.iam_call("DeleteRolePolicy").change(|| request.clone().send()).await.map(drop)
    }

    async fn delete_role(&self, region: &str, role: &str) -> CloudResult<()> {
        let request = self.iam(region).delete_role().role_name(role);
        self.iam_call("DeleteRole").change(|| request.clone().send()).await.map(drop)
    }

    async fn create_instance_profile(&self, region: &str, name: &str, tags: &Tags) -> CloudResult<()> {
        const OPERATION: &str = "CreateInstanceProfile";
        let client = self.iam(region);
        let request = client.create_instance_profile().path(IAM_PATH).instance_profile_name(name);
        let request = request.set_tags(to_tags(OPERATION, tags)?);
        self.iam_call(OPERATION).change(|| request.clone().send()).await.map(drop)
    }

    async fn add_role_to_instance_profile(&self, region: &str, profile: &str, role: &str) -> CloudResult<()> {
        let client = self.iam(region);
        let request = client.add_role_to_instance_profile().instance_profile_name(profile).role_name(role);
        self.iam_call("AddRoleToInstanceProfile").change(|| request.clone().send()).await.map(drop)
    }

    async fn remove_role_from_instance_profile(&self, region: &str, profile: &str, role: &str) -> CloudResult<()> {
        let client = self.iam(region);
        let request = client.remove_role_from_instance_profile().instance_profile_name(profile).role_name(role);
        self.iam_call("RemoveRoleFromInstanceProfile").change(|| request.clone().send()).await.map(drop)
    }

    async fn delete_instance_profile(&self, region: &str, name: &str) -> CloudResult<()> {
        let request = self.iam(region).delete_instance_profile().instance_profile_name(name);
        self.iam_call("DeleteInstanceProfile").change(|| request.clone().send()).await.map(drop)
    }
}

fn to_tags(operation: &'static str, tags: &Tags) -> CloudResult<Option<Vec<iam::Tag>>> {
    let one = |(key, value): &(String, String)| iam::Tag::builder().key(key).value(value).build();
    let made: Vec<iam::Tag> =
        tags.iter().map(one).collect::<Result<_, _>>().map_err(|error| not_made(operation, &error))?;
    Ok((!made.is_empty()).then_some(made))
}

fn not_made(operation: &'static str, error: &BuildError) -> CloudError {
    CloudError::new(CloudErrorClass::Invalid, operation, "request-not-sendable", error.to_string())
}

fn from_tag(tag: &iam::Tag) -> (String, String) {
    (tag.key().to_owned(), tag.value().to_owned())
}

fn role(role: &iam::Role) -> Role {
    Role { name: role.role_name().to_owned(), created_at: convert::time(Some(role.create_date())), tags: Tags::new() }
}

fn instance_profile(profile: &iam::InstanceProfile) -> InstanceProfile {
    InstanceProfile {
        name: profile.instance_profile_name().to_owned(),
        arn: profile.arn().to_owned(),
        roles: profile.roles().iter().map(|role| role.role_name().to_owned()).collect(),
        created_at: convert::time(Some(profile.create_date())),
        tags: profile.tags().iter().map(from_tag).collect(),
    }
}

#[cfg(test)]
mod tests {
    use aws_sdk_iam::primitives::DateTime;

    use super::*;

    #[test]
    fn a_profile_tells_its_role_and_tags() {
        let at = DateTime::from_secs(0);
        let inside = iam::Role::builder().path("/").role_name("ingot-1").role_id("R").arn("arn:r").create_date(at);
        let tags: Tags = vec![("a".into(), "b".into())];
        let made = iam::InstanceProfile::builder()
            .path(IAM_PATH)
            .instance_profile_name("ingot-1")
            .instance_profile_id("P")
            .arn("arn:p")
            .create_date(at)
            .roles(inside.build().unwrap())
            .set_tags(to_tags("CreateInstanceProfile", &tags).unwrap())
            .build()
            .unwrap();
        let found = instance_profile(&made);
        assert_eq!((found.arn.as_str(), &found.roles, found.tags), ("arn:p", &vec!["ingot-1".to_owned()], tags));
        assert_eq!(found.created_at.unwrap().timestamp(), 0);
        assert_eq!(to_tags("CreateRole", &Tags::new()).unwrap(), None);
    }
}
