//! Version 1 of the API: one folder a resource, one file an endpoint.
#![expect(clippy::missing_errors_doc, reason = "what an endpoint answers is in its OpenAPI description")]

pub mod audit;
pub mod builds;
pub mod images;
pub mod janitor;
pub mod runs;
pub mod schedules;
pub mod server;
pub mod stages;
pub mod templates;
pub mod tokens;

use utoipa_axum::router::OpenApiRouter;

use super::ApiState;

/// Everything below `/v1` that is answered at once or not at all.
#[must_use]
pub fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .merge(runs::routes())
        .merge(builds::routes())
        .merge(templates::routes())
        .merge(images::routes())
        .merge(stages::routes())
        .merge(schedules::routes())
        .merge(tokens::routes())
        .merge(audit::routes())
        .merge(janitor::routes())
        .merge(server::routes())
}

/// Everything below `/v1` whose answer may go on for as long as a build does.
#[must_use]
pub fn streaming_routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().merge(runs::streaming_routes()).merge(builds::streaming_routes())
}
