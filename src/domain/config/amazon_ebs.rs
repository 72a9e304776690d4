//! The `amazon-ebs` builder's options. Names, defaults and limits are Packer's
//! (developer.hashicorp.com/packer/integrations/hashicorp/amazon/latest/components/builder/ebs) unless a field says otherwise.

use std::time::Duration;

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use super::image::{Copying, FastLaunch, Keeping, Replace, Sharing};
use super::launch::{AssumeRole, CapacityReservation, Filters, Placement, Spot, SubnetFilter};
use super::{LateString, LateTags, Locations, SshConfig};

#[expect(clippy::struct_excessive_bools, reason = "each is an option of its own in Packer")]
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
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
    /// How often a call that is throttled or briefly fails is repeated; `None`: Ingot's own limit.
    #[serde(default)]
    pub max_retries: Option<u32>,
    #[serde(default)]
    pub assume_role: Option<AssumeRole>,
    /// One VPC must match; `vpc_id` counts before it. Empty: not given.
    #[serde(default)]
    pub vpc_filter: Filters,
    /// `subnet_id` counts before it.
    #[serde(default)]
    pub subnet_filter: Option<SubnetFilter>,
    /// All groups that match; `security_group_ids` count before it. Empty: not given.
    #[serde(default)]
    pub security_group_filter: Filters,
    #[serde(default)]
    pub spot: Option<Spot>,
    #[serde(default)]
    pub placement: Placement,
    #[serde(default)]
    pub capacity_reservation: Option<CapacityReservation>,
    /// ARNs of `license_specifications`.
    #[serde(default)]
    pub license_configurations: Vec<String>,
    #[serde(default)]
    pub enable_nitro_enclave: bool,
    /// Burstable types only.
    #[serde(default)]
    pub enable_unlimited_credits: bool,
    /// Use the instance profile without looking whether it is there.
    #[serde(default)]
    pub skip_profile_validation: bool,
    /// A policy document, JSON: a role and a profile of it are made for the build. `iam_instance_profile` counts before it.
    #[serde(default)]
    pub temporary_instance_profile_policy: Option<String>,
    /// `user_data_file` that is not UTF-8 text, such as compressed data: base64. `user_data` is empty then.
    #[serde(default)]
    pub user_data_base64: Option<String>,
    /// What the source image must have; `hvm` or `paravirtual`.
    #[serde(default)]
    pub ami_virtualization_type: Option<String>,
    /// Intel's older enhanced networking.
    #[serde(default)]
    pub sriov_support: bool,
    /// Devices that the image has besides the machine's, or other than it.
    #[serde(default)]
    pub ami_block_device_mappings: Vec<BlockDevice>,
    /// Leave `run_tags` off the image; otherwise it has them where `tags` says nothing else.
    #[serde(default)]
    pub skip_ami_run_tags: bool,
    #[serde(default)]
    pub skip_region_validation: bool,
    #[serde(default)]
    pub sharing: Sharing,
    /// `force_deregister`.
    #[serde(default)]
    pub replace: Option<Replace>,
    #[serde(default)]
    pub keeping: Keeping,
    #[serde(default)]
    pub copying: Copying,
    #[serde(default)]
    pub fast_launch: Option<FastLaunch>,
    pub locations: Locations,
}

impl AmazonEbs {
    /// The types that the machine may be of.
    #[must_use]
    pub fn instance_types(&self) -> &[String] {
        let spot = self.spot.as_ref().map(|spot| spot.instance_types.as_slice());
        spot.filter(|types| !types.is_empty()).unwrap_or(std::slice::from_ref(&self.instance_type))
    }

    /// Whether the template names security groups; otherwise a temporary one is made.
    #[must_use]
    pub fn names_security_groups(&self) -> bool {
        !self.security_group_ids.is_empty() || !self.security_group_filter.is_empty()
    }

    /// Whether a server of the release before these options would build the same: it would not see them.
    #[must_use]
    pub fn is_of_first_form(&self) -> bool {
        let network = self.vpc_filter.is_empty()
            && self.subnet_filter.is_none()
            && self.security_group_filter.is_empty()
            && self.assume_role.is_none();
        let machine = self.spot.is_none()
            && self.placement == Placement::default()
            && self.capacity_reservation.is_none()
            && self.license_configurations.is_empty()
            && !self.enable_nitro_enclave
            && !self.enable_unlimited_credits
            && self.temporary_instance_profile_policy.is_none()
            && self.user_data_base64.is_none()
            && !self.launch_block_device_mappings.iter().any(|device| device.outlives_build);
        let image = self.ami_virtualization_type.is_none()
            && !self.sriov_support
            && self.ami_block_device_mappings.is_empty()
            && self.sharing == Sharing::default()
            && self.replace.is_none()
            && self.keeping == Keeping::default()
            && self.copying == Copying::default()
            && self.fast_launch.is_none();
        let rules = self.max_retries.is_none() && !self.skip_profile_validation && !self.skip_region_validation;
        network && machine && image && rules && self.communicator.is_of_first_form()
    }
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

impl Default for SourceAmi {
    fn default() -> Self {
        Self::Id(String::new())
    }
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

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ShutdownBehavior {
    Stop,
    #[default]
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

/// One of `launch_block_device_mappings` or `ami_block_device_mappings`.
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
    /// A launch mapping whose `delete_on_termination = false` is written out: the volume is kept when the build succeeds.
    /// Packer keeps it whenever the option is left out, too.
    #[serde(default)]
    pub outlives_build: bool,
}

impl BlockDevice {
    /// Whether an EBS volume is there: not for an instance store, nor where a device is taken away.
    #[must_use]
    pub fn has_volume(&self) -> bool {
        !self.no_device && self.virtual_name.is_none()
    }
}
