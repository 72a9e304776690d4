//! `ingot hcl2_upgrade`: writes a JSON template as HCL2.

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use clap::Args;

use super::complaint::{Complaint, Sources, count};
use super::error::{CliError, CliResult};
use super::exit::Exit;
use super::voice::{Voice, VoiceArgs, print};
use crate::template::source::SourceFile;
use crate::template::upgrade::upgrade;

#[derive(Debug, Args)]
pub struct UpgradeArgs {
    /// The JSON template, or - for standard input.
    path: PathBuf,
    /// Where to write to; by default beside the template, with .pkr.hcl after its name, and from standard input to standard
    /// output.
    #[arg(long, value_name = "FILE")]
    output_file: Option<PathBuf>,
    /// Explain the blocks in comments.
    #[arg(long)]
    with_annotations: bool,
    #[command(flatten)]
    pub voice: VoiceArgs,
}

impl UpgradeArgs {
    pub(super) fn run(self, voice: &Voice) -> CliResult<Exit> {
        let stdin = self.path == Path::new("-");
        let bytes = if stdin { read_stdin() } else { fs::read(&self.path) };
        let bytes = bytes.map_err(|error| CliError::file(&self.path, error))?;
        let name = if stdin { "<stdin>".to_owned() } else { self.path.display().to_string() };
        let upgraded = SourceFile::from_bytes(&name, &bytes).map_err(|fault| vec![*fault]);
        let text = match upgraded.and_then(|source| upgrade(&source, self.with_annotations)) {
            Ok(text) => text,
            Err(diagnostics) => {
                let complaints: Vec<Complaint> = diagnostics.iter().map(Complaint::from).collect();
                let sources = Sources::from([(name, String::from_utf8_lossy(&bytes).into_owned())]);
                let closing = format!("The template can't be upgraded: {}", count(&complaints));
                voice.complain(&complaints, &sources, Some(&closing))?;
                return Ok(Exit::Failed);
            }
        };
        let output = self.output_file.or_else(|| (!stdin).then(|| beside(&self.path)));
        let Some(output) = output else {
            print(&text)?;
            return Ok(Exit::Success);
        };
        if let Some(folder) = output.parent() {
            fs::create_dir_all(folder).map_err(|error| CliError::file(folder, error))?;
        }
        fs::write(&output, text).map_err(|error| CliError::file(&output, error))?;
        voice.say(&format!("Successfully created {}. Exit 0", output.display()))?;
        Ok(Exit::Success)
    }
}

fn read_stdin() -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    std::io::stdin().lock().read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn beside(template: &Path) -> PathBuf {
    let mut path = template.as_os_str().to_owned();
    path.push(".pkr.hcl");
    path.into()
}
