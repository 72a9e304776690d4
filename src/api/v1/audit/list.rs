//! `GET /v1/audit`.

use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::api::ApiState;
use crate::api::pagination::{List, Listing};
use crate::api::principal::Admin;
use crate::api::problem::ApiResult;
use crate::api::query::Query;
use crate::store::audit::AuditRow;

/// One deed.
#[derive(Debug, Serialize, ToSchema)]
pub struct AuditEntry {
    pub id: Uuid,
    pub at: DateTime<Utc>,
    /// The token's name.
    pub principal: String,
    #[schema(required)]
    pub request_id: Option<String>,
    /// `run.create`, `run.cancel`, `token.create` …
    pub action: String,
    /// What it was done to, such as `run/<id>`.
    pub subject: String,
    #[schema(required, value_type = Option<Object>)]
    pub before: Option<Value>,
    #[schema(required, value_type = Option<Object>)]
    pub after: Option<Value>,
}

impl AuditEntry {
    fn of(row: AuditRow) -> Self {
        Self {
            id: row.id,
            at: row.at,
            principal: row.principal,
            request_id: row.request_id,
            action: row.action,
            subject: row.subject,
            before: row.before,
            after: row.after,
        }
    }
}

/// List the audit, newest first
#[utoipa::path(
    get,
    path = "/v1/audit",
    tag = "audit",
    params(
        ("limit" = Option<i64>, Query, description = "1 to 500; 50 when left out"),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before"),
        ("subject" = Option<String>, Query, description = "What was done to this, such as `run/<id>`"),
    ),
    responses((status = 200, description = "A page of the audit", body = List<AuditEntry>))
)]
pub async fn list_audit(
    State(state): State<ApiState>,
    _: Admin,
    mut query: Query,
) -> ApiResult<Json<List<AuditEntry>>> {
    let listing = Listing::new(&mut query, "audit")?;
    let subject = query.one("subject")?;
    query.finish()?;
    let rows = state.store.audit(&listing.page, subject.as_deref()).await?;
    Ok(Json(listing.finish(rows, |row| (row.at, row.id), AuditEntry::of)))
}
