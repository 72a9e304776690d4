//! Downloads that nobody checks.

use std::collections::HashSet;

use crate::template::lint::context::Context;
use crate::template::lint::findings::Findings;
use crate::template::lint::scripts::Script;
use crate::template::lint::shell::{self, Command, Simple, Word};

pub fn check(context: &Context<'_>, findings: &mut Findings) {
    for script in &context.scripts {
        for index in 0..script.parsed.commands.len() {
            piped(script, index, findings);
        }
        let checks = verifies(script);
        let executables = executables(script);
        for command in &script.parsed.commands {
            let Some(simple) = shell::simple(command) else { continue };
            insecure(script, &simple, findings);
            if !checks {
                unverified(script, command, &simple, &executables, findings);
            }
        }
    }
}

fn downloads(simple: &Simple<'_>) -> bool {
    matches!(simple.name, "curl" | "wget" | "fetch" | "aria2c" | "http" | "https" | "xh")
}

/// Whether the command runs the program that comes in on its standard input.
fn runs_input(simple: &Simple<'_>) -> bool {
    let shell = matches!(simple.name, "sh" | "bash" | "dash" | "zsh" | "ksh" | "ash");
    let other = matches!(simple.name, "perl" | "ruby" | "node" | "php") || simple.name.starts_with("python");
    let mut arguments = simple.arguments.iter().map(|word| word.text.as_str());
    if shell {
        // `bash file` and `bash -c …` run something else.
        return arguments
            .find(|word| !word.starts_with('-') || matches!(*word, "-" | "-s" | "--") || word.ends_with('c'))
            .is_none_or(|word| {
                matches!(word, "-" | "-s" | "--" | "/dev/stdin") || (word.starts_with('-') && word.ends_with('s'))
            });
    }
    other && arguments.all(|word| word == "-")
}

fn piped(script: &Script, index: usize, findings: &mut Findings) {
    let command = &script.parsed.commands[index];
    let Some(simple) = shell::simple(command) else { return };
    let (pipeline, position) = script.parsed.pipeline(index);
    let before =
        pipeline[..position].iter().find(|before| shell::simple(before).is_some_and(|simple| downloads(&simple)));
    let inner = |word: &Word| {
        let commands = script.parsed.commands.get(word.inner.clone()).unwrap_or_default();
        commands.iter().any(|command| shell::simple(command).is_some_and(|simple| downloads(&simple)))
    };
    let substituted = match simple.name {
        "sh" | "bash" | "dash" | "zsh" | "ksh" => {
            simple.arguments.iter().chain(command.redirects.iter().map(|redirect| &redirect.target)).any(inner)
        }
        "eval" | "source" | "." => simple.arguments.iter().any(inner),
        // `$(curl …)` as a command of its own.
        _ => simple.name_word.text.starts_with(['$', '`', '<']) && inner(simple.name_word),
    };
    let start = match before {
        Some(before) if runs_input(&simple) => before.span.start,
        _ if substituted => command.span.start,
        _ => return,
    };
    findings.add(
        "download-piped",
        script.place(&(start..command.span.end.max(start))),
        "a script from the network is run as it comes",
        "Whoever controls the server, or the name, runs commands as root in your image; a broken connection runs half of the script; and \
         it installs another version next month. Download a certain version to a file, compare its checksum, then run it.",
    );
}

/// Whether something in the script compares what was downloaded.
fn verifies(script: &Script) -> bool {
    const TOOLS: &[&str] = &[
        "sha256sum",
        "sha512sum",
        "sha1sum",
        "shasum",
        "sha384sum",
        "b2sum",
        "md5sum",
        "cosign",
        "minisign",
        "gpgv",
        "gpgv2",
        "rpmkeys",
        "debsig-verify",
        "slsa-verifier",
        "signify",
    ];
    script.parsed.commands.iter().filter_map(shell::simple).any(|simple| match simple.name {
        "gpg" | "gpg2" => simple.has("--verify"),
        "openssl" => simple.has("dgst"),
        "rpm" => simple.has("-K") || simple.has("--checksig"),
        "gh" => simple.has("attestation"),
        "aria2c" => simple.arguments.iter().any(|word| word.text.starts_with("--checksum")),
        name => TOOLS.contains(&name),
    })
}

/// Files that are run or unpacked.
fn is_program(url: &str) -> bool {
    const ENDINGS: &[&str] = &[
        ".tar.gz",
        ".tgz",
        ".tar.xz",
        ".tar.bz2",
        ".tar.zst",
        ".zip",
        ".deb",
        ".rpm",
        ".sh",
        ".run",
        ".bin",
        ".jar",
        ".gz",
        ".xz",
        ".whl",
        ".pkg",
        ".appimage",
    ];
    let path = url.split(['?', '#']).next().unwrap_or_default().to_lowercase();
    ENDINGS.iter().any(|ending| path.ends_with(ending))
}

fn is_local(url: &str) -> bool {
    let host = url.split("://").nth(1).unwrap_or_default();
    let host = host.split(['/', ':', '?']).next().unwrap_or_default();
    host.is_empty()
        || !host.contains('.')
        || host.starts_with("127.")
        || host.starts_with("169.254.")
        || host.contains(['$', '{', shell::HOLE])
}

/// Names of files that `chmod` makes programs of.
fn executables(script: &Script) -> HashSet<&str> {
    let commands = script.parsed.commands.iter().filter_map(shell::simple).filter(|simple| simple.name == "chmod");
    let adds = |simple: &Simple<'_>| {
        simple
            .arguments
            .iter()
            .any(|word| word.text.contains("+x") || word.text.contains("rx") || word.text.starts_with(['7', '0']))
    };
    let names = commands
        .filter(adds)
        .flat_map(|simple| simple.arguments)
        .map(|word| word.text.rsplit('/').next().unwrap_or_default());
    names.filter(|name| name.len() > 2).collect()
}

fn unverified(
    script: &Script,
    command: &Command,
    simple: &Simple<'_>,
    executables: &HashSet<&str>,
    findings: &mut Findings,
) {
    if !downloads(simple) || command.nested {
        return;
    }
    let url = simple.arguments.iter().find(|word| word.text.contains("://") && !word.text.starts_with('-'));
    let Some(url) = url.filter(|url| !is_local(&url.text)) else { return };
    let name = url.text.rsplit('/').next().unwrap_or_default();
    let target = simple
        .arguments
        .iter()
        .skip_while(|word| !matches!(word.text.as_str(), "-o" | "--output" | "-O" | "--output-document"))
        .nth(1);
    let target = target.map(|word| word.text.as_str()).or_else(|| {
        command.redirects.iter().find(|redirect| redirect.writes()).map(|redirect| redirect.target.text.as_str())
    });
    let target = target.map(|target| target.rsplit('/').next().unwrap_or_default());
    let made_executable = executables.contains(name) || target.is_some_and(|target| executables.contains(target));
    if is_program(&url.text) || made_executable {
        findings.add(
            "download-unverified",
            script.place(&url.span),
            "this file is used without comparing its checksum",
            "A file that was replaced on the server, or cut short on the way, goes into the image unseen. Write the checksum into the \
             script: echo \"SHA256  FILE\" | sha256sum --check, or check the publisher's signature with gpg --verify.",
        );
    }
}

fn insecure(script: &Script, simple: &Simple<'_>, findings: &mut Findings) {
    let option = |names: &[&str]| simple.arguments.iter().find(|word| names.contains(&word.text.as_str()));
    let short_k = || {
        simple.arguments.iter().find(|word| {
            word.text.strip_prefix('-').is_some_and(|flags| {
                flags.chars().all(char::is_alphabetic) && flags.contains('k') && !flags.contains('o')
            })
        })
    };
    let off = match simple.name {
        "curl" => option(&["--insecure"]).or_else(short_k),
        "wget" => option(&["--no-check-certificate"]),
        "apt-get" | "apt" => option(&["--allow-unauthenticated", "--force-yes", "--allow-insecure-repositories"]),
        "yum" | "dnf" | "tdnf" => option(&["--nogpgcheck", "--no-gpgchecks"]),
        "zypper" => option(&["--no-gpg-checks", "--no-gpg-check"]),
        "rpm" => option(&["--nosignature", "--nodigest"]),
        "pip" | "pip3" => option(&["--trusted-host"]),
        _ => None,
    };
    if let Some(word) = off.filter(|_| !to_local(simple)) {
        findings.add(
            "download-insecure",
            script.place(&word.span),
            format!("{} switches the check of what {} downloads off", word.text, simple.name),
            "Anybody on the way can then put something else into the image. Install the certificate or key that is missing, and remove \
             the option.",
        );
    }
    let fetches =
        downloads(simple) || matches!(simple.name, "yum" | "dnf" | "rpm" | "git" | "pip" | "pip3" | "zypper" | "npm");
    let plain = simple.arguments.iter().find(|word| word.text.starts_with("http://") && !is_local(&word.text));
    if let Some(word) = plain.filter(|_| fetches) {
        findings.add(
            "download-insecure",
            script.place(&word.span),
            "this download goes over http",
            "Anybody on the way can put something else into the image. Write https://; where there is only http, compare a checksum that \
             stands in the template.",
        );
    }
}

/// `curl -k https://localhost/` asks the machine itself.
fn to_local(simple: &Simple<'_>) -> bool {
    let mut urls = simple.arguments.iter().filter(|word| word.text.contains("://")).peekable();
    urls.peek().is_some() && urls.all(|url| is_local(&url.text))
}
