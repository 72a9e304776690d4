//! What a template may not decide by itself: the server's configuration says which hosts, instance profiles and share
//! targets a run may name, because the run wields the server's authority.

use std::net::IpAddr;

use ipnet::IpNet;

use super::config::{BuildConfig, Locations};
use super::diagnostic::Diagnostic;

/// The configured limits for one account.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Policy {
    /// Hosts that `ssh_host` may name: host names, addresses or CIDRs.
    pub ssh_hosts: Vec<String>,
    /// Names or ARNs of instance profiles; `*` allows all.
    pub instance_profiles: Vec<String>,
    /// Account ids that AMIs may be shared with; `*` allows all.
    pub share_accounts: Vec<String>,
    /// Allowed instance types, `*` as wildcard at the end; empty: all.
    pub instance_types: Vec<String>,
    /// GiB per volume.
    pub max_volume_size: Option<i32>,
    /// Allowed regions; empty: all.
    pub regions: Vec<String>,
}

impl Policy {
    /// Everything in a build that the configuration does not allow.
    #[must_use]
    pub fn check(&self, build: &BuildConfig) -> Vec<Diagnostic> {
        let mut complaints = Complaints { locations: build.builder.locations(), found: Vec::new() };
        if let Some(host) = build.builder.communicator().and_then(|ssh| ssh.host.as_ref())
            && !self.ssh_hosts.iter().any(|allowed| host_matches(allowed, host))
        {
            complaints.add("ssh_host", format!("ssh_host {host:?} is not allowed"), "The server would connect to it with a template's word alone. Have an administrator add it to `[policy] ssh_hosts`, or leave ssh_host out to reach the instance itself.");
        }
        let Some(ebs) = build.builder.ebs() else { return complaints.found };
        if let Some(profile) = &ebs.iam_instance_profile
            && !self.instance_profiles.iter().any(|allowed| allowed == "*" || allowed == profile)
        {
            complaints.add("iam_instance_profile", format!("iam_instance_profile {profile:?} is not allowed in this account"), "An instance profile hands its role to every script of the template. Have an administrator add it to the account's `instance_profiles`.");
        }
        for user in &ebs.ami_users {
            if !self.share_accounts.iter().any(|allowed| allowed == "*" || allowed == user) {
                complaints.add(
                    "ami_users",
                    format!("sharing with account {user:?} is not allowed"),
                    "Have an administrator add it to `[policy] share_accounts`.",
                );
            }
        }
        if !self.instance_types.is_empty()
            && !self.instance_types.iter().any(|allowed| type_matches(allowed, &ebs.instance_type))
        {
            complaints.add(
                "instance_type",
                format!("instance type {:?} is not allowed in this account", ebs.instance_type),
                &format!("Allowed: {}.", self.instance_types.join(", ")),
            );
        }
        for region in std::iter::once(&ebs.region).chain(&ebs.ami_regions) {
            if !self.regions.is_empty() && !self.regions.contains(region) {
                let attribute = if *region == ebs.region { "region" } else { "ami_regions" };
                complaints.add(
                    attribute,
                    format!("region {region:?} is not configured for this account"),
                    &format!("Allowed: {}.", self.regions.join(", ")),
                );
            }
        }
        if let Some(limit) = self.max_volume_size {
            for device in ebs
                .launch_block_device_mappings
                .iter()
                .filter(|device| device.volume_size.is_some_and(|size| size > limit))
            {
                complaints.add(
                    "launch_block_device_mappings",
                    format!("volume {} is larger than this account allows", device.device_name),
                    &format!("The limit is {limit} GiB."),
                );
            }
        }
        complaints.found
    }
}

struct Complaints<'a> {
    locations: &'a Locations,
    found: Vec<Diagnostic>,
}

impl Complaints<'_> {
    fn add(&mut self, attribute: &str, summary: String, detail: &str) {
        self.found.push(Diagnostic::error(summary).with_detail(detail).at(self.locations.get(attribute).cloned()));
    }
}

fn host_matches(allowed: &str, host: &str) -> bool {
    if allowed == host {
        return true;
    }
    match (allowed.parse::<IpNet>(), host.parse::<IpAddr>()) {
        (Ok(net), Ok(address)) => net.contains(&address),
        _ => false,
    }
}

fn type_matches(allowed: &str, instance_type: &str) -> bool {
    match allowed.strip_suffix('*') {
        Some(prefix) => instance_type.starts_with(prefix),
        None => allowed == instance_type,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_match_by_name_address_and_network() {
        assert!(host_matches("bastion.example", "bastion.example"));
        assert!(host_matches("127.77.0.0/16", "127.77.3.9"));
        assert!(!host_matches("127.77.0.0/16", "127.78.0.1"));
        assert!(!host_matches("10.0.0.0/8", "evil.example"));
    }

    #[test]
    fn instance_types_may_end_in_a_wildcard() {
        assert!(type_matches("t3.*", "t3.micro") && type_matches("m5.large", "m5.large"));
        assert!(!type_matches("t3.*", "t3a.micro"));
    }
}
