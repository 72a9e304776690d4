//! AWS behind [`Cloud`]: the only place with AWS types. `account` holds the calls, `call` the one way that every
//! request takes (time limits, repeats, metrics), `errors` what a code means, `convert` and `launch` the translation,
//! `credentials` the identities; what stands in traits of its own has its file, such as `spot`. Start reading at [`AwsAccounts::from_config`].

mod account;
mod assumed_role;
mod call;
mod convert;
mod credentials;
mod disks;
mod errors;
mod identities;
mod images;
mod launch;
mod paging;
mod sessions;
mod spot;
mod values;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use aws_config::{BehaviorVersion, Region, SdkConfig, sts::AssumeRoleProvider};
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_sdk_ec2::config::timeout::TimeoutConfig;

use crate::domain::config::launch::AssumeRole;

use super::budget::Budgets;
use super::{Accounts, Cloud};
use account::AwsAccount;
use credentials::Renewed;

/// The account's name when none is configured.
pub const DEFAULT_ACCOUNT: &str = "default";

/// For a template or a server that names no region at all; AWS's own first one.
const FALLBACK_REGION: &str = "us-east-1";

/// A role that another role assumed lives an hour at most
/// (`docs.aws.amazon.com/IAM/latest/UserGuide/id_roles.html`, "role chaining").
const SESSION_LENGTH: Duration = Duration::from_hours(1);

/// Longer than a connection takes across the world, shorter than one attempt: so a host that can't be reached is
/// known not to have got the request.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// How the clouds are reached.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AwsConfig {
    /// Replaces the endpoint of EC2, STS and all other services in all regions (a sandbox).
    pub endpoint_url: Option<String>,
    /// The server's own region, where STS is asked; else `AWS_REGION` and its kin tell it.
    pub region: Option<String>,
    /// Empty: the server's own identity is the one account, named `default`.
    pub accounts: BTreeMap<String, AccountConfig>,
    /// The deployment's id, for session tags.
    pub deployment: String,
}

/// One of `[accounts.<name>]`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AccountConfig {
    /// When given, credentials of any other account are refused.
    pub account_id: Option<String>,
    /// The role to assume there; without one the server's own identity is used.
    pub role_arn: Option<String>,
    pub external_id: Option<String>,
    /// Where builds may run and the janitor looks; empty: the server's own region.
    pub regions: Vec<String>,
}

/// The configured accounts.
pub struct AwsAccounts {
    accounts: BTreeMap<String, (Arc<AwsAccount>, Vec<String>)>,
    /// By account and role, as long as somebody uses them.
    assumed: Mutex<Vec<(String, AssumeRole, Weak<AwsAccount>)>>,
}

impl AwsAccounts {
    /// Prepares the accounts. Nothing is sent to EC2 or STS before the first call. Callers wait for `budgets` before they
    /// call; here repeats and further pages are counted and throttled answers noted.
    pub async fn from_config(config: AwsConfig, budgets: &Arc<Budgets>) -> Self {
        let base = base_config(&config).await;
        let own_region = base.region().map_or_else(|| FALLBACK_REGION.to_owned(), ToString::to_string);
        let mut configured = config.accounts;
        if configured.is_empty() {
            configured.insert(DEFAULT_ACCOUNT.to_owned(), AccountConfig::default());
        }
        let mut accounts = BTreeMap::new();
        for (name, account) in configured {
            let identity = match &account.role_arn {
                Some(role) => assume_role(&base, &name, role, account.external_id.as_deref(), &config.deployment).await,
                None => base.clone(),
            };
            let regions = if account.regions.is_empty() { vec![own_region.clone()] } else { account.regions };
            let cloud =
                AwsAccount::new(&name, account.account_id, &identity, own_region.clone(), budgets.account(&name));
            accounts.insert(name, (Arc::new(cloud), regions));
        }
        Self { accounts, assumed: Mutex::default() }
    }
}

impl Accounts for AwsAccounts {
    fn account(&self, name: &str) -> Option<Arc<dyn Cloud>> {
        self.accounts.get(name).map(|(cloud, _)| Arc::clone(cloud) as Arc<dyn Cloud>)
    }

    fn account_with_role(&self, name: &str, role: &AssumeRole) -> Option<Arc<dyn Cloud>> {
        let (own, _) = self.accounts.get(name)?;
        let mut assumed = self.assumed.lock().unwrap_or_else(PoisonError::into_inner);
        assumed.retain(|(_, _, cloud)| cloud.strong_count() > 0);
        let mut known = assumed.iter().filter(|(account, known, _)| account == name && known == role);
        if let Some(cloud) = known.find_map(|(_, _, cloud)| cloud.upgrade()) {
            return Some(cloud);
        }
        let cloud = Arc::new(own.with_identity(|config| assumed_role::identity(config, role)));
        assumed.push((name.to_owned(), role.clone(), Arc::downgrade(&cloud)));
        Some(cloud)
    }

    fn names(&self) -> Vec<String> {
        self.accounts.keys().cloned().collect()
    }

    fn regions(&self, name: &str) -> Vec<String> {
        self.accounts.get(name).map(|(_, regions)| regions.clone()).unwrap_or_default()
    }
}

/// The server's own identity (environment, profile, web identity, container, instance) with everything that all clients
/// share.
async fn base_config(config: &AwsConfig) -> SdkConfig {
    let timeouts = TimeoutConfig::builder().connect_timeout(CONNECT_TIMEOUT).build();
    let mut loader = aws_config::defaults(BehaviorVersion::latest()).timeout_config(timeouts);
    if let Some(region) = &config.region {
        loader = loader.region(Region::new(region.clone()));
    }
    if let Some(endpoint) = &config.endpoint_url {
        loader = loader.endpoint_url(endpoint);
    }
    let mut base = loader.load().await;
    if base.region().is_none() {
        base = base.into_builder().region(Region::from_static(FALLBACK_REGION)).build();
    }
    match base.credentials_provider() {
        Some(provider) => with_credentials(&base, provider),
        None => base,
    }
}

/// The identity of a role in an account. The role's trust policy must allow `sts:AssumeRole` and `sts:TagSession`.
async fn assume_role(
    base: &SdkConfig,
    name: &str,
    role: &str,
    external_id: Option<&str>,
    deployment: &str,
) -> SdkConfig {
    let mut builder = AssumeRoleProvider::builder(role)
        .configure(base)
        .session_name(session_name(name))
        .session_length(SESSION_LENGTH);
    if !deployment.is_empty() {
        builder = builder.tags([(crate::domain::tags::DEPLOYMENT, deployment)]);
    }
    if let Some(external_id) = external_id {
        builder = builder.external_id(external_id);
    }
    let provider = builder.build().await;
    with_credentials(base, SharedCredentialsProvider::new(provider))
}

/// STS allows 2 to 64 of `[\w+=,.@-]`.
fn session_name(account: &str) -> String {
    let clean = |c: char| if c.is_ascii_alphanumeric() || "_+=,.@-".contains(c) { c } else { '-' };
    format!("ingot-{account}").chars().map(clean).take(64).collect()
}

fn with_credentials(base: &SdkConfig, provider: SharedCredentialsProvider) -> SdkConfig {
    let time = base.time_source().unwrap_or_default();
    let renewed = Renewed::new(provider, move || time.now());
    base.to_builder().credentials_provider(SharedCredentialsProvider::new(renewed)).build()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offline() -> AwsConfig {
        AwsConfig { region: Some("eu-central-1".into()), deployment: "d".into(), ..AwsConfig::default() }
    }

    #[tokio::test]
    async fn without_accounts_the_servers_own_identity_is_default() {
        let accounts = AwsAccounts::from_config(offline(), &Arc::default()).await;
        assert_eq!(accounts.names(), ["default"]);
        assert_eq!(accounts.regions("default"), ["eu-central-1"]);
        assert!(accounts.account("default").is_some());
        assert!(accounts.account("other").is_none());
    }

    #[tokio::test]
    async fn configured_accounts_take_the_place_of_default() {
        let mut config = offline();
        let regions = vec!["us-east-1".to_owned(), "us-west-2".to_owned()];
        let account = AccountConfig { regions: regions.clone(), ..AccountConfig::default() };
        config.accounts.insert("prod".into(), account);
        let accounts = AwsAccounts::from_config(config, &Arc::default()).await;
        assert_eq!(accounts.names(), ["prod"]);
        assert_eq!(accounts.regions("prod"), regions);
        assert!(accounts.account("default").is_none());
    }

    #[tokio::test]
    async fn a_templates_role_is_one_identity_for_all_that_use_it_at_a_time() {
        let accounts = AwsAccounts::from_config(offline(), &Arc::default()).await;
        let role = AssumeRole {
            role_arn: "arn:aws:iam::210987654321:role/images".into(),
            duration_seconds: None,
            external_id: None,
            policy: None,
            policy_arns: vec![],
            session_name: None,
            tags: indexmap::IndexMap::new(),
            transitive_tag_keys: vec![],
        };
        let other = AssumeRole { external_id: Some("x".into()), ..role.clone() };
        let first = accounts.account_with_role("default", &role).unwrap();
        let again = accounts.account_with_role("default", &role).unwrap();
        let different = accounts.account_with_role("default", &other).unwrap();
        assert!(Arc::ptr_eq(&first, &again) && !Arc::ptr_eq(&first, &different));
        assert_eq!(accounts.assumed.lock().unwrap().len(), 2);
        drop((first, again));
        drop(accounts.account_with_role("default", &other));
        assert_eq!(accounts.assumed.lock().unwrap().len(), 1);
        assert!(accounts.account_with_role("unknown", &role).is_none());
    }

    #[test]
    fn session_names_are_what_sts_allows() {
        assert_eq!(session_name("prod eu/1"), "ingot-prod-eu-1");
        assert_eq!(session_name(&"x".repeat(100)).len(), 64);
    }
}
