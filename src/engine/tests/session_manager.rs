//! Builds whose machine is reached through Session Manager.

use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::faults::fails;
use super::world::{TestWorld, plain_with};
use crate::cloud::fake::{FakeCloud, FaultKind};
use crate::cloud::{CloudErrorClass, TARGET_NOT_CONNECTED};
use crate::domain::ids::StepName;
use crate::domain::plan::PLAN_FORMAT;
use crate::domain::state::BuildState;

const OPTIONS: &str = "  ssh_interface = \"session_manager\"\n  iam_instance_profile = \"ssm\"\n";

fn world(more: &str) -> TestWorld {
    let world = TestWorld::new(&plain_with(&format!("{OPTIONS}{more}")));
    world.cloud.add_instance_profile("ssm");
    world
}

fn rules(cloud: &FakeCloud) -> usize {
    cloud.count_of("AuthorizeSecurityGroupIngress")
}

#[tokio::test(start_paused = true)]
async fn a_session_leads_to_the_machine_and_nobody_is_let_in() {
    let world = world("");
    assert_eq!(world.plan.format, PLAN_FORMAT, "servers that don't know the interface leave it alone");
    world.serve_until_over().await;
    assert_eq!(world.state(), BuildState::Succeeded, "{}", world.story());
    world.check_promise(1, "a session");
    let sessions = world.cloud.sessions();
    let [session] = sessions.as_slice() else { panic!("one session: {sessions:?}") };
    let [(_, instance)] = &world.cloud.instances()[..] else { panic!("one machine") };
    assert_eq!((&session.request.instance_id, session.request.port), (&instance.id, 22));
    let build = world.facts.build.to_string();
    assert!(session.request.reason.contains(&build), "{}", session.request.reason);
    assert_eq!((world.cloud.count_of("CreateSecurityGroup"), rules(&world.cloud)), (1, 0));
    let target = world.dialer.last_target();
    assert_eq!((&target.host, target.port), (&instance.id, 22));
    assert!(world.log_text().contains("through Session Manager"), "{}", world.log_text());
}

#[tokio::test(start_paused = true)]
async fn the_machines_agent_is_waited_for() {
    let world = world("");
    let not_yet = FaultKind::refuse(CloudErrorClass::Busy, TARGET_NOT_CONNECTED);
    world.cloud.fail_next("StartSession", not_yet, 20);
    world.serve_until_over().await;
    assert_eq!(world.state(), BuildState::Succeeded, "{}", world.story());
    assert_eq!(world.cloud.count_of("StartSession"), 21);
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_never_reports() {
    let world = world("");
    let not_yet = FaultKind::refuse(CloudErrorClass::Busy, TARGET_NOT_CONNECTED);
    world.cloud.fail_next("StartSession", not_yet, 100_000);
    let failure = fails(&world).await;
    assert_eq!(failure.code, "session-manager-not-connected");
    let advice = failure.advice.unwrap();
    assert!(advice.contains("AmazonSSMManagedInstanceCore") && advice.contains("ssmmessages"), "{advice}");
}

#[tokio::test(start_paused = true)]
async fn a_role_that_may_not_start_sessions() {
    let world = world("");
    let refused = FaultKind::refuse(CloudErrorClass::Unauthorized, "AccessDeniedException");
    world.cloud.fail_next("StartSession", refused, 100_000);
    let failure = fails(&world).await;
    assert_eq!(failure.code, "session-manager-refused");
    let advice = failure.advice.unwrap();
    assert!(advice.contains("ssm:StartSession"), "{advice}");
    let tries = world.cloud.count_of("StartSession");
    assert!((2..=32).contains(&tries), "for a minute, every 2 s: {tries}");
}

#[tokio::test(start_paused = true)]
async fn tags_that_the_service_sees_late_are_waited_for() {
    let world = world("");
    let refused = FaultKind::refuse(CloudErrorClass::Unauthorized, "AccessDeniedException");
    world.cloud.fail_next("StartSession", refused, 5);
    world.serve_until_over().await;
    assert_eq!(world.state(), BuildState::Succeeded, "{}", world.story());
    assert_eq!(world.cloud.count_of("StartSession"), 6);
}

#[tokio::test(start_paused = true)]
async fn what_is_wrong_with_the_request_is_told_at_once() {
    let world = world("");
    let invalid = FaultKind::refuse(CloudErrorClass::Invalid, "InvalidDocument");
    world.cloud.fail_next("StartSession", invalid, 1);
    assert_eq!(fails(&world).await.code, "session-manager-refused");
    assert_eq!(world.cloud.count_of("StartSession"), 1, "waiting does not help");
}

#[tokio::test(start_paused = true)]
async fn a_new_owner_starts_a_session_of_its_own() {
    let world = world("");
    world.serve_until_call(1, |call| call.operation == "StopInstances").await;
    assert_eq!(world.cloud.sessions().len(), 1);
    let provision = StepName::from("connect");
    assert_eq!(world.begun(&provision), 1);
    world.serve_until_over().await;
    assert_eq!((world.state(), rules(&world.cloud)), (BuildState::Succeeded, 0), "{}", world.story());
}

#[tokio::test(start_paused = true)]
async fn a_server_that_dies_while_it_connects_is_followed_by_one_that_does() {
    let world = world("");
    world.serve_until_call(1, |call| call.operation == "StartSession").await;
    let _ = world.serve_once(CancellationToken::new()).await;
    world.serve_until_over().await;
    assert_eq!((world.state(), rules(&world.cloud)), (BuildState::Succeeded, 0), "{}", world.story());
    world.check_promise(1, "taken over");
}

#[tokio::test(start_paused = true)]
async fn the_pause_comes_before_the_session() {
    let began = Instant::now();
    let world = world("  pause_before_ssm = \"10m\"\n  pause_before_connecting = \"5m\"\n");
    world.serve_until_over().await;
    assert_eq!(world.state(), BuildState::Succeeded, "{}", world.story());
    assert!(began.elapsed() >= Duration::from_mins(15));
    assert!(world.log_text().contains("Waiting 900 s before connecting"), "{}", world.log_text());
}
