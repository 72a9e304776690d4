//! Answers kept for a day, so that a repeated POST with the same `Idempotency-Key` gets the first answer again.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;
use sqlx::PgConnection;

use super::Store;
use super::text::storable_json;
use crate::domain::error::{Error, Result};

/// How long an answer is kept.
pub const KEPT: TimeDelta = TimeDelta::hours(24);

/// The code of the error that says: a request with this key was being served at the same time and is done now. Look the
/// key up again.
pub const JUST_USED: &str = "idempotency-key-just-used";

/// A first answer.
#[derive(Debug, Clone, PartialEq)]
pub struct SavedAnswer {
    /// SHA-256 of method, path, query and body.
    pub request_sha256: [u8; 32],
    pub status: u16,
    pub response: Value,
}

/// A key to be used up by what makes a `T`: the answer is kept in the same transaction.
pub struct AnswerKey<'a, T> {
    pub key: &'a str,
    /// SHA-256 of method, path, query and body.
    pub request_sha256: [u8; 32],
    pub status: u16,
    /// Makes the answer.
    pub render: &'a (dyn Fn(&T) -> Value + Send + Sync),
}

impl<T> AnswerKey<'_, T> {
    /// Takes the key. Whoever comes second waits here until the first is done.
    pub(super) async fn reserve(
        &self,
        connection: &mut PgConnection,
        principal: &str,
        now: DateTime<Utc>,
    ) -> Result<()> {
        reserve(connection, principal, self.key, &self.request_sha256, now).await
    }

    /// Keeps the answer.
    pub(super) async fn fill(&self, connection: &mut PgConnection, principal: &str, made: &T) -> Result<()> {
        fill(connection, principal, self.key, self.status, &storable_json((self.render)(made))).await
    }
}

async fn reserve(
    connection: &mut PgConnection,
    principal: &str,
    key: &str,
    request_sha256: &[u8; 32],
    now: DateTime<Utc>,
) -> Result<()> {
    let taken = sqlx::query!(
        "INSERT INTO idempotency_keys AS kept (principal, key, request_sha256, status, response, created_at)
         VALUES ($1, $2, $3, 0, 'null', $4)
         ON CONFLICT (principal, key) DO UPDATE
         SET request_sha256 = EXCLUDED.request_sha256, status = 0, response = 'null', created_at = EXCLUDED.created_at
         WHERE kept.created_at < $5",
        principal,
        key,
        request_sha256.as_slice(),
        now,
        now - KEPT
    )
    .execute(connection)
    .await?;
    if taken.rows_affected() == 1 {
        return Ok(());
    }
    Err(Error::conflict(
        JUST_USED,
        "Another request with the same idempotency key has just been served; send it again.",
    ))
}

async fn fill(connection: &mut PgConnection, principal: &str, key: &str, status: u16, response: &Value) -> Result<()> {
    sqlx::query!(
        // As text: a JSON parameter would travel as jsonb, which sorts the keys of the answer.
        "UPDATE idempotency_keys SET status = $3, response = $4::text::json WHERE principal = $1 AND key = $2",
        principal,
        key,
        i32::from(status),
        response.to_string()
    )
    .execute(connection)
    .await?;
    Ok(())
}

impl Store {
    /// The answer kept for a key, if it is not older than a day.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn idempotent_answer(&self, principal: &str, key: &str) -> Result<Option<SavedAnswer>> {
        let row = sqlx::query!(
            "SELECT request_sha256, status, response FROM idempotency_keys
             WHERE principal = $1 AND key = $2 AND created_at >= $3",
            principal,
            key,
            self.now() - KEPT
        )
        .fetch_optional(&self.pool)
        .await?;
        row.map(|row| {
            let request_sha256 = row.request_sha256.as_slice().try_into();
            Ok(SavedAnswer {
                request_sha256: request_sha256.map_err(|_| Error::internal("an idempotency hash is not 32 bytes"))?,
                status: u16::try_from(row.status).map_err(|_| Error::internal("a stored status is no status"))?,
                response: row.response,
            })
        })
        .transpose()
    }

    /// Keeps an answer whose work is already committed.
    ///
    /// # Errors
    /// [`JUST_USED`] when the key is taken; or the database is away.
    pub async fn save_idempotent_answer(&self, principal: &str, key: &str, answer: &SavedAnswer) -> Result<()> {
        let mut tx = self.begin().await?;
        reserve(&mut tx, principal, key, &answer.request_sha256, self.now()).await?;
        fill(&mut tx, principal, key, answer.status, &answer.response).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Forgets answers older than a day; says how many.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn purge_idempotent_answers(&self) -> Result<u64> {
        let done = sqlx::query!("DELETE FROM idempotency_keys WHERE created_at < $1", self.now() - KEPT)
            .execute(&self.pool)
            .await?;
        Ok(done.rows_affected())
    }
}
