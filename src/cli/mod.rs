//! The `ingot` command. One file a subcommand; `argv` takes Packer's spellings, `client` talks to a server, `follow`
//! shows a live log. The commands of a server (`serve`, `migrate`, `config`, …) are only described here: `app` carries
//! them out, so that a client command loads nothing of theirs.

mod argv;
mod audit;
mod build;
mod client;
pub mod complaint;
mod console;
mod error;
pub mod exit;
mod fix;
mod fmt;
mod follow;
mod git;
mod hcl2_upgrade;
mod image_name;
mod images;
mod init;
mod inputs;
mod inspect;
mod janitor;
mod latest;
mod lists;
mod logs;
mod machine;
mod mentions;
mod missing_file;
mod pack;
mod plugins;
pub mod problem;
mod promote;
pub mod render;
mod request;
mod resume;
mod runs;
mod schedules;
mod screen;
pub mod server;
mod sse;
mod stages;
mod summary;
mod table;
#[cfg(test)]
mod test_support;
pub mod token;
mod validate;
mod version;
mod voice;
mod wire;

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;

use clap::{Args, Parser, Subcommand, ValueEnum};
use secrecy::{ExposeSecret as _, SecretString};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use tokio::sync::mpsc;

use self::client::Client;
use self::complaint::Sources;
use self::error::{CliError, CliResult};
use self::exit::Exit;
use self::render::Renderer;
use self::voice::{Voice, VoiceArgs};
use crate::domain::clock::Clock;

/// Turns Packer templates into golden machine images.
#[derive(Debug, Parser)]
#[command(name = "ingot", version, propagate_version = true, max_term_width = 110)]
#[command(
    after_help = "Exit codes: 0 done, 1 failed or refused, 2 wrong usage, 3 the server can't be reached, 130 interrupted."
)]
pub struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

/// What every client command knows.
#[derive(Debug, Clone, Args)]
pub struct Global {
    /// The server's URL.
    #[arg(
        long,
        global = true,
        env = "INGOT_SERVER",
        default_value = "http://127.0.0.1:8080",
        value_name = "URL",
        help_heading = "Server"
    )]
    pub server: String,
    /// The token. Better given as `INGOT_TOKEN` or in a file: others on this machine can read arguments.
    #[arg(
        long,
        global = true,
        env = "INGOT_TOKEN",
        hide_env_values = true,
        value_name = "TOKEN",
        help_heading = "Server"
    )]
    pub token: Option<SecretString>,
    /// A file that holds the token.
    #[arg(long, global = true, env = "INGOT_TOKEN_FILE", value_name = "FILE", help_heading = "Server")]
    pub token_file: Option<PathBuf>,
    /// For people or for programs.
    #[arg(short, long, global = true, value_enum, default_value_t, value_name = "FORMAT")]
    pub output: Output,
}

/// `-o`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Output {
    #[default]
    Text,
    Json,
}

/// All subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    #[command(flatten)]
    Server(server::ServerCommand),
    #[command(flatten)]
    Client(ClientCommand),
}

/// What needs at most a server's address.
#[derive(Debug, Subcommand)]
pub enum ClientCommand {
    /// Build a template's images on the server and follow the log.
    Build(Box<build::BuildArgs>),
    /// Check a template on this machine, without a server.
    Validate(validate::ValidateArgs),
    /// Show what a template is made of.
    Inspect(inspect::InspectArgs),
    /// Evaluate expressions in a template's context.
    Console(console::ConsoleArgs),
    /// Bring HCL2 files to their canonical layout.
    Fmt(fmt::FmtArgs),
    /// Write a JSON template as HCL2.
    #[command(name = "hcl2_upgrade")]
    Hcl2Upgrade(hcl2_upgrade::UpgradeArgs),
    /// Look whether the plugins that a template requires are there; there is nothing to install.
    Init(init::InitArgs),
    /// Show the plugins whose components are built in.
    Plugins(plugins::PluginsArgs),
    /// Print a template as it is: Ingot rewrites nothing.
    Fix(fix::FixArgs),
    /// List, show, cancel or retry runs.
    Runs(runs::RunsArgs),
    /// Show where a build holds, and answer it.
    Resume(resume::ResumeArgs),
    /// Print the log of a run or of one build.
    Logs(logs::LogsArgs),
    /// List or show images, or tell what happened to one.
    Images(images::ImagesArgs),
    /// Print the AMI that a stage approves.
    #[command(
        after_help = "In a script: AMI=$(ingot latest --family web --region eu-west-1). The exit code is 1, and \
        nothing is printed, when no image is approved."
    )]
    Latest(latest::LatestArgs),
    /// Let a stage hold an image.
    Promote(promote::PromoteArgs),
    /// Let a stage hold an image no longer.
    Demote(promote::DemoteArgs),
    /// Let a stage hold again what it held before.
    Rollback(promote::RollbackArgs),
    /// List the stages, or show what one holds or held.
    Stages(stages::StagesArgs),
    /// Start runs at times: list, show, create, update, pause, resume, trigger or delete schedules.
    Schedules(schedules::SchedulesArgs),
    /// Show who did what.
    #[command(after_help = "With -o json, what was there before and after each deed, too.")]
    Audit(audit::AuditArgs),
    /// Show what should not be there any more and what it costs, or sweep now.
    Janitor(janitor::JanitorArgs),
    /// Create, list, rotate or revoke tokens.
    Token(token::TokenArgs),
    /// Print the version.
    Version(version::VersionArgs),
}

impl ClientCommand {
    /// How the command shall speak, where it says so.
    fn voice(&self) -> VoiceArgs {
        match self {
            Self::Build(args) => args.voice,
            Self::Validate(args) => args.voice,
            Self::Inspect(args) => args.voice,
            Self::Console(args) => args.voice,
            Self::Fmt(args) => args.voice,
            Self::Hcl2Upgrade(args) => args.voice,
            Self::Init(args) => args.voice,
            Self::Plugins(args) => args.voice,
            Self::Fix(args) => args.voice,
            Self::Version(args) => args.voice,
            _ => VoiceArgs::default(),
        }
    }
}

/// Reads the command line.
///
/// # Errors
/// The exit code, when there is nothing more to do: help was printed, or the usage is wrong (which was said).
pub fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Cli, Exit> {
    let args = argv::normalise(args).map_err(|complaint| {
        eprintln!("error: {complaint}");
        Exit::Usage
    })?;
    Cli::try_parse_from(args).map_err(|error| {
        // A closed output is nobody's fault.
        let _ = error.print();
        if error.use_stderr() { Exit::Usage } else { Exit::Success }
    })
}

/// Carries a client command out and says what went wrong.
#[must_use]
pub fn run(global: Global, command: ClientCommand, clock: Arc<dyn Clock>) -> Exit {
    let voice = Voice::new(command.voice(), &clock);
    let context = Context { global, clock };
    // Kept for quoting when the server finds faults.
    let mut sources = Sources::new();
    let outcome = match command {
        ClientCommand::Fmt(_)
        | ClientCommand::Console(_)
        | ClientCommand::Hcl2Upgrade(_)
        | ClientCommand::Init(_)
        | ClientCommand::Plugins(_)
        | ClientCommand::Fix(_)
            if context.json() =>
        {
            Err(CliError::Usage("this command has no JSON output: leave -o json out".to_owned()))
        }
        // Without a runtime: these have to be quick.
        ClientCommand::Validate(args) => args.run(&context, &voice, &mut sources),
        ClientCommand::Inspect(args) => args.run(&context, &voice),
        ClientCommand::Console(args) => args.run(&context, &voice),
        ClientCommand::Fmt(args) => args.run(&voice),
        ClientCommand::Hcl2Upgrade(args) => args.run(&voice),
        ClientCommand::Init(args) => args.run(&voice),
        ClientCommand::Plugins(args) => args.run(&voice),
        ClientCommand::Fix(args) => args.run(&voice),
        ClientCommand::Version(_) => version::run(&context, &voice),
        ClientCommand::Build(args) => block_on(args.run(&context, &voice, &mut sources)),
        ClientCommand::Runs(args) => block_on(args.run(&context)),
        ClientCommand::Resume(args) => block_on(args.run(&context)),
        ClientCommand::Logs(args) => block_on(args.run(&context)),
        ClientCommand::Images(args) => block_on(args.run(&context)),
        ClientCommand::Latest(args) => block_on(args.run(&context)),
        ClientCommand::Promote(args) => block_on(args.run(&context)),
        ClientCommand::Demote(args) => block_on(args.run(&context)),
        ClientCommand::Rollback(args) => block_on(args.run(&context)),
        ClientCommand::Stages(args) => block_on(args.run(&context)),
        ClientCommand::Schedules(args) => block_on(args.run(&context)),
        ClientCommand::Audit(args) => block_on(args.run(&context)),
        ClientCommand::Janitor(args) => block_on(args.run(&context)),
        ClientCommand::Token(args) => block_on(args.run(&context)),
    };
    finish(outcome, &sources, &voice)
}

fn finish(outcome: CliResult<Exit>, sources: &Sources, voice: &Voice) -> Exit {
    let error = match outcome {
        Ok(exit) => return exit,
        Err(error) => error,
    };
    let text = match &error {
        CliError::OutputClosed => String::new(),
        CliError::Problem(problem) => problem.render(sources, voice.color),
        error => Renderer { sources, color: voice.color }.closing(&error.to_string()),
    };
    if !text.is_empty() {
        // Whoever does not read the complaint has the exit code.
        let _ = voice.error(&text);
    }
    error.exit()
}

fn block_on<T>(work: impl Future<Output = CliResult<T>>) -> CliResult<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| CliError::Local(format!("no runtime: {error}")))?.block_on(work)
}

/// A value as the command line and the API spell it.
fn name<V: clap::ValueEnum>(value: &V) -> Option<String> {
    Some(value.to_possible_value()?.get_name().to_owned())
}

/// What commands share.
pub(crate) struct Context {
    pub global: Global,
    pub clock: Arc<dyn Clock>,
}

impl Context {
    fn client(&self) -> CliResult<Client> {
        Client::new(&self.global.server, self.token()?)
    }

    fn token(&self) -> CliResult<Option<SecretString>> {
        if let Some(token) = self.global.token.as_ref().filter(|token| !token.expose_secret().trim().is_empty()) {
            return Ok(Some(SecretString::from(token.expose_secret().trim())));
        }
        let Some(path) = self.global.token_file.as_ref().filter(|path| !path.as_os_str().is_empty()) else {
            return Ok(None);
        };
        let text = std::fs::read_to_string(path).map_err(|error| CliError::file(path, error))?;
        Ok(Some(SecretString::from(text.trim())))
    }

    fn json(&self) -> bool {
        self.global.output == Output::Json
    }

    /// Prints to standard output.
    #[expect(clippy::unused_self, reason = "beside print_json, so that commands have one place to print with")]
    fn print(&self, text: &str) -> CliResult<()> {
        voice::print(text)
    }

    fn print_json(&self, value: &Value) -> CliResult<()> {
        self.print(&format!("{value:#}\n"))
    }

    /// Prints an answer: for programs as it is, for people what `text` makes of it.
    fn print_answer<T: DeserializeOwned>(
        &self,
        client: &Client,
        answer: &Value,
        text: impl FnOnce(&T) -> String,
    ) -> CliResult<()> {
        if self.json() { self.print_json(answer) } else { self.print(&text(&typed(client, answer)?)) }
    }
}

/// One message for each Ctrl-C, from now on.
fn interrupts() -> mpsc::Receiver<()> {
    let (sender, receiver) = mpsc::channel(4);
    tokio::spawn(async move { while tokio::signal::ctrl_c().await.is_ok() && sender.send(()).await.is_ok() {} });
    receiver
}

/// Reads a part of an answer into its type.
fn typed<T: DeserializeOwned>(client: &Client, value: &Value) -> CliResult<T> {
    T::deserialize(value)
        .map_err(|error| CliError::NotIngot { server: client.server().to_owned(), reason: error.to_string() })
}

/// A request's fields. What is null or empty was not given, and is left out.
fn given<'n>(fields: impl IntoIterator<Item = (&'n str, Value)>) -> Map<String, Value> {
    let is_given = |value: &Value| match value {
        Value::Null => false,
        Value::Array(items) => !items.is_empty(),
        Value::Object(members) => !members.is_empty(),
        _ => true,
    };
    let fields = fields.into_iter().filter(|(_, value)| is_given(value));
    fields.map(|(name, value)| (name.to_owned(), value)).collect()
}

/// Pairs of the command line as an object; of equals the later one.
fn object(pairs: &[(String, String)]) -> Value {
    pairs.iter().map(|(name, value)| (name.clone(), json!(value))).collect::<Map<_, _>>().into()
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn packers_spelling_reaches_the_command() {
        let line = "ingot -o json build -var a=1 -var-file x -only=a,b -color=false -timestamp-ui web";
        let cli = parse(line.split(' ').map(OsString::from)).unwrap();
        let Command::Client(ClientCommand::Build(args)) = cli.command else { panic!("build") };
        assert_eq!(args.template.given.vars, [("a".to_owned(), "1".to_owned())]);
        assert_eq!(args.template.given.only, ["a", "b"]);
        assert_eq!(args.template.path, PathBuf::from("web"));
        assert!(args.timestamp_ui);
        assert_eq!(args.voice.color, screen::ColorChoice::Never);
        assert_eq!(cli.global.output, Output::Json);
    }

    #[test]
    fn wrong_usage_is_exit_code_two() {
        for line in
            ["ingot", "ingot bake", "ingot build -skip-enforcement .", "ingot build -var a .", "ingot runs show"]
        {
            assert_eq!(parse(line.split(' ').map(OsString::from)).unwrap_err().code(), 2, "{line}");
        }
        assert_eq!(parse(["ingot", "--help"].map(OsString::from)).unwrap_err(), Exit::Success);
    }
}
