//! `[aws]`: the server's own way to AWS. Its identity comes from the usual `AWS_*` variables and the instance.

use super::section::Section;
use super::{Lines, line, optional, units};
use crate::cloud::budget::{Rate, RateLimits};
use crate::domain::diagnostic::Diagnostic;

#[derive(Debug, Clone)]
pub struct Aws {
    /// Another endpoint for all services, for the sandbox.
    pub endpoint_url: Option<String>,
    /// Region of the server's own calls (STS).
    pub region: Option<String>,
    /// How often this server calls each API action, for each account and region.
    pub rates: RateLimits,
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
        let default = RateLimits::default();
        let rates = RateLimits {
            describe: rate(&mut section, ["describe_rate", "describe_burst"], default.describe, found),
            change: rate(&mut section, ["change_rate", "change_burst"], default.change, found),
            launch: rate(&mut section, ["launch_rate", "launch_burst"], default.launch, found),
        };
        section.finish(found);
        Self { endpoint_url, region, rates }
    }

    pub(super) fn describe(&self, lines: &mut Lines) {
        line(lines, "aws.endpoint_url", optional(self.endpoint_url.as_deref()));
        line(lines, "aws.region", optional(self.region.as_deref()));
        let RateLimits { describe, change, launch } = self.rates;
        for (name, rate) in [("describe", describe), ("change", change), ("launch", launch)] {
            line(lines, &format!("aws.{name}_rate"), format_args!("{}/s", rate.per_second));
            line(lines, &format!("aws.{name}_burst"), rate.burst);
        }
    }
}

fn rate(section: &mut Section, keys: [&str; 2], default: Rate, found: &mut Vec<Diagnostic>) -> Rate {
    let per_second = section.parsed(keys[0], found, units::parse_rate).unwrap_or(default.per_second);
    let burst = section.integer(keys[1], 1..=100_000, found).and_then(|burst| u32::try_from(burst).ok());
    Rate { per_second, burst: burst.map_or(default.burst, f64::from) }
}
