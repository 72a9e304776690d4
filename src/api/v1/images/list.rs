//! `GET /v1/images`.

use axum::Json;
use axum::extract::State;

use super::view::Image;
use crate::api::ApiState;
use crate::api::pagination::{List, Listing};
use crate::api::principal::Viewer;
use crate::api::problem::ApiResult;
use crate::api::query::Query;
use crate::store::images::ImageFilter;

/// List images, newest first
///
/// What is asked of copies (account, region, architecture, AMI) must be true of one copy.
#[utoipa::path(
    get,
    path = "/v1/images",
    tag = "images",
    params(
        ("limit" = Option<i64>, Query, description = "1 to 500; 50 when left out"),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before"),
        ("family" = Option<String>, Query, description = "Images of this family"),
        ("number" = Option<i64>, Query, description = "Images of this number, of which each family has one"),
        ("stage" = Option<String>, Query, description = "Images that this stage holds now"),
        ("state" = Option<String>, Query, description = "`building`, `built` or `incomplete`"),
        ("account" = Option<String>, Query, description = "Images with a copy in this account"),
        ("region" = Option<String>, Query, description = "Images with a copy in this region"),
        ("arch" = Option<String>, Query, description = "Images with a copy of this architecture"),
        ("ami_id" = Option<String>, Query, description = "The image of this AMI"),
        ("sha" = Option<String>, Query, description = "Images of this commit"),
        ("tag.KEY" = Option<String>, Query, description = "Images with this tag"),
        ("created_after" = Option<String>, Query, description = "RFC 3339"),
        ("created_before" = Option<String>, Query, description = "RFC 3339"),
    ),
    responses((status = 200, description = "A page of images", body = List<Image>))
)]
pub async fn list_images(State(state): State<ApiState>, _: Viewer, mut query: Query) -> ApiResult<Json<List<Image>>> {
    let listing = Listing::new(&mut query, "images")?;
    let filter = ImageFilter {
        family: query.one("family")?,
        number: query.parsed("number")?,
        state: query.parsed("state")?,
        stage: query.one("stage")?,
        region: query.one("region")?,
        account: query.one("account")?,
        arch: query.one("arch")?,
        ami_id: query.one("ami_id")?,
        sha: query.one("sha")?,
        tags: query.prefixed("tag."),
        created_after: query.time("created_after")?,
        created_before: query.time("created_before")?,
    };
    if let Some(stage) = &filter.stage {
        state.stage_order.position(stage)?;
    }
    query.finish()?;
    let images = state.store.images(&listing.page, &filter).await?;
    Ok(Json(listing.finish(
        images,
        |image| (image.created_at, image.id.0),
        |image| Image::of(image, &state.stage_order),
    )))
}
