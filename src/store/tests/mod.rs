//! The store on a real `PostgreSQL`. What several files need to set a scene is here.

mod claims;
mod cluster;
mod ending;
mod fencing;
mod holds;
mod load;
mod migrations;
mod registry;
mod runs;
mod schema;
mod secrets;
mod stages;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use uuid::Uuid;

use super::accept::{NewBuild, NewRun};
use super::images::ImageRow;
use super::leases::ClaimedBuild;
use super::runs::RunRow;
use super::templates::VersionRow;
use super::test_support::{TestClock, TestDatabase};
use super::{Actor, Store, new_id};
use crate::domain::bundle::Bundle;
use crate::domain::clock::Clock;
use crate::domain::config::BuildConfig;
use crate::domain::failure::Failure;
use crate::domain::hold::RunOptions;
use crate::domain::ids::{Attempt, BuildId, RunId};
use crate::domain::image::{CommitRecord, ImageCopy, ManifestEntry, RunFile, SourceImage};
use crate::domain::journal::{Ending, Journal, JournalEntry, JournalEvent, UnwindReason};
use crate::domain::plan::Plan;
use crate::domain::state::{BuildState, CleanupState};

/// A database of its own, with a template in it.
struct Scene {
    database: TestDatabase,
    clock: Arc<TestClock>,
    store: Store,
    version: VersionRow,
    config: BuildConfig,
    sensitive: Vec<String>,
}

fn someone() -> Actor {
    Actor { principal: "ada".into(), request_id: Some("request-1".into()) }
}

fn config() -> BuildConfig {
    serde_json::from_value(json!({
        "name": "amazon-ebs.web", "source": "amazon-ebs.web", "provisioners": [], "post_processors": [],
        "builder": {
            "type": "amazon-ebs", "region": "us-east-1", "ami_name": "web-swordfish", "ami_description": "",
            "instance_type": "t3.micro", "source": {"id": "ami-0123456789abcdef0"},
            "communicator": {
                "communicator": "ssh", "username": "ubuntu", "port": 22, "host": null, "timeout": 300_000,
                "interface": null, "pty": false, "keep_alive_interval": 5000, "temporary_key_pair_type": "ed25519"
            },
            "vpc_id": null, "subnet_id": null, "availability_zone": null, "security_group_ids": [],
            "temporary_security_group_source_cidrs": null, "associate_public_ip_address": null,
            "iam_instance_profile": null, "user_data": null, "launch_block_device_mappings": [],
            "ebs_optimized": false, "ena_support": null, "shutdown_behavior": "terminate",
            "metadata_options": {
                "http_endpoint_enabled": true, "http_tokens_required": true, "http_put_response_hop_limit": 1,
                "instance_metadata_tags": false
            },
            "disable_stop_instance": false, "skip_create_ami": false, "ami_regions": [], "ami_users": [],
            "imds_support": null, "encrypt_boot": null, "kms_key_id": null, "tags": {}, "run_tags": {},
            "run_volume_tags": {}, "snapshot_tags": {}, "clean_image": true, "locations": {}
        }
    }))
    .expect("the sample configuration is complete")
}

impl Scene {
    async fn new() -> Self {
        let database = TestDatabase::new().await;
        let clock = Arc::new(TestClock::new());
        let store = database.store(clock.clone()).await;
        let bundle = Bundle::single("web.pkr.hcl", b"source {}".to_vec()).unwrap();
        let (version, _) = store.put_template("web", None, None, &bundle, &json!({}), &someone()).await.unwrap();
        Self { database, clock, store, version, config: config(), sensitive: vec!["hunter2".into()] }
    }

    fn new_run(&self, builds: usize) -> NewRun<'_> {
        let at = self.clock.now();
        let builds = (0..builds).map(|index| NewBuild {
            id: BuildId(new_id(at)),
            name: format!("amazon-ebs.web{index}"),
            builder_type: "amazon-ebs".into(),
            region: "us-east-1".into(),
            plan: Plan::for_build(&self.config, &RunOptions::default()),
            config: &self.config,
            sensitive: &self.sensitive,
        });
        NewRun {
            id: RunId(new_id(at)),
            template_id: self.version.template_id,
            template_version_id: self.version.id,
            family: "web".into(),
            account: "default".into(),
            trigger: "api",
            variables: json!({"a": "1"}),
            git_sha: None,
            labels: json!({"team": "core"}),
            channels: vec![],
            only: vec![],
            except: vec![],
            timeout: None,
            options: RunOptions::default(),
            priority: 0,
            builder_identity: "ingot/0.1.0".into(),
            builds: builds.collect(),
            scheduled: None,
            content: Err("of a test".into()),
            dedupe: None,
            at,
        }
    }

    async fn accept(&self, builds: usize) -> RunRow {
        self.store.accept_run(&self.new_run(builds), &someone(), None).await.unwrap()
    }

    async fn claim(&self) -> ClaimedBuild {
        self.store.claim_queued("server-1", &BTreeMap::new()).await.unwrap().expect("a build waits")
    }

    fn entry(&self, seq: i64, step: Option<&str>, event: JournalEvent) -> JournalEntry {
        JournalEntry { seq, attempt: Attempt::FIRST, step: step.map(Into::into), event, at: self.clock.now() }
    }

    fn started(&self, seq: i64) -> JournalEntry {
        self.entry(seq, Some("launch"), JournalEvent::Started { intent: json!({"token": "t"}) })
    }

    fn unwinding(&self, seq: i64, reason: UnwindReason) -> JournalEntry {
        self.entry(seq, None, JournalEvent::Unwinding { reason, failure: None })
    }

    /// Lets the lease run out as if 60 seconds had passed.
    async fn expire(&self, build: BuildId) {
        sqlx::query("UPDATE build_leases SET expires_at = now() - interval '1 second' WHERE build_id = $1")
            .bind(build.0)
            .execute(&self.store.pool)
            .await
            .unwrap();
    }

    async fn count(&self, sql: &'static str, build: BuildId) -> i64 {
        sqlx::query_scalar(sql).bind(build.0).fetch_one(&self.store.pool).await.unwrap()
    }

    /// Runs a claimed build into failure.
    async fn fail(&self, claimed: &ClaimedBuild) {
        let failure = Failure::user("ssh-timeout", "No answer.");
        claimed.journal.append(&[self.started(1)]).await.unwrap();
        claimed.journal.begin_unwinding(&self.unwinding(2, UnwindReason::Failed), Some(&failure)).await.unwrap();
        let over = Ending::Over { state: BuildState::Failed, failure: Some(failure) };
        claimed.journal.end(&over, CleanupState::Done).await.unwrap();
    }

    /// An image of the family `web` that is built, with one AMI of that name.
    async fn built(&self, ami_id: &str) -> ImageRow {
        self.accept(1).await;
        self.succeed(&self.claim().await, ami_id).await;
        self.store.image(ami_id).await.unwrap()
    }

    /// Commits a claimed build with one AMI.
    async fn succeed(&self, claimed: &ClaimedBuild, ami_id: &str) -> (JournalEntry, CommitRecord) {
        let entry = self.entry(1, None, JournalEvent::Committed);
        let record = commit_record(ami_id, claimed);
        claimed.journal.commit(&entry, &record).await.unwrap();
        (entry, record)
    }
}

fn commit_record(ami_id: &str, claimed: &ClaimedBuild) -> CommitRecord {
    CommitRecord {
        copies: vec![ImageCopy {
            region: "us-east-1".into(),
            ami_id: ami_id.into(),
            snapshot_ids: vec!["snap-1".into()],
            platform: "linux".into(),
            architecture: "x86_64".into(),
        }],
        source: Some(SourceImage {
            ami_id: "ami-0123456789abcdef0".into(),
            name: "ubuntu".into(),
            owner_id: "123456789012".into(),
            region: "us-east-1".into(),
            creation_date: "2026-01-01T00:00:00.000Z".into(),
        }),
        os: "Ubuntu 22.04".into(),
        tags: vec![("team".into(), "core".into()), ("Release".into(), "7".into()), ("team".into(), "edge".into())],
        files: vec![RunFile { name: "report.txt".into(), bytes: b"all fine".to_vec() }],
        artifact_id: format!("us-east-1:{ami_id}"),
        manifest: vec![ManifestEntry {
            output: "packer-manifest.json".into(),
            build: json!({
                "name": claimed.facts.build_name, "builder_type": "amazon-ebs", "build_time": 1_767_355_200, "files": null,
                "artifact_id": format!("us-east-1:{ami_id}"), "packer_run_uuid": Uuid::nil(),
                "custom_data": {"z": "<a&b>", "a": "1"}
            }),
        }],
    }
}

/// Waits until a backend of this database waits for a lock: the only sign that a statement has got that far.
async fn until_blocked(store: &Store) {
    tokio::time::timeout(Duration::from_secs(20), async {
        loop {
            let waiting: i64 = sqlx::query_scalar(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'",
            )
            .fetch_one(&store.pool)
            .await
            .unwrap();
            if waiting > 0 {
                return;
            }
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("somebody waits for a lock");
}
