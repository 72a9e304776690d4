use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::api::testing::{Answer, TestApi, request};
use crate::cloud::fake::{FakeCloud, FaultKind, sample_launch};
use crate::cloud::{Cloud as _, CloudErrorClass};
use crate::domain::ids::{Attempt, BuildId, DeploymentId};
use crate::domain::janitor::SweepSettings;
use crate::domain::role::Role;
use crate::domain::tags::Ownership;
use crate::engine::janitor::{Further, Janitor};

const OURS: DeploymentId = DeploymentId(Uuid::from_u128(3));

struct Scene {
    api: TestApi,
    cloud: FakeCloud,
    admin: String,
    viewer: String,
}

impl Scene {
    /// With an instance of a build that the database does not know.
    async fn new() -> Self {
        let api = TestApi::new().await;
        let cloud = FakeCloud::new();
        let owner = Ownership { deployment: OURS, build: BuildId(Uuid::from_u128(9)), attempt: Attempt::FIRST };
        let mut launch = sample_launch(&cloud, "us-east-1", "t");
        launch.machine.instance_tags = owner.temporary_tags();
        cloud.run_instance("us-east-1", &launch).await.unwrap();
        let (admin, viewer) = (api.token(Role::Admin, None).await, api.token(Role::Viewer, None).await);
        Self { api, cloud, admin, viewer }
    }

    /// A worker of this installation at work, until it is cancelled.
    fn worker(&self) -> CancellationToken {
        let stop = CancellationToken::new();
        let janitor = Janitor {
            store: self.api.state.store.clone(),
            accounts: Arc::new(self.cloud.clone()),
            clock: self.api.clock.clone(),
            deployment: OURS,
            server: "worker-1".into(),
            settings: SweepSettings::default(),
            further: Further::default(),
        };
        tokio::spawn(janitor.run(stop.clone()));
        stop
    }

    async fn show(&self, query: &str) -> Value {
        let answer = self.api.get(&self.viewer, &format!("/v1/janitor{query}")).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()
    }

    async fn sweep(&self, order: &Value) -> Answer {
        // Equal times have no order.
        self.api.clock.advance(Duration::from_secs(1));
        self.api.post_json(&self.admin, "/v1/janitor/sweep", order).await
    }
}

#[tokio::test]
async fn a_sweep_on_request_is_answered_with_what_it_saw() {
    let scene = Scene::new().await;
    assert_eq!(scene.show("").await["last_sweep"], Value::Null);
    let refused = FaultKind::refuse(CloudErrorClass::Unauthorized, "UnauthorizedOperation");
    let stop = scene.worker();
    // The worker's own first sweep is out of the way.
    while scene.show("").await["last_sweep"].is_null() {
        tokio::task::yield_now().await;
    }
    scene.cloud.fail_next("DescribeVolumes", refused, 1);
    let answer = scene.sweep(&json!({"dry_run": true})).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let swept = answer.json();
    assert_eq!(
        (&swept["state"], &swept["dry_run"], &swept["server"]),
        (&json!("done"), &json!(true), &json!("worker-1"))
    );
    let refused: Vec<_> =
        swept["places"].as_array().unwrap().iter().filter(|place| !place["error"].is_null()).collect();
    assert_eq!((swept["places"].as_array().unwrap().len(), refused.len()), (4, 1));
    let answer = scene.sweep(&json!({"account": "default", "region": "us-east-1"})).await.json();
    let [finding] = &answer["findings"].as_array().unwrap()[..] else { panic!("{answer}") };
    assert_eq!((&finding["why"], &finding["action"]), (&json!("unknown-build"), &json!("reported")));
    assert_eq!(finding["build_id"], json!(Uuid::from_u128(9)));
    assert_eq!(finding["tags"]["ingot:temporary"], "true");
    // A t3.micro with a public address.
    assert_eq!(finding["cost_estimate"], json!({"usd_per_hour": 0.0154, "usd_per_month": 11.24}));
    let unknown = scene.sweep(&json!({"region": "mars-north-1"})).await;
    assert_eq!(unknown.problem(422), "region-unknown");
    let asked_in_vain = request("POST", &scene.admin, "/v1/janitor/sweep?dry_run=true").body(Body::empty()).unwrap();
    assert_eq!(scene.api.send(asked_in_vain).await.problem(400), "query-invalid");
    stop.cancel();

    let audit = scene.api.get(&scene.admin, "/v1/audit?action=janitor.sweep").await.json();
    assert_eq!(audit["items"].as_array().unwrap().len(), 3);
    assert_eq!(audit["items"][2]["after"], json!({"dry_run": true, "account": null, "region": null}));
}

#[tokio::test]
async fn findings_are_listed_filtered_and_added_up() {
    let scene = Scene::new().await;
    let stop = scene.worker();
    while scene.show("").await["last_sweep"].is_null() {
        tokio::task::yield_now().await;
    }
    stop.cancel();
    let all = scene.show("").await;
    assert_eq!(all["totals"]["by_why"], json!({"unknown-build": 1}));
    assert_eq!((&all["totals"]["findings"], &all["totals"]["unpriced"]), (&json!(1), &json!(0)));
    assert_eq!(all["totals"]["cost_estimate"]["usd_per_month"], 11.24);
    let begun: chrono::DateTime<chrono::Utc> = all["last_sweep"]["begun_at"].as_str().unwrap().parse().unwrap();
    let next: chrono::DateTime<chrono::Utc> = all["next_sweep_at"].as_str().unwrap().parse().unwrap();
    assert_eq!((next - begun).to_std().unwrap(), Duration::from_mins(5));
    for (query, expected) in [
        ("?account=default&region=us-east-1&kind=instance&why=unknown-build&action=reported", 1),
        ("?region=eu-west-1", 0),
        ("?kind=volume", 0),
        ("?why=left-behind", 0),
        ("?state=gone", 0),
        ("?state=all", 1),
    ] {
        let shown = scene.show(query).await;
        assert_eq!(shown["findings"].as_array().unwrap().len(), expected, "{query}");
        assert_eq!(shown["totals"]["findings"], expected, "{query}");
    }
    for wrong in ["?kind=moon", "?state=away", "?limit=0", "?builds=1"] {
        let answer = scene.api.get(&scene.viewer, &format!("/v1/janitor{wrong}")).await;
        assert_eq!(answer.problem(400), "query-invalid", "{wrong}");
    }
}

#[tokio::test]
async fn only_an_admin_sweeps_and_the_order_is_checked() {
    let scene = Scene::new().await;
    for role in [Role::Viewer, Role::Builder, Role::Promoter] {
        let token = scene.api.token(role, None).await;
        let answer = scene.api.post_json(&token, "/v1/janitor/sweep", &json!({})).await;
        assert_eq!(answer.problem(403), "role-too-low");
    }
    assert_eq!(scene.sweep(&json!({"account": "nowhere"})).await.problem(422), "account-unknown");
    assert_eq!(scene.sweep(&json!({"region": " "})).await.problem(422), "region-invalid");
    assert!(scene.sweep(&json!({"dry": true})).await.status.is_client_error());
    assert_eq!(scene.show("").await["sweep_under_way"], Value::Null);
}

#[tokio::test]
async fn without_a_worker_the_request_says_so_and_a_second_one_does_not_queue() {
    let mut scene = Scene::new().await;
    scene.api.limit_requests_to(Duration::from_secs(2));
    let all = json!({});
    let (first, second) = tokio::join!(scene.sweep(&all), async {
        while scene.show("").await["sweep_under_way"].is_null() {
            tokio::task::yield_now().await;
        }
        scene.sweep(&all).await
    });
    assert_eq!(first.problem(503), "janitor-away");
    assert_eq!(second.problem(409), "sweep-running");
    assert_eq!(scene.show("").await["sweep_under_way"], Value::Null);
}
