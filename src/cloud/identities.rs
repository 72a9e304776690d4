//! Instance profiles and the roles in them. IAM's are the whole account's; the region of these calls only says in which of
//! AWS's partitions the account is.
//!
//! What is made here has the path [`IAM_PATH`], by which the janitor finds it, and a role has one policy, [`POLICY_NAME`].
//! IAM knows no client tokens: a name is what tells one thing from another, and a repeated call is `Duplicate`.

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::{CloudResult, Tags};

/// Of roles and instance profiles.
pub const IAM_PATH: &str = "/ingot/";
/// Of a role's one policy.
pub const POLICY_NAME: &str = "ingot";
/// The region of the rate budget for IAM, which is the same everywhere.
pub const IAM_BUDGET: &str = "global";

/// Part of [`super::Cloud`].
#[async_trait]
pub trait Identities: Send + Sync {
    /// Anybody's, by its name; `None` when there is none, or none is to be seen yet.
    async fn instance_profile(&self, region: &str, name: &str) -> CloudResult<Option<InstanceProfile>>;
    /// Those in [`IAM_PATH`].
    async fn find_instance_profiles(&self, region: &str) -> CloudResult<Vec<InstanceProfile>>;
    /// Those in [`IAM_PATH`].
    async fn find_roles(&self, region: &str) -> CloudResult<Vec<Role>>;

    async fn create_role(&self, region: &str, request: &NewRole) -> CloudResult<()>;
    /// Gives a role its policy (JSON), or replaces it.
    async fn put_role_policy(&self, region: &str, role: &str, policy: &str) -> CloudResult<()>;
    /// `NotFound` when the role has none.
    async fn delete_role_policy(&self, region: &str, role: &str) -> CloudResult<()>;
    /// `Busy` while it has a policy or is in a profile.
    async fn delete_role(&self, region: &str, role: &str) -> CloudResult<()>;
    async fn create_instance_profile(&self, region: &str, name: &str, tags: &Tags) -> CloudResult<()>;
    /// A profile takes one role; a second is refused as beyond a limit (`Capacity`), also when it is the same.
    async fn add_role_to_instance_profile(&self, region: &str, profile: &str, role: &str) -> CloudResult<()>;
    async fn remove_role_from_instance_profile(&self, region: &str, profile: &str, role: &str) -> CloudResult<()>;
    /// `Busy` while a role is in it.
    async fn delete_instance_profile(&self, region: &str, name: &str) -> CloudResult<()>;
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstanceProfile {
    pub name: String,
    pub arn: String,
    /// At most one.
    pub roles: Vec<String>,
    pub created_at: Option<DateTime<Utc>>,
    pub tags: Tags,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Role {
    pub name: String,
    pub created_at: Option<DateTime<Utc>>,
    pub tags: Tags,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewRole {
    /// At most 64 of letters, digits and `+ = , . @ _ -`.
    pub name: String,
    /// Who may assume it: a policy document, JSON.
    pub trust_policy: String,
    pub tags: Tags,
}
