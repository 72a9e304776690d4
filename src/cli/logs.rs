//! `ingot logs`: the log of a run, or of one build.

use std::io::IsTerminal as _;

use clap::Args;

use super::client::Client;
use super::error::{CliError, CliResult};
use super::exit::Exit;
use super::follow::{Ending, Following, follow};
use super::screen::{ColorChoice, Look, Screen, sanitize};
use super::{Context, interrupts};

#[derive(Debug, Args)]
pub struct LogsArgs {
    /// The id of a run or of a build.
    id: String,
    /// Go on until it is over. Ctrl-C ends the following, not the run.
    #[arg(short, long)]
    follow: bool,
    /// Colours: auto, always or never.
    #[arg(long, value_enum, default_value_t, value_name = "WHEN")]
    color: ColorChoice,
    /// Put the time before each line (with --follow).
    #[arg(long, requires = "follow")]
    timestamp_ui: bool,
}

impl LogsArgs {
    pub(super) async fn run(self, context: &Context) -> CliResult<Exit> {
        if context.json() {
            return Err(CliError::Usage("a log is not available as JSON yet: leave -o json out".into()));
        }
        let client = context.client()?;
        match self.of(&client, "runs").await {
            // Ids of builds are looked for when there is no such run.
            Err(CliError::Problem(problem)) if problem.status == 404 => match self.of(&client, "builds").await {
                Err(CliError::Problem(second)) if second.status == 404 => {
                    Err(CliError::Local(format!("there is no run and no build {:?}", self.id)))
                }
                outcome => outcome,
            },
            outcome => outcome,
        }
    }

    async fn of(&self, client: &Client, collection: &str) -> CliResult<Exit> {
        let path = [collection, &self.id, "log"];
        let look = Look::of_terminal(self.color, self.timestamp_ui, false);
        let mut screen = Screen::new(Box::new(std::io::stdout()), look);
        if !self.follow {
            let text = client.get_text(&path).await?;
            for line in text.lines() {
                // What goes to a file or a pipe is exactly the log.
                let line = if std::io::stdout().is_terminal() { sanitize(line, look.color) } else { line.to_owned() };
                screen.raw(&line)?;
            }
            return Ok(Exit::Success);
        }
        let following = Following { path: &path, cancels: None };
        match follow(client, following, &mut screen, &mut interrupts()).await? {
            Ending::Over { .. } => Ok(Exit::Success),
            Ending::Stuck => {
                screen.say("It is stuck and waits for an operator; `ingot runs show` says why.")?;
                Ok(Exit::Failed)
            }
            Ending::Left => Ok(Exit::Interrupted),
        }
    }
}
