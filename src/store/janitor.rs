//! What the janitor asks: which builds are over, where to search once more, and what may be forgotten.

use std::collections::HashMap;

use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use super::Store;
use crate::domain::error::Result;
use crate::domain::ids::{Attempt, BuildId, RunId};

/// From the janitor's look at a thing to its removal, at most.
const LONGEST_LOOK: TimeDelta = TimeDelta::minutes(10);

/// What the database knows of a build whose tag was found in the cloud.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BuildStanding {
    /// Another deployment's, or none of ours: report, never remove.
    Unknown,
    /// At work, left in place, cleaning up, stuck and waiting for a person, or succeeded a few minutes ago.
    Active,
    /// Nothing temporary of it may be left.
    Over,
}

/// A build whose temporary things are to be looked for once more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DueSearch {
    pub build: BuildId,
    pub run: RunId,
    pub account: String,
    pub region: String,
    pub search_again_at: DateTime<Utc>,
}

impl Store {
    /// Says of each build whether it is over.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn builds_over(&self, ids: &[BuildId]) -> Result<HashMap<BuildId, BuildStanding>> {
        let mut standing: HashMap<BuildId, BuildStanding> =
            ids.iter().map(|id| (*id, BuildStanding::Unknown)).collect();
        let ids: Vec<Uuid> = ids.iter().map(|id| id.0).collect();
        let rows = sqlx::query!(
            // A build that has just succeeded took the temporary tag off its artifacts at its commit; a look that began before
            // that may still have seen it. No look takes ten minutes.
            r#"SELECT id, (state IN ('failed', 'cancelled', 'succeeded') AND cleanup IN ('none', 'done')
                           AND (state <> 'succeeded' OR finished_at <= $2)) AS "over!"
               FROM builds WHERE id = ANY($1)"#,
            &ids,
            self.now() - LONGEST_LOOK
        )
        .fetch_all(&self.pool)
        .await?;
        for row in rows {
            standing.insert(BuildId(row.id), if row.over { BuildStanding::Over } else { BuildStanding::Active });
        }
        Ok(standing)
    }

    /// The newest attempt that the database knows of each build that it knows.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn newest_attempts(&self, ids: &[BuildId]) -> Result<HashMap<BuildId, Attempt>> {
        let ids: Vec<Uuid> = ids.iter().map(|id| id.0).collect();
        let rows =
            sqlx::query!("SELECT id, attempt FROM builds WHERE id = ANY($1)", &ids).fetch_all(&self.pool).await?;
        Ok(rows.into_iter().map(|row| (BuildId(row.id), Attempt(row.attempt))).collect())
    }

    /// The regions where builds of an account have been or have copied to.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn regions_used(&self, account: &str) -> Result<Vec<String>> {
        Ok(sqlx::query_scalar!(
            r#"SELECT DISTINCT region AS "region!" FROM (
                   SELECT b.region FROM builds b JOIN runs r ON r.id = b.run_id WHERE r.account = $1
                   UNION ALL
                   SELECT step ->> 'region' FROM builds b JOIN runs r ON r.id = b.run_id,
                       jsonb_path_query(b.plan, '$.waves[*][*].kind') AS step
                   WHERE r.account = $1 AND step ? 'region'
               ) AS used"#,
            account
        )
        .fetch_all(&self.pool)
        .await?)
    }

    /// Builds that are over and due to be searched once more, longest due first.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn due_searches(&self, limit: i64) -> Result<Vec<DueSearch>> {
        Ok(sqlx::query_as!(
            DueSearch,
            r#"SELECT b.id AS build, b.run_id AS run, r.account, b.region, b.search_again_at AS "search_again_at!"
               FROM builds b JOIN runs r ON r.id = b.run_id
               WHERE b.search_again_at <= $1 AND b.state IN ('failed', 'cancelled', 'succeeded')
                 AND b.cleanup IN ('none', 'done')
               ORDER BY b.search_again_at
               LIMIT $2"#,
            self.now(),
            limit
        )
        .fetch_all(&self.pool)
        .await?)
    }

    /// Says that a due search was made. One that became due anew in the meantime stays.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn clear_search(&self, done: &DueSearch) -> Result<()> {
        sqlx::query!(
            "UPDATE builds SET search_again_at = NULL WHERE id = $1 AND search_again_at = $2",
            done.build.0,
            done.search_again_at
        )
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Deletes the secrets whose time is over; says how many.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn purge_secrets(&self) -> Result<u64> {
        let done = sqlx::query!(
            // What is still to be undone may need them.
            "DELETE FROM build_secrets s
             WHERE s.delete_after <= $1
               AND NOT EXISTS (SELECT 1 FROM builds b
                               WHERE b.id = s.build_id AND b.state = 'failed'
                                 AND b.cleanup IN ('kept', 'pending', 'stuck'))",
            self.now()
        )
        .execute(&self.pool)
        .await?;
        Ok(done.rows_affected())
    }
}
