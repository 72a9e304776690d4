//! Promotions, demotions and rollbacks, many at once; and what the schema refuses whatever a server believes.

use std::sync::Arc;

use futures::future::join_all;

use super::*;
use crate::domain::error::Result;
use crate::domain::stage::{StageAction, StageOrder};
use crate::store::approved::ApprovedImages;
use crate::store::approved::index::ApprovedQuery;
use crate::store::stage_moves::MoveRequest;
use crate::store::stages::StageChange;
use crate::store::{Page, images::ImageFilter};

const AT_ONCE: usize = 50;

impl Scene {
    async fn promote(&self, ami: &str, to: &str) -> Result<StageChange> {
        self.store.promote(&StageOrder::default(), ami, to, MoveRequest::default(), &someone()).await
    }

    async fn rollback(&self, stage: &str) -> Result<StageChange> {
        self.store.rollback(&StageOrder::default(), stage, "web", MoveRequest::default(), &someone()).await
    }

    async fn images(&self, count: usize) -> Vec<String> {
        let mut amis = Vec::new();
        for number in 1..=count {
            let ami = format!("ami-{number}");
            self.built(&ami).await;
            amis.push(ami);
        }
        amis
    }

    async fn holds(&self, stage: &str) -> Option<(i64, i64)> {
        let pointers = self.store.stage_pointers(stage, Some("web"), &Page::first(1)).await.unwrap();
        let pointer = pointers.into_iter().next()?;
        let image = self.store.images_by_id(&[pointer.image_id]).await.unwrap().remove(0);
        Some((image.number, pointer.generation))
    }

    /// The history in order, checked for gaps.
    async fn history(&self, stage: &str) -> Vec<StageChange> {
        let mut history = self.store.stage_history(stage, Some("web"), &Page::first(500)).await.unwrap();
        history.sort_by_key(|change| change.generation);
        for (index, change) in history.iter().enumerate() {
            assert_eq!(change.generation, i64::try_from(index).unwrap() + 1, "no gap and nothing twice");
            let before = index.checked_sub(1).and_then(|index| history[index].image.as_ref());
            assert_eq!(change.previous_image.as_ref(), before, "each follows upon the one before");
        }
        history
    }
}

/// Runs them on tasks of their own, all at once.
async fn at_once<F>(moves: Vec<F>) -> Vec<Result<StageChange>>
where
    F: Future<Output = Result<StageChange>> + Send + 'static,
{
    let start = Arc::new(tokio::sync::Barrier::new(moves.len()));
    let tasks = moves.into_iter().map(|one| {
        let start = start.clone();
        tokio::spawn(async move {
            start.wait().await;
            one.await
        })
    });
    join_all(tasks).await.into_iter().map(|outcome| outcome.unwrap()).collect()
}

fn codes(outcomes: &[Result<StageChange>]) -> Vec<&'static str> {
    outcomes.iter().filter_map(|outcome| outcome.as_ref().err().map(|error| error.code)).collect()
}

#[tokio::test]
async fn an_image_goes_through_the_stages_and_the_others_stay() {
    let scene = Scene::new().await;
    scene.images(2).await;
    assert_eq!(scene.promote("ami-1", "staging").await.unwrap_err().code, "stage-skipped");
    let first = scene.promote("ami-1", "dev").await.unwrap();
    assert_eq!((first.action, first.generation, first.previous_image.is_none()), (StageAction::Promote, 1, true));
    assert!(first.tags_pending);
    scene.promote("ami-1", "staging").await.unwrap();
    scene.promote("ami-1", "prod").await.unwrap();
    scene.promote("ami-2", "dev").await.unwrap();
    scene.promote("ami-2", "staging").await.unwrap();
    assert_eq!(
        [scene.holds("dev").await, scene.holds("staging").await, scene.holds("prod").await],
        [Some((2, 2)), Some((2, 2)), Some((1, 1))]
    );
    assert_eq!(scene.promote("ami-2", "dev").await.unwrap_err().code, "stage-held-already");
    assert_eq!(scene.promote("ami-1", "dev").await.unwrap_err().code, "stage-backwards");
    let mut stages = scene.store.image("ami-2").await.unwrap().stages;
    stages.sort();
    assert_eq!(stages, ["dev", "staging"]);
    let held = ImageFilter { stage: Some("staging".into()), ..ImageFilter::default() };
    assert_eq!(scene.store.images(&Page::first(10), &held).await.unwrap()[0].number, 2);

    assert_eq!(scene.rollback("staging").await.unwrap().image.unwrap().number, 1);
    assert_eq!(scene.rollback("staging").await.unwrap_err().code, "rollback-impossible");
    assert_eq!(scene.rollback("nowhere").await.unwrap_err().code, "stage-unknown");
    let image = scene.store.image("ami-2").await.unwrap();
    let events = scene.store.image_events(image.id, &Page::first(10)).await.unwrap();
    let events: Vec<_> = events.iter().map(|event| event.event.as_str()).collect();
    assert_eq!(events, ["rolled_back", "promoted", "promoted", "built", "build-committed"]);

    let order = StageOrder::default();
    let demoted = scene.store.demote(&order, "ami-1", None, MoveRequest::default(), &someone()).await.unwrap();
    assert_eq!((demoted.stage.as_str(), demoted.image), ("prod", None));
    assert_eq!(scene.holds("prod").await, None);
    let elsewhere = scene.store.demote(&order, "ami-1", Some("dev"), MoveRequest::default(), &someone()).await;
    assert_eq!(elsewhere.unwrap_err().code, "stage-not-held");
}

impl Scene {
    /// A run whose image goes to these stages, with its last build claimed.
    async fn with_channels(&self, channels: &[&str]) -> ClaimedBuild {
        let channels = channels.iter().map(|stage| (*stage).to_owned()).collect();
        let run = NewRun { channels, ..self.new_run(2) };
        self.store.accept_run(&run, &someone(), None).await.unwrap();
        let first = self.claim().await;
        self.succeed(&first, &format!("ami-{}", first.facts.build)).await;
        self.claim().await
    }

    async fn events(&self, ami: &str) -> Vec<(String, serde_json::Value)> {
        let image = self.store.image(ami).await.unwrap();
        let events = self.store.image_events(image.id, &Page::first(10)).await.unwrap();
        events.into_iter().rev().map(|event| (event.event, event.data)).collect()
    }
}

#[tokio::test]
async fn an_image_goes_to_the_stages_of_its_run_in_the_moment_that_it_is_built() {
    let scene = Scene::new().await;
    let last = scene.with_channels(&["dev", "staging"]).await;
    assert_eq!(scene.holds("dev").await, None, "one of its builds is at work");
    let (entry, record) = scene.succeed(&last, "ami-1").await;
    last.journal.commit(&entry, &record).await.unwrap();
    assert_eq!(scene.holds("dev").await, Some((1, 1)), "once, though the reply was lost");
    assert_eq!(scene.holds("staging").await, Some((1, 1)));
    assert_eq!(scene.holds("prod").await, None);
    let change = scene.history("staging").await.remove(0);
    assert_eq!(change.principal, someone().principal);
    assert_eq!(change.comment.as_deref(), Some("channels of the template"));
    let events: Vec<String> = scene.events("ami-1").await.into_iter().map(|(event, _)| event).collect();
    assert_eq!(events, ["build-committed", "build-committed", "built", "promoted", "promoted"]);
    assert!(scene.promote("ami-1", "prod").await.is_ok());
}

#[tokio::test]
async fn an_image_whose_stage_has_moved_on_is_built_all_the_same() {
    let scene = Scene::new().await;
    let slow = scene.with_channels(&["dev", "staging"]).await;
    scene.built("ami-2").await;
    scene.promote("ami-2", "dev").await.unwrap();
    scene.succeed(&slow, "ami-1").await;
    assert_eq!(scene.store.image("ami-1").await.unwrap().state, crate::domain::image::ImageState::Built);
    assert_eq!(scene.holds("dev").await, Some((2, 1)), "the newer one stays");
    assert_eq!(scene.holds("staging").await, None);
    let (event, data) = scene.events("ami-1").await.pop().unwrap();
    assert_eq!(
        (event.as_str(), &data["stage"], &data["code"]),
        ("not_promoted", &json!("dev"), &json!("stage-backwards"))
    );
    assert!(data["comment"].as_str().unwrap().contains("newer"), "{data}");
}

#[tokio::test]
async fn who_retries_a_run_may_not_move_what_only_a_promoter_may() {
    for (stages, expected) in [(None, vec!["dev", "staging"]), (Some(vec!["dev".to_owned()]), vec!["dev"])] {
        let scene = Scene::new().await;
        let claimed = scene.with_channels(&["dev", "staging"]).await;
        let run = claimed.facts.run;
        let failure = Failure::user("ssh-timeout", "No answer.");
        let over = Ending::Over { state: BuildState::Failed, failure: Some(failure.clone()) };
        let unwinding = JournalEvent::Unwinding { reason: UnwindReason::Failed, failure: None };
        claimed.journal.begin_unwinding(&scene.entry(1, None, unwinding), Some(&failure)).await.unwrap();
        claimed.journal.end(&over, CleanupState::Done).await.unwrap();
        let row = scene.store.retry(run, stages.as_deref(), &someone()).await.unwrap();
        assert_eq!(row.channels, expected);
    }
}

#[tokio::test]
async fn what_is_not_built_is_not_promoted() {
    let scene = Scene::new().await;
    let run = scene.accept(1).await;
    let building = scene.promote(&run.image.id.to_string(), "dev").await.unwrap_err();
    assert_eq!(building.code, "image-not-built");
    scene.fail(&scene.claim().await).await;
    let incomplete = scene.promote(&run.image.id.to_string(), "dev").await.unwrap_err();
    assert!(incomplete.public.contains("retry its run"), "{}", incomplete.public);
    scene.built("ami-2").await;
    sqlx::query("UPDATE image_copies SET state = 'deregistered'").execute(&scene.store.pool).await.unwrap();
    assert_eq!(scene.promote("ami-2", "dev").await.unwrap_err().code, "image-not-available");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_fifty_promotions_that_saw_the_same_one_wins_and_the_others_are_told() {
    let scene = Scene::new().await;
    let amis = scene.images(AT_ONCE).await;
    let moves = amis.into_iter().map(|ami| {
        let store = scene.store.clone();
        async move {
            let request = MoveRequest { expected_generation: Some(0), ..MoveRequest::default() };
            store.promote(&StageOrder::default(), &ami, "dev", request, &someone()).await
        }
    });
    let outcomes = at_once(moves.collect()).await;
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1);
    assert_eq!(codes(&outcomes), ["stage-moved"; AT_ONCE - 1]);
    assert_eq!(scene.history("dev").await.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn fifty_promotions_that_look_for_themselves_leave_a_history_without_gaps() {
    let scene = Scene::new().await;
    let amis = scene.images(AT_ONCE).await;
    let moves = amis.into_iter().map(|ami| {
        let store = scene.store.clone();
        async move { store.promote(&StageOrder::default(), &ami, "dev", MoveRequest::default(), &someone()).await }
    });
    let outcomes = at_once(moves.collect()).await;
    let history = scene.history("dev").await;
    let won: Vec<_> = outcomes.iter().flatten().collect();
    assert!(!won.is_empty() && won.len() == history.len(), "{} won, {} in the history", won.len(), history.len());
    assert!(codes(&outcomes).iter().all(|code| ["stage-moved", "stage-backwards"].contains(code)), "{outcomes:?}");
    let last = history.last().unwrap().image.as_ref().unwrap().number;
    assert_eq!(scene.holds("dev").await, Some((last, i64::try_from(history.len()).unwrap())));
    let numbers: Vec<_> = history.iter().map(|change| change.image.as_ref().unwrap().number).collect();
    assert!(numbers.is_sorted(), "never backwards: {numbers:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn fifty_rollbacks_and_promotions_at_once_are_each_one_step() {
    let scene = Scene::new().await;
    for ami in scene.images(10).await {
        scene.promote(&ami, "dev").await.unwrap();
    }
    let rollbacks = (0..AT_ONCE).map(|_| {
        let store = scene.store.clone();
        async move {
            let request = MoveRequest { expected_generation: Some(10), ..MoveRequest::default() };
            store.rollback(&StageOrder::default(), "dev", "web", request, &someone()).await
        }
    });
    let outcomes = at_once(rollbacks.collect()).await;
    assert_eq!(outcomes.iter().flatten().map(|change| change.image.as_ref().unwrap().number).collect::<Vec<_>>(), [9]);
    assert_eq!(codes(&outcomes), ["stage-moved"; AT_ONCE - 1]);

    let mixed = (0..AT_ONCE).map(|index| {
        let store = scene.store.clone();
        async move {
            let (order, request) = (StageOrder::default(), MoveRequest::default());
            if index % 2 == 0 {
                store.rollback(&order, "dev", "web", request, &someone()).await
            } else {
                store.promote(&order, "ami-10", "dev", request, &someone()).await
            }
        }
    });
    let outcomes = at_once(mixed.collect()).await;
    let history = scene.history("dev").await;
    assert_eq!(history.len(), 11 + outcomes.iter().flatten().count());
    let holds = history.last().unwrap().image.as_ref().unwrap().number;
    assert_eq!(scene.holds("dev").await.unwrap().0, holds);
}

#[tokio::test]
async fn the_schema_refuses_what_a_server_must_not_do() {
    let scene = Scene::new().await;
    scene.images(2).await;
    scene.promote("ami-1", "dev").await.unwrap();
    let building = scene.accept(1).await.image.id;
    let image = |ami: &'static str| format!("(SELECT image_id FROM image_copies WHERE ami_id = '{ami}')");
    let history = |stage: &str, generation: i64, image: &str| {
        format!(
            "INSERT INTO stage_history (family, stage, generation, action, image_id, principal, at)
             VALUES ('web', '{stage}', {generation}, 'promote', {image}, 'mallory', now());"
        )
    };
    let pointer = |set: &str| format!("UPDATE stage_pointers SET {set} WHERE stage = 'dev'");
    let second = image("ami-2");
    let attempts = [
        ("stage_history_pkey", history("dev", 1, &second)),
        ("history of this stage says", pointer("generation = 2")),
        ("does not follow", pointer("generation = 3")),
        ("changes with its generation", pointer(&format!("image_id = {second}"))),
        ("history of this stage says", history("dev", 2, &second) + &pointer("generation = 2")),
        ("only an image that is built", {
            let building = format!("'{building}'");
            history("dev", 2, &building) + &pointer(&format!("generation = 2, image_id = {building}"))
        }),
        ("never deleted", "DELETE FROM stage_pointers".to_owned()),
        ("stage_history_image_id_family_fkey", {
            "INSERT INTO families (name) VALUES ('other');".to_owned()
                + &history("dev", 1, &second).replace("'web'", "'other'")
        }),
        ("check constraint", history("dev", 2, "NULL")),
    ];
    for (expected, sql) in attempts {
        let refused = sqlx::raw_sql(sqlx::AssertSqlSafe(sql.clone())).execute(&scene.store.pool).await;
        let refused = refused.expect_err(&sql).to_string();
        assert!(refused.contains(expected), "{sql}: {refused}");
    }
    assert_eq!(scene.holds("dev").await, Some((1, 1)));
}

fn query(stage: &str) -> ApprovedQuery {
    ApprovedQuery { stage: stage.into(), ..ApprovedQuery::default() }
}

#[tokio::test]
async fn what_is_approved_is_never_stale() {
    let scene = Scene::new().await;
    let other_server = ApprovedImages::new(scene.store.clone());
    let find = async |query: &ApprovedQuery| {
        let found = other_server.find(query, |_, _| String::new()).await.unwrap();
        found.ok().map(|found| found.copies[0].ami_id.clone())
    };
    scene.images(3).await;
    assert_eq!(find(&query("dev")).await, None);
    for ami in ["ami-1", "ami-2", "ami-3"] {
        scene.promote(ami, "dev").await.unwrap();
        assert_eq!(find(&query("dev")).await.unwrap(), ami);
    }
    let tagged = |value: &str| ApprovedQuery { tags: vec![("Release".into(), value.into())], ..query("dev") };
    assert_eq!(find(&tagged("7")).await.unwrap(), "ami-3");
    assert_eq!(find(&tagged("8")).await, None);
    scene.rollback("dev").await.unwrap();
    assert_eq!(find(&query("dev")).await.unwrap(), "ami-2");
    // An AMI that goes is not approved any more, whoever removed it.
    sqlx::query("UPDATE image_copies SET state = 'deregistered' WHERE ami_id = 'ami-2'")
        .execute(&scene.store.pool)
        .await
        .unwrap();
    assert_eq!(find(&query("dev")).await, None);
    let order = StageOrder::default();
    scene.store.demote(&order, "ami-2", None, MoveRequest::default(), &someone()).await.unwrap();
    assert_eq!(find(&query("dev")).await, None);
    assert_eq!(scene.rollback("dev").await.unwrap().image.unwrap().number, 1);
    assert_eq!(find(&query("dev")).await.unwrap(), "ami-1");
}

/// As after a restore, or when a standby took over that had not seen everything.
#[tokio::test]
async fn a_database_that_goes_back_in_time_is_read_again() {
    let scene = Scene::new().await;
    let approved = ApprovedImages::new(scene.store.clone());
    scene.images(3).await;
    for ami in ["ami-1", "ami-2"] {
        scene.promote(ami, "dev").await.unwrap();
        approved.refresh().await.unwrap();
    }
    let back = "DELETE FROM image_tag_sync; UPDATE stage_pointers SET changed = 1; UPDATE approval_clock SET value = 1";
    sqlx::raw_sql(back).execute(&scene.store.pool).await.unwrap();
    approved.refresh().await.unwrap();
    scene.promote("ami-3", "dev").await.unwrap();
    let found = approved.find(&query("dev"), |_, _| String::new()).await.unwrap().unwrap();
    assert_eq!((found.entry.image.number, found.entry.generation), (3, 3));
}

/// Readers and promotions at once: a reader that begins after a promotion was answered sees it or a later one.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn readers_see_each_promotion_that_was_answered() {
    let scene = Scene::new().await;
    let amis = scene.images(30).await;
    let approved = ApprovedImages::new(scene.store.clone());
    let answered = Arc::new(std::sync::atomic::AtomicI64::new(0));
    let over = tokio_util::sync::CancellationToken::new();
    let readers: Vec<_> = (0..8)
        .map(|_| {
            let (approved, answered, over) = (approved.clone(), answered.clone(), over.clone());
            tokio::spawn(async move {
                let mut seen = 0;
                while !over.is_cancelled() {
                    let least = answered.load(std::sync::atomic::Ordering::SeqCst);
                    let found = approved.find(&query("dev"), |_, _| String::new()).await.unwrap();
                    let number = found.map_or(0, |found| found.entry.image.number);
                    assert!(number >= least && number >= seen, "{number} after {least}, {seen}");
                    seen = number;
                }
                seen
            })
        })
        .collect();
    for (index, ami) in amis.iter().enumerate() {
        scene.promote(ami, "dev").await.unwrap();
        answered.store(i64::try_from(index).unwrap() + 1, std::sync::atomic::Ordering::SeqCst);
    }
    over.cancel();
    for reader in readers {
        reader.await.unwrap();
    }
}

#[tokio::test]
async fn tag_work_is_done_by_one_server_and_not_forgotten() {
    let scene = Scene::new().await;
    scene.images(1).await;
    scene.promote("ami-1", "dev").await.unwrap();
    let work = scene.store.claim_tag_work().await.unwrap().unwrap();
    assert_eq!((work.stages.as_slice(), work.amis[0].id.as_str()), (["dev".to_owned()].as_slice(), "ami-1"));
    assert_eq!(scene.store.claim_tag_work().await.unwrap(), None, "others keep away");
    // While the first server is at work, the image moves on.
    scene.promote("ami-1", "staging").await.unwrap();
    assert_eq!(scene.store.claim_tag_work().await.unwrap(), None);
    scene.store.finish_tag_work(&work).await.unwrap();
    let again = scene.store.claim_tag_work().await.unwrap().unwrap();
    assert_eq!(again.stages.len(), 2);
    scene.store.postpone_tag_work(&again, "EC2 said no").await.unwrap();
    let image = scene.store.image("ami-1").await.unwrap();
    assert_eq!(image.stage_tags, crate::store::images::StageTags::Pending(Some("EC2 said no".into())));
    assert_eq!(scene.store.claim_tag_work().await.unwrap(), None, "after a pause");
    scene.clock.advance(Duration::from_secs(6));
    let work = scene.store.claim_tag_work().await.unwrap().unwrap();
    scene.clock.advance(Duration::from_mins(3));
    let taken_over = scene.store.claim_tag_work().await.unwrap().unwrap();
    assert_eq!(taken_over.image, work.image, "a server that died is taken over from");
    // The slow one's word counts no longer.
    scene.store.finish_tag_work(&work).await.unwrap();
    assert_eq!(scene.store.tag_work_pending().await.unwrap(), 1);
    scene.store.finish_tag_work(&taken_over).await.unwrap();
    assert_eq!(scene.store.tag_work_pending().await.unwrap(), 0);
    assert!(!scene.store.image("ami-1").await.unwrap().stage_tags.pending());
}
