//! `ingot init`. Packer downloads plugins here; Ingot's components are built in, so there is only to be said whether the
//! template requires one that Ingot does not have.

use std::path::PathBuf;

use clap::Args;

use super::complaint::count;
use super::error::CliResult;
use super::exit::Exit;
use super::inputs::{GivenArgs, TemplateArgs, complaints};
use super::voice::{Voice, VoiceArgs};
use crate::template;

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

impl InitArgs {
    pub(super) fn run(self, voice: &Voice) -> CliResult<Exit> {
        let args = TemplateArgs { path: self.path, given: GivenArgs::default() };
        let inputs = args.read(std::iter::empty())?;
        if let Err(diagnostics) = template::outline(&inputs.packed.bundle) {
            let complaints = complaints(&diagnostics);
            let closing = format!("The configuration is not valid: {}", count(&complaints));
            voice.complain(&complaints, &inputs.sources(), Some(&closing))?;
            return Ok(Exit::Failed);
        }
        let words = "There is nothing to install: Ingot's components are built in.";
        let newer = " Newer ones come with a newer Ingot.";
        voice.say(&format!("{words}{}", if self.upgrade { newer } else { "" }))?;
        Ok(Exit::Success)
    }
}
