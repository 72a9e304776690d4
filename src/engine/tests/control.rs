//! People steer a build: what happens on an error, holds and their answers, time limits.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::memory_journal::Landed;
use super::world::{PLAIN, TestWorld, plain_with};
use crate::cloud::CloudErrorClass;
use crate::cloud::fake::{FakeTimings, FaultKind, Latency};
use crate::communicator::ExitStatus;
use crate::communicator::fake::Answer;
use crate::domain::hold::{HoldReason, OnError, ResumeAction, RunOptions};
use crate::domain::state::{BuildState, CleanupState};

const OK: Answer = Answer::Exit(ExitStatus::Code(0));
const BAD: Answer = Answer::Exit(ExitStatus::Code(1));

/// A world whose machine gives these answers: to the question what it is, then to the template's script, and so on.
fn world(template: &str, options: RunOptions, answers: &[Answer]) -> TestWorld {
    let world = TestWorld::new(template).with_options(options);
    world.dialer.machine.state().answers.extend(answers.iter().cloned());
    world
}

fn on_error(on_error: OnError) -> RunOptions {
    RunOptions { on_error, ..RunOptions::default() }
}

fn with_error_cleanup() -> String {
    let cleanup = "  error-cleanup-provisioner \"shell\" { inline = [\"save the logs\"] }\n  post-processor";
    PLAIN.replacen("  post-processor", cleanup, 1)
}

fn with_breakpoint(options: &str) -> String {
    PLAIN.replacen("  post-processor", &format!("  provisioner \"breakpoint\" {{ {options} }}\n  post-processor"), 1)
}

#[tokio::test(start_paused = true)]
async fn a_failed_script_is_asked_about_and_tried_again() {
    let world = world(PLAIN, on_error(OnError::Ask), &[OK, BAD, OK]);
    let (hold, ()) = tokio::join!(world.answer(ResumeAction::Retry), world.serve_until_over());
    assert_eq!((hold.reason, hold.step.as_str()), (HoldReason::Failure, "provision:1"));
    let machine = hold.machine.unwrap();
    assert!(machine.instance_id.starts_with("i-"), "{machine:?}");
    assert_eq!((machine.port, machine.username.as_deref()), (Some(22), Some("ubuntu")));
    assert!(machine.host.is_some(), "{machine:?}");
    assert!(hold.failure.unwrap().message.contains("exit status: 1"));
    assert_eq!(world.state(), BuildState::Succeeded, "{}", world.story());
    world.check_promise(1, "asked and retried");
    assert_eq!(world.cloud.count_of("RunInstances"), 1, "the machine is the same");
    assert!(world.log_text().contains("by ann"), "{}", world.log_text());
}

#[tokio::test(start_paused = true)]
async fn a_failed_launch_is_tried_again_with_a_token_of_its_own() {
    let world = world(PLAIN, on_error(OnError::Ask), &[]);
    world.cloud.fail_next("RunInstances", FaultKind::refuse(CloudErrorClass::Invalid, "VcpuLimitExceeded"), 1);
    let (hold, ()) = tokio::join!(world.answer(ResumeAction::Retry), world.serve_until_over());
    assert_eq!(hold.step, "launch");
    assert_eq!(hold.machine, None, "there is no machine yet");
    assert_eq!(world.state(), BuildState::Succeeded, "{}", world.story());
    world.check_promise(1, "launched again");
}

#[tokio::test(start_paused = true)]
async fn a_retry_after_a_lost_launch_makes_no_second_machine() {
    let world = world(PLAIN, on_error(OnError::Ask), &[]);
    world.cloud.fail_next("RunInstances", FaultKind::lose_reply(), 3);
    let (_, ()) = tokio::join!(world.answer(ResumeAction::Retry), world.serve_until_over());
    assert_eq!(world.state(), BuildState::Succeeded, "{}", world.story());
    world.check_promise(1, "lost, then launched again");
    assert_eq!(world.cloud.instances().len(), 2, "the lost one was ended before the next was launched");
}

#[tokio::test(start_paused = true)]
async fn a_hold_ends_by_itself() {
    let options = RunOptions { hold_limit_seconds: 120, ..on_error(OnError::Ask) };
    let world = world(PLAIN, options, &[OK, BAD]);
    let began = tokio::time::Instant::now();
    world.serve_until_over().await;
    assert!(began.elapsed() >= Duration::from_secs(120));
    assert_eq!(world.state(), BuildState::Failed, "{}", world.story());
    world.check_promise(0, "nobody answered");
    assert!(world.log_text().contains("by the hold's time limit"), "{}", world.log_text());
}

#[tokio::test(start_paused = true)]
async fn a_hold_outlives_its_server_and_a_cancel_ends_it() {
    let world = world(PLAIN, on_error(OnError::Ask), &[OK, BAD]);
    let drain = CancellationToken::new();
    let stop = async {
        while world.row.lock().unwrap().hold.is_none() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        drain.cancel();
    };
    tokio::join!(world.serve_once(drain.clone()), stop);
    assert!(world.row.lock().unwrap().hold.is_some(), "{}", world.story());
    let cancel = async {
        tokio::time::sleep(Duration::from_secs(60)).await;
        world.row.lock().unwrap().cancel_requested = true;
    };
    tokio::join!(world.serve_until_over(), cancel);
    assert_eq!(world.state(), BuildState::Cancelled, "{}", world.story());
    world.check_promise(0, "cancelled while held");
}

#[tokio::test(start_paused = true)]
async fn an_abort_leaves_everything_in_place_for_a_while() {
    for template in [PLAIN.to_owned(), with_error_cleanup()] {
        let world = world(&template, on_error(OnError::Abort), &[OK, BAD]);
        world.serve_until_over().await;
        let (state, cleanup) = (world.state(), world.row.lock().unwrap().cleanup);
        assert_eq!((state, cleanup), (BuildState::Failed, CleanupState::Kept), "{}", world.story());
        assert!(world.row.lock().unwrap().kept_until.is_some());
        let hold = world.row.lock().unwrap().hold.clone().unwrap();
        assert_eq!((hold.reason, hold.step.as_str()), (HoldReason::Abort, "provision:1"));
        assert!(hold.machine.unwrap().host.is_some(), "people can look at the machine");
        let left = world.cloud.leftovers();
        assert!(left.iter().any(|thing| thing.contains("i-")), "the machine is there: {left:?}");
        assert!(!world.dialer.machine.log().contains("save the logs"), "abort runs nothing");

        world.let_go();
        world.serve_until_over().await;
        assert_eq!(world.row.lock().unwrap().cleanup, CleanupState::Done, "{}", world.story());
        world.check_promise(0, "left in place, then removed");
    }
}

#[tokio::test(start_paused = true)]
async fn the_error_cleanup_provisioner_runs_before_the_machine_goes() {
    let world = world(&with_error_cleanup(), RunOptions::default(), &[OK, BAD, BAD]);
    world.serve_until_over().await;
    assert_eq!(world.state(), BuildState::Failed, "{}", world.story());
    world.check_promise(0, "cleaned up by the template");
    let log = world.log_text();
    assert!(log.contains("Running the error-cleanup-provisioner"), "{log}");
    assert!(log.contains("The error-cleanup-provisioner (shell): Script exited"), "its failure is told: {log}");
    let failure = world.row.lock().unwrap().failure.clone().unwrap();
    assert_eq!(failure.step.as_deref(), Some("provision:1"), "the build failed because of the script");
}

#[tokio::test(start_paused = true)]
async fn run_cleanup_provisioner_leaves_the_rest_in_place() {
    let world = world(&with_error_cleanup(), on_error(OnError::RunCleanupProvisioner), &[OK, BAD, OK]);
    world.serve_until_over().await;
    assert_eq!(world.row.lock().unwrap().cleanup, CleanupState::Kept, "{}", world.story());
    assert!(world.log_text().contains("Running the error-cleanup-provisioner"), "{}", world.log_text());
    world.let_go();
    world.serve_until_over().await;
    world.check_promise(0, "removed later");
}

#[tokio::test(start_paused = true)]
async fn a_breakpoint_holds_with_its_note_and_goes_on() {
    let world = world(&with_breakpoint("note = \"look at nginx\""), RunOptions::default(), &[]);
    let (hold, ()) = tokio::join!(world.answer(ResumeAction::Continue), world.serve_until_over());
    assert_eq!((hold.reason, hold.note.as_deref()), (HoldReason::Breakpoint, Some("look at nginx")));
    assert_eq!(world.state(), BuildState::Succeeded, "{}", world.story());
    world.check_promise(1, "breakpoint");
}

#[tokio::test(start_paused = true)]
async fn a_breakpoint_with_a_timeout_holds_no_longer() {
    let world = world(&with_breakpoint("timeout = \"5m\""), RunOptions::default(), &[]);
    let began = tokio::time::Instant::now();
    world.serve_until_over().await;
    let held = began.elapsed();
    assert!(held >= Duration::from_mins(5) && held < Duration::from_mins(10), "{held:?}");
    world.check_promise(0, "nobody came");
}

#[tokio::test(start_paused = true)]
async fn a_disabled_breakpoint_only_says_so() {
    let world = world(&with_breakpoint("disable = true"), RunOptions::default(), &[]);
    world.serve_until_over().await;
    assert_eq!(world.state(), BuildState::Succeeded, "{}", world.story());
    assert!(world.log_text().contains("is disabled"), "{}", world.log_text());
}

#[tokio::test(start_paused = true)]
async fn debug_holds_before_each_wave() {
    let world = world(PLAIN, RunOptions { debug: true, ..RunOptions::default() }, &[]);
    let waves = world.plan.waves.len();
    let answers = async {
        for _ in 1..waves {
            let hold = world.answer(ResumeAction::Continue).await;
            assert_eq!(hold.reason, HoldReason::Debug);
        }
    };
    tokio::join!(answers, world.serve_until_over());
    assert_eq!(world.state(), BuildState::Succeeded, "{}", world.story());
    world.check_promise(1, "debugged");
}

#[tokio::test(start_paused = true)]
async fn the_time_of_a_hold_is_given_back_to_the_run() {
    let world = world(PLAIN, on_error(OnError::Ask), &[OK, BAD, OK]);
    world.row.lock().unwrap().deadline =
        Some(crate::domain::clock::Clock::now(&*world.clock) + Duration::from_secs(300));
    let answer = async {
        while world.row.lock().unwrap().hold.is_none() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        tokio::time::sleep(Duration::from_secs(900)).await;
        world.answer(ResumeAction::Retry).await;
    };
    tokio::join!(answer, world.serve_until_over());
    assert_eq!(world.state(), BuildState::Succeeded, "{}", world.story());
}

#[tokio::test(start_paused = true)]
async fn a_run_that_takes_too_long_is_undone() {
    let world = TestWorld::new(PLAIN);
    world.cloud.set_timings(FakeTimings { image: Latency::After(Duration::from_hours(2)), ..FakeTimings::default() });
    world.row.lock().unwrap().deadline =
        Some(crate::domain::clock::Clock::now(&*world.clock) + Duration::from_mins(30));
    world.serve_until_over().await;
    assert_eq!(world.state(), BuildState::Failed, "{}", world.story());
    assert_eq!(world.row.lock().unwrap().failure.as_ref().unwrap().code, "run-timeout");
    world.check_promise(0, "too long");
}

#[tokio::test(start_paused = true)]
async fn a_step_that_takes_too_long_fails_alone_and_says_which() {
    let limited = RunOptions { step_timeout_seconds: Some(600), ..RunOptions::default() };
    let world = world(PLAIN, limited.clone(), &[OK, Answer::Hang]);
    world.serve_until_over().await;
    let failure = world.row.lock().unwrap().failure.clone().unwrap();
    assert_eq!(
        (failure.code.as_str(), failure.step.as_deref()),
        ("step-timeout", Some("provision:1")),
        "{}",
        world.story()
    );
    assert!(world.dialer.machine.log().contains("killed"), "its processes are ended: {}", world.dialer.machine.log());
    world.check_promise(0, "a script that never returns");

    let slow = FakeTimings { image: Latency::After(Duration::from_hours(2)), ..FakeTimings::default() };
    let world = super::control::world(PLAIN, limited, &[]);
    world.cloud.set_timings(slow);
    // A restart in between does not start the clock anew.
    let writes_until_wait = 60;
    world.die_at(writes_until_wait, Landed::Yes);
    let began = tokio::time::Instant::now();
    world.serve_until_over().await;
    assert_eq!(
        world.row.lock().unwrap().failure.as_ref().unwrap().step.as_deref(),
        Some("wait_image"),
        "{}",
        world.story()
    );
    assert!(began.elapsed() < Duration::from_mins(25), "{:?}", began.elapsed());
    world.check_promise(0, "an image that never comes");
}

#[tokio::test(start_paused = true)]
async fn death_at_every_write_of_a_held_build() {
    let run = async |write: Option<(usize, Landed)>| {
        let world = world(&with_breakpoint(""), on_error(OnError::Ask), &[OK, BAD, OK]);
        if let Some((write, landed)) = write {
            world.die_at(write, landed);
        }
        let answers = async {
            loop {
                let reason = {
                    let row = world.row.lock().unwrap();
                    row.hold.as_ref().map(|hold| hold.reason)
                };
                match reason {
                    Some(HoldReason::Failure) => drop(world.answer(ResumeAction::Retry).await),
                    Some(_) => drop(world.answer(ResumeAction::Continue).await),
                    None => tokio::time::sleep(Duration::from_millis(100)).await,
                }
            }
        };
        tokio::select! {
            () = world.serve_until_over() => {}
            () = answers => {}
        }
        world
    };
    let whole = run(None).await;
    assert_eq!(whole.state(), BuildState::Succeeded, "{}", whole.story());
    let writes = whole.row.lock().unwrap().writes;
    for write in 1..=writes {
        for landed in [Landed::No, Landed::Yes] {
            let world = run(Some((write, landed))).await;
            world.check_promise(1, &format!("held; died at write {write}, landed: {landed:?}"));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_image_of_a_retried_build_is_made_once() {
    let template = plain_with(r#"ami_regions = ["us-west-2"]"#);
    let world = world(&template, on_error(OnError::Ask), &[]);
    world.cloud.fail_next("CopyImage", FaultKind::refuse(CloudErrorClass::Invalid, "ResourceLimitExceeded"), 1);
    let (hold, ()) = tokio::join!(world.answer(ResumeAction::Retry), world.serve_until_over());
    assert_eq!(hold.step, "copy:us-west-2");
    world.check_promise(2, "copied on the second try");
    assert_eq!(world.cloud.count_of("CreateImage"), 1);
}
