//! A token as the API shows it: never its secret, but for the one answer that makes it.

use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::store::tokens::TokenRow;

/// A bearer token, without its secret.
#[derive(Debug, Serialize, ToSchema)]
pub struct Token {
    pub id: Uuid,
    pub name: String,
    pub description: String,
    /// `viewer`, `builder`, `promoter` or `admin`.
    pub role: &'static str,
    pub created_by: String,
    pub created_at: DateTime<Utc>,
    #[schema(required)]
    pub expires_at: Option<DateTime<Utc>>,
    #[schema(required)]
    pub revoked_at: Option<DateTime<Utc>>,
    /// To the minute.
    #[schema(required)]
    pub last_used_at: Option<DateTime<Utc>>,
    #[schema(required)]
    pub rotated_at: Option<DateTime<Utc>>,
    /// Until when the secret before the rotation is honoured.
    #[schema(required)]
    pub previous_valid_until: Option<DateTime<Utc>>,
}

impl Token {
    #[must_use]
    pub fn of(row: TokenRow) -> Self {
        Self {
            id: row.id.0,
            name: row.name,
            description: row.description,
            role: row.role.as_str(),
            created_by: row.created_by,
            created_at: row.created_at,
            expires_at: row.expires_at,
            revoked_at: row.revoked_at,
            last_used_at: row.last_used_at,
            rotated_at: row.rotated_at,
            previous_valid_until: row.previous_valid_until,
        }
    }
}
