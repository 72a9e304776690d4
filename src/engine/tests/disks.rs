//! Builds of `amazon-ebsvolume` and `amazon-ebssurrogate`: what EC2 is asked for, and what is there in the end.

use std::collections::BTreeMap;

use super::memory_journal::Landed;
use super::world::{PLAIN, TestWorld, plain_with, surrogate_with, volumes};
use crate::cloud::fake::{FaultKind, sample_registration};
use crate::cloud::{Cloud as _, Disks as _, Filter, Grantee, NewSnapshot, Tags, Volume};
use crate::domain::journal::JournalEvent;
use crate::domain::state::BuildState;
use crate::domain::tags;

async fn built(template: &str) -> TestWorld {
    let world = TestWorld::new(template);
    world.serve_until_over().await;
    assert_eq!(world.state(), BuildState::Succeeded, "{}", world.story());
    world
}

/// The failure's code and step of a build that leaves nothing.
async fn failed(world: &TestWorld) -> (String, String) {
    world.serve_until_over().await;
    assert_eq!(world.state(), BuildState::Failed, "{}", world.story());
    world.check_promise(0, "failed");
    let row = world.row.lock().unwrap();
    let failure = row.failure.clone().unwrap();
    (failure.code, failure.step.unwrap_or_default())
}

/// The one image of a build.
fn image(world: &TestWorld) -> crate::cloud::Image {
    let mut images = world.cloud.images_of(&world.facts.build.to_string());
    assert_eq!(images.len(), 1, "{}", world.story());
    images.remove(0).1
}

/// Snapshots of volumes, by the device that their tag names.
fn snapshots(world: &TestWorld) -> BTreeMap<String, (String, NewSnapshot)> {
    let own = world.cloud.own_snapshots().into_iter();
    own.map(|(id, made)| (tag(&made.tags, tags::DEVICE).unwrap_or_default(), (id, made))).collect()
}

fn tag(list: &Tags, key: &str) -> Option<String> {
    tags::value(list, key).map(str::to_owned)
}

fn place(world: &TestWorld, operation: &str) -> usize {
    let calls = world.cloud.calls();
    calls.iter().position(|call| call.operation == operation).unwrap_or_else(|| panic!("no {operation}"))
}

#[tokio::test(start_paused = true)]
async fn an_image_of_a_surrogate() {
    let options = "ami_regions = [\"us-west-2\"]\n  ami_users = [\"111122223333\"]\n  snapshot_tags = { Kind = \"shot\" }\n  \
                   snapshot_description = \"of {{ .SourceAMIName }}\"\n  boot_mode = \"uefi\"\n  uefi_data = \"AAAA\"\n  \
                   tpm_support = \"v2.0\"\n  imds_support = \"v2.0\"\n  sriov_support = true";
    let world = built(&surrogate_with(options)).await;
    world.check_promise(2, "a surrogate");
    assert_eq!(world.plan.format, 4, "servers that don't know the steps leave it alone");
    assert!(place(&world, "StopInstances") < place(&world, "CreateSnapshot"), "the disk is at rest");
    assert_eq!(world.cloud.count_of("ModifyInstanceAttribute"), 0, "the image has nothing of the machine");

    let snapshots = snapshots(&world);
    assert_eq!(snapshots.keys().collect::<Vec<_>>(), ["/dev/xvdf", "/dev/xvdg"]);
    let (id, made) = &snapshots["/dev/xvdf"];
    assert!(made.description.starts_with("of ubuntu"), "{made:?}");
    assert_eq!((tag(&made.tags, "Kind").as_deref(), tag(&made.tags, "Team").as_deref()), (Some("shot"), Some("web")));
    assert_eq!(tag(&made.tags, tags::TEMPORARY), None);

    let [request] = &world.cloud.registrations()[..] else { panic!("one registration") };
    assert_eq!((request.architecture.as_str(), request.virtualization_type.as_str()), ("x86_64", "hvm"));
    assert_eq!((request.boot_mode.as_deref(), request.uefi_data.as_deref()), (Some("uefi"), Some("AAAA")));
    assert_eq!(request.tpm_support.as_deref(), Some("v2.0"));
    assert!(request.ena_support && request.sriov_support && request.imds_v2);
    assert_eq!(request.root_device_name, "/dev/sda1");
    let devices: Vec<(&str, Option<&str>, Option<i32>, bool)> = request
        .block_devices
        .iter()
        .map(|one| (one.device_name.as_str(), one.snapshot_id.as_deref(), one.volume_size, one.delete_on_termination))
        .collect();
    let second = snapshots["/dev/xvdg"].0.as_str();
    let expected = [("/dev/sda1", Some(id.as_str()), Some(10), true), ("/dev/xvdg", Some(second), Some(20), false)];
    assert_eq!(devices, expected);

    let images = world.cloud.images_of(&world.facts.build.to_string());
    let record = world.row.lock().unwrap().record.clone().unwrap();
    let ids: Vec<String> = images.iter().map(|(region, image)| format!("{region}:{}", image.id)).collect();
    assert_eq!(record.artifact_id, ids.join(","));
    assert_eq!(record.copies.len(), 2);
    for (_, image) in &images {
        let account = Grantee::Account("111122223333".into());
        assert_eq!(world.cloud.image_grants(&image.id), std::slice::from_ref(&account));
        assert!(world.cloud.image_requires_imds_v2(&image.id), "{image:?}");
        assert_eq!((tag(&image.tags, "Team").as_deref(), image.snapshot_ids.len()), (Some("web"), 2));
    }
}

#[tokio::test(start_paused = true)]
async fn a_surrogate_that_takes_the_roots_place() {
    let world = built(&surrogate_with("use_create_image = true")).await;
    world.check_promise(1, "a swapped root");
    assert!(world.cloud.own_snapshots().is_empty() && world.cloud.registrations().is_empty());
    assert_eq!(world.cloud.count_of("DetachVolume"), 3, "the root, the surrogate, and what is left out");
    assert!(place(&world, "StopInstances") < place(&world, "DetachVolume"));
    assert!(place(&world, "AttachVolume") < place(&world, "CreateImage"));
    let image = image(&world);
    let mut devices: Vec<(&str, Option<i32>, bool)> = image
        .devices
        .iter()
        .map(|device| (device.device_name.as_str(), device.size_gib, device.delete_on_termination))
        .collect();
    devices.sort_unstable();
    assert_eq!(devices, [("/dev/sda1", Some(10), true), ("/dev/xvdg", Some(20), false)]);

    let template = surrogate_with("use_create_image = true").replace("\"/dev/sda1\"", "\"/dev/xvda\"");
    let world = TestWorld::new(&template);
    assert_eq!(failed(&world).await, ("root-device-mismatch".to_owned(), "check".to_owned()));
    assert_eq!(world.cloud.count_of("RunInstances"), 0, "it is told before anything is made");
}

#[tokio::test(start_paused = true)]
async fn a_surrogate_on_a_spot_instance_is_not_stopped() {
    let world = built(&surrogate_with("spot_price = \"auto\"")).await;
    world.check_promise(1, "a spot surrogate");
    assert_eq!(world.cloud.count_of("StopInstances"), 0);
    assert_eq!(world.cloud.own_snapshots().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn an_encrypted_image_is_encrypted_where_it_is_filled() {
    let world = built(&surrogate_with("encrypt_boot = true\n  kms_key_id = \"alias/mine\"")).await;
    let (_, instance) = world.cloud.instances().remove(0);
    let launched = world.cloud.launch_of(&instance.id).unwrap().machine.block_devices;
    let encrypted: Vec<Option<&str>> = launched.iter().map(|device| device.kms_key_id.as_deref()).collect();
    assert_eq!(encrypted, [Some("alias/mine"), Some("alias/mine"), None], "what is left out is as it is");
    assert!(image(&world).devices.iter().all(|device| device.encrypted));
}

#[tokio::test(start_paused = true)]
async fn only_the_copy_of_a_surrogates_image_is_kept() {
    let world = built(&surrogate_with("ami_regions = [\"us-west-2\"]\n  skip_save_build_region = true")).await;
    world.check_promise(1, "the intermediary is gone");
    let left: Vec<String> =
        world.cloud.leftovers().into_iter().filter(|thing| thing.starts_with("us-east-1 ")).collect();
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test(start_paused = true)]
async fn what_a_surrogate_replaces_goes_directly_before_it() {
    let template = surrogate_with("force_deregister = true").replace("web-{{timestamp}}", "web-taken");
    let world = TestWorld::new(&template);
    let _ = world.cloud.add_public_image("us-east-1", super::options::OLD);
    world.serve_until_over().await;
    assert_eq!(world.state(), BuildState::Succeeded, "{}", world.story());
    assert!(place(&world, "CreateSnapshot") < place(&world, "DeregisterImage"));
    assert!(place(&world, "DeregisterImage") < place(&world, "RegisterImage"));
}

#[tokio::test(start_paused = true)]
async fn volumes_and_their_snapshots_stay_with_their_tags() {
    let world = built(&volumes()).await;
    world.check_promise(0, "volumes");
    let snapshots = snapshots(&world);
    assert_eq!(snapshots.keys().collect::<Vec<_>>(), ["/dev/xvdf", "/dev/xvdg"]);
    let (id, made) = &snapshots["/dev/xvdf"];
    assert_eq!((tag(&made.tags, "Kind").as_deref(), tag(&made.tags, tags::TEMPORARY)), (Some("shot"), None));
    assert_eq!(tag(&made.tags, tags::FAMILY).as_deref(), Some("web"));
    assert_eq!(world.cloud.snapshot_grants(id), [Grantee::Account("111122223333".into())]);
    let (other, made) = &snapshots["/dev/xvdg"];
    assert!(made.description.starts_with("of ami-"), "{made:?}");
    assert!(world.cloud.snapshot_grants(other).is_empty());

    let kept: Vec<Volume> = world.cloud.find_volumes("us-east-1", &[]).await.unwrap();
    assert_eq!(kept.len(), 2, "what says delete_on_termination is gone: {kept:?}");
    let data = kept.iter().find(|volume| tag(&volume.tags, "Kind").is_some()).unwrap();
    assert_eq!(data.state, "available");
    assert!(tag(&data.tags, "From").unwrap().starts_with("ubuntu"), "{data:?}");
    for volume in &kept {
        let known = [tags::FAMILY, tags::OS, tags::BUILD_ID].map(|key| tag(&volume.tags, key).is_some());
        assert_eq!(known, [true; 3], "{volume:?}");
        let unknown = ["Name", "Launch", tags::TEMPORARY].map(|key| tag(&volume.tags, key));
        assert_eq!(unknown, [None, None, None], "the launch's tags are gone: {volume:?}");
    }

    let record = world.row.lock().unwrap().record.clone().unwrap();
    let mut ids: Vec<String> = kept.iter().map(|volume| &volume.id).chain([id, other]).cloned().collect();
    for id in &mut ids {
        id.insert_str(0, "us-east-1:");
    }
    ids.sort();
    assert_eq!(record.artifact_id, ids.join(","));
    assert_eq!(record.manifest[0].build["artifact_id"], record.artifact_id);
    assert_eq!(record.manifest[0].build["builder_type"], "amazon-ebsvolume");
    assert!(record.copies.is_empty());
    assert!(world.log_text().contains(&format!("EBS Volumes were created:\n{}", ids.join("\n"))), "{}", world.story());
}

#[tokio::test(start_paused = true)]
async fn volumes_of_a_build_that_fails_are_gone() {
    let world = TestWorld::new(&volumes());
    world.fail_script();
    assert_eq!(failed(&world).await.1, "provision:1");
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_that_fails_fails_the_build() {
    for template in [surrogate_with(""), volumes()] {
        let world = TestWorld::new(&template);
        world.cloud.fail_next_snapshot();
        assert_eq!(failed(&world).await, ("snapshot-failed".to_owned(), "wait_snapshots".to_owned()));
    }
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_is_made_once() {
    let whole = built(&surrogate_with("")).await;
    for device in ["/dev/xvdf", "/dev/xvdg"] {
        let step = format!("snapshot:{device}").as_str().into();
        let write = whole.write_number(|entry| {
            entry.step.as_ref() == Some(&step) && matches!(entry.event, JournalEvent::Succeeded { .. })
        });
        for late in [0, 3] {
            // The server dies when EC2 has made it, and before that is written.
            let world = TestWorld::new(&surrogate_with(""));
            world.cloud.set_invisible_for(late);
            world.die_at(write.unwrap(), Landed::No);
            world.serve_until_over().await;
            world.check_promise(1, &format!("{device} asked for again, invisible for {late} looks"));
            assert_eq!(world.cloud.own_snapshots().len(), 2, "{}", world.story());
        }
    }
    for fault in [FaultKind::lose_reply(), FaultKind::lose_request()] {
        let world = TestWorld::new(&surrogate_with(""));
        world.cloud.fail_next("CreateSnapshot", fault.clone(), 1);
        world.serve_until_over().await;
        world.check_promise(1, &format!("{fault:?}"));
        assert_eq!(world.cloud.own_snapshots().len(), 2, "{fault:?}: {}", world.story());
    }
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_that_the_template_names_is_left_alone() {
    let named = TestWorld::new(PLAIN).cloud.add_snapshot("us-east-1");
    let device = format!(
        "  ami_block_device_mappings {{\n    device_name = \"/dev/sdz\"\n    snapshot_id = \"{named}\"\n  }}\n"
    );
    for template in [plain_with(&device), surrogate_with(&device)] {
        for fails in [false, true] {
            let world = TestWorld::new(&template);
            let id = world.cloud.add_snapshot("us-east-1");
            assert_eq!(id, named, "the fake numbers things in their order");
            let look = async || {
                let found = world.cloud.find_snapshots("us-east-1", &[Filter::new("snapshot-id", [&id])]).await;
                found.unwrap().pop()
            };
            let before = look().await;
            if fails {
                world.cloud.fail_next_image("EC2's own fault");
            }
            world.serve_until_over().await;
            let expected = if fails { BuildState::Failed } else { BuildState::Succeeded };
            assert_eq!(world.state(), expected, "{}", world.story());
            assert_eq!(look().await, before, "neither tagged nor deleted");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_that_the_template_names_outlives_the_image_that_is_replaced() {
    let named = TestWorld::new(PLAIN).cloud.add_snapshot("us-east-1");
    let options = format!(
        "  force_deregister = true\n  force_delete_snapshot = true\n  ami_block_device_mappings {{\n    device_name = \
         \"/dev/sdz\"\n    snapshot_id = \"{named}\"\n  }}\n"
    );
    let world = TestWorld::new(&plain_with(&options).replace("web-{{timestamp}}", "web-taken"));
    assert_eq!(world.cloud.add_snapshot("us-east-1"), named, "the fake numbers things in their order");
    let own = world.cloud.add_snapshot("us-east-1");
    let old = sample_registration("web-taken", &[("/dev/sda1", &own), ("/dev/sdz", &named)]);
    world.cloud.register_image("us-east-1", &old).await.unwrap();
    world.serve_until_over().await;
    assert_eq!(world.state(), BuildState::Succeeded, "{}", world.story());
    let found = world.cloud.find_snapshots("us-east-1", &[Filter::new("snapshot-id", [&named, &own])]).await.unwrap();
    let ids: Vec<&str> = found.iter().map(|snapshot| snapshot.id.as_str()).collect();
    assert_eq!(ids, [named.as_str()], "that of the replaced image is gone, the other one stays");
}
