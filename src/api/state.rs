//! What every handler can reach.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::auth::Authenticator;
use crate::domain::clock::Clock;
use crate::domain::stage::StageOrder;
use crate::engine::accept::{AcceptSettings, Random, new_id};
use crate::store::Store;
use crate::store::approved::ApprovedImages;

/// What one request may cost.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Largest request body, in bytes.
    pub max_bundle_bytes: usize,
    /// Largest sum of a bundle's files, in bytes.
    pub max_unpacked_bytes: usize,
    /// Most files in a bundle.
    pub max_files: usize,
    /// Requests that take longer are answered 503. Live logs have no limit.
    pub request_timeout: Duration,
    /// Requests that are served at once; more are answered 503.
    pub max_requests: usize,
}

/// See the module's text.
#[derive(Clone)]
pub struct ApiState {
    pub store: Store,
    pub accept: Arc<AcceptSettings>,
    pub stage_order: Arc<StageOrder>,
    pub approved: ApprovedImages,
    pub limits: Limits,
    pub clock: Arc<dyn Clock>,
    pub random: Random,
    /// Tells the engine of this process that there is something to do.
    pub wake: Arc<dyn Fn() + Send + Sync>,
    pub auth: Arc<Authenticator>,
    /// Makes the text of `/metrics`; `None`: there is no such page.
    pub metrics: Option<Arc<dyn Fn() -> String + Send + Sync>>,
    /// Why this server should get no requests at the moment, besides what it finds out about the database by itself.
    pub not_ready: Arc<dyn Fn() -> Option<String> + Send + Sync>,
    /// Cancelled when the server drains: live logs end, so that clients go to another server.
    pub drain: CancellationToken,
}

impl ApiState {
    /// A new `UUIDv7`.
    #[must_use]
    pub fn new_id(&self) -> Uuid {
        new_id(self.clock.now(), &self.random)
    }
}
