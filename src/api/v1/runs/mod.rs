//! Runs: requests to build one template version.

pub mod artifacts;
pub mod builds;
pub mod cancel;
pub mod create;
pub mod dedupe;
pub mod file;
pub mod files;
pub mod get;
pub mod list;
pub mod log;
pub mod manifest;
pub mod request;
pub mod retry;
pub mod view;
pub mod why;

#[cfg(test)]
mod joining_tests;
#[cfg(test)]
mod tests;

use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::api::ApiState;
use crate::domain::error::Error;
use crate::domain::ids::RunId;

pub fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(create::create_run, list::list_runs))
        .routes(routes!(get::get_run))
        .routes(routes!(cancel::cancel_run))
        .routes(routes!(retry::retry_run))
        .routes(routes!(why::explain_run))
        .routes(routes!(manifest::get_run_manifest))
        .routes(routes!(artifacts::list_run_artifacts))
        .routes(routes!(files::list_run_files))
        .routes(routes!(builds::list_run_builds))
}

pub fn streaming_routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(log::get_run_log)).routes(routes!(file::get_run_file))
}

/// A run's id from the path. What is no id can't be a run's.
fn run_id(text: &str) -> Result<RunId, Error> {
    text.parse().map_err(|_| Error::not_found("run-not-found", "There is no such run; a run's id is a UUID."))
}
