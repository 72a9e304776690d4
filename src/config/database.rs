//! `[database]`: PostgreSQL.

use secrecy::SecretString;

use super::section::Section;
use super::{Lines, line, secret};
use crate::domain::diagnostic::Diagnostic;

#[derive(Debug, Clone)]
pub struct Database {
    /// `postgres://…`; a secret, for it may hold a password. `None`: a private cluster below `data_dir`.
    pub url: Option<SecretString>,
    /// Connections this server keeps at most.
    pub max_connections: u32,
    /// So many of them are kept for what requests only read, which then does not wait behind builds; fewer than
    /// `max_connections`. Left out: half of it.
    pub read_connections: u32,
}

/// Few, because what builds ask for is short: more of them at once make a database of few processors answer reads later, and
/// builds no sooner (docs/benchmarks.md).
const MAX_CONNECTIONS: i64 = 12;

impl Database {
    pub(super) fn read(root: &mut Section, found: &mut Vec<Diagnostic>) -> Self {
        let mut section = root.section("database", found);
        let url = section.parsed("url", found, |text| {
            if text.starts_with("postgres://") || text.starts_with("postgresql://") {
                Ok(SecretString::from(text))
            } else {
                Err("must begin with postgres:// (the value is not shown, it may hold a password)".to_owned())
            }
        });
        let connections = section.integer("max_connections", 2..=1_000, found).unwrap_or(MAX_CONNECTIONS);
        let reads = section.integer("read_connections", 1..=connections - 1, found);
        section.finish(found);
        let count = |connections: i64| u32::try_from(connections).unwrap_or(u32::MAX);
        Self { url, max_connections: count(connections), read_connections: count(reads.unwrap_or(connections / 2)) }
    }

    pub(super) fn describe(&self, lines: &mut Lines) {
        line(lines, "database.url", secret(self.url.is_some()));
        line(lines, "database.max_connections", self.max_connections);
        line(lines, "database.read_connections", self.read_connections);
    }
}
