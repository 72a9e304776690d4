//! What is launched: the machine of a build, by itself or by a fleet.

use crate::domain::config::amazon_ebs::{BlockDevice, MetadataOptions, ShutdownBehavior};
use crate::domain::config::launch::{CapacityReservation, Placement};

use super::Tags;

/// A machine, whatever type it gets and wherever it runs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Machine {
    pub image_id: String,
    pub key_name: Option<String>,
    pub security_group_ids: Vec<String>,
    pub associate_public_ip_address: Option<bool>,
    /// Name or ARN.
    pub iam_instance_profile: Option<String>,
    /// Not yet base64.
    pub user_data: Option<Vec<u8>>,
    pub block_devices: Vec<BlockDevice>,
    pub ebs_optimized: bool,
    pub shutdown_behavior: ShutdownBehavior,
    pub metadata_options: MetadataOptions,
    pub placement: Placement,
    /// `None`: EC2's own choice, which is [`CapacityReservation::Open`].
    pub capacity_reservation: Option<CapacityReservation>,
    /// ARNs of License Manager's configurations.
    pub license_configurations: Vec<String>,
    /// CPU credits of a T type without a limit, for a surcharge; else what is the account's default for the type.
    pub unlimited_credits: bool,
    pub nitro_enclave: bool,
    pub instance_tags: Tags,
    pub volume_tags: Tags,
    pub interface_tags: Tags,
}

/// One `RunInstances` request for one instance. A function of the frozen plan, so that repeating it is the same request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NewInstance {
    /// At most 64 ASCII characters.
    pub client_token: String,
    pub instance_type: String,
    pub subnet_id: Option<String>,
    pub availability_zone: Option<String>,
    pub machine: Machine,
}
