//! How long a step waits for the cloud. The time counts from when the step was first begun, which the journal tells, so that
//! a server that takes a build over does not begin the wait anew.

use std::time::Duration;

use tokio::time::Instant;

use crate::domain::config::amazon_ebs::AwsPolling;
use crate::domain::failure::Failure;
use crate::engine::step::StepContext;

/// When a wait is over, and what it was allowed.
#[derive(Debug, Clone, Copy)]
pub struct WaitLimit {
    pub until: Instant,
    allowed: Duration,
}

impl WaitLimit {
    /// The limit of the template's `aws_polling`, or else `default`.
    ///
    /// # Errors
    /// As [`StepContext::ebs`].
    pub fn of(context: &StepContext, default: Duration) -> Result<Self, Failure> {
        let allowed = context.ebs()?.aws_polling.map_or(default, AwsPolling::limit);
        Ok(Self { until: Instant::now() + allowed.saturating_sub(context.spent()), allowed })
    }

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
