//! Launch templates and fleets of one. A template of a machine is the machine that `launch` sends, in the other types that
//! EC2 has for templates.

use async_trait::async_trait;
use aws_sdk_ec2::Client;
use aws_sdk_ec2::operation::create_fleet::CreateFleetOutput;
use aws_sdk_ec2::operation::create_fleet::builders::CreateFleetFluentBuilder;
use aws_sdk_ec2::types as ec2;

use super::account::{AwsAccount, unless_gone};
use super::convert::{self, filters, tag_specifications};
use super::errors::{class_of, incomplete};
use super::launch;
use super::paging::all_pages;
use crate::cloud::{
    CloudError, CloudResult, Filter, FleetInstance, LaunchTemplate, NewFleet, NewLaunchTemplate, Spot, Tags,
    fleet_without_instance,
};
use crate::domain::config::amazon_ebs::{BlockDevice, MetadataOptions};
use crate::domain::config::launch::{CapacityReservation, Placement, SpotAllocation};

/// Templates have one version.
const VERSION: &str = "1";
/// The most that `DescribeLaunchTemplates` puts on a page.
const TEMPLATES_PAGE: i32 = 200;

launch::parts_of_machine!(
    block_device: LaunchTemplateBlockDeviceMappingRequest with LaunchTemplateEbsBlockDeviceRequest,
    metadata_options: LaunchTemplateInstanceMetadataOptionsRequest with
        LaunchTemplateInstanceMetadataEndpointState, LaunchTemplateHttpTokensState,
        LaunchTemplateInstanceMetadataTagsState,
    placement: LaunchTemplatePlacementRequest,
    capacity_reservation: LaunchTemplateCapacityReservationSpecificationRequest,
    license: LaunchTemplateLicenseConfigurationRequest,
    instance_profile: LaunchTemplateIamInstanceProfileSpecificationRequest,
);

#[async_trait]
impl Spot for AwsAccount {
    async fn find_launch_templates(&self, region: &str, wanted: &[Filter]) -> CloudResult<Vec<LaunchTemplate>> {
        let request =
            self.client(region).describe_launch_templates().set_filters(filters(wanted)).max_results(TEMPLATES_PAGE);
        all_pages!(self.call("DescribeLaunchTemplates", region), request, launch_templates, convert::launch_template)
    }

    async fn create_launch_template(&self, region: &str, request: &NewLaunchTemplate) -> CloudResult<String> {
        const OPERATION: &str = "CreateLaunchTemplate";
        let request = self
            .client(region)
            .create_launch_template()
            .client_token(&request.client_token)
            .launch_template_name(&request.name)
            .launch_template_data(template_data(request))
            .set_tag_specifications(tag_specifications([(ec2::ResourceType::LaunchTemplate, &request.template_tags)]));
        let answer = self.call(OPERATION, region).change(|| request.clone().send()).await?;
        let id = answer.launch_template.and_then(|template| template.launch_template_id);
        id.ok_or_else(|| incomplete(OPERATION, "launch template id", true))
    }

    async fn delete_launch_template(&self, region: &str, template_id: &str) -> CloudResult<()> {
        let client = self.client(region);
        let call = self.call("DeleteLaunchTemplate", region);
        let removed =
            call.change(|| client.delete_launch_template().launch_template_id(template_id).send()).await.map(drop);
        let wanted = [Filter::new("launch-template-id", [template_id])];
        unless_gone(removed, self.find_launch_templates(region, &wanted)).await
    }

    async fn create_fleet(&self, region: &str, request: &NewFleet) -> CloudResult<FleetInstance> {
        let request = create_fleet(&self.client(region), request);
        let answer = self.call("CreateFleet", region).change(|| request.clone().send()).await?;
        fleet_instance(&answer)
    }
}

fn create_fleet(client: &Client, request: &NewFleet) -> CreateFleetFluentBuilder {
    let offer = |offer: &crate::cloud::FleetOffer| {
        ec2::FleetLaunchTemplateOverridesRequest::builder()
            .instance_type(ec2::InstanceType::from(offer.instance_type.as_str()))
            .set_subnet_id(offer.subnet_id.clone())
            .set_availability_zone(offer.availability_zone.clone())
            .set_max_price(request.max_price.clone())
            .build()
    };
    let template = ec2::FleetLaunchTemplateSpecificationRequest::builder()
        .launch_template_id(&request.launch_template_id)
        .version(VERSION)
        .build();
    let choice = ec2::FleetLaunchTemplateConfigRequest::builder()
        .launch_template_specification(template)
        .set_overrides(Some(request.offers.iter().map(offer).collect()))
        .build();
    let capacity = ec2::TargetCapacitySpecificationRequest::builder()
        .total_target_capacity(1)
        .default_target_capacity_type(ec2::DefaultTargetCapacityType::Spot)
        .build();
    let strategy = request.allocation_strategy.map(|strategy| match strategy {
        SpotAllocation::PriceCapacityOptimized => ec2::SpotAllocationStrategy::PriceCapacityOptimized,
        SpotAllocation::CapacityOptimized => ec2::SpotAllocationStrategy::CapacityOptimized,
        SpotAllocation::Diversified => ec2::SpotAllocationStrategy::Diversified,
        SpotAllocation::LowestPrice => ec2::SpotAllocationStrategy::LowestPrice,
    });
    client
        .create_fleet()
        .client_token(&request.client_token)
        .r#type(ec2::FleetType::Instant)
        .target_capacity_specification(capacity)
        .launch_template_configs(choice)
        .set_spot_options(
            strategy.map(|strategy| ec2::SpotOptionsRequest::builder().allocation_strategy(strategy).build()),
        )
        .set_tag_specifications(tag_specifications([(ec2::ResourceType::Fleet, &request.fleet_tags)]))
}

/// An instant fleet answers with instances or with the reasons why there are none.
fn fleet_instance(answer: &CreateFleetOutput) -> CloudResult<FleetInstance> {
    const OPERATION: &str = "CreateFleet";
    let launched = answer.instances().iter().find_map(|group| Some((group, group.instance_ids().first()?)));
    if let Some((group, instance_id)) = launched {
        return Ok(FleetInstance {
            fleet_id: answer.fleet_id().unwrap_or_default().to_owned(),
            instance_id: instance_id.clone(),
            instance_type: group.instance_type().map(|kind| kind.as_str().to_owned()).unwrap_or_default(),
        });
    }
    let reasons = answer.errors().iter().map(|reason| {
        let (code, message) =
            (reason.error_code().unwrap_or("no-code"), reason.error_message().unwrap_or("no message"));
        // The answer came: whatever its code, there is no instance.
        CloudError::new(class_of(code, message, 400, false), OPERATION, code, message)
    });
    Err(fleet_without_instance(reasons.collect()))
}

fn template_data(request: &NewLaunchTemplate) -> ec2::RequestLaunchTemplateData {
    let machine = &request.machine;
    let devices = machine.block_devices.iter().map(block_device).collect::<Vec<_>>();
    let tags = [
        (ec2::ResourceType::Instance, &machine.instance_tags),
        (ec2::ResourceType::Volume, &machine.volume_tags),
        (ec2::ResourceType::NetworkInterface, &machine.interface_tags),
        (ec2::ResourceType::SpotInstancesRequest, &request.spot_request_tags),
    ];
    let data = ec2::RequestLaunchTemplateData::builder()
        .image_id(&machine.image_id)
        .set_key_name(machine.key_name.clone())
        .set_iam_instance_profile(machine.iam_instance_profile.as_deref().map(instance_profile))
        .set_user_data(launch::user_data(machine))
        .set_block_device_mappings((!devices.is_empty()).then_some(devices))
        .set_ebs_optimized(machine.ebs_optimized.then_some(true))
        .set_placement(placement(&machine.placement, None))
        .set_capacity_reservation_specification(machine.capacity_reservation.as_ref().map(capacity_reservation))
        .set_license_specifications(licenses(&machine.license_configurations))
        .set_credit_specification(machine.unlimited_credits.then(launch::unlimited_credits))
        .set_enclave_options(
            machine.nitro_enclave.then(|| ec2::LaunchTemplateEnclaveOptionsRequest::builder().enabled(true).build()),
        )
        .instance_initiated_shutdown_behavior(launch::shutdown_behavior(machine.shutdown_behavior))
        .metadata_options(metadata_options(&machine.metadata_options))
        .set_tag_specifications(template_tags(tags));
    // As for a single launch, groups go to the interface when there is one. Its subnet is the fleet's to say.
    let groups = (!machine.security_group_ids.is_empty()).then(|| machine.security_group_ids.clone());
    if machine.associate_public_ip_address.is_none() {
        return data.set_security_group_ids(groups).build();
    }
    let interface = ec2::LaunchTemplateInstanceNetworkInterfaceSpecificationRequest::builder()
        .device_index(0)
        .delete_on_termination(true)
        .set_associate_public_ip_address(machine.associate_public_ip_address)
        .set_groups(groups)
        .build();
    data.network_interfaces(interface).build()
}

/// [`tag_specifications`] in the type that templates have for them.
fn template_tags<const N: usize>(
    kinds: [(ec2::ResourceType, &Tags); N],
) -> Option<Vec<ec2::LaunchTemplateTagSpecificationRequest>> {
    let one = |made: ec2::TagSpecification| {
        let builder = ec2::LaunchTemplateTagSpecificationRequest::builder();
        builder.set_resource_type(made.resource_type).set_tags(made.tags).build()
    };
    Some(tag_specifications(kinds)?.into_iter().map(one).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cloud::aws::launch::tests::{client, machine};
    use crate::cloud::{CloudErrorClass, FleetOffer};

    fn template() -> NewLaunchTemplate {
        NewLaunchTemplate {
            client_token: "token".into(),
            name: "ingot-1".into(),
            machine: machine(),
            template_tags: vec![],
            spot_request_tags: vec![("spot".into(), "yes".into())],
        }
    }

    #[test]
    fn a_template_holds_the_machine_and_leaves_type_and_place_to_the_fleet() {
        let mut request = template();
        request.machine.user_data = Some(b"#!/bin/sh".to_vec());
        request.machine.iam_instance_profile = Some("web".into());
        request.machine.placement.tenancy = Some("dedicated".into());
        request.machine.capacity_reservation = Some(CapacityReservation::Id("cr-1".into()));
        request.machine.license_configurations = vec!["arn:l".into()];
        request.machine.unlimited_credits = true;
        request.machine.nitro_enclave = true;
        let data = template_data(&request);
        assert_eq!((data.image_id(), data.key_name(), data.instance_type()), (Some("ami-1"), Some("key"), None));
        assert_eq!((data.user_data(), data.security_group_ids()), (Some("IyEvYmluL3No"), &["sg-1".to_owned()][..]));
        assert_eq!(data.iam_instance_profile().unwrap().name(), Some("web"));
        assert_eq!(data.placement().unwrap().tenancy(), Some(&ec2::Tenancy::Dedicated));
        let reservation = data.capacity_reservation_specification().unwrap();
        assert_eq!(reservation.capacity_reservation_target().unwrap().capacity_reservation_id(), Some("cr-1"));
        assert_eq!(data.license_specifications()[0].license_configuration_arn(), Some("arn:l"));
        assert_eq!(data.credit_specification().unwrap().cpu_credits(), Some("unlimited"));
        assert_eq!(data.enclave_options().unwrap().enabled(), Some(true));
        let options = data.metadata_options().unwrap();
        assert_eq!(options.http_tokens(), Some(&ec2::LaunchTemplateHttpTokensState::Required));
        let sent = data.tag_specifications().iter();
        let kinds: Vec<_> = sent.filter_map(ec2::LaunchTemplateTagSpecificationRequest::resource_type).collect();
        assert_eq!(kinds, [&ec2::ResourceType::Instance, &ec2::ResourceType::SpotInstancesRequest]);
    }

    #[test]
    fn a_public_address_is_said_of_the_interface_which_has_no_subnet() {
        let mut request = template();
        request.machine.associate_public_ip_address = Some(true);
        let data = template_data(&request);
        let interface = &data.network_interfaces()[0];
        assert_eq!((interface.associate_public_ip_address(), interface.subnet_id()), (Some(true), None));
        assert_eq!((interface.groups(), data.security_group_ids()), (&["sg-1".to_owned()][..], &[][..]));
    }

    #[test]
    fn devices_of_all_kinds_are_sent() {
        let of = |device: BlockDevice| block_device(&BlockDevice { device_name: "/dev/sdb".into(), ..device });
        let none = of(BlockDevice { no_device: true, ..BlockDevice::default() });
        assert!(none.ebs().is_none() && none.no_device() == Some(""));
        let ephemeral = of(BlockDevice { virtual_name: Some("ephemeral0".into()), ..BlockDevice::default() });
        assert_eq!((ephemeral.ebs(), ephemeral.virtual_name()), (None, Some("ephemeral0")));
        let disk = of(BlockDevice {
            volume_size: Some(9),
            throughput: Some(250),
            iops: Some(4000),
            volume_type: Some("gp3".into()),
            ..BlockDevice::default()
        });
        let disk = disk.ebs().unwrap();
        assert_eq!((disk.volume_size(), disk.throughput(), disk.iops()), (Some(9), Some(250), Some(4000)));
        assert_eq!(disk.volume_type(), Some(&ec2::VolumeType::Gp3));
    }

    fn fleet() -> NewFleet {
        let offer = |kind: &str, subnet: &str| FleetOffer {
            instance_type: kind.into(),
            subnet_id: Some(subnet.into()),
            availability_zone: None,
        };
        NewFleet {
            client_token: "token".into(),
            launch_template_id: "lt-1".into(),
            offers: vec![offer("t3.micro", "subnet-1"), offer("t3.small", "subnet-2")],
            allocation_strategy: Some(SpotAllocation::PriceCapacityOptimized),
            max_price: Some("0.01".into()),
            fleet_tags: vec![("a".into(), "b".into())],
        }
    }

    #[test]
    fn a_fleet_asks_for_one_spot_instance_of_its_offers() {
        let call = create_fleet(&client(), &fleet());
        assert_eq!(*call.get_type(), Some(ec2::FleetType::Instant));
        let capacity = call.get_target_capacity_specification().as_ref().unwrap();
        assert_eq!(capacity.total_target_capacity(), Some(1));
        assert_eq!(capacity.default_target_capacity_type(), Some(&ec2::DefaultTargetCapacityType::Spot));
        let choice = &call.get_launch_template_configs().as_ref().unwrap()[0];
        let used = choice.launch_template_specification().unwrap();
        assert_eq!((used.launch_template_id(), used.version()), (Some("lt-1"), Some("1")));
        let offers: Vec<_> = choice.overrides().iter().map(|offer| (offer.subnet_id(), offer.max_price())).collect();
        assert_eq!(offers, [(Some("subnet-1"), Some("0.01")), (Some("subnet-2"), Some("0.01"))]);
        let strategy = call.get_spot_options().as_ref().unwrap().allocation_strategy();
        assert_eq!(strategy, Some(&ec2::SpotAllocationStrategy::PriceCapacityOptimized));
        let tags = &call.get_tag_specifications().as_ref().unwrap()[0];
        assert_eq!(tags.resource_type(), Some(&ec2::ResourceType::Fleet));
    }

    #[test]
    fn an_answer_has_an_instance_or_the_reasons() {
        let instance =
            ec2::CreateFleetInstance::builder().instance_ids("i-1").instance_type(ec2::InstanceType::T3Micro).build();
        let reason = |code: &str| ec2::CreateFleetError::builder().error_code(code).error_message("no").build();
        let answer = CreateFleetOutput::builder()
            .fleet_id("fleet-1")
            .errors(reason("InsufficientInstanceCapacity"))
            .instances(instance)
            .build();
        let launched = fleet_instance(&answer).unwrap();
        assert_eq!((launched.instance_id.as_str(), launched.instance_type.as_str()), ("i-1", "t3.micro"));
        let answer = CreateFleetOutput::builder()
            .errors(reason("InvalidSubnetID.NotFound"))
            .errors(reason("SpotMaxPriceTooLow"))
            .build();
        let error = fleet_instance(&answer).unwrap_err();
        assert_eq!((error.class, error.code.as_str()), (CloudErrorClass::Capacity, "SpotMaxPriceTooLow"));
        assert!(error.message.contains("InvalidSubnetID.NotFound: no"), "{error}");
    }
}
