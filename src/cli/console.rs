//! `ingot console`: evaluates lines in the context of a template. From a pipe, as Packer does it, all lines are evaluated
//! and the last result is printed.

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};

use clap::Args;

use super::Context;
use super::complaint::{Complaint, Sources};
use super::error::{CliError, CliResult};
use super::exit::Exit;
use super::inputs::{GivenArgs, Inputs, TemplateArgs};
use super::pack::Packed;
use super::voice::{Voice, VoiceArgs, print};
use crate::domain::bundle::Bundle;
use crate::template::console::{INPUT, eval};
use crate::template::inspect::inspect;

const HELP: &str = "An expression is evaluated in the template's context: var.NAME, local.NAME, functions.
  variables  shows the variables and locals
  exit       ends the console, as Ctrl-D does";

#[derive(Debug, Args)]
pub struct ConsoleArgs {
    /// The template's folder or file; without one, expressions have no variables.
    path: Option<PathBuf>,
    #[command(flatten)]
    given: GivenArgs,
    #[command(flatten)]
    pub voice: VoiceArgs,
}

/// What a line comes to.
type Answer = Result<String, (Vec<Complaint>, Sources)>;

impl ConsoleArgs {
    pub(super) fn run(self, context: &Context, voice: &Voice) -> CliResult<Exit> {
        let given = &self.given;
        given.refuse_selection("console")?;
        let inputs = match &self.path {
            Some(path) if path == Path::new("-") => {
                return Err(CliError::Usage("standard input has the lines; name the template's file or folder".into()));
            }
            Some(path) => TemplateArgs { path: path.clone(), given: given.clone() }.read(std::env::vars_os())?,
            None => {
                let nothing = Packed { bundle: Bundle::default(), root: PathBuf::from("."), single: None };
                given.inputs(nothing, std::env::vars_os())?
            }
        };
        let console = Console { given, inputs, context, voice };
        if io::stdin().is_terminal() { console.converse() } else { console.read_all() }
    }
}

struct Console<'a> {
    given: &'a GivenArgs,
    inputs: Inputs,
    context: &'a Context,
    voice: &'a Voice,
}

impl Console<'_> {
    fn read_all(&self) -> CliResult<Exit> {
        let mut last = String::new();
        let mut exit = Exit::Success;
        for line in io::stdin().lock().lines() {
            let line = line.map_err(|error| CliError::file("-", error))?;
            if line.trim() == "exit" {
                break;
            }
            match self.answer(line.trim())? {
                Ok(answer) => last = answer,
                Err((complaints, sources)) => {
                    self.voice.complain(&complaints, &sources, None)?;
                    last.clear();
                    exit = Exit::Failed;
                }
            }
        }
        self.voice.say(&last)?;
        Ok(exit)
    }

    fn converse(&self) -> CliResult<Exit> {
        let mut lines = io::stdin().lock().lines();
        loop {
            print("> ")?;
            let Some(line) = lines.next() else {
                print("\n")?;
                return Ok(Exit::Success);
            };
            let line = line.map_err(|error| CliError::file("-", error))?;
            match line.trim() {
                "exit" => return Ok(Exit::Success),
                "help" => self.voice.say(HELP)?,
                line => match self.answer(line)? {
                    Ok(answer) => self.voice.say(&answer)?,
                    Err((complaints, sources)) => self.voice.complain(&complaints, &sources, None)?,
                },
            }
            io::stderr().flush().map_err(|error| CliError::output(&error))?;
        }
    }

    fn answer(&self, line: &str) -> CliResult<Answer> {
        let git_sha = self.given.git_sha.as_deref();
        let clock = &*self.context.clock;
        match line {
            "" => Ok(Ok(String::new())),
            "variables" => {
                let looked = self.given.look(&self.inputs, git_sha, clock, inspect)?;
                Ok(match &looked.outcome {
                    Ok(inspection) => Ok(variables(&inspection.to_string())),
                    Err(diagnostics) => Err((looked.complaints(diagnostics), looked.sources)),
                })
            }
            line => {
                let looked = self.given.look(&self.inputs, git_sha, clock, |request| eval(request, line))?;
                Ok(match &looked.outcome {
                    Ok(answer) => Ok(answer.clone()),
                    Err(diagnostics) => {
                        let complaints = looked.complaints(diagnostics);
                        let mut sources = looked.sources;
                        sources.insert(INPUT.to_owned(), line.to_owned());
                        Err((complaints, sources))
                    }
                })
            }
        }
    }
}

/// The part of an inspection that comes before its builds.
fn variables(inspection: &str) -> String {
    let from = inspection.find("> input-variables:").unwrap_or(0);
    let to = inspection.find("> builds:").unwrap_or(inspection.len());
    inspection[from..to].trim_end().to_owned()
}
