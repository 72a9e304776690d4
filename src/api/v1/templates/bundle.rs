//! `GET /v1/templates/{name}/versions/{version}/bundle`.

use axum::extract::{Path, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use flate2::Compression;
use flate2::write::GzEncoder;

use super::version::find;
use crate::api::ApiState;
use crate::api::principal::Viewer;
use crate::api::problem::{ApiResult, Problem};
use crate::domain::bundle::Bundle;
use crate::domain::error::Error;

/// Fetch the files of one version, as tar.gz
#[utoipa::path(
    get,
    path = "/v1/templates/{name}/versions/{version}/bundle",
    tag = "templates",
    params(
        ("name" = String, Path, description = "The template's name or id"),
        ("version" = i32, Path, description = "From 1"),
    ),
    responses(
        (status = 200, description = "The bundle", body = String, content_type = "application/gzip"),
        (status = 404, description = "No such template or version", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn get_template_bundle(
    State(state): State<ApiState>,
    _: Viewer,
    Path((name, version)): Path<(String, String)>,
) -> ApiResult<Response> {
    let version = find(&state, &name, &version).await?;
    let bundle = state.store.bundle(version.id).await?;
    let packed = tokio::task::spawn_blocking(move || pack(&bundle)).await;
    let bytes = packed
        .map_err(|error| Error::internal(format!("packing ended: {error}")))?
        .map_err(|error| Error::internal(format!("packing failed: {error}")))?;
    let disposition = format!("attachment; filename=\"{}-{}.tar.gz\"", version.template_name, version.version);
    let headers = [(header::CONTENT_TYPE, "application/gzip".to_owned()), (header::CONTENT_DISPOSITION, disposition)];
    Ok((headers, bytes).into_response())
}

/// Without times and owners: the same files give the same bytes.
fn pack(bundle: &Bundle) -> std::io::Result<Vec<u8>> {
    let mut archive = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::default()));
    for (path, file) in bundle.iter() {
        let mut header = tar::Header::new_gnu();
        header.set_size(file.bytes.len() as u64);
        header.set_mode(if file.executable { 0o755 } else { 0o644 });
        header.set_mtime(0);
        archive.append_data(&mut header, path, file.bytes.as_slice())?;
    }
    archive.into_inner()?.finish()
}
