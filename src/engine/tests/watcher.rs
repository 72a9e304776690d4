//! The watcher: seen within about a second, at a cost that does not grow with the number of those who wait.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::cloud::fake::{FakeCloud, FakeTimings, FaultKind, Latency, sample_launch};
use crate::cloud::{Cloud, CloudErrorClass, Instance, InstanceState};
use crate::engine::watcher::{Watch, Watcher};

const REGION: &str = "us-east-1";

/// A world in which instances take so long to boot.
fn world(boot: Duration) -> (FakeCloud, Watcher) {
    let timings = FakeTimings { boot: Latency::After(boot), ..FakeTimings::default() };
    let cloud = FakeCloud::new().with_timings(timings);
    let watcher = Watcher::new(Arc::new(cloud.clone()), CancellationToken::new());
    (cloud, watcher)
}

async fn launch(cloud: &FakeCloud, token: usize) -> String {
    cloud.run_instance(REGION, &sample_launch(cloud, REGION, &token.to_string())).await.unwrap().id
}

async fn until_running(mut watch: Watch<Instance>) {
    loop {
        let observation = watch.next().await.unwrap();
        if observation.seen.is_some_and(|instance| instance.state == InstanceState::Running) {
            return;
        }
    }
}

fn looks(cloud: &FakeCloud) -> usize {
    cloud.count_of("DescribeInstances")
}

#[tokio::test(start_paused = true)]
async fn a_change_is_seen_within_about_a_second_whatever_the_number_of_waiters() {
    let mut counts = Vec::new();
    for waiters in [1, 40] {
        let (cloud, watcher) = world(Duration::from_millis(20_300));
        let began = Instant::now();
        let ids = join_all((0..waiters).map(|token| launch(&cloud, token))).await;
        join_all(ids.iter().map(|id| until_running(watcher.instance("default", REGION, id)))).await;
        let late = began.elapsed().saturating_sub(Duration::from_millis(20_300));
        assert!(late <= Duration::from_millis(1100), "seen {late:?} late by {waiters}");
        counts.push(looks(&cloud));
    }
    assert!(counts[1] <= counts[0] + 2 && counts[0] <= 24, "{counts:?}");
}

#[tokio::test(start_paused = true)]
async fn more_than_a_filter_holds_are_asked_for_in_several_calls() {
    let (cloud, watcher) = world(Duration::from_secs(1));
    let ids = join_all((0..240).map(|token| launch(&cloud, token))).await;
    join_all(ids.iter().map(|id| until_running(watcher.instance("default", REGION, id)))).await;
    let looks = looks(&cloud);
    assert!(looks <= 6 && looks.is_multiple_of(2), "two calls a look: {looks}");
}

#[tokio::test(start_paused = true)]
async fn a_throttled_watcher_looks_less_often_and_then_as_before() {
    for class in [CloudErrorClass::Throttled, CloudErrorClass::Unauthorized] {
        let (cloud, watcher) = world(Duration::from_secs(600));
        let id = launch(&cloud, 1).await;
        cloud.fail_next("DescribeInstances", FaultKind::refuse(class, "Refused"), 40);
        let waiting = tokio::spawn(until_running(watcher.instance("default", REGION, &id)));
        tokio::time::sleep(Duration::from_secs(300)).await;
        let refused = looks(&cloud);
        assert!((18..=24).contains(&refused), "{class:?}: every 16 s: {refused} looks in 300 s");

        cloud.forget_faults();
        tokio::time::sleep(Duration::from_secs(20)).await;
        let before = looks(&cloud);
        tokio::time::sleep(Duration::from_secs(100)).await;
        let after = looks(&cloud) - before;
        assert!((95..=101).contains(&after), "{class:?}: every second again: {after} looks in 100 s");
        waiting.abort();
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_asked_for_when_nobody_waits() {
    let (cloud, watcher) = world(Duration::from_secs(600));
    let id = launch(&cloud, 1).await;
    let waited = tokio::time::timeout(Duration::from_secs(5), until_running(watcher.instance("default", REGION, &id)));
    waited.await.unwrap_err();
    tokio::time::sleep(Duration::from_secs(2)).await;
    let before = looks(&cloud);
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(looks(&cloud), before);
}
