//! Versions that are not said: what is installed is whatever is newest on the day.

use super::packages::verb;
use crate::template::lint::context::Context;
use crate::template::lint::findings::Findings;
use crate::template::lint::scripts::Script;
use crate::template::lint::shell::{self, Simple, Word};

pub fn check(context: &Context<'_>, findings: &mut Findings) {
    for script in &context.scripts {
        let checks_out = script.parsed.commands.iter().filter_map(shell::simple).any(|simple| checks_out(&simple));
        for command in &script.parsed.commands {
            let Some(simple) = shell::simple(command) else { continue };
            system_packages(script, &simple, findings);
            language_packages(script, &simple, findings);
            if !checks_out {
                git(script, &simple, findings);
            }
            images(script, &simple, findings);
            urls(script, &simple, findings);
        }
    }
}

/// The words after the verb that name packages.
fn names<'s>(simple: &Simple<'s>, verbs: &[&str], with_value: &[&str]) -> Vec<&'s Word> {
    let mut names = Vec::new();
    let mut after_verb = false;
    let mut skip = false;
    for word in simple.arguments {
        if std::mem::take(&mut skip) {
            continue;
        }
        if word.text.starts_with('-') {
            skip = with_value.contains(&word.text.as_str());
        } else if after_verb {
            names.push(word);
        } else {
            after_verb = verbs.contains(&word.text.as_str());
        }
    }
    names.retain(|word| !word.expands && !word.text.is_empty());
    names
}

/// A file, an address or a group is no package whose version could be said here.
fn is_no_name(word: &str) -> bool {
    word.contains('/') || word.starts_with(['@', '.', '~']) || ends_in(word, &[".rpm", ".deb"])
}

/// `-1.2` in `nginx-1.24.0-1.amzn2`.
fn has_dash_version(name: &str) -> bool {
    name.rsplit('-').any(|part| part.starts_with(|c: char| c.is_ascii_digit()) && part.contains('.'))
}

fn ends_in(text: &str, endings: &[&str]) -> bool {
    endings.iter().any(|ending| text.ends_with(ending))
}

fn system_packages(script: &Script, simple: &Simple<'_>, findings: &mut Findings) {
    type Pinned = fn(&str) -> bool;
    let (verbs, pinned): (&[&str], Pinned) = match simple.name {
        "apt-get" | "apt" | "aptitude" => (&["install"], |name| name.contains('=')),
        "yum" | "dnf" | "microdnf" | "tdnf" => (&["install", "localinstall"], has_dash_version),
        "zypper" => (&["install", "in"], |name| name.contains('=') || has_dash_version(name)),
        "apk" => (&["add"], |name| name.contains(['=', '~', '<', '>'])),
        _ => return,
    };
    let with_value = ["-t", "-o", "-c", "--target-release", "--virtual", "-x", "--repo", "-r"];
    let mut names = names(simple, verbs, &with_value);
    names.retain(|word| !is_no_name(&word.text) && !pinned(&word.text) && !word.text.ends_with('-'));
    let (Some(first), Some(last)) = (names.first(), names.last()) else { return };
    let which = match names.len() {
        1 => format!("{} is", first.text),
        2 => format!("{} and {} are", first.text, last.text),
        more => format!("{} and {} more packages are", first.text, more - 1),
    };
    let example = match simple.name {
        "yum" | "dnf" | "microdnf" | "tdnf" => "nginx-1.24.0",
        _ => "nginx=1.24.0-2ubuntu7",
    };
    findings.add(
        "package-unpinned",
        script.place(&(first.span.start..last.span.end)),
        format!("{which} installed without a version"),
        format!(
            "The same template makes another image next month. Say the version ({example}), or install from a snapshot of the \
             repository, so that an image can be made again."
        ),
    );
}

fn report(script: &Script, word: &Word, summary: String, fix: &str, findings: &mut Findings) {
    let detail = format!("The image depends on what is published on the day it is made. {fix}");
    findings.add("download-unpinned", script.place(&word.span), summary, detail);
}

/// A language's package manager.
struct Installer {
    verbs: &'static [&'static str],
    /// Options that take the next word.
    with_value: &'static [&'static str],
    pinned: fn(&str) -> bool,
    fix: &'static str,
}

fn at_version(word: &str) -> bool {
    word.trim_start_matches('@').contains('@') && !ends_in(word, &["@latest", "@next"])
}

fn installer(name: &str) -> Option<Installer> {
    type Words = &'static [&'static str];
    type Pinned = fn(&str) -> bool;
    let (verbs, with_value, pinned, fix): (Words, Words, Pinned, _) = match name {
        "pip" | "pip3" | "pipx" => (
            &["install"],
            &[
                "-r",
                "--requirement",
                "-c",
                "--constraint",
                "-e",
                "--editable",
                "-t",
                "--target",
                "-i",
                "--index-url",
                "--extra-index-url",
                "--prefix",
                "--root",
                "-f",
                "--find-links",
                "--trusted-host",
                "--python",
            ],
            |word| {
                word.contains("==")
                    || word.contains('@')
                    || word.contains("~=")
                    || (word.contains(">=") && word.contains('<'))
            },
            "Write name==version, or a requirements file with versions and hashes.",
        ),
        "npm" | "pnpm" => (
            &["install", "i", "add"],
            &["--prefix", "--registry"],
            at_version,
            "Write name@version, or use npm ci with a lock file.",
        ),
        "yarn" => (&["add"], &["--registry"], at_version, "Write name@version."),
        "gem" => (&["install"], &["-i", "--source"], |word| word.contains(':'), "Add -v VERSION."),
        "go" => (&["install"], &[], at_version, "Write module@v1.2.3."),
        "cargo" => (
            &["install"],
            &["--git", "--branch", "--root", "--features", "--path"],
            at_version,
            "Add --version VERSION and --locked.",
        ),
        "ansible-galaxy" => (
            &["install"],
            &["-r", "-p", "--requirements-file", "--role-file", "--roles-path", "-s"],
            |word| word.contains([',', ':', '=']),
            "Write collection:==version or role,version, in requirements.yml too.",
        ),
        _ => return None,
    };
    Some(Installer { verbs, with_value, pinned, fix })
}

/// Options that say the version, or a file that does.
const VERSION_OPTIONS: &[&str] = &["-v", "--version", "--rev", "--tag", "--constraint", "-c"];

fn language_packages(script: &Script, simple: &Simple<'_>, findings: &mut Findings) {
    let mut simple = *simple;
    // `python3 -m pip install x` is `pip install x`.
    if simple.name.starts_with("python")
        && let [module, pip, rest @ ..] = simple.arguments
        && module.text == "-m"
        && matches!(pip.text.as_str(), "pip" | "pip3" | "pipx")
    {
        simple = Simple { name: "pip", arguments: rest, ..simple };
    }
    let Some(installer) = installer(simple.name) else { return };
    let says = |word: &Word| VERSION_OPTIONS.iter().any(|flag| word.text.split('=').next() == Some(flag));
    if simple.arguments.iter().any(says) {
        return;
    }
    let local = |word: &str| {
        word.starts_with(['.', '/', '~'])
            || word.contains("://")
            || word.starts_with("git+")
            || ends_in(word, &[".whl", ".tgz", ".gz"])
    };
    // pip itself and its build tools are brought up to date first by nearly everybody.
    let tool = |word: &str| matches!(word, "pip" | "setuptools" | "wheel") && simple.name.starts_with("pip");
    let names = names(&simple, installer.verbs, installer.with_value);
    let loose = |word: &str| !local(word) && !tool(word) && !(installer.pinned)(word);
    if let Some(word) = names.iter().find(|word| loose(&word.text)) {
        let summary = format!("{} installs {} in no certain version", simple.name, word.text);
        report(script, word, summary, installer.fix, findings);
    }
}

/// Whether git goes to a commit that is named.
fn checks_out(simple: &Simple<'_>) -> bool {
    simple.name == "git"
        && simple.arguments.iter().any(|word| matches!(word.text.as_str(), "checkout" | "reset" | "switch"))
}

fn git(script: &Script, simple: &Simple<'_>, findings: &mut Findings) {
    if simple.name != "git" || verb(simple) != Some("clone") {
        return;
    }
    let says = simple.arguments.iter().any(|word| {
        matches!(word.text.as_str(), "-b" | "--branch" | "--revision")
            || word.text.starts_with("--branch=")
            || word.text.starts_with("--revision=")
    });
    if !says {
        let word = simple.operands().nth(1).unwrap_or(simple.name_word);
        report(
            script,
            word,
            "git clone takes the newest commit".to_owned(),
            "Add --branch TAG, or check out a commit afterwards.",
            findings,
        );
    }
}

fn images(script: &Script, simple: &Simple<'_>, findings: &mut Findings) {
    if !matches!(simple.name, "docker" | "podman" | "nerdctl") || verb(simple) != Some("pull") {
        return;
    }
    for word in names(simple, &["pull"], &["--platform"]) {
        let last = word.text.rsplit('/').next().unwrap_or_default();
        if !word.text.contains("@sha256:") && (!last.contains(':') || last.ends_with(":latest")) {
            report(
                script,
                word,
                format!("{} is pulled in no certain version", word.text),
                "Add a tag, or better the digest: name@sha256:….",
                findings,
            );
        }
    }
}

/// Addresses that say themselves that what is behind them changes.
fn urls(script: &Script, simple: &Simple<'_>, findings: &mut Findings) {
    if !matches!(simple.name, "curl" | "wget" | "yum" | "dnf" | "rpm" | "aria2c") {
        return;
    }
    for word in simple.arguments.iter().filter(|word| word.text.contains("://") && !is_key(&word.text)) {
        let path = word.text.split("://").nth(1).unwrap_or_default();
        let mut parts = path.split('/').skip(1);
        let changing = parts.any(|part| {
            matches!(part, "latest" | "master" | "main" | "HEAD" | "nightly" | "stable" | "stable.txt")
                || part.split(['-', '_', '.']).any(|word| word == "latest")
        });
        if changing {
            report(
                script,
                word,
                "this address always gives the newest version".to_owned(),
                "Take the address of one release, and check its checksum.",
                findings,
            );
        }
    }
}

/// Keys are renewed under the same address, and that is wanted.
fn is_key(url: &str) -> bool {
    let url = url.to_lowercase();
    ends_in(&url, &[".asc", ".gpg", ".key", "/gpg", ".repo", ".list"])
        || ["gpg-key", "gpg.key", "169.254.169.254"].iter().any(|part| url.contains(part))
}
