//! `[server]`: where the API listens and what one request may cost.

use std::net::SocketAddr;
use std::time::Duration;

use super::section::Section;
use super::units::{show_bytes, show_duration};
use super::{Lines, line, optional};
use crate::domain::diagnostic::Diagnostic;
use crate::domain::server_role::ServerRole;

#[derive(Debug, Clone)]
pub struct Server {
    pub listen: SocketAddr,
    /// `--role` wins over it.
    pub role: ServerRole,
    /// How this server calls itself in leases and logs; the host's name when `None`.
    pub name: Option<String>,
    /// Largest request body, compressed bundles included, in bytes.
    pub max_bundle_bytes: usize,
    /// Largest sum of a bundle's files, in bytes.
    pub max_unpacked_bytes: usize,
    /// Most files in a bundle.
    pub max_files: usize,
    /// Requests that take longer are answered 503; live logs have no limit.
    pub request_timeout: Duration,
    /// Requests that are served at once; more are answered 503. Live logs do not count.
    pub max_requests: usize,
}

impl Server {
    pub(super) fn read(root: &mut Section, found: &mut Vec<Diagnostic>) -> Self {
        let mut section = root.section("server", found);
        let listen = section.parsed("listen", found, |text| {
            text.parse()
                .map_err(|_| format!("{text:?} is not an address with a port, such as 127.0.0.1:8080 or [::]:8080"))
        });
        let server = Self {
            listen: listen.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 8080))),
            role: section.parsed("role", found, str::parse).unwrap_or(ServerRole::All),
            name: section.string("name", found),
            max_bundle_bytes: section.bytes("max_bundle_bytes", found).unwrap_or(64 << 20),
            max_unpacked_bytes: section.bytes("max_unpacked_bytes", found).unwrap_or(512 << 20),
            max_files: section
                .integer("max_files", 1..=1_000_000, found)
                .and_then(|files| usize::try_from(files).ok())
                .unwrap_or(10_000),
            request_timeout: section.duration("request_timeout", found).unwrap_or(Duration::from_mins(1)),
            max_requests: section
                .integer("max_requests", 1..=1_000_000, found)
                .and_then(|requests| usize::try_from(requests).ok())
                .unwrap_or(2_000),
        };
        section.finish(found);
        server
    }

    pub(super) fn describe(&self, lines: &mut Lines) {
        line(lines, "server.listen", self.listen);
        line(lines, "server.role", self.role);
        line(lines, "server.name", optional(self.name.as_deref()));
        line(lines, "server.max_bundle_bytes", show_bytes(self.max_bundle_bytes));
        line(lines, "server.max_unpacked_bytes", show_bytes(self.max_unpacked_bytes));
        line(lines, "server.max_files", self.max_files);
        line(lines, "server.request_timeout", show_duration(self.request_timeout));
        line(lines, "server.max_requests", self.max_requests);
    }
}
