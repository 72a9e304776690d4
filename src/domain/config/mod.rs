//! A build's evaluated configuration: what `template/` makes of a source, its provisioners and post-processors, and what
//! steps and provisioners act on. Frozen when a run is accepted and kept encrypted, because any string in it may hold a
//! secret. Start at [`BuildConfig`].

pub mod amazon_ebs;
pub mod builders;
pub mod communicator;
pub mod data_source;
pub mod image;
pub mod late;
pub mod launch;
pub mod postprocessor;
pub mod provisioner;
pub mod registry;

use std::collections::BTreeMap;
use std::time::Duration;

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

pub use amazon_ebs::AmazonEbs;
pub use builders::{AmazonEbsSurrogate, AmazonEbsVolume, FileBuild, Null};
pub use communicator::SshConfig;
pub use late::LateExpression;
pub use postprocessor::{PostProcessorBlock, PostProcessorConfig};
pub use provisioner::{ProvisionerBlock, ProvisionerConfig};

use super::diagnostic::SourceLocation;

/// Text that may still hold `{{ … }}` actions which can only be rendered once the build runs, such as
/// `{{ .SourceAMI }}`, `{{ .Vars }}` or ``{{ build `Host` }}``; ``{{ expression `3` }}`` is the one of
/// [`BuildConfig::expressions`] that has this number. All else in it was rendered when the run was accepted.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LateString(pub String);

impl From<&str> for LateString {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

/// Tags as the template gives them, in its order.
pub type LateTags = IndexMap<String, LateString>;

/// Where each attribute of a block stands, by attribute name (`ssh_host`, `metadata_options.http_tokens`).
pub type Locations = IndexMap<String, SourceLocation>;

/// One source of a run with everything that applies to it, evaluated.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BuildConfig {
    /// Packer's name of the build: `amazon-ebs.ubuntu`, `web.amazon-ebs.ubuntu` in a named build block, or the
    /// builder's name in a JSON template.
    pub name: String,
    /// The name that `only`, `except` and `override` inside the template match (`amazon-ebs.ubuntu`).
    pub source: String,
    pub builder: BuilderConfig,
    pub provisioners: Vec<ProvisionerBlock>,
    /// Runs on the machine when a provisioner has failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_cleanup: Option<Box<ProvisionerBlock>>,
    /// Chains of post-processors, each applied to the build's artifact.
    pub post_processors: Vec<Vec<PostProcessorBlock>>,
    /// What the late strings of the blocks name by number.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub expressions: BTreeMap<u32, LateExpression>,
}

/// The builders that exist. The tag is Packer's builder type.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type")]
pub enum BuilderConfig {
    #[serde(rename = "amazon-ebs")]
    AmazonEbs(Box<AmazonEbs>),
    #[serde(rename = "amazon-ebsvolume")]
    AmazonEbsVolume(Box<AmazonEbsVolume>),
    #[serde(rename = "amazon-ebssurrogate")]
    AmazonEbsSurrogate(Box<AmazonEbsSurrogate>),
    #[serde(rename = "null")]
    Null(Box<Null>),
    #[serde(rename = "file")]
    File(Box<FileBuild>),
}

impl BuilderConfig {
    /// Packer's builder type, such as `amazon-ebs`.
    #[must_use]
    pub fn builder_type(&self) -> &'static str {
        match self {
            Self::AmazonEbs(_) => "amazon-ebs",
            Self::AmazonEbsVolume(_) => "amazon-ebsvolume",
            Self::AmazonEbsSurrogate(_) => "amazon-ebssurrogate",
            Self::Null(_) => "null",
            Self::File(_) => "file",
        }
    }

    /// The options that the amazon builders share; `None` for the others.
    #[must_use]
    pub fn ebs(&self) -> Option<&AmazonEbs> {
        match self {
            Self::AmazonEbs(ebs) => Some(ebs),
            Self::AmazonEbsVolume(volume) => Some(&volume.machine),
            Self::AmazonEbsSurrogate(surrogate) => Some(&surrogate.machine),
            Self::Null(_) | Self::File(_) => None,
        }
    }

    /// As [`Self::ebs`].
    pub fn ebs_mut(&mut self) -> Option<&mut AmazonEbs> {
        match self {
            Self::AmazonEbs(ebs) => Some(ebs),
            Self::AmazonEbsVolume(volume) => Some(&mut volume.machine),
            Self::AmazonEbsSurrogate(surrogate) => Some(&mut surrogate.machine),
            Self::Null(_) | Self::File(_) => None,
        }
    }

    /// `amazon-ebssurrogate`.
    #[must_use]
    pub fn surrogate(&self) -> Option<&AmazonEbsSurrogate> {
        match self {
            Self::AmazonEbsSurrogate(surrogate) => Some(surrogate),
            _ => None,
        }
    }

    /// `amazon-ebsvolume`.
    #[must_use]
    pub fn volumes(&self) -> Option<&AmazonEbsVolume> {
        match self {
            Self::AmazonEbsVolume(volumes) => Some(volumes),
            _ => None,
        }
    }

    /// Packer's `-force`: as if the template said `force_deregister = true`.
    pub fn force(&mut self) {
        let machine = match self {
            Self::AmazonEbs(ebs) => ebs,
            Self::AmazonEbsSurrogate(surrogate) => &mut surrogate.machine,
            // They make no image.
            Self::AmazonEbsVolume(_) | Self::Null(_) | Self::File(_) => return,
        };
        machine.replace.get_or_insert_default();
    }

    /// How the build's machine is reached; `None` when it has none.
    #[must_use]
    pub fn communicator(&self) -> Option<&SshConfig> {
        match self {
            Self::Null(null) => Some(&null.communicator),
            other => other.ebs().map(|ebs| &ebs.communicator),
        }
    }

    /// Where each option stands.
    #[must_use]
    pub fn locations(&self) -> &Locations {
        match self {
            Self::AmazonEbs(ebs) => &ebs.locations,
            Self::AmazonEbsVolume(volume) => &volume.machine.locations,
            Self::AmazonEbsSurrogate(surrogate) => &surrogate.machine.locations,
            Self::Null(null) => &null.locations,
            Self::File(file) => &file.locations,
        }
    }

    /// As [`Self::locations`].
    pub fn locations_mut(&mut self) -> &mut Locations {
        match self {
            Self::AmazonEbs(ebs) => &mut ebs.locations,
            Self::AmazonEbsVolume(volume) => &mut volume.machine.locations,
            Self::AmazonEbsSurrogate(surrogate) => &mut surrogate.machine.locations,
            Self::Null(null) => &mut null.locations,
            Self::File(file) => &mut file.locations,
        }
    }
}

/// Durations are kept as whole milliseconds.
pub mod milliseconds {
    use super::Duration;
    use serde::{Deserialize, Deserializer, Serializer};

    #[expect(clippy::missing_errors_doc, reason = "serde's contract")]
    pub fn serialize<S: Serializer>(value: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(u64::try_from(value.as_millis()).unwrap_or(u64::MAX))
    }

    #[expect(clippy::missing_errors_doc, reason = "serde's contract")]
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        u64::deserialize(deserializer).map(Duration::from_millis)
    }
}
