//! `ingot resume`: shows where a build holds, and answers it.

use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use super::client::Client;
use super::error::{CliError, CliResult};
use super::exit::Exit;
use super::wire::{Build, Hold};
use super::{Context, name, typed};

#[derive(Debug, Args)]
pub struct ResumeArgs {
    /// The build's id.
    #[arg(value_name = "BUILD")]
    build: String,
    /// The answer; without one, what the build waits for is shown.
    #[arg(value_enum, value_name = "ACTION")]
    action: Option<Action>,
    /// Write the private key of the build's machine to this new file, for looking at the machine.
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Action {
    /// Do the failed step again.
    Retry,
    /// Go on after a breakpoint, or in debug mode.
    Continue,
    /// Remove all that was made and end the build.
    Cleanup,
    /// End the build and leave everything in place for a while.
    Abort,
}

impl ResumeArgs {
    pub(super) async fn run(self, context: &Context) -> CliResult<Exit> {
        let client = context.client()?;
        if let Some(path) = &self.key {
            let key = client.get_text(&["builds", &self.build, "ssh-key"]).await?;
            write_key(path, &key)?;
            eprintln!("The key is in {}.", path.display());
        }
        match self.action {
            Some(action) => answer(context, &client, &self.build, action).await?,
            None => show(context, &client, &self.build, self.key.as_deref()).await?,
        }
        Ok(Exit::Success)
    }
}

async fn answer(context: &Context, client: &Client, id: &str, action: Action) -> CliResult<()> {
    // Names the hold that is there now: should the request be sent again, it can't answer the next one.
    let build: Build = client.get(&["builds", id], &[]).await?;
    let hold = build.hold.as_ref().and_then(|hold| hold.seq);
    let body = json!({"action": name(&action), "hold": hold});
    let answer: Value = client.post(&["builds", id, "resume"], Some(&body), None).await?;
    context.print_answer(client, &answer, |build: &Build| {
        format!("Build {} is answered with {}.\n", build.id, name(&action).unwrap_or_default())
    })
}

async fn show(context: &Context, client: &Client, build: &str, key: Option<&Path>) -> CliResult<()> {
    let answer: Value = client.get(&["builds", build], &[]).await?;
    if context.json() {
        return context.print_json(&answer);
    }
    let build: Build = typed(client, &answer)?;
    let text = match &build.hold {
        Some(hold) => held(&build, hold, key),
        None => format!("Build {} is {} and waits for nobody's answer.\n", build.name, build.state),
    };
    context.print(&text)
}

fn held(build: &Build, hold: &Hold, key: Option<&Path>) -> String {
    let note = hold.note.as_ref().map_or_else(String::new, |note| format!(" ({note})"));
    let mut text = if hold.reason == "abort" {
        format!("Build {} has failed. What it made is left in place until {}.\n", build.name, hold.until)
    } else {
        format!(
            "Build {} holds at {}: {}{note}. Without an answer it is cleaned up at {}.\n",
            build.name, hold.step, hold.reason, hold.until
        )
    };
    if let Some(failure) = &hold.failure {
        let _ = writeln!(text, "{}", failure.message);
    }
    if let Some(machine) = &hold.machine {
        let cost = machine.usd_per_hour.map_or_else(String::new, |usd| format!(", about {usd:.2} USD an hour"));
        let (id, kind, region) = (&machine.instance_id, &machine.instance_type, &machine.region);
        let _ = writeln!(text, "Its machine is {id} ({kind}, {region}{cost}).");
        if let (Some(host), Some(port), Some(user)) = (&machine.host, machine.port, &machine.username) {
            match key {
                Some(path) => {
                    let _ = writeln!(text, "Look at it with: ssh -i {} -p {port} {user}@{host}", path.display());
                }
                None => {
                    let _ = writeln!(text, "It answers SSH as {user}@{host} port {port}; --key FILE gets its key.");
                }
            }
        }
    }
    for action in &hold.actions {
        let _ = writeln!(text, "  ingot resume {} {action}", build.id);
    }
    text
}

/// Only its owner may read it, from the first byte on; an existing file is left alone.
fn write_key(path: &Path, key: &str) -> CliResult<()> {
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    file.and_then(|mut file| file.write_all(key.as_bytes())).map_err(|error| CliError::file(path, error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hold_tells_how_to_look_and_what_to_answer() {
        let build: Build = serde_json::from_value(json!({
            "id": "0192", "name": "amazon-ebs.web", "state": "running",
            "hold": {
                "step": "provision:2", "reason": "failure", "note": null, "until": "2026-01-01T10:00:00Z",
                "actions": ["retry", "cleanup", "abort"],
                "failure": {"message": "Provisioner 2 (shell): exit status 1"},
                "machine": {"instance_id": "i-1", "instance_type": "t3.micro", "region": "us-east-1",
                            "host": "192.0.2.1", "port": 22, "username": "ubuntu", "usd_per_hour": 0.0104}
            }
        }))
        .unwrap();
        insta::assert_snapshot!(held(&build, build.hold.as_ref().unwrap(), Some(Path::new("key.pem"))), @"
        Build amazon-ebs.web holds at provision:2: failure. Without an answer it is cleaned up at 2026-01-01T10:00:00Z.
        Provisioner 2 (shell): exit status 1
        Its machine is i-1 (t3.micro, us-east-1, about 0.01 USD an hour).
        Look at it with: ssh -i key.pem -p 22 ubuntu@192.0.2.1
          ingot resume 0192 retry
          ingot resume 0192 cleanup
          ingot resume 0192 abort
        ");
    }
}
