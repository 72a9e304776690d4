//! Bearer tokens. Only their SHA-256 is kept.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;

use super::audit::{self, Deed};
use super::error::violated_unique;
use super::text::parse;
use super::{Actor, Page, Store};
use crate::domain::error::{Error, Result};
use crate::domain::ids::TokenId;
use crate::domain::role::Role;

/// A token, without its secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenRow {
    pub id: TokenId,
    pub name: String,
    pub description: String,
    pub role: Role,
    pub created_by: String,
    pub created_at: DateTime<Utc>,
    pub expires_at: Option<DateTime<Utc>>,
    pub revoked_at: Option<DateTime<Utc>>,
    /// To the minute.
    pub last_used_at: Option<DateTime<Utc>>,
    pub rotated_at: Option<DateTime<Utc>>,
    /// Until when the secret before the rotation is honoured.
    pub previous_valid_until: Option<DateTime<Utc>>,
}

/// A token by one of its secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenBySecret {
    pub row: TokenRow,
    /// It is the secret before the rotation.
    pub previous: bool,
}

/// A new secret for a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rotation {
    /// SHA-256 of the new secret.
    pub hash: [u8; 32],
    /// Until when the present one is honoured; `None`: it ends now.
    pub keep_old_until: Option<DateTime<Utc>>,
    /// `Some`: from now on it expires then.
    pub expires_at: Option<DateTime<Utc>>,
}

/// A token to keep.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewToken {
    pub id: TokenId,
    /// No two tokens that are not revoked have the same.
    pub name: String,
    pub description: String,
    pub role: Role,
    pub expires_at: Option<DateTime<Utc>>,
}

struct Record {
    id: TokenId,
    name: String,
    description: String,
    role: String,
    created_by: String,
    created_at: DateTime<Utc>,
    expires_at: Option<DateTime<Utc>>,
    revoked_at: Option<DateTime<Utc>>,
    last_used_at: Option<DateTime<Utc>>,
    rotated_at: Option<DateTime<Utc>>,
    previous_valid_until: Option<DateTime<Utc>>,
}

impl Record {
    fn read(self) -> Result<TokenRow> {
        Ok(TokenRow {
            id: self.id,
            name: self.name,
            description: self.description,
            role: parse("role", &self.role)?,
            created_by: self.created_by,
            created_at: self.created_at,
            expires_at: self.expires_at,
            revoked_at: self.revoked_at,
            last_used_at: self.last_used_at,
            rotated_at: self.rotated_at,
            previous_valid_until: self.previous_valid_until,
        })
    }
}

impl Store {
    /// Keeps a token under the SHA-256 of its secret.
    ///
    /// # Errors
    /// `token-name-taken`, or the database is away.
    pub async fn insert_token(&self, new: &NewToken, hash: [u8; 32], actor: &Actor) -> Result<TokenRow> {
        let now = self.now();
        let mut tx = self.begin().await?;
        sqlx::query!(
            "INSERT INTO tokens (id, name, description, role, hash, created_by, created_at, expires_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
            new.id.0,
            new.name,
            new.description,
            new.role.as_str(),
            hash.as_slice(),
            actor.principal,
            now,
            new.expires_at
        )
        .execute(&mut *tx)
        .await
        .map_err(|error| match violated_unique(&error) {
            Some("tokens_live_name") => Error::conflict(
                "token-name-taken",
                "There is a token of this name already; revoke it first, or choose another name.",
            ),
            _ => error.into(),
        })?;
        let after = json!({"name": new.name, "role": new.role, "expires_at": new.expires_at});
        let subject = format!("token/{}", new.id);
        audit::write(&mut tx, now, actor, Deed { action: "token.create", subject, before: None, after: Some(after) })
            .await?;
        tx.commit().await?;
        self.token(new.id).await
    }

    /// One token.
    ///
    /// # Errors
    /// `token-not-found`, or the database is away.
    pub async fn token(&self, id: TokenId) -> Result<TokenRow> {
        sqlx::query_as!(
            Record,
            "SELECT id, name, description, role, created_by, created_at, expires_at, revoked_at, last_used_at,
                    rotated_at, previous_valid_until
             FROM tokens WHERE id = $1",
            id.0
        )
        .fetch_optional(&self.pool)
        .await?
        .ok_or_else(token_not_found)?
        .read()
    }

    /// The token whose secret, or secret before its rotation, has this SHA-256; revoked and expired ones included: the
    /// caller decides.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn token_by_hash(&self, hash: [u8; 32]) -> Result<Option<TokenBySecret>> {
        let record = sqlx::query_as!(
            Record,
            "SELECT id, name, description, role, created_by, created_at, expires_at, revoked_at, last_used_at,
                    rotated_at, previous_valid_until
             FROM tokens WHERE hash = $1",
            hash.as_slice()
        )
        .fetch_optional(&self.pool)
        .await?;
        if let Some(record) = record {
            return Ok(Some(TokenBySecret { row: record.read()?, previous: false }));
        }
        let record = sqlx::query_as!(
            Record,
            "SELECT id, name, description, role, created_by, created_at, expires_at, revoked_at, last_used_at,
                    rotated_at, previous_valid_until
             FROM tokens WHERE previous_hash = $1",
            hash.as_slice()
        )
        .fetch_optional(&self.pool)
        .await?;
        record.map(|record| Ok(TokenBySecret { row: record.read()?, previous: true })).transpose()
    }

    /// Gives a token, by its id or name, a new secret. Of the secrets before, the last one may be honoured a while longer.
    ///
    /// # Errors
    /// `token-not-found`, `token-not-live` when it was revoked or has expired; or the database is away.
    pub async fn rotate_token(&self, id_or_name: &str, rotation: &Rotation, actor: &Actor) -> Result<TokenRow> {
        let now = self.now();
        let id: Option<uuid::Uuid> = id_or_name.parse().ok();
        let mut tx = self.begin().await?;
        let before = sqlx::query_as!(
            Record,
            "SELECT id, name, description, role, created_by, created_at, expires_at, revoked_at, last_used_at,
                    rotated_at, previous_valid_until
             FROM tokens
             WHERE id = $1 OR ($1::uuid IS NULL AND name = $2 AND revoked_at IS NULL)
             FOR NO KEY UPDATE",
            id,
            id_or_name
        )
        .fetch_optional(&mut *tx)
        .await?
        .ok_or_else(token_not_found)?
        .read()?;
        if before.revoked_at.is_some() || before.expires_at.is_some_and(|at| at <= now) {
            let public = format!("The token {:?} was revoked or has expired; make a new one instead.", before.name);
            return Err(Error::conflict("token-not-live", public));
        }
        let keep_until = rotation.keep_old_until;
        sqlx::query!(
            "UPDATE tokens
             SET previous_hash = CASE WHEN $3::timestamptz IS NOT NULL THEN hash END, previous_valid_until = $3,
                 hash = $2, rotated_at = $4, expires_at = COALESCE($5, expires_at)
             WHERE id = $1",
            before.id.0,
            rotation.hash.as_slice(),
            keep_until,
            now,
            rotation.expires_at
        )
        .execute(&mut *tx)
        .await?;
        let deed = Deed {
            action: "token.rotate",
            subject: format!("token/{}", before.id),
            before: Some(json!({"name": before.name, "expires_at": before.expires_at})),
            after: Some(json!({"name": before.name, "expires_at": rotation.expires_at.or(before.expires_at),
                               "previous_valid_until": keep_until})),
        };
        audit::write(&mut tx, now, actor, deed).await?;
        tx.commit().await?;
        self.token(before.id).await
    }

    /// Notes that a token was used; writes at most once a minute.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn touch_token(&self, id: TokenId, at: DateTime<Utc>) -> Result<()> {
        sqlx::query!(
            "UPDATE tokens SET last_used_at = $2 WHERE id = $1 AND (last_used_at IS NULL OR last_used_at <= $3)",
            id.0,
            at,
            at - TimeDelta::minutes(1)
        )
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Tokens, newest first, revoked ones included.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn tokens(&self, page: &Page) -> Result<Vec<TokenRow>> {
        sqlx::query_as!(
            Record,
            "SELECT id, name, description, role, created_by, created_at, expires_at, revoked_at, last_used_at,
                    rotated_at, previous_valid_until
             FROM tokens
             WHERE ($1::timestamptz IS NULL OR (created_at, id) < ($1, $2::uuid))
             ORDER BY created_at DESC, id DESC
             LIMIT $3",
            page.before_at(),
            page.before_id(),
            page.limit
        )
        .fetch_all(&self.pool)
        .await?
        .into_iter()
        .map(Record::read)
        .collect()
    }

    /// Revokes a token for good. Twice is the same as once.
    ///
    /// # Errors
    /// `token-not-found`, or the database is away.
    pub async fn revoke_token(&self, id: TokenId, actor: &Actor) -> Result<TokenRow> {
        let now = self.now();
        let mut tx = self.begin().await?;
        let revoked = sqlx::query!("UPDATE tokens SET revoked_at = $2 WHERE id = $1 AND revoked_at IS NULL", id.0, now)
            .execute(&mut *tx)
            .await?;
        if revoked.rows_affected() > 0 {
            let deed = Deed {
                action: "token.revoke",
                subject: format!("token/{id}"),
                before: Some(json!({"revoked_at": null})),
                after: Some(json!({"revoked_at": now})),
            };
            audit::write(&mut tx, now, actor, deed).await?;
        }
        tx.commit().await?;
        self.token(id).await
    }

    /// Whether an admin token was ever made, revoked ones included: from then on the bootstrap token is not honoured.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn any_admin_token_ever(&self) -> Result<bool> {
        Ok(sqlx::query_scalar!(r#"SELECT EXISTS (SELECT 1 FROM tokens WHERE role = 'admin') AS "any!""#)
            .fetch_one(&self.pool)
            .await?)
    }
}

fn token_not_found() -> Error {
    Error::not_found("token-not-found", "There is no such token.")
}
