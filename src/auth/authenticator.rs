//! Finds out whose token it is, and whether it still counts.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use chrono::SecondsFormat;
use secrecy::{ExposeSecret, SecretString};

use super::token::{PlainToken, TokenHash};
use crate::domain::clock::Clock;
use crate::domain::error::{Error, ErrorKind, Result};
use crate::domain::ids::TokenId;
use crate::domain::role::Role;
use crate::store::Store;
use crate::store::tokens::TokenBySecret;

/// How long a token's row is believed without asking the database: so long at most does a revoked token live on.
const CACHED_FOR: Duration = Duration::from_secs(5);
/// Tokens remembered at most; only real ones are.
const CACHE_LIMIT: usize = 10_000;
/// How exact `last_used_at` is.
const TOUCH_EVERY: Duration = Duration::from_mins(1);

/// Who is asking.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    /// The token's name, as the audit has it.
    pub name: String,
    pub role: Role,
    /// `None`: the bootstrap token.
    pub token: Option<TokenId>,
}

/// Tokens that count: those of the database, and the bootstrap token until an admin token was ever made.
pub struct Authenticator {
    bootstrap: Option<TokenHash>,
    cache: Mutex<HashMap<TokenHash, Cached>>,
}

#[derive(Clone)]
struct Cached {
    token: TokenBySecret,
    read_at: Duration,
    touched_at: Option<Duration>,
}

/// The bootstrap token's name in the audit. Token names can't hold a `:`.
pub const BOOTSTRAP: &str = "ingot:bootstrap";

impl Authenticator {
    #[must_use]
    pub fn new(bootstrap: Option<&SecretString>) -> Self {
        let bootstrap = bootstrap.map(|token| PlainToken::presented(token.expose_secret()).hash());
        Self { bootstrap, cache: Mutex::default() }
    }

    /// Whose token it is.
    ///
    /// # Errors
    /// `token-unknown`, `token-expired`, `token-revoked`, or the database is away.
    pub async fn authenticate(&self, store: &Store, clock: &dyn Clock, token: &PlainToken) -> Result<Principal> {
        let hash = token.hash();
        if self.bootstrap == Some(hash) {
            return Self::bootstrap_principal(store).await;
        }
        let now = clock.since_boot();
        let token = match self.cached(&hash, now) {
            Some(token) => token,
            None => self.look_up(store, hash, now).await?,
        };
        check(&token, clock)?;
        let row = token.row;
        if self.wants_touch(&hash, now)
            && let Err(error) = store.touch_token(row.id, clock.now()).await
        {
            // The request itself will tell the client if the database is away.
            tracing::debug!(token = %row.id, error = error.for_log(), "the token's last use could not be noted");
        }
        Ok(Principal { name: row.name, role: row.role, token: Some(row.id) })
    }

    /// Forgets what was cached: after a token was revoked on this server it counts no longer, at once.
    pub fn forget(&self) {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    async fn bootstrap_principal(store: &Store) -> Result<Principal> {
        if store.any_admin_token_ever().await? {
            return Err(unauthenticated(
                "token-bootstrap-over",
                "The bootstrap token no longer counts, because an admin token was made; use that one.".to_owned(),
            ));
        }
        Ok(Principal { name: BOOTSTRAP.to_owned(), role: Role::Admin, token: None })
    }

    fn cached(&self, hash: &TokenHash, now: Duration) -> Option<TokenBySecret> {
        let cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = cache.get(hash).filter(|entry| now.saturating_sub(entry.read_at) < CACHED_FOR)?;
        Some(entry.token.clone())
    }

    async fn look_up(&self, store: &Store, hash: TokenHash, now: Duration) -> Result<TokenBySecret> {
        let Some(token) = store.token_by_hash(hash.0).await? else {
            return Err(unauthenticated(
                "token-unknown",
                "This token is unknown: it was never made here, or it is mistyped.".to_owned(),
            ));
        };
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        if cache.len() >= CACHE_LIMIT {
            cache.clear();
        }
        let touched_at = cache.get(&hash).and_then(|entry| entry.touched_at);
        cache.insert(hash, Cached { token: token.clone(), read_at: now, touched_at });
        Ok(token)
    }

    fn wants_touch(&self, hash: &TokenHash, now: Duration) -> bool {
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(entry) = cache.get_mut(hash) else { return false };
        let due = entry.touched_at.is_none_or(|at| now.saturating_sub(at) >= TOUCH_EVERY);
        if due {
            entry.touched_at = Some(now);
        }
        due
    }
}

fn check(token: &TokenBySecret, clock: &dyn Clock) -> Result<()> {
    let row = &token.row;
    if token.previous && row.previous_valid_until.is_none_or(|until| until <= clock.now()) {
        let public =
            format!("The token {:?} was rotated, and its secret before counts no longer; use the new one.", row.name);
        return Err(unauthenticated("token-rotated", public));
    }
    if let Some(at) = row.revoked_at {
        let at = at.to_rfc3339_opts(SecondsFormat::Secs, true);
        return Err(unauthenticated("token-revoked", format!("The token {:?} was revoked on {at}.", row.name)));
    }
    match row.expires_at {
        Some(at) if at <= clock.now() => {
            let at = at.to_rfc3339_opts(SecondsFormat::Secs, true);
            let public = format!("The token {:?} expired on {at}; an admin can make a new one.", row.name);
            Err(unauthenticated("token-expired", public))
        }
        _ => Ok(()),
    }
}

fn unauthenticated(code: &'static str, public: String) -> Error {
    Error::new(ErrorKind::Unauthenticated, code, public)
}
