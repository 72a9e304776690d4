//! Templates and their immutable versions.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use sqlx::{PgConnection, PgExecutor};
use uuid::Uuid;

use super::audit::{self, Deed};
use super::text::storable_json;
use super::{Actor, Page, Store, bundle_archive, new_id};
use crate::domain::bundle::Bundle;
use crate::domain::error::{Error, Result};
use crate::domain::ids::{TemplateId, TemplateVersionId};

/// A named template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TemplateRow {
    pub id: TemplateId,
    pub name: String,
    pub description: String,
    /// The account its runs use when they name none.
    pub account: Option<String>,
    pub created_by: String,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
    pub newest_version: i32,
}

/// One version of a template.
#[derive(Debug, Clone, PartialEq)]
pub struct VersionRow {
    pub id: TemplateVersionId,
    pub template_id: TemplateId,
    pub template_name: String,
    pub version: i32,
    /// SHA-256 over the sorted (path, executable bit, file hash), hexadecimal.
    pub content_hash: String,
    /// Paths, sizes, declared variables and builds, as the API shows them.
    pub outline: Value,
    pub created_by: String,
    pub created_at: DateTime<Utc>,
}

/// Stores bytes once, under their SHA-256.
pub(super) async fn put_blob(executor: impl PgExecutor<'_>, bytes: &[u8], at: DateTime<Utc>) -> Result<Vec<u8>> {
    let sha256 = Sha256::digest(bytes).to_vec();
    sqlx::query!(
        "INSERT INTO blobs (sha256, bytes, created_at) VALUES ($1, $2, $3) ON CONFLICT (sha256) DO NOTHING",
        sha256,
        bytes,
        at
    )
    .execute(executor)
    .await?;
    Ok(sha256)
}

impl Store {
    /// Stores a template's files. The same content as the newest version gives that version back, and `false`;
    /// `description` and `account` are taken over where given. Puts of one template go one after the other.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn put_template(
        &self,
        name: &str,
        description: Option<&str>,
        account: Option<&str>,
        bundle: &Bundle,
        outline: &Value,
        who: &Actor,
    ) -> Result<(VersionRow, bool)> {
        let now = self.now();
        let archive = bundle_archive::pack(bundle)?;
        let hash = bundle.content_hash().0;
        let mut tx = self.begin().await?;
        let before = audited(&mut tx, name).await?;
        let id = lock_template(&mut tx, name, description, account, now, who).await?;
        let newest = newest_version(&mut tx, id).await?;
        let (row, created) = match newest {
            Some(newest) if newest.content_hash == hash => (newest, false),
            newest => {
                let blob = put_blob(&mut *tx, &archive, now).await?;
                let version = newest.map_or(1, |newest| newest.version + 1);
                sqlx::query!(
                    "INSERT INTO template_versions
                         (id, template_id, version, content_hash, blob_sha256, outline, created_by, created_at)
                     VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
                    new_id(now),
                    id,
                    version,
                    hash,
                    blob,
                    storable_json(outline.clone()),
                    who.principal,
                    now
                )
                .execute(&mut *tx)
                .await?;
                sqlx::query!("UPDATE templates SET updated_at = $2 WHERE id = $1", id, now).execute(&mut *tx).await?;
                let row = newest_version(&mut tx, id)
                    .await?
                    .ok_or_else(|| Error::internal("a template version vanished in its own transaction"))?;
                (row, true)
            }
        };
        let after = audited(&mut tx, name).await?;
        if before != after {
            let deed = Deed { action: "template.put", subject: format!("template/{id}"), before, after };
            audit::write(&mut tx, now, who, deed).await?;
        }
        tx.commit().await?;
        Ok((row, created))
    }

    /// A template by name or id.
    ///
    /// # Errors
    /// `template-not-found`, or the database is away.
    pub async fn template(&self, name_or_id: &str) -> Result<TemplateRow> {
        let id: Option<Uuid> = name_or_id.parse().ok();
        // A name may look like an id; the name wins, because names are what people choose.
        sqlx::query_as!(
            TemplateRow,
            r#"SELECT t.id, t.name, t.description, t.account, t.created_by, t.created_at, t.updated_at,
                      (SELECT COALESCE(max(version), 0) FROM template_versions WHERE template_id = t.id)
                          AS "newest_version!"
               FROM templates t
               WHERE t.name = $1 OR t.id = $2
               ORDER BY t.name = $1 DESC
               LIMIT 1"#,
            name_or_id,
            id
        )
        .fetch_optional(&self.pool)
        .await?
        .ok_or_else(|| Error::not_found("template-not-found", format!("There is no template {:?}.", clip(name_or_id))))
    }

    /// Templates, newest first; `name_prefix`: only those whose name begins so.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn templates(&self, page: &Page, name_prefix: Option<&str>) -> Result<Vec<TemplateRow>> {
        Ok(sqlx::query_as!(
            TemplateRow,
            r#"SELECT t.id, t.name, t.description, t.account, t.created_by, t.created_at, t.updated_at,
                      (SELECT COALESCE(max(version), 0) FROM template_versions WHERE template_id = t.id)
                          AS "newest_version!"
               FROM templates t
               WHERE ($1::text IS NULL OR starts_with(t.name, $1))
                 AND ($2::timestamptz IS NULL OR (t.created_at, t.id) < ($2, $3::uuid))
               ORDER BY t.created_at DESC, t.id DESC
               LIMIT $4"#,
            name_prefix,
            page.before_at(),
            page.before_id(),
            page.limit
        )
        .fetch_all(&self.pool)
        .await?)
    }

    /// A template's versions, newest first.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn versions(&self, template: TemplateId, page: &Page) -> Result<Vec<VersionRow>> {
        Ok(sqlx::query_as!(
            VersionRow,
            "SELECT v.id, v.template_id, t.name AS template_name, v.version, v.content_hash, v.outline, v.created_by,
                    v.created_at
             FROM template_versions v JOIN templates t ON t.id = v.template_id
             WHERE v.template_id = $1
               AND ($2::timestamptz IS NULL OR (v.created_at, v.id) < ($2, $3::uuid))
             ORDER BY v.created_at DESC, v.id DESC
             LIMIT $4",
            template.0,
            page.before_at(),
            page.before_id(),
            page.limit
        )
        .fetch_all(&self.pool)
        .await?)
    }

    /// One version of a template; `None`: the newest.
    ///
    /// # Errors
    /// `template-version-not-found`, or the database is away.
    pub async fn version(&self, template: TemplateId, version: Option<i32>) -> Result<VersionRow> {
        sqlx::query_as!(
            VersionRow,
            "SELECT v.id, v.template_id, t.name AS template_name, v.version, v.content_hash, v.outline, v.created_by,
                    v.created_at
             FROM template_versions v JOIN templates t ON t.id = v.template_id
             WHERE v.template_id = $1 AND ($2::integer IS NULL OR v.version = $2)
             ORDER BY v.version DESC
             LIMIT 1",
            template.0,
            version
        )
        .fetch_optional(&self.pool)
        .await?
        .ok_or_else(|| Error::not_found("template-version-not-found", "The template has no such version."))
    }

    /// The files of one version.
    ///
    /// # Errors
    /// `template-version-not-found`, or the database is away.
    pub async fn bundle(&self, version: TemplateVersionId) -> Result<Bundle> {
        let bytes = sqlx::query_scalar!(
            "SELECT b.bytes FROM template_versions v JOIN blobs b ON b.sha256 = v.blob_sha256 WHERE v.id = $1",
            version.0
        )
        .fetch_optional(&self.pool)
        .await?
        .ok_or_else(|| Error::not_found("template-version-not-found", "There is no such template version."))?;
        bundle_archive::unpack(&bytes)
    }
}

/// Makes the template if need be and locks its row.
async fn lock_template(
    connection: &mut PgConnection,
    name: &str,
    description: Option<&str>,
    account: Option<&str>,
    now: DateTime<Utc>,
    who: &Actor,
) -> Result<Uuid> {
    Ok(sqlx::query_scalar!(
        "INSERT INTO templates (id, name, description, account, created_by, created_at, updated_at)
         VALUES ($1, $2, COALESCE($3, ''), $4, $5, $6, $6)
         ON CONFLICT (name) DO UPDATE
         SET description = COALESCE($3, templates.description), account = COALESCE($4, templates.account),
             updated_at = CASE
                 WHEN (COALESCE($3, templates.description), COALESCE($4, templates.account))
                      IS DISTINCT FROM (templates.description, templates.account) THEN EXCLUDED.updated_at
                 ELSE templates.updated_at
             END
         RETURNING id",
        new_id(now),
        name,
        description,
        account,
        who.principal,
        now
    )
    .fetch_one(connection)
    .await?)
}

/// What the audit tells of a template; locked until the transaction ends, when it is there.
async fn audited(connection: &mut PgConnection, name: &str) -> Result<Option<Value>> {
    let row = sqlx::query!(
        "SELECT t.description, t.account, v.version, v.content_hash
         FROM templates t
         JOIN template_versions v ON v.template_id = t.id
         WHERE t.name = $1
         ORDER BY v.version DESC
         LIMIT 1
         FOR NO KEY UPDATE OF t",
        name
    )
    .fetch_optional(connection)
    .await?;
    Ok(row.map(|row| {
        json!({"version": row.version, "content_hash": row.content_hash, "description": row.description,
               "account": row.account})
    }))
}

async fn newest_version(connection: &mut PgConnection, template: Uuid) -> Result<Option<VersionRow>> {
    Ok(sqlx::query_as!(
        VersionRow,
        "SELECT v.id, v.template_id, t.name AS template_name, v.version, v.content_hash, v.outline, v.created_by,
                v.created_at
         FROM template_versions v JOIN templates t ON t.id = v.template_id
         WHERE v.template_id = $1
         ORDER BY v.version DESC
         LIMIT 1",
        template
    )
    .fetch_optional(connection)
    .await?)
}

/// What a client sent, short enough for an answer.
pub(super) fn clip(text: &str) -> String {
    text.chars().take(128).collect()
}
