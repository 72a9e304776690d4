//! The commands of a server's machine, as the command line gives them; `app` carries them out.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// What reads the server's configuration.
#[derive(Debug, Subcommand)]
pub enum ServerCommand {
    /// Run the server.
    #[command(
        after_help = "SIGTERM or SIGINT once: no new builds are begun, requests and running builds get the configured \
        grace; what is not done by then is carried on by the next server. Twice: stop at once."
    )]
    Serve(ConfigFile),
    /// Bring the database to this version's schema, and stop.
    Migrate(ConfigFile),
    /// Check or show the server's configuration.
    Config(ConfigArgs),
    /// Print the API's description (`OpenAPI` 3.1, YAML).
    Openapi,
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
