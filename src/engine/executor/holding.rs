//! A build waits for a person, or is left in place for one to look at.

use std::time::Duration;

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};

use super::{CONTROL_INTERVAL, Owner, Stop};
use crate::domain::config::{ProvisionerBlock, ProvisionerConfig};
use crate::domain::failure::Failure;
use crate::domain::hold::{Held, HeldMachine, Hold, HoldReason, Resume};
use crate::domain::ids::{BuildId, StepName};
use crate::domain::journal::{Control, Ending, Fold, LogStream, Progress};
use crate::domain::plan::{PlannedStep, StepKind};
use crate::domain::state::CleanupState;

impl Owner<'_> {
    /// Waits at a step for a person. The connection to the machine is not kept meanwhile: it is made again with the stored
    /// key when the build goes on.
    pub(super) async fn hold(
        &self,
        reason: HoldReason,
        step: &PlannedStep,
        fold: &Fold,
        control: &Control,
    ) -> Result<(), Stop> {
        self.session.close().await;
        let failure = match fold.steps.get(&step.name).map(|record| &record.progress) {
            Some(Progress::Failed { failure, .. }) => Some(failure.clone()),
            _ => None,
        };
        let hold = Hold {
            seq: 0,
            step: step.name.0.clone(),
            reason,
            note: self.note(&step.kind),
            since: control.now,
            until: held_until(control, self.breakpoint_limit(&step.kind)),
            failure,
            machine: self.machine(&step.name, fold),
        };
        if let Some(failure) = &hold.failure {
            let text = format!("Step {} failed: {}", step.name, failure.message);
            self.log.say(Some(&step.name.0), LogStream::Error, &text).await;
        }
        self.say(&hold_text(&hold, self.facts.build)).await;
        self.log.flush().await;
        Ok(self.journal.hold(hold).await?)
    }

    /// Where the machine is, for people.
    fn machine(&self, step: &StepName, fold: &Fold) -> Option<HeldMachine> {
        let context = self.context(step, fold, self.cancel.clone()).ok()?;
        self.surroundings.registry.machine(&context)
    }

    fn breakpoint(&self, kind: &StepKind) -> Option<&ProvisionerBlock> {
        let StepKind::Breakpoint { index } = kind else { return None };
        self.config.as_ref()?.provisioners.get(*index)
    }

    /// The `timeout` of a breakpoint.
    fn breakpoint_limit(&self, kind: &StepKind) -> Option<Duration> {
        self.breakpoint(kind).map(|block| block.timeout).filter(|limit| !limit.is_zero())
    }

    /// The template's words at a breakpoint.
    fn note(&self, kind: &StepKind) -> Option<String> {
        match &self.breakpoint(kind)?.config {
            ProvisionerConfig::Breakpoint(breakpoint) if !breakpoint.note.is_empty() => {
                Some(self.log.redactor().redact(&breakpoint.note))
            }
            _ => None,
        }
    }

    pub(super) async fn wait_for_answer(&self, held: &Held, now: DateTime<Utc>) {
        let left = (held.until - now).to_std().unwrap_or_default();
        tokio::select! {
            () = tokio::time::sleep(left.min(CONTROL_INTERVAL)) => {}
            () = self.surroundings.drain.cancelled() => {}
            () = self.lease.lost().cancelled() => {}
        }
    }

    pub(super) async fn resume(&self, answer: &Resume) -> Result<(), Stop> {
        self.say(&format!("The hold ends with {}, by {}.", answer.action, answer.by)).await;
        self.log.flush().await;
        Ok(self.journal.resume(answer).await?)
    }

    /// Ends the build and leaves what it made in place for as long as the run wants.
    pub(super) async fn abandon(&self, failure: Option<Failure>, fold: &Fold, control: &Control) -> Result<(), Stop> {
        let failure = failure.map(|failure| self.redacted(failure));
        if let Some(failure) = &failure {
            self.tell_failure(failure).await;
        }
        let until = held_until(control, None);
        self.say(&format!(
            "Build failed. What it made is left in place until {} and removed then, or earlier by POST /v1/builds/{}/resume with {{\"action\": \"cleanup\"}}.",
            until.to_rfc3339_opts(SecondsFormat::Secs, true),
            self.facts.build
        ))
        .await;
        let step = failure.as_ref().and_then(|failure| failure.step.clone()).unwrap_or_default();
        let hold = Box::new(Hold {
            seq: 0,
            reason: HoldReason::Abort,
            note: None,
            since: control.now,
            until,
            failure: failure.clone(),
            machine: self.machine(&StepName(step.clone()), fold),
            step,
        });
        self.end(&Ending::Abandoned { failure, until, hold }, CleanupState::Kept).await
    }
}

/// When a hold that begins now ends by itself: after the run's limit, or `at_most`. A limit that reaches beyond the calendar
/// ends at once rather than never.
fn held_until(control: &Control, at_most: Option<Duration>) -> DateTime<Utc> {
    let limit = control.options.hold_limit();
    control.now + TimeDelta::from_std(at_most.map_or(limit, |most| limit.min(most))).unwrap_or_default()
}

/// What the log says when a build begins to wait for a person.
fn hold_text(hold: &Hold, build: BuildId) -> String {
    let why = match hold.reason {
        HoldReason::Failure => "The run wants to be asked what to do".to_owned(),
        HoldReason::Breakpoint => "The build is at a breakpoint".to_owned(),
        HoldReason::Debug => format!("The run is in debug mode; {} comes next", hold.step),
        HoldReason::Abort => "What the build made is left in place".to_owned(),
    };
    let note = hold.note.as_ref().map_or_else(String::new, |note| format!(" ({note})"));
    let go_on = hold.reason.answers()[0];
    let reach = match &hold.machine {
        Some(HeldMachine { host: Some(host), port: Some(port), username: Some(user), instance_id, .. }) => {
            format!(" The machine is {instance_id}: ssh -p {port} {user}@{host}.")
        }
        Some(HeldMachine { instance_id, .. }) => format!(" The machine is {instance_id}."),
        None => String::new(),
    };
    format!(
        "{why}{note}. It holds until {}, then it is cleaned up.{reach} Answer with `ingot resume {build} {go_on}` (or cleanup, or abort).",
        hold.until.to_rfc3339_opts(SecondsFormat::Secs, true)
    )
}
