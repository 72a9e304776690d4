//! What to do next with a build: a pure function of its plan, its journal and what people asked for. The executor only
//! carries out what this says, for a build that has just begun and for one that a dead server left behind alike.

use chrono::{DateTime, Utc};

use super::failure::{Failure, FailureClass};
use super::ids::StepName;
use super::journal::{Control, Fold, Progress, UnwindReason};
use super::plan::{Effect, Plan, PlannedStep, Resume};
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
    /// The undo of these steps keeps failing; a person has to look.
    Stuck(String),
}

/// Decides the next move. Nothing of the build may be running here when it is asked.
#[must_use]
pub fn decide<'p>(plan: &'p Plan, fold: &Fold, control: &Control, now: DateTime<Utc>) -> Decision<'p> {
    if fold.committed {
        return match undo_next(plan, fold, |effect| effect == Effect::Temporary) {
            UndoNext::Wave(steps) => Decision::Undo(steps),
            UndoNext::Stuck(reason) => Decision::Stuck(reason),
            UndoNext::Nothing => Decision::Finish(BuildState::Succeeded, None),
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
    if control.deadline.is_some_and(|deadline| now >= deadline) {
        return Decision::Unwind(UnwindReason::TimedOut, Some(timed_out()));
    }
    forward(plan, fold)
}

fn forward<'p>(plan: &'p Plan, fold: &Fold) -> Decision<'p> {
    for wave in &plan.waves {
        let mut to_run = Vec::new();
        for step in wave {
            match fold.steps.get(&step.name).map(|record| &record.progress) {
                Some(Progress::Succeeded { .. }) => {}
                Some(Progress::Failed { failure, .. }) => {
                    return Decision::Unwind(UnwindReason::Failed, Some(at_step(failure.clone(), &step.name)));
                }
                Some(Progress::Started { .. }) if step.kind.resume() == Resume::Untrusted => {
                    return Decision::Unwind(UnwindReason::Interrupted, Some(interrupted(&step.name)));
                }
                Some(Progress::Undone) => {
                    // Only an unwinding attempt undoes steps, so a hole in the journal is the only way to get here.
                    return Decision::Unwind(UnwindReason::Interrupted, Some(interrupted(&step.name)));
                }
                Some(Progress::Started { .. }) | None => to_run.push(step),
            }
        }
        if !to_run.is_empty() {
            return Decision::Run(to_run);
        }
    }
    Decision::Commit
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
