//! Failures that are rare, each with its code.

use std::time::Duration;

use super::faults::fails;
use super::options::make_source_windows;
use super::world::{PLAIN, TestWorld, plain_with};
use crate::cloud::Cloud as _;
use crate::cloud::fake::{FakeTimings, Latency};
use crate::communicator::ExitStatus;
use crate::communicator::fake::Answer;

/// Step and code of a build that fails and leaves nothing.
async fn failed(world: &TestWorld) -> (String, String) {
    let failure = fails(world).await;
    (failure.step.unwrap_or_default(), failure.code)
}

fn told(step: &str, code: &str) -> (String, String) {
    (step.to_owned(), code.to_owned())
}

#[tokio::test(start_paused = true)]
async fn a_filter_that_several_vpcs_match() {
    let world = TestWorld::new(&plain_with("  vpc_filter {\n    filters = { \"vpc-id\" = \"vpc-*\" }\n  }"));
    let _ = world.cloud.add_subnet("us-east-1", "vpc-second", "us-east-1a", true);
    assert_eq!(failed(&world).await, told("check", "vpc-ambiguous"));
}

#[tokio::test(start_paused = true)]
async fn a_machine_without_such_an_address() {
    let mut world = TestWorld::new(&plain_with("  ssh_interface = \"public_ip\"\n  subnet_id = \"SUBNET\""));
    let subnet = world.cloud.add_subnet("us-east-1", "vpc-inner", "us-east-1a", false);
    world.config.builder.ebs_mut().expect("an amazon builder").subnet_id = Some(subnet);
    assert_eq!(failed(&world).await, told("connect", "no-address"));
}

#[tokio::test(start_paused = true)]
async fn a_tag_that_needs_what_is_not_known() {
    let world = TestWorld::new(&PLAIN.replace("{{ .SourceAMIName }}", "{{ .SourceAMITags.x.y }}"));
    let (_, code) = failed(&world).await;
    assert_eq!(code, "late-template");
}

#[tokio::test(start_paused = true)]
async fn an_image_that_somebody_deregisters() {
    let world = TestWorld::new(PLAIN);
    world.cloud.set_timings(FakeTimings { image: Latency::After(Duration::from_mins(5)), ..FakeTimings::default() });
    let somebody = async {
        loop {
            tokio::time::sleep(Duration::from_millis(100)).await;
            if let Some((region, image)) = world.cloud.images_of(&world.facts.build.to_string()).first() {
                return world.cloud.deregister_image(region, &image.id).await;
            }
        }
    };
    let (failure, deregistered) = tokio::join!(failed(&world), somebody);
    deregistered.expect("it is there");
    assert_eq!(failure, told("wait_image", "image-gone"));
}

#[tokio::test(start_paused = true)]
async fn fast_launch_that_ec2_can_not_turn_on() {
    let world = TestWorld::new(&plain_with("  fast_launch {\n    enable_fast_launch = true\n  }"));
    make_source_windows(&world);
    world.cloud.fail_next_fast_launch("no room for snapshots");
    assert_eq!(failed(&world).await, told("fast_launch:us-east-1", "fast-launch-failed"));
}

#[tokio::test(start_paused = true)]
async fn a_machine_that_can_not_be_cleaned() {
    let mut codes = Vec::new();
    // The script takes some commands; one that follows them is the cleaning.
    for commands in 0..10 {
        let world = TestWorld::new(PLAIN);
        let answers = std::iter::repeat_n(Answer::Exit(ExitStatus::Code(0)), commands);
        world.dialer.machine.state().answers.extend(answers.chain([Answer::Exit(ExitStatus::Code(1))]));
        world.serve_until_over().await;
        codes.extend(world.row.lock().unwrap().failure.as_ref().map(|failure| failure.code.clone()));
    }
    assert!(codes.contains(&"clean-failed".to_owned()), "{codes:?}");
}
