//! Schedules: what starts runs at given times.

pub mod create;
pub mod delete;
pub mod get;
pub mod list;
pub mod pause;
pub mod preview;
mod request;
pub mod resume;
pub mod runs;
#[cfg(test)]
mod tests;
pub mod trigger;
pub mod update;
pub mod view;

use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::api::ApiState;

pub fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(create::create_schedule, list::list_schedules))
        .routes(routes!(preview::preview_schedule))
        .routes(routes!(get::get_schedule, update::update_schedule, delete::delete_schedule))
        .routes(routes!(pause::pause_schedule))
        .routes(routes!(resume::resume_schedule))
        .routes(routes!(trigger::trigger_schedule))
        .routes(routes!(runs::list_schedule_runs))
}
