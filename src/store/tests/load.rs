//! What keeps a busy server quick and right: reads that never wait behind builds, questions of many builds put together, and
//! transactions whose beginning nobody waits for any more.

use futures::future::join_all;

use super::*;
use crate::domain::ids::LeaseEpoch;
use crate::domain::journal::JournalError;
use crate::store::Page;
use crate::store::images::ImageFilter;
use crate::store::journal::PgJournal;
use crate::store::runs::RunFilter;
use crate::store::test_support::test_sealer;

#[tokio::test]
async fn who_only_reads_does_not_wait_for_the_builds() {
    let scene = Scene::new().await;
    let run = scene.accept(1).await;
    let work = Store::connect(&scene.database.url(), 1, test_sealer("test", 1), scene.clock.clone()).await.unwrap();
    let requests = work.with_own_reads(1);
    // All that there is for builds and changes is taken.
    let taken = work.begin().await.unwrap();
    assert_eq!(requests.run(run.id).await.unwrap().id, run.id);
    assert_eq!(requests.runs(&Page::first(1), &RunFilter::default()).await.unwrap().len(), 1);
    assert_eq!(requests.images(&Page::first(1), &ImageFilter::default()).await.unwrap().len(), 1);
    assert_eq!(work.pool.size(), 1);
    assert!(work.pool.try_acquire().is_none(), "a change would wait");
    taken.commit().await.unwrap();
    requests.request_cancel(run.id, &someone()).await.unwrap();
    requests.close().await;
    assert!(work.ping().await.is_err(), "both are closed");
}

#[tokio::test]
async fn each_build_gets_its_own_answer_of_what_was_asked_together() {
    let scene = Scene::new().await;
    let mut journals = Vec::new();
    for _ in 0..6 {
        scene.accept(1).await;
        journals.push(scene.claim().await.journal);
    }
    let cancelled: Vec<bool> = (0..6).map(|number| number % 3 == 0).collect();
    for (journal, _) in journals.iter().zip(&cancelled).filter(|(_, cancelled)| **cancelled) {
        scene.store.request_cancel(journal.run_id(), &someone()).await.unwrap();
    }
    let unknown = PgJournal { build: BuildId(Uuid::from_u128(7)), epoch: LeaseEpoch(1), ..journals[0].clone() };
    journals.push(unknown);
    let mut answers = join_all(journals.iter().map(Journal::control)).await;
    let error = answers.pop().unwrap().unwrap_err();
    assert!(matches!(error, JournalError::Inconsistent(_)), "{error}");
    let asked: Vec<bool> = answers.into_iter().map(|answer| answer.unwrap().cancel_requested).collect();
    assert_eq!(asked, cancelled);
}

/// Drops a future that has sent its question, most of the time before the answer.
async fn given_up(question: impl Future) {
    let mut question = std::pin::pin!(question);
    let _ = futures::poll!(&mut question);
    // A task that it has started gets its turn.
    tokio::task::yield_now().await;
}

#[tokio::test]
async fn what_is_written_after_a_transaction_that_nobody_waited_for_is_there() {
    let scene = Scene::new().await;
    let (run, other) = (scene.accept(1).await, &scene.store);
    let store = Store::connect(&scene.database.url(), 1, test_sealer("test", 1), scene.clock.clone()).await.unwrap();
    store.ping().await.unwrap();
    for label in 0..20 {
        given_up(store.begin()).await;
        sqlx::query("UPDATE runs SET labels = jsonb_build_object('n', $1::text) WHERE id = $2")
            .bind(label.to_string())
            .bind(run.id.0)
            .execute(&store.pool)
            .await
            .unwrap();
        assert_eq!(other.run(run.id).await.unwrap().labels["n"], label.to_string(), "what was answered is committed");
        given_up(store.snapshot()).await;
        sqlx::query("UPDATE runs SET labels = '{}' WHERE id = $1").bind(run.id.0).execute(&other.pool).await.unwrap();
        let seen: serde_json::Value = sqlx::query_scalar("SELECT labels FROM runs WHERE id = $1")
            .bind(run.id.0)
            .fetch_one(&store.pool)
            .await
            .unwrap();
        assert_eq!(seen, serde_json::json!({}), "it sees the present");
    }
}
