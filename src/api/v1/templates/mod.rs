//! Templates and their immutable versions.

pub mod bundle;
pub mod create;
mod diagnostic;
pub mod get;
pub mod list;
pub mod validate;
pub mod version;
pub mod versions;
pub mod view;

use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::api::ApiState;

pub fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(create::create_template, list::list_templates))
        .routes(routes!(validate::validate_template))
        .routes(routes!(get::get_template))
        .routes(routes!(versions::list_template_versions))
        .routes(routes!(version::get_template_version))
        .routes(routes!(bundle::get_template_bundle))
}
