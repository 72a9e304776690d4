//! The `amazon-ebs` builder's options. Names, defaults and limits are Packer's
//! (developer.hashicorp.com/packer/integrations/hashicorp/amazon/latest/components/builder/ebs) unless a field says otherwise.

use std::time::Duration;

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use super::{LateString, LateTags, Locations, SshConfig};

#[expect(clippy::struct_excessive_bools, reason = "each is an option of its own in Packer")]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AmazonEbs {
    pub region: String,
    /// 3–128 characters; empty only with `skip_create_ami`.
    pub ami_name: String,
    pub ami_description: LateString,
    pub instance_type: String,
    pub source: SourceAmi,
    pub communicator: SshConfig,
    pub vpc_id: Option<String>,
    pub subnet_id: Option<String>,
    pub availability_zone: Option<String>,
    /// Given groups; empty: a temporary one is made.
    pub security_group_ids: Vec<String>,
    /// Who may reach the temporary group's port; `None`: the server's own address or `[network] source_cidrs`.
    pub temporary_security_group_source_cidrs: Option<Vec<String>>,
    pub associate_public_ip_address: Option<bool>,
    pub iam_instance_profile: Option<String>,
    /// As given, not yet base64.
    pub user_data: Option<String>,
    pub launch_block_device_mappings: Vec<BlockDevice>,
    pub ebs_optimized: bool,
    pub ena_support: Option<bool>,
    /// What `shutdown -h` inside the instance does. Ingot's default is `terminate` (Packer: `stop`).
    pub shutdown_behavior: ShutdownBehavior,
    pub metadata_options: MetadataOptions,
    /// The guest stops itself; the build only waits for it.
    pub disable_stop_instance: bool,
    pub skip_create_ami: bool,
    /// Regions to copy to; the build's own and repeated ones are already taken out.
    pub ami_regions: Vec<String>,
    pub ami_users: Vec<String>,
    /// `Some("v2.0")`: instances of the AMI need IMDSv2.
    pub imds_support: Option<String>,
    pub encrypt_boot: Option<bool>,
    pub kms_key_id: Option<String>,
    pub tags: LateTags,
    pub run_tags: LateTags,
    pub run_volume_tags: LateTags,
    pub snapshot_tags: LateTags,
    /// Takes keys, history and machine identity out of the image before it is made. Not an option of Packer's:
    /// on unless the run asks otherwise.
    pub clean_image: bool,
    /// How long waits for an instance, an image or a copy may take; `None`: Ingot's own limits.
    #[serde(default)]
    pub aws_polling: Option<AwsPolling>,
    pub locations: Locations,
}

/// `aws_polling`. Ingot looks about every second whatever it says; together the two say how long to wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct AwsPolling {
    pub delay_seconds: u32,
    pub max_attempts: u32,
}

impl AwsPolling {
    /// How long Packer would wait.
    #[must_use]
    pub fn limit(self) -> Duration {
        Duration::from_secs(u64::from(self.delay_seconds) * u64::from(self.max_attempts))
    }
}

impl Default for AwsPolling {
    /// Those of AWS's waiters, which Packer takes for the one that is not given.
    fn default() -> Self {
        Self { delay_seconds: 15, max_attempts: 40 }
    }
}

/// Where the build starts from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SourceAmi {
    Id(String),
    Filter(SourceAmiFilter),
}

/// `source_ami_filter`. `owners` is never empty.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct SourceAmiFilter {
    /// `DescribeImages` filter names with their values; a comma in a template's value separates alternatives.
    pub filters: IndexMap<String, Vec<String>>,
    /// Account ids, `self` or `amazon`, `aws-marketplace`.
    pub owners: Vec<String>,
    pub most_recent: bool,
    pub include_deprecated: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ShutdownBehavior {
    Stop,
    Terminate,
}

/// `metadata_options`. Ingot's default for `http_tokens` is `required` (Packer: `optional`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MetadataOptions {
    pub http_endpoint_enabled: bool,
    pub http_tokens_required: bool,
    /// 1–64.
    pub http_put_response_hop_limit: i32,
    pub instance_metadata_tags: bool,
}

impl Default for MetadataOptions {
    fn default() -> Self {
        Self {
            http_endpoint_enabled: true,
            http_tokens_required: true,
            http_put_response_hop_limit: 1,
            instance_metadata_tags: false,
        }
    }
}

/// One of `launch_block_device_mappings`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct BlockDevice {
    pub device_name: String,
    pub delete_on_termination: bool,
    pub encrypted: Option<bool>,
    pub kms_key_id: Option<String>,
    pub iops: Option<i32>,
    /// MiB/s.
    pub throughput: Option<i32>,
    pub snapshot_id: Option<String>,
    /// GiB.
    pub volume_size: Option<i32>,
    pub volume_type: Option<String>,
    pub virtual_name: Option<String>,
    pub no_device: bool,
}
