//! Requests that join or reuse a run, and what explains it.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::body::Body;
use axum::http::header;
use futures::future::join_all;
use serde_json::{Value, json};

use crate::api::testing::{Answer, TestApi, request};
use crate::cloud::fake::{BaseImage, DEFAULT_ACCOUNT_ID, FaultKind};
use crate::cloud::{Cloud as _, CloudErrorClass};
use crate::domain::clock::Clock as _;
use crate::domain::ids::Attempt;
use crate::domain::image::{CommitRecord, ImageCopy, SourceImage};
use crate::domain::journal::{Journal as _, JournalEntry, JournalEvent};
use crate::domain::role::Role;
use crate::store::leases::ClaimedBuild;

/// Its AMI has the time in its name, as most have.
const TEMPLATE: &str = r#"
variable "release" { default = "one" }
variable "password" {
  default   = "hunter2-is-secret"
  sensitive = true
}
source "amazon-ebs" "web" {
  region        = "us-east-1"
  ami_name      = "web-{{timestamp}}-${var.release}"
  instance_type = "t3.micro"
  ssh_username  = "ubuntu"
  source_ami_filter {
    filters     = { name = "ubuntu/images/hvm-ssd/ubuntu-jammy-22.04-amd64-server-*" }
    owners      = ["099720109477"]
    most_recent = true
  }
}
build {
  sources = ["source.amazon-ebs.web"]
  provisioner "shell" { inline = ["echo ${var.password}"] }
}
"#;

/// Newer than all that the fake world has at first.
const NEWER: BaseImage = BaseImage {
    name: "ubuntu/images/hvm-ssd/ubuntu-jammy-22.04-amd64-server-20260101",
    owner_id: "099720109477",
    owner_alias: None,
    architecture: "x86_64",
    root_device_name: "/dev/sda1",
    creation_date: "2026-01-01T12:00:00.000Z",
    deprecated: false,
};

struct Scene {
    api: TestApi,
    token: String,
}

impl Scene {
    async fn new() -> Self {
        let api = TestApi::new().await;
        let token = api.token(Role::Builder, None).await;
        Self { api, token }
    }

    /// Asks for a run with these fields besides the template, a moment later than whatever was before.
    async fn ask(&self, fields: Value) -> Answer {
        self.api.clock.advance(Duration::from_secs(1));
        self.post(fields).await
    }

    async fn post(&self, fields: Value) -> Answer {
        self.api.post_json(&self.token, "/v1/runs", &body(fields)).await
    }

    async fn made(&self, fields: Value) -> Value {
        let answer = self.ask(fields).await;
        assert_eq!(answer.status, 201, "{}", answer.text());
        answer.json()
    }

    async fn get(&self, path: &str) -> Value {
        let answer = self.api.get(&self.token, path).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert!(!answer.text().contains("hunter"), "{}", answer.text());
        answer.json()
    }

    async fn why(&self, run: &Value) -> Value {
        self.get(&format!("/v1/runs/{}/why", id(run))).await
    }

    /// Takes the oldest build that waits, and looks its source AMI up.
    async fn begin(&self) -> ClaimedBuild {
        let claimed = self.api.state.store.claim_queued("server", &BTreeMap::new()).await.unwrap().unwrap();
        let image = self.api.cloud.base_image("us-east-1", "jammy-22.04-amd64-server-20240301").unwrap();
        let output = json!({"account_id": "1", "source": {"ami_id": image.id}});
        let entries = [JournalEvent::Started { intent: json!({}) }, JournalEvent::Succeeded { output }];
        let entries: Vec<JournalEntry> = entries
            .into_iter()
            .zip(1..)
            .map(|(event, seq)| JournalEntry {
                seq,
                attempt: Attempt::FIRST,
                step: Some("check".into()),
                event,
                at: self.api.clock.now(),
            })
            .collect();
        claimed.journal.append(&entries).await.unwrap();
        claimed
    }

    /// Ends that build with an AMI, which it gives.
    async fn succeed(&self, claimed: &ClaimedBuild) -> String {
        let ami_id = self
            .api
            .cloud
            .add_public_image("us-east-1", BaseImage { name: "made", owner_id: DEFAULT_ACCOUNT_ID, ..NEWER });
        let record = CommitRecord {
            copies: vec![ImageCopy {
                region: "us-east-1".into(),
                ami_id: ami_id.clone(),
                snapshot_ids: vec!["snap-1".into()],
                platform: "linux".into(),
                architecture: "x86_64".into(),
            }],
            source: Some(SourceImage {
                ami_id: "ami-0".into(),
                name: "ubuntu".into(),
                owner_id: "1".into(),
                region: "us-east-1".into(),
                creation_date: String::new(),
            }),
            os: "Ubuntu 22.04".into(),
            tags: Vec::new(),
            files: Vec::new(),
            artifact_id: String::new(),
            manifest: Vec::new(),
        };
        let at = self.api.clock.now();
        let entry = JournalEntry { seq: 3, attempt: Attempt::FIRST, step: None, event: JournalEvent::Committed, at };
        claimed.journal.commit(&entry, &record).await.unwrap();
        ami_id
    }
}

fn body(fields: Value) -> Value {
    let mut body = json!({"name": "web", "files": {"web.pkr.hcl": TEMPLATE}});
    let Value::Object(fields) = fields else { panic!("fields are an object") };
    body.as_object_mut().unwrap().extend(fields);
    body
}

fn id(run: &Value) -> &str {
    run["id"].as_str().unwrap()
}

/// The text without ids, which differ each time.
fn told(text: &Value, runs: &[&Value]) -> String {
    let text = text.as_str().unwrap().to_owned();
    runs.iter().zip(1..).fold(text, |text, (run, number)| text.replace(id(run), &format!("RUN-{number}")))
}

#[tokio::test(flavor = "multi_thread")]
async fn of_equal_requests_at_the_same_instant_one_makes_the_run() {
    let scene = Scene::new().await;
    let answers = join_all((0..20).map(|_| scene.post(json!({"dedupe": "join"})))).await;
    let made: Vec<&Answer> = answers.iter().filter(|answer| answer.status == 201).collect();
    assert_eq!(made.len(), 1, "{:?}", answers.iter().map(|answer| answer.status).collect::<Vec<_>>());
    let run = made[0].json();
    assert_eq!(run["dedupe"]["outcome"], "made");
    assert_eq!(run["dedupe"]["run"], Value::Null);
    for answer in answers.iter().filter(|answer| answer.status != 201) {
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(answer.headers[header::LOCATION], format!("/v1/runs/{}", id(&run)).as_str());
        let answer = answer.json();
        assert_eq!((&answer["id"], &answer["dedupe"]["run"]), (&run["id"], &run["id"]));
        assert_eq!(answer["dedupe"]["outcome"], "joined");
    }
    assert_eq!(scene.get("/v1/runs").await["items"].as_array().unwrap().len(), 1);
    assert_eq!(scene.get(&format!("/v1/runs/{}", id(&run))).await["joined_by"], 19);
    let why = scene.why(&run).await;
    assert_eq!(
        (&why["dedupe"], &why["outcome"], why["joined"].as_array().unwrap().len()),
        (&json!("join"), &json!("made"), 19)
    );
    assert!(why["joined"][0]["reason"].as_str().unwrap().starts_with("Joined: run "));
    let admin = scene.api.token(Role::Admin, None).await;
    let audit = scene.api.get(&admin, "/v1/audit?action=run.join&limit=50").await.json();
    assert_eq!(audit["items"].as_array().unwrap().len(), 19, "{audit}");
    assert_eq!(audit["items"][0]["subject"], format!("run/{}", id(&run)));
}

#[tokio::test]
async fn what_differs_is_told() {
    let scene = Scene::new().await;
    let first = scene.made(json!({"dedupe": "join"})).await;
    insta::assert_snapshot!(told(&first["dedupe"]["reason"], &[]), @"Made anew: no run in progress has the same content, and there is no other run of this template in this account.");
    let fields = json!({"dedupe": "join", "variables": {"release": "two", "password": "hunter3-is-secret"}});
    let second = scene.made(fields).await;
    let why = scene.why(&second).await;
    insta::assert_snapshot!(told(&why["reason"], &[&first]), @r#"Made anew: no run in progress has the same content. The nearest is RUN-1 (queued): the variable `password` and the variable `release` ("two" instead of "one") differ."#);
    assert_eq!(why["compared_with"]["run"], first["id"]);
    let parts: Vec<&str> =
        why["compared_with"]["differs"].as_array().unwrap().iter().map(|one| one["part"].as_str().unwrap()).collect();
    assert_eq!(
        parts,
        ["build:amazon-ebs.web:ami_name", "build:amazon-ebs.web:provisioners", "variable:password", "variable:release"]
    );
    // The explanation of a made run is kept, and shown with it.
    assert_eq!(scene.get(&format!("/v1/runs/{}", id(&second))).await["dedupe"]["reason"], why["reason"]);
    // Neither labels nor a time limit matter.
    let same = scene.ask(json!({"dedupe": "join", "labels": {"a": "b"}, "timeout": "2h"})).await;
    assert_eq!((same.status.as_u16(), &same.json()["id"]), (200, &first["id"]));
}

#[tokio::test]
async fn a_run_from_another_source_ami_is_not_joined() {
    let scene = Scene::new().await;
    let first = scene.made(json!({})).await;
    // It has not looked yet, so it will find the newest.
    assert_eq!(scene.ask(json!({"dedupe": "join"})).await.status, 200);
    let claimed = scene.begin().await;
    assert_eq!(scene.ask(json!({"dedupe": "join"})).await.status, 200);
    let newer = scene.api.cloud.add_public_image("us-east-1", NEWER);
    let second = scene.made(json!({"dedupe": "join"})).await;
    let why = scene.why(&second).await;
    let reason = told(&why["reason"], &[&first]);
    assert!(
        reason.starts_with(
            "Made anew: run RUN-1 (running) has the same content, but it was made from another source AMI"
        )
    );
    assert!(reason.contains(&newer), "{reason}");
    assert_eq!(why["compared_with"]["differs"][0]["part"], "source_ami:amazon-ebs.web");
    scene.succeed(&claimed).await;
    let third = scene.ask(json!({"dedupe": "reuse"})).await;
    assert_eq!((third.status.as_u16(), &third.json()["id"]), (200, &second["id"]), "the one that looks later");
}

#[tokio::test]
async fn a_run_that_has_succeeded_is_reused_for_a_while() {
    let scene = Scene::new().await;
    let first = scene.made(json!({})).await;
    scene.succeed(&scene.begin().await).await;
    scene.api.clock.advance(Duration::from_secs(2 * 3600));
    let reused = scene.ask(json!({"dedupe": "reuse", "max_age": "3h"})).await;
    assert_eq!((reused.status.as_u16(), &reused.json()["id"]), (200, &first["id"]), "{}", reused.text());
    let reused = reused.json();
    assert_eq!((&reused["state"], &reused["dedupe"]["outcome"]), (&json!("succeeded"), &json!("reused")));
    insta::assert_snapshot!(told(&reused["dedupe"]["reason"], &[&first]), @"Reused: run RUN-1 made the same content 2 hours ago from the source AMI that would be taken now; its image web #1 is built, and all its AMIs are there.");

    let young = scene.made(json!({"dedupe": "reuse", "max_age": "1h"})).await;
    insta::assert_snapshot!(told(&young["dedupe"]["reason"], &[&first]), @"Made anew: run RUN-1 (succeeded) has the same content, but it is 2 hours old, and 1 hour is the most.");
    // In progress comes first, also when reuse would do.
    let joined = scene.ask(json!({"dedupe": "reuse"})).await.json();
    assert_eq!((&joined["id"], &joined["dedupe"]["outcome"]), (&young["id"], &json!("joined")));
    let cancelled = scene.api.post(&scene.token, &format!("/v1/runs/{}/cancel", id(&young)), "", "").await;
    assert_eq!(cancelled.status, 202, "{}", cancelled.text());
    assert_eq!(scene.get(&format!("/v1/runs/{}", id(&young))).await["joined_by"], 1, "kept after the cancel");
    let again = scene.ask(json!({"dedupe": "reuse"})).await.json();
    assert_eq!((&again["id"], &again["dedupe"]["outcome"]), (&first["id"], &json!("reused")));
    let only_joins = scene.made(json!({"dedupe": "join"})).await;
    assert!(told(&only_joins["dedupe"]["reason"], &[]).starts_with("Made anew: run "));
}

#[tokio::test]
async fn a_run_whose_ami_is_gone_is_not_reused() {
    let scene = Scene::new().await;
    let first = scene.made(json!({})).await;
    let ami = scene.succeed(&scene.begin().await).await;
    scene.api.cloud.deregister_image("us-east-1", &ami).await.unwrap();
    let made = scene.made(json!({"dedupe": "reuse"})).await;
    insta::assert_snapshot!(told(&made["dedupe"]["reason"], &[&first]), @"Made anew: run RUN-1 (succeeded) has the same content, but it has lost 1 of the 1 AMIs of its image web #1.");
}

#[tokio::test]
async fn a_repeated_request_gets_the_same_answer() {
    let scene = Scene::new().await;
    let keyed = async |key: &str| {
        let builder = request("POST", &scene.token, "/v1/runs")
            .header(header::CONTENT_TYPE, "application/json")
            .header("idempotency-key", key);
        scene.api.send(builder.body(Body::from(body(json!({"dedupe": "join"})).to_string())).unwrap()).await
    };
    let made = keyed("one").await;
    let joined = keyed("two").await;
    assert_eq!((made.status.as_u16(), joined.status.as_u16()), (201, 200));
    assert_eq!(made.json()["id"], joined.json()["id"]);
    for (key, first) in [("one", &made), ("two", &joined)] {
        let again = keyed(key).await;
        assert_eq!((again.status, again.text()), (first.status, first.text()));
        assert_eq!(again.headers[header::LOCATION], first.headers[header::LOCATION]);
        assert_eq!(again.headers["idempotency-replayed"], "true");
    }
    assert_eq!(scene.why(&made.json()).await["joined"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn without_the_cloud_a_run_is_made_and_says_so() {
    let scene = Scene::new().await;
    scene.made(json!({})).await;
    let refused = FaultKind::refuse(CloudErrorClass::Unauthorized, "UnauthorizedOperation");
    scene.api.cloud.fail_next("DescribeImages", refused, 1);
    let run = scene.made(json!({"dedupe": "join"})).await;
    insta::assert_snapshot!(told(&run["dedupe"]["reason"], &[]), @"Made anew: whether another run would do can't be told, because the source AMI of build `amazon-ebs.web` could not be looked up (UnauthorizedOperation).");
    assert!(run["warnings"].to_string().contains("No other run was joined"), "{run}");
    assert_eq!(scene.why(&run).await["reason"], run["dedupe"]["reason"]);
    // What is passing is tried again.
    let throttled = FaultKind::refuse(CloudErrorClass::Throttled, "RequestLimitExceeded");
    scene.api.cloud.fail_next("DescribeImages", throttled, 1);
    assert_eq!(scene.ask(json!({"dedupe": "join"})).await.status, 200);
}

#[tokio::test]
async fn runs_that_asked_for_nothing_are_explained() {
    let scene = Scene::new().await;
    let first = scene.made(json!({})).await;
    assert_eq!(first.get("dedupe"), None);
    let why = scene.why(&first).await;
    assert_eq!((&why["dedupe"], &why["compared_with"]), (&Value::Null, &Value::Null));
    insta::assert_snapshot!(told(&why["reason"], &[]), @"Made anew: the request did not ask to join or reuse a run (`dedupe` was left out). It is the first run of its template in this account.");
    let second = scene.made(json!({"dedupe": "never", "variables": {"release": "two"}})).await;
    assert_eq!(second["dedupe"]["mode"], "never");
    let why = scene.why(&second).await;
    assert_eq!(why["dedupe"], "never");
    insta::assert_snapshot!(told(&why["reason"], &[&first]), @r#"Made anew: the request asked for it (`dedupe` was `never`). Compared with RUN-1 (queued), the run of this template before it in this account: the variable `release` ("two" instead of "one") differs."#);
    let third = scene.made(json!({"variables": {"release": "two"}})).await;
    insta::assert_snapshot!(told(&scene.why(&third).await["reason"], &[&second]), @"Made anew: the request did not ask to join or reuse a run (`dedupe` was left out). It has the same content as RUN-1 (queued), the run of this template before it in this account.");

    let weekly = json!({"name": "weekly", "template": "web", "cron": "0 6 * * 1", "time_zone": "UTC"});
    let answer = scene.api.post_json(&scene.token, "/v1/schedules", &weekly).await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    scene.api.clock.advance(Duration::from_secs(1));
    let triggered = scene.api.post_json(&scene.token, "/v1/schedules/weekly/trigger", &json!({})).await.json();
    insta::assert_snapshot!(told(&scene.why(&triggered).await["reason"], &[&third]), @r#"Made anew: somebody triggered schedule `weekly`; that makes a run each time. Compared with RUN-1 (queued), the run of this template before it in this account: the variable `release` ("one" instead of "two") differs."#);
    let nobody = scene.api.get(&scene.token, "/v1/runs/00000000-0000-7000-8000-000000000000/why").await;
    assert_eq!(nobody.problem(404), "run-not-found");
}

#[tokio::test]
async fn raw_forms_ask_in_their_query() {
    let scene = Scene::new().await;
    let raw = async |query: &str| {
        scene.api.post(&scene.token, &format!("/v1/runs?name=web&{query}"), "application/hcl", TEMPLATE).await
    };
    assert_eq!(raw("dedupe=join").await.status, 201);
    assert_eq!(raw("dedupe=join").await.status, 200);
    assert_eq!(raw("dedupe=reuse&max_age=1h").await.status, 200);
    assert_eq!(raw("dedupe=always").await.problem(422), "dedupe-invalid");
    assert_eq!(raw("max_age=1h").await.problem(422), "max-age-invalid");
    assert_eq!(raw("dedupe=reuse&max_age=soon").await.problem(422), "max-age-invalid");
}
