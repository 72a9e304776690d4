//! Stages: what each environment may run, and the moves of images through them.

pub mod demote;
pub mod history;
pub mod list;
mod moves;
pub mod promote;
pub mod rollback;
pub mod show;
#[cfg(test)]
mod tests;
pub mod view;

use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::api::ApiState;

pub fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(list::list_stages))
        .routes(routes!(show::show_stage))
        .routes(routes!(history::list_stage_history))
        .routes(routes!(rollback::roll_back))
        .routes(routes!(promote::promote_image))
        .routes(routes!(demote::demote_image))
}
