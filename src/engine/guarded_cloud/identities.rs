//! IAM, whose rates are the account's in all regions together.

use async_trait::async_trait;

use super::GuardedCloud;
use crate::cloud::{CloudResult, IAM_BUDGET, Identities, InstanceProfile, NewRole, Role, Tags};

#[async_trait]
impl Identities for GuardedCloud {
    async fn instance_profile(&self, region: &str, name: &str) -> CloudResult<Option<InstanceProfile>> {
        self.look(IAM_BUDGET, "GetInstanceProfile", self.inner.instance_profile(region, name)).await
    }
    async fn find_instance_profiles(&self, region: &str) -> CloudResult<Vec<InstanceProfile>> {
        self.look(IAM_BUDGET, "ListInstanceProfiles", self.inner.find_instance_profiles(region)).await
    }
    async fn find_roles(&self, region: &str) -> CloudResult<Vec<Role>> {
        self.look(IAM_BUDGET, "ListRoles", self.inner.find_roles(region)).await
    }
    async fn create_role(&self, region: &str, request: &NewRole) -> CloudResult<()> {
        self.change(IAM_BUDGET, "CreateRole", self.inner.create_role(region, request)).await
    }
    async fn put_role_policy(&self, region: &str, role: &str, policy: &str) -> CloudResult<()> {
        self.change(IAM_BUDGET, "PutRolePolicy", self.inner.put_role_policy(region, role, policy)).await
    }
    async fn delete_role_policy(&self, region: &str, role: &str) -> CloudResult<()> {
        self.change(IAM_BUDGET, "DeleteRolePolicy", self.inner.delete_role_policy(region, role)).await
    }
    async fn delete_role(&self, region: &str, role: &str) -> CloudResult<()> {
        self.change(IAM_BUDGET, "DeleteRole", self.inner.delete_role(region, role)).await
    }
    async fn create_instance_profile(&self, region: &str, name: &str, tags: &Tags) -> CloudResult<()> {
        let call = self.inner.create_instance_profile(region, name, tags);
        self.change(IAM_BUDGET, "CreateInstanceProfile", call).await
    }
    async fn add_role_to_instance_profile(&self, region: &str, profile: &str, role: &str) -> CloudResult<()> {
        let call = self.inner.add_role_to_instance_profile(region, profile, role);
        self.change(IAM_BUDGET, "AddRoleToInstanceProfile", call).await
    }
    async fn remove_role_from_instance_profile(&self, region: &str, profile: &str, role: &str) -> CloudResult<()> {
        let call = self.inner.remove_role_from_instance_profile(region, profile, role);
        self.change(IAM_BUDGET, "RemoveRoleFromInstanceProfile", call).await
    }
    async fn delete_instance_profile(&self, region: &str, name: &str) -> CloudResult<()> {
        self.change(IAM_BUDGET, "DeleteInstanceProfile", self.inner.delete_instance_profile(region, name)).await
    }
}
