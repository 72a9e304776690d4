//! Whether the machine is cleaned, and tested, before its image is made.

use crate::domain::lint::LintLevel;
use crate::template::lint::context::Context;
use crate::template::lint::findings::Findings;
use crate::template::lint::model::{Build, Component};
use crate::template::lint::scripts::Script;
use crate::template::lint::shell::{self, Command};

pub fn check(context: &Context<'_>, findings: &mut Findings) {
    for (index, build) in context.model.builds.iter().enumerate() {
        if !context.makes_images(build) || !context.sources(build).all(Component::makes_ami) {
            continue;
        }
        let scripts: Vec<&Script> = context.scripts_of(index).collect();
        clean_up(context, build, &scripts, findings);
        let tests = scripts.iter().any(|script| script.parsed.commands.iter().any(tests));
        if !tests && !scripts.is_empty() && !is_opaque(build, &scripts) {
            findings.add(
                "image-test-missing",
                build.at,
                "nothing tests the machine before its image is made",
                "A broken image is found by the machines that start from it. Run goss, InSpec or a script of your own as the last \
                 provisioner: when it fails, no image is made.",
            );
        }
    }
}

/// Whether provisioners do something that can't be read here: Ansible, Chef, a script that is not in the bundle.
fn is_opaque(build: &Build, scripts: &[&Script]) -> bool {
    let known = |kind: &str| matches!(kind, "shell" | "file" | "breakpoint" | "shell-local");
    let unread = build.provisioners.iter().enumerate().any(|(index, provisioner)| {
        let named = ["script", "scripts"].iter().any(|name| provisioner.gives(name));
        provisioner.kind == "shell" && named && !scripts.iter().any(|script| script.provisioner == index)
    });
    unread
        || build.dynamic.iter().any(|kind| kind == "provisioner")
        || build.provisioners.iter().any(|one| !known(&one.kind))
}

fn clean_up(context: &Context<'_>, build: &Build, scripts: &[&Script], findings: &mut Findings) {
    let ours = context.input.clean_image;
    let cleans = scripts.iter().any(|script| {
        script.path.as_deref().is_some_and(is_cleaners_name) || script.parsed.commands.iter().any(cleans)
    });
    if cleans || is_opaque(build, scripts) || (ours && scripts.is_empty()) {
        return;
    }
    let (level, detail) = if ours {
        (
            Some(LintLevel::Info),
            "Ingot removes the temporary key, host keys, machine id, cloud-init's state, shell history and /tmp by itself. Package caches \
             and logs stay, and `packer build` of the same template would leave the keys, too. End with a shell provisioner that cleans: \
             apt-get clean, rm -rf /var/lib/apt/lists/*, cloud-init clean --logs, rm -f ~/.ssh/authorized_keys, truncate -s 0 \
             /etc/machine-id.",
        )
    } else {
        (
            None,
            "The run asks not to clean the image, so the key that opened the machine opens every machine made from it, all of them share one \
             machine id and host keys, and the shell history shows what was done. End with a shell provisioner that removes \
             authorized_keys, host keys, machine-id and history, and runs cloud-init clean --logs; or leave clean_image on.",
        )
    };
    findings.add_at("clean-up-missing", level, build.at, "nothing cleans the machine before its image is made", detail);
}

fn is_cleaners_name(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or_default().to_lowercase();
    ["clean", "seal", "sysprep", "generali", "deprovision", "finaliz", "finalis", "minimi"]
        .iter()
        .any(|part| name.contains(part))
}

const LEFT_OVERS: &[&str] = &[
    "authorized_keys",
    "/var/lib/apt/lists",
    "/var/cache",
    "_history",
    "machine-id",
    "/var/lib/cloud",
    "ssh_host_",
    "/var/log",
    "/var/lib/dhcp",
    ".ssh",
];

fn cleans(command: &Command) -> bool {
    let left_over = |word: &str| LEFT_OVERS.iter().any(|part| word.contains(part));
    if command.redirects.iter().any(|redirect| {
        redirect.operator == ">" && left_over(&redirect.target.text) && !redirect.target.text.contains("/var/log/")
    }) {
        return true;
    }
    let Some(simple) = shell::simple(command) else { return false };
    match simple.name {
        "apt-get" | "apt" | "yum" | "dnf" | "tdnf" | "microdnf" | "zypper" => {
            simple.operands().any(|word| matches!(word.text.as_str(), "clean" | "autoclean" | "distclean"))
        }
        "cloud-init" | "ec2-macos-init" => simple.has("clean"),
        "rm" | "shred" | "truncate" | "find" => simple.arguments.iter().any(|word| left_over(&word.text)),
        "history" => simple.has("-c"),
        "unset" => simple.has("HISTFILE"),
        "journalctl" => simple.arguments.iter().any(|word| word.text.starts_with("--vacuum")),
        "waagent" | "virt-sysprep" | "sys-unconfig" => true,
        _ => is_cleaners_name(simple.name),
    }
}

fn tests(command: &Command) -> bool {
    let Some(simple) = shell::simple(command) else { return false };
    matches!(
        simple.name,
        "goss"
            | "inspec"
            | "cinc-auditor"
            | "testinfra"
            | "py.test"
            | "pytest"
            | "bats"
            | "rspec"
            | "serverspec"
            | "test"
            | "["
            | "[["
            | "nc"
    ) || simple.name.contains("test")
        || simple.name.contains("verify")
        || (simple.name == "systemctl" && (simple.has("is-active") || simple.has("is-enabled")))
}
