//! The cloud in the domain's words. [`Cloud`] is one account; every call names its region. `aws/` is the real one and
//! the only place with AWS types, `fake/` an EC2 world with state for tests.
//!
//! Calls that change the cloud have a time limit ([`MUTATION_LIMIT`]) inside which they are sent, re-sent and answered,
//! so that nothing of them can land later. A call without an answer is [`CloudErrorClass::UnknownOutcome`]. `budget` says
//! how many calls an account may make.

pub mod aws;
pub mod budget;
pub mod denial;
mod disks;
pub mod fake;
mod identities;
mod images;
mod machine;
mod sessions;
mod spot;
mod types;
mod values;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::domain::config::launch::AssumeRole;

use budget::AccountBudget;
use denial::Denial;
pub use disks::*;
pub use identities::*;
pub use images::*;
pub use machine::*;
pub use sessions::*;
pub use spot::*;
pub use types::*;
pub use values::*;

/// Time limit of a call that changes the cloud, retries included.
pub const MUTATION_LIMIT: Duration = Duration::from_secs(15);

/// How a cloud error is to be met.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CloudErrorClass {
    /// The thing is not there (or not yet visible).
    NotFound,
    /// The name, token or rule is there already.
    Duplicate,
    /// Too many calls; nothing happened.
    Throttled,
    /// No room for it at the moment.
    Capacity,
    /// The identity may not do this, or its credentials are not valid.
    Unauthorized,
    /// The thing is in a state that does not allow it at the moment (`IncorrectInstanceState`, `DependencyViolation`).
    Busy,
    /// The request is wrong: repeating it will not help.
    Invalid,
    /// The cloud broke or was not reached; nothing is known to have happened and it may be tried again.
    Unavailable,
    /// No answer came: it may have happened or not.
    UnknownOutcome,
}

impl CloudErrorClass {
    /// In metrics and logs.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::NotFound => "not_found",
            Self::Duplicate => "duplicate",
            Self::Throttled => "throttled",
            Self::Capacity => "capacity",
            Self::Unauthorized => "unauthorized",
            Self::Busy => "busy",
            Self::Invalid => "invalid",
            Self::Unavailable => "unavailable",
            Self::UnknownOutcome => "unknown_outcome",
        }
    }
}

/// An error of a cloud call. `message` is the cloud's own text, which names resources but holds no secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{operation}: {code}: {message}")]
pub struct CloudError {
    pub class: CloudErrorClass,
    /// The API call, such as `RunInstances`.
    pub operation: &'static str,
    /// The cloud's code, such as `InvalidAMIName.Duplicate`; `timeout` or `unreachable` when there was none.
    pub code: String,
    pub message: String,
    /// The cloud's id of the request, for support.
    pub request_id: Option<String>,
}

impl CloudError {
    /// An error without the cloud's id of a request.
    pub fn new(
        class: CloudErrorClass,
        operation: &'static str,
        code: impl Into<String>,
        message: impl Into<String>,
    ) -> Self {
        Self { class, operation, code: code.into(), message: message.into(), request_id: None }
    }
}

pub type CloudResult<T> = Result<T, CloudError>;

/// One account. Ids and filters are EC2's. What only some steps need stands in traits of its own: [`Disks`],
/// [`Identities`], [`ImageRules`], [`Sessions`], [`Spot`], [`Values`].
#[async_trait]
pub trait Cloud: Disks + Identities + ImageRules + Sessions + Spot + Values + Send + Sync {
    /// The account's number, as STS tells it.
    async fn account_id(&self) -> CloudResult<String>;

    /// For an account whose calls wait for a rate budget: the account without that wait, and the budget. Who has something
    /// to do between the wait and the call waits there himself.
    fn behind_budget(&self) -> Option<(Arc<dyn Cloud>, AccountBudget)> {
        None
    }

    // ---- looking ----

    /// Regions that are enabled for the account.
    async fn regions(&self, region: &str) -> CloudResult<Vec<String>>;
    async fn find_images(&self, region: &str, query: &ImageQuery) -> CloudResult<Vec<Image>>;
    async fn find_instances(&self, region: &str, filters: &[Filter]) -> CloudResult<Vec<Instance>>;
    async fn find_subnets(&self, region: &str, filters: &[Filter]) -> CloudResult<Vec<Subnet>>;
    async fn find_vpcs(&self, region: &str, filters: &[Filter]) -> CloudResult<Vec<Vpc>>;
    async fn find_security_groups(&self, region: &str, filters: &[Filter]) -> CloudResult<Vec<SecurityGroup>>;
    async fn find_key_pairs(&self, region: &str, filters: &[Filter]) -> CloudResult<Vec<KeyPair>>;
    async fn find_snapshots(&self, region: &str, filters: &[Filter]) -> CloudResult<Vec<Snapshot>>;
    async fn find_volumes(&self, region: &str, filters: &[Filter]) -> CloudResult<Vec<Volume>>;
    async fn find_network_interfaces(&self, region: &str, filters: &[Filter]) -> CloudResult<Vec<NetworkInterface>>;
    /// What is known of an instance type, `None` when the region has no such type.
    async fn instance_type(&self, region: &str, instance_type: &str) -> CloudResult<Option<InstanceType>>;
    /// The end of the instance's console output, as text; empty when there is none yet.
    async fn console_output(&self, region: &str, instance_id: &str) -> CloudResult<String>;
    /// Decodes the encoded part of a refusal ([`denial::encoded_part`]), where the role may.
    async fn explain_denial(&self, encoded: &str) -> CloudResult<Denial>;

    // ---- changing: within MUTATION_LIMIT ----

    /// Imports the public half (OpenSSH line). A used name is `Duplicate`.
    async fn import_key_pair(&self, region: &str, name: &str, public_key: &str, tags: &Tags) -> CloudResult<KeyPair>;
    async fn delete_key_pair(&self, region: &str, key_pair_id: &str) -> CloudResult<()>;
    /// A used name within the VPC is `Duplicate`. Returns the group's id.
    async fn create_security_group(&self, region: &str, request: &NewSecurityGroup) -> CloudResult<String>;
    /// A rule that is there already is `Duplicate`.
    async fn authorize_ingress(&self, region: &str, group_id: &str, port: u16, cidrs: &[String]) -> CloudResult<()>;
    async fn delete_security_group(&self, region: &str, group_id: &str) -> CloudResult<()>;
    /// Repeating the same request with the same token returns the same instance.
    async fn run_instance(&self, region: &str, request: &NewInstance) -> CloudResult<Instance>;
    async fn stop_instance(&self, region: &str, instance_id: &str) -> CloudResult<()>;
    async fn terminate_instance(&self, region: &str, instance_id: &str) -> CloudResult<()>;
    async fn set_ena_support(&self, region: &str, instance_id: &str, enabled: bool) -> CloudResult<()>;
    /// Intel's older enhanced networking; it can't be taken back.
    async fn set_sriov_support(&self, region: &str, instance_id: &str) -> CloudResult<()>;
    async fn delete_volume(&self, region: &str, volume_id: &str) -> CloudResult<()>;
    async fn delete_network_interface(&self, region: &str, interface_id: &str) -> CloudResult<()>;
    /// Returns the new image's id. A used name is `Duplicate`.
    async fn create_image(&self, region: &str, request: &NewImage) -> CloudResult<String>;
    /// Copies into `region`. Repeating the same request with the same token returns the same image.
    async fn copy_image(&self, region: &str, request: &NewImageCopy) -> CloudResult<String>;
    async fn deregister_image(&self, region: &str, image_id: &str) -> CloudResult<()>;
    async fn delete_snapshot(&self, region: &str, snapshot_id: &str) -> CloudResult<()>;
    async fn create_tags(&self, region: &str, resource_ids: &[String], tags: &Tags) -> CloudResult<()>;
    async fn delete_tags(&self, region: &str, resource_ids: &[String], keys: &[String]) -> CloudResult<()>;
}

/// Gives the [`Cloud`] of a configured account.
pub trait Accounts: Send + Sync {
    /// `None` when no account of this name is configured.
    fn account(&self, name: &str) -> Option<Arc<dyn Cloud>>;
    /// What a role sees that the account's identity assumes for a template: an account of its own, maybe another one, which
    /// draws on this one's rate budget. Nothing is sent before the first call. `None` when no account of this name is configured.
    fn account_with_role(&self, name: &str, role: &AssumeRole) -> Option<Arc<dyn Cloud>>;
    /// The names of all configured accounts.
    fn names(&self) -> Vec<String>;
    /// The regions that builds of an account may use, as far as the configuration names them (where the janitor looks).
    fn regions(&self, name: &str) -> Vec<String>;
}

/// The cloud of a configured account.
///
/// # Errors
/// `unknown-account`. Runs of unknown accounts are refused when they are accepted; this one was taken out of the
/// configuration since.
pub fn cloud_of(accounts: &dyn Accounts, name: &str) -> CloudResult<Arc<dyn Cloud>> {
    accounts.account(name).ok_or_else(|| {
        let message = format!("account {name:?} is no longer configured");
        CloudError::new(CloudErrorClass::Unauthorized, "look", "unknown-account", message)
    })
}
