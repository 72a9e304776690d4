//! How many calls an account may make: a token bucket for each account, region and API action, which is how EC2 itself
//! counts (`docs.aws.amazon.com/ec2/latest/devguide/ec2-api-throttling.html`: 100 tokens and 20 a second for a filtered
//! describe, 50 and 5 for most changes, 5 and 2 for `RunInstances`). All builds, the watcher, the janitor and the stage
//! tagger of a server draw on the same buckets. As each action has its own, changes never wait behind describes.
//!
//! A `RequestLimitExceeded` all the same means that somebody else uses the account too: it halves the action's rate, which
//! grows back within a minute.
//!
//! Not the `governor` crate: its quotas are fixed when they are made, so a rate that is halved and grows back would need
//! limiters that are exchanged while callers wait in them; and its waits run on a timer of its own, which does not stand
//! still with tokio's clock when a test pauses it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// After throttling a rate is never cut below this part of what is configured.
const FLOOR: f64 = 1.0 / 16.0;
/// How long a rate takes to grow from nothing to what is configured.
const RECOVERY: Duration = Duration::from_mins(1);
/// Calls that were on their way together are throttled together; that is one reason to slow down, not many.
const HALVE_AT_MOST_EVERY: Duration = Duration::from_secs(1);
/// A waiter looks again at least this often, because the rate grows while it waits.
const LONGEST_NAP: Duration = Duration::from_secs(1);

/// Calls of one action.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rate {
    /// In the long run; more than 0.
    pub per_second: f64,
    /// At once, after a pause; at least 1.
    pub burst: f64,
}

/// The rates of an action by what it does. The defaults leave a good part of EC2's own limits to others.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RateLimits {
    /// `Describe…`, `Get…`, `List…` and the like.
    pub describe: Rate,
    /// Everything that changes something, but launches.
    pub change: Rate,
    /// `RunInstances` and `CreateFleet`, which EC2 limits most.
    pub launch: Rate,
}

impl Default for RateLimits {
    fn default() -> Self {
        Self {
            describe: Rate { per_second: 10.0, burst: 50.0 },
            change: Rate { per_second: 4.0, burst: 40.0 },
            launch: Rate { per_second: 1.5, burst: 4.0 },
        }
    }
}

impl RateLimits {
    fn of(&self, operation: &str) -> Rate {
        match operation {
            "RunInstances" | "CreateFleet" => self.launch,
            // One a second is all that EC2 gives.
            "CopyImage" => Rate { per_second: self.change.per_second.min(0.8), ..self.change },
            _ if ["Describe", "Get", "List", "Decode"].iter().any(|verb| operation.starts_with(verb)) => self.describe,
            _ => self.change,
        }
    }
}

/// The budgets of all accounts on this server.
#[derive(Debug, Default)]
pub struct Budgets {
    limits: RateLimits,
    buckets: Mutex<HashMap<Key, Arc<Bucket>>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    account: Arc<str>,
    region: String,
    operation: &'static str,
}

impl Budgets {
    #[must_use]
    pub fn new(limits: RateLimits) -> Arc<Self> {
        Arc::new(Self { limits, buckets: Mutex::default() })
    }

    /// The part of one account.
    #[must_use]
    pub fn account(self: &Arc<Self>, name: &str) -> AccountBudget {
        AccountBudget { account: name.into(), all: self.clone() }
    }
}

/// What one account may still call. Clones share it.
#[derive(Debug, Clone)]
pub struct AccountBudget {
    account: Arc<str>,
    all: Arc<Budgets>,
}

impl AccountBudget {
    fn bucket(&self, region: &str, operation: &'static str) -> Arc<Bucket> {
        let key = Key { account: self.account.clone(), region: region.to_owned(), operation };
        let limit = self.all.limits.of(operation);
        lock(&self.all.buckets).entry(key).or_insert_with(|| Arc::new(Bucket::new(limit))).clone()
    }

    /// Waits until one more call may be sent; callers get their turn in the order in which they came. Dropping the future
    /// gives the place up.
    pub async fn wait(&self, region: &str, operation: &'static str) {
        let began = Instant::now();
        self.bucket(region, operation).wait().await;
        metrics::histogram!("ingot_cloud_budget_wait_seconds", "operation" => operation,
            "account" => self.account.to_string(), "region" => region.to_owned())
        .record(began.elapsed().as_secs_f64());
    }

    /// Counts a call that was sent without waiting: a repeat within one call's time limit, a further page.
    pub fn count(&self, region: &str, operation: &'static str) {
        self.bucket(region, operation).count();
    }

    /// The cloud refused a call because there were too many.
    pub fn throttled(&self, region: &str, operation: &'static str) {
        if let Some(rate) = self.bucket(region, operation).slow_down() {
            tracing::info!(account = &*self.account, region, operation, rate, "throttled; calling less often");
        }
    }
}

#[derive(Debug)]
struct Bucket {
    limit: Rate,
    /// Held by the caller whose turn is next. It is a fair lock, so that is the one who came first.
    turn: tokio::sync::Mutex<()>,
    level: Mutex<Level>,
}

#[derive(Debug)]
struct Level {
    /// Below 0 after calls that did not wait.
    tokens: f64,
    per_second: f64,
    at: Instant,
    slowed_at: Option<Instant>,
}

impl Bucket {
    fn new(limit: Rate) -> Self {
        let level = Level { tokens: limit.burst, per_second: limit.per_second, at: Instant::now(), slowed_at: None };
        Self { limit, turn: tokio::sync::Mutex::default(), level: Mutex::new(level) }
    }

    async fn wait(&self) {
        let _turn = self.turn.lock().await;
        loop {
            let nap = {
                let mut level = self.level();
                if level.tokens >= 1.0 {
                    level.tokens -= 1.0;
                    return;
                }
                // At least what the timer can tell apart.
                Duration::from_secs_f64((1.0 - level.tokens) / level.per_second).max(Duration::from_millis(1))
            };
            tokio::time::sleep(nap.min(LONGEST_NAP)).await;
        }
    }

    fn count(&self) {
        let mut level = self.level();
        level.tokens = (level.tokens - 1.0).max(-self.limit.burst);
    }

    /// Returns the new rate, unless it was cut a moment ago.
    fn slow_down(&self) -> Option<f64> {
        let mut level = self.level();
        if level.slowed_at.is_some_and(|at| level.at.duration_since(at) < HALVE_AT_MOST_EVERY) {
            return None;
        }
        level.slowed_at = Some(level.at);
        level.per_second = (level.per_second / 2.0).max(self.limit.per_second * FLOOR);
        level.tokens = level.tokens.min(0.0);
        Some(level.per_second)
    }

    /// The level as it is now.
    fn level(&self) -> MutexGuard<'_, Level> {
        let mut level = lock(&self.level);
        let now = Instant::now();
        let passed = now.duration_since(level.at).as_secs_f64();
        level.at = now;
        let grown = level.per_second + self.limit.per_second * passed / RECOVERY.as_secs_f64();
        level.per_second = grown.min(self.limit.per_second);
        level.tokens = (level.tokens + level.per_second * passed).min(self.limit.burst);
        level
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Numbers and a map, consistent at every instant: a panic elsewhere does not spoil them.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use futures::future::join_all;

    use super::*;

    const LIMITS: RateLimits = RateLimits {
        describe: Rate { per_second: 10.0, burst: 5.0 },
        change: Rate { per_second: 2.0, burst: 2.0 },
        launch: Rate { per_second: 1.0, burst: 1.0 },
    };

    fn budget() -> AccountBudget {
        Budgets::new(LIMITS).account("default")
    }

    async fn seconds(work: impl Future) -> f64 {
        let began = Instant::now();
        work.await;
        began.elapsed().as_secs_f64()
    }

    async fn calls(budget: &AccountBudget, region: &str, operation: &'static str, number: usize) {
        join_all((0..number).map(|_| budget.wait(region, operation))).await;
    }

    fn near(found: f64, expected: f64) {
        assert!((found - expected).abs() <= 0.05 * expected.max(1.0), "{found} is not about {expected}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_burst_goes_at_once_and_the_rest_at_the_rate() {
        let budget = budget();
        near(seconds(calls(&budget, "us-east-1", "DescribeImages", 5)).await, 0.0);
        near(seconds(calls(&budget, "us-east-1", "DescribeImages", 20)).await, 2.0);
        tokio::time::sleep(Duration::from_secs(60)).await;
        near(seconds(calls(&budget, "us-east-1", "DescribeImages", 15)).await, 1.0);
    }

    #[tokio::test(start_paused = true)]
    async fn accounts_regions_and_actions_have_budgets_of_their_own() {
        let budget = budget();
        let busy = tokio::spawn({
            let budget = budget.clone();
            async move { calls(&budget, "us-east-1", "DescribeInstances", 1000).await }
        });
        tokio::time::sleep(Duration::from_secs(1)).await;
        // A removal does not wait behind a thousand describes.
        near(seconds(budget.wait("us-east-1", "TerminateInstances")).await, 0.0);
        near(seconds(budget.wait("us-east-1", "DescribeImages")).await, 0.0);
        near(seconds(budget.wait("eu-west-1", "DescribeInstances")).await, 0.0);
        near(seconds(budget.all.account("other").wait("us-east-1", "DescribeInstances")).await, 0.0);
        assert!(!busy.is_finished());
    }

    #[tokio::test(start_paused = true)]
    async fn throttling_halves_the_rate_once_and_it_grows_back() {
        let budget = budget();
        for _ in 0..5 {
            budget.throttled("us-east-1", "DescribeImages");
        }
        // The burst is gone, and the rate is about a half (growing by a sixtieth each second).
        let took = seconds(calls(&budget, "us-east-1", "DescribeImages", 10)).await;
        assert!((1.6..2.0).contains(&took), "{took}");
        tokio::time::sleep(RECOVERY).await;
        near(seconds(calls(&budget, "us-east-1", "DescribeImages", 25)).await, 2.0);
    }

    #[tokio::test(start_paused = true)]
    async fn even_an_account_that_is_always_throttled_goes_on() {
        let budget = budget();
        for _ in 0..20 {
            budget.throttled("us-east-1", "StopInstances");
            tokio::time::sleep(HALVE_AT_MOST_EVERY).await;
        }
        let took = seconds(budget.wait("us-east-1", "StopInstances")).await;
        assert!(took < 10.0, "{took}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_waiter_that_gives_up_takes_nothing() {
        let budget = budget();
        budget.wait("us-east-1", "RunInstances").await;
        for _ in 0..10 {
            let gave_up =
                tokio::time::timeout(Duration::from_millis(10), budget.wait("us-east-1", "RunInstances")).await;
            assert!(gave_up.is_err());
        }
        near(seconds(budget.wait("us-east-1", "RunInstances")).await, 0.9);
    }

    #[tokio::test(start_paused = true)]
    async fn calls_that_did_not_wait_are_made_up_for() {
        let budget = budget();
        for _ in 0..2 + 4 {
            budget.count("us-east-1", "CreateTags");
        }
        // Two were the burst; the next waits for the debt of two (it goes no deeper) and for itself.
        near(seconds(budget.wait("us-east-1", "CreateTags")).await, 1.5);
    }

    #[test]
    fn actions_have_the_rate_of_what_they_do() {
        assert_eq!(LIMITS.of("DescribeInstances"), LIMITS.describe);
        assert_eq!(LIMITS.of("GetConsoleOutput"), LIMITS.describe);
        assert_eq!(LIMITS.of("ListRoles"), LIMITS.describe);
        assert_eq!(LIMITS.of("RunInstances"), LIMITS.launch);
        assert_eq!(LIMITS.of("CreateFleet"), LIMITS.launch);
        assert_eq!(LIMITS.of("CreateLaunchTemplate"), LIMITS.change);
        assert_eq!(LIMITS.of("TerminateInstances"), LIMITS.change);
        assert!(LIMITS.of("CopyImage").per_second < 1.0);
    }
}
