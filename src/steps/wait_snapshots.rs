//! Waits until the snapshots are complete: before that no image can be made of them.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::domain::failure::Failure;
use crate::domain::plan::StepKind;
use crate::engine::step::{Step, StepContext, StepError, StepResult};

use super::retry::Patience;
use super::snapshot;
use super::wait_limit::WaitLimit;

/// Without `aws_polling`. The first snapshot of a volume of terabytes takes many hours.
const LIMIT: Duration = Duration::from_hours(24);
/// A snapshot that stays invisible this long after its making, or after it was seen, is gone.
const INVISIBLE_LIMIT: Duration = Duration::from_mins(5);

pub struct WaitSnapshots;

#[derive(Debug, Serialize, Deserialize)]
pub struct Intent {}

#[derive(Debug, Serialize, Deserialize)]
pub struct Output {
    /// Snapshot ids by device.
    pub snapshots: BTreeMap<String, String>,
}

#[async_trait]
impl Step for WaitSnapshots {
    type Intent = Intent;
    type Output = Output;

    fn intent(&self, _context: &StepContext) -> Result<Intent, Failure> {
        Ok(Intent {})
    }

    async fn act(&self, context: &StepContext, _intent: &Intent) -> StepResult<Output> {
        let mut snapshots = BTreeMap::new();
        for step in context.plan.steps() {
            if let StepKind::Snapshot { device } = &step.kind {
                let made: snapshot::Output = context.output(&step.name.0)?;
                snapshots.insert(device.clone(), made.snapshot_id);
            }
        }
        context.log.say("Waiting for the snapshots to become ready…").await;
        let limit = WaitLimit::of(context, LIMIT)?;
        let waits = snapshots.values().map(|id| until_complete(context, id, limit));
        futures::future::try_join_all(waits).await?;
        Ok(Output { snapshots })
    }
}

async fn until_complete(context: &StepContext, id: &str, limit: WaitLimit) -> StepResult<()> {
    let region = &context.ebs()?.region;
    let mut watch = context.watcher.snapshot(&context.facts.account, region, id);
    let mut last_seen = tokio::time::Instant::now();
    let mut patience = Patience::default();
    loop {
        let next = tokio::time::timeout_at(limit.until, watch.next());
        let Ok(observation) = context.waiting(next).await? else {
            return Err(limit.passed("snapshot-wait-timeout", &format!("Snapshot {id} was not complete")).into());
        };
        let observation = observation.map_err(|_| StepError::Interrupted)?;
        patience.note(observation.error.as_ref())?;
        if observation.error.is_some() {
            continue;
        }
        let Some(snapshot) = observation.seen else {
            if last_seen.elapsed() > INVISIBLE_LIMIT {
                return Err(Failure::cloud("snapshot-gone", format!("Snapshot {id} disappeared from {region}."))
                    .with_advice("CloudTrail tells who called DeleteSnapshot. Then start the run again.")
                    .into());
            }
            continue;
        };
        last_seen = tokio::time::Instant::now();
        match snapshot.state.as_str() {
            "completed" => return Ok(()),
            "error" => {
                return Err(Failure::cloud("snapshot-failed", format!("Snapshot {id} in {region} failed."))
                    .with_advice("Start the run again. If the volume is encrypted, check that its KMS key is enabled and that the account's build role may use it.")
                    .into());
            }
            _ => {}
        }
    }
}
