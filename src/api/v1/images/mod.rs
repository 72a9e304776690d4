//! Images: the registry's entries for what runs made.

pub mod get;
pub mod history;
pub mod latest;
pub mod list;
pub mod view;

use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::api::ApiState;

pub fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(list::list_images))
        .routes(routes!(get::get_image))
        .routes(routes!(latest::latest_image))
        .routes(routes!(history::list_image_history))
}
