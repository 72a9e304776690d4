//! Packer's spellings. Its options have a single dash (`-var`, `-only=…`), as Go's flag package has it; clap wants two.
//! This goes over the arguments of Packer's own commands before clap does, and refuses by name what Packer has and Ingot
//! does not, so that a pipeline that moves over is told what to do.

use std::ffi::OsString;

/// The commands that Packer has, too.
const PACKERS: &[&str] =
    &["build", "console", "fix", "fmt", "hcl2_upgrade", "init", "inspect", "plugins", "validate", "version"];

/// Packer's options that are ours as well, and whether they take a value.
const KNOWN: &[(&str, Takes)] = &[
    ("var", Takes::Value),
    ("var-file", Takes::Value),
    ("only", Takes::Value),
    ("except", Takes::Value),
    ("config-type", Takes::Value),
    ("on-error", Takes::Value),
    ("parallel-builds", Takes::Value),
    ("output-file", Takes::Value),
    ("color", Takes::Attached),
    ("write", Takes::Attached),
    ("validate", Takes::Attached),
    ("timestamp-ui", Takes::Nothing),
    ("syntax-only", Takes::Nothing),
    ("evaluate-datasources", Takes::Nothing),
    ("no-warn-undeclared-var", Takes::Nothing),
    ("warn-on-undeclared-var", Takes::Nothing),
    ("machine-readable", Takes::Nothing),
    ("with-annotations", Takes::Nothing),
    ("recursive", Takes::Nothing),
    ("upgrade", Takes::Nothing),
    ("check", Takes::Nothing),
    ("debug", Takes::Nothing),
    ("force", Takes::Nothing),
    ("diff", Takes::Nothing),
    ("lint", Takes::Nothing),
    ("help", Takes::Nothing),
];

/// Packer's options that Ingot refuses, and what to do instead.
const REFUSED: &[(&str, &str)] = &[
    (
        "ignore-prerelease-plugins",
        "Ingot has no plugins to choose from: its components are built in; leave the option out",
    ),
    (
        "use-sequential-evaluation",
        "locals and data sources are evaluated in the order of their references; leave the option out",
    ),
    ("skip-enforcement", "it belongs to HCP Packer; leave the option out"),
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Takes {
    Nothing,
    /// `-x=v` or `-x v`.
    Value,
    /// `-x` alone or `-x=v`, never `-x v`.
    Attached,
}

/// Global options of ours that take a value as the next argument, needed to find the subcommand.
const GLOBAL_WITH_VALUE: &[&str] = &["--server", "--token", "--token-file", "-o", "--output"];

/// The arguments as clap wants them.
///
/// # Errors
/// The complaint about an option of Packer's that Ingot does not have.
pub fn normalise(args: impl IntoIterator<Item = OsString>) -> Result<Vec<OsString>, String> {
    let mut args: Vec<OsString> = args.into_iter().collect();
    let Some(command) = subcommand(&args) else { return Ok(args.into_iter().map(own_option).collect()) };
    if !args[command].to_str().is_some_and(|name| PACKERS.contains(&name)) {
        return Ok(args);
    }
    let mut rest = args.split_off(command + 1);
    // Packer takes this one anywhere.
    let machine_readable = |arg: &OsString| matches!(arg.to_str(), Some("-machine-readable" | "--machine-readable"));
    if args.iter().chain(&rest).any(machine_readable) {
        args.retain(|arg| !machine_readable(arg));
        rest.retain(|arg| !machine_readable(arg));
        args.push("--machine-readable".into());
    }
    options(rest, args)
}

/// Adds what stands behind a command of Packer's.
fn options(rest: Vec<OsString>, mut out: Vec<OsString>) -> Result<Vec<OsString>, String> {
    let mut rest = rest.into_iter();
    while let Some(arg) = rest.next() {
        if arg == "--" {
            out.push(arg);
            break;
        }
        let Some((name, value)) = packer_option(&arg) else {
            out.push(arg);
            continue;
        };
        if let Some((_, instead)) = REFUSED.iter().find(|(refused, _)| *refused == name) {
            return Err(format!("-{name} is not supported: {instead}"));
        }
        let Some((_, takes)) = KNOWN.iter().find(|(known, _)| *known == name) else {
            out.push(arg);
            continue;
        };
        match (takes, value) {
            (Takes::Nothing, Some(value)) => match go_bool(&value) {
                Some(true) => out.push(format!("--{name}").into()),
                Some(false) => {}
                None => return Err(format!("-{name} is either given or not; it can't be {value:?}")),
            },
            (_, Some(value)) => out.push(format!("--{name}={value}").into()),
            (Takes::Value, None) => match rest.next() {
                // Joined, so that a value that begins with a dash stays a value.
                Some(next) => {
                    let mut joined = OsString::from(format!("--{name}="));
                    joined.push(next);
                    out.push(joined);
                }
                None => out.push(format!("--{name}").into()),
            },
            (_, None) => out.push(format!("--{name}").into()),
        }
    }
    out.extend(rest);
    Ok(out)
}

/// What Go's flag package takes for a bool.
fn go_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

/// Packer's options without a command.
fn own_option(arg: OsString) -> OsString {
    match arg.to_str() {
        Some("-v" | "-version") => "--version".into(),
        Some("-help") => "--help".into(),
        _ => arg,
    }
}

/// The index of the first argument that is neither a global option nor its value.
fn subcommand(args: &[OsString]) -> Option<usize> {
    let mut index = 1;
    while let Some(arg) = args.get(index) {
        let text = arg.to_str().unwrap_or_default();
        if GLOBAL_WITH_VALUE.contains(&text) {
            index += 2;
        } else if text.starts_with('-') {
            index += 1;
        } else {
            return Some(index);
        }
    }
    None
}

/// `-name`, `-name=value`, `--name` or `--name=value` of an option that Packer has.
fn packer_option(arg: &OsString) -> Option<(String, Option<String>)> {
    let text = arg.to_str()?;
    let bare = text.strip_prefix("--").or_else(|| text.strip_prefix('-'))?;
    let (name, value) = match bare.split_once('=') {
        Some((name, value)) => (name, Some(value.to_owned())),
        None => (bare, None),
    };
    let packers = KNOWN.iter().any(|(known, _)| *known == name) || REFUSED.iter().any(|(refused, _)| *refused == name);
    packers.then(|| (name.to_owned(), value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn normalised(line: &str) -> String {
        let args = normalise(line.split(' ').map(OsString::from)).unwrap();
        args.iter().map(|arg| arg.to_str().unwrap()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn packers_single_dash_becomes_ours() {
        assert_eq!(
            normalised("ingot build -var a=b -var-file f -only=x,y -except z -timestamp-ui -color=false ."),
            "ingot build --var=a=b --var-file=f --only=x,y --except=z --timestamp-ui --color=false ."
        );
        assert_eq!(normalised("ingot validate -syntax-only -var=a=-b ."), "ingot validate --syntax-only --var=a=-b .");
        assert_eq!(normalised("ingot fmt -check -diff -write=false ."), "ingot fmt --check --diff --write=false .");
        assert_eq!(
            normalised("ingot build -force -parallel-builds=1 -on-error=abort -"),
            "ingot build --force --parallel-builds=1 --on-error=abort -"
        );
    }

    #[test]
    fn values_that_look_like_options_stay_values() {
        assert_eq!(normalised("ingot build --var -only=x ."), "ingot build --var=-only=x .");
        assert_eq!(normalised("ingot build -- -var"), "ingot build -- -var");
    }

    #[test]
    fn our_own_options_and_other_commands_are_left_alone() {
        assert_eq!(normalised("ingot -o json build -o text --detach p"), "ingot -o json build -o text --detach p");
        assert_eq!(normalised("ingot --server http://x build -only=a p"), "ingot --server http://x build --only=a p");
        assert_eq!(normalised("ingot logs -f build"), "ingot logs -f build");
        assert_eq!(normalised("ingot runs -force"), "ingot runs -force");
    }

    #[test]
    fn packers_options_before_the_command() {
        assert_eq!(normalised("ingot --version"), "ingot --version");
        assert_eq!(normalised("ingot -v"), "ingot --version");
        assert_eq!(normalised("ingot -machine-readable build p"), "ingot build --machine-readable p");
        assert_eq!(
            normalised("ingot plugins installed -machine-readable"),
            "ingot plugins --machine-readable installed"
        );
        assert_eq!(normalised("ingot fmt -help"), "ingot fmt --help");
    }

    #[test]
    fn switches_can_be_said_in_gos_way() {
        assert_eq!(normalised("ingot build -timestamp-ui=true -syntax-only=F ."), "ingot build --timestamp-ui .");
        assert!(
            normalise(["ingot", "build", "-timestamp-ui=maybe"].map(OsString::from)).unwrap_err().contains("maybe")
        );
    }

    #[test]
    fn what_is_missing_is_refused_by_name() {
        for line in ["ingot build -skip-enforcement .", "ingot validate -use-sequential-evaluation ."] {
            let complaint = normalise(line.split(' ').map(OsString::from)).unwrap_err();
            assert!(complaint.contains("not supported"), "{complaint}");
        }
    }

    #[test]
    fn a_missing_value_is_left_to_clap() {
        assert_eq!(normalised("ingot build -var"), "ingot build --var");
    }
}
