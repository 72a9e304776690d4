//! What every call goes through: the log, the hook, delays and faults.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use crate::cloud::{CloudError, CloudErrorClass, CloudResult, MUTATION_LIMIT};

/// What freezes a server: while it is shut, calls neither begin nor get their answers. Those that were sent land.
#[derive(Debug, Clone)]
pub struct Gate(Arc<watch::Sender<bool>>);

impl Default for Gate {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(true)))
    }
}

impl Gate {
    pub fn shut(&self) {
        self.0.send_replace(false);
    }

    pub fn open(&self) {
        self.0.send_replace(true);
    }

    /// Waits while it is shut.
    pub async fn pass(&self) {
        // The sender lives as long as `self`, so this ends by the gate's being open only.
        let _ = self.0.subscribe().wait_for(|open| *open).await;
    }
}

/// One call as the log has it and the hook sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallRecord {
    /// From 1, over all accounts and regions.
    pub number: usize,
    pub operation: &'static str,
    /// The account's name.
    pub account: String,
    pub region: String,
    /// The id, name or filters that it is about.
    pub subject: String,
    pub phase: Phase,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Nothing has happened yet.
    Before,
    /// The effect has landed (or was refused); the caller has not been told.
    After,
}

/// What the hook wants of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    Go,
    /// Never answer.
    Hang,
}

/// What goes wrong with a call. The operation's name in the error is filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FaultKind {
    /// It fails without an effect.
    Before(CloudError),
    /// The effect lands, and the reply is this error.
    After(CloudError),
    /// It takes this long. A change longer than [`MUTATION_LIMIT`] lands at the limit and is not answered.
    Delay(Duration),
}

impl FaultKind {
    /// Refused with a code.
    #[must_use]
    pub fn refuse(class: CloudErrorClass, code: &str) -> Self {
        Self::Before(fault(class, code, "refused on demand"))
    }

    /// Refused with a code and a text.
    #[must_use]
    pub fn refuse_with(class: CloudErrorClass, code: &str, message: &str) -> Self {
        Self::Before(fault(class, code, message))
    }

    /// The effect lands and the reply is lost.
    #[must_use]
    pub fn lose_reply() -> Self {
        Self::After(fault(CloudErrorClass::UnknownOutcome, "timeout", "the reply was lost on demand"))
    }

    /// The request is lost, which the caller can't tell from a lost reply.
    #[must_use]
    pub fn lose_request() -> Self {
        Self::Before(fault(CloudErrorClass::UnknownOutcome, "timeout", "the request was lost on demand"))
    }
}

fn fault(class: CloudErrorClass, code: &str, message: &str) -> CloudError {
    CloudError::new(class, "", code, message)
}

pub(super) type Hook = Arc<dyn Fn(&CallRecord) -> Then + Send + Sync>;

#[derive(Default)]
pub(super) struct Calls {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    log: Vec<CallRecord>,
    faults: VecDeque<(String, FaultKind)>,
    hook: Option<Hook>,
    latency: Duration,
}

impl Calls {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn log(&self) -> Vec<CallRecord> {
        self.state().log.clone()
    }

    pub(super) fn set_latency(&self, latency: Duration) {
        self.state().latency = latency;
    }

    pub(super) fn set_hook(&self, hook: Option<Hook>) {
        self.state().hook = hook;
    }

    pub(super) fn fail_next(&self, operation: &str, fault: FaultKind, times: usize) {
        let faults = std::iter::repeat_n((operation.to_owned(), fault), times);
        self.state().faults.extend(faults);
    }

    pub(super) fn forget_faults(&self) {
        self.state().faults.clear();
    }

    /// Takes a call through log, hook and faults. `effect` happens at one instant.
    pub(super) async fn pass<T: Send>(
        &self,
        mut record: CallRecord,
        changes: bool,
        effect: impl FnOnce() -> CloudResult<T> + Send,
    ) -> CloudResult<T> {
        let (fault, latency) = self.begin(&mut record);
        self.hook(&record).await;
        // A look that gets no answer is asked again: there is no outcome to be unknown.
        let named = |error: CloudError| {
            let class = match error.class {
                CloudErrorClass::UnknownOutcome if !changes => CloudErrorClass::Unavailable,
                class => class,
            };
            CloudError { operation: record.operation, class, ..error }
        };
        let delay = if let Some(FaultKind::Delay(delay)) = fault { delay } else { latency };
        let (delay, too_late) = within_limit(delay, changes);
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        if let Some(FaultKind::Before(error)) = fault {
            return Err(named(error));
        }
        let result = effect();
        self.hook(&CallRecord { phase: Phase::After, ..record.clone() }).await;
        match fault {
            Some(FaultKind::After(error)) => Err(named(error)),
            _ if too_late => Err(named(fault_of_silence())),
            _ => result.map_err(named),
        }
    }

    fn begin(&self, record: &mut CallRecord) -> (Option<FaultKind>, Duration) {
        let mut state = self.state();
        record.number = state.log.len() + 1;
        state.log.push(record.clone());
        let wanted = |(operation, _): &(String, FaultKind)| operation == record.operation || operation == "*";
        let position = state.faults.iter().position(wanted);
        let fault = position.and_then(|position| state.faults.remove(position)).map(|(_, fault)| fault);
        (fault, state.latency)
    }

    async fn hook(&self, record: &CallRecord) {
        let hook = self.state().hook.clone();
        let Some(hook) = hook else { return };
        if hook(record) == Then::Hang {
            std::future::pending::<()>().await;
        }
        // A hook may have aborted this very task, which takes effect where the task waits.
        tokio::task::yield_now().await;
    }
}

/// How long a call really takes, and whether it is given up without an answer.
fn within_limit(delay: Duration, changes: bool) -> (Duration, bool) {
    if changes && delay > MUTATION_LIMIT { (MUTATION_LIMIT, true) } else { (delay, false) }
}

fn fault_of_silence() -> CloudError {
    fault(CloudErrorClass::UnknownOutcome, "timeout", "no answer within the time limit")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_changes_are_given_up() {
        let long = Duration::from_mins(1);
        assert_eq!(within_limit(long, true), (MUTATION_LIMIT, true));
        assert_eq!(within_limit(long, false), (long, false));
        assert_eq!(within_limit(Duration::from_secs(1), true), (Duration::from_secs(1), false));
    }
}
