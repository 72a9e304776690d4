//! `hcp_packer_registry`: how a template names what it makes in a registry of images. Here that is Ingot's own.

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use super::super::diagnostic::SourceLocation;

/// A registry block's values, checked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegistryConfig {
    /// The family that images go to; `None`: the template's own. 3–36 letters, digits and hyphens.
    #[serde(default)]
    pub bucket_name: Option<String>,
    /// 255 characters at most: the label `description` of the run.
    #[serde(default)]
    pub description: String,
    /// Labels of the run; those of its image win.
    #[serde(default)]
    pub bucket_labels: IndexMap<String, String>,
    /// Labels of the run.
    #[serde(default)]
    pub build_labels: IndexMap<String, String>,
    /// Stages that the image is put on once it is built.
    #[serde(default)]
    pub channels: Vec<String>,
    /// Where the block stands.
    pub at: SourceLocation,
}
