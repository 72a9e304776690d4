//! Time as a parameter.

use std::time::Duration;

use chrono::{DateTime, Utc};

/// Where time comes from. Rules never read the ambient clock, so that tests can move it.
pub trait Clock: Send + Sync {
    /// Calendar time.
    fn now(&self) -> DateTime<Utc>;

    /// Time since some fixed instant, counted through suspend (`CLOCK_BOOTTIME`): what a lease's deadline is measured
    /// with, because calendar time can step and `CLOCK_MONOTONIC` stands still while a machine sleeps.
    fn since_boot(&self) -> Duration;
}
