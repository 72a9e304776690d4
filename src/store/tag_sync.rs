//! Which images' AMIs have to get their stage as a tag: tags follow the database, never lead it.

use std::collections::HashMap;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::Store;
use super::text::storable;
use crate::domain::error::Result;
use crate::domain::ids::ImageId;

/// How long a server that took an image keeps the others away.
pub const CLAIM: Duration = Duration::from_mins(2);
/// The first pause after a failure; it doubles up to the longest.
const FIRST_PAUSE: TimeDelta = TimeDelta::seconds(5);
const LONGEST_PAUSE: TimeDelta = TimeDelta::minutes(10);

/// An image to be tagged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TagWork {
    pub image: ImageId,
    /// Stages that hold it now.
    pub stages: Vec<String>,
    /// Its AMIs that are still there.
    pub amis: Vec<Ami>,
    wanted: i64,
    tries: i32,
    /// Says whose claim it is.
    claimed_until: DateTime<Utc>,
}

/// Where an AMI is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ami {
    pub account: String,
    pub region: String,
    pub id: String,
}

impl Store {
    /// Takes an image whose tags are due.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn claim_tag_work(&self) -> Result<Option<TagWork>> {
        let now = self.now();
        let claimed = sqlx::query!(
            r#"UPDATE image_tag_sync SET claimed_until = $2
             WHERE image_id = (SELECT image_id FROM image_tag_sync
                               WHERE next_try_at <= $1 AND (claimed_until IS NULL OR claimed_until <= $1)
                               ORDER BY next_try_at LIMIT 1 FOR UPDATE SKIP LOCKED)
             RETURNING image_id, wanted, tries, claimed_until AS "claimed_until!""#,
            now,
            now + CLAIM
        )
        .fetch_optional(&self.pool)
        .await?;
        let Some(claimed) = claimed else { return Ok(None) };
        // Read after the claim, and not before: a change from here on makes `wanted` grow.
        let stages = sqlx::query_scalar!("SELECT stage FROM stage_pointers WHERE image_id = $1", claimed.image_id)
            .fetch_all(&self.pool)
            .await?;
        let amis = sqlx::query_as!(
            Ami,
            "SELECT account, region, ami_id AS id FROM image_copies
             WHERE image_id = $1 AND state = 'available' ORDER BY account, region, ami_id",
            claimed.image_id
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(Some(TagWork {
            image: ImageId(claimed.image_id),
            stages,
            amis,
            wanted: claimed.wanted,
            tries: claimed.tries,
            claimed_until: claimed.claimed_until,
        }))
    }

    /// All AMIs of an image carry their tag. What changed meanwhile is due at once. A server whose claim has run out says
    /// nothing any more.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn finish_tag_work(&self, work: &TagWork) -> Result<()> {
        let mut tx = self.begin().await?;
        let done = sqlx::query!(
            "DELETE FROM image_tag_sync WHERE image_id = $1 AND wanted = $2 AND claimed_until = $3",
            work.image.0,
            work.wanted,
            work.claimed_until
        )
        .execute(&mut *tx)
        .await?;
        if done.rows_affected() == 0 {
            sqlx::query!(
                "UPDATE image_tag_sync SET claimed_until = NULL WHERE image_id = $1 AND claimed_until = $2",
                work.image.0,
                work.claimed_until
            )
            .execute(&mut *tx)
            .await?;
        }
        tx.commit().await?;
        Ok(())
    }

    /// It did not work; it is tried again after a pause that grows.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn postpone_tag_work(&self, work: &TagWork, why: &str) -> Result<()> {
        let doublings = u32::try_from(work.tries.clamp(0, 10)).unwrap_or(0);
        let pause = (FIRST_PAUSE * 2_i32.pow(doublings)).min(LONGEST_PAUSE);
        sqlx::query!(
            "UPDATE image_tag_sync
             SET claimed_until = NULL, tries = tries + 1, last_error = $2,
                 next_try_at = CASE WHEN wanted = $3 THEN $4 ELSE next_try_at END
             WHERE image_id = $1 AND claimed_until = $5",
            work.image.0,
            &*storable(why),
            work.wanted,
            self.now() + pause,
            work.claimed_until
        )
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// How many images wait for their tags.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn tag_work_pending(&self) -> Result<i64> {
        Ok(sqlx::query_scalar!(r#"SELECT count(*) AS "count!" FROM image_tag_sync"#).fetch_one(&self.pool).await?)
    }
}

/// Images that wait for their tags, with the error of the last try.
pub(super) type Pending = HashMap<Uuid, Option<String>>;

/// Which of these images wait for their tags, with the error of the last try.
pub(super) async fn pending(connection: &mut PgConnection, images: &[Uuid]) -> Result<Pending> {
    let rows = sqlx::query!("SELECT image_id, last_error FROM image_tag_sync WHERE image_id = ANY($1)", images)
        .fetch_all(connection)
        .await?;
    Ok(rows.into_iter().map(|row| (row.image_id, row.last_error)).collect())
}
