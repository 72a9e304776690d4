//! Options of the amazon builders that decide where and as what the build's machine runs. Names, defaults and limits are
//! Packer's (developer.hashicorp.com/packer/integrations/hashicorp/amazon/latest/components/builder/ebs) unless a field
//! says otherwise.

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use super::LateTags;

/// EC2's filter names with their values; a comma in a template's value separates alternatives.
pub type Filters = IndexMap<String, Vec<String>>;

/// `subnet_filter`. When several subnets match and neither flag is set, the one with most free addresses is tried first.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct SubnetFilter {
    pub filters: Filters,
    /// Of several subnets the one with most free addresses.
    pub most_free: bool,
    /// Of several subnets any one; which is a function of build and attempt, so that a server that takes over chooses alike.
    pub random: bool,
}

/// A one-time spot instance, by a fleet of type `instant`. It can't be stopped.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Spot {
    /// Dollars an hour; `None` (also for Packer's `auto`): at most the on-demand price.
    pub max_price: Option<String>,
    /// `spot_instance_types`; empty: `instance_type`.
    pub instance_types: Vec<String>,
    /// `None`: EC2's own default, `lowest-price`.
    pub allocation_strategy: Option<SpotAllocation>,
    /// `spot_tags`: of the spot request.
    pub tags: LateTags,
    /// Of the fleet.
    pub fleet_tags: LateTags,
}

/// `spot_allocation_strategy`, in EC2's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SpotAllocation {
    PriceCapacityOptimized,
    CapacityOptimized,
    Diversified,
    LowestPrice,
}

/// `placement`, and the older `tenancy`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Placement {
    /// `default`, `dedicated` or `host`.
    pub tenancy: Option<String>,
    pub host_id: Option<String>,
    pub host_resource_group_arn: Option<String>,
}

/// `capacity_reservation_*`. Not given: EC2's own default, which is to use an open reservation that fits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CapacityReservation {
    /// `capacity_reservation_preference = "none"`: never in a reservation.
    None,
    /// Any open reservation that fits.
    Open,
    /// `capacity_reservation_id`.
    Id(String),
    /// `capacity_reservation_group_arn`.
    Group(String),
}

/// `assume_role`: a role that is taken on from the account's own role. Allowed where the account's `allowed_roles` has it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct AssumeRole {
    pub role_arn: String,
    /// 900–43,200, though a role that is taken on from another one ends after an hour; `None`: STS's default.
    pub duration_seconds: Option<i32>,
    pub external_id: Option<String>,
    /// A session policy, JSON.
    pub policy: Option<String>,
    #[serde(default)]
    pub policy_arns: Vec<String>,
    pub session_name: Option<String>,
    #[serde(default)]
    pub tags: IndexMap<String, String>,
    #[serde(default)]
    pub transitive_tag_keys: Vec<String>,
}
