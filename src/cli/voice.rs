//! How Packer's commands speak: to people on two streams, or to programs in Packer's machine-readable lines.

use std::io::{self, IsTerminal as _, Write as _};
use std::sync::Arc;

use clap::Args;

use super::complaint::{Complaint, Sources};
use super::error::{CliError, CliResult};
use super::machine;
use super::render::Renderer;
use super::screen::{ColorChoice, wants_color};
use crate::domain::clock::Clock;

/// What each of Packer's commands takes.
#[derive(Debug, Clone, Copy, Default, Args)]
pub struct VoiceArgs {
    /// Colours: auto, always or never.
    #[arg(long, value_enum, default_value_t, num_args = 0..=1, require_equals = true, default_missing_value = "always", value_name = "WHEN")]
    pub color: ColorChoice,
    /// Print lines for programs: seconds,target,type,data…
    #[arg(long)]
    pub machine_readable: bool,
}

/// See the module's text.
#[derive(Clone, Default)]
pub struct Voice {
    /// For the time of machine-readable lines; `None`: for people.
    machine: Option<Arc<dyn Clock>>,
    /// Whether complaints are coloured.
    pub color: bool,
}

impl Voice {
    #[must_use]
    pub fn new(args: VoiceArgs, clock: &Arc<dyn Clock>) -> Self {
        let color = !args.machine_readable && wants_color(args.color, io::stderr().is_terminal());
        Self { machine: args.machine_readable.then(|| clock.clone()), color }
    }

    #[must_use]
    pub fn is_machine(&self) -> bool {
        self.machine.is_some()
    }

    /// Says something, with a newline after it.
    ///
    /// # Errors
    /// When the output is closed or full.
    pub fn say(&self, text: &str) -> CliResult<()> {
        match &self.machine {
            Some(_) => self.machine("", "ui", &["say", text]),
            None => print(&format!("{text}\n")),
        }
    }

    /// Complains, with a newline after it.
    ///
    /// # Errors
    /// When the output is closed or full.
    pub fn error(&self, text: &str) -> CliResult<()> {
        if self.is_machine() {
            return self.machine("", "ui", &["error", text.trim_end()]);
        }
        eprintln!("{}", text.trim_end_matches('\n'));
        Ok(())
    }

    /// Shows complaints, and in the end what came of them.
    ///
    /// # Errors
    /// When the output is closed or full.
    pub fn complain(&self, complaints: &[Complaint], sources: &Sources, closing: Option<&str>) -> CliResult<()> {
        let renderer = Renderer { sources, color: self.color };
        if self.is_machine() {
            return complaints.iter().try_for_each(|complaint| self.error(&renderer.one(complaint)));
        }
        let closing = closing.map(|words| renderer.closing(words)).unwrap_or_default();
        eprint!("{}{closing}", renderer.all(complaints));
        Ok(())
    }

    /// A line for programs only.
    ///
    /// # Errors
    /// When the output is closed or full.
    pub fn machine(&self, target: &str, kind: &str, data: &[&str]) -> CliResult<()> {
        match &self.machine {
            Some(clock) => print(&(machine::line(clock.now(), target, kind, data) + "\n")),
            None => Ok(()),
        }
    }
}

/// Prints to standard output.
///
/// # Errors
/// When the output is closed or full.
pub fn print(text: &str) -> CliResult<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(|error| CliError::output(&error))
}
