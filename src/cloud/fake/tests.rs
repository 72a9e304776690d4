use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::*;
use crate::cloud::{
    CloudErrorClass, CloudResult, Filter, Grantee, ImageQuery, ImageRules as _, ImageState, InstanceState, Machine,
    NewImage, NewImageCopy, NewInstance, NewRegistration, NewSecurityGroup,
};
use crate::domain::config::amazon_ebs::{BlockDevice, ShutdownBehavior};

pub(super) const EAST: &str = "us-east-1";
pub(super) const WEST: &str = "us-west-2";
const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILYdMe8KW0rXnv380NdYYELFVonH++/e7qChT/Rh/+kk ingot";

fn tags(text: &str) -> Tags {
    text.split(' ')
        .filter_map(|tag| tag.split_once('='))
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}

pub(super) fn request(cloud: &FakeCloud, token: &str) -> NewInstance {
    sample_launch(cloud, EAST, token)
}

/// A plain launch of the newest Ubuntu.
pub fn sample_launch(cloud: &FakeCloud, region: &str, token: &str) -> NewInstance {
    NewInstance {
        client_token: token.to_owned(),
        instance_type: "t3.micro".to_owned(),
        machine: Machine {
            image_id: cloud.base_image(region, "jammy-22.04-amd64").unwrap().id,
            instance_tags: tags("ingot:temporary=true"),
            volume_tags: tags("ingot:temporary=true"),
            ..Machine::default()
        },
        ..NewInstance::default()
    }
}

/// An image of snapshots, by device; the first is the root.
pub fn sample_registration(name: &str, snapshots: &[(&str, &str)]) -> NewRegistration {
    let device = |(device, snapshot): &(&str, &str)| BlockDevice {
        device_name: (*device).to_owned(),
        snapshot_id: Some((*snapshot).to_owned()),
        ..BlockDevice::default()
    };
    NewRegistration {
        name: name.to_owned(),
        description: String::new(),
        architecture: "x86_64".to_owned(),
        virtualization_type: "hvm".to_owned(),
        ena_support: true,
        sriov_support: false,
        boot_mode: None,
        uefi_data: None,
        tpm_support: None,
        imds_v2: false,
        root_device_name: snapshots[0].0.to_owned(),
        block_devices: snapshots.iter().map(device).collect(),
        image_tags: Vec::new(),
    }
}

/// [`request`] with another machine.
pub(super) fn with_machine(cloud: &FakeCloud, token: &str, change: impl FnOnce(&mut Machine)) -> NewInstance {
    let mut launch = request(cloud, token);
    change(&mut launch.machine);
    launch
}

pub(super) fn image_of(instance_id: &str, name: &str) -> NewImage {
    NewImage {
        instance_id: instance_id.to_owned(),
        name: name.to_owned(),
        description: String::new(),
        no_reboot: false,
        block_devices: vec![],
        image_tags: tags("ingot:build-id=b1"),
        snapshot_tags: tags("Name=snapshot"),
    }
}

pub(super) fn copy_of(image_id: &str, token: &str) -> NewImageCopy {
    NewImageCopy {
        client_token: token.to_owned(),
        source_region: EAST.to_owned(),
        source_image_id: image_id.to_owned(),
        name: "golden".to_owned(),
        description: String::new(),
        encrypted: None,
        kms_key_id: None,
        snapshot_copy_duration_minutes: None,
        image_tags: tags("ingot:build-id=b1"),
        snapshot_tags: vec![],
    }
}

fn group(name: &str) -> NewSecurityGroup {
    NewSecurityGroup { name: name.to_owned(), description: "temporary".to_owned(), vpc_id: None, tags: vec![] }
}

pub(super) fn code<T: std::fmt::Debug>(result: CloudResult<T>) -> String {
    result.unwrap_err().code
}

pub(super) async fn state_of(cloud: &FakeCloud, id: &str) -> InstanceState {
    cloud.find_instances(EAST, &[Filter::new("instance-id", [id])]).await.unwrap()[0].state
}

pub(super) async fn image_state(cloud: &FakeCloud, region: &str, id: &str) -> ImageState {
    let query = ImageQuery { filters: vec![Filter::new("image-id", [id])], ..ImageQuery::default() };
    cloud.find_images(region, &query).await.unwrap()[0].state
}

#[tokio::test]
async fn a_whole_build_leaves_only_its_image() {
    let cloud = FakeCloud::new();
    let key = cloud.import_key_pair(EAST, "packer", KEY, &vec![]).await.unwrap();
    let sg = cloud.create_security_group(EAST, &group("packer")).await.unwrap();
    cloud.authorize_ingress(EAST, &sg, 22, &["198.51.100.1/32".to_owned()]).await.unwrap();
    let launch = with_machine(&cloud, "t", |machine| {
        machine.key_name = Some("packer".into());
        machine.security_group_ids = vec![sg.clone()];
    });
    let instance = cloud.run_instance(EAST, &launch).await.unwrap();
    assert_eq!(instance.state, InstanceState::Pending);
    assert_eq!(state_of(&cloud, &instance.id).await, InstanceState::Running);
    cloud.stop_instance(EAST, &instance.id).await.unwrap();
    assert_eq!(state_of(&cloud, &instance.id).await, InstanceState::Stopped);
    let image = cloud.create_image(EAST, &image_of(&instance.id, "golden")).await.unwrap();
    assert_eq!(image_state(&cloud, EAST, &image).await, ImageState::Available);
    cloud.terminate_instance(EAST, &instance.id).await.unwrap();
    assert_eq!(state_of(&cloud, &instance.id).await, InstanceState::Terminated);
    cloud.delete_security_group(EAST, &sg).await.unwrap();
    cloud.delete_key_pair(EAST, &key.id).await.unwrap();
    let images = cloud.images_of("b1");
    assert_eq!(images.len(), 1);
    let (region, made) = &images[0];
    assert_eq!((region.as_str(), made.id.as_str(), made.snapshot_ids.len()), (EAST, image.as_str(), 1));
    let left = cloud.leftovers();
    assert_eq!(left.len(), 2, "{left:?}");
    assert!(left[0].starts_with("us-east-1 snapshot snap-") && left[1].starts_with("us-east-1 image ami-"), "{left:?}");
    assert!(cloud.leftovers_with_tag("ingot:temporary", "true").is_empty());
    cloud.deregister_image(EAST, &image).await.unwrap();
    cloud.delete_snapshot(EAST, &made.snapshot_ids[0]).await.unwrap();
    assert!(cloud.leftovers().is_empty());
}

#[tokio::test]
async fn a_token_makes_one_instance_and_outlives_it() {
    let cloud = FakeCloud::new();
    let launch = request(&cloud, "token");
    let first = cloud.run_instance(EAST, &launch).await.unwrap();
    assert_eq!(cloud.run_instance(EAST, &launch).await.unwrap().id, first.id);
    let other = NewInstance { instance_type: "t3.small".into(), ..launch.clone() };
    let mismatch = cloud.run_instance(EAST, &other).await.unwrap_err();
    assert_eq!((mismatch.class, mismatch.code.as_str()), (CloudErrorClass::Duplicate, "IdempotentParameterMismatch"));
    assert_eq!(mismatch.operation, "RunInstances");
    cloud.terminate_instance(EAST, &first.id).await.unwrap();
    state_of(&cloud, &first.id).await;
    let again = cloud.run_instance(EAST, &launch).await.unwrap();
    assert_eq!((again.id, again.state), (first.id, InstanceState::Terminated));
    assert_eq!(cloud.instances().len(), 1);
}

#[tokio::test]
async fn copies_have_tokens_regions_and_tags_of_their_own() {
    let cloud = FakeCloud::new();
    let instance = cloud.run_instance(EAST, &request(&cloud, "t")).await.unwrap();
    state_of(&cloud, &instance.id).await;
    let image = cloud.create_image(EAST, &image_of(&instance.id, "golden")).await.unwrap();
    image_state(&cloud, EAST, &image).await;
    let copy = cloud.copy_image(WEST, &copy_of(&image, "c")).await.unwrap();
    assert_eq!(cloud.copy_image(WEST, &copy_of(&image, "c")).await.unwrap(), copy);
    assert_eq!(code(cloud.copy_image(WEST, &copy_of(&image, "c2")).await), "InvalidAMIName.Duplicate");
    assert_eq!(image_state(&cloud, WEST, &copy).await, ImageState::Available);
    let regions: Vec<String> = cloud.images_of("b1").into_iter().map(|(region, _)| region).collect();
    assert_eq!(regions, [EAST, WEST]);
    let unknown = NewImageCopy { source_region: WEST.into(), ..copy_of(&image, "c3") };
    assert_eq!(code(cloud.copy_image("eu-west-1", &unknown).await), "InvalidAMIID.NotFound");
}

#[tokio::test]
async fn names_are_taken_once() {
    let cloud = FakeCloud::new();
    cloud.import_key_pair(EAST, "k", KEY, &vec![]).await.unwrap();
    assert_eq!(code(cloud.import_key_pair(EAST, "k", KEY, &vec![]).await), "InvalidKeyPair.Duplicate");
    cloud.import_key_pair(WEST, "k", KEY, &vec![]).await.unwrap();
    let sg = cloud.create_security_group(EAST, &group("g")).await.unwrap();
    assert_eq!(code(cloud.create_security_group(EAST, &group("g")).await), "InvalidGroup.Duplicate");
    let rule = ["10.0.0.0/8".to_owned()];
    cloud.authorize_ingress(EAST, &sg, 22, &rule).await.unwrap();
    assert_eq!(code(cloud.authorize_ingress(EAST, &sg, 22, &rule).await), "InvalidPermission.Duplicate");
    cloud.authorize_ingress(EAST, &sg, 5986, &rule).await.unwrap();
    assert_eq!(cloud.ingress_of(&sg), [(22, "10.0.0.0/8".into()), (5986, "10.0.0.0/8".into())]);
    let instance = cloud.run_instance(EAST, &request(&cloud, "t")).await.unwrap();
    assert_eq!(code(cloud.create_image(EAST, &image_of("i-0", "golden")).await), "InvalidInstanceID.NotFound");
    state_of(&cloud, &instance.id).await;
    let image = cloud.create_image(EAST, &image_of(&instance.id, "golden")).await.unwrap();
    assert_eq!(code(cloud.create_image(EAST, &image_of(&instance.id, "golden")).await), "InvalidAMIName.Duplicate");
    cloud.deregister_image(EAST, &image).await.unwrap();
    cloud.create_image(EAST, &image_of(&instance.id, "golden")).await.unwrap();
}

#[tokio::test]
async fn what_is_in_use_is_not_deleted() {
    let cloud = FakeCloud::new();
    cloud.set_timings(FakeTimings { stop: Latency::Observations(1), ..FakeTimings::default() });
    let sg = cloud.create_security_group(EAST, &group("g")).await.unwrap();
    let launch = with_machine(&cloud, "t", |machine| machine.security_group_ids = vec![sg.clone()]);
    let instance = cloud.run_instance(EAST, &launch).await.unwrap();
    let violation = cloud.delete_security_group(EAST, &sg).await.unwrap_err();
    assert_eq!((violation.class, violation.code.as_str()), (CloudErrorClass::Busy, "DependencyViolation"));
    assert_eq!(code(cloud.delete_volume(EAST, &instance.volume_ids[0]).await), "VolumeInUse");
    let in_use = cloud.delete_network_interface(EAST, &instance.interface_ids[0]).await;
    assert_eq!(code(in_use), "InvalidNetworkInterface.InUse");
    cloud.terminate_instance(EAST, &instance.id).await.unwrap();
    assert_eq!(code(cloud.delete_security_group(EAST, &sg).await), "DependencyViolation");
    assert_eq!(state_of(&cloud, &instance.id).await, InstanceState::ShuttingDown);
    assert_eq!(state_of(&cloud, &instance.id).await, InstanceState::Terminated);
    cloud.delete_security_group(EAST, &sg).await.unwrap();
    assert_eq!(code(cloud.delete_security_group(EAST, &sg).await), "InvalidGroup.NotFound");
}

#[tokio::test]
async fn snapshots_of_an_image_go_after_it() {
    let cloud = FakeCloud::new();
    let instance = cloud.run_instance(EAST, &request(&cloud, "t")).await.unwrap();
    state_of(&cloud, &instance.id).await;
    let image = cloud.create_image(EAST, &image_of(&instance.id, "golden")).await.unwrap();
    let snapshots = cloud.find_snapshots(EAST, &[Filter::tag("Name", "snapshot")]).await.unwrap();
    assert_eq!(snapshots.len(), 1);
    assert_eq!(code(cloud.delete_snapshot(EAST, &snapshots[0].id).await), "InvalidSnapshot.InUse");
    cloud.deregister_image(EAST, &image).await.unwrap();
    assert_eq!(code(cloud.deregister_image(EAST, &image).await), "InvalidAMIID.NotFound");
    cloud.delete_snapshot(EAST, &snapshots[0].id).await.unwrap();
}

#[tokio::test]
async fn states_forbid_what_ec2_forbids() {
    let cloud = FakeCloud::new();
    cloud.set_timings(FakeTimings { boot: Latency::Observations(1), ..FakeTimings::default() });
    let instance = cloud.run_instance(EAST, &request(&cloud, "t")).await.unwrap();
    assert_eq!(code(cloud.stop_instance(EAST, &instance.id).await), "IncorrectInstanceState");
    assert_eq!(code(cloud.create_image(EAST, &image_of(&instance.id, "golden")).await), "IncorrectInstanceState");
    assert_eq!(state_of(&cloud, &instance.id).await, InstanceState::Pending);
    assert_eq!(state_of(&cloud, &instance.id).await, InstanceState::Running);
    assert_eq!(code(cloud.set_ena_support(EAST, &instance.id, true).await), "IncorrectInstanceState");
    cloud.stop_instance(EAST, &instance.id).await.unwrap();
    cloud.set_ena_support(EAST, &instance.id, true).await.unwrap();
}

#[tokio::test]
async fn new_things_can_be_unseen_at_first() {
    let cloud = FakeCloud::new();
    cloud.set_invisible_for(2);
    let instance = cloud.run_instance(EAST, &request(&cloud, "t")).await.unwrap();
    let wanted = [Filter::new("instance-id", [instance.id.as_str()])];
    assert!(cloud.find_instances(EAST, &wanted).await.unwrap().is_empty());
    assert!(cloud.find_instances(EAST, &[Filter::new("instance-id", ["i-other"])]).await.unwrap().is_empty());
    assert!(cloud.find_instances(EAST, &wanted).await.unwrap().is_empty());
    assert_eq!(cloud.find_instances(EAST, &wanted).await.unwrap().len(), 1);
}

#[tokio::test]
async fn faults_strike_before_or_after_the_effect() {
    let cloud = FakeCloud::new();
    cloud.fail_next("RunInstances", FaultKind::refuse(CloudErrorClass::Capacity, "InsufficientInstanceCapacity"), 1);
    cloud.fail_next("RunInstances", FaultKind::lose_request(), 1);
    cloud.fail_next("RunInstances", FaultKind::lose_reply(), 1);
    let launch = request(&cloud, "t");
    assert_eq!(code(cloud.run_instance(EAST, &launch).await), "InsufficientInstanceCapacity");
    assert_eq!(cloud.run_instance(EAST, &launch).await.unwrap_err().class, CloudErrorClass::UnknownOutcome);
    assert!(cloud.instances().is_empty());
    assert_eq!(cloud.run_instance(EAST, &launch).await.unwrap_err().class, CloudErrorClass::UnknownOutcome);
    assert_eq!(cloud.instances().len(), 1);
    cloud.run_instance(EAST, &launch).await.unwrap();
    assert_eq!(cloud.instances().len(), 1);
    assert_eq!(cloud.count_of("RunInstances"), 4);

    cloud.fail_next("*", FaultKind::Delay(Duration::from_millis(30)), 1);
    let begun = std::time::Instant::now();
    cloud.create_security_group(EAST, &group("late")).await.unwrap();
    assert!(begun.elapsed() >= Duration::from_millis(30));
}

#[tokio::test]
async fn a_task_can_be_cut_between_effect_and_reply() {
    for (phase, instances) in [(Phase::Before, 0), (Phase::After, 1)] {
        let cloud = FakeCloud::new();
        let (reached, at) = tokio::sync::oneshot::channel();
        let reached = std::sync::Mutex::new(Some(reached));
        cloud.on_call(move |call| {
            if call.operation == "RunInstances" && call.phase == phase {
                let _ = reached.lock().unwrap().take().map(|reached| reached.send(call.clone()));
                return Then::Hang;
            }
            Then::Go
        });
        let (caller, launch) = (cloud.clone(), request(&cloud, "t"));
        let task = tokio::spawn(async move { caller.run_instance(EAST, &launch).await });
        assert_eq!(at.await.unwrap().subject, "t");
        task.abort();
        assert!(task.await.unwrap_err().is_cancelled());
        assert_eq!(cloud.instances().len(), instances, "{phase:?}");
        cloud.forget_hook();
        cloud.run_instance(EAST, &request(&cloud, "t")).await.unwrap();
        assert_eq!(cloud.instances().len(), 1);
    }
}

#[tokio::test]
async fn the_hook_sees_every_call_twice() {
    let cloud = FakeCloud::new();
    let count = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&count);
    cloud.on_call(move |_| {
        counter.fetch_add(1, Ordering::Relaxed);
        Then::Go
    });
    cloud.find_vpcs(EAST, &[]).await.unwrap();
    Cloud::regions(&cloud, EAST).await.unwrap();
    assert_eq!(count.load(Ordering::Relaxed), 4);
    assert_eq!(cloud.calls().len(), 2);
}

#[tokio::test]
async fn accounts_are_worlds_of_their_own_that_share_images() {
    let cloud = FakeCloud::new().with_account("prod", "210987654321");
    let prod = cloud.on_account("prod");
    assert_eq!(Accounts::names(&cloud), ["default", "prod"]);
    assert!(Accounts::account(&cloud, "other").is_none());
    assert_eq!(prod.account_id().await.unwrap(), "210987654321");
    let instance = cloud.run_instance(EAST, &request(&cloud, "t")).await.unwrap();
    assert_eq!(code(prod.terminate_instance(EAST, &instance.id).await), "InvalidInstanceID.NotFound");
    state_of(&cloud, &instance.id).await;
    let image = cloud.create_image(EAST, &image_of(&instance.id, "golden")).await.unwrap();
    let query = ImageQuery { filters: vec![Filter::new("image-id", [image.as_str()])], ..ImageQuery::default() };
    assert!(prod.find_images(EAST, &query).await.unwrap().is_empty());
    cloud.share_image(EAST, &image, &[Grantee::Account("210987654321".to_owned())]).await.unwrap();
    assert_eq!(prod.find_images(EAST, &query).await.unwrap().len(), 1);
    assert_eq!(code(prod.deregister_image(EAST, &image).await), "AuthFailure");
    assert_eq!(cloud.image_shared_with(&image), ["210987654321"]);
}

#[tokio::test]
async fn images_are_found_by_owner_and_name() {
    let cloud = FakeCloud::new();
    let name = Filter::new("name", ["ubuntu/images/*ubuntu-jammy-22.04-amd64-server-*"]);
    let any = ImageQuery { filters: vec![name], ..ImageQuery::default() };
    let newest = |images: Vec<Image>| images.into_iter().max_by_key(|image| image.creation_date.clone()).unwrap();
    let everybodys = cloud.find_images(EAST, &any).await.unwrap();
    assert_eq!(everybodys.len(), 3);
    assert_eq!(newest(everybodys).owner_id, base::STRANGER);
    let canonical = ImageQuery { owners: vec![base::CANONICAL.into()], ..any.clone() };
    let found = newest(cloud.find_images(EAST, &canonical).await.unwrap());
    assert_eq!(found, cloud.base_image(EAST, "jammy-22.04-amd64").unwrap());
    let deprecated = ImageQuery { include_deprecated: true, ..canonical };
    assert_eq!(cloud.find_images(EAST, &deprecated).await.unwrap().len(), 3);
    let amazon = ImageQuery { owners: vec!["amazon".into()], ..ImageQuery::default() };
    assert!(cloud.find_images(EAST, &amazon).await.unwrap().iter().all(|image| image.owner_id == base::AMAZON));
    let own = ImageQuery { owners: vec!["self".into()], ..ImageQuery::default() };
    assert!(cloud.find_images(EAST, &own).await.unwrap().is_empty());
    let wrong = ImageQuery { filters: vec![Filter::new("nmae", ["x"])], ..ImageQuery::default() };
    assert_eq!(code(cloud.find_images(EAST, &wrong).await), "InvalidParameterValue");
    let many = ImageQuery { filters: vec![Filter::new("image-id", vec!["ami-1"; 201])], ..ImageQuery::default() };
    assert_eq!(code(cloud.find_images(EAST, &many).await), "FilterLimitExceeded");
}

#[tokio::test]
async fn subnets_zones_and_room() {
    let cloud = FakeCloud::new();
    let zones: Vec<String> =
        cloud.find_subnets(EAST, &[]).await.unwrap().into_iter().map(|subnet| subnet.availability_zone).collect();
    assert_eq!(zones, ["us-east-1a", "us-east-1b"]);
    cloud.take_capacity_of("us-east-1a");
    assert_eq!(code(cloud.run_instance(EAST, &request(&cloud, "a")).await), "InsufficientInstanceCapacity");
    let in_b = NewInstance { availability_zone: Some("us-east-1b".into()), ..request(&cloud, "b") };
    assert!(cloud.run_instance(EAST, &in_b).await.unwrap().public_ip.is_some());
    let private = cloud.add_subnet(EAST, "vpc-private", "us-east-1c", false);
    let vpcs = cloud.find_vpcs(EAST, &[Filter::new("is-default", ["false"])]).await.unwrap();
    assert_eq!(vpcs.iter().map(|vpc| vpc.id.as_str()).collect::<Vec<_>>(), ["vpc-private"]);
    cloud.take_type_from("us-east-1c", "t3.nano");
    let launch = |token: &str| NewInstance { subnet_id: Some(private.clone()), ..request(&cloud, token) };
    cloud.set_free_addresses(EAST, &private, 1);
    let instance = cloud.run_instance(EAST, &launch("c")).await.unwrap();
    assert_eq!((instance.public_ip, instance.availability_zone.as_deref()), (None, Some("us-east-1c")));
    assert_eq!(code(cloud.run_instance(EAST, &launch("d")).await), "InsufficientFreeAddressesInSubnet");
    cloud.remove_default_vpc(EAST);
    assert!(cloud.find_vpcs(EAST, &[Filter::new("is-default", ["true"])]).await.unwrap().is_empty());
    assert_eq!(code(cloud.run_instance(EAST, &request(&cloud, "e")).await), "VPCIdNotSpecified");
}

#[tokio::test]
async fn volumes_that_stay_are_leftovers() {
    let cloud = FakeCloud::new();
    let kept = BlockDevice { device_name: "/dev/sdb".into(), delete_on_termination: false, ..BlockDevice::default() };
    let launch = with_machine(&cloud, "t", |machine| machine.block_devices = vec![kept]);
    let instance = cloud.run_instance(EAST, &launch).await.unwrap();
    assert_eq!(instance.volume_ids.len(), 2);
    cloud.terminate_instance(EAST, &instance.id).await.unwrap();
    let left = cloud.leftovers_with_tag("ingot:temporary", "true");
    assert_eq!(left.len(), 1, "{left:?}");
    let volumes = cloud.find_volumes(EAST, &[Filter::new("status", ["available"])]).await.unwrap();
    cloud.delete_volume(EAST, &volumes[0].id).await.unwrap();
    assert!(cloud.leftovers().is_empty());
}

#[tokio::test]
async fn tags_come_and_go() {
    let cloud = FakeCloud::new();
    let instance = cloud.run_instance(EAST, &request(&cloud, "t")).await.unwrap();
    let ids = [instance.id.clone(), instance.volume_ids[0].clone()];
    cloud.create_tags(EAST, &ids, &tags("ingot:stage=dev a=b")).await.unwrap();
    cloud.create_tags(EAST, &ids, &tags("ingot:stage=prod")).await.unwrap();
    cloud.delete_tags(EAST, &ids, &["ingot:temporary".to_owned(), "unknown".to_owned()]).await.unwrap();
    let volumes = cloud.find_volumes(EAST, &[Filter::tag("ingot:stage", "prod")]).await.unwrap();
    assert_eq!(volumes[0].tags, tags("a=b ingot:stage=prod"));
    let unknown = cloud.create_tags(EAST, &[ids[0].clone(), "ami-0".to_owned()], &tags("x=y")).await;
    assert_eq!(code(unknown), "InvalidAMIID.NotFound");
    assert!(cloud.find_instances(EAST, &[Filter::tag("x", "y")]).await.unwrap().is_empty());
}

#[tokio::test]
async fn boots_and_images_can_fail_and_guests_can_shut_down() {
    let cloud = FakeCloud::new();
    cloud.fail_next_boot("Client.InvalidKMSKey.InvalidState: disabled");
    let broken = cloud.run_instance(EAST, &request(&cloud, "a")).await.unwrap();
    assert_eq!(state_of(&cloud, &broken.id).await, InstanceState::Terminated);
    let reason = cloud.instances().remove(0).1.state_reason.unwrap();
    assert!(reason.contains("InvalidKMSKey"), "{reason}");

    let stays = with_machine(&cloud, "b", |machine| machine.shutdown_behavior = ShutdownBehavior::Stop);
    let stays = cloud.run_instance(EAST, &stays).await.unwrap();
    cloud.guest_shutdown(EAST, &stays.id);
    assert_eq!(state_of(&cloud, &stays.id).await, InstanceState::Stopped);
    cloud.fail_next_image("Client.InternalError: no");
    let image = cloud.create_image(EAST, &image_of(&stays.id, "golden")).await.unwrap();
    assert_eq!(image_state(&cloud, EAST, &image).await, ImageState::Failed);
    let goes = cloud.run_instance(EAST, &request(&cloud, "c")).await.unwrap();
    cloud.guest_shutdown(EAST, &goes.id);
    assert_eq!(state_of(&cloud, &goes.id).await, InstanceState::Terminated);
}
