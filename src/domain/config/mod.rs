//! A build's evaluated configuration: what `template/` makes of a source, its provisioners and post-processors, and what
//! steps and provisioners act on. Frozen when a run is accepted and kept encrypted, because any string in it may hold a
//! secret. Start at [`BuildConfig`].

pub mod amazon_ebs;
pub mod communicator;
pub mod data_source;
pub mod postprocessor;
pub mod provisioner;
pub mod registry;

use std::time::Duration;

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

pub use amazon_ebs::AmazonEbs;
pub use communicator::SshConfig;
pub use postprocessor::{PostProcessorBlock, PostProcessorConfig};
pub use provisioner::{ProvisionerBlock, ProvisionerConfig};

use super::diagnostic::SourceLocation;

/// Text that may still hold `{{ … }}` actions which can only be rendered once the build runs, such as
/// `{{ .SourceAMI }}`, `{{ .Vars }}` or ``{{ build `Host` }}``. All else in it was rendered when the run was accepted.
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
}

/// The builders that exist. The tag is Packer's builder type.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type")]
pub enum BuilderConfig {
    #[serde(rename = "amazon-ebs")]
    AmazonEbs(Box<AmazonEbs>),
}

impl BuilderConfig {
    /// Packer's builder type, such as `amazon-ebs`.
    #[must_use]
    pub fn builder_type(&self) -> &'static str {
        match self {
            Self::AmazonEbs(_) => "amazon-ebs",
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
