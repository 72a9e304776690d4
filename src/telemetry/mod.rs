//! The server's own log and its metrics. Start at [`start_log`] and [`metrics`], the one list of metric names.
//!
//! Levels: `error` is a fault of Ingot's that somebody should look at; `warn` is one that was met and may come again;
//! `info` is what an operator wants to read of a normal day (starts, stops, builds claimed and finished); `debug` is for
//! finding faults. A failure is logged once, where it is handled.

pub mod metrics;

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;

use crate::config::{Log, LogFormat};

/// Libraries whose debug output holds requests as they are sent, user data, keys and tokens included: they stay at `info`.
const TALKATIVE: &[&str] = &[
    "aws_config",
    "aws_runtime",
    "aws_sdk_ec2",
    "aws_sdk_iam",
    "aws_sdk_secretsmanager",
    "aws_sdk_ssm",
    "aws_sdk_sts",
    "aws_smithy_runtime",
    "aws_smithy_runtime_api",
    "aws_smithy_http_client",
    "aws_sigv4",
    "hyper",
    "hyper_util",
    "h2",
    "reqwest",
    "russh",
    "russh_sftp",
    "rustls",
    "sqlx",
    "tokio_tungstenite",
    "tungstenite",
];

/// Sends the log to standard error in the configured form.
///
/// # Errors
/// When the level can't be read, or a log was started already.
pub fn start_log(log: &Log) -> Result<(), String> {
    let mut filter = EnvFilter::try_new(&log.level).map_err(|error| format!("log.level: {error}"))?;
    for library in TALKATIVE {
        let cap = format!("{library}=info").parse().map_err(|error| format!("log.level: {error}"))?;
        filter = filter.add_directive(cap);
    }
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let started = match log.format {
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
        LogFormat::Text => builder.with_ansi(std::io::stderr().is_terminal()).try_init(),
    };
    started.map_err(|error| error.to_string())
}
