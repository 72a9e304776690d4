//! One line a request. The path is logged without its query, which may hold a variable's value.

use std::sync::{Arc, OnceLock};

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use tracing::Instrument as _;

use super::ApiState;
use super::problem::LoggedError;
use super::request_id::RequestId;

/// Filled in by whoever finds out who is asking.
#[derive(Debug, Clone, Default)]
pub struct AskedBy(Arc<OnceLock<String>>);

impl AskedBy {
    pub fn set(&self, principal: &str) {
        // A second extractor of the same request finds the same principal.
        let _ = self.0.set(principal.to_owned());
    }
}

/// Logs the request when its answer begins.
pub async fn layer(State(state): State<ApiState>, mut request: Request, next: Next) -> Response {
    let began = state.clock.since_boot();
    let asked_by = AskedBy::default();
    request.extensions_mut().insert(asked_by.clone());
    let method = request.method().clone();
    let path = request.uri().path().to_owned();
    let id = request.extensions().get::<RequestId>().map(|id| id.0.clone()).unwrap_or_default();
    // So that all that is logged on the way carries the request's id.
    let span = tracing::info_span!("request", request_id = id);
    let response = next.run(request).instrument(span).await;
    let status = response.status();
    let milliseconds = u64::try_from(state.clock.since_boot().saturating_sub(began).as_millis()).unwrap_or(u64::MAX);
    let principal = asked_by.0.get().map_or("-", String::as_str);
    let error = response.extensions().get::<LoggedError>().map(|error| error.0.as_str());
    if status.is_server_error() {
        let error = error.unwrap_or("(no details)");
        tracing::error!(%method, path, status = status.as_u16(), milliseconds, principal, request_id = id, error, "request failed");
    } else {
        // Of a client's mistakes only the code: their text may quote what it sent.
        let error = error.and_then(|error| error.split(':').next());
        tracing::info!(%method, path, status = status.as_u16(), milliseconds, principal, request_id = id, error, "request served");
    }
    response
}
