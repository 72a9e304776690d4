//! `ingot version`.

use clap::Args;
use serde_json::json;

use super::Context;
use super::error::CliResult;
use super::exit::Exit;
use super::voice::{Voice, VoiceArgs};
use crate::template::runtime::PACKER_VERSION;

#[derive(Debug, Args)]
pub struct VersionArgs {
    #[command(flatten)]
    pub voice: VoiceArgs,
}

pub(super) fn run(context: &Context, voice: &Voice) -> CliResult<Exit> {
    let version = env!("CARGO_PKG_VERSION");
    if context.json() {
        context.print_json(&json!({"version": version, "packer": PACKER_VERSION}))?;
        return Ok(Exit::Success);
    }
    // Programs ask for the language that they may use.
    voice.machine("", "version", &[PACKER_VERSION])?;
    voice.machine("", "version-prelease", &[""])?;
    voice.machine("", "version-commit", &[""])?;
    voice.say(&format!("ingot {version}"))?;
    voice.say(&format!("Templates are read as Packer {PACKER_VERSION} reads them."))?;
    Ok(Exit::Success)
}
