//! Post-processor blocks as they apply to one build.

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use super::LateString;
use crate::domain::diagnostic::SourceLocation;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PostProcessorBlock {
    pub name: Option<String>,
    pub config: PostProcessorConfig,
    pub at: Option<SourceLocation>,
}

/// The post-processors that exist. The tag is Packer's post-processor type.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type")]
pub enum PostProcessorConfig {
    #[serde(rename = "manifest")]
    Manifest(Manifest),
}

/// The `manifest` post-processor. The file is kept as a run file and served as the run's manifest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// `packer-manifest.json`.
    pub output: String,
    pub strip_path: bool,
    /// Leave `build_time` out.
    pub strip_time: bool,
    pub custom_data: IndexMap<String, LateString>,
}
