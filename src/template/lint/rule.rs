//! The rules: their names, how much they count, and what they look for. Each has a page in docs/lint/.

use crate::domain::lint::LintLevel::{self, Error, Info, Off, Warning};

/// A rule as people know it.
#[derive(Debug, PartialEq, Eq)]
pub struct Rule {
    /// Also the name of its page: docs/lint/ID.md.
    pub id: &'static str,
    /// How much it counts where the server's configuration says nothing.
    pub level: LintLevel,
    /// What it finds, in one line.
    pub summary: &'static str,
}

macro_rules! rules {
    ($($id:literal $level:ident $summary:literal)*) => {
        /// All rules, by id.
        pub const RULES: &[Rule] = &[$(Rule { id: $id, level: $level, summary: $summary }),*];
    };
}

rules! {
    "ami-id-hard-coded" Warning "the base image is an AMI id, which is of one region and never renewed"
    "ami-name-static" Warning "ami_name is the same in each run, and the second run finds it taken"
    "ami-public" Warning "the image or its snapshots are shared with everybody"
    "clean-up-missing" Warning "nothing cleans the machine before its image is made"
    "download-insecure" Warning "a download goes over http, or its check is switched off"
    "download-piped" Error "what a download brings is run at once, unseen"
    "download-unpinned" Warning "what is downloaded is whatever is newest on the day"
    "download-unverified" Warning "a downloaded file is used without a checksum or signature"
    "file-destination-root-owned" Warning "the file provisioner writes where the SSH user may not"
    "ignore-comment" Warning "a comment that switches a rule off names no rule that there is, or no reason"
    "image-test-missing" Off "nothing tests the machine before its image is made"
    "imds-v1-allowed" Warning "the metadata service answers without a token"
    "json-legacy" Info "the template is in the legacy JSON format"
    "long-lived-keys" Error "the template uses an AWS access key instead of a role"
    "manifest-missing" Warning "no manifest post-processor records which image was made"
    "package-prompt" Error "a package manager would wait for an answer"
    "package-unpinned" Info "packages are installed in whatever version is newest on the day"
    "root-volume-unencrypted" Info "the image's root volume is not asked to be encrypted"
    "script-without-set-e" Warning "a script goes on after a command has failed"
    "secret-in-environment" Error "a secret is written into a provisioner's environment"
    "secret-in-provisioner" Error "a secret is written into a command, a script or an uploaded file"
    "secret-in-template" Error "a secret is written into the template"
    "secret-in-variable" Error "a secret is written into a variable or local"
    "security-group-open" Warning "everybody may reach the machine while it is built"
    "single-az" Info "the machine can only be launched in one availability zone"
    "sleep-as-wait" Info "a fixed sleep stands for waiting until the machine is ready"
    "source-filter-most-recent" Warning "the filter may match several images, and does not say which one to take"
    "source-filter-owner" Error "the filter takes images of any owner"
    "ssh-user-mismatch" Error "the SSH user is not the one that the base image has"
    "ssh-user-root" Error "the SSH user is root, whom cloud images refuse"
    "sudo-missing" Warning "a command needs root, and the SSH user is another one"
    "tags-incomplete" Info "the image's tags don't say from which commit, when, from what and by whom it was made"
    "variable-not-sensitive" Warning "a variable for a secret is not marked sensitive"
}

/// The rule of that id.
#[must_use]
pub fn rule(id: &str) -> Option<&'static Rule> {
    RULES.iter().find(|rule| rule.id == id)
}
