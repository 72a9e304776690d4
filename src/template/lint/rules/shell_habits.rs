//! Habits of scripts that cost builds: going on after failures, fixed sleeps, forgotten sudo.

use super::packages;
use crate::template::lint::context::Context;
use crate::template::lint::findings::Findings;
use crate::template::lint::model::Place;
use crate::template::lint::scripts::Script;
use crate::template::lint::shell::{self, Command, Simple};

/// Shells with sudo that are looked at, so that a script with thousands takes no time.
const MAX_OUTER: usize = 100;
/// Seconds from which a sleep is more than a pause for breath.
const LONG_SLEEP: u32 = 5;

pub fn check(context: &Context<'_>, findings: &mut Findings) {
    for script in &context.scripts {
        goes_on(script, findings);
        sleeps(script, findings);
        let build = &context.model.builds[script.build];
        if !script.by_sudo && context.is_not_root(build) {
            without_sudo(script, findings);
        }
    }
}

fn goes_on(script: &Script, findings: &mut Findings) {
    let commands = script.parsed.commands.iter().filter(|command| !command.nested && !command.words.is_empty());
    if script.stops_on_error || commands.count() < 2 {
        return;
    }
    let first_line = script.text.find('\n').unwrap_or(script.text.len());
    let place: Place = script.place(&(0..first_line.max(1)));
    findings.add(
        "script-without-set-e",
        place,
        "the script goes on after a command has failed",
        "The last command alone decides whether the build fails, and an image with half of its contents looks fine. Put `set -euo pipefail` \
         (sh: `set -eu`) at the top.",
    );
}

fn sleeps(script: &Script, findings: &mut Findings) {
    let first = script.parsed.commands.iter().filter(|command| !command.words.is_empty()).filter_map(shell::simple);
    let Some(first) = first.into_iter().find(|simple| !matches!(simple.name, "set" | "echo" | "export")) else {
        return;
    };
    let long = |time: &str| {
        time.ends_with('m') || time.trim_end_matches('s').parse::<u32>().is_ok_and(|seconds| seconds >= LONG_SLEEP)
    };
    if first.name == "sleep" && first.arguments.first().is_some_and(|time| long(&time.text)) {
        findings.add(
            "sleep-as-wait",
            script.place(&first.command.span),
            "a fixed sleep stands for waiting until the machine is ready",
            "On a slow day it is too short, and the package manager is still locked by cloud-init; on all others it is lost time. Wait for \
             what is needed: cloud-init status --wait.",
        );
    }
}

/// The first command of a script that only root can do.
fn without_sudo(script: &Script, findings: &mut Findings) {
    // It asks who it is, or becomes root by itself.
    let own_way =
        ["EUID", "id -u", "whoami", "sudo -i", "sudo su", "sudo -s"].iter().any(|part| script.text.contains(part));
    if own_way {
        return;
    }
    let text = &script.text;
    // `sudo sh -c '…'` and `sudo bash <<EOF`: the outer command has it.
    let outer = script.parsed.commands.iter().filter(|command| {
        shell::simple(command).is_some_and(|simple| {
            simple.name == "su" || (simple.sudo && matches!(simple.name, "sh" | "bash" | "dash" | "zsh" | "ksh"))
        })
    });
    let outer: Vec<&Command> = outer.take(MAX_OUTER).collect();
    let inside_sudo = |simple: &Simple<'_>| {
        let span = &simple.command.span;
        outer.iter().any(|outer| {
            let here = outer
                .redirects
                .iter()
                .any(|redirect| redirect.body.start <= span.start && span.end <= redirect.body.end);
            (outer.span.start < span.start && span.end <= outer.span.end) || here
        })
    };
    for simple in script.parsed.commands.iter().filter_map(shell::simple) {
        if simple.sudo || !needs_root(&simple) || inside_sudo(&simple) {
            continue;
        }
        // A function or variable of that name may hold sudo.
        if text.contains(&format!("{}()", simple.name)) || text.contains(&format!("alias {}=", simple.name)) {
            continue;
        }
        findings.add(
            "sudo-missing",
            script.place(&simple.name_word.span),
            format!("{} needs root, and the SSH user is another one", simple.name),
            "The command fails with \"permission denied\". Put sudo before it, or run the whole script as root: execute_command = \
             \"chmod +x {{ .Path }}; sudo -E {{ .Vars }} {{ .Path }}\".",
        );
        return;
    }
}

fn needs_root(simple: &Simple<'_>) -> bool {
    let verb = packages::verb(simple).unwrap_or_default();
    match simple.name {
        "apt-get" | "apt" | "aptitude" => matches!(
            verb,
            "install"
                | "update"
                | "upgrade"
                | "dist-upgrade"
                | "full-upgrade"
                | "remove"
                | "purge"
                | "autoremove"
                | "clean"
        ),
        "yum" | "dnf" | "tdnf" | "microdnf" => {
            matches!(verb, "install" | "update" | "upgrade" | "remove" | "erase" | "localinstall" | "groupinstall")
        }
        "zypper" => matches!(verb, "install" | "in" | "update" | "up" | "remove" | "rm" | "dup" | "refresh"),
        "amazon-linux-extras" => matches!(verb, "install" | "enable"),
        "systemctl" => {
            matches!(verb, "enable" | "disable" | "start" | "stop" | "restart" | "mask" | "daemon-reload")
                && !simple.has("--user")
        }
        _ => false,
    }
}
