//! Commit, clean-up, what is stuck, and what the janitor is told.

use serde_json::{Value, json};

use super::*;
use crate::domain::journal::Fold;
use crate::domain::state::RunState;
use crate::store::janitor::BuildStanding;
use crate::store::run_files::manifest_text;

#[tokio::test]
async fn a_commit_writes_everything_and_forgets_the_secrets() {
    let scene = Scene::new().await;
    let run = scene.accept(1).await;
    let claimed = scene.claim().await;
    claimed.journal.store_private_key(Attempt::FIRST, "PEM").await.unwrap();
    scene.succeed(&claimed, "ami-1").await;
    let id = claimed.facts.build;
    assert_eq!(scene.count("SELECT count(*) FROM build_secrets WHERE build_id = $1", id).await, 0);
    let image = scene.store.image("ami-1").await.unwrap();
    assert_eq!((image.run_id, image.stob.os.as_deref()), (run.id, Some("Ubuntu 22.04")));
    assert_eq!(image.copies[0].snapshot_ids, ["snap-1"]);
    assert_eq!(image.tags["team"], "edge", "the last of two equal keys");
    let files = scene.store.files(run.id).await.unwrap();
    assert_eq!((files[0].name.as_str(), files[0].size_bytes), ("report.txt", 8));
    assert_eq!(scene.store.file(run.id, None, "report.txt").await.unwrap(), b"all fine");
    assert_eq!(scene.store.file(run.id, None, "other").await.unwrap_err().code, "file-not-found");

    // The server dies before it has cleaned up.
    scene.expire(id).await;
    let cleaner = scene.store.claim_expired("server-2").await.unwrap().expect("clean-up is still to do");
    assert!(cleaner.config.is_none() && cleaner.state == BuildState::Succeeded);
    cleaner.journal.finish_cleanup(CleanupState::Done, None).await.unwrap();
    assert!(scene.store.claim_expired("server-2").await.unwrap().is_none());
}

#[tokio::test]
async fn the_manifest_is_packers() {
    let scene = Scene::new().await;
    let run = scene.accept(1).await;
    assert_eq!(scene.store.manifest(run.id, None).await.unwrap(), None);
    scene.succeed(&scene.claim().await, "ami-1").await;
    let manifest = scene.store.manifest(run.id, Some("packer-manifest.json")).await.unwrap().unwrap();
    assert_eq!(scene.store.manifest(run.id, None).await.unwrap().as_ref(), Some(&manifest));
    assert_eq!(scene.store.manifest(run.id, Some("other.json")).await.unwrap(), None);
    let text = manifest_text(&manifest);
    let expected = r#"{
  "builds": [
    {
      "name": "amazon-ebs.web0",
      "builder_type": "amazon-ebs",
      "build_time": 1767355200,
      "files": null,
      "artifact_id": "us-east-1:ami-1",
      "packer_run_uuid": "00000000-0000-0000-0000-000000000000",
      "custom_data": {
        "z": "\u003ca\u0026b\u003e",
        "a": "1"
      }
    }
  ],
  "last_run_uuid": "RUN"
}"#;
    assert_eq!(text, expected.replace("RUN", &run.id.to_string()));
    assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), manifest);
}

#[tokio::test]
async fn an_interrupted_attempt_is_followed_by_the_next() {
    let scene = Scene::new().await;
    let run = scene.accept(1).await;
    for attempt in 1..=3 {
        let claimed = scene.claim().await;
        assert_eq!(claimed.facts.attempt, Attempt(attempt));
        assert_eq!(claimed.journal.control().await.unwrap().attempts_left, attempt < 3);
        let mut entry = scene.unwinding(i64::from(attempt), UnwindReason::Interrupted);
        entry.attempt = Attempt(attempt);
        claimed.journal.begin_unwinding(&entry, None).await.unwrap();
        claimed.journal.begin_unwinding(&entry, None).await.unwrap();
        claimed.journal.end(&Ending::NextAttempt, CleanupState::Done).await.unwrap();
        claimed.journal.end(&Ending::NextAttempt, CleanupState::Done).await.unwrap();
    }
    let build = &scene.store.builds_of(run.id).await.unwrap()[0];
    assert_eq!((build.state, build.attempt), (BuildState::Queued, 4));
}

#[tokio::test]
async fn a_stuck_build_waits_for_a_person() {
    let scene = Scene::new().await;
    let run = scene.accept(1).await;
    let claimed = scene.claim().await;
    let id = claimed.facts.build;
    claimed.journal.append(&[scene.started(1)]).await.unwrap();
    claimed.journal.begin_unwinding(&scene.unwinding(2, UnwindReason::Cancelled), None).await.unwrap();
    assert_eq!(scene.store.retry_stuck(id, &someone()).await.unwrap_err().code, "build-not-stuck");
    claimed.journal.end(&Ending::Stuck { reason: "launch: denied".into() }, CleanupState::None).await.unwrap();
    let row = scene.store.run(run.id).await.unwrap();
    assert_eq!((row.state, row.builds[0].stuck_reason.as_deref()), (RunState::Stuck, Some("launch: denied")));
    assert!(scene.store.claim_expired("s").await.unwrap().is_none());
    assert_eq!(scene.store.builds_over(&[id]).await.unwrap()[&id], BuildStanding::Active);

    let build = scene.store.retry_stuck(id, &someone()).await.unwrap();
    assert_eq!((build.state, build.stuck_reason), (BuildState::Unwinding, None));
    let again = scene.store.claim_expired("s").await.unwrap().expect("free for anybody");
    let journal = again.journal.load().await.unwrap();
    assert_eq!(journal.len(), 3);
    let fold = Fold::of(&journal, Attempt::FIRST);
    assert!(matches!(fold.unwinding, Some((UnwindReason::Cancelled, _))), "for the same reason as before");
}

#[tokio::test]
async fn a_stuck_cleanup_is_taken_up_again() {
    let scene = Scene::new().await;
    let run = scene.accept(1).await;
    let claimed = scene.claim().await;
    let id = claimed.facts.build;
    scene.succeed(&claimed, "ami-1").await;
    claimed.journal.finish_cleanup(CleanupState::Stuck, Some("group in use")).await.unwrap();
    assert!(scene.store.claim_expired("s").await.unwrap().is_none());
    let build = scene.store.retry_stuck(id, &someone()).await.unwrap();
    assert_eq!((build.state, build.cleanup), (BuildState::Succeeded, CleanupState::Pending));
    assert!(scene.store.claim_expired("s").await.unwrap().is_some());
    assert_eq!(scene.store.run(run.id).await.unwrap().state, RunState::Succeeded);
}

#[tokio::test]
async fn the_janitor_learns_what_is_over_and_searches_once_more() {
    let scene = Scene::new().await;
    let run = scene.accept(2).await;
    let first = scene.claim().await;
    scene.fail(&first).await;
    let second = scene.claim().await;
    let unknown = BuildId(Uuid::nil());
    let standing = scene.store.builds_over(&[first.facts.build, second.facts.build, unknown]).await.unwrap();
    assert_eq!(standing[&first.facts.build], BuildStanding::Over);
    assert_eq!(standing[&second.facts.build], BuildStanding::Active);
    assert_eq!(standing[&unknown], BuildStanding::Unknown);

    assert!(scene.store.due_searches(10).await.unwrap().is_empty());
    scene.clock.advance(Duration::from_mins(10));
    let due = scene.store.due_searches(10).await.unwrap();
    assert_eq!((due.len(), due[0].build, due[0].account.as_str()), (1, first.facts.build, "default"));
    scene.fail(&second).await;
    scene.store.retry(run.id, None, &someone()).await.unwrap();
    assert!(scene.store.due_searches(10).await.unwrap().is_empty(), "a build at work again is not searched");
    scene.store.clear_search(&due[0]).await.unwrap();
    let left = "SELECT count(search_again_at) FROM builds WHERE id = $1";
    assert_eq!(scene.count(left, first.facts.build).await, 0);
}

/// A look that began before a commit may have seen its image as temporary.
#[tokio::test]
async fn a_success_counts_as_over_some_minutes_later() {
    let scene = Scene::new().await;
    scene.accept(1).await;
    let claimed = scene.claim().await;
    scene.succeed(&claimed, "ami-1").await;
    claimed.journal.finish_cleanup(CleanupState::Done, None).await.unwrap();
    let id = claimed.facts.build;
    assert_eq!(scene.store.builds_over(&[id]).await.unwrap()[&id], BuildStanding::Active);
    scene.clock.advance(Duration::from_mins(10));
    assert_eq!(scene.store.builds_over(&[id]).await.unwrap()[&id], BuildStanding::Over);
}

#[tokio::test]
async fn steps_show_their_times() {
    let scene = Scene::new().await;
    scene.accept(1).await;
    let claimed = scene.claim().await;
    claimed.journal.append(&[scene.started(1)]).await.unwrap();
    scene.clock.advance(Duration::from_millis(1500));
    let done = scene.entry(2, Some("launch"), JournalEvent::Succeeded { output: json!({"id": "i-1"}) });
    claimed.journal.append(&[done]).await.unwrap();
    let steps = scene.store.steps(claimed.facts.build).await.unwrap();
    let launch = steps.iter().find(|step| step.name == "launch").unwrap();
    assert_eq!((launch.duration_ms, launch.output.clone()), (Some(1500), Some(json!({"id": "i-1"}))));
    assert_eq!(steps.len(), claimed.plan.steps().count());
}
