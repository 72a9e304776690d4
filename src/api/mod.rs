//! The HTTP API: `/v1` in JSON, problem documents for everything that goes wrong, server-sent events for live logs.
//! One file an endpoint under `v1/<resource>/`: request, answer, handler and its tests. This and `ui/` are the only
//! places with axum. Start at [`router()`] and `v1`; `problem` maps errors, `body` reads the five forms of a template.

pub mod access_log;
pub mod body;
pub mod etag;
pub mod idempotency;
pub mod log_response;
mod openapi;
pub mod operations;
pub mod pagination;
pub mod principal;
pub mod problem;
pub mod query;
pub mod readable_url;
pub mod request_id;
mod router;
mod state;
pub mod v1;

pub use openapi::{openapi, openapi_yaml};
pub use router::{router, serve, worker_router};
pub use state::{ApiState, Limits};

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
