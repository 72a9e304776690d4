//! What there is in Packer's world: component types, and the versions a template asks for.

use super::runtime::PACKER_VERSION;

/// Builders of Packer's own and well-known plugins.
pub const BUILDERS: &[&str] = &[
    "alicloud-ecs",
    "amazon-chroot",
    "amazon-ebs",
    "amazon-ebssurrogate",
    "amazon-ebsvolume",
    "amazon-instance",
    "azure-arm",
    "azure-chroot",
    "azure-dtl",
    "cloudstack",
    "digitalocean",
    "docker",
    "ebs-direct",
    "file",
    "googlecompute",
    "hcloud",
    "hyperone",
    "hyperv-iso",
    "hyperv-vmcx",
    "ibmcloud-vpc",
    "jdcloud",
    "linode",
    "lxc",
    "lxd",
    "ncloud",
    "null",
    "oneandone",
    "openstack",
    "oracle-classic",
    "oracle-oci",
    "osc-bsu",
    "outscale-bsu",
    "parallels-iso",
    "parallels-pvm",
    "profitbricks",
    "proxmox",
    "proxmox-clone",
    "proxmox-iso",
    "qemu",
    "scaleway",
    "tencentcloud-cvm",
    "triton",
    "ucloud-uhost",
    "vagrant",
    "virtualbox-iso",
    "virtualbox-ovf",
    "virtualbox-vm",
    "vmware-iso",
    "vmware-vmx",
    "vsphere-clone",
    "vsphere-iso",
    "vultr",
    "yandex",
];

/// Provisioners that Packer and its plugins have.
pub const PROVISIONERS: &[&str] = &[
    "ansible",
    "ansible-local",
    "breakpoint",
    "chef-client",
    "chef-solo",
    "comment",
    "converge",
    "file",
    "goss",
    "hcp-sbom",
    "inspec",
    "powershell",
    "puppet-masterless",
    "puppet-server",
    "salt-masterless",
    "shell",
    "shell-local",
    "sleep",
    "windows-restart",
    "windows-shell",
    "windows-update",
];

/// Post-processors that Packer and its plugins have.
pub const POST_PROCESSORS: &[&str] = &[
    "alicloud-import",
    "amazon-ami-management",
    "amazon-import",
    "artifice",
    "checksum",
    "compress",
    "digitalocean-import",
    "docker-import",
    "docker-push",
    "docker-save",
    "docker-tag",
    "exoscale-import",
    "googlecompute-export",
    "googlecompute-import",
    "manifest",
    "provenance",
    "shell-local",
    "ucloud-import",
    "vagrant",
    "vagrant-cloud",
    "vsphere",
    "vsphere-template",
    "yandex-export",
    "yandex-import",
];

/// Checks a version constraint such as `>= 1.7.0, < 2.0` against the version of the language that is spoken here.
///
/// # Errors
/// When the constraint can't be read, or is not met.
pub fn check_version(constraint: &str) -> Result<(), String> {
    let have = parse(PACKER_VERSION).unwrap_or_default();
    for part in constraint.split(',') {
        if !meets(&have, part.trim())? {
            return Err(format!(
                "it needs Packer {constraint}; templates are read here as Packer {PACKER_VERSION} does"
            ));
        }
    }
    Ok(())
}

/// Checks that a constraint can be read.
///
/// # Errors
/// When it can't.
pub fn check_constraint(constraint: &str) -> Result<(), String> {
    constraint.split(',').try_for_each(|part| meets(&[0, 0, 0], part.trim()).map(|_| ()))
}

fn meets(have: &[u64], part: &str) -> Result<bool, String> {
    let bad = || format!("{part:?} is no version constraint; write for example \">= 1.7.0\" or \"~> 1.2\"");
    let digits = part.find(|c: char| c.is_ascii_digit() || c == 'v').ok_or_else(bad)?;
    let (operator, version) = part.split_at(digits);
    let wanted = parse(version).ok_or_else(bad)?;
    let padded = |version: &[u64]| (0..3).map(|at| version.get(at).copied().unwrap_or(0)).collect::<Vec<u64>>();
    let (left, right) = (padded(have), padded(&wanted));
    Ok(match operator.trim() {
        "" | "=" => left == right,
        "!=" => left != right,
        ">" => left > right,
        ">=" => left >= right,
        "<" => left < right,
        "<=" => left <= right,
        "~>" => {
            let fixed = wanted.len().saturating_sub(1).max(1);
            left >= right && left[..fixed.min(3)] == right[..fixed.min(3)]
        }
        _ => return Err(bad()),
    })
}

fn parse(version: &str) -> Option<Vec<u64>> {
    let core = version.trim().trim_start_matches('v').split(['-', '+']).next()?;
    let parts: Option<Vec<u64>> = core.split('.').map(|part| part.parse().ok()).collect();
    parts.filter(|parts| parts.len() <= 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constraints() {
        for good in [">= 1.7.0", "~> 1.9", ">= 1.7.0, < 2.0.0", "1.16.0", "~> 1", ">=v1.0"] {
            assert_eq!(check_version(good), Ok(()), "{good}");
        }
        for bad in ["> 2", "~> 1.7.0", "< 1.0", "hello", "", "=> 1.0"] {
            assert!(check_version(bad).is_err(), "{bad}");
        }
        assert!(check_constraint("~> 1.0").is_ok());
    }
}
