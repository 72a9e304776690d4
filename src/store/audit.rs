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

/// Which deeds to list; what is `None` does not matter.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AuditFilter {
    /// What it was done to, such as `run/<id>`.
    pub subject: Option<String>,
    pub principal: Option<String>,
    /// A whole action, or its beginning and `*`, such as `image.*`.
    pub action: Option<String>,
    pub request_id: Option<String>,
    /// From then on.
    pub after: Option<DateTime<Utc>>,
    /// Until then.
    pub before: Option<DateTime<Utc>>,
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
    /// The audit, newest first.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn audit(&self, page: &Page, filter: &AuditFilter) -> Result<Vec<AuditRow>> {
        let (action, prefix) = match filter.action.as_deref().map(|action| (action, action.strip_suffix('*'))) {
            Some((_, Some(prefix))) => (None, Some(prefix)),
            Some((action, None)) => (Some(action), None),
            None => (None, None),
        };
        Ok(sqlx::query_as!(
            AuditRow,
            "SELECT id, at, principal, request_id, action, subject, before, after
             FROM audit
             WHERE ($1::text IS NULL OR subject = $1)
               AND ($2::timestamptz IS NULL OR (at, id) < ($2, $3::uuid))
               AND ($5::text IS NULL OR principal = $5)
               AND ($6::text IS NULL OR action = $6)
               AND ($7::text IS NULL OR starts_with(action, $7))
               AND ($8::text IS NULL OR request_id = $8)
               AND ($9::timestamptz IS NULL OR at >= $9)
               AND ($10::timestamptz IS NULL OR at < $10)
             ORDER BY at DESC, id DESC
             LIMIT $4",
            filter.subject,
            page.before_at(),
            page.before_id(),
            page.limit,
            filter.principal,
            action,
            prefix,
            filter.request_id,
            filter.after,
            filter.before
        )
        .fetch_all(&self.pool)
        .await?)
    }
}
