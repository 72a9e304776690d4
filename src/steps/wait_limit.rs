//! How long a step waits for the cloud. The time counts from when the step was first begun, so that a server that takes a
//! build over does not begin the wait anew.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::domain::config::amazon_ebs::AwsPolling;
use crate::domain::failure::Failure;
use crate::engine::step::StepContext;

/// The intent of a step that only waits.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct WaitIntent {
    /// Journals of older servers don't have it: then the time counts from now.
    #[serde(default)]
    began_at: Option<DateTime<Utc>>,
}

/// When a wait is over, and what it was allowed.
#[derive(Debug, Clone, Copy)]
pub struct WaitLimit {
    pub until: Instant,
    allowed: Duration,
}

impl WaitIntent {
    #[must_use]
    pub fn now(context: &StepContext) -> Self {
        Self { began_at: Some(context.clock.now()) }
    }

    /// The limit of the template's `aws_polling`, or else `default`.
    ///
    /// # Errors
    /// As [`StepContext::ebs`].
    pub fn limit(&self, context: &StepContext, default: Duration) -> Result<WaitLimit, Failure> {
        let allowed = context.ebs()?.aws_polling.map_or(default, AwsPolling::limit);
        // Calendar time is the only one that servers share; a clock that was set back must not make the wait longer.
        let now = context.clock.now();
        let waited = now.signed_duration_since(self.began_at.unwrap_or(now)).to_std().unwrap_or_default();
        Ok(WaitLimit { until: Instant::now() + allowed.saturating_sub(waited), allowed })
    }
}

impl WaitLimit {
    /// The failure of a wait that is over.
    #[must_use]
    pub fn passed(self, code: &str, what: &str) -> Failure {
        let seconds = self.allowed.as_secs();
        let within = match (seconds / 3600, seconds % 3600) {
            (0, _) => format!("{seconds} seconds"),
            (1, 0) => "1 hour".to_owned(),
            (hours, 0) => format!("{hours} hours"),
            (hours, rest) => format!("{hours} h {} min", rest / 60),
        };
        Failure::cloud(code, format!("{what} within {within}.")).with_advice(
            "If it just needs longer, raise the limit: aws_polling { delay_seconds, max_attempts } in the source, which are multiplied.",
        )
    }
}
