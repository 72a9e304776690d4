//! Stages and their changes as the API shows them.

use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::store::images::ImageRow;
use crate::store::stages::{ImageBrief, PointerRow, StageChange};

/// A stage with a summary of what it holds.
#[derive(Debug, Serialize, ToSchema)]
pub struct Stage {
    pub name: String,
    /// From 0, in the configured order.
    pub position: usize,
    /// Families that have an image there.
    pub families: i64,
    #[schema(required)]
    pub newest_change_at: Option<DateTime<Utc>>,
}

/// What a stage holds of one family.
#[derive(Debug, Serialize, ToSchema)]
pub struct StagePointer {
    pub stage: String,
    pub family: String,
    /// Counts the changes of this family in this stage.
    pub generation: i64,
    pub since: DateTime<Utc>,
    pub principal: String,
    #[schema(required)]
    pub comment: Option<String>,
    pub image: StagedImage,
}

/// The image that a stage holds.
#[derive(Debug, Serialize, ToSchema)]
pub struct StagedImage {
    pub id: Uuid,
    pub family: String,
    pub number: i64,
    pub sha: String,
    #[schema(required)]
    pub os: Option<String>,
    pub created_at: DateTime<Utc>,
    pub tags_pending: bool,
    pub copies: Vec<StagedCopy>,
}

/// One of its AMIs.
#[derive(Debug, Serialize, ToSchema)]
pub struct StagedCopy {
    pub account: String,
    pub region: String,
    pub arch: String,
    pub ami_id: String,
}

/// A change of what a stage holds.
#[derive(Debug, Serialize, ToSchema)]
pub struct Promotion {
    /// `promote`, `demote` or `rollback`.
    pub action: &'static str,
    pub family: String,
    pub stage: String,
    pub generation: i64,
    /// What the stage holds from then on; null after a demotion.
    #[schema(required)]
    pub image: Option<PromotedImage>,
    /// What it held before.
    #[schema(required)]
    pub previous_image: Option<PromotedImage>,
    pub principal: String,
    #[schema(required)]
    pub comment: Option<String>,
    pub at: DateTime<Utc>,
    /// AMIs of these images do not carry their stage as a tag yet.
    pub tags_pending: bool,
}

/// An image in a change.
#[derive(Debug, Serialize, ToSchema)]
pub struct PromotedImage {
    pub id: Uuid,
    pub family: String,
    pub number: i64,
    pub ami_ids: Vec<String>,
}

impl StagePointer {
    #[must_use]
    pub fn of(pointer: PointerRow, image: &ImageRow) -> Self {
        let copies = image.copies.iter().filter(|copy| copy.state == "available").map(|copy| StagedCopy {
            account: copy.account.clone(),
            region: copy.region.clone(),
            arch: copy.arch.clone(),
            ami_id: copy.ami_id.clone(),
        });
        Self {
            stage: pointer.stage,
            family: image.family.clone(),
            generation: pointer.generation,
            since: pointer.since,
            principal: pointer.principal,
            comment: pointer.comment,
            image: StagedImage {
                id: image.id.0,
                family: image.family.clone(),
                number: image.number,
                sha: image.stob.sha.clone(),
                os: image.stob.os.clone(),
                created_at: image.created_at,
                tags_pending: image.stage_tags.pending(),
                copies: copies.collect(),
            },
        }
    }
}

impl Promotion {
    #[must_use]
    pub fn of(change: StageChange) -> Self {
        Self {
            action: change.action.as_str(),
            family: change.family,
            stage: change.stage,
            generation: change.generation,
            image: change.image.map(PromotedImage::of),
            previous_image: change.previous_image.map(PromotedImage::of),
            principal: change.principal,
            comment: change.comment,
            at: change.at,
            tags_pending: change.tags_pending,
        }
    }
}

impl PromotedImage {
    fn of(image: ImageBrief) -> Self {
        Self { id: image.id.0, family: image.family, number: image.number, ami_ids: image.ami_ids }
    }
}
