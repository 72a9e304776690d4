//! Files that a run made, and Packer's manifest of it.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::Store;
use crate::domain::error::{Error, Result};
use crate::domain::ids::{BuildId, RunId};

/// A file of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileRow {
    pub build_id: BuildId,
    /// The build's name.
    pub build: String,
    pub name: String,
    pub size_bytes: i64,
    /// Of its content.
    pub sha256: Vec<u8>,
    pub created_at: DateTime<Utc>,
}

impl Store {
    /// A run's files, by name.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn files(&self, run: RunId) -> Result<Vec<FileRow>> {
        Ok(sqlx::query_as!(
            FileRow,
            "SELECT f.build_id, b.name AS build, f.name, f.size_bytes, f.blob_sha256 AS sha256, f.created_at
             FROM run_files f JOIN builds b ON b.id = f.build_id
             WHERE f.run_id = $1
             ORDER BY f.name, b.position",
            run.0
        )
        .fetch_all(&self.pool)
        .await?)
    }

    /// A file's content. `build`: of this build; without it the first build's that has such a file.
    ///
    /// # Errors
    /// `file-not-found`, or the database is away.
    pub async fn file(&self, run: RunId, build: Option<BuildId>, name: &str) -> Result<Vec<u8>> {
        sqlx::query_scalar!(
            "SELECT o.bytes
             FROM run_files f JOIN builds b ON b.id = f.build_id JOIN blobs o ON o.sha256 = f.blob_sha256
             WHERE f.run_id = $1 AND f.name = $2 AND ($3::uuid IS NULL OR f.build_id = $3)
             ORDER BY b.position
             LIMIT 1",
            run.0,
            name,
            build.map(|build| build.0)
        )
        .fetch_optional(&self.pool)
        .await?
        .ok_or_else(|| Error::not_found("file-not-found", "The run has no such file."))
    }

    /// A run's manifest as Packer writes it, builds in the order in which they were done. `output`: the one that goes to this
    /// file; without it the first one written. `None`: there is none (yet).
    ///
    /// # Errors
    /// When the database is away.
    pub async fn manifest(&self, run: RunId, output: Option<&str>) -> Result<Option<Value>> {
        let builds = sqlx::query_scalar!(
            r#"SELECT build AS "build: Value" FROM manifest_entries
               WHERE run_id = $1
                 AND output = COALESCE($2, (SELECT output FROM manifest_entries WHERE run_id = $1 ORDER BY id LIMIT 1))
               ORDER BY id"#,
            run.0,
            output
        )
        .fetch_all(&self.pool)
        .await?;
        Ok((!builds.is_empty()).then(|| json!({"builds": builds, "last_run_uuid": run})))
    }
}

/// A manifest's text, byte for byte as Packer prints it: two spaces, no newline at the end, and Go's escapes for HTML.
#[must_use]
pub fn manifest_text(manifest: &Value) -> String {
    let mut text = String::new();
    // These can only stand inside strings, where an escape means the same.
    for c in format!("{manifest:#}").chars() {
        match c {
            '<' => text.push_str("\\u003c"),
            '>' => text.push_str("\\u003e"),
            '&' => text.push_str("\\u0026"),
            '\u{2028}' => text.push_str("\\u2028"),
            '\u{2029}' => text.push_str("\\u2029"),
            c => text.push(c),
        }
    }
    text
}
