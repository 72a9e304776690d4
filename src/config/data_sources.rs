//! `[data_sources]`: what the server may ask elsewhere for a template.

use super::section::Section;
use super::{Lines, line};
use crate::domain::allowed_url::AllowedUrl;
use crate::domain::diagnostic::Diagnostic;

#[derive(Debug, Clone, Default)]
pub struct DataSources {
    /// What `data "http"` may ask for. The server makes the request, inside its own network: nothing is allowed unless
    /// it is named here.
    pub http_allow: Vec<AllowedUrl>,
}

impl DataSources {
    pub(super) fn read(root: &mut Section, found: &mut Vec<Diagnostic>) -> Self {
        let mut section = root.section("data_sources", found);
        let mut http_allow = Vec::new();
        for text in section.strings("http_allow", found) {
            match AllowedUrl::parse(&text) {
                Ok(url) => http_allow.push(url),
                Err(complaint) => found.push(section.error(format!("data_sources.http_allow: {complaint}"))),
            }
        }
        section.finish(found);
        Self { http_allow }
    }

    pub(super) fn describe(&self, lines: &mut Lines) {
        let shown: Vec<String> = self.http_allow.iter().map(ToString::to_string).collect();
        line(
            lines,
            "data_sources.http_allow",
            if shown.is_empty() { "(nothing)".to_owned() } else { shown.join(", ") },
        );
    }
}
