//! `ETag` and `If-None-Match` for what clients poll.

use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::problem::ApiResult;
use crate::domain::error::Error;

/// The value as JSON with its tag, or 304 when the client has it already.
///
/// # Errors
/// When the value can't be written as JSON, which is a fault of ours.
pub fn respond(request: &HeaderMap, value: &impl Serialize) -> ApiResult<Response> {
    let body =
        serde_json::to_vec(value).map_err(|error| Error::internal(format!("answer can't be written: {error}")))?;
    let tag = format!("\"{}\"", hex::encode(&Sha256::digest(&body)[..16]));
    let mut response = if matches(request, &tag) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        ([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], body).into_response()
    };
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    // Whoever stands between must ask again each time, and keep answers of different tokens apart.
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    Ok(response)
}

/// Weak comparison, as RFC 9110 asks for `If-None-Match`.
fn matches(request: &HeaderMap, tag: &str) -> bool {
    request
        .get_all(header::IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .any(|candidate| candidate == "*" || candidate.strip_prefix("W/").unwrap_or(candidate) == tag)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_tags_get_304() {
        let mut headers = HeaderMap::new();
        let first = respond(&headers, &1).unwrap();
        let tag = first.headers()[header::ETAG].to_str().unwrap().to_owned();
        headers.insert(header::IF_NONE_MATCH, format!("\"x\", W/{tag}").parse().unwrap());
        assert_eq!(respond(&headers, &1).unwrap().status(), StatusCode::NOT_MODIFIED);
        assert_eq!(respond(&headers, &2).unwrap().status(), StatusCode::OK);
    }
}
