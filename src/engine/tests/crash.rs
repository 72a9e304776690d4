//! The server dies: at every journal write, before or after it lands, and in every call to the cloud, before or after its
//! effect. Another server takes over. Afterwards either the build succeeded with exactly its images, or nothing is left.

use std::collections::BTreeSet;

use tokio_util::sync::CancellationToken;

use super::memory_journal::Landed;
use super::tally::Tally;
use super::world::{PLAIN, TestWorld, plain_with, surrogate_with, volumes};
use crate::cloud::CloudErrorClass;
use crate::cloud::fake::{FaultKind, Phase};
use crate::domain::journal::JournalEvent;

/// A plan that the matrix goes through.
struct Case {
    name: &'static str,
    template: String,
    /// How many images success makes.
    images: usize,
    script_fails: bool,
    /// Somebody cancels when this step has succeeded.
    cancelled_after: Option<&'static str>,
}

fn cases() -> Vec<Case> {
    let case = |name, template, images| Case { name, template, images, script_fails: false, cancelled_after: None };
    let two_regions = r#"ami_regions = ["us-west-2", "eu-west-1"]"#;
    vec![
        case("plain", PLAIN.to_owned(), 1),
        case("copies", plain_with(two_regions), 3),
        case("encrypted", plain_with("encrypt_boot = true"), 1),
        case("no image", plain_with("skip_create_ami = true"), 0),
        Case { script_fails: true, ..case("failing script", plain_with(r#"ami_regions = ["us-west-2"]"#), 2) },
        case("surrogate", surrogate_with(""), 1),
        case("swapped root", surrogate_with("use_create_image = true"), 1),
        case("volumes", volumes(), 0),
        Case { cancelled_after: Some("wait_snapshots"), ..case("cancelled surrogate", surrogate_with(""), 1) },
        Case { cancelled_after: Some("snapshot:/dev/xvdf"), ..case("cancelled volumes", volumes(), 0) },
        Case { cancelled_after: Some("provision:1"), ..case("cancelled", PLAIN.to_owned(), 1) },
        Case { cancelled_after: Some("copy:us-west-2"), ..case("cancelled copies", plain_with(two_regions), 3) },
    ]
}

impl Case {
    fn world(&self) -> TestWorld {
        let world = TestWorld::new(&self.template);
        if self.script_fails {
            world.fail_script();
        }
        world.row.lock().unwrap().cancel_after = self.cancelled_after.map(Into::into);
        world
    }

    async fn whole(&self) -> TestWorld {
        let world = self.world();
        world.serve_until_over().await;
        world.check_promise(self.images, self.name);
        world
    }
}

#[tokio::test(start_paused = true)]
async fn death_at_every_journal_write() {
    let mut tally = Tally::default();
    for case in cases() {
        let (name, images) = (case.name, case.images);
        let whole = case.whole().await;
        let writes = whole.row.lock().unwrap().writes;
        assert!(writes > 15, "{name} writes {writes} times");
        for write in 1..=writes {
            for landed in [Landed::No, Landed::Yes] {
                let world = case.world();
                world.die_at(write, landed);
                world.serve_until_over().await;
                world.check_promise(images, &format!("{name}: died at write {write}, landed: {landed:?}"));
                tally.note(name, if landed == Landed::No { "before a write" } else { "after a write" }, &world);
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn death_in_every_call_to_the_cloud() {
    let mut tally = Tally::default();
    for case in cases() {
        let (name, images) = (case.name, case.images);
        let whole = case.whole().await;
        let calls = whole.cloud.calls().len();
        for number in 1..=calls {
            for phase in [Phase::Before, Phase::After] {
                let world = case.world();
                world.serve_until_call(number, move |call| call.phase == phase).await;
                world.serve_until_over().await;
                world.check_promise(images, &format!("{name}: died in call {number} {phase:?}"));
                tally.note(name, if phase == Phase::Before { "before a call" } else { "after a call" }, &world);
            }
        }
    }
}

/// The second death meets the server that takes over, on its way forward or in the undo.
#[tokio::test(start_paused = true)]
async fn a_second_death_while_recovering_and_undoing() {
    let mut tally = Tally::default();
    for case in cases() {
        let calls = case.whole().await.cloud.calls().len();
        // Every sixth pair of instants: the whole square takes minutes.
        for first in (1..=calls).step_by(2) {
            for second in (1..=calls).step_by(3) {
                let world = case.world();
                for number in [first, second] {
                    world.serve_until_call(number, |call| call.phase == Phase::After).await;
                }
                world.serve_until_over().await;
                let context = format!("{}: died in calls {first} and then {second}", case.name);
                world.check_promise(case.images, &context);
                tally.note(case.name, "twice, after calls", &world);
            }
        }
    }
}

/// Every operation of a build, refused once or for good, in every class: the build succeeds or is undone.
#[tokio::test(start_paused = true)]
async fn a_refusal_of_any_operation() {
    let mut tally = Tally::default();
    for case in cases() {
        let (name, images) = (case.name, case.images);
        let whole = case.whole().await;
        let operations: BTreeSet<&str> = whole.cloud.calls().iter().map(|call| call.operation).collect();
        assert!(operations.len() > 12, "{operations:?}");
        for operation in operations {
            for class in [
                CloudErrorClass::Invalid,
                CloudErrorClass::Unavailable,
                CloudErrorClass::Throttled,
                CloudErrorClass::NotFound,
            ] {
                // A removal that hears "not found" has every right to believe it.
                let removes = ["Delete", "Terminate", "Deregister"].iter().any(|verb| operation.starts_with(verb));
                if removes && class == CloudErrorClass::NotFound {
                    continue;
                }
                let world = case.world();
                world.cloud.fail_next(operation, FaultKind::refuse(class, "Refused"), 1);
                world.serve_until_over().await;
                world.check_promise(images, &format!("{name}: {operation} refused once as {class:?}"));
                tally.note(name, "no death, a call refused", &world);
            }
        }
    }
}

/// Each step done twice and undone twice, by a server that forgets after each write what it has done.
#[tokio::test(start_paused = true)]
async fn every_step_is_done_twice_and_undone_twice() {
    let mut tally = Tally::default();
    for case in cases() {
        let (name, images) = (case.name, case.images);
        let world = case.world();
        // Each server lives for one write, so every step and every undo is done by one and again by the next.
        let mut write = 1;
        while !world.is_over() {
            world.die_at(write, Landed::No);
            world.serve_once(CancellationToken::new()).await;
            // What was not written is done again by the next server, which dies once it is written.
            let next = world.row.lock().unwrap().writes + 1;
            world.die_at(next, Landed::Yes);
            world.serve_once(CancellationToken::new()).await;
            write = world.row.lock().unwrap().writes + 1;
            assert!(write < 600, "{name} never ends: {}", world.story());
        }
        world.check_promise(images, &format!("{name}: everything twice"));
        tally.note(name, "at each write, twice", &world);
        assert!(world.cloud.count_of("RunInstances") > 1, "{name}: the launch was to be repeated");
    }
}

/// What was found by random mishaps, told once more so that it stays found.
#[tokio::test(start_paused = true)]
async fn a_full_place_may_hold_what_a_dead_owner_launched() {
    let whole = TestWorld::new(PLAIN);
    whole.serve_until_over().await;
    let launched = whole.write_number(|entry| {
        entry.step == Some("launch".into()) && matches!(entry.event, JournalEvent::Succeeded { .. })
    });
    let world = TestWorld::new(PLAIN);
    world.die_at(launched.unwrap(), Landed::No);
    world.serve_once(CancellationToken::new()).await;
    let full = FaultKind::refuse(CloudErrorClass::Capacity, "InsufficientInstanceCapacity");
    world.cloud.fail_next("RunInstances", full, 1);
    world.serve_until_over().await;
    world.check_promise(1, "no room for what is there already");
    assert_eq!(world.cloud.instances().len(), 1, "{}", world.story());
}

#[tokio::test(start_paused = true)]
async fn removals_without_an_answer_are_asked_for_again() {
    for operation in ["DeleteKeyPair", "DeleteSecurityGroup", "TerminateInstances"] {
        for fault in [FaultKind::lose_reply(), FaultKind::lose_request()] {
            let world = TestWorld::new(PLAIN);
            world.cloud.fail_next(operation, fault, 7);
            world.serve_until_over().await;
            world.check_promise(1, &format!("{operation} is not answered"));
        }
    }
}
