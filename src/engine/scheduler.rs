//! Starts the runs of schedules at their times. There is no leader: every worker looks each second, and what makes a slot
//! happen once is the transaction that accepts its run (`store::schedule_firings`).

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio_util::sync::CancellationToken;

use super::EngineHandle;
use super::accept::{AcceptSettings, Origin, accept};
use super::scheduled_request::ScheduledRequest;
use crate::domain::clock::Clock;
use crate::domain::diagnostic::Diagnostic;
use crate::domain::error::{Error, ErrorKind, Result};
use crate::domain::ids::RunId;
use crate::domain::schedule::due::{Due, due};
use crate::domain::schedule::{FiringOutcome, Overlap};
use crate::store::runs::RunRow;
use crate::store::schedule_firings::{ClaimKind, SLOT_TAKEN, SlotClaim};
use crate::store::schedules::{CHANGED_MEANWHILE, ScheduleRow};
use crate::store::{Actor, Store};

/// How often it looks.
const INTERVAL: Duration = Duration::from_secs(1);
/// Slots of one schedule that may wait for their turn; those that come then are passed over.
const MOST_WAITING: i64 = 100;
/// Slots served in one look, so that a look ends.
const MOST_AT_ONCE: usize = 1_000;

pub struct Scheduler {
    pub store: Store,
    pub settings: Arc<AcceptSettings>,
    pub clock: Arc<dyn Clock>,
    pub engine: EngineHandle,
}

impl Scheduler {
    /// Looks each second until the server stops.
    pub async fn run(self, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = self.look() => {}
                () = stop.cancelled() => return,
            }
            tokio::select! {
                () = tokio::time::sleep(INTERVAL) => {}
                () = stop.cancelled() => return,
            }
        }
    }

    /// Serves all slots that have come, and those that waited and whose turn it is.
    pub async fn look(&self) {
        for _ in 0..MOST_AT_ONCE {
            match self.store.claim_due_schedule().await {
                Ok(Some(schedule)) => {
                    if let Err(error) = self.serve(&schedule).await {
                        // The claim ends by itself, and the slot is still there.
                        let name = &schedule.name;
                        tracing::warn!(
                            schedule = name,
                            error = error.for_log(),
                            "a scheduled time could not be served"
                        );
                    }
                }
                Ok(None) => break,
                Err(error) => {
                    tracing::warn!(error = error.for_log(), "schedules can't be read");
                    return;
                }
            }
        }
        if let Err(error) = self.start_waiting().await {
            tracing::warn!(error = error.for_log(), "scheduled times that waited could not be served");
        }
    }

    async fn serve(&self, schedule: &ScheduleRow) -> Result<()> {
        let Some(slot) = schedule.next_slot else { return Ok(()) };
        let timing = &schedule.timing;
        let moves_to = |next: Option<DateTime<Utc>>| SlotClaim {
            schedule: schedule.id,
            kind: ClaimKind::Slot {
                slot,
                next: next.map(|next| (next, timing.fire_at(schedule.id, next))),
                revision: schedule.revision,
            },
        };
        let outcome = match due(&timing.cadence, slot, timing.jitter, timing.catch_up, self.clock.now()) {
            Due::Nothing => Ok(()),
            Due::Missed { oldest, newest, count, next } => {
                let reason = missed(oldest, newest, count);
                tracing::warn!(schedule = schedule.name, reason, "scheduled times were missed");
                let claim = moves_to(next);
                self.store.pass_slot(&claim, FiringOutcome::Missed, &reason, &principal(schedule)).await
            }
            Due::Fire { next, .. } => self.fire(schedule, &moves_to(next)).await,
        };
        match outcome {
            // Somebody else was quicker, or the schedule is another one now.
            Err(error) if is_somebody_elses(&error) => Ok(()),
            outcome => outcome,
        }
    }

    async fn fire(&self, schedule: &ScheduleRow, claim: &SlotClaim) -> Result<()> {
        // In this order: a slot that stops waiting in between is at work then.
        let waiting = self.store.slots_waiting(schedule.id).await?;
        let at_work = self.store.runs_at_work(schedule.id).await?;
        let pass = async |outcome, reason: String| {
            tracing::info!(schedule = schedule.name, %outcome, reason, "no run for a scheduled time");
            self.store.pass_slot(claim, outcome, &reason, &principal(schedule)).await
        };
        match (schedule.timing.overlap, at_work.first()) {
            (Overlap::Skip, Some(run)) => {
                return pass(FiringOutcome::Skipped, format!("Run {run} of this schedule was still at work.")).await;
            }
            (Overlap::Queue, first) => {
                if waiting >= MOST_WAITING {
                    let reason = format!("{waiting} times of this schedule wait already.");
                    return pass(FiringOutcome::Skipped, reason).await;
                }
                if first.is_some() || waiting > 0 {
                    return pass(FiringOutcome::Waiting, "It waits for the runs before it.".to_owned()).await;
                }
            }
            (Overlap::CancelRunning, Some(_)) | (_, None) => {}
        }
        if self.start(schedule, claim).await? && schedule.timing.overlap == Overlap::CancelRunning {
            // Only now: without a run in their place, those at work are better than none.
            self.cancel(schedule, &at_work).await?;
        }
        Ok(())
    }

    async fn cancel(&self, schedule: &ScheduleRow, runs: &[RunId]) -> Result<()> {
        for run in runs {
            match self.store.request_cancel(*run, &actor(schedule)).await {
                // It has just ended, or is past the point where it could be cancelled.
                Err(error) if error.kind == ErrorKind::Conflict => {}
                Err(error) => return Err(error),
                Ok(_) => {
                    tracing::info!(schedule = schedule.name, run_id = %run, "cancelled for the next scheduled run");
                }
            }
        }
        Ok(())
    }

    async fn start_waiting(&self) -> Result<()> {
        // One schedule that can't be served must not hold the others up.
        let mut given_up = Vec::new();
        for _ in 0..MOST_AT_ONCE {
            let Some(waiting) = self.store.next_waiting_slot(&given_up).await? else { return Ok(()) };
            let kind = ClaimKind::Waiting { firing: waiting.firing, slot: waiting.slot };
            let claim = SlotClaim { schedule: waiting.schedule.id, kind };
            match self.start(&waiting.schedule, &claim).await {
                Err(error) if is_somebody_elses(&error) => {}
                Err(error) => {
                    let schedule = &waiting.schedule;
                    let name = &schedule.name;
                    tracing::warn!(schedule = name, error = error.for_log(), "a time that waited could not be served");
                    given_up.push(schedule.id);
                }
                Ok(_) => {}
            }
        }
        Ok(())
    }

    /// Accepts the slot's run. A fault of the template or its variables is the slot's outcome; when it is ours, the slot stays.
    /// Says whether there is a run.
    async fn start(&self, schedule: &ScheduleRow, claim: &SlotClaim) -> Result<bool> {
        match start_run(&self.store, &self.settings, schedule, *claim, &actor(schedule), None, &*self.clock).await {
            Ok(run) => {
                tracing::info!(schedule = schedule.name, run_id = %run.id, "started a scheduled run");
                self.engine.wake();
                Ok(true)
            }
            Err(error) if matches!(error.kind, ErrorKind::Unavailable | ErrorKind::Internal) => Err(error),
            Err(error) if is_somebody_elses(&error) => Err(error),
            Err(error) => {
                tracing::warn!(schedule = schedule.name, error = error.for_log(), "a scheduled run can't be accepted");
                self.store.pass_slot(claim, FiringOutcome::Failed, &in_words(&error), &principal(schedule)).await?;
                Ok(false)
            }
        }
    }
}

/// Accepts a run of a schedule, for a slot or by hand.
///
/// # Errors
/// As [`accept`].
pub async fn start_run(
    store: &Store,
    settings: &AcceptSettings,
    schedule: &ScheduleRow,
    claim: SlotClaim,
    actor: &Actor,
    idempotency: Option<&super::accept::Idempotency<'_>>,
    clock: &dyn Clock,
) -> Result<RunRow> {
    let request = ScheduledRequest::from_bytes(&store.schedule_request(schedule.id, schedule.revision).await?)?;
    let request = request.into_accept(&schedule.template, schedule.pinned_version);
    let origin = Origin { idempotency, scheduled: Some(claim), by_promoter: false };
    Ok(accept(store, settings, request, actor, origin, clock).await?.run)
}

/// Another server was quicker, or the schedule is another one now.
fn is_somebody_elses(error: &Error) -> bool {
    error.code == SLOT_TAKEN || error.code == CHANGED_MEANWHILE
}

fn principal(schedule: &ScheduleRow) -> String {
    format!("schedule:{}", schedule.name)
}

fn actor(schedule: &ScheduleRow) -> Actor {
    Actor { principal: principal(schedule), request_id: None }
}

fn missed(oldest: DateTime<Utc>, newest: DateTime<Utc>, count: usize) -> String {
    let time = |at: DateTime<Utc>| at.to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
    match count {
        1 => format!("No server was there at {}.", time(oldest)),
        count => format!("No server was there for {count} times from {} to {}.", time(oldest), time(newest)),
    }
}

fn in_words(error: &Error) -> String {
    let said = |diagnostic: &&Diagnostic| error.public.contains(&diagnostic.summary);
    let places = error.diagnostics.iter().filter(|diagnostic| diagnostic.is_error() && !said(diagnostic)).take(5);
    places.fold(error.public.clone(), |text, diagnostic| format!("{text}\n{diagnostic}"))
}
