//! Each option of `amazon-ebs` that works is seen in what EC2 is asked, or in the image.

use super::world::{PLAIN, TestWorld, plain_with};
use crate::cloud::fake::{BaseImage, DEFAULT_ACCOUNT_ID};
use crate::cloud::{Cloud as _, Grantee, NewInstance};
use crate::domain::config::image::LaunchTemplate;
use crate::domain::config::launch::{CapacityReservation, SpotAllocation};
use crate::domain::journal::StagedAmi;
use crate::domain::state::BuildState;
use crate::domain::tags;

/// An image of the account itself, of the name that the next build wants.
pub const OLD: BaseImage = BaseImage {
    name: "web-taken",
    owner_id: DEFAULT_ACCOUNT_ID,
    owner_alias: None,
    architecture: "x86_64",
    root_device_name: "/dev/sda1",
    creation_date: "2024-01-01T00:00:00.000Z",
    deprecated: false,
};

/// A build with further options that succeeds, with the images that it made.
async fn built(options: &str) -> (TestWorld, Vec<(String, crate::cloud::Image)>) {
    let world = TestWorld::new(&plain_with(options));
    world.serve_until_over().await;
    assert_eq!(world.state(), BuildState::Succeeded, "{options}\n{}", world.story());
    let images = world.cloud.images_of(&world.facts.build.to_string());
    (world, images)
}

/// The failure's code of a build with further options.
async fn failed(world: &TestWorld) -> String {
    world.serve_until_over().await;
    assert_eq!(world.state(), BuildState::Failed, "{}", world.story());
    let row = world.row.lock().unwrap();
    row.failure.as_ref().map(|failure| failure.code.clone()).unwrap_or_default()
}

fn launch(world: &TestWorld) -> NewInstance {
    let instances = world.cloud.instances();
    let [(_, instance)] = instances.as_slice() else { panic!("one machine: {instances:?}") };
    world.cloud.launch_of(&instance.id).unwrap()
}

#[tokio::test(start_paused = true)]
async fn the_machine() {
    let options = "  placement {\n    tenancy = \"dedicated\"\n  }\n  capacity_reservation_id = \"cr-1\"\n  \
                   license_specifications {\n    license_configuration_request {\n      license_configuration_arn = \
                   \"arn:l\"\n    }\n  }\n  enable_unlimited_credits = true\n  metadata_options {\n    http_endpoint = \
                   \"disabled\"\n    instance_metadata_tags = \"enabled\"\n  }\n  user_data = \"#!/bin/sh\"\n  \
                   ebs_optimized = true\n  shutdown_behavior = \"stop\"";
    let (world, _) = built(options).await;
    let machine = launch(&world).machine;
    assert_eq!(machine.placement.tenancy.as_deref(), Some("dedicated"));
    assert_eq!(machine.capacity_reservation, Some(CapacityReservation::Id("cr-1".into())));
    assert_eq!(machine.license_configurations, ["arn:l"]);
    assert!(machine.unlimited_credits && machine.ebs_optimized);
    assert!(!machine.metadata_options.http_endpoint_enabled && machine.metadata_options.instance_metadata_tags);
    assert_eq!(machine.user_data.as_deref(), Some(b"#!/bin/sh".as_slice()));
    assert_eq!(machine.shutdown_behavior, crate::domain::config::amazon_ebs::ShutdownBehavior::Stop);
}

#[tokio::test(start_paused = true)]
async fn nitro_enclaves() {
    let world = TestWorld::new(&plain_with("  enable_nitro_enclave = true").replace("t3.micro", "m5.large"));
    world.serve_until_over().await;
    assert_eq!(world.state(), BuildState::Succeeded, "{}", world.story());
    assert!(launch(&world).machine.nitro_enclave);
}

#[tokio::test(start_paused = true)]
async fn subnets_by_filter() {
    let world = TestWorld::new(&plain_with(
        "  subnet_filter {\n    filters = { \"availability-zone\" = \"us-east-1a,us-east-1b\" }\n    random = true\n  }",
    ));
    world.serve_until_over().await;
    assert_eq!(world.state(), BuildState::Succeeded, "{}", world.story());
    assert!(launch(&world).subnet_id.is_some());

    let none = TestWorld::new(&plain_with("  subnet_filter {\n    filters = { \"subnet-id\" = \"subnet-x\" }\n  }"));
    assert_eq!(failed(&none).await, "subnet-not-found");
    let none = TestWorld::new(&plain_with("  vpc_filter {\n    filters = { \"vpc-id\" = \"vpc-x\" }\n  }"));
    assert_eq!(failed(&none).await, "vpc-not-found");
    let none = TestWorld::new(&plain_with("  security_group_filter {\n    filters = { \"group-id\" = \"sg-x\" }\n  }"));
    assert_eq!(failed(&none).await, "security-group-not-found");
}

#[tokio::test(start_paused = true)]
async fn groups_and_a_vpc_by_filter() {
    let options = "  vpc_filter {\n    filters = { \"is-default\" = \"true\" }\n  }\n  security_group_filter {\n    filters \
                   = { \"group-name\" = \"default\" }\n  }";
    let (world, _) = built(options).await;
    let launched = launch(&world);
    assert_eq!(launched.machine.security_group_ids.len(), 1);
    assert_eq!(world.cloud.count_of("CreateSecurityGroup"), 0, "none is made");
}

#[tokio::test(start_paused = true)]
async fn spot() {
    let options = "  spot_price = \"0.05\"\n  spot_allocation_strategy = \"capacity-optimized\"\n  spot_tags = { S = \"1\" \
                   }\n  fleet_tags = { F = \"2\" }";
    let (world, images) = built(options).await;
    assert_eq!(images.len(), 1);
    world.check_promise(1, "spot");
    let fleets = world.cloud.fleets();
    let [fleet] = fleets.as_slice() else { panic!("one fleet: {fleets:?}") };
    assert_eq!(fleet.max_price.as_deref(), Some("0.05"));
    assert_eq!(fleet.allocation_strategy, Some(SpotAllocation::CapacityOptimized));
    assert_eq!(tags::value(&fleet.fleet_tags, "F"), Some("2"));
    assert!(fleet.offers.len() > 1, "each subnet is an offer");
    assert_eq!(world.cloud.count_of("StopInstances"), 0, "it can't be stopped");
    let requests = world.cloud.image_requests();
    assert!(requests.iter().all(|request| !request.no_reboot), "it comes to rest by a reboot");
}

#[tokio::test(start_paused = true)]
async fn spot_types_are_all_offered() {
    let template = plain_with("  spot_instance_types = [\"t3.small\", \"t3.medium\"]")
        .replace("  instance_type = \"t3.micro\"\n", "");
    let world = TestWorld::new(&template);
    world.cloud.take_spot_capacity_of("t3.small");
    world.serve_until_over().await;
    assert_eq!(world.state(), BuildState::Succeeded, "{}", world.story());
    assert_eq!(world.cloud.instances()[0].1.instance_type, "t3.medium");
    let full = TestWorld::new(&template);
    full.cloud.take_spot_capacity_of("t3.small");
    full.cloud.take_spot_capacity_of("t3.medium");
    failed(&full).await;
    full.check_promise(0, "no room for a spot instance");
}

#[tokio::test(start_paused = true)]
async fn what_is_replaced_goes_directly_before_the_new_image() {
    let template = plain_with("  force_deregister = true\n  force_delete_snapshot = true")
        .replace("web-{{timestamp}}", "web-taken");
    let world = TestWorld::new(&template);
    let old = world.cloud.add_public_image("us-east-1", OLD);
    world.serve_until_over().await;
    assert_eq!(world.state(), BuildState::Succeeded, "{}", world.story());
    let calls = world.cloud.calls();
    let place = |operation: &str| calls.iter().position(|call| call.operation == operation).unwrap();
    assert!(place("StopInstances") < place("DeregisterImage") && place("DeregisterImage") < place("CreateImage"));
    assert!(world.cloud.base_image("us-east-1", "web-taken").is_none_or(|image| image.id != old), "it is gone");
    assert_eq!(world.row.lock().unwrap().given_up, [old], "no stage can take it any more");

    // When the script fails, the old one stays.
    let world = TestWorld::new(&template);
    let _ = world.cloud.add_public_image("us-east-1", OLD);
    world.fail_script();
    failed(&world).await;
    assert_eq!(world.cloud.count_of("DeregisterImage"), 0);
}

#[tokio::test(start_paused = true)]
async fn what_a_stage_holds_is_never_replaced() {
    let world = TestWorld::new(&plain_with("  force_deregister = true").replace("web-{{timestamp}}", "web-taken"));
    let ami_id = world.cloud.add_public_image("us-east-1", OLD);
    world.row.lock().unwrap().staged.push(StagedAmi { ami_id, family: "web".into(), stage: "prod".into() });
    assert_eq!(failed(&world).await, "image-in-stage");
    assert_eq!(world.cloud.count_of("RunInstances"), 0, "it is told before anything is made");
}

#[tokio::test(start_paused = true)]
async fn only_the_copies_are_kept() {
    let (world, images) = built("  ami_regions = [\"us-west-2\"]\n  skip_save_build_region = true").await;
    let [(region, image)] = images.as_slice() else { panic!("one image: {images:?}") };
    assert_eq!(region, "us-west-2");
    assert!(image.name.starts_with("web-"), "{}", image.name);
    world.check_promise(1, "the intermediary is gone");
    assert_eq!(world.row.lock().unwrap().record.as_ref().unwrap().copies.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn copies_have_keys_and_durations() {
    let options = "  encrypt_boot = true\n  kms_key_id = \"alias/a\"\n  ami_regions = [\"us-west-2\"]\n  region_kms_key_ids = { \
                   \"us-west-2\" = \"alias/b\" }\n  snapshot_copy_duration_minutes = 30";
    let (world, _) = built(options).await;
    let copies = world.cloud.copy_requests();
    let [(_, copy)] = copies.as_slice() else { panic!("one copy: {copies:?}") };
    assert_eq!((copy.kms_key_id.as_deref(), copy.snapshot_copy_duration_minutes), (Some("alias/b"), Some(30)));
}

#[tokio::test(start_paused = true)]
async fn sharing() {
    let options = "  ami_users = [\"111122223333\"]\n  ami_groups = [\"all\"]\n  ami_org_arns = [\"arn:o\"]\n  ami_ou_arns = \
                   [\"arn:u\"]\n  ami_product_codes = [\"code\"]\n  snapshot_users = [\"444455556666\"]\n  snapshot_groups = \
                   [\"all\"]";
    let (world, images) = built(options).await;
    let id = &images[0].1.id;
    let mut grants = world.cloud.image_grants(id);
    grants.sort();
    let account = |id: &str| Grantee::Account(id.into());
    let expected = [
        account("111122223333"),
        Grantee::Group("all".into()),
        Grantee::Organization("arn:o".into()),
        Grantee::OrganizationalUnit("arn:u".into()),
    ];
    assert_eq!(grants, expected);
    assert_eq!(world.cloud.product_codes_of(id), ["code"]);
    let mut grants = world.cloud.snapshot_grants(&images[0].1.snapshot_ids[0]);
    grants.sort();
    assert_eq!(grants, [account("444455556666"), Grantee::Group("all".into())]);
}

#[tokio::test(start_paused = true)]
async fn how_long_an_image_is_kept() {
    // The test's clock begins in 2024.
    let options = "  deprecate_at = \"2026-01-01T00:00:00Z\"\n  deregistration_protection {\n    enabled = true\n  }";
    let (_, images) = built(options).await;
    let image = &images[0].1;
    assert!(image.deregistration_protection && image.deprecation_time.is_some(), "{image:?}");
    let late = TestWorld::new(&plain_with("  deprecate_at = \"2020-01-01T00:00:00Z\""));
    assert_eq!(failed(&late).await, "deprecate-at");
}

#[tokio::test(start_paused = true)]
async fn devices_of_the_image() {
    let options = "  ami_block_device_mappings {\n    device_name = \"/dev/sdh\"\n    virtual_name = \"ephemeral0\"\n  }\n  \
                   ami_virtualization_type = \"hvm\"";
    let (world, _) = built(options).await;
    let devices = world.cloud.image_requests()[0].block_devices.clone();
    assert_eq!(devices[0].device_name, "/dev/sdh");
    let other = TestWorld::new(&plain_with("  ami_virtualization_type = \"paravirtual\""));
    assert_eq!(failed(&other).await, "virtualization-mismatch");
}

#[tokio::test(start_paused = true)]
async fn a_volume_outlives_the_build_only_where_it_says_so() {
    let device = |rest: &str| {
        format!("  launch_block_device_mappings {{\n    device_name = \"/dev/sdf\"\n    volume_size = 1\n{rest}  }}\n")
    };
    let (world, _) = built(&device("")).await;
    world.check_promise(1, "nothing is said");
    let (world, _) = built(&device("    delete_on_termination = false\n")).await;
    let volumes: Vec<String> = world.cloud.leftovers().into_iter().filter(|thing| thing.contains("vol-")).collect();
    assert_eq!(volumes.len(), 1, "{volumes:?}");
    assert!(!volumes[0].contains("ingot:temporary"), "nobody sweeps it: {volumes:?}");
    let options = device("    delete_on_termination = false\n") + "  skip_create_ami = true\n";
    let (world, _) = built(&options).await;
    assert_eq!(world.cloud.leftovers().len(), 1, "also when there is no image: {:?}", world.cloud.leftovers());
    // A build that fails leaves nothing, whatever it says.
    let world = TestWorld::new(&plain_with(&device("    delete_on_termination = false\n")));
    world.fail_script();
    failed(&world).await;
    world.check_promise(0, "a failed build");
}

#[tokio::test(start_paused = true)]
async fn run_tags_go_to_the_image_unless_they_are_kept_off() {
    let (_, images) = built("  run_tags = { Run = \"1\", Team = \"ops\" }").await;
    let tag = |image: &crate::cloud::Image, key: &str| tags::value(&image.tags, key).map(str::to_owned);
    assert_eq!(tag(&images[0].1, "Run").as_deref(), Some("1"));
    assert_eq!(tag(&images[0].1, "Team").as_deref(), Some("web"), "the image's own count first");
    let (_, images) = built("  run_tags = { Run = \"1\" }\n  skip_ami_run_tags = true").await;
    assert_eq!(tag(&images[0].1, "Run"), None);
}

#[tokio::test(start_paused = true)]
async fn enhanced_networking() {
    let (world, _) = built("  sriov_support = true\n  ena_support = true").await;
    let id = &world.cloud.instances()[0].1.id;
    assert!(world.cloud.has_sriov_support(id));
    assert_eq!(world.cloud.count_of("ModifyInstanceAttribute"), 2);
}

#[tokio::test(start_paused = true)]
async fn instance_profiles() {
    let missing = TestWorld::new(&plain_with("  iam_instance_profile = \"web\""));
    assert_eq!(failed(&missing).await, "instance-profile-not-found");
    let named = TestWorld::new(&plain_with("  iam_instance_profile = \"web\""));
    named.cloud.add_instance_profile("web");
    named.serve_until_over().await;
    assert_eq!(named.state(), BuildState::Succeeded, "{}", named.story());
    let unseen = TestWorld::new(&plain_with("  iam_instance_profile = \"web\"\n  skip_profile_validation = true"));
    unseen.cloud.add_instance_profile("web");
    unseen.serve_until_over().await;
    assert_eq!(unseen.cloud.count_of("GetInstanceProfile"), 0);

    let statement = "    Statement {\n      Effect = \"Allow\"\n      Action = [\"s3:GetObject\"]\n      Resource = [\"*\"]\n    }\n";
    let document = format!("  temporary_iam_instance_profile_policy_document {{\n{statement}  }}");
    let (world, _) = built(&document).await;
    let profile = launch(&world).machine.iam_instance_profile.unwrap();
    assert!(profile.starts_with("ingot-"), "{profile}");
    world.check_promise(1, "role and profile are gone");
}

#[tokio::test(start_paused = true)]
async fn fast_launch() {
    let options = "  fast_launch {\n    enable_fast_launch = true\n    template_id = \"lt-1\"\n    max_parallel_launches = 7\n    \
                   target_resource_count = 3\n  }";
    let linux = TestWorld::new(&plain_with(options));
    assert_eq!(failed(&linux).await, "fast-launch-platform");
    let windows = TestWorld::new(&plain_with(options));
    make_source_windows(&windows);
    windows.serve_until_over().await;
    assert_eq!(windows.state(), BuildState::Succeeded, "{}", windows.story());
    let id = windows.cloud.images_of(&windows.facts.build.to_string())[0].1.id.clone();
    let request = windows.cloud.fast_launch_of(&id).unwrap();
    let template = LaunchTemplate { id: Some("lt-1".into()), ..LaunchTemplate::default() };
    assert_eq!(request.template, Some(template));
    assert_eq!((request.max_parallel_launches, request.target_resource_count), (Some(7), Some(3)));
}

/// The image that the tests' template starts from.
pub fn make_source_windows(world: &TestWorld) {
    let source = world.cloud.base_image("us-east-1", "ubuntu-jammy-22.04-amd64-server-20240301").unwrap();
    world.cloud.make_windows(&source.id);
}

#[tokio::test(start_paused = true)]
async fn keys_of_the_templates_own() {
    let key = "-----BEGIN EC PRIVATE KEY-----\\nAAAA\\n-----END EC PRIVATE KEY-----\\n";
    let options = format!("  ssh_private_key_file = \"{key}\"\n  ssh_keypair_name = \"mine\"");
    let world = TestWorld::new(&plain_with(&options));
    let pair = world.cloud.import_key_pair("us-east-1", "mine", "ssh-ed25519 AAAA", &Vec::new()).await;
    pair.expect("the template's own pair is there before");
    world.serve_until_over().await;
    assert_eq!(world.state(), BuildState::Succeeded, "{}", world.story());
    assert_eq!(world.cloud.count_of("ImportKeyPair"), 1, "no key is made");
    assert_eq!(launch(&world).machine.key_name.as_deref(), Some("mine"));
    let target = world.dialer.last_target();
    assert!(target.login.private_key.is_some() && target.bastion.is_none());
    let options = "  ssh_bastion_host = \"b\"\n  ssh_bastion_password = \"x\"\n  ssh_ciphers = [\"aes256-ctr\"]\n  \
                   pause_before_connecting = \"30s\"";
    let (world, _) = built(options).await;
    let target = world.dialer.last_target();
    let bastion = target.bastion.unwrap();
    assert_eq!((bastion.host.as_str(), bastion.port, bastion.login.username.as_str()), ("b", 22, "ubuntu"));
    assert!(bastion.login.private_key.is_some() && bastion.login.password.is_some());
    assert_eq!(target.ciphers, ["aes256-ctr"]);
    assert!(world.log_text().contains("Waiting 30 s before connecting"));
}

#[tokio::test(start_paused = true)]
async fn a_role_of_the_template() {
    let world =
        TestWorld::new(&plain_with("  assume_role {\n    role_arn = \"arn:aws:iam::123456789012:role/images\"\n  }"));
    world.cloud.add_assumable_role("arn:aws:iam::123456789012:role/images", None);
    world.serve_until_over().await;
    assert_eq!(world.state(), BuildState::Succeeded, "{}", world.story());
    assert!(!world.cloud.assumed_roles().is_empty());
}

#[tokio::test(start_paused = true)]
async fn retries_are_bounded() {
    use crate::cloud::CloudErrorClass;
    use crate::cloud::fake::FaultKind;
    let world = TestWorld::new(&plain_with("  max_retries = 2"));
    let throttled = FaultKind::refuse(CloudErrorClass::Throttled, "RequestLimitExceeded");
    world.cloud.fail_next("DescribeSubnets", throttled, 5);
    failed(&world).await;
    assert_eq!(world.cloud.count_of("DescribeSubnets"), 3);
}

/// A template of another builder.
fn other(builder: &str, body: &str, rest: &str) -> String {
    format!("source \"{builder}\" \"x\" {{\n{body}\n}}\nbuild {{\n  sources = [\"source.{builder}.x\"]\n{rest}}}\n")
}

pub fn file_template() -> String {
    other("file", "  target  = \"a.txt\"\n  content = \"hello\"", "  post-processor \"manifest\" {}\n")
}

#[tokio::test(start_paused = true)]
async fn the_file_builder() {
    let world = TestWorld::new(&file_template());
    world.serve_until_over().await;
    assert_eq!(world.state(), BuildState::Succeeded, "{}", world.story());
    let row = world.row.lock().unwrap();
    assert_eq!((row.files[0].name.as_str(), row.files[0].bytes.as_slice()), ("a.txt", b"hello".as_slice()));
    let record = row.record.as_ref().unwrap();
    assert_eq!((record.artifact_id.as_str(), record.copies.len()), ("File", 0));
    assert_eq!(record.manifest[0].build["files"], serde_json::json!([{"name": "a.txt", "size": 5}]));
}

#[tokio::test(start_paused = true)]
async fn the_null_builder() {
    let host = "  ssh_host = \"10.0.0.9\"\n  ssh_username = \"u\"\n  ssh_password = \"p\"";
    let world = TestWorld::new(&other("null", host, "  provisioner \"shell\" { inline = [\"true\"] }\n"));
    world.serve_until_over().await;
    assert_eq!(world.state(), BuildState::Succeeded, "{}", world.story());
    let target = world.dialer.last_target();
    assert_eq!(target.host, "10.0.0.9");
    assert!(target.login.password.is_some() && target.login.private_key.is_none());
    assert_eq!(world.row.lock().unwrap().record.as_ref().unwrap().artifact_id, "Null");
    assert!(world.cloud.calls().is_empty(), "nothing is asked of the cloud");

    let nothing = TestWorld::new(&other("null", "  communicator = \"none\"", ""));
    nothing.serve_until_over().await;
    assert_eq!(nothing.state(), BuildState::Succeeded, "{}", nothing.story());
    let nowhere = TestWorld::new(&other(
        "null",
        "  communicator = \"none\"",
        "  provisioner \"shell\" { inline = [\"true\"] }\n",
    ));
    assert_eq!(failed(&nowhere).await, "no-communicator");
}

#[test]
fn the_plain_template_is_of_the_first_form() {
    let world = TestWorld::new(PLAIN);
    assert_eq!(world.plan.format, 1);
    assert_eq!(TestWorld::new(&plain_with("  spot_price = \"auto\"")).plan.format, 3);
}
