//! Credentials that are renewed before they run out, so that builds of hours never meet an expired one.
//!
//! The SDK's own cache renews only when the old credentials have nearly run out, and then a call fails if STS happens
//! to be away. Here renewal begins early, one caller does it while the others go on with what is held, and a failed
//! renewal is an error only when nothing valid is held any more.

use std::sync::{PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_credential_types::provider::{self, ProvideCredentials, error::CredentialsError, future};
use tokio::sync::Mutex;

/// Renewal begins this long before the end (or at half of a shorter life).
const EARLY: Duration = Duration::from_mins(15);
/// Not used any more this long before the end: a request must still be valid when it arrives.
const LAST_USE: Duration = Duration::from_mins(1);
/// After a failed early renewal.
const AGAIN_AFTER: Duration = Duration::from_secs(30);
/// Less than one attempt of a call, so that a hanging STS is not mistaken for a call without an answer.
const LOAD_LIMIT: Duration = Duration::from_secs(4);
/// Credentials that don't end may still be replaced at their source (a rotated key in a file).
const ENDLESS_LIFE: Duration = Duration::from_mins(30);

type Now = Box<dyn Fn() -> SystemTime + Send + Sync>;

/// See the module's documentation.
pub(super) struct Renewed<P> {
    inner: P,
    now: Now,
    held: RwLock<Option<Held>>,
    renewing: Mutex<()>,
}

#[derive(Clone)]
struct Held {
    credentials: Credentials,
    renew_at: SystemTime,
    last_use: SystemTime,
}

impl<P> std::fmt::Debug for Renewed<P> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Renewed(…)")
    }
}

impl<P: ProvideCredentials> Renewed<P> {
    pub(super) fn new(inner: P, now: impl Fn() -> SystemTime + Send + Sync + 'static) -> Self {
        Self { inner, now: Box::new(now), held: RwLock::new(None), renewing: Mutex::new(()) }
    }

    async fn get(&self) -> provider::Result {
        if let Some(held) = self.held() {
            let now = (self.now)();
            if now < held.renew_at {
                return Ok(held.credentials);
            }
            if now < held.last_use {
                return Ok(self.renew_early(held).await);
            }
        }
        let _one_at_a_time = self.renewing.lock().await;
        match self.held() {
            Some(held) if (self.now)() < held.renew_at => Ok(held.credentials),
            _ => self.renew().await,
        }
    }

    async fn renew_early(&self, held: Held) -> Credentials {
        let Ok(_one_at_a_time) = self.renewing.try_lock() else { return held.credentials };
        match self.renew().await {
            Ok(credentials) => credentials,
            Err(error) => {
                tracing::warn!(error = %error, "AWS credentials could not be renewed yet; the old ones still hold");
                let credentials = held.credentials.clone();
                self.hold(Held { renew_at: (self.now)() + AGAIN_AFTER, ..held });
                credentials
            }
        }
    }

    async fn renew(&self) -> provider::Result {
        let loading = tokio::time::timeout(LOAD_LIMIT, self.inner.provide_credentials());
        let credentials = loading.await.map_err(|_| CredentialsError::provider_timed_out(LOAD_LIMIT))??;
        let now = (self.now)();
        let (renew_at, last_use) = if let Some(end) = credentials.expiry() {
            let half = end.duration_since(now).unwrap_or_default() / 2;
            (end - EARLY.min(half), end - LAST_USE.min(half))
        } else {
            (now + ENDLESS_LIFE, now + 2 * ENDLESS_LIFE)
        };
        self.hold(Held { credentials: credentials.clone(), renew_at, last_use });
        Ok(credentials)
    }

    fn held(&self) -> Option<Held> {
        self.held.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn hold(&self, held: Held) {
        *self.held.write().unwrap_or_else(PoisonError::into_inner) = Some(held);
    }
}

impl<P: ProvideCredentials> ProvideCredentials for Renewed<P> {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(self.get())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

    use super::*;

    /// Seconds since the epoch that tests move, and an STS that counts and can be away.
    #[derive(Debug, Clone, Default)]
    struct Sts {
        seconds: Arc<AtomicU64>,
        given: Arc<AtomicU64>,
        away: Arc<AtomicBool>,
    }

    impl Sts {
        fn now(&self) -> SystemTime {
            SystemTime::UNIX_EPOCH + Duration::from_secs(self.seconds.load(Ordering::Relaxed))
        }

        fn at_minute(&self, minute: u64) {
            self.seconds.store(minute * 60, Ordering::Relaxed);
        }

        fn renewed(&self) -> Renewed<Self> {
            let clock = self.clone();
            Renewed::new(self.clone(), move || clock.now())
        }
    }

    impl ProvideCredentials for Sts {
        fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
        where
            Self: 'a,
        {
            future::ProvideCredentials::ready(if self.away.load(Ordering::Relaxed) {
                Err(CredentialsError::provider_error("away"))
            } else {
                let number = self.given.fetch_add(1, Ordering::Relaxed) + 1;
                let end = self.now() + Duration::from_hours(1);
                Ok(Credentials::new(format!("key{number}"), "secret", None, Some(end), "test"))
            })
        }
    }

    async fn key(renewed: &Renewed<Sts>) -> String {
        renewed.get().await.unwrap().access_key_id().to_owned()
    }

    #[tokio::test]
    async fn an_hour_is_renewed_after_three_quarters() {
        let sts = Sts::default();
        let renewed = sts.renewed();
        assert_eq!(key(&renewed).await, "key1");
        sts.at_minute(44);
        assert_eq!(key(&renewed).await, "key1");
        sts.at_minute(45);
        assert_eq!(key(&renewed).await, "key2");
    }

    #[tokio::test]
    async fn while_sts_is_away_the_old_ones_serve_until_they_end() {
        let sts = Sts::default();
        let renewed = sts.renewed();
        key(&renewed).await;
        sts.away.store(true, Ordering::Relaxed);
        sts.at_minute(50);
        assert_eq!(key(&renewed).await, "key1");
        sts.at_minute(58);
        assert_eq!(key(&renewed).await, "key1");
        sts.at_minute(59);
        assert!(renewed.get().await.is_err());
        sts.away.store(false, Ordering::Relaxed);
        assert_eq!(key(&renewed).await, "key2");
    }

    #[tokio::test]
    async fn callers_that_come_together_share_one_renewal() {
        let sts = Sts::default();
        let renewed = sts.renewed();
        let keys = futures::future::join_all((0..20).map(|_| key(&renewed))).await;
        assert!(keys.iter().all(|key| key == "key1"), "{keys:?}");
    }

    #[test]
    fn debug_output_holds_no_credentials() {
        assert_eq!(format!("{:?}", Sts::default().renewed()), "Renewed(…)");
    }
}
