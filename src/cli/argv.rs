//! Packer's spellings. Its options have a single dash (`-var`, `-only=…`), as Go's flag package has it; clap wants two.
//! This goes over the arguments of `build` and `validate` before clap does, and refuses by name what Packer has and Ingot
//! does not have yet, so that a pipeline that moves over is told what to do.

use std::ffi::OsString;

/// Packer's options that are ours as well, and whether they take a value.
const KNOWN: &[(&str, Takes)] = &[
    ("var", Takes::Value),
    ("var-file", Takes::Value),
    ("only", Takes::Value),
    ("except", Takes::Value),
    ("color", Takes::Attached),
    ("timestamp-ui", Takes::Nothing),
    ("syntax-only", Takes::Nothing),
    ("debug", Takes::Nothing),
    ("on-error", Takes::Value),
];

/// Packer's options that Ingot refuses, and what to do instead.
const REFUSED: &[(&str, &str)] = &[
    ("force", "an AMI name in use is an error: put {{timestamp}} into ami_name, or deregister the old image first"),
    ("parallel-builds", "builds go in parallel as far as the server's `[workers] max_builds` lets them"),
    ("machine-readable", "use `-o json`, which prints the finished run as the API shows it"),
    ("warn-on-undeclared-var", "a variable given with -var must be declared"),
    ("no-warn-undeclared-var", "warnings don't change the result; leave the option out"),
    ("evaluate-datasources", "data sources are evaluated by the server when the build runs"),
    ("ignore-prerelease-plugins", "Ingot has no plugins: its builders and provisioners are built in"),
    ("use-sequential-evaluation", "leave the option out"),
    ("skip-enforcement", "leave the option out"),
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
    let args: Vec<OsString> = args.into_iter().collect();
    let Some(command) = subcommand(&args) else { return Ok(args) };
    if !matches!(args[command].to_str(), Some("build" | "validate")) {
        return Ok(args);
    }
    let mut out: Vec<OsString> = args[..=command].to_vec();
    let mut rest = args.into_iter().skip(command + 1);
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
            return Err(format!("-{name} is not supported yet: {instead}"));
        }
        let Some((_, takes)) = KNOWN.iter().find(|(known, _)| *known == name) else {
            out.push(arg);
            continue;
        };
        match (takes, value) {
            (Takes::Nothing, Some(value)) => match value.as_str() {
                "true" | "1" => out.push(format!("--{name}").into()),
                "false" | "0" => {}
                other => return Err(format!("-{name} is either given or not; it can't be {other:?}")),
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
        assert_eq!(normalised("ingot --version"), "ingot --version");
    }

    #[test]
    fn switches_can_be_said_in_gos_way() {
        assert_eq!(normalised("ingot build -timestamp-ui=true -syntax-only=false ."), "ingot build --timestamp-ui .");
        assert!(
            normalise(["ingot", "build", "-timestamp-ui=maybe"].map(OsString::from)).unwrap_err().contains("maybe")
        );
    }

    #[test]
    fn what_is_missing_is_refused_by_name() {
        for line in
            ["ingot build -force .", "ingot build -machine-readable .", "ingot validate -evaluate-datasources ."]
        {
            let complaint = normalise(line.split(' ').map(OsString::from)).unwrap_err();
            assert!(complaint.contains("not supported yet"), "{complaint}");
        }
    }

    #[test]
    fn a_missing_value_is_left_to_clap() {
        assert_eq!(normalised("ingot build -var"), "ingot build --var");
    }
}
