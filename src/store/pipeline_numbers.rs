//! Counts of the whole installation, for metrics.

use chrono::{DateTime, Utc};

use super::Store;
use crate::domain::error::Result;

/// What waits and what is at work.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PipelineNumbers {
    /// Account, state and count of builds that are not over.
    pub builds: Vec<(String, String, i64)>,
    pub oldest_queued: Option<DateTime<Utc>>,
    pub stages: Vec<StageAges>,
}

/// When the images that a stage holds were made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StageAges {
    pub stage: String,
    pub newest: DateTime<Utc>,
    pub oldest: DateTime<Utc>,
}

impl Store {
    /// Reads the counts.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn pipeline_numbers(&self) -> Result<PipelineNumbers> {
        let builds = sqlx::query!(
            r#"SELECT r.account, b.state, count(*) AS "count!"
               FROM builds b JOIN runs r ON r.id = b.run_id
               -- The run's state by its index: builds have none for this.
               WHERE r.state IN ('queued', 'running', 'unwinding', 'stuck')
                 AND b.state IN ('queued', 'running', 'unwinding', 'stuck')
               GROUP BY r.account, b.state"#
        )
        .fetch_all(&self.pool)
        .await?;
        let oldest_queued = sqlx::query_scalar!("SELECT min(created_at) FROM builds WHERE state = 'queued'")
            .fetch_one(&self.pool)
            .await?;
        let stages = sqlx::query_as!(
            StageAges,
            r#"SELECT p.stage, max(i.created_at) AS "newest!", min(i.created_at) AS "oldest!"
               FROM stage_pointers p JOIN images i ON i.id = p.image_id
               GROUP BY p.stage"#
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(PipelineNumbers {
            builds: builds.into_iter().map(|row| (row.account, row.state, row.count)).collect(),
            oldest_queued,
            stages,
        })
    }
}
