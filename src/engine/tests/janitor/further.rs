//! Launch templates, roles and instance profiles, which a role need not be allowed to look for.

use super::*;

#[tokio::test]
async fn a_role_that_may_not_look_for_further_things_sweeps_the_rest() {
    let scene = Scene::new().await;
    let build = scene.over().await;
    scene.everything(EAST, &temporary(OURS, build, 1)).await;
    let kinds = ["DescribeLaunchTemplates", "ListInstanceProfiles", "ListRoles"];
    for operation in kinds {
        let denied = FaultKind::refuse_with(CloudErrorClass::Unauthorized, "AccessDenied", "not allowed");
        scene.cloud.fail_next(operation, denied, 100);
    }
    let janitor = scene.janitor();
    let sweep = async |after: TimeDelta| {
        scene.installation.clock.advance(after.to_std().unwrap());
        janitor.catch_up().await.unwrap().expect("it is time")
    };
    let swept = sweep(TimeDelta::minutes(5)).await;
    let removed: u32 = swept.places.iter().map(|place| place.removed).sum();
    assert_eq!((removed, fault(&swept).len()), (7, 0), "{swept:?}");
    let asked = || kinds.map(|operation| scene.cloud.count_of(operation));
    let first = asked();
    assert_eq!(first[1..], [1, 1], "IAM is the same in all regions");
    sweep(TimeDelta::hours(1)).await;
    assert_eq!(asked(), first);
    sweep(TimeDelta::days(1)).await;
    assert_eq!(asked()[1..], [2, 2], "somebody may have let it");
}

#[tokio::test]
async fn without_a_way_to_iam_the_rest_is_swept_and_what_was_found_is_not_forgotten() {
    let scene = Scene::new().await;
    let role = temporary(OURS, BuildId(Uuid::from_u128(99)), 1);
    scene.instance_profile(EAST, &role).await;
    scene.sweep().await;
    assert_eq!(scene.open().await.len(), 2, "of a build that is not known");
    let build = scene.over().await;
    scene.launch(EAST, &temporary(OURS, build, 1), |_| {}).await;
    for operation in ["ListInstanceProfiles", "ListRoles"] {
        scene.cloud.fail_next(operation, FaultKind::refuse_with(CloudErrorClass::Unavailable, "", "no route"), 1);
    }
    let janitor = scene.janitor();
    let sweep = async |after: TimeDelta| {
        scene.installation.clock.advance(after.to_std().unwrap());
        janitor.catch_up().await.unwrap().expect("it is time")
    };
    let swept = sweep(TimeDelta::minutes(5)).await;
    assert_eq!(fault(&swept), Vec::<&str>::new());
    assert!(scene.cloud.count_of("TerminateInstances") > 0);
    assert_eq!(scene.open().await.len(), 2, "nobody has looked");
    scene.cloud.delete_role_policy(EAST, &scene.open().await[0].found.resource_id).await.unwrap();
    sweep(TimeDelta::hours(1)).await;
    assert_eq!(scene.cloud.count_of("ListRoles"), 3, "it is looked at again");
}
