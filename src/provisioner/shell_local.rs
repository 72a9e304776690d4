//! The `shell-local` provisioner: scripts on the server's own machine, with Packer's options, defaults and messages
//! (<https://developer.hashicorp.com/packer/docs/provisioners/shell-local>). Whether a server runs any is its policy's word,
//! which is asked before this is called. Packer's scripts run where Packer was started, with its environment; these run in
//! a temporary directory that holds the bundle's files and is removed afterwards, with an environment that has nothing of
//! the server's but `PATH` and `LANG`. They still run as the server's user: `docs/operations.md` says what that means.
//! `folder` is the directory, `group` the processes.

mod folder;
mod group;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;

use async_trait::async_trait;
use tokio::process::Command;

pub use folder::remove_leftovers;

use super::{ProvisionContext, ProvisionError, ProvisionOutcome, Provisioner, environment, exit_code};
use crate::communicator::{CommunicatorError, shell_quote};
use crate::domain::bundle::written;
use crate::domain::config::LateString;
use crate::domain::config::provisioner::ShellLocal;
use folder::Folder;
use group::{Ended, run};

/// Go's name of the system that servers run on.
const SYSTEM: &str = "linux";
/// Where programs are when the server itself was not told.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
const DEFAULT_LANG: &str = "C.UTF-8";

#[async_trait]
impl Provisioner for ShellLocal {
    fn kind(&self) -> &'static str {
        "shell-local"
    }

    async fn provision(&self, context: &ProvisionContext<'_>) -> Result<ProvisionOutcome, ProvisionError> {
        if !self.only_on.is_empty() && !self.only_on.iter().any(|system| system == SYSTEM) {
            (context.say)("Skipping shell-local due to runtime OS");
            return Ok(ProvisionOutcome::default());
        }
        let variables = environment::variables(&self.environment_vars, &self.env, context)?;
        let folder = Folder::make(context.bundle).await.map_err(|error| {
            ProvisionError::Server(format!("the server can't make a temporary directory for the script: {error}"))
        })?;
        let result = self.run_all(context, &folder, &variables).await;
        if let Err(error) = folder.remove().await {
            (context.say)(&format!("The temporary directory could not be removed whole: {error}"));
        }
        result.map(|()| ProvisionOutcome::default())
    }
}

/// One script as it lies in the directory.
struct Script<'a> {
    label: &'a str,
    /// Relative to the directory's files, or absolute.
    path: OsString,
    bytes: &'a [u8],
}

impl ShellLocal {
    async fn run_all(
        &self,
        context: &ProvisionContext<'_>,
        folder: &Folder,
        variables: &BTreeMap<String, String>,
    ) -> Result<(), ProvisionError> {
        if !self.inline.is_empty() {
            let text = self.inline_script(context)?;
            let path = folder.add_script(self.tempfile_extension.as_deref(), text.as_bytes()).await;
            let path = path.map_err(|error| ProvisionError::Server(format!("the script can't be written: {error}")))?;
            let script = Script { label: "inline commands", path: path.into(), bytes: text.as_bytes() };
            return self.run_script(context, folder, variables, &script).await;
        }
        for name in &self.scripts {
            let found = context.bundle.resolve(name).ok().flatten();
            let (label, file) = found.ok_or_else(|| {
                ProvisionError::Configuration(format!("the script {name:?} is not among the template's files"))
            })?;
            let path = folder.file(label);
            let label = written(label);
            let script = Script { label: &label, path: path.into(), bytes: &file.bytes };
            self.run_script(context, folder, variables, &script).await?;
        }
        Ok(())
    }

    /// Unlike `shell`'s, a shebang among the commands does not count.
    fn inline_script(&self, context: &ProvisionContext<'_>) -> Result<String, ProvisionError> {
        let mut text = format!("#!{}\n", self.inline_shebang.as_deref().unwrap_or("/bin/sh -e"));
        for line in &self.inline {
            text.push_str(&context.render("inline", &line.0, &BTreeMap::new())?);
            text.push('\n');
        }
        Ok(text)
    }

    async fn run_script(
        &self,
        context: &ProvisionContext<'_>,
        folder: &Folder,
        variables: &BTreeMap<String, String>,
        script: &Script<'_>,
    ) -> Result<(), ProvisionError> {
        let words = self.command_line(context, variables, script)?;
        let Some((program, arguments)) = words.split_first() else {
            return Err(ProvisionError::Configuration("execute_command is empty".to_owned()));
        };
        let mut command = Command::new(program);
        command.args(arguments).current_dir(folder.files());
        set_environment(&mut command, folder, context.run_id, variables);
        (context.say)(&format!("Running local shell script: {}", script.label));
        match run(command, context.output, context.cancel).await {
            Ok(Ended::Itself(status)) => exit_code::check_process(status, &self.valid_exit_codes),
            Ok(Ended::Cancelled) => Err(CommunicatorError::cancelled().into()),
            Err(error) => Err(ProvisionError::Script(format!(
                "{} can't be started on the server: {error}. It needs to be installed there; execute_command is a program, then each of its arguments.",
                Path::new(program).display()
            ))),
        }
    }

    /// What is started. Without `execute_command` the script's interpreter is started with it, as the kernel would: the
    /// script needs no executable bit for that, its folder may be on a file system without programs, and the variables
    /// stay out of the command line, which every user of the machine can read.
    fn command_line(
        &self,
        context: &ProvisionContext<'_>,
        variables: &BTreeMap<String, String>,
        script: &Script<'_>,
    ) -> Result<Vec<OsString>, ProvisionError> {
        if self.execute_command.is_empty() && self.env_var_format.is_none() {
            let mut words = interpreter(script.bytes);
            words.push(script.path.clone());
            return Ok(words);
        }
        let path = script.path.to_str().ok_or_else(|| {
            ProvisionError::Server(
                "the server's temporary directory has a name that is not UTF-8; set TMPDIR".to_owned(),
            )
        })?;
        let format = self.env_var_format.as_deref().unwrap_or("%s='%s' ");
        let vars = environment::formatted(variables, format)?;
        if self.execute_command.is_empty() {
            let line = format!("{vars} {}", shell_quote(path));
            return Ok(["/bin/sh", "-c", &line].map(OsString::from).to_vec());
        }
        let fields = BTreeMap::from([
            ("Vars".to_owned(), vars),
            ("Script".to_owned(), path.to_owned()),
            ("Command".to_owned(), path.to_owned()),
        ]);
        let word = |part: &LateString| context.render("execute_command", &part.0, &fields).map(OsString::from);
        self.execute_command.iter().map(word).collect()
    }
}

/// The words of a script's first line as the kernel takes them, a program and one argument; none for a program that is not
/// a script; the shell for what does not say.
fn interpreter(script: &[u8]) -> Vec<OsString> {
    use std::os::unix::ffi::OsStrExt as _;
    if script.starts_with(b"\x7fELF") {
        return Vec::new();
    }
    let line = script.strip_prefix(b"#!").and_then(|rest| rest.split(|byte| *byte == b'\n').next());
    let line = line.unwrap_or_default().trim_ascii();
    let end = line.iter().position(u8::is_ascii_whitespace).unwrap_or(line.len());
    let (program, argument) = (&line[..end], line[end..].trim_ascii());
    let program = if program.is_empty() { b"/bin/sh" } else { program };
    let mut words = vec![std::ffi::OsStr::from_bytes(program).to_owned()];
    if !argument.is_empty() {
        words.push(std::ffi::OsStr::from_bytes(argument).to_owned());
    }
    words
}

/// Nothing of the server's environment but where programs are and the language: it may hold the database's password, cloud
/// credentials and tokens.
fn set_environment(command: &mut Command, folder: &Folder, run_id: &str, variables: &BTreeMap<String, String>) {
    let own = |name: &str, default: &str| std::env::var_os(name).unwrap_or_else(|| default.into());
    command.env_clear();
    command.env("PATH", own("PATH", DEFAULT_PATH)).env("LANG", own("LANG", DEFAULT_LANG));
    command.env("HOME", folder.home()).env("TMPDIR", folder.temporary());
    command.env("PACKER_RUN_UUID", run_id);
    command.envs(variables);
}

#[cfg(test)]
mod tests;
