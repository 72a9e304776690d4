//! `GET /v1/images/{id}`.

use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::Response;

use super::view::Image;
use crate::api::principal::Viewer;
use crate::api::problem::{ApiResult, Problem};
use crate::api::{ApiState, etag};

/// Read an image
#[utoipa::path(
    get,
    path = "/v1/images/{id}",
    tag = "images",
    params(("id" = String, Path, description = "The image's id, or the id of one of its AMIs")),
    responses(
        (status = 200, description = "The image", body = Image),
        (status = 304, description = "Nothing has changed"),
        (status = 404, description = "No such image", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn get_image(
    State(state): State<ApiState>,
    _: Viewer,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> ApiResult<Response> {
    let image = state.store.image(&id).await?;
    etag::respond(&headers, &Image::of(image, &state.stage_order))
}
