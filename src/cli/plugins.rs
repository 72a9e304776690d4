//! `ingot plugins`. Packer keeps plugins as files; Ingot's components are built in.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::complaint::{Complaint, Sources};
use super::error::CliResult;
use super::exit::Exit;
use super::inputs::{GivenArgs, TemplateArgs, complaints};
use super::voice::{Voice, VoiceArgs};
use crate::template;
use crate::template::hcl::plugins::BUILT_IN;
use crate::template::source::did_you_mean;

/// Where Packer's own plugins come from.
const HASHICORP: &str = "github.com/hashicorp/";

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
    /// List what a template requires.
    Required {
        /// The template's folder or file.
        path: PathBuf,
    },
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
                BUILT_IN.iter().try_for_each(|name| voice.say(&format!("{HASHICORP}{name} (built in)")))?;
                Ok(Exit::Success)
            }
            Action::Required { path } => required(path, voice),
            Action::Install(plugin) if is_built_in(&plugin.source) => {
                let asked = plugin.wanted.map(|version| format!("; {version} was asked for")).unwrap_or_default();
                voice.say(&format!("{} is built in, in Ingot's own version{asked}.", plugin.source))?;
                Ok(Exit::Success)
            }
            Action::Remove(plugin) if is_built_in(&plugin.source) => {
                voice.say(&format!("{} is built in and stays.", plugin.source))?;
                Ok(Exit::Success)
            }
            Action::Install(Plugin { source, .. }) | Action::Remove(Plugin { source, .. }) => {
                let known: Vec<String> = BUILT_IN.iter().map(|name| format!("{HASHICORP}{name}")).collect();
                let hint = did_you_mean(&source, known.iter().map(String::as_str)).text;
                let complaint = Complaint::error(format!("Ingot has no plugin {source:?}"), &hint);
                voice.complain(&[complaint], &Sources::new(), None)?;
                Ok(Exit::Failed)
            }
        }
    }
}

fn is_built_in(source: &str) -> bool {
    source.strip_prefix(HASHICORP).is_some_and(|name| BUILT_IN.contains(&name))
}

fn required(path: PathBuf, voice: &Voice) -> CliResult<Exit> {
    let inputs = TemplateArgs { path, given: GivenArgs::default() }.read(std::iter::empty())?;
    let outline = match template::outline(&inputs.packed.bundle) {
        Ok(outline) => outline,
        Err(diagnostics) => {
            voice.complain(&complaints(&diagnostics), &inputs.sources(), None)?;
            return Ok(Exit::Failed);
        }
    };
    if outline.plugins.is_empty() {
        voice.say("The template requires no plugins.")?;
    }
    for plugin in outline.plugins {
        let there = if plugin.built_in { "built in" } else { "not part of Ingot" };
        voice.say(&format!("{} {} {:?} ({there})", plugin.name, plugin.source, plugin.version))?;
    }
    Ok(Exit::Success)
}
