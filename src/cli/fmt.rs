//! `ingot fmt`: brings HCL2 files to their canonical layout, as `packer fmt` does.

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use clap::Args;

use super::complaint::{Complaint, Sources, count};
use super::error::{CliError, CliResult};
use super::exit::Exit;
use super::voice::{Voice, VoiceArgs, print};
use crate::template::hcl::fmt::{format, unified_diff};

/// Folders in folders.
const MAX_DEPTH: usize = 64;

#[expect(clippy::struct_excessive_bools, reason = "each is an option of its own")]
#[derive(Debug, Args)]
#[command(
    after_help = "Exit codes: 0 done, 1 a file can't be read or parsed, 3 with --check: a file would be changed."
)]
pub struct FmtArgs {
    /// Files, folders (their *.pkr.hcl and *.pkrvars.hcl), or - for standard input.
    #[arg(required = true)]
    paths: Vec<PathBuf>,
    /// Change nothing; the exit code is 3 when a file would be changed.
    #[arg(long)]
    check: bool,
    /// Show what is changed.
    #[arg(long)]
    diff: bool,
    /// Whether files are changed; with false their names are printed only.
    #[arg(long, num_args = 0..=1, require_equals = true, default_value_t = true, default_missing_value = "true", action = clap::ArgAction::Set, value_name = "true|false")]
    write: bool,
    /// Folders in folders, too.
    #[arg(long)]
    recursive: bool,
    #[command(flatten)]
    pub voice: VoiceArgs,
}

/// What was found on the way.
#[derive(Default)]
struct Found {
    changed: bool,
    complaints: Vec<Complaint>,
    sources: Sources,
}

impl FmtArgs {
    pub(super) fn run(self, voice: &Voice) -> CliResult<Exit> {
        let mut found = Found::default();
        for path in &self.paths {
            if path == Path::new("-") {
                self.standard_input(&mut found)?;
            } else if path.is_dir() {
                self.folder(path, 0, &mut found)?;
            } else {
                self.file(path, &mut found)?;
            }
        }
        if !found.complaints.is_empty() {
            let closing = format!("Not all files could be formatted: {}", count(&found.complaints));
            voice.complain(&found.complaints, &found.sources, Some(&closing))?;
            return Ok(Exit::Failed);
        }
        Ok(if self.check && found.changed { Exit::NotFormatted } else { Exit::Success })
    }

    fn writes(&self) -> bool {
        self.write && !self.check
    }

    fn standard_input(&self, found: &mut Found) -> CliResult<()> {
        let mut text = String::new();
        std::io::stdin().lock().read_to_string(&mut text).map_err(|error| CliError::file("-", error))?;
        let Some(formatted) = found.formatted("<stdin>", &text) else { return Ok(()) };
        let same = formatted == text;
        found.changed |= !same;
        if same || self.writes() { print(&formatted) } else { Ok(()) }
    }

    fn folder(&self, folder: &Path, depth: usize, found: &mut Found) -> CliResult<()> {
        let entries = fs::read_dir(folder).and_then(Iterator::collect::<Result<Vec<_>, _>>);
        let mut entries = match entries {
            Ok(entries) => entries,
            Err(error) => {
                found.unreadable(folder, &error);
                return Ok(());
            }
        };
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let Ok(name) = entry.file_name().into_string() else { continue };
            if is_ignored(&name) {
                continue;
            }
            // `.` is not part of a name that is shown.
            let path = if folder == Path::new(".") { PathBuf::from(&name) } else { folder.join(&name) };
            // A link to a folder is not followed: it could lead back.
            let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
            if is_folder && self.recursive && depth < MAX_DEPTH {
                self.folder(&path, depth + 1, found)?;
            } else if !is_folder && is_hcl(&name) {
                self.file(&path, found)?;
            }
        }
        Ok(())
    }

    fn file(&self, path: &Path, found: &mut Found) -> CliResult<()> {
        let shown = path.display().to_string();
        if !is_hcl(&shown) {
            let detail = "files that are formatted end in .pkr.hcl or .pkrvars.hcl";
            found.complaints.push(Complaint::error(format!("{shown} is no HCL2 file"), detail));
            return Ok(());
        }
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) => {
                found.unreadable(path, &error);
                return Ok(());
            }
        };
        let Some(formatted) = found.formatted(&shown, &text) else { return Ok(()) };
        if formatted == text {
            return Ok(());
        }
        found.changed = true;
        print(&format!("{shown}\n"))?;
        if self.writes()
            && let Err(error) = fs::write(path, &formatted)
        {
            found.complaints.push(Complaint::error(format!("{shown} can't be written: {error}"), ""));
            return Ok(());
        }
        if self.diff { print(&unified_diff(&shown, &text, &formatted)) } else { Ok(()) }
    }
}

impl Found {
    fn formatted(&mut self, path: &str, text: &str) -> Option<String> {
        match format(path, text) {
            Ok(formatted) => Some(formatted),
            Err(diagnostics) => {
                self.complaints.extend(diagnostics.iter().map(Complaint::from));
                self.sources.insert(path.to_owned(), text.to_owned());
                None
            }
        }
    }

    fn unreadable(&mut self, path: &Path, error: &std::io::Error) {
        self.complaints.push(Complaint::error(format!("{} can't be read: {error}", path.display()), ""));
    }
}

fn is_hcl(name: &str) -> bool {
    name.ends_with(".pkr.hcl") || name.ends_with(".pkrvars.hcl")
}

/// Hidden files and what editors leave.
fn is_ignored(name: &str) -> bool {
    name.starts_with('.') || name.ends_with('~') || (name.starts_with('#') && name.ends_with('#'))
}
