//! Two owners of one build: what the old one may still write, and what the new one sees.

use serde_json::json;

use super::*;
use crate::domain::error::ErrorKind;
use crate::domain::journal::{JournalError, LogLine, LogStream};

fn line(seq: i64, text: &str, scene: &Scene) -> LogLine {
    LogLine { seq, at: scene.clock.now(), step: None, stream: LogStream::Stdout, text: text.into() }
}

#[tokio::test]
async fn a_stale_epoch_writes_nothing() {
    let scene = Scene::new().await;
    scene.accept(1).await;
    let old = scene.claim().await;
    let id = old.facts.build;
    scene.expire(id).await;
    let new = scene.store.claim_expired("server-2").await.unwrap().expect("the lease has run out");
    assert_eq!(new.journal.epoch().0, old.journal.epoch().0 + 1);

    let lost = |result: Result<(), JournalError>| assert!(matches!(result, Err(JournalError::LeaseLost)), "{result:?}");
    lost(old.journal.append(&[scene.started(1)]).await);
    lost(old.journal.append_log(&[line(1, "x", &scene)]).await);
    lost(old.journal.store_private_key(Attempt::FIRST, "key").await);
    lost(old.journal.store_file(&RunFile { name: "f".into(), bytes: vec![1] }).await);
    lost(old.journal.begin_unwinding(&scene.unwinding(1, UnwindReason::Failed), None).await);
    let committed = scene.entry(1, None, JournalEvent::Committed);
    lost(old.journal.commit(&committed, &commit_record("ami-1", &old)).await);
    lost(old.journal.end(&Ending::Stuck { reason: "x".into() }, CleanupState::None).await);
    lost(old.journal.release().await);
    assert!(!old.journal.heartbeat().await.unwrap());
    assert!(new.journal.heartbeat().await.unwrap());

    for table in [
        "SELECT count(*) FROM step_journal WHERE build_id = $1",
        "SELECT count(*) FROM build_log WHERE build_id = $1",
        "SELECT count(*) FROM run_files WHERE build_id = $1",
        "SELECT count(*) FROM image_copies WHERE build_id = $1",
        "SELECT count(*) FROM build_secrets WHERE build_id = $1 AND kind LIKE 'key:%'",
    ] {
        assert_eq!(scene.count(table, id).await, 0, "{table}");
    }
    assert_eq!(scene.store.build(id).await.unwrap().state, BuildState::Running);
}

/// The old owner's line is written but not committed when a new owner comes: without the row lock the new owner would read
/// the journal without it.
#[tokio::test]
async fn a_claim_waits_for_a_write_under_way_and_sees_it() {
    let scene = Scene::new().await;
    scene.accept(1).await;
    let old = scene.claim().await;
    let id = old.facts.build;
    scene.expire(id).await;

    let mut tx = scene.store.pool.begin().await.unwrap();
    assert_eq!(old.journal.insert_entries(&mut tx, &[scene.started(1)]).await.unwrap(), 1);
    let skipped = scene.store.claim_expired("server-2").await.unwrap();
    assert!(skipped.is_none(), "the claim passes over a lease that is being written under");
    tx.commit().await.unwrap();

    let new = scene.store.claim_expired("server-2").await.unwrap().expect("free now");
    assert_eq!(new.journal.load().await.unwrap(), vec![scene.started(1)]);
}

#[tokio::test]
async fn a_write_behind_a_claim_under_way_touches_nothing() {
    let scene = Scene::new().await;
    scene.accept(1).await;
    let old = scene.claim().await;
    let id = old.facts.build;

    let mut claim = scene.store.pool.begin().await.unwrap();
    sqlx::query("UPDATE build_leases SET epoch = epoch + 1, owner = 'server-2' WHERE build_id = $1")
        .bind(id.0)
        .execute(&mut *claim)
        .await
        .unwrap();
    let journal = old.journal.clone();
    let entry = scene.started(1);
    let write = tokio::spawn(async move { journal.append(&[entry]).await });
    until_blocked(&scene.store).await;
    claim.commit().await.unwrap();

    assert!(matches!(write.await.unwrap(), Err(JournalError::LeaseLost)));
    assert_eq!(scene.count("SELECT count(*) FROM step_journal WHERE build_id = $1", id).await, 0);
}

#[tokio::test]
async fn a_repeated_write_is_success_and_a_different_one_is_not() {
    let scene = Scene::new().await;
    scene.accept(1).await;
    let claimed = scene.claim().await;
    let journal = &claimed.journal;
    let failed = JournalEvent::Failed { failure: Failure::ours("x", "nul \0 in it"), effect_unknown: false };
    let entries = [scene.started(1), scene.entry(2, Some("launch"), failed)];
    journal.append(&entries[..1]).await.unwrap();
    journal.append(&entries).await.unwrap();
    journal.append(&entries).await.unwrap();
    assert_eq!(journal.load().await.unwrap().len(), 2);
    let other = scene.entry(2, Some("launch"), JournalEvent::Succeeded { output: json!({}) });
    assert!(matches!(journal.append(&[other]).await, Err(JournalError::Inconsistent(_))));

    let lines = [line(1, "one", &scene), line(2, "two \0", &scene)];
    journal.append_log(&lines).await.unwrap();
    journal.append_log(&lines).await.unwrap();
    assert!(matches!(journal.append_log(&[line(2, "three", &scene)]).await, Err(JournalError::Inconsistent(_))));
    assert_eq!(journal.last_log_seq().await.unwrap(), 2);
    let log = scene.store.log(claimed.facts.build, 1, 10).await.unwrap();
    assert_eq!(log.iter().map(|line| line.text.as_str()).collect::<Vec<_>>(), ["two \u{fffd}"]);
}

#[tokio::test]
async fn a_move_can_be_repeated_when_its_reply_was_lost() {
    let scene = Scene::new().await;
    scene.accept(2).await;
    let claimed = scene.claim().await;
    let (entry, record) = scene.succeed(&claimed, "ami-1").await;
    claimed.journal.commit(&entry, &record).await.unwrap();
    claimed.journal.finish_cleanup(CleanupState::Done, None).await.unwrap();
    claimed.journal.finish_cleanup(CleanupState::Done, None).await.unwrap();
    claimed.journal.commit(&entry, &record).await.unwrap();
    assert_eq!(scene.count("SELECT count(*) FROM image_copies WHERE build_id = $1", claimed.facts.build).await, 1);
    assert_eq!(scene.count("SELECT count(*) FROM manifest_entries WHERE build_id = $1", claimed.facts.build).await, 1);

    let second = scene.claim().await;
    scene.fail(&second).await;
    let failure = Some(Failure::user("ssh-timeout", "No answer."));
    let over = Ending::Over { state: BuildState::Failed, failure };
    second.journal.end(&over, CleanupState::Done).await.unwrap();
    let other = second.journal.end(&Ending::NextAttempt, CleanupState::None).await;
    assert!(matches!(other, Err(JournalError::LeaseLost)), "{other:?}");
}

#[tokio::test]
async fn a_build_commits_once() {
    let scene = Scene::new().await;
    scene.accept(1).await;
    let claimed = scene.claim().await;
    let (_, record) = scene.succeed(&claimed, "ami-1").await;
    let again = scene.entry(2, None, JournalEvent::Committed);
    assert!(matches!(claimed.journal.commit(&again, &record).await, Err(JournalError::Inconsistent(_))));
    let alone = claimed.journal.append(&[again]).await;
    assert!(matches!(alone, Err(JournalError::Inconsistent(_))), "{alone:?}");
}

#[tokio::test]
async fn an_absent_database_is_unavailable_and_not_a_lost_lease() {
    let scene = Scene::new().await;
    scene.accept(1).await;
    let claimed = scene.claim().await;
    scene.store.close().await;
    assert!(matches!(claimed.journal.append(&[scene.started(1)]).await, Err(JournalError::Unavailable(_))));
    assert_eq!(scene.store.ping().await.unwrap_err().kind, ErrorKind::Unavailable);
}
