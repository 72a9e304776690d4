//! What each build asks of the cloud once: as many calls for many builds as for one, and never an old answer.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::world::{PLAIN, TestWorld};
use crate::cloud::fake::{FakeCloud, FaultKind, sample_launch};
use crate::cloud::{Cloud, CloudErrorClass, Filter, ImageQuery};
use crate::domain::ids::{Attempt, BuildId, DeploymentId};
use crate::domain::tags::Ownership;
use crate::engine::shared_looks::{Place, SharedLooks};

const REGION: &str = "us-east-1";

fn world() -> (FakeCloud, SharedLooks, Place) {
    let cloud = FakeCloud::new();
    let looks = SharedLooks::new(Arc::new(cloud.clone()));
    (cloud, looks, Place { account: "default".into(), region: REGION.into() })
}

fn owner(build: u128, attempt: Attempt) -> Ownership {
    Ownership { deployment: DeploymentId(Uuid::from_u128(3)), build: BuildId(Uuid::from_u128(build)), attempt }
}

/// A machine with a volume that is an attempt's.
async fn launch(cloud: &FakeCloud, owner: &Ownership) {
    let mut request = sample_launch(cloud, REGION, &format!("{}-{}", owner.build, owner.attempt));
    request.machine.instance_tags = owner.temporary_tags();
    request.machine.volume_tags = owner.temporary_tags();
    request.machine.interface_tags = owner.temporary_tags();
    cloud.run_instance(REGION, &request).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn each_gets_its_own_though_one_call_asks_for_all() {
    let (cloud, looks, place) = world();
    let mut owners: Vec<Ownership> = (10..50).map(|build| owner(build, Attempt::FIRST)).collect();
    owners.push(owner(10, Attempt(2)));
    for owner in &owners {
        launch(&cloud, owner).await;
    }
    // The first is asked at once; while its answer is on its way the others gather.
    cloud.set_call_latency(Duration::from_millis(50));
    let volumes = join_all(owners.iter().map(|owner| looks.volumes(&place, owner))).await;
    let interfaces = join_all(owners.iter().map(|owner| looks.network_interfaces(&place, owner))).await;
    let instances = join_all(owners.iter().map(|owner| looks.live_instances(&place, owner))).await;
    for (owner, instances) in owners.iter().zip(instances) {
        let tags: Vec<_> = instances.unwrap().into_iter().map(|instance| instance.tags).collect();
        assert!(tags.len() == 1 && owner.owns(&tags[0]), "{owner:?}: {tags:?}");
    }
    for (owner, (volumes, interfaces)) in owners.iter().zip(volumes.into_iter().zip(interfaces)) {
        let tags: Vec<_> = volumes.unwrap().into_iter().map(|volume| volume.tags).collect();
        assert_eq!(tags.len(), 1, "{owner:?}: {tags:?}");
        assert!(owner.owns(&tags[0]), "{owner:?}: {tags:?}");
        assert_eq!(interfaces.unwrap().len(), 1, "{owner:?}");
    }
    assert!(cloud.count_of("DescribeInstances") <= 2, "{}", cloud.count_of("DescribeInstances"));
    assert!(cloud.count_of("DescribeVolumes") <= 2, "{}", cloud.count_of("DescribeVolumes"));
    assert!(cloud.count_of("DescribeNetworkInterfaces") <= 2, "{}", cloud.count_of("DescribeNetworkInterfaces"));
}

#[tokio::test(start_paused = true)]
async fn more_than_a_filter_holds_are_asked_for_in_several_calls() {
    let (cloud, looks, place) = world();
    let last = owner(700, Attempt::FIRST);
    launch(&cloud, &last).await;
    cloud.set_call_latency(Duration::from_millis(50));
    looks.volumes(&place, &last).await.unwrap();
    let owners: Vec<Ownership> = (301..=700).map(|build| owner(build, Attempt::FIRST)).collect();
    let found = join_all(owners.iter().map(|owner| looks.volumes(&place, owner))).await;
    assert_eq!(found.last().unwrap().as_ref().unwrap().len(), 1);
    assert_eq!(cloud.count_of("DescribeVolumes"), 1 + 3);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_was_on_its_way_is_none_to_who_asks_later() {
    let (cloud, looks, place) = world();
    let mine = owner(1, Attempt::FIRST);
    cloud.set_call_latency(Duration::from_secs(2));
    let early = tokio::spawn({
        let (looks, place) = (looks.clone(), place.clone());
        async move { looks.volumes(&place, &mine).await }
    });
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    cloud.set_call_latency(Duration::ZERO);
    launch(&cloud, &mine).await;
    assert_eq!(looks.volumes(&place, &mine).await.unwrap().len(), 1);
    early.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_same_question_is_asked_once_and_another_one_apart() {
    let (cloud, looks, place) = world();
    let query = |name: &str| ImageQuery { filters: vec![Filter::new("name", [name])], ..ImageQuery::default() };
    let (ubuntu, amazon) = (query("ubuntu/*"), query("amzn2-*"));
    // Else each would be answered before the next has asked.
    cloud.set_call_latency(Duration::from_millis(50));
    let began = Instant::now();
    let questions = (0..40).map(|number| looks.images(&place, if number % 2 == 0 { &ubuntu } else { &amazon }));
    for (number, found) in join_all(questions).await.into_iter().enumerate() {
        let start = if number % 2 == 0 { "ubuntu/" } else { "amzn2-" };
        let found = found.unwrap();
        assert!(!found.is_empty() && found.iter().all(|image| image.name.starts_with(start)), "{number}: {found:?}");
    }
    assert_eq!(cloud.count_of("DescribeImages"), 2 * 2, "of each query, the first at once and then all others");
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_failed_look_fails_those_who_asked_and_is_not_remembered() {
    let (cloud, looks, place) = world();
    cloud.fail_next("DescribeSubnets", FaultKind::refuse(CloudErrorClass::Throttled, "RequestLimitExceeded"), 2);
    cloud.set_call_latency(Duration::from_millis(50));
    let filters = [Filter::new("default-for-az", ["true"])];
    // The first alone, the others together.
    let failed = join_all((0..5).map(|_| looks.subnets(&place, &filters))).await;
    assert!(failed.iter().all(|answer| answer.as_ref().unwrap_err().class == CloudErrorClass::Throttled), "{failed:?}");
    assert!(!looks.subnets(&place, &filters).await.unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_account_that_is_no_longer_configured_is_told() {
    let (_, looks, place) = world();
    let place = Place { account: "gone".into(), ..place };
    let error = looks.regions(&place).await.unwrap_err();
    assert_eq!((error.class, error.code.as_str()), (CloudErrorClass::Unauthorized, "unknown-account"));
}

#[tokio::test(start_paused = true)]
async fn what_builds_ask_once_is_asked_as_often_for_twenty_as_for_one() {
    let asked = async |builds: u128| {
        let first = TestWorld::new(PLAIN);
        let looks = SharedLooks::new(Arc::new(first.cloud.clone()));
        first.cloud.set_call_latency(Duration::from_millis(20));
        let mut worlds: Vec<TestWorld> = (1..builds).map(|n| first.sibling(100 + n, &n.to_string())).collect();
        worlds.push(first);
        for world in &mut worlds {
            world.looks = Some(looks.clone());
        }
        join_all(worlds.iter().map(|world| world.serve_once(CancellationToken::new()))).await;
        for world in &worlds {
            world.check_own_promise(1, &builds.to_string());
        }
        let kinds = ["InstanceTypes", "Subnets", "Snapshots", "Volumes", "NetworkInterfaces"];
        kinds.map(|kind| worlds[0].cloud.count_of(&format!("Describe{kind}")))
    };
    assert_eq!(asked(1).await, [1; 5]);
    let many = asked(20).await;
    // They are not in step.
    assert!(many.iter().all(|count| *count <= 8), "{many:?}");
}
