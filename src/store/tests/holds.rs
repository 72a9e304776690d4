//! Builds that wait for a person, what is left in place, and who is served first.

use chrono::{DateTime, TimeDelta, Utc};
use secrecy::ExposeSecret as _;

use super::*;
use crate::domain::hold::{Hold, HoldReason, OnError, ResumeAction};
use crate::domain::journal::{Control, JournalError};
use crate::domain::state::RunState;
use crate::store::janitor::BuildStanding;

impl Scene {
    async fn accept_with(&self, template: &str, account: &str, priority: i32, builds: usize) -> RunRow {
        let bundle = Bundle::single("web.pkr.hcl", template.as_bytes().to_vec()).unwrap();
        let stored = self.store.put_template(template, None, None, &bundle, &json!({}), &someone()).await.unwrap();
        let version = stored.0;
        let mut new = self.new_run(builds);
        new.template_id = version.template_id;
        new.template_version_id = version.id;
        new.account = account.into();
        new.priority = priority;
        self.store.accept_run(&new, &someone(), None).await.unwrap()
    }

    async fn control(&self, claimed: &ClaimedBuild) -> Control {
        claimed.journal.control().await.unwrap()
    }

    /// The build holds because its first step failed.
    async fn hold(&self, claimed: &ClaimedBuild) -> Hold {
        let failed = JournalEvent::Failed { failure: Failure::ours("x", "it broke"), effect_unknown: false };
        claimed.journal.append(&[self.started(1), self.entry(2, Some("launch"), failed)]).await.unwrap();
        let now = self.control(claimed).await.now;
        let until = now + TimeDelta::hours(1);
        let hold = Hold {
            seq: 3,
            step: "launch".into(),
            reason: HoldReason::Failure,
            note: None,
            since: now,
            until,
            failure: Some(Failure::ours("x", "it broke")),
            machine: None,
        };
        let entry = self.entry(3, Some("launch"), JournalEvent::Held { reason: HoldReason::Failure, until });
        claimed.journal.hold(&entry, &hold).await.unwrap();
        claimed.journal.hold(&entry, &hold).await.expect("a repetition is fine");
        hold
    }

    fn resumed(&self, seq: i64, action: ResumeAction) -> JournalEntry {
        self.entry(seq, Some("launch"), JournalEvent::Resumed { action, by: "ann".into() })
    }
}

fn abandoned(until: DateTime<Utc>) -> Ending {
    let failure = Some(Failure::ours("x", "it broke"));
    let hold = Box::new(Hold {
        seq: 0,
        step: "launch".into(),
        reason: HoldReason::Abort,
        note: None,
        since: until,
        until,
        failure: failure.clone(),
        machine: None,
    });
    Ending::Abandoned { failure, until, hold }
}

#[tokio::test]
async fn a_hold_is_shown_answered_once_and_taken_away() {
    let scene = Scene::new().await;
    scene.accept(1).await;
    let claimed = scene.claim().await;
    let id = claimed.facts.build;
    let (store, someone) = (&scene.store, someone());
    let refused = store.resume_build(id, ResumeAction::Retry, None, &someone).await.unwrap_err();
    assert_eq!(refused.code, "build-not-held");
    assert_eq!(store.take_ssh_key(id, &someone).await.unwrap_err().code, "build-not-held");

    claimed.journal.store_private_key(Attempt::FIRST, "PEM").await.unwrap();
    let hold = scene.hold(&claimed).await;
    let shown = store.build(id).await.unwrap();
    assert_eq!((shown.state, shown.hold.as_ref()), (BuildState::Running, Some(&hold)));
    assert_eq!(store.take_ssh_key(id, &someone).await.unwrap().expose_secret(), "PEM");

    let other = store.resume_build(id, ResumeAction::Retry, Some(hold.seq + 1), &someone).await.unwrap_err();
    assert_eq!(other.code, "build-not-held", "an answer to another hold");
    let no = store.resume_build(id, ResumeAction::Continue, None, &someone).await.unwrap_err();
    assert_eq!(no.code, "action-not-possible");
    store.resume_build(id, ResumeAction::Retry, None, &someone).await.unwrap();
    store.resume_build(id, ResumeAction::Retry, None, &someone).await.expect("the same answer twice is one");
    let other = store.resume_build(id, ResumeAction::Cleanup, None, &someone).await.unwrap_err();
    assert_eq!(other.code, "build-already-answered");
    let control = scene.control(&claimed).await;
    let resume = control.resume.unwrap();
    assert_eq!((resume.seq, resume.action, resume.by), (3, ResumeAction::Retry, someone.principal.clone()));

    // The owner repeats its write, because the reply to it was lost: the answer stays.
    let again = scene.entry(3, Some("launch"), JournalEvent::Held { reason: HoldReason::Failure, until: hold.until });
    claimed.journal.hold(&again, &hold).await.unwrap();
    assert!(scene.control(&claimed).await.resume.is_some());

    let entry = scene.resumed(4, ResumeAction::Retry);
    claimed.journal.resume(&entry).await.unwrap();
    claimed.journal.resume(&entry).await.expect("a repetition is fine");
    assert_eq!(store.build(id).await.unwrap().hold, None);
    let stale = scene.entry(5, Some("launch"), JournalEvent::Held { reason: HoldReason::Debug, until: hold.until });
    scene.expire(id).await;
    store.claim_expired("server-2").await.unwrap().expect("free");
    assert!(matches!(claimed.journal.hold(&stale, &hold).await, Err(JournalError::LeaseLost)), "it is fenced");
}

#[tokio::test]
async fn the_time_of_a_hold_is_added_to_the_deadline() {
    let scene = Scene::new().await;
    let mut new = scene.new_run(1);
    new.timeout = Some(Duration::from_mins(30));
    scene.store.accept_run(&new, &someone(), None).await.unwrap();
    let claimed = scene.claim().await;
    let before = scene.control(&claimed).await.deadline.unwrap();
    scene.hold(&claimed).await;
    // As if it had begun two hours ago.
    sqlx::query(
        "UPDATE builds SET hold = jsonb_set(hold, '{since}', to_jsonb(now() - interval '2 hours')) WHERE id = $1",
    )
    .bind(claimed.facts.build.0)
    .execute(&scene.store.pool)
    .await
    .unwrap();
    claimed.journal.resume(&scene.resumed(4, ResumeAction::Retry)).await.unwrap();
    let moved = scene.control(&claimed).await.deadline.unwrap() - before;
    assert!(moved >= TimeDelta::hours(2) && moved < TimeDelta::minutes(121), "{moved}");
}

#[tokio::test]
async fn what_is_left_in_place_is_removed_after_its_time_or_on_request() {
    let scene = Scene::new().await;
    for asked in [false, true] {
        let mut new = scene.new_run(1);
        new.options.on_error = OnError::Abort;
        let run = scene.store.accept_run(&new, &someone(), None).await.unwrap();
        let claimed = scene.claim().await;
        let id = claimed.facts.build;
        assert_eq!(scene.control(&claimed).await.options.on_error, OnError::Abort);
        let until = scene.control(&claimed).await.now + TimeDelta::hours(1);
        let ending = abandoned(until);
        claimed.journal.end(&ending, CleanupState::Kept).await.unwrap();
        claimed.journal.end(&ending, CleanupState::Kept).await.expect("a repetition is fine");
        let row = scene.store.run(run.id).await.unwrap();
        assert_eq!((row.state, row.builds[0].cleanup), (RunState::Failed, CleanupState::Kept));
        assert!(row.builds[0].kept_until.is_some());
        assert_eq!(row.builds[0].hold.as_ref().unwrap().reason, HoldReason::Abort);
        let standing = scene.store.builds_over(&[id]).await.unwrap();
        assert_eq!(standing[&id], BuildStanding::Active, "the janitor leaves it alone");
        assert_eq!(scene.store.retry(run.id, None, &someone()).await.unwrap_err().code, "build-left-in-place");
        assert!(scene.store.claim_expired("server-2").await.unwrap().is_none(), "its time is not over");

        if asked {
            let late = scene.store.resume_build(id, ResumeAction::Cleanup, Some(3), &someone()).await.unwrap_err();
            assert_eq!(late.code, "build-not-held", "it was for a hold before");
            let no = scene.store.resume_build(id, ResumeAction::Retry, None, &someone()).await.unwrap_err();
            assert_eq!(no.code, "action-not-possible");
            scene.store.resume_build(id, ResumeAction::Cleanup, None, &someone()).await.unwrap();
        } else {
            sqlx::query("UPDATE builds SET kept_until = now() - interval '1 second' WHERE id = $1")
                .bind(id.0)
                .execute(&scene.store.pool)
                .await
                .unwrap();
        }
        let cleaner = scene.store.claim_expired("server-2").await.unwrap().expect("somebody removes it");
        assert!(cleaner.config.is_some(), "the undo has the configuration");
        assert!(scene.control(&cleaner).await.abandoned);
        cleaner.journal.finish_cleanup(CleanupState::Done, None).await.unwrap();
        let standing = scene.store.builds_over(&[id]).await.unwrap();
        assert_eq!(standing[&id], BuildStanding::Over);
        scene.store.retry(run.id, None, &someone()).await.expect("nothing is in the way of a retry");
        scene.store.request_cancel(run.id, &someone()).await.unwrap();
    }
}

#[tokio::test]
async fn a_removal_that_is_stuck_can_be_tried_again() {
    let scene = Scene::new().await;
    scene.accept(1).await;
    let claimed = scene.claim().await;
    let id = claimed.facts.build;
    let ending = abandoned(scene.control(&claimed).await.now);
    claimed.journal.end(&ending, CleanupState::Kept).await.unwrap();
    let cleaner = scene.store.claim_expired("server-2").await.unwrap().expect("its time is over");
    cleaner.journal.finish_cleanup(CleanupState::Stuck, Some("no right to")).await.unwrap();
    assert!(scene.store.claim_expired("server-2").await.unwrap().is_none());
    scene.store.retry_stuck(id, &someone()).await.unwrap();
    let again = scene.store.claim_expired("server-2").await.unwrap().expect("tried again");
    assert!(scene.control(&again).await.abandoned);
}

/// The accounts or templates in the order in which they are served.
async fn served(scene: &Scene, number: usize) -> Vec<RunId> {
    let mut order = Vec::new();
    for _ in 0..number {
        order.push(scene.claim().await.facts.run);
    }
    order
}

#[tokio::test]
async fn a_higher_priority_is_served_first() {
    let scene = Scene::new().await;
    let usual = scene.accept_with("a", "default", 0, 2).await.id;
    let urgent = scene.accept_with("b", "default", 50, 2).await.id;
    let later = scene.accept_with("c", "default", -1, 1).await.id;
    assert_eq!(served(&scene, 5).await, [urgent, urgent, usual, usual, later]);
}

#[tokio::test]
async fn neither_a_busy_account_nor_a_busy_template_holds_up_the_others() {
    let scene = Scene::new().await;
    let mut flood = Vec::new();
    for _ in 0..6 {
        flood.push(scene.accept_with("flood", "default", 0, 1).await.id);
        scene.clock.advance(Duration::from_secs(1));
    }
    let other_template = scene.accept_with("quiet", "default", 0, 1).await.id;
    let other_account = scene.accept_with("flood", "second", 0, 1).await.id;
    let order = served(&scene, 8).await;
    let place = |run: RunId| order.iter().position(|served| *served == run).unwrap();
    assert_eq!(place(flood[0]), 0);
    assert_eq!(place(other_account), 1, "the account with nothing at work comes next");
    assert!(place(other_template) <= 3, "then the template with nothing at work: {order:?}");
    assert!(flood.windows(2).all(|pair| place(pair[0]) < place(pair[1])), "of one template, the oldest first");
}

#[tokio::test]
async fn a_run_has_no_more_builds_at_work_than_it_wants() {
    let scene = Scene::new().await;
    let mut new = scene.new_run(3);
    new.options.parallel_builds = Some(2);
    let narrow = scene.store.accept_run(&new, &someone(), None).await.unwrap().id;
    assert_eq!(served(&scene, 2).await, [narrow, narrow]);
    assert!(scene.store.claim_queued("server-1", &BTreeMap::new()).await.unwrap().is_none(), "two are at work");
    let other = scene.accept_with("other", "default", -5, 1).await.id;
    assert_eq!(served(&scene, 1).await, [other], "it holds up nobody");
}
