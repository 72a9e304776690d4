//! `[accounts.<name>]`: the AWS accounts that runs may name. With none, the server's own identity is the one account.

use std::collections::BTreeMap;

use super::section::Section;
use super::{DEFAULT_ACCOUNT, Lines, line, list, optional};
use crate::domain::diagnostic::Diagnostic;

/// How Ingot reaches one account, and what its runs may use there.
#[derive(Debug, Clone, Default)]
pub struct Account {
    /// 12 digits. The account that the role must turn out to be in.
    pub account_id: Option<String>,
    /// The role to assume; `None`: the server's own identity.
    pub role_arn: Option<String>,
    pub external_id: Option<String>,
    /// Empty: all.
    pub regions: Vec<String>,
    /// Names or ARNs that a template may give as `iam_instance_profile`; `*` allows all.
    pub instance_profiles: Vec<String>,
    /// Whether a template may have a role of its own making (`temporary_iam_instance_profile_policy_document`).
    pub temporary_instance_profiles: bool,
    /// ARNs of roles that a template's `assume_role` may take on from the account's own; `*` at the end is a wildcard.
    pub allowed_roles: Vec<String>,
    pub limits: Limits,
}

#[derive(Debug, Clone, Default)]
pub struct Limits {
    /// `*` at the end is a wildcard; empty: all.
    pub instance_types: Vec<String>,
    /// GiB per volume.
    pub max_volume_size: Option<i32>,
    /// Builds of the account at work at once, on all servers together.
    pub max_builds: Option<u32>,
}

pub(super) fn read(root: &mut Section, found: &mut Vec<Diagnostic>) -> BTreeMap<String, Account> {
    let mut accounts = BTreeMap::new();
    for (name, section) in root.section("accounts", found).sections(found) {
        if name.is_empty()
            || !name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_".contains(&byte))
        {
            found.push(
                section.error(format!("account name {name:?} may hold only lower-case letters, digits, - and _")),
            );
        }
        accounts.insert(name, Account::read(section, found));
    }
    if accounts.is_empty() {
        accounts.insert(DEFAULT_ACCOUNT.to_owned(), Account::default());
    }
    accounts
}

impl Account {
    fn read(mut section: Section, found: &mut Vec<Diagnostic>) -> Self {
        let account_id = section.parsed("account_id", found, |text| {
            if text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit()) {
                Ok(text.to_owned())
            } else {
                Err(format!("{text:?} is not an AWS account id: 12 digits, in quotes"))
            }
        });
        let role_arn = section.parsed("role_arn", found, |text| {
            if text.starts_with("arn:") && text.contains(":iam::") && text.contains(":role/") {
                Ok(text.to_owned())
            } else {
                Err(format!("{text:?} is not a role's ARN, such as arn:aws:iam::123456789012:role/ingot"))
            }
        });
        let external_id = section.string("external_id", found);
        if external_id.is_some() && role_arn.is_none() {
            found.push(section.error("external_id has no meaning without role_arn"));
        }
        let allowed_roles = allowed_roles(&mut section, account_id.as_deref(), found);
        let account = Self {
            account_id,
            role_arn,
            external_id,
            regions: section.strings("regions", found),
            instance_profiles: section.strings("instance_profiles", found),
            temporary_instance_profiles: section.boolean("temporary_instance_profiles", found).unwrap_or(false),
            allowed_roles,
            limits: Limits::read(section.section("limits", found), found),
        };
        let mut defaults = section.section("defaults", found);
        for key in ["subnet_id", "subnets", "kms_key_id", "iam_instance_profile", "tags"] {
            defaults.not_yet(key, "say it in the template for now", found);
        }
        defaults.finish(found);
        section.finish(found);
        account
    }

    pub(super) fn describe(&self, name: &str, lines: &mut Lines) {
        let key = |key: &str| format!("accounts.{name}.{key}");
        let identity = self.role_arn.as_deref().unwrap_or("(the server's own identity)");
        line(lines, &key("role_arn"), identity);
        line(lines, &key("account_id"), optional(self.account_id.as_deref()));
        line(lines, &key("external_id"), optional(self.external_id.as_deref()));
        line(
            lines,
            &key("regions"),
            if self.regions.is_empty() { "(all)".to_owned() } else { self.regions.join(", ") },
        );
        line(lines, &key("instance_profiles"), list(&self.instance_profiles));
        line(lines, &key("temporary_instance_profiles"), self.temporary_instance_profiles.to_string());
        line(lines, &key("allowed_roles"), list(&self.allowed_roles));
        let types = &self.limits.instance_types;
        line(
            lines,
            &key("limits.instance_types"),
            if types.is_empty() { "(all)".to_owned() } else { types.join(", ") },
        );
        let volume = self.limits.max_volume_size.map_or_else(|| "(no limit)".to_owned(), |size| format!("{size} GiB"));
        line(lines, &key("limits.max_volume_size"), volume);
        let builds = self.limits.max_builds.map_or_else(|| "(no limit)".to_owned(), |count| count.to_string());
        line(lines, &key("limits.max_builds"), builds);
    }
}

/// What a build makes is removed by the account's own role when the build's is not at hand, so both are in one account.
fn allowed_roles(section: &mut Section, account: Option<&str>, found: &mut Vec<Diagnostic>) -> Vec<String> {
    let roles = section.list("allowed_roles", found);
    if let Some(account) = account {
        for role in roles.iter().filter(|role| !role.value.contains(&format!(":iam::{account}:"))) {
            found.push(role.place.error(format!("{:?} is not a role of the account {account}", role.value)));
        }
    }
    for role in roles.iter().filter(|role| !(role.value.starts_with("arn:") && role.value.contains(":role/"))) {
        let complaint = format!("{:?} is not a role's ARN, such as arn:aws:iam::123456789012:role/images", role.value);
        found.push(role.place.error(complaint));
    }
    roles.into_iter().map(|role| role.value).collect()
}

impl Limits {
    fn read(mut section: Section, found: &mut Vec<Diagnostic>) -> Self {
        let limits = Self {
            instance_types: section.strings("instance_types", found),
            max_volume_size: section
                .integer("max_volume_size", 1..=65_536, found)
                .and_then(|size| i32::try_from(size).ok()),
            max_builds: section.integer("max_builds", 1..=10_000, found).and_then(|count| u32::try_from(count).ok()),
        };
        section.finish(found);
        limits
    }
}
