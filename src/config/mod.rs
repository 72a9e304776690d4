//! The server's configuration: a TOML file with `INGOT__SECTION__KEY` environment variables over it, turned into typed,
//! checked values. One file a section. All mistakes are found at once, each with its file, line and column or the
//! variable's name; unknown keys are refused. Start at [`Config::load`]; [`source`] reads, [`section`] checks.

pub mod accounts;
pub mod auth;
pub mod aws;
pub mod data_sources;
pub mod database;
pub mod janitor;
pub mod lint;
pub mod log;
pub mod network;
pub mod policy;
pub mod secrets;
mod section;
pub mod server;
mod source;
pub mod stages;
pub mod units;
pub mod workers;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

pub use accounts::Account;
pub use auth::Auth;
pub use aws::Aws;
pub use data_sources::DataSources;
pub use database::Database;
pub use janitor::JanitorSection;
pub use log::{Log, LogFormat};
pub use network::Network;
pub use policy::PolicySettings;
pub use secrets::Secrets;
pub use server::Server;
pub use stages::Stages;
pub use workers::Workers;

use crate::domain::diagnostic::Diagnostic;
use crate::domain::lint::LintPolicy;
use crate::domain::policy::Policy;
use section::Section;

/// The account that exists when none is configured: the server's own identity.
pub const DEFAULT_ACCOUNT: &str = "default";

/// Everything an administrator decides. Secrets in it have no `Display` and a redacted `Debug`.
#[derive(Debug, Clone)]
pub struct Config {
    pub server: Server,
    pub database: Database,
    /// Where this server keeps what only it needs: the secret key and the private database cluster.
    pub data_dir: PathBuf,
    pub aws: Aws,
    pub auth: Auth,
    pub workers: Workers,
    pub janitor: JanitorSection,
    pub stages: Stages,
    pub data_sources: DataSources,
    pub lint: LintPolicy,
    pub policy: PolicySettings,
    pub network: Network,
    pub secrets: Secrets,
    pub log: Log,
    /// Never empty: see [`DEFAULT_ACCOUNT`].
    pub accounts: BTreeMap<String, Account>,
}

impl Config {
    /// Where the keys of the secrets at rest are.
    #[must_use]
    pub fn key_file(&self) -> PathBuf {
        self.secrets.key_file.clone().unwrap_or_else(|| self.data_dir.join("secret.key"))
    }

    /// Reads the file, if one is given, and lays the environment over it.
    ///
    /// # Errors
    /// All mistakes found, in the file's order.
    pub fn load(path: Option<&Path>, env: impl Iterator<Item = (String, String)>) -> Result<Self, Vec<Diagnostic>> {
        let env: BTreeMap<String, String> = env.collect();
        let mut found = Vec::new();
        let root = source::read(path, &env, &mut found);
        if found.iter().any(Diagnostic::is_error) {
            return Err(found);
        }
        let mut root = Section::root(root);
        let config = Self {
            server: Server::read(&mut root, &mut found),
            database: Database::read(&mut root, &mut found),
            data_dir: root.string("data_dir", &mut found).map_or_else(|| default_data_dir(&env), PathBuf::from),
            aws: Aws::read(&mut root, &mut found),
            auth: Auth::read(&mut root, &mut found),
            workers: Workers::read(&mut root, &mut found),
            janitor: JanitorSection::read(&mut root, &mut found),
            stages: Stages::read(&mut root, &mut found),
            data_sources: DataSources::read(&mut root, &mut found),
            lint: lint::read(&mut root, &mut found),
            policy: PolicySettings::read(&mut root, &mut found),
            network: Network::read(&mut root, &mut found),
            secrets: Secrets::read(&mut root, &mut found),
            log: Log::read(&mut root, &mut found),
            accounts: accounts::read(&mut root, &mut found),
        };
        root.finish(&mut found);
        if found.is_empty() { Ok(config) } else { Err(found) }
    }

    /// How many builds an account may have at work at once, on all servers together; accounts without a limit are not here.
    #[must_use]
    pub fn build_limits(&self) -> BTreeMap<String, u32> {
        self.accounts.iter().filter_map(|(name, account)| Some((name.clone(), account.limits.max_builds?))).collect()
    }

    /// What each account's runs may name.
    #[must_use]
    pub fn policies(&self) -> BTreeMap<String, Policy> {
        let policy = |account: &Account| Policy {
            ssh_hosts: self.policy.ssh_hosts.clone(),
            share_accounts: self.policy.share_accounts.clone(),
            shell_local: self.policy.shell_local,
            instance_profiles: account.instance_profiles.clone(),
            temporary_instance_profiles: account.temporary_instance_profiles,
            allowed_roles: account.allowed_roles.clone(),
            instance_types: account.limits.instance_types.clone(),
            max_volume_size: account.limits.max_volume_size,
            regions: account.regions.clone(),
        };
        self.accounts.iter().map(|(name, account)| (name.clone(), policy(account))).collect()
    }

    /// The configuration in force, one `section.key = value` a line, secrets redacted: for `config show`.
    #[must_use]
    pub fn describe(&self) -> String {
        let mut lines = vec![("data_dir".to_owned(), self.data_dir.display().to_string())];
        self.server.describe(&mut lines);
        self.database.describe(&mut lines);
        self.aws.describe(&mut lines);
        self.auth.describe(&mut lines);
        self.workers.describe(&mut lines);
        self.janitor.describe(&mut lines);
        self.stages.describe(&mut lines);
        self.data_sources.describe(&mut lines);
        lint::describe(&self.lint, &mut lines);
        self.policy.describe(&mut lines);
        self.network.describe(&mut lines);
        self.secrets.describe(&mut lines);
        self.log.describe(&mut lines);
        for (name, account) in &self.accounts {
            account.describe(name, &mut lines);
        }
        lines.iter().fold(String::new(), |mut text, (key, value)| {
            // Writing to a String can't fail.
            let _ = writeln!(text, "{key} = {value}");
            text
        })
    }
}

/// Lines of [`Config::describe`].
type Lines = Vec<(String, String)>;

fn line(lines: &mut Lines, key: &str, value: impl std::fmt::Display) {
    lines.push((key.to_owned(), value.to_string()));
}

fn optional(value: Option<&str>) -> String {
    value.map_or_else(|| "(not set)".to_owned(), ToOwned::to_owned)
}

fn list(values: &[String]) -> String {
    if values.is_empty() { "(none)".to_owned() } else { values.join(", ") }
}

fn secret(is_set: bool) -> &'static str {
    if is_set { "(set, not shown)" } else { "(not set)" }
}

/// systemd's `StateDirectory`, else the user's state folder, else `/var/lib/ingot`.
fn default_data_dir(env: &BTreeMap<String, String>) -> PathBuf {
    let folder = |name: &str| env.get(name).filter(|value| value.starts_with('/')).map(PathBuf::from);
    if let Some(state) = folder("STATE_DIRECTORY") {
        return state;
    }
    if let Some(state) = folder("XDG_STATE_HOME") {
        return state.join("ingot");
    }
    match folder("HOME") {
        Some(home) if home != Path::new("/") && home != Path::new("/root") => home.join(".local/state/ingot"),
        _ => PathBuf::from("/var/lib/ingot"),
    }
}

#[cfg(test)]
mod tests;
