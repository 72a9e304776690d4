//! Launch templates, fleets of one spot instance, and the end of such an instance.

use async_trait::async_trait;

use super::FakeCloud;
use super::api::text;
use super::filters::{duplicate, invalid, list, not_found, refuse};
use super::timing::Change;
use super::world::{FakeLaunchTemplate, World};
use crate::cloud::{
    CloudError, CloudErrorClass, CloudResult, Filter, FleetInstance, FleetOffer, InstanceState, LaunchTemplate,
    Machine, NewFleet, NewInstance, NewLaunchTemplate, Spot, fleet_without_instance,
};
use crate::domain::tags;

/// What EC2 says of the end of an instance that it takes back.
const TAKEN_BACK: &str = "Server.SpotInstanceTermination: Spot instance termination";

#[async_trait]
impl Spot for FakeCloud {
    async fn find_launch_templates(&self, region: &str, filters: &[Filter]) -> CloudResult<Vec<LaunchTemplate>> {
        self.look("DescribeLaunchTemplates", region, text(filters), |world, at| {
            list(world.region(at.account, at.region).templates.values_mut(), filters)
        })
        .await
    }

    async fn create_launch_template(&self, region: &str, request: &NewLaunchTemplate) -> CloudResult<String> {
        self.change("CreateLaunchTemplate", region, &request.name, |world, at| {
            world.create_launch_template(at.account, at.region, request)
        })
        .await
    }

    async fn delete_launch_template(&self, region: &str, template_id: &str) -> CloudResult<()> {
        self.change("DeleteLaunchTemplate", region, template_id, |world, at| {
            let removed = world.region(at.account, at.region).templates.remove(template_id);
            removed.map(drop).ok_or_else(|| not_found("InvalidLaunchTemplateId", template_id))
        })
        .await
    }

    async fn create_fleet(&self, region: &str, request: &NewFleet) -> CloudResult<FleetInstance> {
        self.change("CreateFleet", region, &request.client_token, |world, at| {
            world.create_fleet(at.account, at.region, request)
        })
        .await
    }
}

impl World {
    fn create_launch_template(
        &mut self,
        account: &str,
        region: &str,
        request: &NewLaunchTemplate,
    ) -> CloudResult<String> {
        let (id, hidden, created_at) = (self.id("lt"), self.invisible_for, self.now);
        let region = self.region(account, region);
        if let Some(before) = region.templates.values().find(|one| one.request.client_token == request.client_token) {
            return if before.request == *request { Ok(before.shown.id.clone()) } else { Err(token_mismatch()) };
        }
        if region.templates.values().any(|one| one.shown.name == request.name) {
            let message = format!("Launch template name already in use: {}", request.name);
            return Err(duplicate("InvalidLaunchTemplateName.AlreadyExistsException", message));
        }
        let shown = LaunchTemplate {
            id: id.clone(),
            name: request.name.clone(),
            created_at,
            tags: request.template_tags.clone(),
        };
        region.templates.insert(id.clone(), FakeLaunchTemplate { shown, request: request.clone(), hidden });
        Ok(id)
    }

    fn create_fleet(&mut self, account: &str, region: &str, request: &NewFleet) -> CloudResult<FleetInstance> {
        if let Some((before, answer)) = self.region(account, region).fleets.get(&request.client_token) {
            return if before == request { answer.clone() } else { Err(token_mismatch()) };
        }
        let template = self.region(account, region).templates.get(&request.launch_template_id);
        let template = template.ok_or_else(|| not_found("InvalidLaunchTemplateId", &request.launch_template_id))?;
        let machine = template.request.machine.clone();
        if request.offers.is_empty() {
            return Err(invalid("InvalidFleetConfig", "the fleet has no overrides"));
        }
        let answer = self.first_offer(account, region, request, &machine);
        self.region(account, region).fleets.insert(request.client_token.clone(), (request.clone(), answer.clone()));
        answer
    }

    /// Takes offers in their order, whatever the strategy: prices don't differ here.
    fn first_offer(
        &mut self,
        account: &str,
        region: &str,
        request: &NewFleet,
        machine: &Machine,
    ) -> CloudResult<FleetInstance> {
        let fleet_id = self.id("fleet");
        let mut reasons = Vec::new();
        for offer in &request.offers {
            match self.try_offer(account, region, request, machine, offer) {
                Ok(instance_id) => {
                    if let Ok(instance) = self.region(account, region).instance(&instance_id) {
                        instance.shown.tags.push(("aws:ec2:fleet-id".to_owned(), fleet_id.clone()));
                    }
                    return Ok(FleetInstance { fleet_id, instance_id, instance_type: offer.instance_type.clone() });
                }
                Err(reason) => reasons.push(reason),
            }
        }
        Err(fleet_without_instance(reasons))
    }

    fn try_offer(
        &mut self,
        account: &str,
        region: &str,
        request: &NewFleet,
        machine: &Machine,
        offer: &FleetOffer,
    ) -> CloudResult<String> {
        if self.no_spot.contains(&offer.instance_type) {
            let message = format!("There is no Spot capacity available for {}.", offer.instance_type);
            return Err(refuse(CloudErrorClass::Capacity, "InsufficientInstanceCapacity", message));
        }
        let most = request.max_price.as_ref().and_then(|price| price.parse::<f64>().ok());
        if let (Some(most), Some(price)) = (most, self.spot_price)
            && most < price
        {
            let message = format!(
                "Your Spot request price of {most} is lower than the minimum required Spot request fulfillment price of {price}."
            );
            return Err(refuse(CloudErrorClass::Capacity, "SpotMaxPriceTooLow", message));
        }
        let launch = NewInstance {
            client_token: String::new(),
            instance_type: offer.instance_type.clone(),
            subnet_id: offer.subnet_id.clone(),
            availability_zone: offer.availability_zone.clone(),
            machine: machine.clone(),
        };
        let id = self.launch_new(account, region, &launch)?.id;
        let instance = self.region(account, region).instance(&id)?;
        instance.shown.spot = true;
        instance.shown.client_token = None;
        Ok(id)
    }

    pub(super) fn interrupt_spot(&mut self, account: &str, region: &str, id: &str) {
        let stop = self.timings.stop;
        let Ok(instance) = self.region(account, region).instance(id) else { return };
        if instance.shown.spot && !instance.ends() {
            instance.shown.state = InstanceState::ShuttingDown;
            instance.shown.state_reason = Some(TAKEN_BACK.to_owned());
            instance.change = Some(Change::begin(InstanceState::Terminated, stop).because(TAKEN_BACK));
        }
    }
}

fn token_mismatch() -> CloudError {
    duplicate("IdempotentParameterMismatch", "the token was used with other parameters")
}

impl FakeCloud {
    /// There are no spot instances of a type any more.
    pub fn take_spot_capacity_of(&self, instance_type: &str) {
        self.world().no_spot.insert(instance_type.to_owned());
    }

    /// What a spot instance of any type costs from now on, in USD an hour.
    pub fn set_spot_price(&self, price: f64) {
        self.world().spot_price = Some(price);
    }

    /// EC2 takes a spot instance back.
    pub fn interrupt_spot(&self, region: &str, instance_id: &str) {
        let account = self.account_number();
        self.world().interrupt_spot(&account, region, instance_id);
    }

    /// What an instance was launched with, also when a fleet did it (there is no client token then).
    #[must_use]
    pub fn launch_of(&self, instance_id: &str) -> Option<NewInstance> {
        let world = self.world();
        let found = world.regions.values().find_map(|region| region.instances.get(instance_id));
        found.map(|instance| instance.request.clone())
    }

    /// Whether an instance has Intel's older enhanced networking.
    #[must_use]
    pub fn has_sriov_support(&self, instance_id: &str) -> bool {
        let world = self.world();
        let found = world.regions.values().find_map(|region| region.instances.get(instance_id));
        found.is_some_and(|instance| instance.sriov_support)
    }

    /// Launch templates of all accounts and regions, as they were asked for.
    #[must_use]
    pub fn launch_templates(&self) -> Vec<NewLaunchTemplate> {
        let world = self.world();
        world.regions.values().flat_map(|region| region.templates.values()).map(|one| one.request.clone()).collect()
    }

    /// Fleets of all accounts and regions, as they were asked for; those without an instance, too.
    #[must_use]
    pub fn fleets(&self) -> Vec<NewFleet> {
        let world = self.world();
        world.regions.values().flat_map(|region| region.fleets.values()).map(|(request, _)| request.clone()).collect()
    }

    /// Fleets that were made with a tag.
    #[must_use]
    pub fn fleets_with_tag(&self, key: &str, value: &str) -> Vec<NewFleet> {
        let has = |fleet: &NewFleet| tags::value(&fleet.fleet_tags, key) == Some(value);
        self.fleets().into_iter().filter(has).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{EAST, code, request, state_of};
    use super::*;
    use crate::cloud::Cloud as _;

    fn template(cloud: &FakeCloud, token: &str) -> NewLaunchTemplate {
        NewLaunchTemplate {
            client_token: token.to_owned(),
            name: format!("ingot-{token}"),
            machine: request(cloud, token).machine,
            template_tags: vec![("ingot:temporary".to_owned(), "true".to_owned())],
            spot_request_tags: Vec::new(),
        }
    }

    fn fleet(template: &str, token: &str, types: &[&str]) -> NewFleet {
        let offer = |kind: &&str| FleetOffer {
            instance_type: (*kind).to_owned(),
            subnet_id: None,
            availability_zone: Some("us-east-1a".to_owned()),
        };
        NewFleet {
            client_token: token.to_owned(),
            launch_template_id: template.to_owned(),
            offers: types.iter().map(offer).collect(),
            allocation_strategy: None,
            max_price: Some("0.02".to_owned()),
            fleet_tags: vec![("team".to_owned(), "images".to_owned())],
        }
    }

    #[tokio::test]
    async fn a_fleet_launches_one_instance_that_is_never_stopped() {
        let cloud = FakeCloud::new();
        let template_id = cloud.create_launch_template(EAST, &template(&cloud, "t")).await.unwrap();
        assert_eq!(cloud.create_launch_template(EAST, &template(&cloud, "t")).await.unwrap(), template_id);
        let same_name = NewLaunchTemplate { name: "ingot-t".into(), ..template(&cloud, "other") };
        let taken = cloud.create_launch_template(EAST, &same_name).await;
        assert_eq!(code(taken), "InvalidLaunchTemplateName.AlreadyExistsException");
        cloud.take_spot_capacity_of("t3.micro");
        let wanted = fleet(&template_id, "f", &["t3.micro", "t3.small"]);
        let launched = cloud.create_fleet(EAST, &wanted).await.unwrap();
        assert_eq!(launched.instance_type, "t3.small");
        assert_eq!(cloud.create_fleet(EAST, &wanted).await.unwrap(), launched);
        assert_eq!((cloud.instances().len(), cloud.fleets_with_tag("team", "images").len()), (1, 1));
        assert_eq!(state_of(&cloud, &launched.instance_id).await, InstanceState::Running);
        let refused = cloud.stop_instance(EAST, &launched.instance_id).await.unwrap_err();
        assert_eq!((refused.class, refused.code.as_str()), (CloudErrorClass::Invalid, "UnsupportedOperation"));
        let shown = cloud.instances().remove(0).1;
        assert!(shown.spot && !shown.was_interrupted());
        assert_eq!(tags::value(&shown.tags, "ingot:temporary"), Some("true"));
    }

    #[tokio::test]
    async fn without_room_there_is_no_instance_and_a_new_token_is_needed() {
        let cloud = FakeCloud::new();
        let template_id = cloud.create_launch_template(EAST, &template(&cloud, "t")).await.unwrap();
        cloud.set_spot_price(0.03);
        let refused = cloud.create_fleet(EAST, &fleet(&template_id, "f", &["t3.micro"])).await.unwrap_err();
        assert_eq!((refused.class, refused.code.as_str()), (CloudErrorClass::Capacity, "SpotMaxPriceTooLow"));
        cloud.set_spot_price(0.01);
        let again = cloud.create_fleet(EAST, &fleet(&template_id, "f", &["t3.micro"])).await.unwrap_err();
        assert_eq!(again, refused);
        cloud.create_fleet(EAST, &fleet(&template_id, "f2", &["t3.micro"])).await.unwrap();
        let unknown = cloud.create_fleet(EAST, &fleet("lt-0", "f3", &["t3.micro"])).await;
        assert_eq!(code(unknown), "InvalidLaunchTemplateId.NotFound");
    }

    #[tokio::test]
    async fn an_interruption_can_be_told_from_the_instance() {
        let cloud = FakeCloud::new();
        let template_id = cloud.create_launch_template(EAST, &template(&cloud, "t")).await.unwrap();
        let launched = cloud.create_fleet(EAST, &fleet(&template_id, "f", &["t3.micro"])).await.unwrap();
        state_of(&cloud, &launched.instance_id).await;
        cloud.interrupt_spot(EAST, &launched.instance_id);
        assert_eq!(state_of(&cloud, &launched.instance_id).await, InstanceState::Terminated);
        assert!(cloud.instances().remove(0).1.was_interrupted());
    }

    #[tokio::test]
    async fn a_template_is_a_leftover_until_it_is_deleted() {
        let cloud = FakeCloud::new();
        cloud.set_invisible_for(1);
        let id = cloud.create_launch_template(EAST, &template(&cloud, "t")).await.unwrap();
        let own = [Filter::tag("ingot:temporary", "true")];
        assert!(cloud.find_launch_templates(EAST, &own).await.unwrap().is_empty());
        assert_eq!(cloud.find_launch_templates(EAST, &own).await.unwrap()[0].id, id);
        assert_eq!(cloud.leftovers_with_tag("ingot:temporary", "true").len(), 1);
        cloud.delete_launch_template(EAST, &id).await.unwrap();
        let gone = cloud.delete_launch_template(EAST, &id).await;
        assert_eq!(code(gone), "InvalidLaunchTemplateId.NotFound");
        assert!(cloud.leftovers().is_empty());
    }
}
