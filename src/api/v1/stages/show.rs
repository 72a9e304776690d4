//! `GET /v1/stages/{stage}`.

use std::collections::HashMap;

use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::Response;

use super::view::StagePointer;
use crate::api::pagination::{List, Listing};
use crate::api::principal::Viewer;
use crate::api::problem::{ApiResult, Problem};
use crate::api::query::Query;
use crate::api::{ApiState, etag};
use crate::store::stages::PointerRow;

/// List what a stage holds, the newest promotion first
#[utoipa::path(
    get,
    path = "/v1/stages/{stage}",
    tag = "stages",
    params(
        ("stage" = String, Path, description = "The stage"),
        ("family" = Option<String>, Query, description = "Only this family"),
        ("limit" = Option<i64>, Query, description = "1 to 500; 50 when left out"),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before"),
    ),
    responses(
        (status = 200, description = "A page of what it holds", body = List<StagePointer>),
        (status = 304, description = "Nothing has changed"),
        (status = 422, description = "No such stage", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn show_stage(
    State(state): State<ApiState>,
    _: Viewer,
    Path(name): Path<String>,
    headers: HeaderMap,
    mut query: Query,
) -> ApiResult<Response> {
    state.stage_order.position(&name)?;
    let listing = Listing::new(&mut query, &format!("stages/{name}"))?;
    let family = query.one("family")?;
    query.finish()?;
    let pointers = state.store.stage_pointers(&name, family.as_deref(), &listing.page).await?;
    let ids: Vec<_> = pointers.iter().map(|pointer| pointer.image_id).collect();
    let images: HashMap<_, _> =
        state.store.images_by_id(&ids).await?.into_iter().map(|image| (image.id, image)).collect();
    let list = listing.finish(
        pointers,
        |pointer: &PointerRow| (pointer.since, pointer.image_id.0),
        |pointer| {
            let image = images.get(&pointer.image_id);
            image.map(|image| StagePointer::of(pointer, image))
        },
    );
    // Images are never deleted, so each pointer has one.
    let list = List { items: list.items.into_iter().flatten().collect::<Vec<_>>(), next_cursor: list.next_cursor };
    etag::respond(&headers, &list)
}
