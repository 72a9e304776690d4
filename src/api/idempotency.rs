//! `Idempotency-Key`: the same POST sent twice is done once, and answered twice with the same words.

use axum::Json;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};

use super::ApiState;
use super::principal::Caller;
use crate::domain::error::{Error, Result};
use crate::store::idempotency::JUST_USED;

const HEADER: HeaderName = HeaderName::from_static("idempotency-key");
/// Says that an answer is a kept one.
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// A key with the fingerprint of what was asked under it.
#[derive(Debug, Clone)]
pub struct Key {
    pub key: String,
    pub request_sha256: [u8; 32],
}

impl Key {
    /// The request's key, if it has one. `parts` is all that makes it the same request: method, path, query, content.
    ///
    /// # Errors
    /// When the key is empty or too long.
    pub fn of(headers: &HeaderMap, parts: &[&[u8]]) -> Result<Option<Self>> {
        let Some(value) = headers.get(&HEADER) else { return Ok(None) };
        let key = value.to_str().ok().filter(|key| (1..=255).contains(&key.len())).ok_or_else(|| {
            Error::bad_request(
                "idempotency-key-invalid",
                "The Idempotency-Key must be 1 to 255 visible ASCII characters.",
            )
        })?;
        let mut hash = Sha256::new();
        for part in parts {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        Ok(Some(Self { key: key.to_owned(), request_sha256: hash.finalize().into() }))
    }

    /// The key of a request with this body.
    ///
    /// # Errors
    /// When the key is empty or too long.
    pub fn of_body(headers: &HeaderMap, uri: &Uri, body: &[u8]) -> Result<Option<Self>> {
        Self::of(headers, &[b"POST", uri.path().as_bytes(), uri.query().unwrap_or_default().as_bytes(), body])
    }

    /// Does the work of a request that has a key once: an answer that was given before is given again. The work has to keep
    /// its answer under the key, in its own transaction.
    ///
    /// # Errors
    /// Those of the work, and of [`Key::replay`].
    pub async fn once(
        key: Option<&Self>,
        state: &ApiState,
        caller: &Caller,
        location: (&str, &str),
        work: impl Future<Output = Result<Response>>,
    ) -> Result<Response> {
        let Some(key) = key else { return work.await };
        if let Some(answer) = key.replay(state, caller, location).await? {
            return Ok(answer);
        }
        match work.await {
            // The same request came twice at the same time, and the other one won.
            Err(error) if error.code == JUST_USED => key.replay(state, caller, location).await?.ok_or(error),
            outcome => outcome,
        }
    }

    /// The answer that was given before. `location`: what its `Location` begins with, and the field that goes on.
    ///
    /// # Errors
    /// `idempotency-key-reused` when another request has this key; or the database is away.
    pub async fn replay(
        &self,
        state: &ApiState,
        caller: &Caller,
        (prefix, field): (&str, &str),
    ) -> Result<Option<Response>> {
        let Some(answer) = state.store.idempotent_answer(&caller.principal.name, &self.key).await? else {
            return Ok(None);
        };
        if answer.request_sha256 != self.request_sha256 {
            return Err(Error::unprocessable(
                "idempotency-key-reused",
                "This Idempotency-Key was used for a different request; each request needs a key of its own.",
            ));
        }
        let status =
            StatusCode::from_u16(answer.status).map_err(|_| Error::internal("a stored status is no status"))?;
        let location =
            answer.response.get(field).and_then(|id| HeaderValue::from_str(&format!("{prefix}{}", id.as_str()?)).ok());
        let mut response = (status, Json(answer.response)).into_response();
        if let Some(location) = location {
            response.headers_mut().insert(header::LOCATION, location);
        }
        response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
        Ok(Some(response))
    }
}
