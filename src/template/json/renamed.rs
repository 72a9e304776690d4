//! Options that had another name once: what Packer's `fix` turns into today's. Packer itself only says that it does not
//! know them.

use super::template::{Kind, RawComponent};
use crate::domain::diagnostic::{Diagnostic, Hint};
use crate::template::options::{Content, Entry};

/// An option of earlier versions.
struct Old {
    kind: Kind,
    /// How the component's type begins.
    component: &'static str,
    name: &'static str,
    /// Today's name; empty when there is none.
    now: &'static str,
    instead: &'static str,
}

const OLD: &[Old] = &[
    old(Kind::Builder, "", "ssh_key_path", "ssh_private_key_file", ""),
    old(Kind::Builder, "", "ssh_disable_agent", "ssh_disable_agent_forwarding", ""),
    old(Kind::Builder, "amazon-", "shutdown_behaviour", "shutdown_behavior", ""),
    old(Kind::Builder, "amazon-", "enhanced_networking", "ena_support", ""),
    old(
        Kind::Builder,
        "amazon-",
        "ssh_private_ip",
        "ssh_interface",
        "write \"ssh_interface\": \"private_ip\" for true",
    ),
    old(
        Kind::Builder,
        "amazon-",
        "temporary_security_group_source_cidr",
        "temporary_security_group_source_cidrs",
        "write \"temporary_security_group_source_cidrs\": [\"…\"]",
    ),
    old(Kind::Provisioner, "ansible-local", "galaxycommand", "galaxy_command", ""),
    old(Kind::PostProcessor, "manifest", "filename", "output", ""),
    old(Kind::PostProcessor, "docker-login", "login_email", "", "take it out; registries ask for none any more"),
    old(Kind::PostProcessor, "docker-push", "login_email", "", "take it out; registries ask for none any more"),
];

const fn old(kind: Kind, component: &'static str, name: &'static str, now: &'static str, instead: &'static str) -> Old {
    Old { kind, component, name, now, instead }
}

/// Complains about old names, and takes them out so that nobody else does.
pub fn refuse(component: &mut RawComponent, complaints: &mut Vec<Diagnostic>) {
    let (kind, typename) = (component.kind, component.type_name.clone());
    let known: Vec<&Old> = OLD.iter().filter(|old| old.kind == kind && typename.starts_with(old.component)).collect();
    let mut refuse = |entries: &mut Vec<Entry>| {
        entries.retain(|entry| {
            let Some(old) = known.iter().find(|old| old.name == entry.key) else { return true };
            complaints.push(complaint(old, entry));
            false
        });
    };
    refuse(&mut component.entries);
    for entry in component.entries.iter_mut().filter(|entry| entry.key == "override") {
        let Content::Map(overrides) = &mut entry.node.content else { continue };
        for options in overrides {
            if let Content::Map(entries) = &mut options.node.content {
                refuse(entries);
            }
        }
    }
}

fn complaint(old: &Old, entry: &Entry) -> Diagnostic {
    let summary = if old.now.is_empty() {
        format!("{} was an option of earlier versions of Packer", old.name)
    } else {
        format!("{} is called {} now", old.name, old.now)
    };
    let text = if old.instead.is_empty() { format!("write {:?}", old.now) } else { old.instead.to_owned() };
    let suggestion = (!old.now.is_empty()).then(|| old.now.to_owned());
    Diagnostic::error(summary).with_detail(Hint { text, suggestion }).at(Some(entry.key_at.clone()))
}
