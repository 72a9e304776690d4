//! `ingot init`. Packer downloads plugins here; Ingot's components are built in, so there is only to be said whether the
//! template requires one that Ingot does not have.

use std::path::PathBuf;

use clap::Args;

use super::complaint::count;
use super::error::CliResult;
use super::exit::Exit;
use super::inputs::{GivenArgs, TemplateArgs, complaints};
use super::voice::{Voice, VoiceArgs};
use crate::domain::diagnostic::Diagnostic;
use crate::template::{self, PluginOutline};

#[derive(Debug, Args)]
pub struct InitArgs {
    /// The template's folder or file.
    path: PathBuf,
    /// Packer then looks for newer plugins. Ingot's are as new as Ingot is.
    #[arg(long)]
    upgrade: bool,
    #[command(flatten)]
    pub voice: VoiceArgs,
}

/// What there is to say of a plugin that is not built in.
fn missing(plugin: &PluginOutline) -> Diagnostic {
    Diagnostic::error(format!("Ingot does not have the plugin {:?} ({})", plugin.name, plugin.source))
        .with_detail("components are built in and no plugins are installed; take it out of required_plugins, and leave builds that use it to Packer")
        .at(Some(plugin.at.clone()))
        .until(Some(plugin.end))
}

impl InitArgs {
    pub(super) fn run(self, voice: &Voice) -> CliResult<Exit> {
        let args = TemplateArgs { path: self.path, given: GivenArgs::default() };
        let inputs = args.read(std::iter::empty())?;
        let missing = match template::outline(&inputs.packed.bundle) {
            Ok(outline) => outline.plugins.iter().filter(|plugin| !plugin.built_in).map(missing).collect(),
            Err(diagnostics) => diagnostics,
        };
        if !missing.is_empty() {
            let complaints = complaints(&missing);
            let closing = format!("The template's plugins are not all there: {}", count(&complaints));
            voice.complain(&complaints, &inputs.sources(), Some(&closing))?;
            return Ok(Exit::Failed);
        }
        let words = "There is nothing to install: Ingot's components are built in.";
        let newer = " Newer ones come with a newer Ingot.";
        voice.say(&format!("{words}{}", if self.upgrade { newer } else { "" }))?;
        Ok(Exit::Success)
    }
}
