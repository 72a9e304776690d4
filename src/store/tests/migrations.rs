//! Migrations on tables that are filled, and the server of the version before beside the new schema.

use sqlx::migrate::Migrator;

use super::*;
use crate::domain::stage::StageOrder;
use crate::store::MIGRATIONS;
use crate::store::stage_moves::MoveRequest;
use crate::store::test_support::test_sealer;

/// What a server that knows the first migration only writes for a run with one AMI. `$` stands for a digit.
const OLD_SERVER_WRITES: &str = "
    INSERT INTO images (id, family, number, state, sha, built_at, os, builder, created_at)
    VALUES ('00000000-0000-7000-8000-00000000001$', 'web', $, 'built', 'abc', now(), 'Ubuntu', 'ingot/0.1.0', now());
    INSERT INTO runs (id, template_id, template_version_id, image_id, account, trigger, state, created_by, created_at,
                      finished_at)
    VALUES ('00000000-0000-7000-8000-00000000002$', '00000000-0000-7000-8000-000000000001',
            '00000000-0000-7000-8000-000000000002', '00000000-0000-7000-8000-00000000001$', 'default', 'api', 'succeeded',
            'ada', now(), now());
    INSERT INTO builds (id, run_id, position, name, builder_type, region, plan, facts, state, cleanup, created_at,
                        finished_at)
    VALUES ('00000000-0000-7000-8000-00000000003$', '00000000-0000-7000-8000-00000000002$', 0, 'amazon-ebs.web',
            'amazon-ebs', 'us-east-1', '{}', '{}', 'succeeded', 'done', now(), now());
    INSERT INTO image_copies (image_id, build_id, account, region, ami_id, snapshot_ids, platform, arch, state, created_at)
    VALUES ('00000000-0000-7000-8000-00000000001$', '00000000-0000-7000-8000-00000000003$', 'default', 'us-east-1',
            'ami-$', '{snap-1}', 'linux', 'x86_64', 'available', now());
    INSERT INTO image_tags (image_id, key, value) VALUES ('00000000-0000-7000-8000-00000000001$', 'OS', 'Ubuntu');
    INSERT INTO tokens (id, name, role, hash, created_by, created_at)
    VALUES (gen_random_uuid(), 'token-$', 'builder', sha256('$'), 'ada', now());";

const TEMPLATE: &str = "
    INSERT INTO blobs (sha256, bytes) VALUES (sha256('x'), 'x');
    INSERT INTO templates (id, name, created_by, created_at, updated_at)
    VALUES ('00000000-0000-7000-8000-000000000001', 'web', 'ada', now(), now());
    INSERT INTO template_versions (id, template_id, version, content_hash, blob_sha256, outline, created_by, created_at)
    VALUES ('00000000-0000-7000-8000-000000000002', '00000000-0000-7000-8000-000000000001', 1, repeat('0', 64), sha256('x'),
            '{}', 'ada', now());
    INSERT INTO families (name, next_number) VALUES ('web', 10);";

async fn write(store: &Store, sql: &str) {
    sqlx::raw_sql(sqlx::AssertSqlSafe(sql.to_owned())).execute(&store.pool).await.unwrap();
}

#[tokio::test]
async fn filled_tables_are_migrated_and_the_server_before_goes_on() {
    let database = TestDatabase::empty().await;
    let store = Store::connect(&database.url(), 5, test_sealer("t", 1), Arc::new(TestClock::new())).await.unwrap();
    let first = Migrator::with_migrations(MIGRATIONS.iter().take(1).cloned().collect());
    first.run(&store.pool).await.unwrap();
    write(&store, TEMPLATE).await;
    for number in ["1", "2", "3"] {
        write(&store, &OLD_SERVER_WRITES.replace('$', number)).await;
    }
    assert!(!store.migrations_current().await.unwrap());
    store.migrate().await.unwrap();
    assert!(store.migrations_current().await.unwrap());

    let image = store.image("ami-2").await.unwrap();
    assert_eq!((image.number, image.stages.is_empty(), image.tags["OS"].as_str()), (2, true, "Ubuntu"));
    let order = StageOrder::default();
    let promote = async |ami: &str| store.promote(&order, ami, "dev", MoveRequest::default(), &someone()).await;
    assert_eq!(promote("ami-2").await.unwrap().generation, 1);
    // A server of the version before knows nothing of the new columns, and writes on.
    write(&store, &OLD_SERVER_WRITES.replace('$', "4")).await;
    assert_eq!(promote("ami-4").await.unwrap().previous_image.unwrap().number, 2);
    assert_eq!(store.tokens(&crate::store::Page::first(10)).await.unwrap().len(), 4);
}

#[tokio::test]
async fn a_server_starts_on_a_schema_that_is_newer_than_itself() {
    let scene = Scene::new().await;
    write(
        &scene.store,
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
         VALUES (9999, 'of a newer version', true, '', 0)",
    )
    .await;
    scene.store.migrate().await.unwrap();
    assert!(scene.store.migrations_current().await.unwrap());
}
