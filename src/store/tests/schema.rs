//! What the schema itself refuses, and how it comes to be.

use super::*;
use crate::domain::stage::StageOrder;
use crate::store::stage_moves::MoveRequest;
use crate::store::test_support::test_sealer;

#[tokio::test]
async fn an_empty_database_is_brought_up_to_date_by_many_at_once() {
    let database = TestDatabase::empty().await;
    let store = Store::connect(&database.url(), 10, test_sealer("t", 1), Arc::new(TestClock::new())).await.unwrap();
    assert!(!store.migrations_current().await.unwrap());
    let results = futures::future::join_all((0..4).map(|_| store.migrate())).await;
    assert!(results.iter().all(Result::is_ok), "{results:?}");
    store.migrate().await.unwrap();
    assert!(store.migrations_current().await.unwrap());

    let stores: Vec<Store> =
        futures::future::join_all((0..4).map(|_| database.store(Arc::new(TestClock::new())))).await;
    let ids = futures::future::join_all(stores.iter().map(Store::deployment)).await;
    assert!(ids.iter().all(|id| *id.as_ref().unwrap() == *ids[0].as_ref().unwrap()), "one deployment id");
}

#[tokio::test]
async fn what_is_append_only_can_not_be_changed() {
    let scene = Scene::new().await;
    scene.accept(1).await;
    let claimed = scene.claim().await;
    scene.succeed(&claimed, "ami-1").await;
    let order = StageOrder::default();
    scene.store.promote(&order, "ami-1", "dev", MoveRequest::default(), &someone()).await.unwrap();
    for statement in [
        "UPDATE audit SET principal = 'mallory'",
        "DELETE FROM audit",
        "UPDATE image_events SET event = 'x'",
        "DELETE FROM image_events",
        "UPDATE step_journal SET data = '{}'",
        "DELETE FROM step_journal",
        "UPDATE template_versions SET outline = '{}'",
        "DELETE FROM template_versions",
        "UPDATE stage_history SET principal = 'mallory'",
        "DELETE FROM stage_history",
    ] {
        let refused = sqlx::query(statement).execute(&scene.store.pool).await.unwrap_err();
        assert!(refused.to_string().contains("append-only"), "{statement}: {refused}");
    }
}

#[tokio::test]
async fn states_and_their_times_belong_together() {
    let scene = Scene::new().await;
    scene.accept(1).await;
    for statement in [
        "UPDATE runs SET state = 'failed'",
        "UPDATE builds SET state = 'succeeded', cleanup = 'done'",
        "UPDATE builds SET state = 'stuck'",
        "UPDATE builds SET state = 'sleeping'",
        "UPDATE build_leases SET owner = 's'",
        "INSERT INTO deployment (id, only_one) VALUES (gen_random_uuid(), false)",
    ] {
        let refused = sqlx::query(statement).execute(&scene.store.pool).await.unwrap_err();
        assert!(refused.to_string().contains("check constraint"), "{statement}: {refused}");
    }
}
