//! The server's own log and its metrics. Start at [`start_log`] and [`metrics`], the one list of metric names.
//!
//! Levels: `error` is a fault of Ingot's that somebody should look at; `warn` is one that was met and may come again;
//! `info` is what an operator wants to read of a normal day (starts, stops, builds claimed and finished); `debug` is for
//! finding faults. A failure is logged once, where it is handled.

pub mod metrics;

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;

use crate::config::{Log, LogFormat};

/// Sends the log to standard error in the configured form.
///
/// # Errors
/// When the level can't be read, or a log was started already.
pub fn start_log(log: &Log) -> Result<(), String> {
    let filter = EnvFilter::try_new(&log.level).map_err(|error| format!("log.level: {error}"))?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let started = match log.format {
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
        LogFormat::Text => builder.with_ansi(std::io::stderr().is_terminal()).try_init(),
    };
    started.map_err(|error| error.to_string())
}
