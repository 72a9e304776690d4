//! What the stages hold, and what they held: reading. `stage_moves` changes it.

use chrono::{DateTime, Utc};
use sha2::{Digest as _, Sha256};
use sqlx::PgConnection;
use uuid::Uuid;

use super::text::parse;
use super::{Page, Store};
use crate::domain::error::Result;
use crate::domain::ids::ImageId;
use crate::domain::stage::StageAction;

/// A stage with a summary of what it holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StageSummary {
    pub stage: String,
    /// Families that have an image there.
    pub families: i64,
    pub newest_change_at: Option<DateTime<Utc>>,
}

/// What a stage holds of one family.
#[derive(Debug, Clone, PartialEq)]
pub struct PointerRow {
    pub stage: String,
    pub generation: i64,
    pub since: DateTime<Utc>,
    pub principal: String,
    pub comment: Option<String>,
    pub image_id: ImageId,
}

/// An image in the words of a history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageBrief {
    pub id: ImageId,
    pub family: String,
    pub number: i64,
    pub ami_ids: Vec<String>,
}

/// One change of a pointer.
#[derive(Debug, Clone, PartialEq)]
pub struct StageChange {
    pub action: StageAction,
    pub family: String,
    pub stage: String,
    pub generation: i64,
    /// What the stage holds from then on.
    pub image: Option<ImageBrief>,
    pub previous_image: Option<ImageBrief>,
    pub principal: String,
    pub comment: Option<String>,
    pub at: DateTime<Utc>,
    /// The AMIs of one of the two images do not carry their stage as a tag yet.
    pub tags_pending: bool,
}

impl Store {
    /// All stages that hold or held something, in no order.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn stage_summaries(&self) -> Result<Vec<StageSummary>> {
        Ok(sqlx::query_as!(
            StageSummary,
            r#"SELECT stage, count(image_id) AS "families!", max(since) AS newest_change_at
               FROM stage_pointers GROUP BY stage"#
        )
        .fetch_all(&self.pool)
        .await?)
    }

    /// What a stage holds, the newest promotion first.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn stage_pointers(&self, stage: &str, family: Option<&str>, page: &Page) -> Result<Vec<PointerRow>> {
        let records = sqlx::query!(
            r#"SELECT p.stage, p.generation, p.since, h.principal, h.comment, p.image_id AS "image_id!"
               FROM stage_pointers p
               JOIN stage_history h ON h.family = p.family AND h.stage = p.stage AND h.generation = p.generation
               WHERE p.stage = $1 AND p.image_id IS NOT NULL
                 AND ($2::text IS NULL OR p.family = $2)
                 AND ($3::timestamptz IS NULL OR (p.since, p.image_id) < ($3, $4::uuid))
               ORDER BY p.since DESC, p.image_id DESC
               LIMIT $5"#,
            stage,
            family,
            page.before_at(),
            page.before_id(),
            page.limit
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(records
            .into_iter()
            .map(|record| PointerRow {
                stage: record.stage,
                generation: record.generation,
                since: record.since,
                principal: record.principal,
                comment: record.comment,
                image_id: ImageId(record.image_id),
            })
            .collect())
    }

    /// Changes of a stage, newest first.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn stage_history(&self, stage: &str, family: Option<&str>, page: &Page) -> Result<Vec<StageChange>> {
        let mut connection = self.pool.acquire().await?;
        select_changes(&mut connection, stage, family, None, page).await
    }
}

/// The place of a change in a list. It has no id of its own; its generation, and then its family's hash, stand in for one.
#[must_use]
pub fn place_of(change: &StageChange) -> (DateTime<Utc>, Uuid) {
    let mut place = [0; 16];
    place[..8].copy_from_slice(&change.generation.to_be_bytes());
    place[8..].copy_from_slice(&Sha256::digest(&change.family)[..8]);
    (change.at, Uuid::from_bytes(place))
}

pub(super) async fn one_change(
    connection: &mut PgConnection,
    family: &str,
    stage: &str,
    generation: i64,
) -> Result<Option<StageChange>> {
    let found = select_changes(connection, stage, Some(family), Some(generation), &Page::first(1)).await?;
    Ok(found.into_iter().next())
}

async fn select_changes(
    connection: &mut PgConnection,
    stage: &str,
    family: Option<&str>,
    generation: Option<i64>,
    page: &Page,
) -> Result<Vec<StageChange>> {
    let records = sqlx::query!(
        r#"SELECT h.action, h.family, h.stage, h.generation, h.principal, h.comment, h.at,
                  h.image_id, i.number AS "number?", h.previous_image_id, p.number AS "previous_number?",
                  ARRAY(SELECT c.ami_id FROM image_copies c WHERE c.image_id = h.image_id ORDER BY c.region) AS "amis!",
                  ARRAY(SELECT c.ami_id FROM image_copies c WHERE c.image_id = h.previous_image_id ORDER BY c.region)
                      AS "previous_amis!",
                  EXISTS (SELECT 1 FROM image_tag_sync s WHERE s.image_id IN (h.image_id, h.previous_image_id))
                      AS "tags_pending!"
           FROM stage_history h
           LEFT JOIN images i ON i.id = h.image_id
           LEFT JOIN images p ON p.id = h.previous_image_id
           CROSS JOIN LATERAL (
               SELECT (lpad(to_hex(h.generation), 16, '0')
                       || encode(substr(sha256(convert_to(h.family, 'UTF8')), 1, 8), 'hex'))::uuid AS id
           ) AS place
           WHERE h.stage = $1
             AND ($2::text IS NULL OR h.family = $2)
             AND ($3::bigint IS NULL OR h.generation = $3)
             AND ($4::timestamptz IS NULL OR (h.at, place.id) < ($4, $5::uuid))
           ORDER BY h.at DESC, place.id DESC
           LIMIT $6"#,
        stage,
        family,
        generation,
        page.before_at(),
        page.before_id(),
        page.limit
    )
    .fetch_all(connection)
    .await?;
    records
        .into_iter()
        .map(|record| {
            let family = record.family;
            let brief = |id: Option<Uuid>, number: Option<i64>, ami_ids: Vec<String>| {
                Some(ImageBrief { id: ImageId(id?), family: family.clone(), number: number?, ami_ids })
            };
            Ok(StageChange {
                action: parse("stage action", &record.action)?,
                image: brief(record.image_id, record.number, record.amis),
                previous_image: brief(record.previous_image_id, record.previous_number, record.previous_amis),
                family,
                stage: record.stage,
                generation: record.generation,
                principal: record.principal,
                comment: record.comment,
                at: record.at,
                tags_pending: record.tags_pending,
            })
        })
        .collect()
}
