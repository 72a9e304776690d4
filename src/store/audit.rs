//! Who did what. Rows are written in the transaction of the thing itself, and the schema refuses to change them.

use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::PgConnection;
use uuid::Uuid;

use super::{Actor, Page, Store, new_id};
use crate::domain::error::Result;

/// One line of the audit.
#[derive(Debug, Clone, PartialEq)]
pub struct AuditRow {
    pub id: Uuid,
    pub at: DateTime<Utc>,
    pub principal: String,
    pub request_id: Option<String>,
    /// `run.create`, `run.cancel`, `token.create` …
    pub action: String,
    /// What it was done to, such as `run/<id>`.
    pub subject: String,
    pub before: Option<Value>,
    pub after: Option<Value>,
}

/// What was done.
pub(super) struct Deed<'a> {
    pub action: &'a str,
    pub subject: String,
    pub before: Option<Value>,
    pub after: Option<Value>,
}

pub(super) async fn write(
    connection: &mut PgConnection,
    at: DateTime<Utc>,
    actor: &Actor,
    deed: Deed<'_>,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "INSERT INTO audit (id, at, principal, request_id, action, subject, before, after)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        new_id(at),
        at,
        actor.principal,
        actor.request_id,
        deed.action,
        deed.subject,
        deed.before,
        deed.after
    )
    .execute(connection)
    .await?;
    Ok(())
}

impl Store {
    /// The audit, newest first. `subject`: only what was done to this, such as `run/<id>`.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn audit(&self, page: &Page, subject: Option<&str>) -> Result<Vec<AuditRow>> {
        Ok(sqlx::query_as!(
            AuditRow,
            "SELECT id, at, principal, request_id, action, subject, before, after
             FROM audit
             WHERE ($1::text IS NULL OR subject = $1)
               AND ($2::timestamptz IS NULL OR (at, id) < ($2, $3::uuid))
             ORDER BY at DESC, id DESC
             LIMIT $4",
            subject,
            page.before_at(),
            page.before_id(),
            page.limit
        )
        .fetch_all(&self.pool)
        .await?)
    }
}
