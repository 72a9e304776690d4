//! What goes into and comes out of cloud calls.

use chrono::{DateTime, Utc};

use crate::domain::config::amazon_ebs::BlockDevice;

/// Tag keys and values, in order.
pub type Tags = Vec<(String, String)>;

/// An EC2 filter: a name and its alternatives (`*` and `?` as wildcards where EC2 has them).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Filter {
    pub name: String,
    pub values: Vec<String>,
}

impl Filter {
    pub fn new(name: impl Into<String>, values: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self { name: name.into(), values: values.into_iter().map(Into::into).collect() }
    }

    /// Matches a tag's value.
    #[must_use]
    pub fn tag(key: &str, value: &str) -> Self {
        Self::new(format!("tag:{key}"), [value])
    }
}

/// A `DescribeImages` request. Always by filters: one unknown id in an id list fails the whole call.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct ImageQuery {
    /// Account ids or `self`, `amazon`; empty: any.
    pub owners: Vec<String>,
    pub filters: Vec<Filter>,
    pub include_deprecated: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    pub id: String,
    pub name: String,
    pub state: ImageState,
    /// Why it is in `Failed`.
    pub state_reason: Option<String>,
    pub owner_id: String,
    /// `amazon` and the like.
    pub owner_alias: Option<String>,
    /// RFC 3339; sorts by time as text.
    pub creation_date: String,
    pub architecture: String,
    /// `windows` or none.
    pub platform: Option<String>,
    /// Free text such as `Linux/UNIX`.
    pub platform_details: Option<String>,
    pub description: String,
    pub root_device_type: String,
    pub root_device_name: Option<String>,
    pub virtualization_type: String,
    pub ena_support: bool,
    /// Its EBS devices.
    pub devices: Vec<ImageDevice>,
    /// Of its devices.
    pub snapshot_ids: Vec<String>,
    /// Anybody may launch it.
    pub public: bool,
    /// When it is hidden from others' searches.
    pub deprecation_time: Option<DateTime<Utc>>,
    /// It can't be deregistered, also when that is because of a cooldown.
    pub deregistration_protection: bool,
    pub tags: Tags,
}

/// An EBS device that instances of an image have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageDevice {
    pub device_name: String,
    /// `None`: the volume starts empty.
    pub snapshot_id: Option<String>,
    pub size_gib: Option<i32>,
    /// `gp3`, …; empty when the cloud did not say.
    pub volume_type: String,
    /// A second.
    pub iops: Option<i32>,
    /// MiB/s.
    pub throughput: Option<i32>,
    pub encrypted: bool,
    pub delete_on_termination: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImageState {
    Pending,
    Available,
    Failed,
    /// `invalid`, `deregistered`, `disabled`, `error`, `transient`.
    Other,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instance {
    pub id: String,
    pub state: InstanceState,
    /// Why it changed state last (`Client.InvalidKMSKey.InvalidState: …`).
    pub state_reason: Option<String>,
    pub client_token: Option<String>,
    pub public_ip: Option<String>,
    pub private_ip: Option<String>,
    pub public_dns: Option<String>,
    pub private_dns: Option<String>,
    pub ipv6: Option<String>,
    pub availability_zone: Option<String>,
    pub devices: Vec<InstanceDevice>,
    /// Of its devices.
    pub volume_ids: Vec<String>,
    pub interface_ids: Vec<String>,
    /// `t3.micro`; empty when the cloud did not say.
    pub instance_type: String,
    /// The key pair that it was launched with.
    pub key_name: Option<String>,
    /// A spot instance, which EC2 may end at any time and does not stop.
    pub spot: bool,
    /// When it was last started.
    pub launched_at: Option<DateTime<Utc>>,
    pub tags: Tags,
}

/// An EBS volume of an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstanceDevice {
    pub device_name: String,
    pub volume_id: String,
    pub delete_on_termination: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InstanceState {
    Pending,
    Running,
    Stopping,
    Stopped,
    ShuttingDown,
    Terminated,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subnet {
    pub id: String,
    pub vpc_id: String,
    pub availability_zone: String,
    pub default_for_az: bool,
    pub maps_public_ip: bool,
    pub available_addresses: i32,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecurityGroup {
    pub id: String,
    pub name: String,
    pub vpc_id: Option<String>,
    pub tags: Tags,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyPair {
    pub id: String,
    pub name: String,
    pub fingerprint: String,
    pub created_at: Option<DateTime<Utc>>,
    pub tags: Tags,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    pub id: String,
    /// `pending`, `completed`, `error`.
    pub state: String,
    /// Per cent.
    pub progress: Option<String>,
    /// Of the volume that it was made of: what the snapshot takes up at most.
    pub size_gib: Option<i32>,
    pub encrypted: bool,
    /// The key's ARN, when it is encrypted.
    pub kms_key_id: Option<String>,
    pub created_at: Option<DateTime<Utc>>,
    pub tags: Tags,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Volume {
    pub id: String,
    /// `available`, `in-use`, `deleting`, …
    pub state: String,
    /// `gp3`, …; empty when the cloud did not say.
    pub volume_type: String,
    pub size_gib: Option<i32>,
    /// Provisioned, a second; EC2 also tells what `gp2` has by its size.
    pub iops: Option<i32>,
    pub created_at: Option<DateTime<Utc>>,
    /// The instances that it is attached to.
    pub instance_ids: Vec<String>,
    pub tags: Tags,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkInterface {
    pub id: String,
    /// `available`, `in-use`, …
    pub state: String,
    /// The instance that it is attached to.
    pub instance_id: Option<String>,
    /// The security groups that it is in.
    pub group_ids: Vec<String>,
    pub tags: Tags,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vpc {
    pub id: String,
    pub is_default: bool,
    pub cidr: String,
    pub tags: Tags,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstanceType {
    pub name: String,
    /// `x86_64`, `arm64`, …
    pub architectures: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewSecurityGroup {
    pub name: String,
    pub description: String,
    pub vpc_id: Option<String>,
    pub tags: Tags,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewImage {
    pub instance_id: String,
    pub name: String,
    pub description: String,
    /// The instance may be running; EC2 reboots it unless this is set.
    pub no_reboot: bool,
    /// Devices that the image has besides the instance's, or other than it.
    pub block_devices: Vec<BlockDevice>,
    pub image_tags: Tags,
    pub snapshot_tags: Tags,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewImageCopy {
    pub client_token: String,
    pub source_region: String,
    pub source_image_id: String,
    pub name: String,
    pub description: String,
    pub encrypted: Option<bool>,
    /// A key of the region that is copied to.
    pub kms_key_id: Option<String>,
    /// When the copy must be done, for a surcharge: a multiple of 15, at most 2,880. `None`: without a promise.
    pub snapshot_copy_duration_minutes: Option<i32>,
    pub image_tags: Tags,
    pub snapshot_tags: Tags,
}
