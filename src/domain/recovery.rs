//! What to do next with a build: a pure function of its plan, its journal and what people asked for. The executor only
//! carries out what this says, for a build that has just begun and for one that a dead server left behind alike.

use super::failure::{Failure, FailureClass};
use super::hold::{Held, HoldReason, OnError, Resume, ResumeAction};
use super::ids::StepName;
use super::journal::{Control, Fold, Progress, UnwindReason};
use super::plan::{Effect, Plan, PlannedStep, Resume as ResumeOf, StepKind};
use super::state::BuildState;

/// How often in a row an undo may fail before the build is `stuck`.
pub const UNDO_TRIES: u32 = 6;

/// The next move.
#[derive(Debug, Clone, PartialEq)]
pub enum Decision<'p> {
    /// Do these steps, in parallel. Those that a dead owner had begun keep the intent they have.
    Run(Vec<&'p PlannedStep>),
    /// Give the attempt up: journal it, then ask again.
    Unwind(UnwindReason, Option<Failure>),
    /// Undo these steps, in parallel.
    Undo(Vec<&'p PlannedStep>),
    /// Take `ingot:temporary` off the artifacts and commit.
    Commit,
    /// Nothing of this attempt is left; queue the next one.
    NextAttempt,
    /// Nothing is left to do.
    Finish(BuildState, Option<Failure>),
    /// Wait for a person: journal a hold at this step.
    Hold(HoldReason, &'p PlannedStep),
    /// Go on waiting for the answer.
    Wait(Held),
    /// Journal the answer to the hold.
    Resume(Resume),
    /// End the attempt as failed and leave everything in place for the run's hold limit.
    Abandon(Option<Failure>),
    /// The undo of these steps keeps failing; a person has to look.
    Stuck(String),
}

/// Decides the next move. Nothing of the build may be running here when it is asked.
#[must_use]
pub fn decide<'p>(plan: &'p Plan, fold: &Fold, control: &Control) -> Decision<'p> {
    if fold.committed {
        return match undo_next(plan, fold, |effect| effect == Effect::Temporary) {
            UndoNext::Wave(steps) => Decision::Undo(steps),
            UndoNext::Stuck(reason) => Decision::Stuck(reason),
            UndoNext::Nothing => Decision::Finish(BuildState::Succeeded, None),
        };
    }
    if control.abandoned {
        return match undo_next(plan, fold, |_| true) {
            UndoNext::Wave(steps) => Decision::Undo(steps),
            UndoNext::Stuck(reason) => Decision::Stuck(reason),
            UndoNext::Nothing => Decision::Finish(BuildState::Failed, first_failure(plan, fold)),
        };
    }
    if let Some((reason, failure)) = &fold.unwinding {
        return match undo_next(plan, fold, |_| true) {
            UndoNext::Wave(steps) => Decision::Undo(steps),
            UndoNext::Stuck(reason) => Decision::Stuck(reason),
            UndoNext::Nothing => after_unwinding(*reason, failure.clone(), control),
        };
    }
    if control.cancel_requested {
        return Decision::Unwind(UnwindReason::Cancelled, Some(cancelled()));
    }
    if control.is_late(fold) {
        return Decision::Unwind(UnwindReason::TimedOut, Some(timed_out()));
    }
    if let Some(held) = &fold.held {
        return answer(plan, fold, held, control);
    }
    if let Some((held, action)) = &fold.given_up {
        return give_up(plan, fold, held, *action);
    }
    forward(plan, fold, control)
}

/// A build that holds: what the person said, or that the time is over.
fn answer<'p>(plan: &'p Plan, fold: &Fold, held: &Held, control: &Control) -> Decision<'p> {
    let answered = control.resume.as_ref().filter(|resume| resume.seq == held.seq);
    let Some(resume) = answered else {
        if control.now < held.until {
            return Decision::Wait(held.clone());
        }
        return Decision::Resume(Resume {
            seq: held.seq,
            action: ResumeAction::Cleanup,
            by: "the hold's time limit".to_owned(),
        });
    };
    let again = matches!(resume.action, ResumeAction::Retry | ResumeAction::Continue);
    if again && held.reason == HoldReason::Failure {
        // What the failed step may have left must be gone before it is done again.
        let step = plan.step(&held.step).filter(|step| step.kind.effect() != Effect::Nothing);
        let record = fold.steps.get(&held.step);
        if let (Some(step), Some(record)) = (step, record)
            && record.progress != Progress::Undone
        {
            return if record.undo_failures < UNDO_TRIES {
                Decision::Undo(vec![step])
            } else {
                // It can't be had clean, so it can't be tried again; unwinding will say what is left.
                Decision::Unwind(UnwindReason::Failed, first_failure(plan, fold))
            };
        }
    }
    Decision::Resume(resume.clone())
}

/// A hold that ended without going on.
fn give_up<'p>(plan: &'p Plan, fold: &Fold, held: &Held, action: ResumeAction) -> Decision<'p> {
    let failure = first_failure(plan, fold);
    match (action, failure) {
        (ResumeAction::Abort, failure) => Decision::Abandon(Some(failure.unwrap_or_else(|| stopped_at(&held.step)))),
        (_, Some(failure)) => {
            error_cleanup(plan, fold, &held.step).unwrap_or(Decision::Unwind(UnwindReason::Failed, Some(failure)))
        }
        (_, None) => Decision::Unwind(UnwindReason::Cancelled, Some(stopped_at(&held.step))),
    }
}

fn forward<'p>(plan: &'p Plan, fold: &Fold, control: &Control) -> Decision<'p> {
    for (number, wave) in plan.waves.iter().enumerate() {
        let mut to_run = Vec::new();
        for step in wave {
            match fold.steps.get(&step.name).map(|record| &record.progress) {
                Some(Progress::Succeeded { .. }) => {}
                Some(Progress::Failed { failure, .. }) => return failed(plan, fold, step, failure, control),
                Some(Progress::Started { .. }) if step.kind.resume() == ResumeOf::Untrusted => {
                    return Decision::Unwind(UnwindReason::Interrupted, Some(interrupted(&step.name)));
                }
                Some(Progress::Undone) => {
                    // Only unwinding and a retry undo steps, and a retry forgets the step; so only a hole in the journal leads here.
                    return Decision::Unwind(UnwindReason::Interrupted, Some(interrupted(&step.name)));
                }
                Some(Progress::Started { .. }) | None => to_run.push(step),
            }
        }
        let Some(first) = to_run.first() else { continue };
        // What was begun already has been held before, or was begun by a server that knew of no hold here.
        if fold.steps.contains_key(&first.name) || fold.passed.contains(&first.name) {
            return Decision::Run(to_run);
        }
        return match first.kind {
            StepKind::Breakpoint { .. } => Decision::Hold(HoldReason::Breakpoint, first),
            _ if control.options.debug && number > 0 && !fold.retries.contains_key(&first.name) => {
                Decision::Hold(HoldReason::Debug, first)
            }
            _ => Decision::Run(to_run),
        };
    }
    Decision::Commit
}

/// A step failed: what the run wants then.
fn failed<'p>(
    plan: &'p Plan,
    fold: &Fold,
    step: &'p PlannedStep,
    failure: &Failure,
    control: &Control,
) -> Decision<'p> {
    let failure = Some(at_step(failure.clone(), &step.name));
    match control.options.on_error {
        OnError::Ask => Decision::Hold(HoldReason::Failure, step),
        OnError::Abort => Decision::Abandon(failure),
        OnError::Cleanup => {
            error_cleanup(plan, fold, &step.name).unwrap_or(Decision::Unwind(UnwindReason::Failed, failure))
        }
        OnError::RunCleanupProvisioner => error_cleanup(plan, fold, &step.name).unwrap_or(Decision::Abandon(failure)),
    }
}

/// The `error-cleanup-provisioner`, when what failed was done on the machine and it was not begun yet. A server that died
/// in it leaves it at that: nobody knows how far it came.
fn error_cleanup<'p>(plan: &'p Plan, fold: &Fold, failed: &StepName) -> Option<Decision<'p>> {
    let cleanup = plan.on_failure.as_ref()?;
    let on_machine = plan.step(failed).is_some_and(|step| step.kind.resume() == ResumeOf::Untrusted);
    (on_machine && !fold.steps.contains_key(&cleanup.name)).then(|| Decision::Run(vec![cleanup]))
}

/// The failure of the first step that failed, in the plan's order.
fn first_failure(plan: &Plan, fold: &Fold) -> Option<Failure> {
    plan.waves.iter().flatten().find_map(|step| match &fold.steps.get(&step.name)?.progress {
        Progress::Failed { failure, .. } => Some(at_step(failure.clone(), &step.name)),
        _ => None,
    })
}

enum UndoNext<'p> {
    Wave(Vec<&'p PlannedStep>),
    Stuck(String),
    Nothing,
}

/// The last wave that still has something to undo. Steps without an effect have nothing to undo and are skipped.
fn undo_next<'p>(plan: &'p Plan, fold: &Fold, wanted: impl Fn(Effect) -> bool) -> UndoNext<'p> {
    let mut stuck = Vec::new();
    for wave in plan.waves.iter().rev() {
        let mut steps = Vec::new();
        for step in wave {
            let effect = step.kind.effect();
            let Some(record) = fold.steps.get(&step.name) else { continue };
            if effect == Effect::Nothing || !wanted(effect) || record.progress == Progress::Undone {
                continue;
            }
            if record.undo_failures >= UNDO_TRIES {
                let why = record.last_undo_failure.as_ref().map_or("unknown", |failure| failure.message.as_str());
                stuck.push(format!("{}: {why}", step.name));
            } else {
                steps.push(step);
            }
        }
        if !steps.is_empty() {
            return UndoNext::Wave(steps);
        }
    }
    if stuck.is_empty() {
        UndoNext::Nothing
    } else {
        UndoNext::Stuck(format!("could not remove everything: {}", stuck.join("; ")))
    }
}

fn after_unwinding<'p>(reason: UnwindReason, failure: Option<Failure>, control: &Control) -> Decision<'p> {
    match reason {
        UnwindReason::Interrupted if control.cancel_requested => {
            Decision::Finish(BuildState::Cancelled, Some(cancelled()))
        }
        UnwindReason::Interrupted if control.attempts_left => Decision::NextAttempt,
        UnwindReason::Cancelled => Decision::Finish(BuildState::Cancelled, failure),
        UnwindReason::Failed | UnwindReason::TimedOut | UnwindReason::Interrupted => {
            Decision::Finish(BuildState::Failed, failure)
        }
    }
}

fn at_step(mut failure: Failure, step: &StepName) -> Failure {
    failure.step.get_or_insert_with(|| step.to_string());
    failure
}

fn cancelled() -> Failure {
    Failure::new(FailureClass::Cancelled, "cancelled", "The run was cancelled.")
}

fn stopped_at(step: &StepName) -> Failure {
    let mut failure = Failure::new(
        FailureClass::Cancelled,
        "stopped-at-hold",
        format!("The build was ended where it held, at {step}."),
    );
    failure.step = Some(step.to_string());
    failure
}

fn timed_out() -> Failure {
    Failure::user("run-timeout", "The run took longer than its time limit.")
        .with_advice("Raise `timeout` of the run, or look in the log for the step that took so long.")
}

fn interrupted(step: &StepName) -> Failure {
    let mut failure = Failure::ours(
        "interrupted",
        format!("The server stopped while step {step} was half done, and no attempts are left."),
    )
    .with_advice("Retry the run.");
    failure.step = Some(step.to_string());
    failure
}

#[cfg(test)]
mod tests;
