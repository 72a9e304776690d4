//! `[policy]`: what a template may name besides what its account allows. See [`crate::domain::policy`].

use ipnet::IpNet;

use super::section::Section;
use super::{Lines, line, list};
use crate::domain::diagnostic::Diagnostic;

#[derive(Debug, Clone)]
pub struct PolicySettings {
    /// Hosts, addresses and CIDRs that `ssh_host` may name; none by default.
    pub ssh_hosts: Vec<String>,
    /// Account ids, and ARNs of organizations and their units, that AMIs and snapshots may be shared with, `*` for all; `all`
    /// lets them be made public. None by default.
    pub share_accounts: Vec<String>,
    /// Whether `shell-local` provisioners may run on this machine; off by default.
    pub shell_local: bool,
}

impl PolicySettings {
    pub(super) fn read(root: &mut Section, found: &mut Vec<Diagnostic>) -> Self {
        let mut section = root.section("policy", found);
        let hosts = section.list("ssh_hosts", found);
        let accounts = section.list("share_accounts", found);
        let shell_local = section.boolean("shell_local", found).unwrap_or(false);
        for host in hosts.iter().filter(|host| host.value.contains('/') && host.value.parse::<IpNet>().is_err()) {
            found
                .push(host.place.error(format!("policy.ssh_hosts: {:?} is not a CIDR such as 10.0.0.0/8", host.value)));
        }
        for account in accounts.iter().filter(|account| !is_account(&account.value)) {
            let complaint = format!(
                "policy.share_accounts: {:?} is not an AWS account id of 12 digits, nor an organization's ARN, nor * or all",
                account.value
            );
            found.push(account.place.error(complaint));
        }
        section.finish(found);
        Self {
            ssh_hosts: hosts.into_iter().map(|host| host.value).collect(),
            share_accounts: accounts.into_iter().map(|account| account.value).collect(),
            shell_local,
        }
    }

    pub(super) fn describe(&self, lines: &mut Lines) {
        line(lines, "policy.ssh_hosts", list(&self.ssh_hosts));
        line(lines, "policy.share_accounts", list(&self.share_accounts));
        line(lines, "policy.shell_local", self.shell_local);
    }
}

fn is_account(text: &str) -> bool {
    let organization = text.starts_with("arn:") && text.contains(":organizations:");
    text == "*" || text == "all" || organization || (text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit()))
}
