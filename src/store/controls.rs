//! What builds at work ask about themselves each second (cancelled? late? answered?), read for all of them at once: the
//! number of queries does not grow with the number of builds.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use sqlx::PgPool;
use uuid::Uuid;

use super::text::from_json;
use crate::domain::ids::BuildId;
use crate::domain::journal::{Control, JournalError};
use crate::gathering::Gathering;

/// While an answer is on its way the others wait, so it may not take longer. Whoever asked asks again.
const LIMIT: Duration = Duration::from_secs(10);

/// By build. One that can't be read is one build's trouble.
type Answer = Result<Arc<HashMap<Uuid, Result<Control, JournalError>>>, JournalError>;

/// Clones ask together.
#[derive(Clone)]
pub(super) struct Controls {
    pool: PgPool,
    gathering: Arc<Gathering<Uuid, Answer>>,
}

impl Controls {
    pub fn new(pool: PgPool) -> Self {
        // Without a pause: who is alone waits for nothing.
        Self { pool, gathering: Gathering::new(Duration::ZERO) }
    }

    /// What is asked of a build, as it is now.
    ///
    /// # Errors
    /// When the database is away, or the build is not in it.
    pub async fn of(&self, build: BuildId) -> Result<Control, JournalError> {
        let pool = self.pool.clone();
        let read = |builds: Vec<Uuid>| async move {
            let read = tokio::time::timeout(LIMIT, read(&pool, &builds)).await;
            read.unwrap_or_else(|_| Err(JournalError::Unavailable(format!("no answer within {} s", LIMIT.as_secs()))))
        };
        let found = self.gathering.ask(build.0, read).await?;
        let missing = || Err(JournalError::Inconsistent(format!("build {build} is not in the database")));
        found.get(&build.0).cloned().unwrap_or_else(missing)
    }
}

async fn read(pool: &PgPool, builds: &[Uuid]) -> Answer {
    let rows = sqlx::query!(
        r#"SELECT b.id, now() AS "now!", r.cancel_requested_at IS NOT NULL AS "cancel_requested!", b.deadline,
                  b.attempt < b.attempts_allowed AS "attempts_left!", r.options, b.resume,
                  (b.state = 'failed' AND b.cleanup = 'pending') AS "abandoned!"
           FROM builds b JOIN runs r ON r.id = b.run_id
           WHERE b.id = ANY($1)"#,
        builds
    )
    .fetch_all(pool)
    .await?;
    let mut found = HashMap::with_capacity(rows.len());
    for row in rows {
        let read = || -> Result<Control, JournalError> {
            Ok(Control {
                now: row.now,
                cancel_requested: row.cancel_requested,
                deadline: row.deadline,
                attempts_left: row.attempts_left,
                options: from_json("run options", row.options)?,
                resume: row.resume.map(|resume| from_json("answer to a hold", resume)).transpose()?,
                abandoned: row.abandoned,
            })
        };
        found.insert(row.id, read());
    }
    Ok(Arc::new(found))
}
