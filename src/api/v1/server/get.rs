//! `GET /v1/server`.

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::api::ApiState;
use crate::api::principal::Viewer;
use crate::api::problem::ApiResult;

/// What a client may want to know of the server.
#[derive(Debug, Serialize, ToSchema)]
pub struct Server {
    pub version: &'static str,
    /// This installation's id, as its `ingot:deployment` tags have it.
    pub deployment: Uuid,
    pub accounts: Vec<ServerAccount>,
    pub limits: ServerLimits,
}

/// An account that runs may name.
#[derive(Debug, Serialize, ToSchema)]
pub struct ServerAccount {
    pub name: String,
    /// Empty: all.
    pub regions: Vec<String>,
}

/// What one request may cost.
#[derive(Debug, Serialize, ToSchema)]
pub struct ServerLimits {
    /// Largest request body, in bytes.
    pub max_bundle_bytes: usize,
    /// Largest sum of a bundle's files, in bytes.
    pub max_unpacked_bytes: usize,
    pub max_files: usize,
}

/// Read about the server
#[utoipa::path(get, path = "/v1/server", tag = "server", responses((status = 200, description = "The server", body = Server)))]
pub async fn get_server(State(state): State<ApiState>, _: Viewer) -> ApiResult<Json<Server>> {
    let accounts = state
        .accept
        .policies
        .iter()
        .map(|(name, policy)| ServerAccount { name: name.clone(), regions: policy.regions.clone() });
    Ok(Json(Server {
        version: env!("CARGO_PKG_VERSION"),
        deployment: state.store.deployment().await?.0,
        accounts: accounts.collect(),
        limits: ServerLimits {
            max_bundle_bytes: state.limits.max_bundle_bytes,
            max_unpacked_bytes: state.limits.max_unpacked_bytes,
            max_files: state.limits.max_files,
        },
    }))
}
