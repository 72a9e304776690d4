//! Every request has an id: the client's own when it is a sane token, else a new `UUIDv7`. It is in the answer's
//! `x-request-id`, in every problem's `instance`, in the audit and in the access log.

use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::Response;

use super::ApiState;

pub const HEADER: HeaderName = HeaderName::from_static("x-request-id");
/// Longest id taken over from a client, in characters.
const LONGEST: usize = 128;

tokio::task_local! {
    static CURRENT: String;
}

/// The id of the request being served.
#[derive(Debug, Clone)]
pub struct RequestId(pub String);

/// A problem's `instance`: the id of the request being served by this task.
#[must_use]
pub fn current() -> Option<String> {
    CURRENT.try_with(|id| format!("urn:request:{id}")).ok()
}

/// Gives the request its id.
pub async fn layer(State(state): State<ApiState>, mut request: Request, next: Next) -> Response {
    let given = request.headers().get(&HEADER).and_then(|id| id.to_str().ok()).filter(|id| is_sane(id));
    let id = given.map_or_else(|| state.new_id().to_string(), ToOwned::to_owned);
    request.extensions_mut().insert(RequestId(id.clone()));
    let mut response = CURRENT.scope(id.clone(), next.run(request)).await;
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(HEADER, value);
    }
    response
}

fn is_sane(id: &str) -> bool {
    (1..=LONGEST).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::is_sane;

    #[test]
    fn ids_that_could_confuse_a_log_are_not_taken_over() {
        assert!(is_sane("a1-B.c:d_e"));
        assert!(!is_sane("") && !is_sane("a b") && !is_sane("a\"b") && !is_sane(&"x".repeat(129)));
    }
}
