use chrono::{DateTime, TimeDelta};
use serde_json::json;

use super::*;
use crate::domain::hold::{OnError, Resume, ResumeAction, RunOptions};
use crate::domain::ids::Attempt;
use crate::domain::journal::{JournalEntry, JournalEvent};
use crate::domain::plan::{PLAN_FORMAT, StepKind};

fn plan(waves: Vec<Vec<StepKind>>) -> Plan {
    let waves = waves
        .into_iter()
        .map(|wave| wave.into_iter().map(|kind| PlannedStep { name: kind.step_name(), kind }).collect())
        .collect();
    Plan { format: PLAN_FORMAT, waves, on_failure: None }
}

fn usual() -> Plan {
    plan(vec![
        vec![StepKind::Check],
        vec![StepKind::KeyPair, StepKind::SecurityGroup],
        vec![StepKind::Launch],
        vec![StepKind::Provision { index: 0 }],
        vec![StepKind::CreateImage],
    ])
}

/// A journal told in short: `+step` started, `step` succeeded, `!step` failed, `-step` undone, `x step` undo failed.
fn fold(story: &[&str]) -> Fold {
    let mut entries = Vec::new();
    let mut push = |step: Option<&str>, event| {
        let seq = i64::try_from(entries.len()).unwrap() + 1;
        entries.push(JournalEntry {
            seq,
            attempt: Attempt::FIRST,
            step: step.map(Into::into),
            event,
            at: DateTime::UNIX_EPOCH,
        });
    };
    let broken = || Failure::cloud("broken", "it broke");
    for line in story {
        if let Some(step) = line.strip_prefix('+') {
            push(Some(step), JournalEvent::Started { intent: json!({}) });
        } else if let Some(step) = line.strip_prefix('!') {
            push(Some(step), JournalEvent::Started { intent: json!({}) });
            push(Some(step), JournalEvent::Failed { failure: broken(), effect_unknown: false });
        } else if let Some(step) = line.strip_prefix('-') {
            push(Some(step), JournalEvent::Undone { removed: vec![] });
        } else if let Some(step) = line.strip_prefix("x ") {
            push(Some(step), JournalEvent::UndoFailed { failure: broken() });
        } else if let Some(words) = line.strip_prefix("HELD ") {
            let (reason, step) = words.split_once(' ').unwrap();
            let until = DateTime::UNIX_EPOCH + TimeDelta::hours(1);
            push(Some(step), JournalEvent::Held { reason: reason.parse().unwrap(), until });
        } else if let Some(words) = line.strip_prefix("RESUMED ") {
            let (action, step) = words.split_once(' ').unwrap();
            push(Some(step), JournalEvent::Resumed { action: action.parse().unwrap(), by: "ann".into() });
        } else if *line == "COMMIT" {
            push(None, JournalEvent::Committed);
        } else if let Some(reason) = line.strip_prefix("UNWIND ") {
            let reason = serde_json::from_value(json!(reason)).unwrap();
            push(None, JournalEvent::Unwinding { reason, failure: None });
        } else {
            push(Some(line), JournalEvent::Started { intent: json!({}) });
            push(Some(line), JournalEvent::Succeeded { output: json!({}) });
        }
    }
    Fold::of(&entries, Attempt::FIRST)
}

fn control() -> Control {
    Control {
        now: DateTime::UNIX_EPOCH,
        cancel_requested: false,
        deadline: None,
        attempts_left: true,
        options: RunOptions::default(),
        resume: None,
        abandoned: false,
    }
}

/// The decision in short.
fn next(plan: &Plan, story: &[&str], control: &Control) -> String {
    let names = |steps: Vec<&PlannedStep>| steps.iter().map(|step| step.name.0.clone()).collect::<Vec<_>>().join(" ");
    match decide(plan, &fold(story), control) {
        Decision::Run(steps) => format!("run {}", names(steps)),
        Decision::Undo(steps) => format!("undo {}", names(steps)),
        Decision::Unwind(reason, _) => format!("unwind {reason:?}"),
        Decision::Commit => "commit".into(),
        Decision::NextAttempt => "next attempt".into(),
        Decision::Finish(state, _) => format!("finish {state}"),
        Decision::Hold(reason, step) => format!("hold {reason} {}", step.name),
        Decision::Wait(held) => format!("wait at {}", held.step),
        Decision::Resume(resume) => format!("resume {}", resume.action),
        Decision::Abandon(failure) => format!("abandon {}", failure.map_or_else(String::new, |failure| failure.code)),
        Decision::Stuck(reason) => format!("stuck: {reason}"),
    }
}

#[test]
fn a_build_goes_wave_by_wave() {
    let plan = usual();
    for (story, expected) in [
        (&[][..], "run check"),
        (&["check"], "run key_pair security_group"),
        (&["check", "key_pair"], "run security_group"),
        (&["check", "key_pair", "security_group", "launch", "provision:1", "create_image"], "commit"),
    ] {
        assert_eq!(next(&plan, story, &control()), expected, "{story:?}");
    }
}

#[test]
fn after_a_crash_waits_and_makers_go_on_and_a_half_run_script_does_not() {
    let plan = usual();
    assert_eq!(next(&plan, &["check", "key_pair", "security_group", "+launch"], &control()), "run launch");
    let half = ["check", "key_pair", "security_group", "launch", "+provision:1"];
    assert_eq!(next(&plan, &half, &control()), "unwind Interrupted");
}

#[test]
fn a_failure_undoes_everything_started_in_reverse() {
    let plan = usual();
    let mut story = vec!["check", "key_pair", "security_group", "!launch"];
    assert_eq!(next(&plan, &story, &control()), "unwind Failed");
    story.push("UNWIND failed");
    assert_eq!(next(&plan, &story, &control()), "undo launch", "the failed step is undone too");
    story.push("-launch");
    assert_eq!(next(&plan, &story, &control()), "undo key_pair security_group");
    story.push("-security_group");
    assert_eq!(next(&plan, &story, &control()), "undo key_pair");
    story.push("-key_pair");
    assert_eq!(next(&plan, &story, &control()), "finish failed");
}

#[test]
fn a_commit_keeps_the_image_whatever_is_asked_later() {
    let plan = usual();
    let cancelled = Control { cancel_requested: true, ..control() };
    let mut story = vec!["check", "key_pair", "security_group", "launch", "provision:1", "create_image", "COMMIT"];
    assert_eq!(next(&plan, &story, &cancelled), "undo launch");
    story.extend(["-launch", "-security_group", "-key_pair"]);
    assert_eq!(next(&plan, &story, &cancelled), "finish succeeded");
}

#[test]
fn cancel_and_time_limit_unwind() {
    let plan = usual();
    let cancelled = Control { cancel_requested: true, ..control() };
    assert_eq!(next(&plan, &["check", "+key_pair"], &cancelled), "unwind Cancelled");
    let late = Control { deadline: Some(DateTime::UNIX_EPOCH), ..control() };
    assert_eq!(next(&plan, &["check"], &late), "unwind TimedOut");
    assert_eq!(next(&plan, &["check", "UNWIND cancelled"], &cancelled), "finish cancelled");
    assert_eq!(next(&plan, &["check", "UNWIND timed_out"], &late), "finish failed");
}

#[test]
fn an_interruption_leads_to_the_next_attempt_while_there_are_any() {
    let plan = usual();
    let story = ["check", "UNWIND interrupted"];
    assert_eq!(next(&plan, &story, &control()), "next attempt");
    assert_eq!(next(&plan, &story, &Control { attempts_left: false, ..control() }), "finish failed");
    assert_eq!(next(&plan, &story, &Control { cancel_requested: true, ..control() }), "finish cancelled");
}

#[test]
fn an_undo_that_keeps_failing_is_stuck_after_the_others_are_done() {
    let plan = usual();
    let mut story = vec!["check", "key_pair", "security_group", "UNWIND failed"];
    story.extend(["x key_pair"; UNDO_TRIES as usize]);
    assert_eq!(next(&plan, &story, &control()), "undo security_group");
    story.push("-security_group");
    assert_eq!(next(&plan, &story, &control()), "stuck: could not remove everything: key_pair: it broke");
}

#[test]
fn other_attempts_only_advance_the_numbering() {
    let mut entries = vec![JournalEntry {
        seq: 7,
        attempt: Attempt(1),
        step: Some("check".into()),
        event: JournalEvent::Started { intent: json!({}) },
        at: DateTime::UNIX_EPOCH,
    }];
    entries.push(JournalEntry {
        seq: 9,
        attempt: Attempt(2),
        step: Some("check".into()),
        event: JournalEvent::Started { intent: json!({}) },
        at: DateTime::UNIX_EPOCH,
    });
    let fold = Fold::of(&entries, Attempt(2));
    assert_eq!((fold.steps.len(), fold.next_seq), (1, 10));
}

fn with(on_error: OnError) -> Control {
    Control { options: RunOptions { on_error, ..RunOptions::default() }, ..control() }
}

/// As [`usual`], with an `error-cleanup-provisioner`.
fn with_error_cleanup() -> Plan {
    let kind = StepKind::ErrorCleanup;
    Plan { on_failure: Some(PlannedStep { name: kind.step_name(), kind }), ..usual() }
}

const FAILED_SCRIPT: [&str; 5] = ["check", "key_pair", "security_group", "launch", "!provision:1"];

#[test]
fn a_failure_is_met_as_the_run_wants() {
    let plan = usual();
    for (on_error, expected) in [
        (OnError::Cleanup, "unwind Failed"),
        (OnError::Abort, "abandon broken"),
        (OnError::Ask, "hold failure provision:1"),
        (OnError::RunCleanupProvisioner, "abandon broken"),
    ] {
        assert_eq!(next(&plan, &FAILED_SCRIPT, &with(on_error)), expected, "{on_error}");
    }
}

#[test]
fn the_error_cleanup_provisioner_runs_once_and_whatever_comes_of_it() {
    let plan = with_error_cleanup();
    let then = |on_error, more: &[&str]| next(&plan, &[&FAILED_SCRIPT, more].concat(), &with(on_error));
    assert_eq!(then(OnError::Cleanup, &[]), "run error_cleanup");
    assert_eq!(then(OnError::RunCleanupProvisioner, &[]), "run error_cleanup");
    assert_eq!(then(OnError::Abort, &[]), "abandon broken");
    for progress in ["error_cleanup", "!error_cleanup", "+error_cleanup"] {
        assert_eq!(then(OnError::Cleanup, &[progress]), "unwind Failed", "{progress}");
        assert_eq!(then(OnError::RunCleanupProvisioner, &[progress]), "abandon broken", "{progress}");
    }
    let not_on_the_machine = ["check", "key_pair", "security_group", "!launch"];
    assert_eq!(next(&plan, &not_on_the_machine, &control()), "unwind Failed");
    let held = ["HELD failure provision:1", "RESUMED cleanup provision:1"];
    assert_eq!(then(OnError::Ask, &held), "run error_cleanup");
    assert_eq!(then(OnError::Ask, &[&held[..], &["error_cleanup"]].concat()), "unwind Failed");
}

fn answered(action: ResumeAction, seq: i64) -> Control {
    Control { resume: Some(Resume { seq, action, by: "ann".into() }), ..with(OnError::Ask) }
}

#[test]
fn a_hold_waits_for_its_own_answer_and_ends_by_itself() {
    let plan = usual();
    let held = [&FAILED_SCRIPT[..], &["HELD failure provision:1"]].concat();
    let seq = fold(&held).held.unwrap().seq;
    assert_eq!(next(&plan, &held, &with(OnError::Ask)), "wait at provision:1");
    assert_eq!(next(&plan, &held, &answered(ResumeAction::Retry, seq - 1)), "wait at provision:1", "an older answer");
    assert_eq!(next(&plan, &held, &answered(ResumeAction::Retry, seq)), "resume retry");
    let later = Control { now: DateTime::UNIX_EPOCH + TimeDelta::hours(1), ..with(OnError::Ask) };
    assert_eq!(next(&plan, &held, &later), "resume cleanup");
    let late = Control { deadline: Some(DateTime::UNIX_EPOCH), ..with(OnError::Ask) };
    assert_eq!(next(&plan, &held, &late), "wait at provision:1", "the hold has a limit of its own");
    let cancelled = Control { cancel_requested: true, ..with(OnError::Ask) };
    assert_eq!(next(&plan, &held, &cancelled), "unwind Cancelled");

    let then = |action| next(&plan, &[&held[..], &[action]].concat(), &with(OnError::Ask));
    assert_eq!(then("RESUMED retry provision:1"), "run provision:1");
    assert_eq!(then("RESUMED cleanup provision:1"), "unwind Failed");
    assert_eq!(then("RESUMED abort provision:1"), "abandon broken");
    let again = [&held[..], &["RESUMED retry provision:1", "!provision:1"]].concat();
    assert_eq!(next(&plan, &again, &answered(ResumeAction::Retry, seq)), "hold failure provision:1");
    assert_eq!(fold(&again).retries[&StepName::from("provision:1")], 1);
}

#[test]
fn what_a_failed_step_may_have_made_is_gone_before_it_is_tried_again() {
    let plan = usual();
    let mut story = vec!["check", "key_pair", "security_group", "!launch", "HELD failure launch"];
    let retry = answered(ResumeAction::Retry, fold(&story).held.unwrap().seq);
    assert_eq!(next(&plan, &story, &retry), "undo launch");
    let mut keeps_failing = story.clone();
    keeps_failing.extend(["x launch"; UNDO_TRIES as usize]);
    assert_eq!(next(&plan, &keeps_failing, &retry), "unwind Failed");
    story.push("-launch");
    assert_eq!(next(&plan, &story, &retry), "resume retry");
    story.push("RESUMED retry launch");
    assert_eq!(next(&plan, &story, &retry), "run launch");
}

#[test]
fn breakpoints_and_debug_hold_before_a_step_once() {
    let plan = plan(vec![vec![StepKind::Check], vec![StepKind::Breakpoint { index: 0 }], vec![StepKind::Stop]]);
    assert_eq!(next(&plan, &["check"], &control()), "hold breakpoint breakpoint:1");
    let passed = ["check", "HELD breakpoint breakpoint:1", "RESUMED continue breakpoint:1"];
    assert_eq!(next(&plan, &passed, &control()), "run breakpoint:1");
    let stopped = ["check", "HELD breakpoint breakpoint:1", "RESUMED cleanup breakpoint:1"];
    assert_eq!(next(&plan, &stopped, &control()), "unwind Cancelled");
    let aborted = ["check", "HELD breakpoint breakpoint:1", "RESUMED abort breakpoint:1"];
    assert_eq!(next(&plan, &aborted, &control()), "abandon stopped-at-hold");

    let debug = Control { options: RunOptions { debug: true, ..RunOptions::default() }, ..control() };
    let plan = usual();
    assert_eq!(next(&plan, &[], &debug), "run check");
    assert_eq!(next(&plan, &["check"], &debug), "hold debug key_pair");
    let passed = ["check", "HELD debug key_pair", "RESUMED continue key_pair"];
    assert_eq!(next(&plan, &passed, &debug), "run key_pair security_group");
    assert_eq!(next(&plan, &["check", "+key_pair"], &debug), "run key_pair security_group", "begun is begun");
}

#[test]
fn what_was_left_in_place_is_undone_and_the_build_stays_failed() {
    let plan = usual();
    let abandoned = Control { abandoned: true, ..with(OnError::Abort) };
    assert_eq!(next(&plan, &FAILED_SCRIPT, &abandoned), "undo launch");
    let undone = [&FAILED_SCRIPT[..], &["-launch", "-security_group", "-key_pair"]].concat();
    assert_eq!(next(&plan, &undone, &abandoned), "finish failed");
}
