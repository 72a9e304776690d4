//! Package managers that would ask a question nobody answers.

use crate::template::lint::context::Context;
use crate::template::lint::findings::Findings;
use crate::template::lint::scripts::Script;
use crate::template::lint::shell::{self, Simple};

pub fn check(context: &Context<'_>, findings: &mut Findings) {
    for script in &context.scripts {
        let assumes_yes = script.text.contains("Assume-Yes") || script.text.contains("assumeyes");
        for (index, command) in script.parsed.commands.iter().enumerate() {
            let Some(simple) = shell::simple(command) else { continue };
            let Some(flag) = missing_flag(&simple) else { continue };
            let answered = answers(script, index) || simple.may_hold_options() && !simple.may_only_be_packages();
            if assumes_yes && matches!(simple.name, "apt" | "apt-get" | "yum" | "dnf") || answered {
                continue;
            }
            let end = simple.arguments.last().unwrap_or(simple.name_word).span.end;
            let start = simple.name_word.span.start;
            findings.add(
                "package-prompt",
                script.place(&(start..end)),
                format!("{} asks before it does anything, and nobody is there to answer", simple.name),
                format!("The command waits for an answer or gives up, and the build fails. Add {flag}."),
            );
        }
    }
}

impl Simple<'_> {
    /// Whether what expands stands after the package manager's command, as packages do: `apt-get install $PACKAGES`.
    fn may_only_be_packages(&self) -> bool {
        let options = self.arguments.iter().filter(|word| word.expands);
        options.clone().all(|word| {
            let name = word.text.to_lowercase();
            !["opt", "flag", "arg", "yes", "param"].iter().any(|part| name.contains(part)) && word.text.starts_with('$')
        })
    }
}

/// Whether `yes` or `echo y` is piped into the command.
fn answers(script: &Script, index: usize) -> bool {
    let (pipeline, position) = script.parsed.pipeline(index);
    let before = &pipeline[..position];
    before.iter().filter_map(shell::simple).any(|simple| matches!(simple.name, "yes" | "echo" | "printf"))
        || pipeline[position].redirects.iter().any(|redirect| matches!(redirect.operator, "<<<" | "<<" | "<"))
}

/// The option that a package manager lacks to work without asking.
#[must_use]
pub fn missing_flag(simple: &Simple<'_>) -> Option<&'static str> {
    let verb = verb(simple)?;
    let has_long = |names: &[&str]| simple.has_any(names);
    match simple.name {
        "apt-get" | "apt" | "aptitude" => apt(simple, verb),
        "yum" | "dnf" | "dnf5" | "microdnf" | "tdnf" => {
            let changes = matches!(
                verb,
                "install"
                    | "update"
                    | "upgrade"
                    | "remove"
                    | "erase"
                    | "localinstall"
                    | "groupinstall"
                    | "group"
                    | "reinstall"
                    | "autoremove"
                    | "downgrade"
                    | "distro-sync"
                    | "swap"
                    | "module"
                    | "update-minimal"
                    | "upgrade-minimal"
                    | "groupupdate"
            );
            let harmless =
                matches!(verb, "module" | "group") && !(has_long(&["install", "enable", "remove", "update", "reset"]));
            let yes = simple.has_short('y') || has_long(&["--assumeyes", "--assumeno", "--downloadonly"]);
            (changes && !harmless && !yes).then_some("-y")
        }
        "amazon-linux-extras" => (verb == "install" && !simple.has_short('y')).then_some("-y"),
        "zypper" => {
            let changes = matches!(
                verb,
                "install"
                    | "in"
                    | "update"
                    | "up"
                    | "remove"
                    | "rm"
                    | "dup"
                    | "dist-upgrade"
                    | "patch"
                    | "install-new-recommends"
                    | "source-install"
                    | "si"
            );
            let yes = simple.has_short('n')
                || simple.has_short('y')
                || has_long(&["--non-interactive", "--no-confirm", "--quiet-install"]);
            (changes && !yes).then_some("--non-interactive before the command, as in zypper --non-interactive install")
        }
        "pacman" => {
            let first = simple.arguments.first().map_or("", |word| word.text.as_str());
            let changes = ["-S", "-R", "-U"].iter().any(|flag| first.starts_with(flag))
                && !first.starts_with("-Ss")
                && !first.starts_with("-Si");
            (changes && !has_long(&["--noconfirm", "--noask"])).then_some("--noconfirm")
        }
        "add-apt-repository" | "apt-add-repository" => {
            (!simple.has_short('y') && !has_long(&["--yes"])).then_some("-y")
        }
        "conda" | "mamba" => {
            let changes = matches!(verb, "install" | "create" | "update" | "remove");
            (changes && !simple.has_short('y') && !has_long(&["--yes"])).then_some("-y")
        }
        "pip" | "pip3" => (verb == "uninstall" && !simple.has_short('y') && !has_long(&["--yes"])).then_some("-y"),
        _ => None,
    }
}

fn apt(simple: &Simple<'_>, verb: &str) -> Option<&'static str> {
    let changes = matches!(
        verb,
        "install"
            | "upgrade"
            | "dist-upgrade"
            | "full-upgrade"
            | "safe-upgrade"
            | "remove"
            | "purge"
            | "autoremove"
            | "build-dep"
            | "reinstall"
    );
    let quiet_twice = simple.arguments.iter().any(|word| {
        word.text.strip_prefix('-').is_some_and(|flags| flags.matches('q').count() >= 2 && !flags.starts_with('-'))
    });
    let quiet = quiet_twice || simple.has_any(&["-q=2"]);
    let yes = quiet
        || simple.has_short('y')
        || simple.has_short('s')
        || simple.has_any(&[
            "--yes",
            "--assume-yes",
            "--dry-run",
            "--simulate",
            "--just-print",
            "--no-act",
            "--download-only",
            "--help",
        ]);
    (changes && !yes).then_some("-y")
}

/// The first word that is no option and no option's value.
#[must_use]
pub fn verb<'s>(simple: &Simple<'s>) -> Option<&'s str> {
    let mut skip = false;
    for word in simple.arguments {
        if skip {
            skip = false;
        } else if word.text.starts_with('-') {
            skip = matches!(word.text.as_str(), "-o" | "-c" | "-t" | "-d" | "-x" | "--option" | "--root" | "-R");
        } else {
            return Some(&word.text);
        }
    }
    // `pacman -Syu` has options only.
    simple.arguments.first().map(|word| word.text.as_str())
}
