//! `ingot fix`. Packer's command rewrites what old versions of Packer wrote otherwise. Ingot says of each option that it
//! does not take what to write instead, so nothing is rewritten behind anybody's back.

use clap::Args;

use super::error::{CliError, CliResult};
use super::exit::Exit;
use super::inputs::{GivenArgs, TemplateArgs, complaints};
use super::voice::{Voice, VoiceArgs, print};

#[derive(Debug, Args)]
pub struct FixArgs {
    /// The JSON template, or - for standard input.
    path: std::path::PathBuf,
    /// Check the template, too.
    #[arg(long, num_args = 0..=1, require_equals = true, default_value_t = true, default_missing_value = "true", action = clap::ArgAction::Set, value_name = "true|false")]
    validate: bool,
    #[command(flatten)]
    pub voice: VoiceArgs,
}

impl FixArgs {
    pub(super) fn run(self, voice: &Voice) -> CliResult<Exit> {
        let args = TemplateArgs { path: self.path, given: GivenArgs::default() };
        let inputs = args.read(std::iter::empty())?;
        let file = inputs.packed.single.as_ref().and_then(|name| inputs.packed.bundle.get(name));
        let Some(file) = file else {
            return Err(CliError::Usage("name the template's file, not its folder".to_owned()));
        };
        let text = String::from_utf8_lossy(&file.bytes).into_owned();
        if self.validate
            && let Err(diagnostics) = crate::template::outline(&inputs.packed.bundle)
        {
            let complaints = complaints(&diagnostics);
            voice.complain(
                &complaints,
                &inputs.sources(),
                Some("The template is not valid, and it was not changed"),
            )?;
            return Ok(Exit::Failed);
        }
        // On standard output comes the template, as from Packer.
        eprintln!("Ingot rewrites nothing; the template is printed as it is.");
        if voice.is_machine() {
            voice.say(&text)?;
        } else {
            print(&text)?;
        }
        Ok(Exit::Success)
    }
}
