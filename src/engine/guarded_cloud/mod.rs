//! A [`Cloud`] whose calls wait for the account's rate budget and whose changing calls are sent only while the build's
//! lease allows it. In this order: the wait for the budget can be long, so the lease is asked after it, right before the
//! call is sent, and the time limit of a call begins then too.

mod disks;
mod identities;
mod images;
mod sessions;
mod spot;
mod values;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::lease::Lease;
use crate::cloud::budget::{AccountBudget, Budgets};
use crate::cloud::denial::{self, Denial};
use crate::cloud::{
    Accounts, Cloud, CloudError, CloudErrorClass, CloudResult, Filter, Image, ImageQuery, Instance, InstanceType,
    KeyPair, MUTATION_LIMIT, NetworkInterface, NewImage, NewImageCopy, NewInstance, NewSecurityGroup, SecurityGroup,
    Snapshot, Subnet, Tags, Volume, Vpc,
};
use crate::domain::config::launch::AssumeRole;

/// Nobody waits longer than this for the reason of a refusal.
const EXPLANATION_LIMIT: Duration = Duration::from_secs(5);

/// Accounts whose calls draw on one budget, whoever makes them.
pub struct BudgetedAccounts {
    inner: Arc<dyn Accounts>,
    budgets: Arc<Budgets>,
}

impl BudgetedAccounts {
    #[must_use]
    pub fn new(inner: Arc<dyn Accounts>, budgets: Arc<Budgets>) -> Self {
        Self { inner, budgets }
    }
}

impl Accounts for BudgetedAccounts {
    fn account(&self, name: &str) -> Option<Arc<dyn Cloud>> {
        let inner = self.inner.account(name)?;
        Some(Arc::new(GuardedCloud { inner, budget: Some(self.budgets.account(name)), lease: None }))
    }

    fn account_with_role(&self, name: &str, role: &AssumeRole) -> Option<Arc<dyn Cloud>> {
        let inner = self.inner.account_with_role(name, role)?;
        Some(Arc::new(GuardedCloud { inner, budget: Some(self.budgets.account(name)), lease: None }))
    }

    fn names(&self) -> Vec<String> {
        self.inner.names()
    }

    fn regions(&self, name: &str) -> Vec<String> {
        self.inner.regions(name)
    }
}

pub struct GuardedCloud {
    inner: Arc<dyn Cloud>,
    budget: Option<AccountBudget>,
    /// `None` for callers that own no build.
    lease: Option<Arc<Lease>>,
}

impl GuardedCloud {
    /// The account as the owner of a build sees it. A budget that `inner` waits for is waited for here instead, before the
    /// lease is asked.
    #[must_use]
    pub fn new(inner: Arc<dyn Cloud>, lease: Arc<Lease>) -> Self {
        let (inner, budget) = match inner.behind_budget() {
            Some((inner, budget)) => (inner, Some(budget)),
            None => (inner, None),
        };
        Self { inner, budget, lease: Some(lease) }
    }

    async fn look<T>(
        &self,
        region: &str,
        operation: &'static str,
        call: impl Future<Output = CloudResult<T>> + Send,
    ) -> CloudResult<T> {
        self.wait_for_budget(region, operation).await;
        self.heeded(region, operation, call.await).await
    }

    async fn change<T>(
        &self,
        region: &str,
        operation: &'static str,
        call: impl Future<Output = CloudResult<T>> + Send,
    ) -> CloudResult<T> {
        self.wait_for_budget(region, operation).await;
        if let Some(lease) = &self.lease
            && lease.permit().await.is_err()
        {
            let message = "another server has this build; the call was not sent";
            return Err(CloudError::new(CloudErrorClass::Unavailable, operation, "lease-lost", message));
        }
        // The cloud keeps the limit itself; this is the wall behind it. Its second more lets the cloud's own, more
        // telling answer come first, and is covered by the margin between the owner's deadline and the lease's end.
        if let Ok(answer) = tokio::time::timeout(MUTATION_LIMIT + Duration::from_secs(1), call).await {
            return self.heeded(region, operation, answer).await;
        }
        let message = format!("no answer within {} seconds", MUTATION_LIMIT.as_secs());
        Err(CloudError::new(CloudErrorClass::UnknownOutcome, operation, "timeout", message))
    }

    async fn wait_for_budget(&self, region: &str, operation: &'static str) {
        if let Some(budget) = &self.budget {
            budget.wait(region, operation).await;
        }
    }

    /// Slows down what was throttled, and explains what was refused.
    async fn heeded<T>(&self, region: &str, operation: &'static str, answer: CloudResult<T>) -> CloudResult<T> {
        let mut error = match answer {
            Ok(value) => return Ok(value),
            Err(error) => error,
        };
        match (error.class, &self.budget) {
            (CloudErrorClass::Throttled, Some(budget)) => budget.throttled(region, operation),
            (CloudErrorClass::Unauthorized, _) => self.explain(&mut error).await,
            _ => {}
        }
        Err(error)
    }

    /// Replaces the encoded part of a refusal, which nobody can read, by what it says.
    async fn explain(&self, error: &mut CloudError) {
        let Some((plain, encoded)) = denial::encoded_part(&error.message) else { return };
        let explained = match tokio::time::timeout(EXPLANATION_LIMIT, self.explain_denial(encoded)).await {
            Ok(Ok(denial)) => denial.sentence(),
            Ok(Err(reason)) => {
                tracing::info!(operation = error.operation, %reason, "why a call was refused can't be decoded");
                denial::NOT_DECODED.to_owned()
            }
            Err(_) => denial::NOT_DECODED.to_owned(),
        };
        error.message = if plain.is_empty() { explained } else { format!("{plain} {explained}") };
    }
}

#[async_trait]
impl Cloud for GuardedCloud {
    fn behind_budget(&self) -> Option<(Arc<dyn Cloud>, AccountBudget)> {
        Some((self.inner.clone(), self.budget.clone()?))
    }
    async fn account_id(&self) -> CloudResult<String> {
        // Asked once and then kept.
        self.inner.account_id().await
    }
    async fn regions(&self, region: &str) -> CloudResult<Vec<String>> {
        self.look(region, "DescribeRegions", self.inner.regions(region)).await
    }
    async fn find_images(&self, region: &str, query: &ImageQuery) -> CloudResult<Vec<Image>> {
        self.look(region, "DescribeImages", self.inner.find_images(region, query)).await
    }
    async fn find_instances(&self, region: &str, filters: &[Filter]) -> CloudResult<Vec<Instance>> {
        self.look(region, "DescribeInstances", self.inner.find_instances(region, filters)).await
    }
    async fn find_subnets(&self, region: &str, filters: &[Filter]) -> CloudResult<Vec<Subnet>> {
        self.look(region, "DescribeSubnets", self.inner.find_subnets(region, filters)).await
    }
    async fn find_vpcs(&self, region: &str, filters: &[Filter]) -> CloudResult<Vec<Vpc>> {
        self.look(region, "DescribeVpcs", self.inner.find_vpcs(region, filters)).await
    }
    async fn find_security_groups(&self, region: &str, filters: &[Filter]) -> CloudResult<Vec<SecurityGroup>> {
        self.look(region, "DescribeSecurityGroups", self.inner.find_security_groups(region, filters)).await
    }
    async fn find_key_pairs(&self, region: &str, filters: &[Filter]) -> CloudResult<Vec<KeyPair>> {
        self.look(region, "DescribeKeyPairs", self.inner.find_key_pairs(region, filters)).await
    }
    async fn find_snapshots(&self, region: &str, filters: &[Filter]) -> CloudResult<Vec<Snapshot>> {
        self.look(region, "DescribeSnapshots", self.inner.find_snapshots(region, filters)).await
    }
    async fn find_volumes(&self, region: &str, filters: &[Filter]) -> CloudResult<Vec<Volume>> {
        self.look(region, "DescribeVolumes", self.inner.find_volumes(region, filters)).await
    }
    async fn find_network_interfaces(&self, region: &str, filters: &[Filter]) -> CloudResult<Vec<NetworkInterface>> {
        self.look(region, "DescribeNetworkInterfaces", self.inner.find_network_interfaces(region, filters)).await
    }
    async fn instance_type(&self, region: &str, instance_type: &str) -> CloudResult<Option<InstanceType>> {
        self.look(region, "DescribeInstanceTypes", self.inner.instance_type(region, instance_type)).await
    }
    async fn console_output(&self, region: &str, instance_id: &str) -> CloudResult<String> {
        self.look(region, "GetConsoleOutput", self.inner.console_output(region, instance_id)).await
    }
    async fn explain_denial(&self, encoded: &str) -> CloudResult<Denial> {
        // STS has limits of its own.
        self.inner.explain_denial(encoded).await
    }
    async fn import_key_pair(&self, region: &str, name: &str, public_key: &str, tags: &Tags) -> CloudResult<KeyPair> {
        self.change(region, "ImportKeyPair", self.inner.import_key_pair(region, name, public_key, tags)).await
    }
    async fn delete_key_pair(&self, region: &str, key_pair_id: &str) -> CloudResult<()> {
        self.change(region, "DeleteKeyPair", self.inner.delete_key_pair(region, key_pair_id)).await
    }
    async fn create_security_group(&self, region: &str, request: &NewSecurityGroup) -> CloudResult<String> {
        self.change(region, "CreateSecurityGroup", self.inner.create_security_group(region, request)).await
    }
    async fn authorize_ingress(&self, region: &str, group_id: &str, port: u16, cidrs: &[String]) -> CloudResult<()> {
        self.change(
            region,
            "AuthorizeSecurityGroupIngress",
            self.inner.authorize_ingress(region, group_id, port, cidrs),
        )
        .await
    }
    async fn delete_security_group(&self, region: &str, group_id: &str) -> CloudResult<()> {
        self.change(region, "DeleteSecurityGroup", self.inner.delete_security_group(region, group_id)).await
    }
    async fn run_instance(&self, region: &str, request: &NewInstance) -> CloudResult<Instance> {
        self.change(region, "RunInstances", self.inner.run_instance(region, request)).await
    }
    async fn stop_instance(&self, region: &str, instance_id: &str) -> CloudResult<()> {
        self.change(region, "StopInstances", self.inner.stop_instance(region, instance_id)).await
    }
    async fn terminate_instance(&self, region: &str, instance_id: &str) -> CloudResult<()> {
        self.change(region, "TerminateInstances", self.inner.terminate_instance(region, instance_id)).await
    }
    async fn set_ena_support(&self, region: &str, instance_id: &str, enabled: bool) -> CloudResult<()> {
        self.change(region, "ModifyInstanceAttribute", self.inner.set_ena_support(region, instance_id, enabled)).await
    }
    async fn set_sriov_support(&self, region: &str, instance_id: &str) -> CloudResult<()> {
        self.change(region, "ModifyInstanceAttribute", self.inner.set_sriov_support(region, instance_id)).await
    }
    async fn delete_volume(&self, region: &str, volume_id: &str) -> CloudResult<()> {
        self.change(region, "DeleteVolume", self.inner.delete_volume(region, volume_id)).await
    }
    async fn delete_network_interface(&self, region: &str, interface_id: &str) -> CloudResult<()> {
        self.change(region, "DeleteNetworkInterface", self.inner.delete_network_interface(region, interface_id)).await
    }
    async fn create_image(&self, region: &str, request: &NewImage) -> CloudResult<String> {
        self.change(region, "CreateImage", self.inner.create_image(region, request)).await
    }
    async fn copy_image(&self, region: &str, request: &NewImageCopy) -> CloudResult<String> {
        self.change(region, "CopyImage", self.inner.copy_image(region, request)).await
    }
    async fn deregister_image(&self, region: &str, image_id: &str) -> CloudResult<()> {
        self.change(region, "DeregisterImage", self.inner.deregister_image(region, image_id)).await
    }
    async fn delete_snapshot(&self, region: &str, snapshot_id: &str) -> CloudResult<()> {
        self.change(region, "DeleteSnapshot", self.inner.delete_snapshot(region, snapshot_id)).await
    }
    async fn create_tags(&self, region: &str, resource_ids: &[String], tags: &Tags) -> CloudResult<()> {
        self.change(region, "CreateTags", self.inner.create_tags(region, resource_ids, tags)).await
    }
    async fn delete_tags(&self, region: &str, resource_ids: &[String], keys: &[String]) -> CloudResult<()> {
        self.change(region, "DeleteTags", self.inner.delete_tags(region, resource_ids, keys)).await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use chrono::{DateTime, Utc};
    use tokio::time::Instant;

    use super::*;
    use crate::cloud::budget::{Rate, RateLimits};
    use crate::cloud::fake::{FakeCloud, FaultKind};
    use crate::domain::clock::Clock;

    const REGION: &str = "us-east-1";

    /// Boot time in milliseconds that only tests move.
    #[derive(Default)]
    struct ManualClock(AtomicU64);

    impl Clock for ManualClock {
        fn now(&self) -> DateTime<Utc> {
            DateTime::UNIX_EPOCH
        }
        fn since_boot(&self) -> Duration {
            Duration::from_millis(self.0.load(Ordering::SeqCst))
        }
    }

    /// One change of a kind at once, and then one every 20 s.
    fn budgeted(fake: &FakeCloud) -> Arc<dyn Cloud> {
        let change = Rate { per_second: 0.05, burst: 1.0 };
        let budgets = Budgets::new(RateLimits { change, ..RateLimits::default() });
        BudgetedAccounts::new(Arc::new(fake.clone()), budgets).account("default").unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_lease_that_was_lost_while_the_budget_was_waited_for_permits_nothing() {
        let fake = FakeCloud::new();
        let lease = Arc::new(Lease::new(Arc::new(ManualClock::default()), Duration::ZERO));
        let cloud = Arc::new(GuardedCloud::new(budgeted(&fake), lease.clone()));
        let tags = Tags::new();
        cloud.create_tags(REGION, &[], &tags).await.unwrap();
        let waiting = tokio::spawn({
            let cloud = cloud.clone();
            async move { cloud.create_tags(REGION, &[], &Tags::new()).await }
        });
        tokio::time::sleep(Duration::from_secs(5)).await;
        lease.lose();
        let error = waiting.await.unwrap().unwrap_err();
        assert_eq!(error.code, "lease-lost");
        assert_eq!(fake.count_of("CreateTags"), 1, "the second was never sent");
    }

    #[tokio::test(start_paused = true)]
    async fn the_lease_is_asked_after_the_wait_for_the_budget_and_not_before() {
        let fake = FakeCloud::new();
        let clock = Arc::new(ManualClock::default());
        let lease = Arc::new(Lease::new(clock.clone(), Duration::ZERO));
        let cloud = Arc::new(GuardedCloud::new(budgeted(&fake), lease.clone()));
        cloud.create_tags(REGION, &[], &Tags::new()).await.unwrap();
        let waiting = tokio::spawn({
            let cloud = cloud.clone();
            async move { cloud.create_tags(REGION, &[], &Tags::new()).await }
        });
        // Its turn comes after 20 s; by then the lease has too little time left for a call.
        clock.0.store(20_000, Ordering::SeqCst);
        tokio::time::sleep(Duration::from_secs(40)).await;
        assert_eq!(fake.count_of("CreateTags"), 1);
        lease.renew(Duration::from_secs(20));
        waiting.await.unwrap().unwrap();
        assert_eq!(fake.count_of("CreateTags"), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn waiting_for_the_budget_is_no_part_of_a_calls_time_limit() {
        let fake = FakeCloud::new();
        let cloud = budgeted(&fake);
        fake.set_call_latency(MUTATION_LIMIT.saturating_sub(Duration::from_secs(1)));
        for _ in 0..3 {
            cloud.create_tags(REGION, &[], &Tags::new()).await.unwrap();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_throttled_answer_slows_all_that_share_the_account() {
        let fake = FakeCloud::new();
        let accounts = BudgetedAccounts::new(Arc::new(fake.clone()), Budgets::new(RateLimits::default()));
        let (one, other) = (accounts.account("default").unwrap(), accounts.account("default").unwrap());
        fake.fail_next("DescribeVolumes", FaultKind::refuse(CloudErrorClass::Throttled, "RequestLimitExceeded"), 1);
        one.find_volumes(REGION, &[]).await.unwrap_err();
        let began = Instant::now();
        other.find_volumes(REGION, &[]).await.unwrap();
        assert!(began.elapsed() > Duration::from_millis(100), "{:?}", began.elapsed());
        let began = Instant::now();
        other.find_snapshots(REGION, &[]).await.unwrap();
        assert_eq!(began.elapsed(), Duration::ZERO, "other actions have budgets of their own");
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_is_explained_where_the_role_may_and_never_left_encoded() {
        let fake = FakeCloud::new();
        let cloud = BudgetedAccounts::new(Arc::new(fake.clone()), Arc::default()).account("default").unwrap();
        let message = "You are not authorized. Encoded authorization failure message: sEcReT";
        let refused = FaultKind::refuse_with(CloudErrorClass::Unauthorized, "UnauthorizedOperation", message);
        fake.fail_next("DescribeImages", refused.clone(), 1);
        let error = cloud.find_images(REGION, &ImageQuery::default()).await.unwrap_err();
        assert_eq!(error.message, "You are not authorized. (the details are encoded)");

        let denial = Denial {
            action: "ec2:TerminateInstances".into(),
            resource: "arn:aws:ec2:us-east-1:1:instance/i-1".into(),
            explicit: false,
            statements: vec![],
        };
        fake.set_denial("sEcReT", denial.clone());
        fake.fail_next("TerminateInstances", refused, 1);
        let error = cloud.terminate_instance(REGION, "i-1").await.unwrap_err();
        assert_eq!(error.message, format!("You are not authorized. {}", denial.sentence()));
    }
}
