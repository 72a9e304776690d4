//! Stages as tags on AMIs, in the EC2 world in memory.

use std::sync::Arc;
use std::time::Duration;

use super::scheduler::{Installation, ada};
use crate::cloud::fake::{FakeCloud, FaultKind, sample_launch};
use crate::cloud::{Cloud as _, CloudErrorClass, ImageQuery, NewImage};
use crate::domain::ids::Attempt;
use crate::domain::image::{CommitRecord, ImageCopy, SourceImage};
use crate::domain::journal::{Journal as _, JournalEntry, JournalEvent};
use crate::domain::stage::StageOrder;
use crate::domain::tags;
use crate::engine::stage_tagger::StageTagger;
use crate::store::images::StageTags;
use crate::store::stage_moves::MoveRequest;

const REGIONS: [&str; 2] = ["us-east-1", "eu-west-1"];

struct Scene {
    installation: Installation,
    cloud: FakeCloud,
    tagger: StageTagger,
}

impl Scene {
    async fn new() -> Self {
        let installation = Installation::of(1, "2026-11-29T23:00:00Z").await;
        let cloud = FakeCloud::new();
        let tagger = StageTagger {
            store: installation.store.clone(),
            accounts: Arc::new(cloud.clone()),
            stages: Arc::new(StageOrder::default()),
            clock: installation.clock.clone(),
        };
        Self { installation, cloud, tagger }
    }

    /// An image with an AMI in each region; the id of the first.
    async fn image(&self) -> String {
        let mut copies = Vec::new();
        for region in REGIONS {
            let token = format!("t-{}", self.cloud.calls().len());
            let instance = self.cloud.run_instance(region, &sample_launch(&self.cloud, region, &token)).await.unwrap();
            let request = NewImage {
                instance_id: instance.id,
                name: format!("web-{token}"),
                description: String::new(),
                no_reboot: false,
                block_devices: Vec::new(),
                image_tags: Vec::new(),
                snapshot_tags: Vec::new(),
            };
            copies.push(ImageCopy {
                region: region.to_owned(),
                ami_id: self.cloud.create_image(region, &request).await.unwrap(),
                snapshot_ids: Vec::new(),
                platform: "linux".into(),
                architecture: "x86_64".into(),
            });
        }
        let first = copies[0].ami_id.clone();
        self.installation.run_by_hand().await;
        let store = &self.installation.store;
        let claimed = store.claim_queued("server", &std::collections::BTreeMap::new()).await.unwrap().unwrap();
        let source = SourceImage {
            ami_id: "ami-0".into(),
            name: "ubuntu".into(),
            owner_id: "1".into(),
            region: REGIONS[0].into(),
            creation_date: String::new(),
        };
        let record = CommitRecord {
            copies,
            source: Some(source),
            os: "Ubuntu 22.04".into(),
            tags: Vec::new(),
            files: Vec::new(),
            artifact_id: String::new(),
            manifest: Vec::new(),
        };
        let at = self.installation.clock_now();
        let entry = JournalEntry { seq: 1, attempt: Attempt::FIRST, step: None, event: JournalEvent::Committed, at };
        claimed.journal.commit(&entry, &record).await.unwrap();
        first
    }

    async fn promote(&self, ami: &str, to: &str) {
        let order = StageOrder::default();
        self.installation.store.promote(&order, ami, to, MoveRequest::default(), &ada()).await.unwrap();
    }

    /// What the AMIs of an image carry, by region.
    async fn tags(&self, ami: &str) -> Vec<Option<String>> {
        let image = self.installation.store.image(ami).await.unwrap();
        let mut found = Vec::new();
        for region in REGIONS {
            let id = image.copies.iter().find(|copy| copy.region == region).unwrap().ami_id.clone();
            let query = ImageQuery { owners: vec!["self".into()], ..ImageQuery::default() };
            let images = self.cloud.find_images(region, &query).await.unwrap();
            let image = images.into_iter().find(|image| image.id == id);
            found.push(image.and_then(|image| tags::value(&image.tags, tags::STAGE).map(ToOwned::to_owned)));
        }
        found
    }
}

fn both(stage: &str) -> Vec<Option<String>> {
    vec![Some(stage.to_owned()); 2]
}

#[tokio::test]
async fn amis_carry_the_highest_stage_in_every_region() {
    let scene = Scene::new().await;
    let (first, second) = (scene.image().await, scene.image().await);
    scene.promote(&first, "dev").await;
    assert_eq!(scene.tags(&first).await, [None, None], "the pointer is first");
    scene.tagger.catch_up().await.unwrap();
    assert_eq!(scene.tags(&first).await, both("dev"));
    scene.promote(&first, "staging").await;
    scene.promote(&second, "dev").await;
    scene.tagger.catch_up().await.unwrap();
    assert_eq!((scene.tags(&first).await, scene.tags(&second).await), (both("staging"), both("dev")));
    scene.promote(&second, "staging").await;
    scene.tagger.catch_up().await.unwrap();
    assert_eq!((scene.tags(&first).await, scene.tags(&second).await), (vec![None, None], both("staging")));
}

#[tokio::test]
async fn what_the_cloud_refuses_is_shown_and_tried_again() {
    let scene = Scene::new().await;
    let ami = scene.image().await;
    scene.promote(&ami, "dev").await;
    scene.cloud.fail_next("CreateTags", FaultKind::refuse(CloudErrorClass::Unauthorized, "UnauthorizedOperation"), 1);
    scene.tagger.catch_up().await.unwrap();
    let StageTags::Pending(Some(why)) = scene.installation.store.image(&ami).await.unwrap().stage_tags else {
        panic!("pending")
    };
    assert!(why.contains("UnauthorizedOperation") && why.contains("ami-"), "{why}");
    scene.installation.clock.advance(Duration::from_secs(10));
    scene.tagger.catch_up().await.unwrap();
    assert_eq!(scene.tags(&ami).await, both("dev"));
    assert_eq!(scene.installation.store.image(&ami).await.unwrap().stage_tags, StageTags::Written);
}

#[tokio::test]
async fn an_ami_that_somebody_removed_does_not_hold_the_others_up() {
    let scene = Scene::new().await;
    let ami = scene.image().await;
    scene.cloud.deregister_image(REGIONS[0], &ami).await.unwrap();
    scene.promote(&ami, "dev").await;
    scene.tagger.catch_up().await.unwrap();
    assert_eq!(scene.tags(&ami).await, [None, Some("dev".to_owned())]);
    assert_eq!(scene.installation.store.tag_work_pending().await.unwrap(), 0);
}
