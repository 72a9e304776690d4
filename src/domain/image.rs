//! The registry's words: what a run made, and the four facts every image carries.

use serde::{Deserialize, Serialize};

use super::state::text_enum;
use super::tags::{self, TagList};

text_enum! {
    /// The life of an image. Only `built` ones can be promoted.
    ImageState {
        Building = "building",
        Built = "built",
        /// A build of it failed; a retry of the run completes it.
        Incomplete = "incomplete",
    }
}

/// STOB: source SHA, build time, base OS and builder identity.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stob {
    /// Git SHA of the template's source; `unknown` when the run gave none.
    pub sha: String,
    /// RFC 3339, UTC.
    pub time: String,
    /// Base operating system and version, such as `Ubuntu 22.04`.
    pub os: String,
    /// Who built it: `ingot/<version> (<deployment>)`.
    pub builder: String,
}

impl Stob {
    #[must_use]
    pub fn tags(&self) -> TagList {
        vec![
            (tags::SHA.into(), self.sha.clone()),
            (tags::TIME.into(), self.time.clone()),
            (tags::OS.into(), self.os.clone()),
            (tags::BUILDER.into(), self.builder.clone()),
        ]
    }
}

/// One AMI of an image, in one region.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageCopy {
    pub region: String,
    pub ami_id: String,
    pub snapshot_ids: Vec<String>,
    /// `linux` or `windows`.
    pub platform: String,
    /// EC2's word: `x86_64`, `arm64`.
    pub architecture: String,
}

/// A file that a build made or fetched; at most 64 MiB.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunFile {
    /// A clean relative path.
    pub name: String,
    pub bytes: Vec<u8>,
}

/// The source AMI as it was when the build began.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceImage {
    pub ami_id: String,
    pub name: String,
    pub owner_id: String,
    pub region: String,
    pub creation_date: String,
}

/// What the commit of one build writes.
#[derive(Debug, Clone, PartialEq)]
pub struct CommitRecord {
    /// Empty with `skip_create_ami`, and of builders that make no AMI.
    pub copies: Vec<ImageCopy>,
    /// `None` of builders that start from no AMI.
    pub source: Option<SourceImage>,
    /// Operating system as the machine itself says, else as the source AMI's name suggests; empty when there is none.
    pub os: String,
    /// Tags of the AMI, `ingot:` ones included.
    pub tags: TagList,
    pub files: Vec<RunFile>,
    /// Packer's artifact id: `region:ami,region:ami`, sorted; volumes and snapshots likewise; `Null`, `File`.
    pub artifact_id: String,
    /// Manifest entries to append, one per `manifest` post-processor.
    pub manifest: Vec<ManifestEntry>,
}

/// One element of `builds` in Packer's manifest, and the file it goes to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ManifestEntry {
    pub output: String,
    pub build: serde_json::Value,
}
