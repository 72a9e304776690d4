//! What a template may not decide by itself: the server's configuration says which hosts, instance profiles and share
//! targets a run may name, because the run wields the server's authority.

use std::net::IpAddr;

use ipnet::IpNet;

use super::config::amazon_ebs::BlockDevice;
use super::config::{AmazonEbs, BuildConfig, BuilderConfig, Locations, ProvisionerConfig, SshConfig};
use super::diagnostic::Diagnostic;

/// Why a `shell-local` provisioner is not run.
pub const SHELL_LOCAL: &str = "a shell-local provisioner would run on the Ingot server, which does not allow it";
/// What to do about it.
pub const SHELL_LOCAL_DETAIL: &str = "Run the commands on the build's machine with a shell provisioner, or before and after the build in the CI job that starts it; or have an administrator set `[policy] shell_local = true` on all servers, which lets whoever may start runs execute commands as the server's user.";

/// The configured limits for one account.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Policy {
    /// Hosts that `ssh_host` and `ssh_bastion_host` may name: host names, addresses or CIDRs.
    pub ssh_hosts: Vec<String>,
    /// Names or ARNs of instance profiles; `*` allows all.
    pub instance_profiles: Vec<String>,
    /// Whether a template may have a role made for its build.
    pub temporary_instance_profiles: bool,
    /// ARNs that `assume_role` may name; `*` at the end is a wildcard.
    pub allowed_roles: Vec<String>,
    /// Account ids and organizations' ARNs that AMIs may be shared with; `*` allows all of them, and only `all` to make
    /// one public.
    pub share_accounts: Vec<String>,
    /// Allowed instance types, `*` as wildcard at the end; empty: all.
    pub instance_types: Vec<String>,
    /// GiB per volume.
    pub max_volume_size: Option<i32>,
    /// Allowed regions; empty: all.
    pub regions: Vec<String>,
    /// Whether templates may run scripts on the servers' own machines.
    pub shell_local: bool,
}

impl Policy {
    /// Everything in a build that the configuration does not allow.
    #[must_use]
    pub fn check(&self, build: &BuildConfig) -> Vec<Diagnostic> {
        let mut complaints = Complaints { locations: build.builder.locations(), found: Vec::new() };
        if let Some(ssh) = build.builder.communicator() {
            self.check_hosts(ssh, &mut complaints);
        }
        if let Some(ebs) = build.builder.ebs() {
            self.check_roles(ebs, &mut complaints);
            self.check_sharing(ebs, &mut complaints);
            self.check_limits(ebs, &mut complaints);
            let launched =
                if build.builder.volumes().is_some() { "ebs_volumes" } else { "launch_block_device_mappings" };
            self.check_sizes(launched, &ebs.launch_block_device_mappings, &mut complaints);
            self.check_sizes("ami_block_device_mappings", &ebs.ami_block_device_mappings, &mut complaints);
        }
        if let Some(surrogate) = build.builder.surrogate() {
            self.check_sizes("ami_root_device", std::slice::from_ref(&surrogate.root), &mut complaints);
        }
        for volume in build.builder.volumes().into_iter().flat_map(|build| &build.volumes) {
            self.check_shared("ebs_volumes", &volume.snapshot_users, &mut complaints);
            self.check_public("ebs_volumes", &volume.snapshot_groups, &mut complaints);
        }
        complaints.found
    }

    /// What keeps a run of the build from being started on these servers, though the template is a good one.
    #[must_use]
    pub fn check_run(&self, build: &BuildConfig) -> Vec<Diagnostic> {
        // The file builder leaves its provisioners out.
        if self.shell_local || matches!(build.builder, BuilderConfig::File(_)) {
            return Vec::new();
        }
        let blocks = build.provisioners.iter().chain(build.error_cleanup.as_deref());
        let local = blocks.filter(|block| matches!(block.config, ProvisionerConfig::ShellLocal(_)));
        local.map(|block| Diagnostic::error(SHELL_LOCAL).with_detail(SHELL_LOCAL_DETAIL).at(block.at.clone())).collect()
    }

    fn check_hosts(&self, ssh: &SshConfig, complaints: &mut Complaints<'_>) {
        let bastion = ssh.bastion.as_ref().map(|bastion| &bastion.host);
        for (name, host) in [("ssh_host", ssh.host.as_ref()), ("ssh_bastion_host", bastion)] {
            let Some(host) = host else { continue };
            if !self.ssh_hosts.iter().any(|allowed| host_matches(allowed, host)) {
                let detail = format!(
                    "The server would connect to it with a template's word alone. Have an administrator add it to `[policy] ssh_hosts`, or leave {name} out to reach the instance itself."
                );
                complaints.add(name, format!("{name} {host:?} is not allowed"), &detail);
            }
        }
    }

    /// Whether a template may have the account's own role take on this one.
    #[must_use]
    pub fn allows_role(&self, role_arn: &str) -> bool {
        self.allowed_roles.iter().any(|allowed| type_matches(allowed, role_arn))
    }

    fn check_roles(&self, ebs: &AmazonEbs, complaints: &mut Complaints<'_>) {
        if let Some(profile) = &ebs.iam_instance_profile
            && !self.instance_profiles.iter().any(|allowed| allowed == "*" || allowed == profile)
        {
            complaints.add("iam_instance_profile", format!("iam_instance_profile {profile:?} is not allowed in this account"), "An instance profile hands its role to every script of the template. Have an administrator add it to the account's `instance_profiles`.");
        }
        let name = "temporary_iam_instance_profile_policy_document";
        if ebs.temporary_instance_profile_policy.is_some()
            && ebs.iam_instance_profile.is_none()
            && !self.temporary_instance_profiles
        {
            complaints.add(name, format!("{name} is not allowed in this account"), "A template could give itself any right with it. Name a profile in iam_instance_profile, or have an administrator set the account's `temporary_instance_profiles = true`.");
        }
        if let Some(role) = &ebs.assume_role
            && !self.allows_role(&role.role_arn)
        {
            complaints.add("assume_role.role_arn", format!("assume_role: {:?} is not allowed in this account", role.role_arn), "The server works with the account's own role. Leave assume_role out, or have an administrator add the role to the account's `allowed_roles`.");
        }
    }

    fn check_sharing(&self, ebs: &AmazonEbs, complaints: &mut Complaints<'_>) {
        let sharing = &ebs.sharing;
        self.check_shared("ami_users", &ebs.ami_users, complaints);
        self.check_shared("ami_org_arns", &sharing.ami_org_arns, complaints);
        self.check_shared("ami_ou_arns", &sharing.ami_ou_arns, complaints);
        self.check_shared("snapshot_users", &sharing.snapshot_users, complaints);
        self.check_public("ami_groups", &sharing.ami_groups, complaints);
        self.check_public("snapshot_groups", &sharing.snapshot_groups, complaints);
    }

    fn check_shared(&self, option: &str, with: &[String], complaints: &mut Complaints<'_>) {
        for user in
            with.iter().filter(|user| !self.share_accounts.iter().any(|allowed| allowed == "*" || allowed == *user))
        {
            let what = if user.starts_with("arn:") { "" } else { "account " };
            complaints.add(
                option,
                format!("sharing with {what}{user:?} is not allowed"),
                "Have an administrator add it to `[policy] share_accounts`.",
            );
        }
    }

    fn check_public(&self, option: &str, groups: &[String], complaints: &mut Complaints<'_>) {
        if !groups.is_empty() && !self.share_accounts.iter().any(|allowed| allowed == "all") {
            complaints.add(
                option,
                format!("{option}: making it public is not allowed"),
                "Have an administrator add \"all\" to `[policy] share_accounts`; * does not stand for it.",
            );
        }
    }

    fn check_limits(&self, ebs: &AmazonEbs, complaints: &mut Complaints<'_>) {
        let one = std::slice::from_ref(&ebs.instance_type);
        let spot = ebs.spot.as_ref().map(|spot| spot.instance_types.as_slice()).filter(|types| !types.is_empty());
        let option = if spot.is_some() { "spot_instance_types" } else { "instance_type" };
        for kind in spot.unwrap_or(one) {
            if !self.instance_types.is_empty() && !self.instance_types.iter().any(|allowed| type_matches(allowed, kind))
            {
                complaints.add(
                    option,
                    format!("instance type {kind:?} is not allowed in this account"),
                    &format!("Allowed: {}.", self.instance_types.join(", ")),
                );
            }
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
    }

    fn check_sizes(&self, option: &str, devices: &[BlockDevice], complaints: &mut Complaints<'_>) {
        let Some(limit) = self.max_volume_size else { return };
        for device in devices.iter().filter(|device| device.volume_size.is_some_and(|size| size > limit)) {
            complaints.add(
                option,
                format!("volume {} is larger than this account allows", device.device_name),
                &format!("The limit is {limit} GiB."),
            );
        }
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
