//! The real router on a real database, for the tests of endpoints.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, BodyDataStream};
use axum::http::{HeaderMap, Request, StatusCode, header};
use secrecy::SecretString;
use serde_json::Value;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use super::{ApiState, Limits, router};
use crate::auth::{Authenticator, PlainToken};
use crate::cloud::fake::FakeCloud;
use crate::domain::clock::Clock as _;
use crate::domain::ids::TokenId;
use crate::domain::lint::{LintLevel, LintPolicy};
use crate::domain::policy::Policy;
use crate::domain::role::Role;
use crate::engine::accept::{AcceptSettings, Random};
use crate::engine::channels::ChannelSettings;
use crate::engine::data_sources::DataSources;
use crate::store::Actor;
use crate::store::approved::ApprovedImages;
use crate::store::test_support::{TestClock, TestDatabase};
use crate::store::tokens::NewToken;

pub const BOOTSTRAP: &str = "bootstrap-token-for-tests";

/// A template with a required, a sensitive and a typed variable.
pub const TEMPLATE: &str = r#"
variable "base" { type = string }
variable "count" {
  type    = number
  default = 2
}
variable "password" {
  type      = string
  default   = "hunter2-is-secret"
  sensitive = true
}
source "amazon-ebs" "web" {
  region        = "eu-central-1"
  ami_name      = "web-${var.base}"
  instance_type = "t3.micro"
  source_ami    = "ami-0123456789abcdef0"
  ssh_username  = "ubuntu"
}
build {
  sources = ["source.amazon-ebs.web"]
  provisioner "shell" { inline = ["echo ${var.password}"] }
}
"#;

pub struct TestApi {
    pub state: ApiState,
    pub clock: Arc<TestClock>,
    /// Where source AMIs are looked up.
    pub cloud: FakeCloud,
    router: Router,
    /// Kept, because the database lives as long.
    _database: TestDatabase,
}

/// An answer, read to its end.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub bytes: Vec<u8>,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes).unwrap_or_else(|_| panic!("not JSON: {}", self.text()))
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }

    /// The problem's code, when it has this status.
    pub fn problem(&self, status: u16) -> String {
        assert_eq!(self.status.as_u16(), status, "{}", self.text());
        assert_eq!(self.headers[header::CONTENT_TYPE], "application/problem+json");
        self.json()["type"].as_str().unwrap().trim_start_matches("urn:ingot:problem:").to_owned()
    }

    /// The problem document without what differs each time.
    pub fn snapshot(&self) -> Value {
        let mut document = self.json();
        assert!(document["instance"].as_str().unwrap().starts_with("urn:request:"));
        document["instance"] = "urn:request:<id>".into();
        document
    }
}

impl TestApi {
    pub async fn new() -> Self {
        Self::with_lint(&[]).await
    }

    /// With levels of lint rules.
    pub async fn with_lint(levels: &[(&str, LintLevel)]) -> Self {
        let database = TestDatabase::new().await;
        let clock = Arc::new(TestClock::new());
        let store = database.store(clock.clone()).await;
        let counter = AtomicU64::new(1);
        let random: Random = Arc::new(move || {
            let mut bytes = [0; 32];
            bytes[..8].copy_from_slice(&counter.fetch_add(1, Ordering::Relaxed).to_be_bytes());
            bytes
        });
        let cloud = FakeCloud::new();
        let prod = Policy { regions: vec!["us-east-1".to_owned()], ..Policy::default() };
        let accept = AcceptSettings {
            policies: BTreeMap::from([("default".to_owned(), Policy::default()), ("prod".to_owned(), prod)]),
            builder_identity: "ingot/test".to_owned(),
            lint: LintPolicy { levels: levels.iter().map(|(rule, level)| ((*rule).to_owned(), *level)).collect() },
            evaluation_time_limit: Duration::from_secs(10),
            random: random.clone(),
            accounts: Some(Arc::new(cloud.clone())),
            data_sources: DataSources { accounts: Some(Arc::new(cloud.clone())), http_allow: Vec::new() },
            default_region: Some("us-east-1".to_owned()),
            channels: ChannelSettings { from_templates: vec!["dev".to_owned()], ..ChannelSettings::default() },
        };
        let state = ApiState {
            store: store.clone(),
            accept: Arc::new(accept),
            stage_order: Arc::default(),
            approved: ApprovedImages::new(store),
            limits: Limits {
                max_bundle_bytes: 64 * 1024,
                max_unpacked_bytes: 128 * 1024,
                max_files: 20,
                request_timeout: Duration::from_secs(20),
                max_requests: 100,
            },
            clock: clock.clone(),
            random,
            wake: Arc::new(|| {}),
            auth: Arc::new(Authenticator::new(Some(&SecretString::from(BOOTSTRAP)))),
            metrics: None,
            not_ready: Arc::new(|| None),
            drain: CancellationToken::new(),
        };
        Self { router: router(state.clone()), state, clock, cloud, _database: database }
    }

    /// From now on.
    pub fn limit_requests_to(&mut self, limit: Duration) {
        self.state.limits.request_timeout = limit;
        self.router = router(self.state.clone());
    }

    /// A token of a role; `lifetime` from now.
    pub async fn token(&self, role: Role, lifetime: Option<Duration>) -> String {
        let token = PlainToken::from_random((self.state.random)());
        let id = TokenId(self.state.new_id());
        let expires_at = lifetime.map(|lifetime| self.clock.now() + lifetime);
        let new = NewToken { id, name: format!("{role}-{id}"), description: String::new(), role, expires_at };
        let actor = Actor { principal: "test".to_owned(), request_id: None };
        self.state.store.insert_token(&new, token.hash().0, &actor).await.unwrap();
        token.expose().to_owned()
    }

    pub async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = axum::body::to_bytes(body, usize::MAX).await.unwrap().to_vec();
        Answer { status: parts.status, headers: parts.headers, bytes }
    }

    /// An answer that goes on.
    pub async fn open(&self, request: Request<Body>) -> BodyDataStream {
        self.router.clone().oneshot(request).await.unwrap().into_body().into_data_stream()
    }

    pub async fn get(&self, token: &str, path: &str) -> Answer {
        self.send(request("GET", token, path).body(Body::empty()).unwrap()).await
    }

    pub async fn post(&self, token: &str, path: &str, content_type: &str, body: impl Into<Body>) -> Answer {
        self.send(request("POST", token, path).header(header::CONTENT_TYPE, content_type).body(body.into()).unwrap())
            .await
    }

    pub async fn post_json(&self, token: &str, path: &str, body: &Value) -> Answer {
        self.post(token, path, "application/json", body.to_string()).await
    }

    /// Starts a run of [`TEMPLATE`] and gives its JSON.
    pub async fn run(&self, token: &str) -> Value {
        let answer = self.post(token, "/v1/runs?name=web&var.base=one", "application/hcl", TEMPLATE).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.text());
        answer.json()
    }
}

pub fn request(method: &str, token: &str, path: &str) -> axum::http::request::Builder {
    Request::builder().method(method).uri(path).header(header::AUTHORIZATION, format!("Bearer {token}"))
}
