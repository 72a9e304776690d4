//! Numbers of the whole installation for `/metrics`, read from the database: what waits, what is at work, how old what the
//! stages hold is. Every server says the same.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::domain::clock::Clock;
use crate::domain::error::Result;
use crate::domain::state::BuildState;
use crate::store::Store;

/// How often they are read.
const INTERVAL: Duration = Duration::from_secs(10);
/// A schedule this much behind its time is late.
const LATE: Duration = Duration::from_mins(1);

/// Keeps the numbers up to date until the server stops.
pub async fn report(store: Store, clock: Arc<dyn Clock>, stop: CancellationToken) {
    let mut seen = Seen::default();
    loop {
        if let Err(error) = read(&store, &*clock, &mut seen).await {
            tracing::debug!(error = error.for_log(), "the numbers of the installation can't be read");
        }
        tokio::select! {
            () = tokio::time::sleep(INTERVAL) => {}
            () = stop.cancelled() => return,
        }
    }
}

/// What gauges were set for: when there is nothing of it any more, they go back to zero.
#[derive(Default)]
struct Seen {
    accounts: BTreeSet<String>,
    stages: BTreeSet<String>,
}

async fn read(store: &Store, clock: &dyn Clock, seen: &mut Seen) -> Result<()> {
    let numbers = store.pipeline_numbers().await?;
    seen.accounts.extend(numbers.builds.iter().map(|(account, ..)| account.clone()));
    for account in &seen.accounts {
        for state in [BuildState::Queued, BuildState::Running, BuildState::Unwinding, BuildState::Stuck] {
            let same = |row: &&(String, String, i64)| row.0 == *account && row.1 == state.as_str();
            let count = numbers.builds.iter().find(same).map_or(0, |(.., count)| *count);
            let labels = [("account", account.clone()), ("state", state.to_string())];
            metrics::gauge!("ingot_builds", &labels).set(to_f64(count));
        }
    }
    let now = clock.now();
    let age = |at: chrono::DateTime<chrono::Utc>| (now - at).to_std().unwrap_or_default().as_secs_f64();
    metrics::gauge!("ingot_queue_oldest_age_seconds").set(numbers.oldest_queued.map_or(0.0, age));
    metrics::gauge!("ingot_schedules_late").set(to_f64(store.schedules_late(LATE).await?));
    metrics::gauge!("ingot_stage_tags_pending").set(to_f64(store.tag_work_pending().await?));
    seen.stages.extend(numbers.stages.iter().map(|stage| stage.stage.clone()));
    for name in &seen.stages {
        let ages = numbers.stages.iter().find(|stage| stage.stage == *name);
        let (newest, oldest) = ages.map_or((0.0, 0.0), |stage| (age(stage.newest), age(stage.oldest)));
        metrics::gauge!("ingot_stage_newest_image_age_seconds", "stage" => name.clone()).set(newest);
        metrics::gauge!("ingot_stage_oldest_image_age_seconds", "stage" => name.clone()).set(oldest);
    }
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
fn to_f64(count: i64) -> f64 {
    count as f64
}
