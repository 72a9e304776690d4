//! Who gets which build.

use std::collections::HashSet;

use chrono::TimeDelta;

use super::*;
use crate::store::test_support::test_sealer;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn twenty_claimers_never_get_the_same_build() {
    let scene = Scene::new().await;
    for builds in [30, 10, 5, 5] {
        scene.accept(builds).await;
    }
    let claimers: Vec<_> = (0..20)
        .map(|index| {
            let store = scene.store.clone();
            tokio::spawn(async move {
                let owner = format!("server-{index}");
                let mut mine = Vec::new();
                while let Some(claimed) = store.claim_queued(&owner, &BTreeMap::new()).await.unwrap() {
                    mine.push((claimed.facts.build, claimed.journal.epoch().0));
                }
                mine
            })
        })
        .collect();
    let mut all = Vec::new();
    for claimer in claimers {
        all.extend(claimer.await.unwrap());
    }
    assert_eq!(all.len(), 50, "a claimer gives up only when nothing waits");
    assert_eq!(all.iter().map(|(build, _)| build).collect::<HashSet<_>>().len(), 50);
    assert!(all.iter().all(|(_, epoch)| *epoch == 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_expired_lease_goes_to_one_claimer() {
    let scene = Scene::new().await;
    scene.accept(5).await;
    for _ in 0..5 {
        let claimed = scene.claim().await;
        scene.expire(claimed.facts.build).await;
    }
    let claimers: Vec<_> = (0..20)
        .map(|_| {
            let store = scene.store.clone();
            tokio::spawn(
                async move { store.claim_expired("server-2").await.unwrap().map(|claimed| claimed.facts.build) },
            )
        })
        .collect();
    let mut taken = Vec::new();
    for claimer in claimers {
        taken.extend(claimer.await.unwrap());
    }
    assert_eq!(taken.iter().collect::<HashSet<_>>().len(), taken.len(), "none twice");
    while let Some(claimed) = scene.store.claim_expired("server-2").await.unwrap() {
        taken.push(claimed.facts.build);
    }
    assert_eq!(taken.len(), 5);
}

#[tokio::test]
async fn the_two_claims_are_apart() {
    let scene = Scene::new().await;
    scene.accept(2).await;
    assert!(scene.store.claim_expired("s").await.unwrap().is_none(), "a queued build is not an expired one");
    let first = scene.claim().await;
    assert_eq!(first.state, BuildState::Running);
    assert!(scene.store.claim_expired("s").await.unwrap().is_none(), "its lease is good");
    scene.expire(first.facts.build).await;
    assert_ne!(scene.claim().await.facts.build, first.facts.build, "an expired one is not a queued one");
    assert!(scene.store.claim_queued("s", &BTreeMap::new()).await.unwrap().is_none());
    assert!(scene.store.claim_released("s").await.unwrap().is_none(), "run out is not handed back");
    let again = scene.store.claim_expired("s").await.unwrap().unwrap();
    assert_eq!(again.facts.build, first.facts.build);
    again.journal.release().await.unwrap();
    assert!(!again.journal.heartbeat().await.unwrap(), "it was handed back");
    assert!(scene.store.claim_released("s").await.unwrap().is_some());
}

#[tokio::test]
async fn a_claim_brings_everything_along() {
    let scene = Scene::new().await;
    let mut new = scene.new_run(1);
    new.timeout = Some(Duration::from_mins(30));
    let run = scene.store.accept_run(&new, &someone(), None).await.unwrap();
    let claimed = scene.claim().await;
    assert_eq!(claimed.config.as_ref(), Some(&scene.config));
    assert_eq!(claimed.sensitive, ["hunter2"]);
    assert_eq!(claimed.plan, Plan::for_build(&scene.config, &RunOptions::default()));
    assert_eq!(claimed.bundle_version, scene.version.id);
    assert_eq!((claimed.facts.number, claimed.facts.git_sha.as_str()), (1, "unknown"));
    assert_eq!(claimed.facts.deployment, scene.store.deployment().await.unwrap());
    let control = claimed.journal.control().await.unwrap();
    // Limits go by the database's clock, whatever the server's says.
    let left = control.deadline.unwrap() - control.now;
    assert!(left <= TimeDelta::minutes(30) && left > TimeDelta::minutes(29), "{left}");
    assert!(control.attempts_left && !control.cancel_requested);
    let run = scene.store.run(run.id).await.unwrap();
    assert_eq!(run.started_at, Some(scene.clock.now()));
}

#[tokio::test]
async fn a_build_that_this_server_can_not_read_is_left_to_another() {
    let scene = Scene::new().await;
    scene.accept(1).await;
    let other = scene.database.store_with(scene.clock.clone(), test_sealer("other", 2)).await;
    assert!(other.claim_queued("s", &BTreeMap::new()).await.unwrap().is_none());
    assert_eq!(other.builds_with_foreign_keys().await.unwrap(), 1);
    assert_eq!(scene.store.builds_with_foreign_keys().await.unwrap(), 0);

    sqlx::query("UPDATE builds SET plan = jsonb_set(plan, '{format}', '99')").execute(&scene.store.pool).await.unwrap();
    assert!(
        scene.store.claim_queued("s", &BTreeMap::new()).await.unwrap().is_none(),
        "a newer plan is for a newer server"
    );
}

#[tokio::test]
async fn an_unreadable_plan_is_set_aside_and_does_not_block_the_queue() {
    let scene = Scene::new().await;
    let broken = scene.accept(1).await;
    scene.clock.advance(Duration::from_secs(1));
    let good = scene.accept(1).await;
    sqlx::query("UPDATE builds SET plan = '{\"format\": 1, \"waves\": 7}' WHERE run_id = $1")
        .bind(broken.id.0)
        .execute(&scene.store.pool)
        .await
        .unwrap();
    assert_eq!(scene.claim().await.facts.run, good.id);
    let state: String = sqlx::query_scalar("SELECT state FROM runs WHERE id = $1")
        .bind(broken.id.0)
        .fetch_one(&scene.store.pool)
        .await
        .unwrap();
    assert_eq!(state, "stuck");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_account_has_no_more_builds_at_work_than_it_may() {
    let scene = Scene::new().await;
    for _ in 0..6 {
        scene.accept(2).await;
    }
    let limits = BTreeMap::from([("default".to_owned(), 3), ("other".to_owned(), 1)]);
    let claims = (0..8).map(|server| {
        let (store, limits) = (scene.store.clone(), limits.clone());
        tokio::spawn(async move {
            let mut claimed = Vec::new();
            while let Some(build) = store.claim_queued(&format!("server-{server}"), &limits).await.unwrap() {
                claimed.push(build);
            }
            claimed
        })
    });
    let claimed: Vec<_> =
        futures::future::join_all(claims).await.into_iter().flat_map(|claimed| claimed.unwrap()).collect();
    assert_eq!(claimed.len(), 3);
    scene.succeed(&claimed[0], "ami-1").await;
    assert!(scene.store.claim_queued("s", &limits).await.unwrap().is_some(), "a place is free again");
    assert!(scene.store.claim_queued("s", &limits).await.unwrap().is_none());
    let others = BTreeMap::from([("other".to_owned(), 1)]);
    assert!(scene.store.claim_queued("s", &others).await.unwrap().is_some(), "without a limit of its own");
}
