//! Spot instances: a launch template says what is launched, and a fleet of one picks type and place.
//!
//! The request behind such an instance is one-time: EC2 refuses to stop it, and ends it when it takes the capacity back
//! (`docs.aws.amazon.com/AWSEC2/latest/UserGuide/spot-interruptions.html`).

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use crate::domain::config::launch::SpotAllocation;

use super::{CloudError, CloudErrorClass, CloudResult, Filter, Instance, Machine, Tags};

/// Part of [`super::Cloud`].
#[async_trait]
pub trait Spot: Send + Sync {
    async fn find_launch_templates(&self, region: &str, filters: &[Filter]) -> CloudResult<Vec<LaunchTemplate>>;
    /// Repeating the same request with the same token returns the same template; a used name is `Duplicate`. Returns its id.
    async fn create_launch_template(&self, region: &str, request: &NewLaunchTemplate) -> CloudResult<String>;
    async fn delete_launch_template(&self, region: &str, template_id: &str) -> CloudResult<()>;
    /// Launches one spot instance with `CreateFleet` of type `instant`, which answers when it is launched or can't be.
    /// Repeating the same request with the same token returns the same answer, also when that was a refusal: another try
    /// needs another token. What EC2 said of each offer is in the error's message.
    async fn create_fleet(&self, region: &str, request: &NewFleet) -> CloudResult<FleetInstance>;
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaunchTemplate {
    pub id: String,
    pub name: String,
    pub created_at: Option<DateTime<Utc>>,
    pub tags: Tags,
}

/// One `CreateLaunchTemplate` request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewLaunchTemplate {
    /// At most 64 ASCII characters.
    pub client_token: String,
    /// 3–128 of letters, digits and `( ) . / _ -`.
    pub name: String,
    pub machine: Machine,
    /// Of the template itself.
    pub template_tags: Tags,
    /// Of the spot request that a fleet makes of it.
    pub spot_request_tags: Tags,
}

/// One `CreateFleet` request for one spot instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewFleet {
    /// At most 64 ASCII characters.
    pub client_token: String,
    /// Its only version is used.
    pub launch_template_id: String,
    /// Types and places to choose from, at least one.
    pub offers: Vec<FleetOffer>,
    /// `None`: EC2's default.
    pub allocation_strategy: Option<SpotAllocation>,
    /// USD an hour, of each offer; `None`: at most the price on demand.
    pub max_price: Option<String>,
    pub fleet_tags: Tags,
}

/// A type in a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FleetOffer {
    pub instance_type: String,
    /// `None`: a default subnet of the zone, or of any.
    pub subnet_id: Option<String>,
    pub availability_zone: Option<String>,
}

/// What a fleet launched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FleetInstance {
    pub fleet_id: String,
    pub instance_id: String,
    pub instance_type: String,
}

/// The most reasons of a fleet without an instance that are told.
const MOST_REASONS: usize = 8;

/// The error of a fleet that has no instance, from those of its offers. It is a matter of room if it is for one of them:
/// that one may have room later.
#[must_use]
pub fn fleet_without_instance(reasons: Vec<CloudError>) -> CloudError {
    let count = reasons.len();
    let mut texts: Vec<String> = Vec::new();
    for reason in &reasons {
        let text = format!("{}: {}", reason.code, reason.message);
        if !texts.contains(&text) {
            texts.push(text);
        }
    }
    texts.truncate(MOST_REASONS);
    let first = reasons.iter().position(|reason| reason.class == CloudErrorClass::Capacity).unwrap_or(0);
    if let Some(reason) = reasons.into_iter().nth(first) {
        let message = if count == 1 { reason.message.clone() } else { texts.join("; ") };
        return CloudError { operation: "CreateFleet", message, ..reason };
    }
    let message = "the fleet has no instance, and EC2 gives no reason";
    CloudError::new(CloudErrorClass::Capacity, "CreateFleet", "no-instance", message)
}

impl Instance {
    /// Whether EC2 took a spot instance back.
    #[must_use]
    pub fn was_interrupted(&self) -> bool {
        self.state_reason.as_deref().is_some_and(|reason| reason.starts_with("Server.SpotInstance"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason(class: CloudErrorClass, code: &str) -> CloudError {
        CloudError::new(class, "", code, "why")
    }

    #[test]
    fn one_offer_that_may_have_room_later_makes_it_a_matter_of_room() {
        let error = fleet_without_instance(vec![
            reason(CloudErrorClass::Invalid, "InvalidFleetConfiguration"),
            reason(CloudErrorClass::Capacity, "InsufficientInstanceCapacity"),
            reason(CloudErrorClass::Capacity, "InsufficientInstanceCapacity"),
        ]);
        assert_eq!((error.class, error.code.as_str()), (CloudErrorClass::Capacity, "InsufficientInstanceCapacity"));
        assert_eq!(error.message, "InvalidFleetConfiguration: why; InsufficientInstanceCapacity: why");
        let error = fleet_without_instance(vec![reason(CloudErrorClass::Unauthorized, "UnauthorizedOperation")]);
        assert_eq!((error.class, error.message.as_str()), (CloudErrorClass::Unauthorized, "why"));
        assert_eq!(fleet_without_instance(Vec::new()).code, "no-instance");
    }
}
