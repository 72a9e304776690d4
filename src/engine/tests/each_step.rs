//! What holds for every kind of step: doing it twice makes nothing twice, dying at any point of it leaves nothing behind,
//! undoing it twice removes what it made once, and a lost reply is found by the undo. The steps come from the plans that
//! [`cases`] gives; a kind of step that none of them has fails the test that lists them.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::memory_journal::Landed;
use super::options;
use super::world::{PLAIN, TestWorld, plain_with, surrogate_with, volumes};
use crate::cloud::fake::{CallRecord, FaultKind, Phase, Then};
use crate::domain::hold::ResumeAction;
use crate::domain::ids::StepName;
use crate::domain::journal::{JournalEvent, Progress};
use crate::domain::plan::{Effect, StepKind};
use crate::domain::state::BuildState;

/// A plan that has a step of each kind somewhere, and how many images its success makes.
struct Case {
    name: &'static str,
    template: String,
    images: usize,
    /// Its script fails.
    fails: bool,
}

fn cases() -> Vec<Case> {
    let all = plain_with(
        "ami_regions = [\"us-west-2\"]\n  ena_support = true\n  imds_support = \"v2.0\"\n  ami_users = [\"111122223333\"]",
    );
    let cleanup = "  error-cleanup-provisioner \"shell\" { inline = [\"save\"] }\n  post-processor";
    let breakpoint = "  provisioner \"breakpoint\" {}\n  post-processor";
    let spot = plain_with(
        "spot_price = \"auto\"\n  temporary_iam_instance_profile_policy_document {\n    Statement {\n      Effect = \"Allow\"\n      \
         Action = [\"s3:GetObject\"]\n      Resource = [\"*\"]\n    }\n  }\n  fast_launch {\n    enable_fast_launch = true\n  \
         }\n  deregistration_protection {\n    enabled = true\n  }\n  deprecate_at = \"2026-01-01T00:00:00Z\"",
    );
    let replace = plain_with(
        "ami_regions = [\"us-west-2\"]\n  skip_save_build_region = true\n  force_deregister = true\n  \
         force_delete_snapshot = true\n  launch_block_device_mappings {\n    device_name = \"/dev/sdf\"\n    volume_size = \
         1\n    delete_on_termination = false\n  }",
    );
    vec![
        Case { name: "everything", template: all, images: 2, fails: false },
        Case { name: "spot", template: spot, images: 1, fails: false },
        Case { name: "replace", template: replace.replace("web-{{timestamp}}", "web-taken"), images: 1, fails: false },
        Case { name: "surrogate", template: surrogate_with(""), images: 1, fails: false },
        Case { name: "swapped root", template: surrogate_with("use_create_image = true"), images: 1, fails: false },
        Case { name: "volumes", template: volumes(), images: 0, fails: false },
        Case { name: "file", template: options::file_template(), images: 0, fails: false },
        Case {
            name: "error-cleanup",
            template: PLAIN.replacen("  post-processor", cleanup, 1),
            // A step done twice uses up the failing answer, and then the script works.
            images: 1,
            fails: true,
        },
        Case {
            name: "breakpoint",
            template: PLAIN.replacen("  post-processor", breakpoint, 1),
            images: 1,
            fails: false,
        },
    ]
}

impl Case {
    fn world(&self) -> TestWorld {
        let world = TestWorld::new(&self.template);
        if self.fails {
            world.fail_script();
        }
        match self.name {
            "spot" => options::make_source_windows(&world),
            "replace" => drop(world.cloud.add_public_image("us-west-2", options::OLD)),
            _ => {}
        }
        world
    }

    fn steps(&self) -> Vec<(StepName, StepKind)> {
        self.world().plan.steps().map(|step| (step.name.clone(), step.kind.clone())).collect()
    }
}

/// Does a server's part, going on at every hold.
async fn with_answers(world: &TestWorld, part: impl Future<Output = ()>) {
    let answers = async {
        loop {
            world.answer(ResumeAction::Continue).await;
        }
    };
    tokio::select! {
        () = part => {}
        () = answers => {}
    }
}

/// Serves until the build is over.
async fn serve(world: &TestWorld) {
    with_answers(world, world.serve_until_over()).await;
}

/// The names of all kinds, from the one list of them that the compiler checks.
fn kind_name(kind: &StepKind) -> &'static str {
    match kind {
        StepKind::Check => "check",
        StepKind::KeyPair => "key_pair",
        StepKind::SecurityGroup => "security_group",
        StepKind::InstanceProfile => "instance_profile",
        StepKind::LaunchTemplate => "launch_template",
        StepKind::Launch => "launch",
        StepKind::LaunchSpot => "launch_spot",
        StepKind::WaitRunning => "wait_running",
        StepKind::Connect => "connect",
        StepKind::Provision { .. } => "provision",
        StepKind::Breakpoint { .. } => "breakpoint",
        StepKind::ErrorCleanup => "error_cleanup",
        StepKind::Clean => "clean",
        StepKind::Stop => "stop",
        StepKind::WaitStopped => "wait_stopped",
        StepKind::ModifyInstance => "modify_instance",
        StepKind::ListVolumes => "list_volumes",
        StepKind::TagVolumes => "tag_volumes",
        StepKind::SwapRoot => "swap_root",
        StepKind::Snapshot { .. } => "snapshot",
        StepKind::WaitSnapshots => "wait_snapshots",
        StepKind::ShareSnapshots => "share_snapshots",
        StepKind::KeepVolumes => "keep_volumes",
        StepKind::FindReplaced => "find_replaced",
        StepKind::Deregister { .. } => "deregister",
        StepKind::FastLaunch { .. } => "fast_launch",
        StepKind::DropInterim => "drop_interim",
        StepKind::MakeFile => "make_file",
        StepKind::CreateImage => "create_image",
        StepKind::RegisterImage => "register_image",
        StepKind::WaitImage => "wait_image",
        StepKind::Copy { .. } => "copy",
        StepKind::WaitCopy { .. } => "wait_copy",
        StepKind::Share { .. } => "share",
    }
}

/// A new kind of step must be in a plan of these tests, or nothing here would try it.
#[test]
fn every_kind_of_step_is_tried() {
    let source = include_str!("../../domain/plan.rs");
    let body = source.split("pub enum StepKind {").nth(1).and_then(|rest| rest.split("\n}\n").next()).unwrap();
    let declared: BTreeSet<String> = body
        .lines()
        .filter(|line| line.starts_with("    ") && !line.starts_with("     "))
        .map(str::trim)
        .filter(|line| line.starts_with(|first: char| first.is_ascii_uppercase()))
        .map(|line| line.trim_end_matches([',', ' ', '{']).to_owned())
        .collect();
    let tried: BTreeSet<&str> = cases().iter().flat_map(Case::steps).map(|(_, kind)| kind_name(&kind)).collect();
    let snake = |name: &str| {
        let mut text = String::new();
        for letter in name.chars() {
            if letter.is_ascii_uppercase() && !text.is_empty() {
                text.push('_');
            }
            text.push(letter.to_ascii_lowercase());
        }
        text
    };
    let missing: Vec<&String> = declared.iter().filter(|kind| !tried.contains(snake(kind).as_str())).collect();
    assert!(declared.len() >= 18, "the list of kinds was not read: {declared:?}");
    assert!(missing.is_empty(), "no plan of these tests has a step of the kind {missing:?}: add one to `cases`");
}

/// The server dies when the step has acted and before that is written: the next one does the step again.
#[tokio::test(start_paused = true)]
async fn a_step_that_is_done_twice_makes_nothing_twice() {
    for case in cases() {
        for (step, kind) in case.steps() {
            let world = case.world();
            let ends =
                |event: &JournalEvent| matches!(event, JournalEvent::Succeeded { .. } | JournalEvent::Failed { .. });
            let Some(write) = write_of(&case, &step, ends).await else {
                assert!(case.fails, "{}: {step} never ended", case.name);
                continue;
            };
            world.die_at(write, Landed::No);
            serve(&world).await;
            let began = world.begun(&step);
            assert!(began >= 1, "{}: {step} was never begun: {}", case.name, world.story());
            world.check_promise(case.images, &format!("{}: {} done twice", case.name, kind_name(&kind)));
        }
    }
}

/// The server dies in each of the step's calls to the cloud, before its effect and after it.
#[tokio::test(start_paused = true)]
async fn a_step_that_dies_at_any_point_leaves_nothing_behind() {
    for case in cases() {
        for (step, _) in case.steps() {
            let calls = count_calls(&case, &step).await;
            for number in 1..=calls {
                for phase in [Phase::Before, Phase::After] {
                    let world = case.world();
                    let (row, step_at_work) = (world.row.clone(), step.clone());
                    let of_the_step =
                        move |call: &CallRecord| call.phase == phase && at_work(&row.lock().unwrap(), &step_at_work);
                    with_answers(&world, world.serve_until_call(number, of_the_step)).await;
                    world.cloud.forget_hook();
                    serve(&world).await;
                    let context = format!("{}: {step} died in its call {number} {phase:?}", case.name);
                    world.check_promise(case.images, &context);
                }
            }
        }
    }
}

/// The build is cancelled once the step has succeeded; its undo is done, forgotten, and done again.
#[tokio::test(start_paused = true)]
async fn an_undo_that_is_done_twice_removes_once() {
    for case in cases() {
        for (step, kind) in case.steps() {
            // Where the script fails, what comes after it is never made.
            if kind.effect() == Effect::Nothing || case.fails {
                continue;
            }
            let world = case.world();
            cancel_after(&world, &step);
            serve_and_forget_undo(&world, &step).await;
            assert!(
                matches!(world.state(), BuildState::Cancelled | BuildState::Failed),
                "{}: {step}: {}",
                case.name,
                world.story()
            );
            world.check_promise(0, &format!("{}: {step} undone twice", case.name));
        }
    }
}

/// The reply to the call that makes the step's resource is lost each time it is asked; the undo finds what it made.
#[tokio::test(start_paused = true)]
async fn an_undo_finds_what_a_lost_reply_made() {
    for case in cases() {
        for (step, kind) in case.steps() {
            let operation = match kind {
                StepKind::KeyPair => "ImportKeyPair",
                StepKind::SecurityGroup => "CreateSecurityGroup",
                StepKind::Launch => "RunInstances",
                StepKind::InstanceProfile => "CreateRole",
                StepKind::FastLaunch { .. } => "EnableFastLaunch",
                StepKind::LaunchTemplate => "CreateLaunchTemplate",
                StepKind::LaunchSpot => "CreateFleet",
                StepKind::CreateImage => "CreateImage",
                StepKind::RegisterImage => "RegisterImage",
                StepKind::Snapshot { .. } => "CreateSnapshot",
                StepKind::Copy { .. } => "CopyImage",
                kind => {
                    assert_eq!(kind.effect(), Effect::Nothing, "which call makes the resource of {step}?");
                    continue;
                }
            };
            if case.fails {
                continue;
            }
            for late in [0, 1, 3] {
                let world = case.world();
                world.cloud.set_invisible_for(late);
                let made_before = world.cloud.count_of(operation);
                world.cloud.fail_next(operation, FaultKind::lose_reply(), 9);
                serve(&world).await;
                assert!(
                    world.cloud.count_of(operation) > made_before,
                    "{}: {step} was to be tried\n{}",
                    case.name,
                    world.story()
                );
                // With the same token or name again it may well succeed; then it is made once.
                let images = if world.state() == BuildState::Succeeded { case.images } else { 0 };
                world.check_promise(images, &format!("{}: {step}, reply lost, invisible for {late} looks", case.name));
            }
        }
    }
}

/// The number of the write that says how the step ended, in a life without mishap; `None` when it is not reached.
async fn write_of(case: &Case, step: &StepName, wanted: impl Fn(&JournalEvent) -> bool) -> Option<usize> {
    let world = case.world();
    serve(&world).await;
    world.write_number(|entry| entry.step.as_ref() == Some(step) && wanted(&entry.event))
}

/// Whether a step is the one at work, by the journal.
fn at_work(row: &super::memory_journal::Row, step: &StepName) -> bool {
    row.fold().steps.get(step).is_some_and(|record| matches!(record.progress, Progress::Started { .. }))
}

async fn count_calls(case: &Case, step: &StepName) -> usize {
    let world = case.world();
    let seen = Arc::new(AtomicUsize::new(0));
    world.cloud.on_call({
        let (row, seen, step) = (world.row.clone(), seen.clone(), step.clone());
        move |call: &CallRecord| {
            if call.phase == Phase::Before && at_work(&row.lock().unwrap(), &step) {
                seen.fetch_add(1, Ordering::SeqCst);
            }
            Then::Go
        }
    });
    serve(&world).await;
    world.cloud.forget_hook();
    // Waits look every second; a few of their looks are as good as all.
    seen.load(Ordering::SeqCst).min(12)
}

/// Somebody cancels as soon as the step has succeeded.
fn cancel_after(world: &TestWorld, step: &StepName) {
    world.row.lock().unwrap().cancel_after = Some(step.clone());
}

/// The server dies before it can write that the step is undone.
async fn serve_and_forget_undo(world: &TestWorld, step: &StepName) {
    world.row.lock().unwrap().die_before_undone = Some(step.clone());
    serve(world).await;
    assert!(world.row.lock().unwrap().die_before_undone.is_none(), "{step} was to be undone: {}", world.story());
}
