//! Secrets at rest, in the database itself.

use super::*;
use crate::store::resealing::KeyUse;
use crate::store::sealed::{KeyId, Sealed, SecretKind};
use crate::store::test_support::test_sealer;

#[tokio::test]
async fn no_secret_stands_anywhere_in_plain() {
    let scene = Scene::new().await;
    let run = scene.accept(1).await;
    let claimed = scene.claim().await;
    claimed.journal.store_private_key(Attempt::FIRST, "PEM swordfish").await.unwrap();
    let kinds: Vec<(String, Vec<u8>)> =
        sqlx::query_as("SELECT kind, ciphertext FROM build_secrets WHERE build_id = $1 ORDER BY kind")
            .bind(claimed.facts.build.0)
            .fetch_all(&scene.store.pool)
            .await
            .unwrap();
    assert_eq!(kinds.iter().map(|(kind, _)| kind.as_str()).collect::<Vec<_>>(), ["config", "key:1", "sensitive"]);
    for (kind, ciphertext) in &kinds {
        for plain in [b"swordfish".as_slice(), b"hunter2"] {
            assert!(!ciphertext.windows(plain.len()).any(|window| window == plain), "{kind}");
        }
    }
    let whole: String = sqlx::query_scalar(
        "SELECT string_agg(row_text, ' ') FROM (
             SELECT builds::text AS row_text FROM builds UNION ALL SELECT runs::text FROM runs
             UNION ALL SELECT audit::text FROM audit) AS everything",
    )
    .fetch_one(&scene.store.pool)
    .await
    .unwrap();
    assert!(whole.contains(&run.id.to_string()) && !whole.contains("swordfish") && !whole.contains("hunter2"));
}

#[tokio::test]
async fn an_attempt_has_one_private_key() {
    let scene = Scene::new().await;
    scene.accept(1).await;
    let claimed = scene.claim().await;
    assert_eq!(claimed.journal.private_key(Attempt::FIRST).await.unwrap(), None);
    claimed.journal.store_private_key(Attempt::FIRST, "one").await.unwrap();
    claimed.journal.store_private_key(Attempt::FIRST, "two").await.unwrap();
    assert_eq!(claimed.journal.private_key(Attempt::FIRST).await.unwrap().as_deref(), Some("one"));
    assert_eq!(claimed.journal.private_key(Attempt(2)).await.unwrap(), None);
}

#[tokio::test]
async fn a_secret_moved_to_another_build_does_not_open() {
    let scene = Scene::new().await;
    let run = scene.accept(2).await;
    let (one, other) = (run.builds[0].id, run.builds[1].id);
    assert!(scene.store.open_secret(one, SecretKind::Config).await.unwrap().is_some());
    let sealed = sqlx::query_as!(
        Sealed,
        "SELECT key_id, nonce, ciphertext FROM build_secrets WHERE build_id = $1 AND kind = $2",
        one.0,
        "config"
    )
    .fetch_one(&scene.store.pool)
    .await
    .unwrap();
    assert!(scene.store.sealer.open(other, SecretKind::Config, &sealed).is_err());
    let stranger = scene.database.store_with(scene.clock.clone(), test_sealer("other", 2)).await;
    let error = stranger.open_secret(one, SecretKind::Config).await.unwrap_err();
    assert!(error.for_log().contains("secret key \"test\""), "{}", error.for_log());
}

#[tokio::test]
async fn a_new_key_takes_over_what_older_ones_sealed() {
    let scene = Scene::new().await;
    let run = scene.accept(2).await;
    let build = run.builds[0].id;
    let plain = scene.store.open_secret(build, SecretKind::Config).await.unwrap().unwrap();
    let both = crate::store::Sealer::new((KeyId("new".into()), [9; 32]), vec![(KeyId("test".into()), [1; 32])]);
    let rotating = scene.database.store_with(scene.clock.clone(), both).await;
    let before = rotating.secrets_by_key().await.unwrap();
    assert_eq!(before.iter().map(|one| one.key_id.as_str()).collect::<Vec<_>>(), ["test"]);
    let all = u64::try_from(before[0].builds).unwrap();
    assert_eq!(rotating.reseal(3).await.unwrap(), 3, "in batches");
    let mut rest = 0;
    loop {
        match rotating.reseal(100).await.unwrap() {
            0 => break,
            some => rest += some,
        }
    }
    assert_eq!(rest, all - 3);
    let after = rotating.secrets_by_key().await.unwrap();
    assert_eq!(after, [KeyUse { key_id: "new".into(), ..before[0].clone() }]);
    assert_eq!(rotating.open_secret(build, SecretKind::Config).await.unwrap().unwrap().as_slice(), plain.as_slice());
    let error = scene.store.open_secret(build, SecretKind::Config).await.unwrap_err();
    assert!(error.for_log().contains("secret key \"new\""), "{}", error.for_log());
    // What it can't open is left as it is, and counted.
    let stranger = scene.database.store_with(scene.clock.clone(), test_sealer("other", 2)).await;
    assert_eq!(stranger.reseal(100).await.unwrap(), 0);
}
