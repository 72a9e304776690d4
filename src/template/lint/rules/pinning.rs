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
    word.contains('/') || word.starts_with(['@', '.', '~']) || word.ends_with(".rpm") || word.ends_with(".deb")
}

fn system_packages(script: &Script, simple: &Simple<'_>, findings: &mut Findings) {
    let dash_version =
        |name: &str| name.rsplit('-').any(|part| part.starts_with(|c: char| c.is_ascii_digit()) && part.contains('.'));
    let (verbs, pinned): (&[&str], &dyn Fn(&str) -> bool) = match simple.name {
        "apt-get" | "apt" | "aptitude" => (&["install"], &|name| name.contains('=')),
        "yum" | "dnf" | "microdnf" | "tdnf" => (&["install", "localinstall"], &dash_version),
        "zypper" => (&["install", "in"], &|name| name.contains('=') || dash_version(name)),
        "apk" => (&["add"], &|name| name.contains(['=', '~', '<', '>'])),
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
    let (verbs, with_value, fix): (&[&str], &[&str], &str) = match simple.name {
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
            "Write name==version, or a requirements file with versions and hashes.",
        ),
        "npm" | "pnpm" => (
            &["install", "i", "add"],
            &["--prefix", "--registry"],
            "Write name@version, or use npm ci with a lock file.",
        ),
        "yarn" => (&["add"], &["--registry"], "Write name@version."),
        "gem" => (&["install"], &["-v", "--version", "-i", "--source"], "Add -v VERSION."),
        "go" => (&["install"], &[], "Write module@v1.2.3."),
        "cargo" => (
            &["install"],
            &["--version", "--git", "--rev", "--tag", "--branch", "--root", "--features", "--path"],
            "Add --version VERSION and --locked.",
        ),
        "ansible-galaxy" => (
            &["install"],
            &["-r", "-p", "--requirements-file", "--role-file", "--roles-path", "-s"],
            "Write collection:==version or role,version, in requirements.yml too.",
        ),
        _ => return,
    };
    let versions = ["-v", "--version", "--rev", "--tag", "--constraint", "-c"];
    if simple
        .arguments
        .iter()
        .any(|word| versions.iter().any(|flag| word.text == *flag || word.text.starts_with(&format!("{flag}="))))
    {
        return;
    }
    let latest = |word: &str| word.ends_with("@latest") || word.ends_with("@next");
    let pinned = |word: &str| match simple.name {
        "pip" | "pip3" | "pipx" => {
            word.contains("==")
                || word.contains('@')
                || word.contains(">=") && word.contains('<')
                || word.contains("~=")
        }
        "npm" | "pnpm" | "yarn" => word.trim_start_matches('@').contains('@') && !latest(word),
        "gem" => word.contains(':'),
        "go" => word.contains('@') && !latest(word),
        "cargo" => word.contains('@'),
        _ => word.contains([',', ':', '=']),
    };
    let local = |word: &str| {
        word.starts_with(['.', '/', '~'])
            || word.contains("://")
            || word.starts_with("git+")
            || word.ends_with(".whl")
            || word.ends_with(".tgz")
            || word.ends_with(".gz")
    };
    // pip itself and its build tools are brought up to date first by nearly everybody.
    let tool = |word: &str| matches!(word, "pip" | "setuptools" | "wheel") && simple.name.starts_with("pip");
    let names = names(&simple, verbs, with_value);
    if let Some(word) = names.iter().find(|word| !local(&word.text) && !tool(&word.text) && !pinned(&word.text)) {
        report(script, word, format!("{} installs {} in no certain version", simple.name, word.text), fix, findings);
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
    url.ends_with(".asc")
        || url.ends_with(".gpg")
        || url.ends_with(".key")
        || url.ends_with("/gpg")
        || url.contains("gpg-key")
        || url.contains("gpg.key")
        || url.ends_with(".repo")
        || url.ends_with(".list")
        || url.contains("169.254.169.254")
}
