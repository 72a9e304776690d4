//! Pages of lists, and who asks.

use chrono::{DateTime, Utc};
use uuid::Uuid;

/// A page of a list, newest first (creation time, then id).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// How many rows at most.
    pub limit: i64,
    /// Time and id of the last row already seen; `None` starts at the newest.
    pub before: Option<(DateTime<Utc>, Uuid)>,
}

impl Page {
    /// The first page.
    #[must_use]
    pub fn first(limit: i64) -> Self {
        Self { limit, before: None }
    }

    pub(super) fn before_at(&self) -> Option<DateTime<Utc>> {
        self.before.map(|(at, _)| at)
    }

    pub(super) fn before_id(&self) -> Option<Uuid> {
        self.before.map(|(_, id)| id)
    }
}

/// Who does something, for the audit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    pub principal: String,
    pub request_id: Option<String>,
}
