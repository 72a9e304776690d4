//! For the tests of commands: arguments as clap reads them, and a context of a fake server.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use clap::{Args, Parser};
use wiremock::MockServer;

use super::{Context, Global, Output};
use crate::domain::clock::Clock;

/// A clock that stands at the epoch.
pub struct Epoch;

impl Clock for Epoch {
    fn now(&self) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH
    }

    fn since_boot(&self) -> Duration {
        Duration::ZERO
    }
}

#[derive(Parser)]
#[command(disable_version_flag = true)]
struct Line<A: Args> {
    #[command(flatten)]
    args: A,
}

/// Arguments out of words between spaces, without the command before them.
pub fn parsed<A: Args>(words: &str) -> A {
    try_parsed(words).unwrap_or_else(|complaint| panic!("{complaint}"))
}

/// As [`parsed`], or clap's complaint.
pub fn try_parsed<A: Args>(words: &str) -> Result<A, String> {
    let words = words.split(' ').filter(|word| !word.is_empty());
    let line = Line::try_parse_from(std::iter::once("command").chain(words));
    line.map(|line| line.args).map_err(|error| error.to_string())
}

/// What commands share, with a token of nobody's.
pub fn context(server: &MockServer) -> Context {
    let global = Global { server: server.uri(), token: None, token_file: None, output: Output::Text };
    Context { global, clock: Arc::new(Epoch) }
}
