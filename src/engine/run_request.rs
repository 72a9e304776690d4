//! What is asked for when a run is to be made, and what the server's configuration says about it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use indexmap::IndexMap;
use serde_json::Value;

use super::channels::ChannelSettings;
use super::data_sources::DataSources;
use crate::cloud::Accounts;
use crate::domain::bundle::Bundle;
use crate::domain::config::BuildConfig;
use crate::domain::dedupe::Dedupe;
use crate::domain::diagnostic::Diagnostic;
use crate::domain::error::{Error, Result};
use crate::domain::hold::RunOptions;
use crate::domain::lint::LintPolicy;
use crate::domain::plan::Plan;
use crate::domain::policy::Policy;

/// Where random bytes come from.
pub type Random = Arc<dyn Fn() -> [u8; 32] + Send + Sync>;

/// Stands for the value of a sensitive variable wherever people can read it.
pub const SENSITIVE: &str = "<sensitive>";

/// What is asked for.
#[derive(Debug, Clone)]
pub struct AcceptRequest {
    pub template: TemplateSource,
    /// `None`: the template's name.
    pub family: Option<String>,
    /// `None`: the template's account, else `default`.
    pub account: Option<String>,
    pub variables: IndexMap<String, Value>,
    /// What `env()` may read. Never stored in clear.
    pub env: IndexMap<String, String>,
    /// Paths in the bundle.
    pub var_files: Vec<String>,
    pub only: Vec<String>,
    pub except: Vec<String>,
    pub git_sha: Option<String>,
    /// Time limit of each attempt of each build.
    pub timeout: Option<Duration>,
    pub options: RunOptions,
    /// -100 to 100; higher is claimed first.
    pub priority: i32,
    pub labels: IndexMap<String, String>,
    pub clean_image: bool,
    /// Packer's `-force`: images that have a new image's name go before it is made, as with `force_deregister`.
    pub force: bool,
    /// Whether a run that makes the same will do; `None`: nothing was said, and none is looked for.
    pub dedupe: Option<Dedupe>,
}

#[derive(Debug, Clone)]
pub enum TemplateSource {
    /// By name or id; `version` `None`: the newest.
    Stored { name: String, version: Option<i32> },
    /// Comes with the request; `name` `None`: `inline-` and the beginning of its content hash.
    Inline { name: Option<String>, bundle: Bundle },
}

/// What the server's configuration says about runs.
pub struct AcceptSettings {
    /// One for each configured account.
    pub policies: BTreeMap<String, Policy>,
    /// STOB's builder: `ingot/<version> (<deployment>)`.
    pub builder_identity: String,
    /// How much each lint rule counts.
    pub lint: LintPolicy,
    /// Longer evaluations are given up.
    pub evaluation_time_limit: Duration,
    pub random: Random,
    /// Where the source AMIs of requests that may join a run are looked up; `None`: nowhere, so none is joined.
    pub accounts: Option<Arc<dyn Accounts>>,
    /// Where the data sources of templates are asked.
    pub data_sources: DataSources,
    /// Of what names no region; `None`: it has to.
    pub default_region: Option<String>,
    /// Which stages templates may put images on.
    pub channels: ChannelSettings,
}

/// What a run would be.
#[derive(Debug)]
pub struct DryRun {
    pub account: String,
    pub builds: Vec<(BuildConfig, Plan)>,
    /// Sensitive values replaced.
    pub variables: IndexMap<String, Value>,
    pub warnings: Vec<Diagnostic>,
}

/// The rule for names of templates and families.
///
/// # Errors
/// `name-invalid`.
pub fn check_name(what: &str, name: &str) -> Result<()> {
    let rest = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    if name.len() <= 100
        && name.bytes().all(rest)
        && name.bytes().next().is_some_and(|first| first.is_ascii_alphanumeric())
    {
        return Ok(());
    }
    let public = format!(
        "The {what} {name:?} can't be used: names have 1 to 100 letters, digits, `.`, `_` and `-`, and begin with a letter or digit."
    );
    Err(Error::unprocessable("name-invalid", public))
}

/// The policy of an account.
///
/// # Errors
/// `account-unknown`, with the names there are.
pub fn policy<'s>(settings: &'s AcceptSettings, account: &str) -> Result<&'s Policy> {
    settings.policies.get(account).ok_or_else(|| {
        let names: Vec<&str> = settings.policies.keys().map(String::as_str).collect();
        let public = format!("There is no account {account:?} on this server. Configured: {}.", names.join(", "));
        Error::unprocessable("account-unknown", public)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_safe_in_paths_and_tags() {
        for good in ["a", "web-1.2_x", &"x".repeat(100)] {
            assert!(check_name("name", good).is_ok(), "{good}");
        }
        for bad in ["", "-a", "a b", "a/b", "ä", &"x".repeat(101)] {
            assert_eq!(check_name("name", bad).unwrap_err().code, "name-invalid", "{bad}");
        }
    }
}
