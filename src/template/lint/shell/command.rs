//! The command that is really run: without `sudo`, `env` and their like in front.

use super::{Command, Word};

/// A command's name and arguments.
#[derive(Debug, Clone, Copy)]
pub struct Simple<'c> {
    pub command: &'c Command,
    /// Without its folder: `apt-get` for `/usr/bin/apt-get`.
    pub name: &'c str,
    pub name_word: &'c Word,
    pub arguments: &'c [Word],
    /// Whether `sudo` or `doas` stands before it.
    pub sudo: bool,
}

impl<'c> Simple<'c> {
    /// Whether one of the arguments is exactly that.
    #[must_use]
    pub fn has(&self, argument: &str) -> bool {
        self.arguments.iter().any(|word| word.text == argument)
    }

    /// Whether one of the arguments is one of those.
    #[must_use]
    pub fn has_any(&self, arguments: &[&str]) -> bool {
        self.arguments.iter().any(|word| arguments.contains(&word.text.as_str()))
    }

    /// The arguments that are no options.
    pub fn operands(&self) -> impl Iterator<Item = &'c Word> {
        self.arguments.iter().filter(|word| !word.text.starts_with('-'))
    }

    /// Whether a short option is given, alone or among others: `-yq` has `y`.
    #[must_use]
    pub fn has_short(&self, flag: char) -> bool {
        self.arguments.iter().any(|word| {
            word.text
                .strip_prefix('-')
                .is_some_and(|flags| flags.contains(flag) && flags.chars().all(|c| c.is_ascii_alphabetic()))
        })
    }

    /// Whether an argument may hold more arguments that are not known yet: `$OPTIONS`, `${var.flags}`.
    #[must_use]
    pub fn may_hold_options(&self) -> bool {
        self.arguments
            .iter()
            .any(|word| word.expands && (word.text.starts_with('$') || word.text.starts_with(super::HOLE)))
    }
}

/// Options of wrappers that take the next word as their value.
fn takes_value(wrapper: &str, option: &str) -> bool {
    match wrapper {
        "sudo" => {
            matches!(option, "-u" | "-g" | "-C" | "-D" | "-h" | "-p" | "-r" | "-t" | "-T" | "-U" | "--user" | "--group")
        }
        "doas" => matches!(option, "-u" | "-C"),
        "env" => matches!(option, "-u" | "-C" | "-S" | "--unset" | "--chdir"),
        "nice" => matches!(option, "-n" | "--adjustment"),
        "ionice" => matches!(option, "-c" | "-n" | "-p"),
        "timeout" => matches!(option, "-k" | "-s" | "--kill-after" | "--signal"),
        "xargs" => {
            matches!(option, "-n" | "-I" | "-P" | "-L" | "-d" | "-a" | "-s" | "-E" | "--max-args" | "--max-procs")
        }
        _ => false,
    }
}

/// Finds the command behind wrappers; `None` for assignments alone.
#[must_use]
pub fn simple(command: &Command) -> Option<Simple<'_>> {
    let mut words = command.words.as_slice();
    let mut sudo = false;
    loop {
        let (first, rest) = words.split_first()?;
        let name = first.text.rsplit('/').next().unwrap_or_default();
        let wraps = matches!(
            name,
            "sudo"
                | "doas"
                | "env"
                | "nohup"
                | "time"
                | "exec"
                | "command"
                | "nice"
                | "ionice"
                | "timeout"
                | "xargs"
                | "eatmydata"
                | "builtin"
                | "chroot"
        );
        if !wraps {
            return Some(Simple { command, name, name_word: first, arguments: rest, sudo });
        }
        sudo |= matches!(name, "sudo" | "doas");
        words = rest;
        while let Some((word, rest)) = words.split_first() {
            if word.text.starts_with('-') {
                words = rest;
                if takes_value(name, &word.text) {
                    words = words.get(1..).unwrap_or_default();
                }
            } else if matches!(name, "sudo" | "doas" | "env") && word.text.contains('=') && !word.text.starts_with('=')
            {
                words = rest;
            } else {
                break;
            }
        }
        // `timeout 5m cmd`, `chroot /mnt cmd`.
        if matches!(name, "timeout" | "chroot") {
            words = words.get(1..).unwrap_or_default();
        }
    }
}
