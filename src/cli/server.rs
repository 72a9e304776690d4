//! The commands of a server's machine, as the command line gives them; `app` carries them out.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::domain::server_role::ServerRole;

const ENDING: &str = "SIGTERM or SIGINT once: no new builds are begun, requests and running builds get 30 seconds; what \
    is not done by then is carried on by the next server. Twice: stop at once.";

const CHANGING_KEYS: &str = "To change the key: add-key, copy the file to all servers and restart them one by one (all can read \
    the new key now); use KEY, copy and restart again; reseal; then drop-key OLD, and copy.";

/// What reads the server's configuration.
#[derive(Debug, Subcommand)]
pub enum ServerCommand {
    /// Run the server.
    #[command(after_help = ENDING)]
    Serve(ServeArgs),
    /// Run a server that only works on what others accept: the same as `serve --role worker`.
    #[command(after_help = ENDING)]
    Worker(ConfigFile),
    /// Bring the database to this version's schema, and stop.
    Migrate(ConfigFile),
    /// Check or show the server's configuration.
    Config(ConfigArgs),
    /// Show, add, change and drop the keys that secrets at rest are encrypted with.
    #[command(after_help = CHANGING_KEYS)]
    Secrets(SecretsArgs),
    /// Print the API's description (`OpenAPI` 3.1, YAML).
    Openapi,
}

#[derive(Debug, Clone, Args)]
pub struct ServeArgs {
    #[command(flatten)]
    pub config: ConfigFile,
    /// What of the work is this server's; by default what the configuration says.
    #[arg(long, value_name = "all|api|worker")]
    pub role: Option<ServerRole>,
}

/// Where the configuration is.
#[derive(Debug, Clone, Default, Args)]
pub struct ConfigFile {
    /// The configuration file (TOML); `INGOT__SECTION__KEY` variables win over it.
    #[arg(long = "config", env = "INGOT_CONFIG", value_name = "FILE")]
    pub path: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct ConfigArgs {
    #[command(subcommand)]
    pub action: ConfigAction,
}

#[derive(Debug, Subcommand)]
pub enum ConfigAction {
    /// Say what is wrong with it, each mistake with its place.
    Check(ConfigFile),
    /// Print what the server would use, secrets hidden.
    Show(ConfigFile),
}

#[derive(Debug, Args)]
pub struct SecretsArgs {
    #[command(subcommand)]
    pub action: SecretsAction,
}

#[derive(Debug, Subcommand)]
pub enum SecretsAction {
    /// List the keys, and how many secrets each one seals.
    Keys(ConfigFile),
    /// Add a fresh key to the key file. It opens, and seals nothing yet.
    AddKey(ConfigFile),
    /// Let a key of the file seal all new secrets.
    Use(KeyArgs),
    /// Seal what older keys sealed with the current key.
    Reseal(ConfigFile),
    /// Remove a key that seals nothing any more from the file.
    DropKey(KeyArgs),
}

#[derive(Debug, Args)]
pub struct KeyArgs {
    /// The key's id: what stands before the colon in the key file.
    #[arg(value_name = "KEY")]
    pub key: String,
    #[command(flatten)]
    pub config: ConfigFile,
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::*;
    use crate::cli::{Command, parse};

    fn command(line: &str) -> ServerCommand {
        match parse(line.split(' ').map(OsString::from)).unwrap().command {
            Command::Server(command) => command,
            Command::Client(command) => panic!("{command:?}"),
        }
    }

    #[test]
    fn a_server_has_a_role() {
        let role = |line: &str| match command(line) {
            ServerCommand::Serve(args) => args.role,
            command => panic!("{command:?}"),
        };
        assert_eq!(role("ingot serve --config x.toml"), None);
        assert_eq!(role("ingot serve --role worker"), Some(ServerRole::Worker));
        assert_eq!(role("ingot serve --role=api"), Some(ServerRole::Api));
        assert_eq!(role("ingot serve --role all"), Some(ServerRole::All));
        let ServerCommand::Worker(file) = command("ingot worker --config x.toml") else { panic!("worker") };
        assert_eq!(file.path, Some("x.toml".into()));
    }
}
