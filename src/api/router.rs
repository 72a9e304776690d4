//! All routes with what surrounds them: request id, access log, time-outs, panics, and problems for wrong paths.

use std::any::Any;
use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{Method, StatusCode, Uri};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::Response;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tower_http::catch_panic::CatchPanicLayer;

use super::problem::{self, LoggedError};
use super::{ApiState, access_log, openapi, operations, readable_url, request_id, v1};

/// What a worker answers: whether it is well.
pub fn worker_router(state: ApiState) -> Router {
    let timed = operations::routes().layer(from_fn_with_state(state.clone(), time_limit));
    surrounded(timed.fallback(no_api_here), state)
}

/// The API as a service.
pub fn router(state: ApiState) -> Router {
    let (answers, _) = openapi::documented().merge(v1::routes()).split_for_parts();
    let (streams, _) = openapi::documented().merge(v1::streaming_routes()).split_for_parts();
    let places = Arc::new(Semaphore::new(state.limits.max_requests));
    // Probes are served however many requests there are.
    let limited = answers.layer(from_fn(move |request, next| take_place(places.clone(), request, next)));
    let timed = limited.merge(operations::routes()).layer(from_fn_with_state(state.clone(), time_limit));
    surrounded(timed.merge(streams).fallback(no_such_path), state)
}

fn surrounded(routes: Router<ApiState>, state: ApiState) -> Router {
    routes
        .method_not_allowed_fallback(no_such_method)
        // Bodies are limited where they are read, by the configuration.
        .layer(DefaultBodyLimit::disable())
        .layer(CatchPanicLayer::custom(panicked))
        .layer(from_fn(readable_url::layer))
        .layer(from_fn_with_state(state.clone(), access_log::layer))
        .layer(from_fn_with_state(state.clone(), request_id::layer))
        .with_state(state)
}

/// Answers requests until `stop` fires and those under way are done.
///
/// # Errors
/// When the listener fails.
pub async fn serve(listener: TcpListener, routes: Router, stop: CancellationToken) -> std::io::Result<()> {
    axum::serve(listener, routes).with_graceful_shutdown(stop.cancelled_owned()).await
}

/// Refuses what is beyond the limit at once: a queue would only let more clients time out.
async fn take_place(places: Arc<Semaphore>, request: Request, next: Next) -> Response {
    if let Ok(_place) = places.try_acquire() {
        return next.run(request).await;
    }
    let detail = "The server is serving as many requests as it may at once; try again in a moment.";
    problem::document(StatusCode::SERVICE_UNAVAILABLE, "too-many-requests", detail.to_owned(), &[])
}

async fn no_api_here(uri: Uri) -> Response {
    let detail =
        format!("This server is a worker and does not answer {}; ask one with the role api or all.", uri.path());
    problem::document(StatusCode::NOT_FOUND, "path-not-found", detail, &[])
}

async fn time_limit(State(state): State<ApiState>, request: Request, next: Next) -> Response {
    let limit = state.limits.request_timeout;
    if let Ok(response) = tokio::time::timeout(limit, next.run(request)).await {
        return response;
    }
    let detail = format!(
        "The server did not come to an answer within {} s; it may still have done what was asked.",
        limit.as_secs()
    );
    problem::document(StatusCode::SERVICE_UNAVAILABLE, "request-timeout", detail, &[])
}

async fn no_such_path(uri: Uri) -> Response {
    let detail = format!("There is nothing at {}; the API is described at /openapi.yaml.", uri.path());
    problem::document(StatusCode::NOT_FOUND, "path-not-found", detail, &[])
}

async fn no_such_method(method: Method, uri: Uri) -> Response {
    let detail = format!("{} does not take {method}; the Allow header says what it takes.", uri.path());
    problem::document(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", detail, &[])
}

#[expect(clippy::needless_pass_by_value, reason = "the layer hands the panic over")]
fn panicked(panic: Box<dyn Any + Send>) -> Response {
    let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    let detail = "Something went wrong on the server; its log has the details under this request id.";
    let mut response = problem::document(StatusCode::INTERNAL_SERVER_ERROR, "internal", detail.to_owned(), &[]);
    response.extensions_mut().insert(LoggedError(format!("panic: {}", text.unwrap_or("(no text)"))));
    response
}
