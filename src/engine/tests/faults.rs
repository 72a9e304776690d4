//! What comes of each fault of the cloud and of the machine: it is waited out, met elsewhere, or the build fails with a
//! class, a code and advice, and nothing is left behind. docs/failures.md is the table of them.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::world::{PLAIN, TestWorld, plain_with};
use crate::cloud::denial::Denial;
use crate::cloud::fake::{FakeTimings, FaultKind, Latency, Phase, Then};
use crate::cloud::{CloudError, CloudErrorClass, InstanceState};
use crate::communicator::ExitStatus;
use crate::communicator::fake::Answer;
use crate::domain::failure::{Failure, FailureClass};
use crate::domain::state::{BuildState, CleanupState};
use crate::engine::executor::Departure;

const COPIED: &str = r#"ami_regions = ["us-west-2"]"#;

/// All calls of a successful build that change something.
const CHANGES: [&str; 11] = [
    "ImportKeyPair",
    "CreateSecurityGroup",
    "AuthorizeSecurityGroupIngress",
    "RunInstances",
    "StopInstances",
    "CreateImage",
    "CopyImage",
    "DeleteTags",
    "TerminateInstances",
    "DeleteKeyPair",
    "DeleteSecurityGroup",
];

async fn succeeds(world: &TestWorld, images: usize, context: &str) {
    world.serve_until_over().await;
    assert_eq!(world.state(), BuildState::Succeeded, "{context}: {}", world.story());
    world.check_promise(images, context);
}

/// Serves a build that fails and leaves nothing; returns why.
pub(super) async fn fails(world: &TestWorld) -> Failure {
    world.serve_until_over().await;
    assert_eq!(world.state(), BuildState::Failed, "{}", world.story());
    world.check_promise(0, "failed");
    world.row.lock().unwrap().failure.clone().unwrap()
}

fn check(failure: &Failure, class: FailureClass, step: &str, code: &str, advice: &str) {
    assert_eq!(
        (failure.class, failure.step.as_deref(), failure.code.as_str()),
        (class, Some(step), code),
        "{failure:?}"
    );
    assert!(failure.advice.as_deref().unwrap_or_default().contains(advice), "{failure:?}");
}

fn refuse(class: CloudErrorClass, code: &str) -> FaultKind {
    FaultKind::refuse(class, code)
}

/// Every operation of a build that goes well.
async fn operations(template: &str) -> BTreeSet<&'static str> {
    let whole = TestWorld::new(template);
    whole.serve_until_over().await;
    let operations: BTreeSet<&str> = whole.cloud.calls().iter().map(|call| call.operation).collect();
    assert!(CHANGES.iter().all(|change| operations.contains(change)), "{operations:?}");
    operations
}

/// What the machine answers to the question for its system, and then to the script.
fn script_answers(world: &TestWorld, answer: Answer) {
    world.dialer.machine.state().answers.extend([Answer::Exit(ExitStatus::Code(0)), answer]);
}

/// Waits until a step has begun.
async fn begun(world: &TestWorld, step: &str) {
    let is_begun = || world.row.lock().unwrap().entries.iter().any(|entry| entry.step == Some(step.into()));
    while !is_begun() {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn slow_images(world: &TestWorld, seconds: u64) {
    let image = Latency::After(Duration::from_secs(seconds));
    world.cloud.set_timings(FakeTimings { image, ..FakeTimings::default() });
}

// ---- the cloud is busy or broken ----

#[tokio::test(start_paused = true)]
async fn throttling_of_any_call_is_waited_out() {
    let template = plain_with(COPIED);
    for operation in operations(&template).await {
        let world = TestWorld::new(&template);
        world.cloud.fail_next(operation, refuse(CloudErrorClass::Throttled, "RequestLimitExceeded"), 4);
        succeeds(&world, 2, operation).await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_account_that_is_throttled_for_ever_fails_the_build() {
    let world = TestWorld::new(PLAIN);
    world.cloud.fail_next("RunInstances", refuse(CloudErrorClass::Throttled, "RequestLimitExceeded"), 100);
    let failure = fails(&world).await;
    check(&failure, FailureClass::Cloud, "launch", "RequestLimitExceeded", "quieter");
}

#[tokio::test(start_paused = true)]
async fn a_server_error_of_any_call_is_waited_out() {
    let template = plain_with(COPIED);
    for operation in operations(&template).await {
        let world = TestWorld::new(&template);
        world.cloud.fail_next(operation, refuse(CloudErrorClass::Unavailable, "InternalError"), 4);
        succeeds(&world, 2, operation).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_cloud_that_stays_broken_fails_the_build() {
    let world = TestWorld::new(PLAIN);
    world.cloud.fail_next("DescribeImages", refuse(CloudErrorClass::Unavailable, "unreachable"), 100);
    let failure = fails(&world).await;
    check(&failure, FailureClass::Cloud, "check", "unreachable", "start the run again");
}

#[tokio::test(start_paused = true)]
async fn a_lost_reply_to_any_change_is_made_up_for() {
    let template = plain_with(COPIED);
    for operation in CHANGES {
        for fault in [FaultKind::lose_reply(), FaultKind::lose_request()] {
            let world = TestWorld::new(&template);
            world.cloud.fail_next(operation, fault.clone(), 1);
            succeeds(&world, 2, &format!("{operation} {fault:?}")).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_making_call_that_is_never_answered_is_searched_for_and_removed() {
    for (operation, step) in
        [("ImportKeyPair", "key_pair"), ("CreateSecurityGroup", "security_group"), ("RunInstances", "launch")]
    {
        let world = TestWorld::new(PLAIN);
        world.cloud.fail_next(operation, FaultKind::lose_request(), 3);
        // What it made all the same, seen late.
        world.cloud.set_invisible_for(1);
        let failure = fails(&world).await;
        check(&failure, FailureClass::Cloud, step, "timeout", "searched for and removed");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_not_visible_yet_is_waited_for() {
    let template = plain_with(COPIED);
    for operation in ["", "ImportKeyPair", "CreateSecurityGroup", "RunInstances", "CreateImage", "CopyImage"] {
        let world = TestWorld::new(&template);
        world.cloud.set_invisible_for(3);
        world.cloud.fail_next(operation, FaultKind::lose_reply(), 1);
        succeeds(&world, 2, &format!("invisible, reply of {operation:?} lost")).await;
        assert_eq!(world.cloud.instances().len(), 1, "{}", world.story());
    }
}

#[tokio::test(start_paused = true)]
async fn an_instance_that_ec2_does_not_know_yet_is_not_taken_for_gone() {
    let world = TestWorld::new(PLAIN);
    script_answers(&world, Answer::Exit(ExitStatus::Code(1)));
    world.cloud.fail_next("TerminateInstances", refuse(CloudErrorClass::NotFound, "InvalidInstanceID.NotFound"), 3);
    let failure = fails(&world).await;
    assert_eq!(failure.step.as_deref(), Some("provision:1"));
    assert_eq!(world.cloud.count_of("TerminateInstances"), 4);
}

// ---- no room ----

#[tokio::test(start_paused = true)]
async fn a_zone_without_room_leads_to_the_next_with_a_token_of_its_own() {
    let world = TestWorld::new(PLAIN);
    world.cloud.take_capacity_of("us-east-1a");
    succeeds(&world, 1, "no room in a").await;
    let tokens: Vec<String> = world
        .cloud
        .calls()
        .into_iter()
        .filter(|call| call.operation == "RunInstances")
        .map(|call| call.subject)
        .collect();
    assert!(tokens.len() == 2 && tokens[0] != tokens[1], "{tokens:?}");
    assert_eq!(world.cloud.instances()[0].1.availability_zone.as_deref(), Some("us-east-1b"));
}

#[tokio::test(start_paused = true)]
async fn no_room_anywhere_is_told_as_such() {
    for (options, launches) in [("", 2), (r#"availability_zone = "us-east-1a""#, 1)] {
        let world = TestWorld::new(&plain_with(options));
        world.cloud.take_capacity_of("us-east-1a");
        world.cloud.take_capacity_of("us-east-1b");
        let failure = fails(&world).await;
        check(&failure, FailureClass::Capacity, "launch", "InsufficientInstanceCapacity", "instance type");
        assert_eq!(world.cloud.count_of("RunInstances"), launches, "{options}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_subnet_without_addresses_leads_to_the_next() {
    let full = || refuse(CloudErrorClass::Capacity, "InsufficientFreeAddressesInSubnet");
    let world = TestWorld::new(PLAIN);
    world.cloud.fail_next("RunInstances", full(), 1);
    succeeds(&world, 1, "a full subnet").await;
    assert_eq!(world.cloud.count_of("RunInstances"), 2);

    let world = TestWorld::new(PLAIN);
    world.cloud.fail_next("RunInstances", full(), 2);
    let failure = fails(&world).await;
    check(&failure, FailureClass::Capacity, "launch", "InsufficientFreeAddressesInSubnet", "subnet");
}

#[tokio::test(start_paused = true)]
async fn a_quota_is_not_tried_elsewhere() {
    let world = TestWorld::new(PLAIN);
    world.cloud.fail_next("RunInstances", refuse(CloudErrorClass::Capacity, "VcpuLimitExceeded"), 1);
    let failure = fails(&world).await;
    check(&failure, FailureClass::Capacity, "launch", "VcpuLimitExceeded", "quota");
    assert_eq!(world.cloud.count_of("RunInstances"), 1);
}

// ---- names and rights ----

#[tokio::test(start_paused = true)]
async fn a_name_that_somebody_took_meanwhile_fails_the_build() {
    let world = TestWorld::new(PLAIN);
    world.cloud.fail_next("CreateImage", refuse(CloudErrorClass::Duplicate, "InvalidAMIName.Duplicate"), 1);
    let failure = fails(&world).await;
    check(&failure, FailureClass::User, "create_image", "InvalidAMIName.Duplicate", "{{timestamp}}");
}

#[tokio::test(start_paused = true)]
async fn a_name_that_our_own_lost_call_took_is_ours() {
    for operation in ["CreateImage", "CopyImage"] {
        let world = TestWorld::new(&plain_with(COPIED));
        let taken = CloudError {
            class: CloudErrorClass::Duplicate,
            operation: "",
            code: "InvalidAMIName.Duplicate".into(),
            message: "AMI name is already in use".into(),
            request_id: None,
        };
        world.cloud.set_invisible_for(2);
        world.cloud.fail_next(operation, FaultKind::After(taken), 1);
        succeeds(&world, 2, operation).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_refused_call_says_what_to_allow() {
    let message = "You are not authorized. Encoded authorization failure message: 1abc";
    let refused = || FaultKind::refuse_with(CloudErrorClass::Unauthorized, "UnauthorizedOperation", message);
    let world = TestWorld::new(PLAIN);
    world.cloud.fail_next("RunInstances", refused(), 1);
    let failure = fails(&world).await;
    check(&failure, FailureClass::Cloud, "launch", "UnauthorizedOperation", "sts:DecodeAuthorizationMessage");
    assert!(!failure.message.contains("1abc"), "{failure:?}");

    let world = TestWorld::new(PLAIN);
    let denial = Denial {
        action: "ec2:RunInstances".into(),
        resource: "arn:aws:ec2:us-east-1:1:instance/*".into(),
        explicit: true,
        statements: vec!["StayInRegions".into()],
    };
    world.cloud.set_denial("1abc", denial);
    world.cloud.fail_next("RunInstances", refused(), 1);
    let failure = fails(&world).await;
    check(&failure, FailureClass::Cloud, "launch", "UnauthorizedOperation", "policy of the account's build role");
    assert!(failure.message.contains("denies ec2:RunInstances on arn:aws:ec2:us-east-1:1:instance/*"), "{failure:?}");
}

#[tokio::test(start_paused = true)]
async fn credentials_that_were_never_valid_are_told_at_once() {
    let world = TestWorld::new(PLAIN);
    world.cloud.fail_next("*", refuse(CloudErrorClass::Unauthorized, "AuthFailure"), 100);
    let began = Instant::now();
    let failure = fails(&world).await;
    check(&failure, FailureClass::Cloud, "check", "AuthFailure", "identity");
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn credentials_that_come_back_let_the_build_go_on() {
    let expired = || refuse(CloudErrorClass::Unauthorized, "ExpiredToken");
    let world = TestWorld::new(PLAIN);
    slow_images(&world, 600);
    let outage = async {
        begun(&world, "wait_image").await;
        world.cloud.fail_next("*", expired(), 6);
    };
    tokio::join!(succeeds(&world, 1, "while waiting"), outage);

    let template = plain_with(COPIED);
    for operation in CHANGES {
        let world = TestWorld::new(&template);
        world.cloud.fail_next(operation, expired(), 5);
        succeeds(&world, 2, operation).await;
        assert!(world.cloud.count_of(operation) > 5, "{operation}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_revoked_role_leaves_the_build_stuck_and_a_try_again_removes_the_rest() {
    let world = TestWorld::new(&plain_with(COPIED));
    slow_images(&world, 600);
    let revoked = async {
        begun(&world, "wait_image").await;
        world.cloud.fail_next("*", refuse(CloudErrorClass::Unauthorized, "UnauthorizedOperation"), 10_000);
    };
    tokio::join!(world.serve_until_over(), revoked);
    assert_eq!(world.state(), BuildState::Stuck, "{}", world.story());
    let reason = world.row.lock().unwrap().stuck_reason.clone().unwrap();
    for step in ["create_image", "launch", "security_group", "key_pair", "UnauthorizedOperation"] {
        assert!(reason.contains(step), "{step} in {reason}");
    }
    assert!(!world.cloud.leftovers().is_empty());

    world.cloud.forget_faults();
    world.row.lock().unwrap().state = BuildState::Unwinding;
    let failure = fails(&world).await;
    check(&failure, FailureClass::Cloud, "wait_image", "UnauthorizedOperation", "build role");
}

// ---- the machine ----

#[tokio::test(start_paused = true)]
async fn a_key_that_cant_be_used_is_named() {
    for reason in ["Client.InvalidKMSKey.InvalidState: the key is disabled", "Client.InternalError: on launch"] {
        let world = TestWorld::new(&plain_with("encrypt_boot = true"));
        world.cloud.fail_next_boot(reason);
        let failure = fails(&world).await;
        check(&failure, FailureClass::Cloud, "wait_running", "instance-terminated", "kms:CreateGrant");
        assert!(failure.message.contains(reason), "{failure:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_machine_that_ends_while_provisioning_fails_the_build_at_once() {
    let world = TestWorld::new(PLAIN);
    script_answers(&world, Answer::Hang);
    let death = async {
        begun(&world, "provision:1").await;
        tokio::time::sleep(Duration::from_secs(30)).await;
        let (region, instance) = world.cloud.instances().remove(0);
        world.cloud.guest_shutdown(&region, &instance.id);
        Instant::now()
    };
    let (failure, died) = tokio::join!(fails(&world), death);
    check(&failure, FailureClass::Cloud, "provision:1", "instance-terminated", "CloudTrail");
    assert!(failure.message.contains("User initiated shutdown"), "{failure:?}");
    assert!(died.elapsed() < Duration::from_secs(20), "{:?}", died.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_machine_that_ends_when_it_is_to_be_stopped_is_told_as_ended() {
    let world = TestWorld::new(PLAIN);
    let cloud = world.cloud.clone();
    world.cloud.on_call(move |call| {
        if call.operation == "StopInstances" && call.phase == Phase::Before {
            let (region, instance) = cloud.instances().remove(0);
            cloud.guest_shutdown(&region, &instance.id);
        }
        Then::Go
    });
    let failure = fails(&world).await;
    check(&failure, FailureClass::Cloud, "stop", "instance-terminated", "CloudTrail");

    let world = TestWorld::new(PLAIN);
    world.cloud.fail_next("StopInstances", refuse(CloudErrorClass::Unauthorized, "UnauthorizedOperation"), 1);
    assert_eq!(fails(&world).await.code, "UnauthorizedOperation", "the machine is well");
}

#[tokio::test(start_paused = true)]
async fn a_spot_machine_that_ec2_takes_back_is_an_interruption() {
    let world = TestWorld::new(&plain_with("  spot_price = \"0.05\""));
    script_answers(&world, Answer::Hang);
    let interruption = async {
        begun(&world, "provision:1").await;
        let (region, instance) = world.cloud.instances().remove(0);
        world.cloud.interrupt_spot(&region, &instance.id);
    };
    let (failure, ()) = tokio::join!(fails(&world), interruption);
    check(&failure, FailureClass::Capacity, "provision:1", "spot-interrupted", "spot_instance_types");
    world.check_promise(0, "a spot machine was taken back");
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_ends_with_its_machine_is_told_as_the_machines_end() {
    let world = TestWorld::new(PLAIN);
    script_answers(&world, Answer::Exit(ExitStatus::Disconnected));
    let death = async {
        begun(&world, "provision:1").await;
        // EC2 notices some seconds after the connection ended.
        tokio::time::sleep(Duration::from_secs(8)).await;
        let (region, instance) = world.cloud.instances().remove(0);
        world.cloud.guest_shutdown(&region, &instance.id);
    };
    let (failure, ()) = tokio::join!(fails(&world), death);
    check(&failure, FailureClass::Cloud, "provision:1", "instance-terminated", "CloudTrail");
}

#[tokio::test(start_paused = true)]
async fn a_machine_that_stops_before_ssh_answers_fails_the_build_at_once() {
    let world = TestWorld::new(&plain_with("shutdown_behavior = \"stop\"\n  ssh_timeout = \"2h\""));
    world.dialer.silent.store(true, Ordering::SeqCst);
    let stop = async {
        begun(&world, "connect").await;
        let (region, instance) = world.cloud.instances().remove(0);
        world.cloud.guest_shutdown(&region, &instance.id);
        Instant::now()
    };
    let (failure, stopped) = tokio::join!(fails(&world), stop);
    check(&failure, FailureClass::Cloud, "connect", "instance-stopped", "again");
    assert!(stopped.elapsed() < Duration::from_secs(20), "{:?}", stopped.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_dropped_connection_fails_the_build() {
    let world = TestWorld::new(PLAIN);
    script_answers(&world, Answer::Exit(ExitStatus::Disconnected));
    let failure = fails(&world).await;
    check(&failure, FailureClass::Cloud, "provision:1", "provisioner-connection", "expect_disconnect");
    assert_eq!(world.cloud.instances()[0].1.state, InstanceState::Terminated);
}

#[tokio::test(start_paused = true)]
async fn a_script_that_never_returns_is_killed_at_its_limit() {
    let limited = "provisioner \"shell\" {\n    inline  = [\"true\"]\n    timeout = \"30s\"\n  }";
    let world = TestWorld::new(&PLAIN.replace(r#"provisioner "shell" { inline = ["true"] }"#, limited));
    script_answers(&world, Answer::Hang);
    let failure = fails(&world).await;
    check(&failure, FailureClass::User, "provision:1", "provisioner-timeout", "timeout");
    assert!(world.dialer.machine.log().contains("killed"), "{}", world.dialer.machine.log());
}

// ---- images ----

#[tokio::test(start_paused = true)]
async fn a_snapshot_that_fails_fails_the_build() {
    let world = TestWorld::new(PLAIN);
    world.cloud.fail_next_image("Client.SnapshotError: the snapshot failed");
    let failure = fails(&world).await;
    check(&failure, FailureClass::Cloud, "wait_image", "image-failed", "again");
    assert!(failure.message.contains("the snapshot failed"), "{failure:?}");
}

#[tokio::test(start_paused = true)]
async fn one_copy_of_three_that_fails_takes_the_others_with_it() {
    let world = TestWorld::new(&plain_with(r#"ami_regions = ["us-west-2", "eu-west-1", "eu-central-1"]"#));
    let cloud = world.cloud.clone();
    world.cloud.on_call(move |call| {
        if call.operation == "CopyImage" && call.region == "eu-west-1" && call.phase == Phase::Before {
            cloud.fail_next_image("Client.CopyError: the copy failed");
        }
        Then::Go
    });
    let failure = fails(&world).await;
    let step = failure.step.clone().unwrap();
    assert!(step.starts_with("wait_copy:"), "{failure:?}");
    check(&failure, FailureClass::Cloud, &step, "image-failed", "again");
    assert_eq!((world.cloud.count_of("CopyImage"), world.cloud.count_of("DeregisterImage")), (3, 4));
}

// ---- limits of waits ----

const POLLING: &str = "aws_polling {\n    delay_seconds = 10\n    max_attempts  = 60\n  }";

#[tokio::test(start_paused = true)]
async fn a_templates_polling_bounds_the_wait_for_its_image() {
    let world = TestWorld::new(&plain_with(POLLING));
    slow_images(&world, 590);
    succeeds(&world, 1, "just in time").await;

    let world = TestWorld::new(&plain_with(POLLING));
    slow_images(&world, 3600);
    let failure = fails(&world).await;
    check(&failure, FailureClass::Cloud, "wait_image", "image-wait-timeout", "aws_polling");
    assert!(failure.message.contains("within 600 seconds"), "{failure:?}");
}

#[tokio::test(start_paused = true)]
async fn another_server_does_not_begin_a_wait_anew() {
    let world = TestWorld::new(&plain_with(POLLING));
    slow_images(&world, 900);
    let drain = CancellationToken::new();
    let stop = async {
        begun(&world, "wait_image").await;
        let began = Instant::now();
        tokio::time::sleep(Duration::from_secs(400)).await;
        drain.cancel();
        began
    };
    let (departure, began) = tokio::join!(world.serve_once(drain.clone()), stop);
    assert_eq!(departure, Some(Departure::Released));
    let failure = fails(&world).await;
    check(&failure, FailureClass::Cloud, "wait_image", "image-wait-timeout", "aws_polling");
    let took = began.elapsed();
    assert!((Duration::from_secs(595)..Duration::from_secs(660)).contains(&took), "{took:?}");
    assert_eq!(world.row.lock().unwrap().cleanup, CleanupState::Done);
}

// ---- the page ----

/// What docs/failures.md names in backquotes as `file.rs::test`.
#[test]
fn every_test_that_the_page_names_exists() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = std::fs::read_to_string(root.join("docs/failures.md")).unwrap();
    let named = regex::Regex::new(r"`((?:src|tests)/[\w/]+\.rs)::(\w+)`").unwrap();
    let mut count = 0;
    for found in named.captures_iter(&page) {
        let (file, test) = (&found[1], &found[2]);
        let source = std::fs::read_to_string(root.join(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
        let function = regex::Regex::new(&format!(r"#\[(?:tokio::)?test[^\n]*\]\n\s*(?:async )?fn {test}\(")).unwrap();
        assert!(function.is_match(&source), "{file} has no test {test}");
        count += 1;
    }
    let rows = page.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| fault |"));
    for row in rows.clone() {
        let last = row.trim_end_matches('|').rsplit('|').next().unwrap_or_default();
        assert!(last.contains(".rs"), "no test shows this: {row}");
    }
    assert!(rows.count() > 45 && count > 45, "{count} tests are named");
}
