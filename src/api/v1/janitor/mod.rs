//! The janitor: what it found, what it did, and sweeps on request.

pub mod show;
pub mod sweep;
#[cfg(test)]
mod tests;
pub mod view;

use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::api::ApiState;

pub fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(show::show_janitor)).routes(routes!(sweep::sweep_now))
}
