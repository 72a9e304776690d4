//! Schedules on several servers of one database, with a clock that the test moves.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use futures::future::join_all;
use serde_json::json;
use zeroize::Zeroizing;

use crate::domain::bundle::Bundle;
use crate::domain::clock::Clock as _;
use crate::domain::ids::{RunId, ScheduleId};
use crate::domain::policy::Policy;
use crate::domain::schedule::cron::CronLine;
use crate::domain::schedule::{Cadence, CatchUp, FiringOutcome, Overlap, parse_zone};
use crate::domain::state::RunState;
use crate::engine::EngineHandle;
use crate::engine::accept::{AcceptSettings, Random, new_id};
use crate::engine::channels::ChannelSettings;
use crate::engine::data_sources::DataSources;
use crate::engine::scheduled_request::ScheduledRequest;
use crate::engine::scheduler::{Scheduler, start_run};
use crate::store::runs::{RunFilter, RunRow};
use crate::store::schedule_firings::{ClaimKind, FiringRow, SLOT_TAKEN, SlotClaim};
use crate::store::schedules::{CHANGED_MEANWHILE, ScheduleContent, Timing};
use crate::store::test_support::{TestClock, TestDatabase};
use crate::store::{Actor, Page, Store};

const TEMPLATE: &str = r#"
variable "release" { type = string }
source "amazon-ebs" "web" {
  ami_name      = "web-{{timestamp}}-${var.release}"
  instance_type = "t3.micro"
  region        = "us-east-1"
  source_ami    = "ami-0123456789abcdef0"
  ssh_username  = "ubuntu"
}
build { sources = ["source.amazon-ebs.web"] }
"#;

/// Servers that share a database and nothing else.
pub struct Installation {
    pub clock: Arc<TestClock>,
    pub store: Store,
    servers: Vec<Arc<Scheduler>>,
    random: Random,
    /// Kept, because the database lives as long.
    _database: TestDatabase,
}

fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

pub fn ada() -> Actor {
    Actor { principal: "ada".into(), request_id: None }
}

impl Installation {
    pub async fn of(servers: usize, now: &str) -> Self {
        let database = TestDatabase::new().await;
        let clock = Arc::new(TestClock::new());
        clock.set(at(now));
        let counter = AtomicU64::new(1);
        let random: Random = Arc::new(move || {
            let mut bytes = [0; 32];
            bytes[..8].copy_from_slice(&counter.fetch_add(1, Ordering::Relaxed).to_be_bytes());
            bytes
        });
        let settings = Arc::new(AcceptSettings {
            policies: BTreeMap::from([("default".to_owned(), Policy::default())]),
            builder_identity: "ingot/test".to_owned(),
            lint: crate::domain::lint::LintPolicy::default(),
            evaluation_time_limit: Duration::from_secs(10),
            random: random.clone(),
            accounts: None,
            data_sources: DataSources { accounts: None, http_allow: Vec::new() },
            default_region: None,
            channels: ChannelSettings::default(),
        });
        let stores = join_all((0..servers).map(|_| database.store(clock.clone()))).await;
        let servers = stores.iter().map(|store| {
            let (store, clock, settings) = (store.clone(), clock.clone(), settings.clone());
            Arc::new(Scheduler { store, settings, clock, engine: EngineHandle::none() })
        });
        let installation =
            Self { servers: servers.collect(), store: stores[0].clone(), clock, random, _database: database };
        installation.put_template(TEMPLATE).await;
        installation
    }

    async fn put_template(&self, text: &str) {
        let bundle = Bundle::single("web.pkr.hcl", text.as_bytes().to_vec()).unwrap();
        self.store.put_template("web", None, None, &bundle, &json!({}), &ada()).await.unwrap();
    }

    async fn schedule(&self, line: &str, zone: &str, overlap: Overlap, catch_up: CatchUp) -> ScheduleId {
        let id = ScheduleId(new_id(self.clock.now(), &self.random));
        let request = ScheduledRequest {
            variables: [("release".to_owned(), json!("one"))].into(),
            ..ScheduledRequest::default()
        };
        let content = ScheduleContent {
            name: format!("weekly-{id}"),
            template_id: self.store.template("web").await.unwrap().id,
            pinned_version: None,
            timing: Timing {
                cadence: Cadence { line: CronLine::parse(line).unwrap(), zone: parse_zone(zone).unwrap() },
                overlap,
                catch_up,
                jitter: Duration::ZERO,
            },
            enabled: true,
            request: Zeroizing::new(request.to_bytes().unwrap().to_vec()),
            shown: json!({}),
        };
        self.store.create_schedule(id, &content, &ada(), None).await.unwrap();
        id
    }

    /// All servers look at the same time, on threads of their own.
    async fn look(&self) {
        let looks = self.servers.iter().cloned().map(|server| tokio::spawn(async move { server.look().await }));
        for look in join_all(looks).await {
            look.unwrap();
        }
    }

    /// Lets time pass until then, with a look every so often, and ends the runs that were started.
    async fn live_until(&self, end: &str, step: TimeDelta) {
        while self.clock.now() < at(end) {
            self.clock.set((self.clock.now() + step).min(at(end)));
            self.look().await;
            self.end_runs().await;
        }
    }

    pub fn clock_now(&self) -> DateTime<Utc> {
        self.clock.now()
    }

    /// A run of the template, which waits in the queue.
    pub async fn run_by_hand(&self) {
        let id = self.schedule("0 0 1 1 *", "UTC", Overlap::Skip, CatchUp::None).await;
        let schedule = self.store.schedule(&id.to_string()).await.unwrap();
        let claim = SlotClaim { schedule: id, kind: ClaimKind::Manual };
        let server = &self.servers[0];
        start_run(&server.store, &server.settings, &schedule, claim, &ada(), None, &*server.clock).await.unwrap();
    }

    async fn end_runs(&self) {
        let queued = RunFilter { state: Some(RunState::Queued), ..RunFilter::default() };
        for run in self.store.runs(&Page::first(100), &queued).await.unwrap() {
            self.store.request_cancel(run.id, &ada()).await.unwrap();
        }
    }

    async fn runs(&self) -> Vec<RunRow> {
        let mut runs = self.store.runs(&Page::first(500), &RunFilter::default()).await.unwrap();
        runs.sort_by_key(|run| (run.created_at, run.id.0));
        runs
    }

    async fn slots(&self) -> Vec<String> {
        let mut slots: Vec<_> = self.runs().await.iter().filter_map(|run| run.slot).collect();
        slots.sort();
        slots.iter().map(|slot| slot.to_rfc3339_opts(chrono::SecondsFormat::Secs, true)).collect()
    }

    async fn firings(&self, schedule: ScheduleId) -> Vec<FiringRow> {
        let mut firings = self.store.firings(schedule, &Page::first(500)).await.unwrap();
        firings.sort_by_key(|firing| firing.slot);
        firings
    }

    async fn outcomes(&self, schedule: ScheduleId) -> Vec<FiringOutcome> {
        self.firings(schedule).await.iter().map(|firing| firing.outcome).collect()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn monday_at_six_starts_one_run_on_three_servers() {
    let installation = Installation::of(3, "2026-11-29T23:00:00Z").await;
    let schedule = installation.schedule("0 6 * * 1", "Europe/Berlin", Overlap::Skip, CatchUp::Last).await;
    installation.clock.set(at("2026-11-30T04:59:59Z"));
    installation.look().await;
    assert_eq!(installation.runs().await.len(), 0, "not before its time");
    installation.clock.set(at("2026-11-30T05:00:00Z"));
    installation.look().await;
    installation.look().await;
    let runs = installation.runs().await;
    assert_eq!(runs.len(), 1);
    let run = &runs[0];
    assert_eq!(
        (run.trigger.as_str(), run.schedule_id, run.slot),
        ("schedule", Some(schedule), Some(at("2026-11-30T05:00:00Z")))
    );
    assert!(run.created_by.starts_with("schedule:weekly-"), "{}", run.created_by);
    assert_eq!((run.variables["release"].as_str(), run.builds.len()), (Some("one"), 1));
    let row = installation.store.schedule(&schedule.to_string()).await.unwrap();
    assert_eq!(row.next_slot, Some(at("2026-12-07T05:00:00Z")));
    let last = row.last_firing.unwrap();
    assert_eq!((last.outcome, last.run.unwrap().0), (FiringOutcome::Started, run.id));
}

/// 29 March 2026: 02:00 becomes 03:00 in Berlin. 02:30 happens at once after the gap.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn clocks_that_go_forward_lose_no_run() {
    let installation = Installation::of(3, "2026-03-27T12:00:00Z").await;
    installation.schedule("30 2 * * *", "Europe/Berlin", Overlap::Skip, CatchUp::Last).await;
    installation.live_until("2026-03-31T12:00:00Z", TimeDelta::minutes(10)).await;
    assert_eq!(
        installation.slots().await,
        ["2026-03-28T01:30:00Z", "2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z", "2026-03-31T00:30:00Z",]
    );
}

/// 25 October 2026: 03:00 becomes 02:00 in Berlin. 02:30 comes twice and happens once; every half hour goes by the clock.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn clocks_that_go_back_start_nothing_twice() {
    let installation = Installation::of(3, "2026-10-24T12:00:00Z").await;
    installation.schedule("30 2 * * *", "Europe/Berlin", Overlap::Skip, CatchUp::Last).await;
    installation.live_until("2026-10-26T12:00:00Z", TimeDelta::minutes(10)).await;
    assert_eq!(installation.slots().await, ["2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"]);

    let hourly = Installation::of(3, "2026-10-24T23:45:00Z").await;
    hourly.schedule("*/30 * * * *", "Europe/Berlin", Overlap::Skip, CatchUp::Last).await;
    hourly.live_until("2026-10-25T02:45:00Z", TimeDelta::minutes(5)).await;
    assert_eq!(
        hourly.slots().await,
        [
            "2026-10-25T00:00:00Z",
            "2026-10-25T00:30:00Z",
            "2026-10-25T01:00:00Z",
            "2026-10-25T01:30:00Z",
            "2026-10-25T02:00:00Z",
            "2026-10-25T02:30:00Z",
        ]
    );
}

/// Without the claim that keeps servers from evaluating the same template: the comparison alone makes a slot happen once.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_servers_that_serve_the_same_slot_one_does() {
    let installation = Installation::of(1, "2026-11-29T23:00:00Z").await;
    let id = installation.schedule("0 6 * * *", "UTC", Overlap::Skip, CatchUp::Last).await;
    let schedule = installation.store.schedule(&id.to_string()).await.unwrap();
    let slot = schedule.next_slot.unwrap();
    installation.clock.set(slot);
    let next = slot + TimeDelta::days(1);
    let claim = SlotClaim {
        schedule: id,
        kind: ClaimKind::Slot { slot, next: Some((next, next)), revision: schedule.revision },
    };
    let server = &installation.servers[0];
    let tries = (0..30).map(|_| {
        let (server, schedule) = (server.clone(), schedule.clone());
        tokio::spawn(async move {
            let (settings, clock) = (&server.settings, &*server.clock);
            start_run(&server.store, settings, &schedule, claim, &ada(), None, clock).await
        })
    });
    let outcomes: Vec<_> = join_all(tries).await.into_iter().map(|outcome| outcome.unwrap()).collect();
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1);
    assert!(outcomes.iter().filter_map(|outcome| outcome.as_ref().err()).all(|error| error.code == SLOT_TAKEN));
    assert_eq!((installation.runs().await.len(), installation.firings(id).await.len()), (1, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn after_an_outage_the_schedule_says_what_is_caught_up() {
    for (catch_up, expected) in [
        (CatchUp::None, vec![FiringOutcome::Missed]),
        (CatchUp::Last, vec![FiringOutcome::Missed, FiringOutcome::Started]),
        (CatchUp::All, vec![FiringOutcome::Started, FiringOutcome::Waiting, FiringOutcome::Waiting]),
    ] {
        let installation = Installation::of(3, "2026-11-29T23:00:00Z").await;
        let overlap = if catch_up == CatchUp::All { Overlap::Queue } else { Overlap::Skip };
        let schedule = installation.schedule("0 6 * * *", "UTC", overlap, catch_up).await;
        // Nobody was there for three mornings.
        installation.clock.set(at("2026-12-02T12:00:00Z"));
        installation.look().await;
        assert_eq!(installation.outcomes(schedule).await, expected, "{catch_up}");
        if catch_up == CatchUp::Last {
            let firings = installation.firings(schedule).await;
            let reason = firings[0].reason.clone().unwrap();
            assert_eq!(reason, "No server was there for 2 times from 2026-11-30T06:00:00Z to 2026-12-01T06:00:00Z.");
        }
        // What waits gets its turn, one after the other.
        for _ in 0..3 {
            installation.end_runs().await;
            installation.look().await;
        }
        let waiting = installation.outcomes(schedule).await.contains(&FiringOutcome::Waiting);
        assert!(!waiting, "{catch_up}");
        let runs = installation.runs().await.len();
        assert_eq!(runs, expected.iter().filter(|outcome| **outcome != FiringOutcome::Missed).count(), "{catch_up}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn runs_that_are_in_each_others_way_do_as_the_schedule_says() {
    for (overlap, outcome) in [
        (Overlap::Skip, FiringOutcome::Skipped),
        (Overlap::Queue, FiringOutcome::Waiting),
        (Overlap::CancelRunning, FiringOutcome::Started),
    ] {
        let installation = Installation::of(3, "2026-11-29T23:00:00Z").await;
        let schedule = installation.schedule("0 6 * * *", "UTC", overlap, CatchUp::Last).await;
        for morning in ["2026-11-30T06:00:01Z", "2026-12-01T06:00:01Z"] {
            installation.clock.set(at(morning));
            installation.look().await;
        }
        assert_eq!(installation.outcomes(schedule).await, [FiringOutcome::Started, outcome], "{overlap}");
        let states: Vec<RunState> = installation.runs().await.iter().map(|run| run.state).collect();
        match overlap {
            Overlap::CancelRunning => assert_eq!(states, [RunState::Cancelled, RunState::Queued]),
            _ => assert_eq!(states, [RunState::Queued]),
        }
        installation.end_runs().await;
        installation.look().await;
        let runs = installation.runs().await.len();
        assert_eq!(runs, if overlap == Overlap::Skip { 1 } else { 2 }, "{overlap}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_run_that_can_not_be_accepted_is_the_slots_outcome_and_the_next_slot_comes() {
    let installation = Installation::of(3, "2026-11-29T23:00:00Z").await;
    let schedule = installation.schedule("0 6 * * *", "UTC", Overlap::Skip, CatchUp::Last).await;
    installation.put_template(&TEMPLATE.replace("release", "version")).await;
    installation.clock.set(at("2026-11-30T06:00:00Z"));
    installation.look().await;
    let firings = installation.firings(schedule).await;
    assert_eq!((firings.len(), firings[0].outcome), (1, FiringOutcome::Failed));
    let reason = firings[0].reason.clone().unwrap();
    assert!(reason.contains("version"), "{reason}");
    installation.put_template(TEMPLATE).await;
    installation.clock.set(at("2026-12-01T06:00:00Z"));
    installation.look().await;
    assert_eq!(installation.outcomes(schedule).await, [FiringOutcome::Failed, FiringOutcome::Started]);
}

/// What is at work is cancelled for a run in its place, and not for one that can't be.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_run_is_not_cancelled_for_one_that_can_not_be_accepted() {
    let installation = Installation::of(3, "2026-11-29T23:00:00Z").await;
    let schedule = installation.schedule("0 6 * * *", "UTC", Overlap::CancelRunning, CatchUp::Last).await;
    installation.clock.set(at("2026-11-30T06:00:00Z"));
    installation.look().await;
    installation.put_template(&TEMPLATE.replace("release", "version")).await;
    installation.clock.set(at("2026-12-01T06:00:00Z"));
    installation.look().await;
    assert_eq!(installation.outcomes(schedule).await, [FiringOutcome::Started, FiringOutcome::Failed]);
    assert_eq!(installation.runs().await[0].state, RunState::Queued);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn changes_at_the_same_time_do_not_undo_each_other() {
    let installation = Installation::of(1, "2026-11-29T23:00:00Z").await;
    let id = installation.schedule("0 6 * * *", "UTC", Overlap::Skip, CatchUp::Last).await;
    let name = id.to_string();
    let read = installation.store.schedule(&name).await.unwrap();
    let content = ScheduleContent {
        name: read.name.clone(),
        template_id: read.template_id,
        pinned_version: None,
        timing: read.timing.clone(),
        enabled: true,
        request: Zeroizing::new(ScheduledRequest::default().to_bytes().unwrap().to_vec()),
        shown: json!({}),
    };
    installation.store.set_schedule_enabled(&name, false, &ada()).await.unwrap();
    let stale = installation.store.update_schedule(id, read.revision, &content, &ada()).await.unwrap_err();
    assert_eq!(stale.code, CHANGED_MEANWHILE);
    assert!(!installation.store.schedule(&name).await.unwrap().enabled);
    assert_eq!(installation.store.schedule_request(id, read.revision).await.unwrap_err().code, CHANGED_MEANWHILE);
}

/// A time that has come is served, or told as given up; it does not just vanish.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_change_does_not_lose_a_time_that_has_come() {
    let installation = Installation::of(1, "2026-11-29T23:00:00Z").await;
    let id = installation.schedule("0 6 * * *", "UTC", Overlap::Skip, CatchUp::Last).await;
    installation.clock.set(at("2026-11-30T06:00:00Z"));
    let read = installation.store.schedule(&id.to_string()).await.unwrap();
    let change = |timing: Timing| ScheduleContent {
        name: read.name.clone(),
        template_id: read.template_id,
        pinned_version: None,
        timing,
        enabled: true,
        request: Zeroizing::new(ScheduledRequest::default().to_bytes().unwrap().to_vec()),
        shown: json!({}),
    };
    let other_overlap = change(Timing { overlap: Overlap::Queue, ..read.timing.clone() });
    let changed = installation.store.update_schedule(id, read.revision, &other_overlap, &ada()).await.unwrap();
    assert_eq!(changed.next_slot, Some(at("2026-11-30T06:00:00Z")));
    let cadence = Cadence { line: CronLine::parse("0 7 * * *").unwrap(), zone: chrono_tz::UTC };
    let other_time = change(Timing { cadence, ..read.timing.clone() });
    let changed = installation.store.update_schedule(id, changed.revision, &other_time, &ada()).await.unwrap();
    assert_eq!(changed.next_slot, Some(at("2026-11-30T07:00:00Z")));
    let firings = installation.firings(id).await;
    assert_eq!((firings[0].slot, firings[0].outcome), (Some(at("2026-11-30T06:00:00Z")), FiringOutcome::Skipped));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn paused_and_deleted_schedules_start_nothing() {
    let installation = Installation::of(3, "2026-11-29T23:00:00Z").await;
    let schedule = installation.schedule("0 6 * * *", "UTC", Overlap::Skip, CatchUp::Last).await;
    let name = schedule.to_string();
    let paused = installation.store.set_schedule_enabled(&name, false, &ada()).await.unwrap();
    assert_eq!(paused.next_slot, None);
    installation.clock.set(at("2026-12-02T12:00:00Z"));
    installation.look().await;
    let resumed = installation.store.set_schedule_enabled(&name, true, &ada()).await.unwrap();
    assert_eq!(resumed.next_slot, Some(at("2026-12-03T06:00:00Z")), "what came meanwhile is given up");
    installation.store.delete_schedule(schedule, &ada()).await.unwrap();
    installation.clock.set(at("2026-12-04T12:00:00Z"));
    installation.look().await;
    assert_eq!(installation.runs().await.len(), 0);
    assert_eq!(installation.store.schedule(&name).await.unwrap_err().code, "schedule-not-found");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_run_by_hand_takes_no_slot() {
    let installation = Installation::of(1, "2026-11-30T05:59:00Z").await;
    let id = installation.schedule("0 6 * * *", "UTC", Overlap::CancelRunning, CatchUp::Last).await;
    let schedule = installation.store.schedule(&id.to_string()).await.unwrap();
    let server = &installation.servers[0];
    let claim = SlotClaim { schedule: id, kind: ClaimKind::Manual };
    let by_hand: RunId =
        start_run(&server.store, &server.settings, &schedule, claim, &ada(), None, &*server.clock).await.unwrap().id;
    installation.clock.set(at("2026-11-30T06:00:00Z"));
    installation.look().await;
    let runs = installation.runs().await;
    assert_eq!((runs.len(), runs[0].id, runs[0].slot), (2, by_hand, None));
    let firings = installation.firings(id).await;
    assert_eq!(firings.iter().map(|firing| firing.principal.as_str()).filter(|who| *who == "ada").count(), 1);
}
