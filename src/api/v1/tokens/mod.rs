//! Bearer tokens.

pub mod create;
pub mod current;
pub mod list;
pub mod revoke;
pub mod rotate;
pub mod view;

use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::api::ApiState;

pub fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(create::create_token, list::list_tokens))
        .routes(routes!(current::get_current_token))
        .routes(routes!(revoke::revoke_token))
        .routes(routes!(rotate::rotate_token))
}
