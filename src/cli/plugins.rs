//! `ingot plugins`. Packer keeps plugins as files; Ingot's components are built in.

use clap::{Args, Subcommand};

use super::complaint::Complaint;
use super::error::CliResult;
use super::exit::Exit;
use super::voice::{Voice, VoiceArgs};
use crate::template::source::did_you_mean;

/// The plugins whose components, or some of them, Ingot has.
const BUILT_IN: &[&str] = &["github.com/hashicorp/amazon"];

#[derive(Debug, Args)]
pub struct PluginsArgs {
    #[command(subcommand)]
    action: Action,
    #[command(flatten)]
    pub voice: VoiceArgs,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List what is built in.
    Installed,
    /// Say whether a plugin is there.
    Install(Plugin),
    /// Say that a plugin can't be taken out.
    Remove(Plugin),
}

#[derive(Debug, Args)]
struct Plugin {
    /// Its source, such as github.com/hashicorp/amazon.
    source: String,
    /// The version wanted; what is there is Ingot's own.
    #[arg(value_name = "VERSION")]
    wanted: Option<String>,
}

impl PluginsArgs {
    pub(super) fn run(self, voice: &Voice) -> CliResult<Exit> {
        match self.action {
            Action::Installed => {
                BUILT_IN.iter().try_for_each(|source| voice.say(&format!("{source} (built in)")))?;
                Ok(Exit::Success)
            }
            Action::Install(plugin) if BUILT_IN.contains(&plugin.source.as_str()) => {
                let asked = plugin.wanted.map(|version| format!("; {version} was asked for")).unwrap_or_default();
                voice.say(&format!("{} is built in, in Ingot's own version{asked}.", plugin.source))?;
                Ok(Exit::Success)
            }
            Action::Remove(plugin) if BUILT_IN.contains(&plugin.source.as_str()) => {
                voice.say(&format!("{} is built in and stays.", plugin.source))?;
                Ok(Exit::Success)
            }
            Action::Install(Plugin { source, .. }) | Action::Remove(Plugin { source, .. }) => {
                let hint = did_you_mean(&source, BUILT_IN.iter().copied()).text;
                let complaint = Complaint::error(format!("Ingot has no plugin {source:?}"), &hint);
                voice.complain(&[complaint], &super::complaint::Sources::new(), None)?;
                Ok(Exit::Failed)
            }
        }
    }
}
