//! A POST's body in its five forms: a JSON request, one raw template (HCL2 or Packer JSON), a tar.gz bundle, or the files
//! of a form. Bodies are read under the configured limits, and nothing decompresses them but `unpack`.

pub mod given;
pub mod json;
mod multipart;
pub mod unpack;

use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::{HeaderMap, header};
use futures::StreamExt as _;

use super::Limits;
use super::query::Query;
use crate::domain::bundle::Bundle;
use crate::domain::error::{Error, ErrorKind, Result};

/// The path that a raw HCL2 template gets in its bundle.
pub const HCL_PATH: &str = "template.pkr.hcl";
/// The path that a raw Packer JSON template gets in its bundle.
pub const JSON_PATH: &str = "template.json";

const TAKEN: &str =
    "application/json, application/hcl, application/vnd.packer.template+json, application/gzip, multipart/form-data";

/// What was sent.
#[derive(Debug)]
pub enum Form {
    /// A request object.
    Json(Bytes),
    /// A template by itself; the rest of the request is in the query.
    Bundle(Bundle),
    /// A form with a part named `request` (the request object) beside the files.
    Described { request: Bytes, bundle: Bundle },
}

impl Form {
    /// What makes two bodies the same: the boundaries of a form and a tar's time stamps don't.
    #[must_use]
    pub fn identity(&self) -> Vec<u8> {
        match self {
            Self::Json(bytes) => bytes.to_vec(),
            Self::Bundle(bundle) => bundle.content_hash().0.into_bytes(),
            Self::Described { request, bundle } => [bundle.content_hash().0.as_bytes(), request].concat(),
        }
    }
}

/// Reads a body that holds a template or a request for one.
///
/// # Errors
/// `media-type-unsupported`, `body-too-large`, `bundle-…`, `form-invalid`.
pub async fn read(request: Request, limits: &Limits) -> Result<Form> {
    let content_type = content_type(request.headers())?;
    let media_type = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match media_type.as_str() {
        "application/json" => collect(request, limits.max_bundle_bytes).await.map(|bytes| Form::Json(bytes.into())),
        "application/hcl" => single(HCL_PATH, collect(request, limits.max_bundle_bytes).await?),
        "application/vnd.packer.template+json" => single(JSON_PATH, collect(request, limits.max_bundle_bytes).await?),
        "application/gzip" | "application/x-gzip" => {
            let bytes = collect(request, limits.max_bundle_bytes).await?;
            unpack_aside(bytes, limits).await.map(Form::Bundle)
        }
        "multipart/form-data" => multipart::read(request, limits).await,
        _ => Err(unsupported(&format!("{media_type:?} is not a form this takes"))),
    }
}

/// Unpacks a tar.gz without holding up other requests.
async fn unpack_aside(bytes: Vec<u8>, limits: &Limits) -> Result<Bundle> {
    let limits = *limits;
    let unpacked = tokio::task::spawn_blocking(move || unpack::tar_gz(&bytes, &limits)).await;
    unpacked.map_err(|error| Error::internal(format!("unpacking ended: {error}")))?
}

/// Reads a body that must be JSON, of a request without a query: what is asked for there must not be passed over.
///
/// # Errors
/// `query-invalid`, `media-type-unsupported`, `body-too-large`.
pub async fn read_json(request: Request, limits: &Limits) -> Result<Bytes> {
    Query::of(request.uri())?.finish()?;
    let media_type = content_type(request.headers())?;
    if !media_type.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/json") {
        let public = format!("This takes application/json, not {media_type:?}.");
        return Err(Error::new(ErrorKind::UnsupportedMediaType, "media-type-unsupported", public));
    }
    collect(request, limits.max_bundle_bytes).await.map(Bytes::from)
}

/// Reads a body that may be left out, and must be JSON when it is there, of a request without a query.
///
/// # Errors
/// As [`read_json`].
pub async fn read_json_or_nothing(request: Request, limits: &Limits) -> Result<Bytes> {
    Query::of(request.uri())?.finish()?;
    if !request.headers().contains_key(header::CONTENT_TYPE) {
        let bytes = collect(request, limits.max_bundle_bytes).await?;
        let nothing = bytes.is_empty();
        return if nothing {
            Ok(Bytes::from_static(b"{}"))
        } else {
            Err(unsupported("The Content-Type header is missing"))
        };
    }
    let bytes = read_json(request, limits).await?;
    Ok(if bytes.is_empty() { Bytes::from_static(b"{}") } else { bytes })
}

fn content_type(headers: &HeaderMap) -> Result<String> {
    match headers.get(header::CONTENT_TYPE).map(|value| value.to_str()) {
        Some(Ok(text)) => Ok(text.to_owned()),
        _ => Err(unsupported("The Content-Type header is missing or not readable")),
    }
}

fn unsupported(what: &str) -> Error {
    Error::new(ErrorKind::UnsupportedMediaType, "media-type-unsupported", format!("{what}. Taken are: {TAKEN}."))
}

fn single(path: &str, bytes: Vec<u8>) -> Result<Form> {
    if bytes.is_empty() {
        return Err(Error::bad_request("body-empty", "The body is empty; it should be the template's text."));
    }
    let bundle = Bundle::single(path, bytes).map_err(|error| Error::internal(error.to_string()))?;
    Ok(Form::Bundle(bundle))
}

fn too_large(limit: usize) -> Error {
    let public = format!("The request is larger than this server takes ({limit} bytes).");
    Error::new(ErrorKind::TooLarge, "body-too-large", public)
}

/// Reads a body to its end, and no further than the limit.
async fn collect(request: Request, limit: usize) -> Result<Vec<u8>> {
    let declared =
        request.headers().get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    if declared.is_some_and(|length| length > limit) {
        return Err(too_large(limit));
    }
    collect_body(request.into_body(), limit).await
}

async fn collect_body(body: Body, limit: usize) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut chunks = body.into_data_stream();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|_| Error::bad_request("body-incomplete", "The body ended before its time."))?;
        if bytes.len() + chunk.len() > limit {
            return Err(too_large(limit));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}
