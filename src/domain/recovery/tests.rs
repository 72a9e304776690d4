use serde_json::json;

use super::*;
use crate::domain::ids::Attempt;
use crate::domain::journal::{JournalEntry, JournalEvent};
use crate::domain::plan::{PLAN_FORMAT, StepKind};

fn plan(waves: Vec<Vec<StepKind>>) -> Plan {
    let waves = waves
        .into_iter()
        .map(|wave| wave.into_iter().map(|kind| PlannedStep { name: kind.step_name(), kind }).collect())
        .collect();
    Plan { format: PLAN_FORMAT, waves }
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
    Control { cancel_requested: false, deadline: None, attempts_left: true }
}

/// The decision in short.
fn next(plan: &Plan, story: &[&str], control: &Control) -> String {
    let names = |steps: Vec<&PlannedStep>| steps.iter().map(|step| step.name.0.clone()).collect::<Vec<_>>().join(" ");
    match decide(plan, &fold(story), control, DateTime::UNIX_EPOCH) {
        Decision::Run(steps) => format!("run {}", names(steps)),
        Decision::Undo(steps) => format!("undo {}", names(steps)),
        Decision::Unwind(reason, _) => format!("unwind {reason:?}"),
        Decision::Commit => "commit".into(),
        Decision::NextAttempt => "next attempt".into(),
        Decision::Finish(state, _) => format!("finish {state}"),
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
