//! Packer's own marks: by what one knows that something was made by a Packer that did not clean up, and how old it is.
//!
//! Packer calls its instances `Packer Builder` unless the template says otherwise, and its temporary key pairs and security
//! groups `packer_` and a UUID whose first 32 bits are the seconds since 1970 (packer-plugin-sdk, `uuid.TimeOrderedUUID`).

use chrono::{DateTime, Utc};

use crate::domain::tags::TagList;

/// The tag `Name` of instances and volumes.
pub const BUILDER_NAME: &str = "Packer Builder";
/// Key pairs and groups begin with this.
pub const PREFIX: &str = "packer_";
/// Packer's first release, in seconds since 1970: no name is older.
const FIRST_RELEASE: u32 = 1_372_377_600;
/// Tags of AWS services that Packer itself makes instances with, for spot ones.
const PACKERS_OWN_SERVICES: [&str; 2] = ["aws:ec2:fleet-id", "aws:ec2launchtemplate:"];
/// Tags by which other tools and services say that something is theirs. All tags `aws:` are set by services.
const OTHER_OWNERS: [&str; 7] =
    ["ingot:", "aws:", "kubernetes.io/", "k8s.io/", "eks:", "karpenter.sh/", "elasticbeanstalk:"];

/// When a key pair or group was made, as its name tells; `None` when the name is not one that Packer makes.
#[must_use]
pub fn made_at(name: &str, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let uuid = name.strip_prefix(PREFIX)?;
    let lengths = uuid.split('-').map(str::len);
    let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    if !lengths.eq([8, 4, 4, 4, 12]) || !uuid.bytes().all(|byte| byte == b'-' || is_hex(byte)) {
        return None;
    }
    let seconds = u32::from_str_radix(&uuid[..8], 16).ok().filter(|seconds| *seconds >= FIRST_RELEASE)?;
    DateTime::from_timestamp(seconds.into(), 0).filter(|made_at| *made_at <= now)
}

/// Whether the tags name another owner than Packer.
#[must_use]
pub fn has_other_owner(tags: &TagList) -> bool {
    tags.iter().any(|(key, _)| {
        let begins = |prefix: &&str| key.to_ascii_lowercase().starts_with(prefix);
        OTHER_OWNERS.iter().any(begins) && !PACKERS_OWN_SERVICES.iter().any(begins)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tags(key: &str) -> TagList {
        vec![("Name".into(), BUILDER_NAME.into()), (key.into(), "x".into())]
    }

    #[test]
    fn the_age_is_in_the_name() {
        let now = "2026-01-02T12:00:00Z".parse().unwrap();
        // Names of a log of 2017.
        let at = |name| made_at(name, now).map(|at| at.to_rfc3339());
        let key = at("packer_59bd0995-1b93-a3e7-53a7-1df45d34176e");
        assert_eq!(key.as_deref(), Some("2017-09-16T11:23:01+00:00"));
        for other in [
            "packer_59BD0995-1b93-a3e7-53a7-1df45d34176e",
            "packer_59bd0995-1b93-a3e7-53a7-1df45d34176e-2",
            "packer_59bd09951b93a3e753a71df45d34176e",
            "packer_59bd0995-1b93-a3e7-53a7-1df45d34176g",
            "my-packer_59bd0995-1b93-a3e7-53a7-1df45d34176e",
            "packer_builders",
            "packer_",
            // Of 1970, and of 2106: random numbers.
            "packer_00000001-1b93-a3e7-53a7-1df45d34176e",
            "packer_ffffffff-1b93-a3e7-53a7-1df45d34176e",
        ] {
            assert_eq!(at(other), None, "{other}");
        }
    }

    #[test]
    fn tags_of_others_count_and_those_of_the_template_do_not() {
        for own in ["Team", "aws:ec2:fleet-id", "aws:ec2launchtemplate:version"] {
            assert!(!has_other_owner(&tags(own)), "{own}");
        }
        for other in ["ingot:deployment", "aws:autoscaling:groupName", "kubernetes.io/cluster/a", "eks:nodegroup-name"]
        {
            assert!(has_other_owner(&tags(other)), "{other}");
        }
    }
}
