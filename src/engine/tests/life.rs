//! Builds without a crash.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::world::{PLAIN, TestWorld, plain_with};
use crate::cloud::CloudErrorClass;
use crate::cloud::fake::{FakeTimings, FaultKind, Latency};
use crate::communicator::ExitStatus;
use crate::communicator::fake::Answer;
use crate::domain::failure::FailureClass;
use crate::domain::state::BuildState;
use crate::engine::executor::Departure;

#[tokio::test(start_paused = true)]
async fn a_build_makes_one_image_with_its_facts_and_nothing_else() {
    let world = TestWorld::new(PLAIN);
    world.serve_until_over().await;
    assert_eq!(world.state(), BuildState::Succeeded, "{}", world.story());
    world.check_promise(1, "plain");
    let row = world.row.lock().unwrap();
    let record = row.record.as_ref().unwrap();
    let (_, image) = &world.cloud.images_of(&row.build.to_string())[0];
    for (key, value) in [
        ("ingot:family", "web"),
        ("ingot:number", "1"),
        ("ingot:sha", "unknown"),
        ("ingot:builder", "ingot/test"),
        ("Team", "web"),
    ] {
        assert!(image.tags.contains(&(key.into(), value.into())), "{key}={value} in {:?}", image.tags);
    }
    let from = image.tags.iter().find(|(key, _)| key == "From").unwrap();
    assert_eq!(from.1, record.source.as_ref().unwrap().name, "late text is rendered");
    assert_eq!(record.artifact_id, format!("us-east-1:{}", image.id));
    assert_eq!(record.manifest[0].build["artifact_id"], record.artifact_id);
}

#[tokio::test(start_paused = true)]
async fn the_group_lets_in_the_server_and_nobody_else() {
    let world = TestWorld::new(PLAIN);
    let rules = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    world.cloud.on_call({
        let (cloud, rules) = (world.cloud.clone(), rules.clone());
        move |call| {
            if call.operation == "RunInstances" {
                *rules.lock().unwrap() = cloud.leftovers();
            }
            crate::cloud::fake::Then::Go
        }
    });
    world.serve_until_over().await;
    let authorized: Vec<_> =
        world.cloud.calls().into_iter().filter(|call| call.operation == "AuthorizeSecurityGroupIngress").collect();
    assert_eq!(authorized.len(), 1, "{authorized:?}");
    assert!(world.log_text().contains("192.0.2.7/32"), "{}", world.log_text());
}

#[tokio::test(start_paused = true)]
async fn copies_are_made_in_every_other_region() {
    let world = TestWorld::new(&plain_with(r#"ami_regions = ["us-east-1", "us-west-2", "eu-west-1"]"#));
    world.serve_until_over().await;
    world.check_promise(3, "copies");
    assert_eq!(world.cloud.count_of("CopyImage"), 2, "the build's own region is skipped");
}

#[tokio::test(start_paused = true)]
async fn without_an_ami_nothing_is_left() {
    let world = TestWorld::new(&plain_with("skip_create_ami = true"));
    world.serve_until_over().await;
    assert_eq!(world.state(), BuildState::Succeeded, "{}", world.story());
    assert!(world.cloud.leftovers().is_empty(), "{:?}", world.cloud.leftovers());
    assert_eq!(world.cloud.count_of("CreateImage"), 0);
}

#[tokio::test(start_paused = true)]
async fn a_failing_script_fails_the_build_and_everything_is_undone() {
    let world = TestWorld::new(PLAIN);
    world.dialer.machine.state().answers.extend([
        Answer::Output("NAME=Ubuntu\nVERSION_ID=22.04\n", ExitStatus::Code(0)),
        Answer::Output("the secret is hunter2\n", ExitStatus::Code(3)),
    ]);
    world.serve_until_over().await;
    assert_eq!(world.state(), BuildState::Failed);
    world.check_promise(0, "failing script");
    let row = world.row.lock().unwrap();
    let failure = row.failure.as_ref().unwrap();
    assert_eq!((failure.class, failure.step.as_deref()), (FailureClass::User, Some("provision:1")));
    assert!(failure.message.contains("exit status: 3"), "{}", failure.message);
    drop(row);
    assert!(world.log_text().contains("the secret is <sensitive>"), "{}", world.log_text());
    assert!(!world.story().contains("hunter2"));
}

#[tokio::test(start_paused = true)]
async fn a_taken_name_fails_before_anything_is_made() {
    let world = TestWorld::new(PLAIN);
    world.serve_until_over().await;
    let second = TestWorld { row: TestWorld::new(PLAIN).row, ..world };
    let before = second.cloud.leftovers().len();
    second.serve_until_over().await;
    assert_eq!(second.state(), BuildState::Failed, "{}", second.story());
    assert_eq!(second.cloud.leftovers().len(), before);
    assert_eq!(second.row.lock().unwrap().failure.as_ref().unwrap().code, "InvalidAMIName.Duplicate");
    assert_eq!(second.cloud.count_of("RunInstances"), 1, "only the first build's");
}

#[tokio::test(start_paused = true)]
async fn a_full_zone_leads_to_the_next_one() {
    let world = TestWorld::new(PLAIN);
    let refused = FaultKind::refuse(CloudErrorClass::Capacity, "InsufficientInstanceCapacity");
    world.cloud.fail_next("RunInstances", refused, 1);
    world.serve_until_over().await;
    assert_eq!(world.state(), BuildState::Succeeded, "{}", world.story());
    world.check_promise(1, "full zone");
}

#[tokio::test(start_paused = true)]
async fn a_launch_that_ends_terminated_tells_why() {
    let world = TestWorld::new(PLAIN);
    world.cloud.fail_next_boot("Client.InvalidKMSKey.InvalidState: the key is disabled");
    world.serve_until_over().await;
    assert_eq!(world.state(), BuildState::Failed);
    world.check_promise(0, "dead launch");
    let row = world.row.lock().unwrap();
    let failure = row.failure.as_ref().unwrap();
    assert!(failure.message.contains("Client.InvalidKMSKey"), "{}", failure.message);
    assert!(failure.advice.is_some());
}

#[tokio::test(start_paused = true)]
async fn throttling_is_waited_out() {
    let world = TestWorld::new(PLAIN);
    for operation in ["ImportKeyPair", "RunInstances", "CreateImage", "DescribeInstances"] {
        world.cloud.fail_next(operation, FaultKind::refuse(CloudErrorClass::Throttled, "RequestLimitExceeded"), 3);
    }
    world.serve_until_over().await;
    assert_eq!(world.state(), BuildState::Succeeded, "{}", world.story());
    world.check_promise(1, "throttled");
}

#[tokio::test(start_paused = true)]
async fn a_lost_reply_of_any_making_call_leads_to_one_thing() {
    for operation in [
        "ImportKeyPair",
        "CreateSecurityGroup",
        "AuthorizeSecurityGroupIngress",
        "RunInstances",
        "StopInstances",
        "CreateImage",
        "CopyImage",
    ] {
        for fault in [FaultKind::lose_reply(), FaultKind::lose_request()] {
            let world = TestWorld::new(&plain_with(r#"ami_regions = ["us-west-2"]"#));
            world.cloud.fail_next(operation, fault.clone(), 1);
            world.serve_until_over().await;
            world.check_promise(2, &format!("{operation} {fault:?}"));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_cancel_while_waiting_undoes_everything() {
    let boot = Latency::After(Duration::from_secs(3600));
    let world = TestWorld::new(PLAIN);
    world.cloud.set_timings(FakeTimings { boot, ..FakeTimings::default() });
    let cancel = async {
        tokio::time::sleep(Duration::from_secs(20)).await;
        world.row.lock().unwrap().cancel_requested = true;
    };
    tokio::join!(world.serve_until_over(), cancel);
    assert_eq!(world.state(), BuildState::Cancelled, "{}", world.story());
    world.check_promise(0, "cancelled");
}

#[tokio::test(start_paused = true)]
async fn a_draining_server_hands_a_waiting_build_back_and_the_next_one_goes_on() {
    let image = Latency::After(Duration::from_secs(600));
    let world = TestWorld::new(PLAIN);
    world.cloud.set_timings(FakeTimings { image, ..FakeTimings::default() });
    let drain = CancellationToken::new();
    let stop = async {
        tokio::time::sleep(Duration::from_secs(60)).await;
        drain.cancel();
    };
    let (departure, ()) = tokio::join!(world.serve_once(drain.clone()), stop);
    assert_eq!(departure, Some(Departure::Released));
    assert_eq!(world.state(), BuildState::Running);
    world.serve_until_over().await;
    world.check_promise(1, "handed over");
    assert_eq!(world.cloud.count_of("CreateImage"), 1);
}

#[tokio::test(start_paused = true)]
async fn an_outage_of_the_database_only_delays() {
    let world = TestWorld::new(PLAIN);
    world.row.lock().unwrap().outage = 9;
    world.serve_until_over().await;
    world.check_promise(1, "outage");
    assert_eq!(world.cloud.count_of("RunInstances"), 1);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_lost_its_lease_changes_nothing_more() {
    let boot = Latency::After(Duration::from_secs(120));
    let world = TestWorld::new(PLAIN);
    world.cloud.set_timings(FakeTimings { boot, ..FakeTimings::default() });
    let first = world.serve_once(CancellationToken::new());
    let takeover = async {
        tokio::time::sleep(Duration::from_secs(30)).await;
        world.serve_until_over().await;
    };
    let (departure, ()) = tokio::join!(first, takeover);
    assert_eq!(departure, Some(Departure::Lost));
    world.check_promise(1, "taken over");
    assert_eq!(world.cloud.count_of("CreateImage"), 1);
}

#[tokio::test(start_paused = true)]
async fn an_undo_that_keeps_failing_is_stuck_and_a_try_again_removes_the_rest() {
    let world = TestWorld::new(PLAIN);
    world.fail_script();
    let refused = || FaultKind::refuse(CloudErrorClass::Unauthorized, "UnauthorizedOperation");
    world.cloud.fail_next("DeleteSecurityGroup", refused(), 6);
    world.serve_until_over().await;
    assert_eq!(world.state(), BuildState::Stuck, "{}", world.story());
    let reason = world.row.lock().unwrap().stuck_reason.clone().unwrap();
    assert!(reason.contains("security_group") && reason.contains("UnauthorizedOperation"), "{reason}");
    assert_eq!(world.cloud.leftovers().len(), 1, "only the group is left: {:?}", world.cloud.leftovers());

    world.row.lock().unwrap().state = BuildState::Unwinding;
    world.cloud.fail_next("DeleteSecurityGroup", refused(), 2);
    world.serve_until_over().await;
    assert_eq!(world.state(), BuildState::Failed, "{}", world.story());
    world.check_promise(0, "tried again");
}

#[tokio::test(start_paused = true)]
async fn a_guest_that_stops_itself_is_still_there_for_its_image() {
    let world = TestWorld::new(&plain_with("disable_stop_instance = true"));
    let guest = async {
        loop {
            tokio::time::sleep(Duration::from_millis(100)).await;
            let waiting =
                world.row.lock().unwrap().entries.iter().any(|entry| entry.step == Some("wait_stopped".into()));
            if waiting {
                let (region, instance) = world.cloud.instances().remove(0);
                world.cloud.guest_shutdown(&region, &instance.id);
                return;
            }
        }
    };
    tokio::join!(world.serve_until_over(), guest);
    assert_eq!(world.state(), BuildState::Succeeded, "{}", world.story());
    assert_eq!(world.cloud.count_of("StopInstances"), 0);
    world.check_promise(1, "self-stopping guest");
}
