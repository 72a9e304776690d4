//! An image as the API shows it.

use chrono::{DateTime, Utc};
use indexmap::IndexMap;
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::domain::stage::StageOrder;
use crate::store::images::{CopyRow, ImageRow, StageTags, StobRow};

/// The registry's entry for what one run made.
#[derive(Debug, Serialize, ToSchema)]
pub struct Image {
    pub id: Uuid,
    pub family: String,
    pub number: i64,
    /// `building`, `built` or `incomplete`.
    pub state: &'static str,
    /// The highest stage that points here; null before.
    #[schema(required)]
    pub stage: Option<String>,
    /// All stages that point here, in order.
    pub stages: Vec<String>,
    /// Its AMIs do not carry `stage` as the tag `ingot:stage` yet.
    pub tags_pending: bool,
    /// Why not, after a try that failed.
    #[schema(required)]
    pub tags_error: Option<String>,
    pub stob: Stob,
    /// The AMI it was made from; null until a build has committed.
    #[schema(required)]
    pub source_image: Option<SourceImage>,
    pub copies: Vec<ImageCopy>,
    /// Tags of its AMIs; where builds differ, of the one that was done last. Each copy has its own.
    #[schema(value_type = Object)]
    pub tags: IndexMap<String, String>,
    pub run_id: Uuid,
    pub created_at: DateTime<Utc>,
}

/// The four facts every image carries.
#[derive(Debug, Serialize, ToSchema)]
pub struct Stob {
    /// Git SHA of the template's source, or `unknown`.
    pub sha: String,
    pub time: DateTime<Utc>,
    /// Null until a build has committed.
    #[schema(required)]
    pub os: Option<String>,
    pub builder: String,
}

/// The AMI that an image was made from.
#[derive(Debug, Serialize, ToSchema)]
pub struct SourceImage {
    pub ami_id: String,
    pub name: String,
    pub owner_id: String,
    pub region: String,
    pub creation_date: String,
}

/// One AMI of an image.
#[derive(Debug, Serialize, ToSchema)]
pub struct ImageCopy {
    /// The build's name.
    pub build: String,
    pub build_id: Uuid,
    /// `linux` or `windows`.
    pub platform: String,
    /// `x86_64` or `arm64`.
    pub arch: String,
    pub account: String,
    pub region: String,
    pub ami_id: String,
    pub snapshot_ids: Vec<String>,
    /// `available` or `deregistered`.
    pub state: String,
    /// Of this AMI: the builds of an image may have tags of their own.
    #[schema(value_type = Object)]
    pub tags: IndexMap<String, String>,
}

impl Image {
    #[must_use]
    pub fn of(row: ImageRow, order: &StageOrder) -> Self {
        let stages = order.sort(&row.stages);
        let (tags_pending, tags_error) = match row.stage_tags {
            StageTags::Written => (false, None),
            StageTags::Pending(error) => (true, error),
        };
        Self {
            id: row.id.0,
            family: row.family,
            number: row.number,
            state: row.state.as_str(),
            stage: stages.last().cloned(),
            stages,
            tags_pending,
            tags_error,
            stob: Stob::of(row.stob),
            source_image: row.source_image.map(SourceImage::of),
            copies: row.copies.into_iter().map(ImageCopy::of).collect(),
            tags: row.tags,
            run_id: row.run_id.0,
            created_at: row.created_at,
        }
    }
}

impl Stob {
    #[must_use]
    pub fn of(stob: StobRow) -> Self {
        Self { sha: stob.sha, time: stob.time, os: stob.os, builder: stob.builder }
    }
}

impl SourceImage {
    #[must_use]
    pub fn of(source: crate::domain::image::SourceImage) -> Self {
        Self {
            ami_id: source.ami_id,
            name: source.name,
            owner_id: source.owner_id,
            region: source.region,
            creation_date: source.creation_date,
        }
    }
}

impl ImageCopy {
    #[must_use]
    pub fn of(copy: CopyRow) -> Self {
        Self {
            build: copy.build,
            build_id: copy.build_id.0,
            platform: copy.platform,
            arch: copy.arch,
            account: copy.account,
            region: copy.region,
            ami_id: copy.ami_id,
            snapshot_ids: copy.snapshot_ids,
            state: copy.state,
            tags: copy.tags,
        }
    }
}
