//! Templates and versions as the API shows them.

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::store::templates::{TemplateRow, VersionRow};

/// A named template, with its newest version.
#[derive(Debug, Serialize, ToSchema)]
pub struct Template {
    pub id: Uuid,
    pub name: String,
    pub description: String,
    /// The account its runs use when they name none.
    #[schema(required)]
    pub account: Option<String>,
    /// The newest.
    pub version: i32,
    pub created_by: String,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
    /// SHA-256 over the sorted (path, executable bit, file hash) of the newest version; not in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_hash: Option<String>,
    /// Files, variables and builds of the newest version; not in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub outline: Option<Value>,
}

/// One immutable version of a template.
#[derive(Debug, Serialize, ToSchema)]
pub struct TemplateVersion {
    pub id: Uuid,
    pub template_id: Uuid,
    /// The template's name.
    pub template: String,
    pub version: i32,
    /// SHA-256 over the sorted (path, executable bit, file hash), hexadecimal.
    pub content_hash: String,
    /// Files, variables and builds.
    #[schema(value_type = Object)]
    pub outline: Value,
    pub created_by: String,
    pub created_at: DateTime<Utc>,
}

impl Template {
    #[must_use]
    pub fn of(row: TemplateRow) -> Self {
        Self {
            id: row.id.0,
            name: row.name,
            description: row.description,
            account: row.account,
            version: row.newest_version,
            created_by: row.created_by,
            created_at: row.created_at,
            updated_at: row.updated_at,
            content_hash: None,
            outline: None,
        }
    }

    #[must_use]
    pub fn with_version(mut self, version: VersionRow) -> Self {
        self.version = version.version;
        self.content_hash = Some(version.content_hash);
        self.outline = Some(version.outline);
        self
    }
}

impl TemplateVersion {
    #[must_use]
    pub fn of(row: VersionRow) -> Self {
        Self {
            id: row.id.0,
            template_id: row.template_id.0,
            template: row.template_name,
            version: row.version,
            content_hash: row.content_hash,
            outline: row.outline,
            created_by: row.created_by,
            created_at: row.created_at,
        }
    }
}
