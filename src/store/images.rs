//! The registry's images.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use indexmap::IndexMap;
use serde_json::Value;
use sqlx::{PgConnection, Postgres, QueryBuilder};
use uuid::Uuid;

use super::templates::clip;
use super::text::{from_json, parse};
use super::{Page, Store, tag_sync};
use crate::domain::error::{Error, Result};
use crate::domain::ids::{BuildId, ImageId, RunId};
use crate::domain::image::{ImageState, SourceImage};

/// An image.
#[derive(Debug, Clone, PartialEq)]
pub struct ImageRow {
    pub id: ImageId,
    pub family: String,
    pub number: i64,
    pub state: ImageState,
    pub stob: StobRow,
    /// `None` until a build has committed.
    pub source_image: Option<SourceImage>,
    pub copies: Vec<CopyRow>,
    /// Of its AMIs, by key; where the builds of an image differ, the one that was done last. Each copy has its own.
    pub tags: IndexMap<String, String>,
    pub run_id: RunId,
    /// Stages that hold it, in no order.
    pub stages: Vec<String>,
    pub stage_tags: StageTags,
    pub created_at: DateTime<Utc>,
}

/// Whether its AMIs carry the image's stage as a tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StageTags {
    Written,
    /// Not yet; with what went wrong at the last try.
    Pending(Option<String>),
}

impl StageTags {
    #[must_use]
    pub fn pending(&self) -> bool {
        matches!(self, Self::Pending(_))
    }
}

/// The four facts every image carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StobRow {
    pub sha: String,
    pub time: DateTime<Utc>,
    /// `None` until a build has committed.
    pub os: Option<String>,
    pub builder: String,
}

/// One AMI of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopyRow {
    /// The build's name.
    pub build: String,
    pub build_id: BuildId,
    pub platform: String,
    pub arch: String,
    pub account: String,
    pub region: String,
    pub ami_id: String,
    pub snapshot_ids: Vec<String>,
    /// `available` or `deregistered`.
    pub state: String,
    /// Of this AMI.
    pub tags: IndexMap<String, String>,
}

/// Something that happened to an image.
#[derive(Debug, Clone, PartialEq)]
pub struct ImageEventRow {
    pub id: i64,
    pub at: DateTime<Utc>,
    /// `building`, `built`, `incomplete`, `promoted`, `replaced`, `demoted`, `rolled_back`, `restored`.
    pub event: String,
    pub principal: String,
    pub data: Value,
}

impl ImageEventRow {
    /// Its place in a list.
    #[must_use]
    pub fn place(&self) -> (DateTime<Utc>, Uuid) {
        (self.at, Uuid::from_u128(u128::from(self.id.unsigned_abs())))
    }
}

/// Which images to list; what is `None` or empty does not matter. What is asked of copies must be true of one copy.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ImageFilter {
    pub family: Option<String>,
    pub number: Option<i64>,
    pub state: Option<ImageState>,
    /// Held by this stage now.
    pub stage: Option<String>,
    pub region: Option<String>,
    pub account: Option<String>,
    pub arch: Option<String>,
    pub ami_id: Option<String>,
    pub sha: Option<String>,
    /// All of them.
    pub tags: Vec<(String, String)>,
    pub created_after: Option<DateTime<Utc>>,
    pub created_before: Option<DateTime<Utc>>,
}

impl Store {
    /// An image by its id or by the id of one of its AMIs.
    ///
    /// # Errors
    /// `image-not-found`, or the database is away.
    pub async fn image(&self, id_or_ami: &str) -> Result<ImageRow> {
        let id: Option<Uuid> = id_or_ami.parse().ok();
        let ami_id = id.is_none().then(|| id_or_ami.to_owned());
        let ids = id.as_ref().map(std::slice::from_ref);
        let found = self.select_images(ids, &Page::first(1), &ImageFilter { ami_id, ..ImageFilter::default() }).await?;
        found
            .into_iter()
            .next()
            .ok_or_else(|| Error::not_found("image-not-found", format!("There is no image {:?}.", clip(id_or_ami))))
    }

    /// What happened to an image, newest first.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn image_events(&self, image: ImageId, page: &Page) -> Result<Vec<ImageEventRow>> {
        // Events are numbered; the number travels in the cursor as if it were a UUID.
        let before = page.before.map(|(_, id)| i64::try_from(id.as_u128()).unwrap_or(i64::MAX));
        Ok(sqlx::query_as!(
            ImageEventRow,
            "SELECT id, at, event, principal, data FROM image_events
             WHERE image_id = $1 AND ($2::bigint IS NULL OR id < $2)
             ORDER BY id DESC
             LIMIT $3",
            image.0,
            before,
            page.limit
        )
        .fetch_all(&self.pool)
        .await?)
    }

    /// Images by their ids, in no order; those that are not there are left out.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn images_by_id(&self, ids: &[ImageId]) -> Result<Vec<ImageRow>> {
        let ids: Vec<Uuid> = ids.iter().map(|id| id.0).collect();
        let page = Page::first(i64::try_from(ids.len()).unwrap_or(i64::MAX));
        self.select_images(Some(&ids), &page, &ImageFilter::default()).await
    }

    /// Images, newest first.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn images(&self, page: &Page, filter: &ImageFilter) -> Result<Vec<ImageRow>> {
        self.select_images(None, page, filter).await
    }

    async fn select_images(&self, ids: Option<&[Uuid]>, page: &Page, filter: &ImageFilter) -> Result<Vec<ImageRow>> {
        // One connection, waited for once, and one instant.
        let mut tx = self.snapshot().await?;
        let records: Vec<Record> = select(ids, page, filter).build_query_as().fetch_all(&mut *tx).await?;
        let ids: Vec<Uuid> = records.iter().map(|record| record.id).collect();
        let mut pending = tag_sync::pending(&mut tx, &ids).await?;
        let mut tags = tags_by_image(&mut tx, &ids).await?;
        let mut copies = copies_by_image(&mut tx, &ids, &tags).await?;
        drop(tx);
        records
            .into_iter()
            .map(|record| {
                Ok(ImageRow {
                    id: ImageId(record.id),
                    family: record.family,
                    number: record.number,
                    state: parse("image state", &record.state)?,
                    stob: StobRow { sha: record.sha, time: record.built_at, os: record.os, builder: record.builder },
                    source_image: read_source(record.source_image)?,
                    copies: copies.remove(&record.id).unwrap_or_default(),
                    tags: tags.remove(&record.id).unwrap_or_default(),
                    run_id: RunId(record.run_id),
                    stages: record.stages,
                    stage_tags: pending.remove(&record.id).map_or(StageTags::Written, StageTags::Pending),
                    created_at: record.created_at,
                })
            })
            .collect()
    }
}

async fn copies_by_image(
    connection: &mut PgConnection,
    images: &[Uuid],
    tags_of_images: &HashMap<Uuid, IndexMap<String, String>>,
) -> Result<HashMap<Uuid, Vec<CopyRow>>> {
    let records = sqlx::query!(
        "SELECT c.image_id, b.name AS build, c.build_id, c.platform, c.arch, c.account, c.region, c.ami_id,
                c.snapshot_ids, c.state
         FROM image_copies c JOIN builds b ON b.id = c.build_id
         WHERE c.image_id = ANY($1)
         ORDER BY c.image_id, b.position, c.region <> b.region, c.region",
        images
    )
    .fetch_all(&mut *connection)
    .await?;
    let tags = tags_by_build(connection, images).await?;
    let mut by_image: HashMap<Uuid, Vec<CopyRow>> = HashMap::new();
    for record in records {
        by_image.entry(record.image_id).or_default().push(CopyRow {
            build: record.build,
            build_id: BuildId(record.build_id),
            platform: record.platform,
            arch: record.arch,
            account: record.account,
            region: record.region,
            ami_id: record.ami_id,
            snapshot_ids: record.snapshot_ids,
            state: record.state,
            // A server of the version before writes the image's tags only.
            tags: tags
                .get(&record.build_id)
                .or_else(|| tags_of_images.get(&record.image_id))
                .cloned()
                .unwrap_or_default(),
        });
    }
    Ok(by_image)
}

async fn tags_by_build(
    connection: &mut PgConnection,
    images: &[Uuid],
) -> Result<HashMap<Uuid, IndexMap<String, String>>> {
    let records = sqlx::query!(
        "SELECT build_id, key, value FROM build_tags WHERE image_id = ANY($1) ORDER BY build_id, key",
        images
    )
    .fetch_all(connection)
    .await?;
    let mut by_build: HashMap<Uuid, IndexMap<String, String>> = HashMap::new();
    for record in records {
        by_build.entry(record.build_id).or_default().insert(record.key, record.value);
    }
    Ok(by_build)
}

async fn tags_by_image(
    connection: &mut PgConnection,
    images: &[Uuid],
) -> Result<HashMap<Uuid, IndexMap<String, String>>> {
    let records = sqlx::query!(
        "SELECT image_id, key, value FROM image_tags WHERE image_id = ANY($1) ORDER BY image_id, key",
        images
    )
    .fetch_all(connection)
    .await?;
    let mut by_image: HashMap<Uuid, IndexMap<String, String>> = HashMap::new();
    for record in records {
        by_image.entry(record.image_id).or_default().insert(record.key, record.value);
    }
    Ok(by_image)
}

#[derive(sqlx::FromRow)]
struct Record {
    id: Uuid,
    family: String,
    number: i64,
    state: String,
    sha: String,
    built_at: DateTime<Utc>,
    os: Option<String>,
    builder: String,
    source_image: Option<Value>,
    created_at: DateTime<Utc>,
    run_id: Uuid,
    stages: Vec<String>,
}

/// The query of just those conditions that are asked for. A fixed text with `$1 IS NULL OR …` for each can't be planned well:
/// `PostgreSQL` makes no join of an EXISTS that stands below an OR, and then looks at a million images, one by one.
fn select(ids: Option<&[Uuid]>, page: &Page, filter: &ImageFilter) -> QueryBuilder<Postgres> {
    let mut query = QueryBuilder::new(
        "SELECT i.id, i.family, i.number, i.state, i.sha, i.built_at, i.os, i.builder, i.source_image, i.created_at,
                r.id AS run_id, ARRAY(SELECT p.stage FROM stage_pointers p WHERE p.image_id = i.id) AS stages
         FROM images i JOIN runs r ON r.image_id = i.id
         WHERE true",
    );
    if let Some(ids) = ids {
        query.push(" AND i.id = ANY(").push_bind(ids.to_vec()).push(")");
    }
    let state = filter.state.map(|state| state.as_str().to_owned());
    for (column, value) in [("family", &filter.family), ("sha", &filter.sha), ("state", &state)] {
        if let Some(value) = value {
            query.push(" AND i.").push(column).push(" = ").push_bind(value.clone());
        }
    }
    if let Some(number) = filter.number {
        query.push(" AND i.number = ").push_bind(number);
    }
    if let Some(after) = filter.created_after {
        query.push(" AND i.created_at > ").push_bind(after);
    }
    if let Some(before) = filter.created_before {
        query.push(" AND i.created_at < ").push_bind(before);
    }
    let of_copies =
        [("ami_id", &filter.ami_id), ("region", &filter.region), ("account", &filter.account), ("arch", &filter.arch)];
    // All that is asked of copies, tags included, has to be true of one of them.
    if !filter.tags.is_empty() || of_copies.iter().any(|(_, value)| value.is_some()) {
        query.push(" AND EXISTS (SELECT 1 FROM image_copies c");
        for (index, (key, value)) in filter.tags.iter().enumerate() {
            query.push(format!(" JOIN build_tags t{index} ON t{index}.build_id = c.build_id"));
            query.push(format!(" AND t{index}.image_id = c.image_id AND t{index}.key = ")).push_bind(key.clone());
            query.push(format!(" AND t{index}.value = ")).push_bind(value.clone());
        }
        query.push(" WHERE c.image_id = i.id");
        for (column, value) in of_copies {
            if let Some(value) = value {
                query.push(" AND c.").push(column).push(" = ").push_bind(value.clone());
            }
        }
        query.push(")");
    }
    if let Some(stage) = &filter.stage {
        query.push(" AND EXISTS (SELECT 1 FROM stage_pointers p WHERE p.image_id = i.id AND p.stage = ");
        query.push_bind(stage.clone()).push(")");
    }
    if let Some((at, id)) = page.before {
        query.push(" AND (i.created_at, i.id) < (").push_bind(at).push(", ").push_bind(id).push(")");
    }
    query.push(" ORDER BY i.created_at DESC, i.id DESC LIMIT ").push_bind(page.limit);
    query
}

fn read_source(source: Option<Value>) -> Result<Option<SourceImage>> {
    source.map(|source| from_json("source image", source)).transpose()
}
