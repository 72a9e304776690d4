//! From acceptance to the end, with cancel and retry.

use std::collections::HashSet;

use serde_json::json;

use super::*;
use crate::domain::image::ImageState;
use crate::domain::state::RunState;
use crate::store::Page;
use crate::store::audit::AuditFilter;
use crate::store::idempotency::{AnswerKey, JUST_USED};
use crate::store::run_steps::StepState;
use crate::store::runs::RunFilter;

async fn state(scene: &Scene, run: RunId) -> (RunState, ImageState) {
    let run = scene.store.run(run).await.unwrap();
    assert_eq!(run.finished_at.is_some(), run.state.is_over());
    (run.state, run.image.state)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn numbers_are_never_given_twice() {
    let scene = Scene::new().await;
    let accepts = futures::future::join_all((0..25).map(|_| scene.accept(2))).await;
    let numbers: HashSet<i64> = accepts.iter().map(|run| run.image.number).collect();
    assert_eq!(numbers, (1..=25).collect());
}

#[tokio::test]
async fn a_run_is_what_its_builds_are() {
    let scene = Scene::new().await;
    let run = scene.accept(2).await;
    assert_eq!(state(&scene, run.id).await, (RunState::Queued, ImageState::Building));
    let first = scene.claim().await;
    assert_eq!(state(&scene, run.id).await.0, RunState::Running);
    scene.succeed(&first, "ami-1").await;
    assert_eq!(state(&scene, run.id).await, (RunState::Running, ImageState::Building));
    let second = scene.claim().await;
    second.journal.begin_unwinding(&scene.unwinding(1, UnwindReason::Failed), None).await.unwrap();
    assert_eq!(state(&scene, run.id).await.0, RunState::Unwinding);
    let failure = Failure::user("ssh-timeout", "No answer.");
    let over = Ending::Over { state: BuildState::Failed, failure: Some(failure) };
    second.journal.end(&over, CleanupState::Done).await.unwrap();
    assert_eq!(state(&scene, run.id).await, (RunState::Failed, ImageState::Incomplete));
    let row = scene.store.run(run.id).await.unwrap();
    assert_eq!(row.error.unwrap()["code"], "ssh-timeout");
    assert_eq!(row.builds[0].artifacts[0].id, "ami-1");
    assert_eq!(row.builds[0].cleanup, CleanupState::Pending);
}

#[tokio::test]
async fn an_illegal_move_is_refused() {
    let scene = Scene::new().await;
    scene.accept(1).await;
    let claimed = scene.claim().await;
    let over = Ending::Over { state: BuildState::Cancelled, failure: None };
    let result = claimed.journal.end(&over, CleanupState::Done).await;
    assert!(
        matches!(result, Err(crate::domain::journal::JournalError::Inconsistent(_))),
        "a running build unwinds first"
    );
}

#[tokio::test]
async fn cancel_ends_what_waits_and_tells_what_works() {
    let scene = Scene::new().await;
    let run = scene.accept(2).await;
    let working = scene.claim().await;
    let row = scene.store.request_cancel(run.id, &someone()).await.unwrap();
    assert_eq!(row.state, RunState::Running);
    assert_eq!(row.builds.iter().filter(|build| build.state == BuildState::Cancelled).count(), 1);
    assert!(working.journal.control().await.unwrap().cancel_requested);
    assert_eq!(scene.store.request_cancel(run.id, &someone()).await.unwrap(), row, "twice is once");

    working.journal.begin_unwinding(&scene.unwinding(1, UnwindReason::Cancelled), None).await.unwrap();
    let over = Ending::Over { state: BuildState::Cancelled, failure: None };
    working.journal.end(&over, CleanupState::Done).await.unwrap();
    assert_eq!(state(&scene, run.id).await, (RunState::Cancelled, ImageState::Incomplete));
    assert_eq!(scene.store.request_cancel(run.id, &someone()).await.unwrap_err().code, "run-is-over");
    let subject = format!("run/{}", run.id);
    let deeds = scene
        .store
        .audit(&Page::first(10), &AuditFilter { subject: Some(subject), ..AuditFilter::default() })
        .await
        .unwrap();
    assert_eq!(deeds.iter().filter(|deed| deed.action == "run.cancel").count(), 1);
}

#[tokio::test]
async fn a_run_that_waits_is_cancelled_at_once() {
    let scene = Scene::new().await;
    let run = scene.accept(3).await;
    let row = scene.store.request_cancel(run.id, &someone()).await.unwrap();
    assert_eq!((row.state, row.image.state), (RunState::Cancelled, ImageState::Incomplete));
    assert!(scene.store.claim_queued("s", &BTreeMap::new()).await.unwrap().is_none());
}

#[tokio::test]
async fn a_cancel_between_undo_and_next_attempt_is_not_lost() {
    let scene = Scene::new().await;
    let run = scene.accept(1).await;
    let claimed = scene.claim().await;
    claimed.journal.begin_unwinding(&scene.unwinding(1, UnwindReason::Interrupted), None).await.unwrap();
    scene.store.request_cancel(run.id, &someone()).await.unwrap();
    claimed.journal.end(&Ending::NextAttempt, CleanupState::Done).await.unwrap();
    assert_eq!(state(&scene, run.id).await.0, RunState::Cancelled);
}

#[tokio::test]
async fn a_retry_completes_the_same_image() {
    let scene = Scene::new().await;
    let run = scene.accept(2).await;
    assert_eq!(scene.store.retry(run.id, None, &someone()).await.unwrap_err().code, "run-not-retryable");
    let first = scene.claim().await;
    scene.succeed(&first, "ami-1").await;
    let second = scene.claim().await;
    scene.fail(&second).await;

    let row = scene.store.retry(run.id, None, &someone()).await.unwrap();
    assert_eq!((row.state, row.image.state), (RunState::Running, ImageState::Building));
    let again = scene.claim().await;
    assert_eq!((again.facts.build, again.facts.attempt), (second.facts.build, Attempt(2)));
    assert_eq!(again.config.as_ref(), Some(&scene.config));
    assert!(again.journal.control().await.unwrap().attempts_left);
    let steps = scene.store.steps(again.facts.build).await.unwrap();
    let of = |attempt, name: &str| {
        steps.iter().find(|step| step.attempt == attempt && step.name == name).map(|step| step.state)
    };
    assert_eq!(of(1, "launch"), Some(StepState::Started));
    assert_eq!((of(1, "check"), of(2, "check")), (None, Some(StepState::Pending)));

    let entry = JournalEntry { seq: 3, attempt: Attempt(2), ..scene.entry(3, None, JournalEvent::Committed) };
    again.journal.commit(&entry, &commit_record("ami-2", &again)).await.unwrap();
    assert_eq!(state(&scene, run.id).await, (RunState::Succeeded, ImageState::Built));
    assert_eq!(scene.store.image("ami-2").await.unwrap().copies.len(), 2);
    assert_eq!(scene.store.retry(run.id, None, &someone()).await.unwrap_err().code, "run-not-retryable");
}

#[tokio::test]
async fn a_retry_needs_the_secrets() {
    let scene = Scene::new().await;
    let run = scene.accept(1).await;
    scene.fail(&scene.claim().await).await;
    scene.clock.advance(Duration::from_hours(25));
    assert_eq!(
        scene.store.retry(run.id, None, &someone()).await.unwrap_err().code,
        "secrets-gone",
        "due, not yet purged"
    );
    assert_eq!(scene.store.purge_secrets().await.unwrap(), 2);
    let error = scene.store.retry(run.id, None, &someone()).await.unwrap_err();
    assert_eq!(error.code, "secrets-gone");
    assert!(error.public.contains("new run"));
}

#[tokio::test]
async fn idempotency_gives_the_first_answer_for_a_day() {
    let scene = Scene::new().await;
    let render = |run: &RunRow| json!({"zeta": 1, "id": run.id, "a": 2});
    let claim = AnswerKey { key: "k", request_sha256: [1; 32], status: 201, render: &render };
    let first = scene.store.accept_run(&scene.new_run(1), &someone(), Some(&claim)).await.unwrap();
    let kept = scene.store.idempotent_answer("ada", "k").await.unwrap().unwrap();
    assert_eq!((kept.status, kept.response.to_string()), (201, render(&first).to_string()), "keys in their order");
    assert_eq!(kept.request_sha256, [1; 32]);
    let second = scene.store.accept_run(&scene.new_run(1), &someone(), Some(&claim)).await.unwrap_err();
    assert_eq!(second.code, JUST_USED);
    assert_eq!(
        scene.store.runs(&Page::first(10), &RunFilter::default()).await.unwrap().len(),
        1,
        "nothing of it stays"
    );
    assert!(scene.store.idempotent_answer("bob", "k").await.unwrap().is_none(), "keys belong to a principal");

    scene.clock.advance(Duration::from_hours(25));
    assert!(scene.store.idempotent_answer("ada", "k").await.unwrap().is_none());
    scene.store.accept_run(&scene.new_run(1), &someone(), Some(&claim)).await.unwrap();
    scene.clock.advance(Duration::from_hours(25));
    assert_eq!(scene.store.purge_idempotent_answers().await.unwrap(), 1);
}

#[tokio::test]
async fn of_two_requests_with_one_key_one_makes_a_run() {
    let scene = Scene::new().await;
    let render = |run: &RunRow| json!({"id": run.id});
    let claim = AnswerKey { key: "k", request_sha256: [1; 32], status: 201, render: &render };
    let new: Vec<_> = (0..8).map(|_| scene.new_run(1)).collect();
    let actor = someone();
    let results =
        futures::future::join_all(new.iter().map(|new| scene.store.accept_run(new, &actor, Some(&claim)))).await;
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1);
    assert!(results.iter().filter_map(|result| result.as_ref().err()).all(|error| error.code == JUST_USED));
}

#[tokio::test]
async fn runs_are_listed_by_page_and_filter() {
    let scene = Scene::new().await;
    let mut ids = Vec::new();
    for _ in 0..5 {
        ids.push(scene.accept(1).await.id);
        scene.clock.advance(Duration::from_secs(1));
    }
    ids.reverse();
    let mut seen = Vec::new();
    let mut page = Page::first(2);
    loop {
        let rows = scene.store.runs(&page, &RunFilter::default()).await.unwrap();
        let Some(last) = rows.last() else { break };
        page.before = Some((last.created_at, last.id.0));
        seen.extend(rows.iter().map(|run| run.id));
    }
    assert_eq!(seen, ids);
    let count = async |filter: RunFilter| scene.store.runs(&Page::first(10), &filter).await.unwrap().len();
    let labels = |team: &str| Some(json!({"team": team}));
    assert_eq!(
        count(RunFilter { labels: labels("core"), template: Some("web".into()), ..RunFilter::default() }).await,
        5
    );
    assert_eq!(count(RunFilter { labels: labels("edge"), ..RunFilter::default() }).await, 0);
    assert_eq!(count(RunFilter { state: Some(RunState::Running), ..RunFilter::default() }).await, 0);
    assert_eq!(scene.store.run(RunId(Uuid::nil())).await.unwrap_err().code, "run-not-found");
}
