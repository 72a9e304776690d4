//! The janitor's promises, on a real database and the EC2 world in memory.

mod further;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use futures::future::join_all;
use uuid::Uuid;

use super::scheduler::{Installation, ada};
use crate::cloud::fake::{FakeCloud, FakeTimings, FaultKind, Latency, Phase, Then, sample_launch};
use crate::cloud::{
    Accounts as _, Cloud as _, CloudErrorClass, Filter, Identities as _, NewImage, NewInstance, NewLaunchTemplate,
    NewRole, NewSecurityGroup, Spot as _, Tags,
};
use crate::domain::failure::Failure;
use crate::domain::ids::{Attempt, BuildId, DeploymentId};
use crate::domain::janitor::{FindingAction, FindingKind, SweepSettings, SweepState, Why};
use crate::domain::journal::{Ending, Journal as _, JournalEntry, JournalEvent, UnwindReason};
use crate::domain::state::{BuildState, CleanupState};
use crate::domain::tags::Ownership;
use crate::engine::janitor::{Further, Janitor};
use crate::store::Page;
use crate::store::janitor_findings::{FindingFilter, FindingRow};
use crate::store::janitor_sweeps::{SweepRequest, SweepRow};
use crate::store::leases::ClaimedBuild;

const EAST: &str = "us-east-1";
const WEST: &str = "eu-west-1";
const NOW: &str = "2026-11-29T23:00:00Z";
const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILYdMe8KW0rXnv380NdYYELFVonH++/e7qChT/Rh/+kk ingot";
const POLICY: &str = r#"{"Version": "2012-10-17", "Statement": []}"#;
const OURS: DeploymentId = DeploymentId(Uuid::from_u128(3));
const CHANGES: [&str; 10] = [
    "TerminateInstances",
    "DeregisterImage",
    "DeleteSnapshot",
    "DeleteVolume",
    "DeleteNetworkInterface",
    "DeleteSecurityGroup",
    "DeleteKeyPair",
    "DeleteLaunchTemplate",
    "DeleteInstanceProfile",
    "DeleteRole",
];

struct Scene {
    installation: Installation,
    cloud: FakeCloud,
}

impl Scene {
    async fn new() -> Self {
        let scene = Self { installation: Installation::of(1, NOW).await, cloud: FakeCloud::new() };
        scene.at_age(TimeDelta::zero());
        scene
    }

    fn janitor_with(&self, settings: SweepSettings) -> Janitor {
        Janitor {
            store: self.installation.store.clone(),
            accounts: Arc::new(self.cloud.clone()),
            clock: self.installation.clock.clone(),
            deployment: OURS,
            server: "server".into(),
            settings,
            further: Further::default(),
        }
    }

    fn janitor(&self) -> Janitor {
        self.janitor_with(SweepSettings::default())
    }

    /// A sweep of everything, for which it is time.
    async fn sweep_with(&self, settings: SweepSettings) -> SweepRow {
        self.installation.clock.advance(settings.interval);
        self.janitor_with(settings).catch_up().await.unwrap().expect("it is time")
    }

    async fn sweep(&self) -> SweepRow {
        self.sweep_with(SweepSettings::default()).await
    }

    async fn asked(&self, request: SweepRequest) -> SweepRow {
        let asked = self.installation.store.ask_sweep(&request, &ada()).await.unwrap();
        let swept = self.janitor().catch_up().await.unwrap().expect("somebody asked");
        assert_eq!((swept.id, swept.state), (asked.id, SweepState::Done));
        swept
    }

    /// What is made from now on is so old.
    fn at_age(&self, age: TimeDelta) {
        self.cloud.set_now(self.installation.clock_now() - age);
    }

    fn entry(&self, seq: i64, event: JournalEvent) -> JournalEntry {
        JournalEntry { seq, attempt: Attempt::FIRST, step: None, event, at: self.installation.clock_now() }
    }

    /// A build at work.
    async fn active(&self) -> ClaimedBuild {
        self.installation.run_by_hand().await;
        self.installation.store.claim_queued("server", &BTreeMap::new()).await.unwrap().unwrap()
    }

    /// A build that has failed.
    async fn over(&self) -> BuildId {
        let claimed = self.active().await;
        let failure = Failure::user("ssh-timeout", "No answer.");
        let unwinding = JournalEvent::Unwinding { reason: UnwindReason::Failed, failure: None };
        claimed.journal.begin_unwinding(&self.entry(1, unwinding), Some(&failure)).await.unwrap();
        let over = Ending::Over { state: BuildState::Failed, failure: Some(failure) };
        claimed.journal.end(&over, CleanupState::Done).await.unwrap();
        claimed.facts.build
    }

    async fn launch(&self, region: &str, tags: &Tags, with: impl FnOnce(&mut NewInstance)) -> String {
        let token = Uuid::new_v4().to_string();
        let mut request = sample_launch(&self.cloud, region, &token);
        request.machine.instance_tags.clone_from(tags);
        request.machine.volume_tags.clone_from(tags);
        request.machine.interface_tags.clone_from(tags);
        with(&mut request);
        self.cloud.run_instance(region, &request).await.unwrap().id
    }

    /// One of each kind with these tags: instance, volume, interface, group, key pair, image, snapshot, launch template, role
    /// and instance profile.
    async fn everything(&self, region: &str, tags: &Tags) {
        let suffix = Uuid::new_v4();
        let group = self.group(region, &format!("group-{suffix}"), tags).await;
        let key = format!("key-{suffix}");
        self.cloud.import_key_pair(region, &key, KEY, tags).await.unwrap();
        let with = |request: &mut NewInstance| {
            request.machine.key_name = Some(key);
            request.machine.security_group_ids = vec![group];
        };
        let instance = self.launch(region, tags, with).await;
        self.image(region, &instance, tags).await;
        self.launch_template(region, tags).await;
        self.instance_profile(region, tags).await;
    }

    async fn launch_template(&self, region: &str, tags: &Tags) {
        let request = NewLaunchTemplate {
            client_token: Uuid::new_v4().to_string(),
            name: format!("template-{}", Uuid::new_v4()),
            machine: sample_launch(&self.cloud, region, "").machine,
            template_tags: tags.clone(),
            spot_request_tags: Tags::new(),
        };
        self.cloud.create_launch_template(region, &request).await.unwrap();
    }

    /// With a role in it.
    async fn instance_profile(&self, region: &str, tags: &Tags) {
        let name = format!("ingot-{}", Uuid::new_v4());
        let role = NewRole { name: name.clone(), trust_policy: POLICY.into(), tags: tags.clone() };
        self.cloud.create_role(region, &role).await.unwrap();
        self.cloud.put_role_policy(region, &name, POLICY).await.unwrap();
        self.cloud.create_instance_profile(region, &name, tags).await.unwrap();
        self.cloud.add_role_to_instance_profile(region, &name, &name).await.unwrap();
    }

    async fn image(&self, region: &str, instance: &str, tags: &Tags) {
        // A look lets the instance come up.
        self.cloud.find_instances(region, &[]).await.unwrap();
        let request = NewImage {
            instance_id: instance.to_owned(),
            name: format!("web-{}", Uuid::new_v4()),
            description: String::new(),
            no_reboot: false,
            block_devices: Vec::new(),
            image_tags: tags.clone(),
            snapshot_tags: tags.clone(),
        };
        self.cloud.create_image(region, &request).await.unwrap();
    }

    async fn group(&self, region: &str, name: &str, tags: &Tags) -> String {
        let request = NewSecurityGroup {
            name: name.to_owned(),
            description: "temporary".into(),
            vpc_id: None,
            tags: tags.clone(),
        };
        self.cloud.create_security_group(region, &request).await.unwrap()
    }

    async fn findings(&self, filter: FindingFilter) -> Vec<FindingRow> {
        self.installation.store.findings(&Page::first(100), &filter).await.unwrap()
    }

    async fn open(&self) -> Vec<FindingRow> {
        self.findings(FindingFilter { gone: Some(false), ..FindingFilter::default() }).await
    }

    /// Why and what, of all that is open.
    async fn open_kinds(&self) -> Vec<(Why, FindingKind, FindingAction)> {
        let mut kinds: Vec<_> =
            self.open().await.iter().map(|row| (row.found.why, row.found.kind, row.found.action)).collect();
        kinds.sort_by_key(|(why, kind, _)| (why.as_str(), *kind as u8));
        kinds
    }

    fn changes(&self) -> usize {
        CHANGES.iter().map(|operation| self.cloud.count_of(operation)).sum()
    }
}

fn temporary(deployment: DeploymentId, build: BuildId, attempt: i32) -> Tags {
    Ownership { deployment, build, attempt: Attempt(attempt) }.temporary_tags()
}

fn named_by_packer() -> Tags {
    vec![("Name".into(), "Packer Builder".into())]
}

fn removing() -> SweepSettings {
    SweepSettings { remove_packer_leftovers: true, ..SweepSettings::default() }
}

/// A name as Packer makes it, at an instant.
fn packer_name(at: DateTime<Utc>) -> String {
    format!("packer_{:08x}-1b93-a3e7-53a7-1df45d34176e", at.timestamp())
}

fn fault(place: &SweepRow) -> Vec<&str> {
    place.places.iter().filter_map(|place| place.error.as_deref()).collect()
}

#[tokio::test]
async fn all_that_a_build_left_behind_goes_in_every_region_and_account() {
    let mut scene = Scene::new().await;
    scene.cloud = scene.cloud.with_account("prod", "210987654321");
    let build = scene.over().await;
    let tags = temporary(OURS, build, 1);
    scene.everything(EAST, &tags).await;
    scene.everything(WEST, &tags).await;
    let prod = Scene { cloud: scene.cloud.on_account("prod"), installation: scene.installation };
    prod.everything(EAST, &tags).await;
    let swept = prod.sweep().await;
    assert_eq!(prod.cloud.leftovers(), Vec::<String>::new());
    assert_eq!((swept.places.len(), fault(&swept).len()), (8, 0), "{swept:?}");
    assert_eq!(swept.places.iter().map(|place| place.removed).sum::<u32>(), 3 * 10);
    let found = prod.findings(FindingFilter::default()).await;
    assert!(found.iter().all(|row| row.found.action == FindingAction::Removed && row.gone_at.is_some()));
    assert!(found.iter().all(|row| row.found.build == Some(build) && row.found.why == Why::LeftBehind));
    let cost: Vec<_> = found.iter().filter(|row| row.found.kind == FindingKind::Instance).collect();
    assert!(cost.iter().all(|row| row.found.usd_per_hour.is_some_and(|usd| usd > 0.01)), "{cost:?}");
}

#[tokio::test]
async fn an_artifact_is_never_removed() {
    let scene = Scene::new().await;
    let build = scene.over().await;
    let owner = Ownership { deployment: OURS, build, attempt: Attempt::FIRST };
    let instance = scene.launch(EAST, &owner.temporary_tags(), |_| {}).await;
    // The tag was taken off at the commit.
    scene.image(EAST, &instance, &owner.tags()).await;
    let artifacts = |found: Vec<String>| -> Vec<String> {
        found.into_iter().filter(|line| line.contains(" image ") || line.contains(" snapshot ")).collect()
    };
    let before = artifacts(scene.cloud.leftovers());
    assert_eq!(before.len(), 2);
    scene.sweep_with(removing()).await;
    assert_eq!(scene.cloud.leftovers(), before, "the instance went, and nothing else");
    assert_eq!((scene.cloud.count_of("DeregisterImage"), scene.cloud.count_of("DeleteSnapshot")), (0, 0));
}

/// The janitor looks, the build commits, and only then does the janitor come to remove.
#[tokio::test]
async fn what_is_committed_while_the_janitor_looks_is_not_removed() {
    let scene = Scene::new().await;
    let build = scene.over().await;
    let owner = Ownership { deployment: OURS, build, attempt: Attempt::FIRST };
    let instance = scene.launch(EAST, &owner.temporary_tags(), |_| {}).await;
    scene.image(EAST, &instance, &owner.temporary_tags()).await;
    // The instance goes first, when all has been looked at; that is the moment of the commit.
    let cloud = scene.cloud.clone();
    scene.cloud.on_call(move |call| {
        if call.operation == "TerminateInstances" && call.phase == Phase::Before {
            cloud.untag_artifacts("ingot:temporary");
        }
        Then::Go
    });
    scene.sweep_with(removing()).await;
    assert_eq!((scene.cloud.count_of("DeregisterImage"), scene.cloud.count_of("DeleteSnapshot")), (0, 0));
    assert!(scene.cloud.count_of("TerminateInstances") > 0, "it was about to remove");
}

#[tokio::test]
async fn beside_a_second_installation_nothing_of_its_own_is_touched() {
    let scene = Scene::new().await;
    let build = scene.over().await;
    // The other one's, with a build that is over here; things of nobody; and things that only look like ours.
    scene.everything(EAST, &temporary(DeploymentId(Uuid::from_u128(4)), build, 1)).await;
    scene.everything(EAST, &Vec::new()).await;
    scene.everything(WEST, &vec![("ingot:temporary".into(), "true".into())]).await;
    scene.everything(WEST, &vec![("ingot:build-id".into(), build.to_string())]).await;
    let before = scene.cloud.leftovers();
    scene.sweep_with(removing()).await;
    assert_eq!(scene.cloud.leftovers(), before);
    assert_eq!((scene.changes(), scene.open().await.len()), (0, 0));
}

#[tokio::test]
async fn after_a_restored_backup_what_the_database_does_not_know_is_reported_and_stays() {
    let scene = Scene::new().await;
    // The installation that the backup is of has gone on: with a build that is new, and with another attempt of one that
    // was over at the time of the backup.
    let known = scene.over().await;
    scene.everything(EAST, &temporary(OURS, BuildId(Uuid::from_u128(99)), 1)).await;
    scene.everything(WEST, &temporary(OURS, known, 2)).await;
    let mut unreadable = temporary(OURS, known, 1);
    unreadable.retain(|(key, _)| key != "ingot:attempt");
    scene.launch(WEST, &unreadable, |_| {}).await;
    let before = scene.cloud.leftovers();
    scene.sweep_with(removing()).await;
    assert_eq!(scene.cloud.leftovers(), before);
    assert_eq!(scene.changes(), 0);
    let open = scene.open().await;
    assert_eq!(open.len(), 10 + 10 + 3);
    assert!(open.iter().all(|row| row.found.why == Why::UnknownBuild && row.found.action == FindingAction::Reported));
    let detail = |region: &str| open.iter().find(|row| row.region == region).unwrap().found.detail.clone().unwrap();
    assert!(detail(EAST).contains("does not know the build"), "{}", detail(EAST));
    assert!(open.iter().any(|row| row.found.detail.as_deref().unwrap().contains("attempt 2")));
}

#[tokio::test]
async fn a_build_that_is_not_over_keeps_what_it_has() {
    let scene = Scene::new().await;
    let claimed = scene.active().await;
    let tags = temporary(OURS, claimed.facts.build, 1);
    scene.at_age(TimeDelta::hours(13));
    scene.everything(EAST, &tags).await;
    let before = scene.cloud.leftovers();
    scene.sweep_with(removing()).await;
    assert_eq!(scene.open_kinds().await, [(Why::Held, FindingKind::Instance, FindingAction::Reported)]);
    let unwinding = JournalEvent::Unwinding { reason: UnwindReason::Failed, failure: None };
    let failure = Failure::user("ssh-timeout", "No answer.");
    claimed.journal.begin_unwinding(&scene.entry(1, unwinding), Some(&failure)).await.unwrap();
    scene.sweep_with(removing()).await;
    assert_eq!(scene.cloud.leftovers(), before);
    // Its clean-up is stuck, and an operator frees it later: until then it is its build's, not the janitor's.
    claimed.journal.end(&Ending::Stuck { reason: "group in use".into() }, CleanupState::None).await.unwrap();
    scene.sweep_with(removing()).await;
    assert_eq!((scene.cloud.leftovers(), scene.changes()), (before, 0));
}

#[tokio::test]
async fn packers_leftovers_are_reported_and_removed_only_when_configured() {
    let scene = Scene::new().await;
    let now = scene.installation.clock_now();
    let old = now - TimeDelta::hours(30);
    let name = packer_name(old);
    scene.at_age(TimeDelta::hours(30));
    let group = scene.group(EAST, &name, &Vec::new()).await;
    scene.cloud.import_key_pair(EAST, &name, KEY, &Vec::new()).await.unwrap();
    let with = |request: &mut NewInstance| {
        request.machine.key_name = Some(name.clone());
        request.machine.security_group_ids = vec![group.clone()];
        request.machine.interface_tags.clear();
    };
    scene.launch(EAST, &named_by_packer(), with).await;
    scene.sweep().await;
    let reported = |kind| (Why::PackerLeftover, kind, FindingAction::Reported);
    let kinds = [FindingKind::Instance, FindingKind::Volume, FindingKind::SecurityGroup, FindingKind::KeyPair];
    assert_eq!(scene.open_kinds().await, kinds.map(reported));
    let ages: Vec<_> = scene.open().await.iter().map(|row| row.found.created_at).collect();
    assert_eq!(ages, [Some(old); 4]);
    assert_eq!(scene.changes(), 0);

    scene.cloud.set_timings(FakeTimings { stop: Latency::Observations(1), ..FakeTimings::default() });
    scene.sweep_with(removing()).await;
    let waiting = |kind| (Why::PackerLeftover, kind, FindingAction::Waiting);
    let expected = [FindingKind::Volume, FindingKind::SecurityGroup].map(waiting);
    assert_eq!(scene.open_kinds().await, expected, "the instance is on its way, and the key is gone");
    scene.sweep_with(removing()).await;
    scene.sweep_with(removing()).await;
    assert_eq!((scene.cloud.leftovers(), scene.open().await.len()), (Vec::<String>::new(), 0));
}

#[tokio::test]
async fn what_of_packers_is_young_in_use_or_ambiguous_stays() {
    let scene = Scene::new().await;
    let now = scene.installation.clock_now();
    let old = packer_name(now - TimeDelta::hours(30));
    let none = Vec::new();
    // Young, by launch time and by name.
    scene.at_age(TimeDelta::hours(23));
    scene.launch(EAST, &named_by_packer(), |_| {}).await;
    scene.cloud.import_key_pair(EAST, &packer_name(now - TimeDelta::hours(23)), KEY, &none).await.unwrap();
    // Old, and somebody else's too.
    scene.at_age(TimeDelta::hours(30));
    for (key, value) in [
        ("ingot:deployment", "00000000-0000-0000-0000-000000000004"),
        ("ingot:deployment", "00000000-0000-0000-0000-000000000003"),
        ("aws:autoscaling:groupName", "builders"),
    ] {
        let mut tags = named_by_packer();
        tags.push((key.into(), value.into()));
        scene.launch(WEST, &tags, |_| {}).await;
    }
    // Old by their looks, but Packer makes no such names.
    for name in ["packer_builders", "packer_ffffffff-1b93-a3e7-53a7-1df45d34176e"] {
        scene.group(EAST, name, &none).await;
        scene.cloud.import_key_pair(EAST, name, KEY, &none).await.unwrap();
    }
    // Old, and in use by a machine that is no leftover.
    let group = scene.group(WEST, &old, &none).await;
    scene.cloud.import_key_pair(WEST, &old, KEY, &none).await.unwrap();
    let with = |request: &mut NewInstance| {
        request.machine.key_name = Some(old.clone());
        request.machine.security_group_ids = vec![group.clone()];
    };
    let user = scene.launch(WEST, &vec![("Name".into(), "web".into())], with).await;
    let before = scene.cloud.leftovers();
    scene.sweep_with(removing()).await;
    assert_eq!(scene.cloud.leftovers(), before);
    assert_eq!(scene.changes(), 0);
    let open = scene.open().await;
    assert_eq!(open.len(), 2, "{open:?}");
    assert!(open.iter().all(|row| row.found.detail.as_deref().unwrap().contains(&user)), "{open:?}");
    assert!(open.iter().all(|row| row.found.action == FindingAction::Reported));
}

#[tokio::test]
async fn a_region_that_refuses_is_told_and_the_others_are_swept() {
    let scene = Scene::new().await;
    let build = scene.over().await;
    let tags = temporary(OURS, build, 1);
    for region in ["eu-central-1", EAST, WEST, "us-west-2"] {
        scene.launch(region, &tags, |_| {}).await;
    }
    let refused = FaultKind::refuse(CloudErrorClass::Unauthorized, "UnauthorizedOperation");
    scene.cloud.fail_next("DescribeVolumes", refused, 1);
    let swept = scene.sweep().await;
    let [complaint] = fault(&swept)[..] else { panic!("one region: {swept:?}") };
    assert!(complaint.contains("UnauthorizedOperation") && complaint.contains("deploy/aws"), "{complaint}");
    let done = swept.places.iter().filter(|place| place.error.is_none());
    assert!(done.clone().all(|place| place.removed == 3) && done.count() == 3, "{swept:?}");
    scene.cloud.fail_next("DescribeImages", FaultKind::refuse(CloudErrorClass::Throttled, "RequestLimitExceeded"), 4);
    let throttled = scene.sweep().await;
    assert_eq!(fault(&throttled).len(), 4, "{throttled:?}");
    assert!(!scene.cloud.leftovers().is_empty());
    scene.sweep().await;
    assert_eq!(scene.cloud.leftovers(), Vec::<String>::new());
}

#[tokio::test]
async fn what_the_cloud_does_not_let_go_is_told_and_tried_again() {
    let scene = Scene::new().await;
    let build = scene.over().await;
    scene.group(EAST, "left", &temporary(OURS, build, 1)).await;
    let refused = FaultKind::refuse(CloudErrorClass::Unauthorized, "UnauthorizedOperation");
    scene.cloud.fail_next("DeleteSecurityGroup", refused, 1);
    let swept = scene.sweep().await;
    assert_eq!(swept.places.iter().map(|place| place.failed).sum::<u32>(), 1);
    let open = scene.open().await;
    assert_eq!((open.len(), open[0].found.action), (1, FindingAction::Failed));
    assert!(open[0].found.detail.as_deref().unwrap().contains("UnauthorizedOperation"));
    scene.sweep().await;
    let gone = scene.findings(FindingFilter::default()).await;
    assert_eq!((gone.len(), gone[0].id, gone[0].found.action), (1, open[0].id, FindingAction::Removed));
    assert!(gone[0].gone_at.is_some() && gone[0].last_seen_at > gone[0].first_seen_at);
}

#[tokio::test]
async fn a_dry_run_changes_nothing_and_says_what_a_sweep_would_do() {
    let scene = Scene::new().await;
    let build = scene.over().await;
    scene.everything(EAST, &temporary(OURS, build, 1)).await;
    let before = scene.cloud.leftovers();
    scene.asked(SweepRequest { dry_run: true, ..SweepRequest::default() }).await;
    assert_eq!((scene.cloud.leftovers(), scene.changes()), (before, 0));
    let open = scene.open().await;
    assert!(open.len() == 10 && open.iter().all(|row| row.found.action == FindingAction::WouldRemove), "{open:?}");
    // It does not stand for the sweep that is due.
    let swept = scene.janitor().catch_up().await.unwrap().expect("it is time");
    assert!(swept.asked_by.is_none() && scene.cloud.leftovers().is_empty());
    assert_eq!(scene.open().await.len(), 0);
}

#[tokio::test]
async fn a_sweep_may_be_of_one_account_or_region() {
    let scene = Scene::new().await;
    let build = scene.over().await;
    let tags = temporary(OURS, build, 1);
    scene.launch(EAST, &tags, |_| {}).await;
    scene.launch(WEST, &tags, |_| {}).await;
    let of = |account: &str, region: &str| SweepRequest {
        dry_run: false,
        account: Some(account.to_owned()),
        region: Some(region.to_owned()),
    };
    let swept = scene.asked(of("default", WEST)).await;
    let places: Vec<_> = swept.places.iter().map(|place| (place.region.as_str(), place.removed)).collect();
    assert_eq!(places, [(WEST, 3)]);
    assert!(scene.cloud.leftovers().iter().all(|line| line.starts_with(EAST)));
    assert_eq!(scene.cloud.names(), ["default"]);
    assert!(scene.asked(of("default", "mars-north-1")).await.places.is_empty());
}

#[tokio::test]
async fn several_servers_make_one_sweep_an_interval() {
    let scene = Scene::new().await;
    let servers: Vec<Janitor> = (0..3).map(|_| scene.janitor()).collect();
    let calls = || scene.cloud.count_of("DescribeImages");
    for sweeps in 1..=2 {
        for _ in 0..3 {
            let done = join_all(servers.iter().map(Janitor::catch_up)).await;
            let done: Vec<_> = done.into_iter().filter_map(|done| done.unwrap()).collect();
            assert!(done.len() <= 1, "{done:?}");
        }
        assert_eq!(calls(), sweeps * 4, "one look a region");
        scene.installation.clock.advance(Duration::from_mins(5));
    }
    // One that is at work holds the others off, however long it takes.
    let turn = scene.installation.store.janitor_turn().await.unwrap().unwrap();
    assert!(servers[0].catch_up().await.unwrap().is_none());
    turn.release().await;
    let swept = servers[0].catch_up().await.unwrap().expect("the turn is free");
    assert_eq!(swept.state, SweepState::Done);
}

#[tokio::test]
async fn a_sweep_whose_server_died_is_interrupted_and_the_next_one_comes() {
    let scene = Scene::new().await;
    let store = &scene.installation.store;
    let lost = store.begin_sweep("dead", &SweepSettings::default()).await.unwrap().unwrap();
    assert_eq!(store.sweep_under_way().await.unwrap().unwrap().id, lost.id);
    assert!(scene.janitor().catch_up().await.unwrap().is_none(), "not before the interval is over");
    let swept = scene.sweep().await;
    assert_eq!(store.sweep(lost.id).await.unwrap().state, SweepState::Interrupted);
    assert_eq!(store.last_sweep().await.unwrap().unwrap().id, swept.id);
    let late = store.end_sweep(lost.id, &[]).await.unwrap();
    assert_eq!(late.state, SweepState::Interrupted, "the dead one that wakes up changes nothing");
}

#[tokio::test]
async fn a_request_that_nobody_begins_is_given_up() {
    let scene = Scene::new().await;
    let store = &scene.installation.store;
    let first = store.ask_sweep(&SweepRequest::default(), &ada()).await.unwrap();
    let refused = store.ask_sweep(&SweepRequest::default(), &ada()).await.unwrap_err();
    assert_eq!(refused.code, "sweep-running");
    scene.installation.clock.advance(Duration::from_mins(3));
    assert!(store.sweep_under_way().await.unwrap().is_none());
    let second = store.ask_sweep(&SweepRequest::default(), &ada()).await.unwrap();
    assert_eq!(store.sweep(first.id).await.unwrap().state, SweepState::Abandoned);
    assert!(store.abandon_sweep(second.id).await.unwrap() && !store.abandon_sweep(second.id).await.unwrap());
    let swept = scene.janitor().catch_up().await.unwrap().unwrap();
    assert!(swept.asked_by.is_none(), "it was time anyway");
}

#[tokio::test]
async fn findings_are_closed_when_they_are_gone_and_forgotten_later() {
    let scene = Scene::new().await;
    scene.at_age(TimeDelta::hours(30));
    let instance = scene.launch(EAST, &named_by_packer(), |_| {}).await;
    scene.sweep().await;
    let seen = scene.open().await;
    assert_eq!(seen.len(), 2, "instance and volume");
    scene.cloud.terminate_instance(EAST, &instance).await.unwrap();
    scene.cloud.find_instances(EAST, &[Filter::new("instance-id", [instance])]).await.unwrap();
    // A region that can't be looked at proves nothing.
    let refused = FaultKind::refuse(CloudErrorClass::Unavailable, "InternalError");
    scene.cloud.fail_next("DescribeKeyPairs", refused, 8);
    scene.sweep().await;
    assert_eq!(scene.open().await.len(), 2);
    scene.sweep().await;
    scene.sweep().await;
    let store = &scene.installation.store;
    assert_eq!((scene.open().await.len(), scene.findings(FindingFilter::default()).await.len()), (0, 2));
    let totals = store.finding_totals(&FindingFilter { gone: Some(true), ..FindingFilter::default() }).await.unwrap();
    assert_eq!((totals.len(), totals[0].count, totals[0].unpriced), (1, 2, 0));
    store.purge_janitor().await.unwrap();
    assert_eq!(scene.findings(FindingFilter::default()).await.len(), 2);
    scene.installation.clock.advance(Duration::from_hours(24 * 8));
    store.purge_janitor().await.unwrap();
    assert_eq!(scene.findings(FindingFilter::default()).await.len(), 0);
    assert!(store.last_sweep().await.unwrap().is_none());
}
