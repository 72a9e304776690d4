//! `[aws]`: the server's own way to AWS. Its identity comes from the usual `AWS_*` variables and the instance.

use super::section::Section;
use super::{Lines, line, optional};
use crate::domain::diagnostic::Diagnostic;

#[derive(Debug, Clone)]
pub struct Aws {
    /// Another endpoint for all services, for the sandbox.
    pub endpoint_url: Option<String>,
    /// Region of the server's own calls (STS).
    pub region: Option<String>,
}

impl Aws {
    pub(super) fn read(root: &mut Section, found: &mut Vec<Diagnostic>) -> Self {
        let mut section = root.section("aws", found);
        let endpoint_url = section.parsed("endpoint_url", found, |text| match text.parse::<http::Uri>() {
            Ok(uri) if matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some() => {
                Ok(text.to_owned())
            }
            _ => Err(format!("{text:?} is not an http:// or https:// URL")),
        });
        let region = section.string("region", found);
        section.finish(found);
        Self { endpoint_url, region }
    }

    pub(super) fn describe(&self, lines: &mut Lines) {
        line(lines, "aws.endpoint_url", optional(self.endpoint_url.as_deref()));
        line(lines, "aws.region", optional(self.region.as_deref()));
    }
}
