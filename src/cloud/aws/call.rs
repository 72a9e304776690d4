//! The one way that every request takes: time limits, repeats, metrics and a debug line.
//!
//! The SDK's own retries are off, because they tell only the last attempt's error: when the first attempt of a
//! `RunInstances` is lost and the second is throttled, "throttled" would be a lie, for the first may have landed.

use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use aws_sdk_ec2::config::http::HttpResponse;
use aws_sdk_ec2::error::{ProvideErrorMetadata, SdkError};
use tokio::time::{Instant, timeout};

use super::errors::{from_sdk, timed_out};
use crate::cloud::budget::AccountBudget;
use crate::cloud::{CloudError, CloudErrorClass, CloudResult, MUTATION_LIMIT};

/// How long and how often one call is tried.
#[derive(Debug, Clone, Copy)]
struct Limits {
    total: Duration,
    attempt: Duration,
    attempts: u32,
    changes: bool,
    /// It may be sent again when an attempt may have landed.
    twice: bool,
}

const READ: Limits = Limits {
    total: Duration::from_secs(30),
    attempt: Duration::from_secs(10),
    attempts: 5,
    changes: false,
    twice: true,
};
const CHANGE: Limits =
    Limits { total: MUTATION_LIMIT, attempt: Duration::from_secs(6), attempts: 8, changes: true, twice: true };
/// For what would then be made twice.
const CHANGE_ONCE: Limits = Limits { twice: false, ..CHANGE };

/// An attempt with less time than this is not begun.
const LEAST_ATTEMPT: Duration = Duration::from_secs(1);

/// Whom a call concerns, for metrics and logs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Call<'c> {
    pub operation: &'static str,
    pub account: &'c str,
    pub region: &'c str,
    /// Hears of everything beyond the one call that was waited for.
    pub budget: &'c AccountBudget,
}

impl Call<'_> {
    /// Sends a request that changes nothing.
    pub(super) async fn read<T, E, F, S>(&self, send: S) -> CloudResult<T>
    where
        E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
        F: Future<Output = Result<T, SdkError<E, HttpResponse>>> + Send,
        S: Fn() -> F + Send + Sync,
        T: Send,
    {
        self.within(READ, send).await
    }

    /// Sends a request that changes the cloud; all of it ends within [`MUTATION_LIMIT`]. Such a request may be sent twice: it carries a token, names what it makes, or says how things shall be.
    pub(super) async fn change<T, E, F, S>(&self, send: S) -> CloudResult<T>
    where
        E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
        F: Future<Output = Result<T, SdkError<E, HttpResponse>>> + Send,
        S: Fn() -> F + Send + Sync,
        T: Send,
    {
        self.within(CHANGE, send).await
    }

    /// The same for the few requests that would make a second thing when sent twice: repeated only when an attempt surely
    /// had no effect.
    pub(super) async fn change_once<T, E, F, S>(&self, send: S) -> CloudResult<T>
    where
        E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
        F: Future<Output = Result<T, SdkError<E, HttpResponse>>> + Send,
        S: Fn() -> F + Send + Sync,
        T: Send,
    {
        self.within(CHANGE_ONCE, send).await
    }

    async fn within<T, E, F, S>(&self, limits: Limits, send: S) -> CloudResult<T>
    where
        E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
        F: Future<Output = Result<T, SdkError<E, HttpResponse>>> + Send,
        S: Fn() -> F + Send + Sync,
        T: Send,
    {
        let repeats = AtomicBool::new(false);
        persist(limits, self.operation, || {
            if repeats.swap(true, Ordering::Relaxed) {
                self.count();
            }
            self.attempt(limits, Box::pin(send()))
        })
        .await
    }

    /// One more request is sent: a repeat or a further page.
    pub(super) fn count(&self) {
        self.budget.count(self.region, self.operation);
    }

    // The SDK's futures are of some 20 kB: callers pass them boxed.
    async fn attempt<T, E>(
        &self,
        limits: Limits,
        sending: impl Future<Output = Result<T, SdkError<E, HttpResponse>>> + Send,
    ) -> CloudResult<T>
    where
        E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
    {
        let begun = Instant::now();
        let result = match timeout(limits.attempt, sending).await {
            Ok(answer) => answer.map_err(|failed| from_sdk(self.operation, limits.changes, &failed)),
            Err(_) => Err(timed_out(self.operation, limits.changes)),
        };
        self.record(begun.elapsed(), result.as_ref().err());
        result
    }

    fn record(&self, took: Duration, failed: Option<&CloudError>) {
        let Self { operation, account, region, .. } = *self;
        if failed.is_some_and(|error| error.class == CloudErrorClass::Throttled) {
            self.budget.throttled(region, operation);
        }
        let outcome = failed.map_or("ok", |error| error.class.name());
        metrics::counter!("ingot_cloud_calls_total", "operation" => operation, "account" => account.to_owned(),
            "region" => region.to_owned(), "outcome" => outcome)
        .increment(1);
        metrics::histogram!("ingot_cloud_call_seconds", "operation" => operation, "account" => account.to_owned(),
            "region" => region.to_owned())
        .record(took.as_secs_f64());
        let milliseconds = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        match failed {
            None => tracing::debug!(operation, account, region, milliseconds, "cloud call answered"),
            Some(error) => tracing::debug!(
                operation,
                account,
                region,
                milliseconds,
                outcome,
                code = error.code,
                request_id = error.request_id,
                "cloud call failed: {}",
                error.message
            ),
        }
    }
}

/// Repeats what may be repeated until it is answered or the limits are reached.
async fn persist<T, F>(limits: Limits, operation: &'static str, attempt: impl Fn() -> F) -> CloudResult<T>
where
    F: Future<Output = CloudResult<T>>,
{
    let begun = Instant::now();
    let mut so_far = SoFar::default();
    loop {
        let error = match tokio::time::timeout_at(begun + limits.total, attempt()).await {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(error)) => error,
            Err(_) => timed_out(operation, limits.changes),
        };
        tokio::time::sleep(so_far.pause_after(limits, begun.elapsed(), error.clone())?).await;
        // A process that was frozen meanwhile must not send it again: another server may have the build by now.
        if limits.changes && begun.elapsed() + LEAST_ATTEMPT > limits.total {
            return Err(final_error(error, so_far.in_doubt));
        }
    }
}

/// The attempts of one call that have failed.
#[derive(Debug, Default)]
struct SoFar {
    attempts: u32,
    /// One of them may have landed.
    in_doubt: bool,
}

impl SoFar {
    /// How long to wait before the next attempt, `elapsed` after the call began; else the error that the caller gets.
    fn pause_after(&mut self, limits: Limits, elapsed: Duration, error: CloudError) -> CloudResult<Duration> {
        self.attempts += 1;
        self.in_doubt |= error.class == CloudErrorClass::UnknownOutcome;
        let pause = pause(self.attempts, error.class);
        let again = match error.class {
            CloudErrorClass::Throttled | CloudErrorClass::Unavailable => true,
            CloudErrorClass::UnknownOutcome => limits.twice,
            _ => false,
        };
        if again && self.attempts < limits.attempts && elapsed + pause + LEAST_ATTEMPT <= limits.total {
            return Ok(pause);
        }
        Err(final_error(error, self.in_doubt))
    }
}

/// After an attempt whose outcome is unknown, a later refusal does not make it known. Two answers do: the name is there
/// (whose it is, the caller looks up), and what was to be removed is not there any more.
fn final_error(mut error: CloudError, in_doubt: bool) -> CloudError {
    let removes = ["Delete", "Deregister", "Remove", "Terminate"].iter().any(|verb| error.operation.starts_with(verb));
    let known = error.class == CloudErrorClass::Duplicate || (removes && error.class == CloudErrorClass::NotFound);
    if in_doubt && !known {
        error.class = CloudErrorClass::UnknownOutcome;
    }
    error
}

/// Before the next attempt: doubling, from longer when throttled, and spread out so that the callers that were refused
/// together don't come back together.
fn pause(attempts: u32, class: CloudErrorClass) -> Duration {
    static CALLERS: AtomicU32 = AtomicU32::new(0);
    // Multiples of the golden ratio fill 0..1 evenly in whatever order callers come; no randomness needed.
    let caller = CALLERS.fetch_add(1, Ordering::Relaxed);
    let spread = (f64::from(caller) * 0.618_033_988_749).fract();
    let first =
        if class == CloudErrorClass::Throttled { Duration::from_millis(500) } else { Duration::from_millis(100) };
    let full = (first * 2_u32.saturating_pow(attempts - 1)).min(Duration::from_secs(3));
    full.mul_f64(0.5 + spread / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use CloudErrorClass::{Duplicate, Invalid, NotFound, Throttled, Unavailable, UnknownOutcome};

    /// A call whose attempts end as listed (then well), each after `each` if its limit allows. Returns the outcome's
    /// class, the number of attempts and the time taken.
    fn run(
        limits: Limits,
        operation: &'static str,
        each: Duration,
        fail: &[CloudErrorClass],
    ) -> (Option<CloudErrorClass>, usize, Duration) {
        let mut so_far = SoFar::default();
        let mut elapsed = Duration::ZERO;
        for (turn, class) in fail.iter().enumerate() {
            elapsed += each.min(limits.attempt).min(limits.total.saturating_sub(elapsed));
            match so_far.pause_after(limits, elapsed, CloudError::new(*class, operation, "code", "message")) {
                Ok(pause) => elapsed += pause,
                Err(error) => return (Some(error.class), turn + 1, elapsed),
            }
        }
        (None, fail.len() + 1, elapsed + each)
    }

    const QUICK: Duration = Duration::from_millis(20);

    #[test]
    fn throttling_is_waited_out() {
        let (class, attempts, _) = run(CHANGE, "RunInstances", QUICK, &[Throttled, Throttled, Unavailable]);
        assert_eq!((class, attempts), (None, 4));
    }

    #[test]
    fn what_is_wrong_is_not_repeated() {
        for wrong in [Invalid, NotFound, Duplicate] {
            assert_eq!(run(CHANGE, "RunInstances", QUICK, &[wrong]).1, 1);
            assert_eq!(run(READ, "DescribeImages", QUICK, &[wrong]), (Some(wrong), 1, QUICK));
        }
    }

    #[test]
    fn a_change_ends_within_its_limit_whatever_happens() {
        for each in [QUICK, Duration::from_secs(1), Duration::from_secs(5), Duration::from_mins(1)] {
            for class in [Throttled, Unavailable, UnknownOutcome] {
                let (ended, attempts, took) = run(CHANGE, "RunInstances", each, &[class; 100]);
                assert!(ended == Some(class) && attempts > 1, "{each:?} {class:?}: {ended:?} after {attempts}");
                assert!(took <= MUTATION_LIMIT, "{each:?} {class:?}: {took:?}");
            }
        }
    }

    #[test]
    fn no_refusal_hides_an_earlier_attempt_that_may_have_landed() {
        for last in [Throttled, Unavailable, Invalid, NotFound] {
            let mut classes = vec![UnknownOutcome];
            classes.extend([last; 20]);
            assert_eq!(run(CHANGE, "RunInstances", QUICK, &classes).0, Some(UnknownOutcome), "{last:?}");
        }
        let (class, attempts, _) = run(CHANGE, "RunInstances", QUICK, &[UnknownOutcome]);
        assert_eq!((class, attempts), (None, 2));
    }

    #[test]
    fn what_would_be_made_twice_is_not_sent_again_in_doubt() {
        assert_eq!(run(CHANGE_ONCE, "CreateSnapshot", QUICK, &[UnknownOutcome]).1, 1);
        let (class, attempts, _) = run(CHANGE_ONCE, "CreateSnapshot", QUICK, &[Throttled, Unavailable]);
        assert_eq!((class, attempts), (None, 3));
    }

    #[test]
    fn two_answers_settle_the_doubt() {
        assert_eq!(run(CHANGE, "CreateImage", QUICK, &[UnknownOutcome, Duplicate]).0, Some(Duplicate));
        assert_eq!(run(CHANGE, "DeregisterImage", QUICK, &[UnknownOutcome, NotFound]).0, Some(NotFound));
    }

    #[tokio::test]
    async fn an_attempt_that_may_be_repeated_is() {
        let count = AtomicU32::new(0);
        let result = persist(CHANGE, "StopInstances", || async {
            match count.fetch_add(1, Ordering::Relaxed) {
                0 => Err(CloudError::new(Unavailable, "StopInstances", "unreachable", "")),
                turn => Ok(turn),
            }
        })
        .await;
        assert_eq!(result, Ok(1));
    }

    /// Takes connections, reads what comes and then does as told.
    async fn listener(answer: &str) -> String {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let answer = answer.to_owned();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut request = [0; 16 * 1024];
                let _ = stream.read(&mut request).await;
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        });
        format!("http://{address}")
    }

    fn answer(status: &str, body: &str) -> String {
        format!(
            "HTTP/1.1 {status}\r\nx-amzn-RequestId: req-7\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        )
    }

    async fn refused() -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        format!("http://{}", listener.local_addr().unwrap())
    }

    async fn one_attempt(endpoint: &str, limits: Limits, credentials: bool) -> CloudError {
        use aws_credential_types::provider::error::CredentialsError;
        use aws_sdk_ec2::config::{
            BehaviorVersion, Credentials, Region, SharedCredentialsProvider, retry::RetryConfig,
        };
        let mut config = aws_sdk_ec2::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::from_static("us-east-1"))
            .retry_config(RetryConfig::disabled())
            .endpoint_url(endpoint);
        config = if credentials {
            config.credentials_provider(Credentials::new("id", "secret", None, None, "test"))
        } else {
            let none = aws_credential_types::credential_fn::provide_credentials_fn(|| async {
                Err::<Credentials, _>(CredentialsError::not_loaded("nowhere"))
            });
            config.credentials_provider(SharedCredentialsProvider::new(none))
        };
        let client = aws_sdk_ec2::Client::from_conf(config.build());
        let budget = crate::cloud::budget::Budgets::new(crate::cloud::budget::RateLimits::default()).account("default");
        let call = Call { operation: "StopInstances", account: "default", region: "us-east-1", budget: &budget };
        call.attempt(limits, Box::pin(client.stop_instances().instance_ids("i-1").send())).await.unwrap_err()
    }

    #[tokio::test]
    async fn connections_that_fail_are_told_apart() {
        let unreachable = one_attempt(&refused().await, CHANGE, true).await;
        assert_eq!((unreachable.class, unreachable.code.as_str()), (Unavailable, "unreachable"), "{unreachable}");
        let cut = one_attempt(&listener("").await, CHANGE, true).await;
        assert_eq!((cut.class, cut.code.as_str()), (UnknownOutcome, "connection-lost"), "{cut}");
        let cut = one_attempt(&listener("").await, READ, true).await;
        assert_eq!((cut.class, cut.code.as_str()), (Unavailable, "connection-lost"), "{cut}");
        let nobody = one_attempt(&listener("").await, CHANGE, false).await;
        assert_eq!((nobody.class, nobody.code.as_str()), (CloudErrorClass::Unauthorized, "no-credentials"), "{nobody}");
    }

    #[tokio::test]
    async fn answers_keep_code_text_and_request_id() {
        let refusal = answer(
            "400 Bad Request",
            "<Response><Errors><Error><Code>IncorrectInstanceState</Code><Message>The instance 'i-1' is not in a state \
             from which it can be stopped.</Message></Error></Errors><RequestID>in-the-body</RequestID></Response>",
        );
        let error = one_attempt(&listener(&refusal).await, CHANGE, true).await;
        assert_eq!((error.class, error.code.as_str()), (CloudErrorClass::Busy, "IncorrectInstanceState"), "{error}");
        assert!(error.message.contains("can be stopped"), "{error}");
        assert_eq!(error.request_id.as_deref(), Some("req-7"));
        let broken = answer("502 Bad Gateway", "");
        assert_eq!(one_attempt(&listener(&broken).await, CHANGE, true).await.class, UnknownOutcome);
        assert_eq!(one_attempt(&listener(&broken).await, READ, true).await.class, Unavailable);
    }

    #[test]
    fn pauses_are_spread_and_bounded() {
        let pauses: Vec<Duration> = (0..40).map(|_| pause(1, Throttled)).collect();
        assert!(pauses.iter().all(|pause| (250..=500).contains(&pause.as_millis())), "{pauses:?}");
        let distinct: std::collections::BTreeSet<_> = pauses.iter().collect();
        assert!(distinct.len() > 30);
        assert!(pause(30, Throttled) <= Duration::from_secs(3));
    }
}
