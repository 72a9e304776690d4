//! Builds: the sources of a run.

pub mod get;
pub mod log;
pub mod plan;
pub mod resume;
pub mod ssh_key;
pub mod steps;
#[cfg(test)]
mod tests;
pub mod try_again;

use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::api::ApiState;
use crate::domain::error::Error;
use crate::domain::ids::BuildId;

pub fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(get::get_build))
        .routes(routes!(steps::list_build_steps))
        .routes(routes!(plan::get_build_plan))
        .routes(routes!(resume::resume_build))
        .routes(routes!(ssh_key::get_build_ssh_key))
        .routes(routes!(try_again::try_build_again))
}

pub fn streaming_routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(log::get_build_log))
}

fn build_id(text: &str) -> Result<BuildId, Error> {
    text.parse().map_err(|_| Error::not_found("build-not-found", "There is no such build; a build's id is a UUID."))
}
