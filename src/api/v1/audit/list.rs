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
use crate::store::audit::{AuditFilter, AuditRow};

/// One deed.
#[derive(Debug, Serialize, ToSchema)]
pub struct AuditEntry {
    pub id: Uuid,
    pub at: DateTime<Utc>,
    /// The token's name, or `schedule:<name>`.
    pub principal: String,
    #[schema(required)]
    pub request_id: Option<String>,
    /// `run.create`, `image.promote`, `schedule.update`, `token.rotate` …
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
        ("subject" = Option<String>, Query, description = "What was done to this, such as `run/<id>` or `stage/<stage>/<family>`"),
        ("principal" = Option<String>, Query, description = "By this token, or `schedule:<name>`"),
        ("action" = Option<String>, Query, description = "Such as `image.promote`, or `image.*`"),
        ("request_id" = Option<String>, Query, description = "By this request"),
        ("after" = Option<String>, Query, description = "RFC 3339; from then on"),
        ("before" = Option<String>, Query, description = "RFC 3339; until then"),
    ),
    responses((status = 200, description = "A page of the audit", body = List<AuditEntry>))
)]
pub async fn list_audit(
    State(state): State<ApiState>,
    _: Admin,
    mut query: Query,
) -> ApiResult<Json<List<AuditEntry>>> {
    let listing = Listing::new(&mut query, "audit")?;
    let filter = AuditFilter {
        subject: query.one("subject")?,
        principal: query.one("principal")?,
        action: query.one("action")?,
        request_id: query.one("request_id")?,
        after: query.time("after")?,
        before: query.time("before")?,
    };
    query.finish()?;
    let rows = state.store.audit(&listing.page, &filter).await?;
    Ok(Json(listing.finish(rows, |row| (row.at, row.id), AuditEntry::of)))
}
