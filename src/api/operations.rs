//! What load balancers, probes and scrapers ask, without a token.

use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use super::ApiState;
use super::problem;

/// Routes that need no token.
pub fn routes() -> axum::Router<ApiState> {
    axum::Router::new()
        .route("/healthz", get(health))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .route("/openapi.yaml", get(openapi))
}

/// The process answers.
async fn health() -> &'static str {
    "ok\n"
}

/// Requests may come: the database answers and has this server's schema, and the server does not drain.
async fn ready(State(state): State<ApiState>) -> Response {
    let reason = if let Some(reason) = (state.not_ready)() {
        reason
    } else if state.drain.is_cancelled() {
        "the server is stopping".to_owned()
    } else {
        match state.store.migrations_current().await {
            Ok(true) => return "ready\n".into_response(),
            Ok(false) => "the database schema is older than this server".to_owned(),
            Err(error) => {
                tracing::warn!(error = error.for_log(), "not ready");
                "the database does not answer".to_owned()
            }
        }
    };
    problem::document(StatusCode::SERVICE_UNAVAILABLE, "not-ready", format!("Not ready: {reason}."), &[])
}

async fn metrics(State(state): State<ApiState>) -> Response {
    match &state.metrics {
        Some(render) => {
            let headers =
                [(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8"))];
            (headers, render()).into_response()
        }
        None => {
            problem::document(StatusCode::NOT_FOUND, "metrics-off", "This server collects no metrics.".to_owned(), &[])
        }
    }
}

async fn openapi() -> Response {
    ([(header::CONTENT_TYPE, HeaderValue::from_static("application/yaml"))], super::openapi_yaml()).into_response()
}
