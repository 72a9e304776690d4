use std::collections::BTreeMap;

use axum::body::Body;
use axum::http::header;
use serde_json::{Value, json};

use crate::api::testing::{Answer, TestApi, request};
use crate::domain::clock::Clock as _;
use crate::domain::ids::Attempt;
use crate::domain::image::{CommitRecord, ImageCopy, SourceImage};
use crate::domain::journal::{Journal as _, JournalEntry, JournalEvent};
use crate::domain::role::Role;

struct Scene {
    api: TestApi,
    promoter: String,
    builder: String,
}

impl Scene {
    async fn new() -> Self {
        let api = TestApi::new().await;
        let promoter = api.token(Role::Promoter, None).await;
        let builder = api.token(Role::Builder, None).await;
        Self { api, promoter, builder }
    }

    /// An image of the family `web` with an AMI in two regions; its id.
    async fn image(&self, number: usize, os: &str) -> String {
        let run = self.api.run(&self.builder).await;
        let claimed = self.api.state.store.claim_queued("server", &BTreeMap::new()).await.unwrap().unwrap();
        let copy = |region: &str| ImageCopy {
            region: region.to_owned(),
            ami_id: format!("ami-{number}-{region}"),
            snapshot_ids: vec!["snap-1".into()],
            platform: "linux".into(),
            architecture: "x86_64".into(),
        };
        let record = CommitRecord {
            copies: vec![copy("eu-central-1"), copy("us-east-1")],
            source: Some(SourceImage {
                ami_id: "ami-0".into(),
                name: "ubuntu".into(),
                owner_id: "1".into(),
                region: "eu-central-1".into(),
                creation_date: String::new(),
            }),
            os: "Ubuntu 22.04".into(),
            tags: vec![("OS".into(), os.into()), ("ingot:family".into(), "web".into())],
            files: Vec::new(),
            artifact_id: String::new(),
            manifest: Vec::new(),
        };
        let at = self.api.clock.now();
        let entry = JournalEntry { seq: 1, attempt: Attempt::FIRST, step: None, event: JournalEvent::Committed, at };
        claimed.journal.commit(&entry, &record).await.unwrap();
        self.api.clock.advance(std::time::Duration::from_secs(1));
        run["image"]["id"].as_str().unwrap().to_owned()
    }

    async fn promote(&self, image: &str, to: &str) -> Answer {
        self.api
            .post_json(
                &self.promoter,
                &format!("/v1/images/{image}/promote"),
                &json!({"to": to, "comment": "looks good"}),
            )
            .await
    }

    async fn latest(&self, query: &str) -> Answer {
        self.api.get(&self.builder, &format!("/v1/images/latest?{query}")).await
    }
}

#[tokio::test]
async fn an_image_is_promoted_and_found_as_the_latest() {
    let scene = Scene::new().await;
    let first = scene.image(1, "Ubuntu").await;
    let nothing = scene.latest("family=web").await;
    assert_eq!(nothing.problem(404), "no-approved-image");
    assert_eq!(scene.promote(&first, "prod").await.problem(409), "stage-skipped");
    for stage in ["dev", "staging", "prod"] {
        let promoted = scene.promote(&first, stage).await;
        assert_eq!(promoted.status, 200, "{}", promoted.text());
        let promoted = promoted.json();
        assert_eq!(
            (&promoted["stage"], &promoted["generation"], &promoted["tags_pending"]),
            (&json!(stage), &json!(1), &json!(true))
        );
        scene.api.clock.advance(std::time::Duration::from_secs(1));
    }
    // By an AMI's id as well.
    let second = scene.image(2, "Debian").await;
    assert_eq!(scene.promote("ami-2-us-east-1", "dev").await.status, 200);
    let latest = scene.latest("family=web&tag.OS=Ubuntu&region=us-east-1").await;
    assert_eq!(latest.status, 200, "{}", latest.text());
    let found = latest.json();
    assert_eq!(
        (&found["ami_id"], &found["stage"], &found["image"]["number"]),
        (&json!("ami-1-us-east-1"), &json!("prod"), &json!(1))
    );
    assert_eq!((&found["copies"].as_array().unwrap().len(), &found["image"]["tags"]["OS"]), (&1, &json!("Ubuntu")));
    assert_eq!(scene.latest("stage=dev").await.json()["ami_id"], "ami-2-eu-central-1", "its own region first");
    let text = request("GET", &scene.builder, "/v1/images/latest?family=web").header(header::ACCEPT, "text/plain");
    let text = scene.api.send(text.body(Body::empty()).unwrap()).await;
    assert_eq!(text.text(), "ami-1-eu-central-1\n");
    let tag = latest.headers[header::ETAG].to_str().unwrap();
    let again = request("GET", &scene.builder, "/v1/images/latest?family=web&tag.OS=Ubuntu&region=us-east-1");
    let again = again.header(header::IF_NONE_MATCH, tag).body(Body::empty()).unwrap();
    assert_eq!(scene.api.send(again).await.status, 304);

    let image = scene.api.get(&scene.builder, &format!("/v1/images/{first}")).await.json();
    assert_eq!(
        (&image["stage"], &image["stages"], &image["tags_pending"]),
        (&json!("prod"), &json!(["staging", "prod"]), &json!(true))
    );
    let in_dev = scene.api.get(&scene.builder, "/v1/images?stage=dev").await.json();
    assert_eq!(in_dev["items"][0]["id"], second);
    let stages = scene.api.get(&scene.builder, "/v1/stages").await.json();
    let names: Vec<_> = stages["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|stage| (stage["name"].clone(), stage["families"].clone()))
        .collect();
    assert_eq!(names, [(json!("dev"), json!(1)), (json!("staging"), json!(1)), (json!("prod"), json!(1))]);
    let page = scene.api.get(&scene.builder, "/v1/stages?limit=2").await.json();
    let path = format!("/v1/stages?limit=2&cursor={}", page["next_cursor"].as_str().unwrap());
    let rest = scene.api.get(&scene.builder, &path).await.json();
    assert_eq!((&page["items"][1]["name"], &rest["items"][0]["name"]), (&json!("staging"), &json!("prod")));
    assert_eq!(rest["next_cursor"], Value::Null);
    let prod = scene.api.get(&scene.builder, "/v1/stages/prod").await.json();
    assert_eq!((&prod["items"][0]["family"], &prod["items"][0]["comment"]), (&json!("web"), &json!("looks good")));
    let history = scene.api.get(&scene.builder, &format!("/v1/images/{first}/history")).await.json();
    let events: Vec<_> = history["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|event| (event["event"].as_str().unwrap(), event["stage"].as_str().unwrap_or("-")))
        .collect();
    assert_eq!(
        events,
        [
            ("replaced", "dev"),
            ("promoted", "prod"),
            ("promoted", "staging"),
            ("promoted", "dev"),
            ("built", "-"),
            ("build-committed", "-")
        ]
    );
}

#[tokio::test]
async fn a_look_up_that_finds_nothing_says_why() {
    let scene = Scene::new().await;
    let image = scene.image(1, "Ubuntu").await;
    scene.promote(&image, "dev").await;
    let told = async |query: &str| {
        let answer = scene.latest(query).await;
        assert_eq!(answer.problem(404), "no-approved-image");
        let answer = answer.json();
        let lines: Vec<_> = answer["errors"]
            .as_array()
            .unwrap()
            .iter()
            .map(|error| error["message"].as_str().unwrap().to_owned())
            .collect();
        format!("[{query}] {}\n{}", answer["detail"].as_str().unwrap(), lines.join("\n"))
    };
    let all = [
        told("family=web").await,
        told("stage=dev&family=wbe").await,
        told("stage=dev&tag.OS=Debian&region=eu-west-1").await,
    ];
    insta::assert_snapshot!(all.join("\n\n"), @r#"
    [family=web] No approved image in prod matches; stage=prod: no image is in prod; one gets there by POST /v1/images/ID/promote.
    stage=prod: no image is in prod; one gets there by POST /v1/images/ID/promote
    family=web: it has no image in this stage; dev holds #1

    [stage=dev&family=wbe] No approved image in dev matches; family=wbe: no image of this family is in dev or any other stage; did you mean "web"?
    family=wbe: no image of this family is in dev or any other stage; did you mean "web"?

    [stage=dev&tag.OS=Debian&region=eu-west-1] No approved image in dev matches; region=eu-west-1: no image in dev has it; there are eu-central-1, us-east-1.
    region=eu-west-1: no image in dev has it; there are eu-central-1, us-east-1
    tag.OS=Debian: no image in dev has it; there are Ubuntu
    "#);
    let unknown = scene.latest("stage=production").await;
    assert_eq!(unknown.problem(422), "stage-unknown");
    // An empty value is a script's unset variable, and must not mean any.
    for wrong in ["famly=web", "family=&stage=dev", "region=&stage=dev", "stage="] {
        assert_eq!(scene.latest(wrong).await.problem(400), "query-invalid", "{wrong}");
    }
}

#[tokio::test]
async fn changes_are_told_apart_and_written_down() {
    let scene = Scene::new().await;
    let (first, second) = (scene.image(1, "Ubuntu").await, scene.image(2, "Ubuntu").await);
    assert_eq!(scene.promote(&first, "dev").await.json()["generation"], 1);
    let path = format!("/v1/images/{second}/promote");
    let stale = scene.api.post_json(&scene.promoter, &path, &json!({"to": "dev", "expected_generation": 0})).await;
    assert_eq!(stale.problem(409), "stage-moved");
    assert!(
        stale.json()["detail"].as_str().unwrap().contains("it holds #1 since a promote by promoter-"),
        "{}",
        stale.text()
    );
    let keyed = async || {
        let body = Body::from(json!({"to": "dev"}).to_string());
        let keyed = request("POST", &scene.promoter, &path)
            .header("Idempotency-Key", "k")
            .header(header::CONTENT_TYPE, "application/json");
        scene.api.send(keyed.body(body).unwrap()).await
    };
    let (one, two) = (keyed().await, keyed().await);
    assert_eq!((one.status.as_u16(), one.json()), (two.status.as_u16(), two.json()));
    assert_eq!(
        (one.json()["generation"].clone(), two.headers["idempotency-replayed"].to_str().unwrap()),
        (json!(2), "true")
    );
    let back = scene.api.post_json(&scene.promoter, "/v1/stages/dev/rollback", &json!({"family": "web"})).await;
    assert_eq!(
        (&back.json()["action"], &back.json()["image"]["number"], &back.json()["previous_image"]["number"]),
        (&json!("rollback"), &json!(1), &json!(2))
    );
    let nothing = scene.api.post_json(&scene.promoter, "/v1/stages/dev/rollback", &json!({"family": "web"})).await;
    assert_eq!(nothing.problem(409), "rollback-impossible");
    let unknown = scene.api.post_json(&scene.promoter, "/v1/stages/dev/rollback", &json!({"family": "api"})).await;
    assert_eq!(unknown.problem(404), "family-not-found");
    let demoted = scene.api.post(&scene.promoter, &format!("/v1/images/{first}/demote"), "application/json", "").await;
    assert_eq!(
        (&demoted.json()["image"], &demoted.json()["generation"]),
        (&Value::Null, &json!(4)),
        "{}",
        demoted.text()
    );
    let history = scene.api.get(&scene.builder, "/v1/stages/dev/history?family=web&limit=3").await.json();
    assert_eq!(
        history["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|change| change["generation"].as_i64().unwrap())
            .collect::<Vec<_>>(),
        [4, 3, 2]
    );
    let cursor = history["next_cursor"].as_str().unwrap();
    let rest = scene
        .api
        .get(&scene.builder, &format!("/v1/stages/dev/history?family=web&limit=3&cursor={cursor}"))
        .await
        .json();
    assert_eq!(rest["items"][0]["generation"], 1);

    let admin = scene.api.token(Role::Admin, None).await;
    let audit = scene.api.get(&admin, "/v1/audit?action=image.*&subject=stage/dev/web").await.json();
    assert_eq!(audit["items"].as_array().unwrap().len(), 4);
    let deed = audit["items"].as_array().unwrap().iter().find(|deed| deed["action"] == "image.rollback").unwrap();
    assert_eq!((&deed["before"]["image"]["number"], &deed["after"]["image"]["number"]), (&json!(2), &json!(1)));
    assert!(deed["request_id"].is_string());
    let by = deed["principal"].as_str().unwrap();
    assert_eq!(
        scene.api.get(&admin, &format!("/v1/audit?principal={by}&after=2026-01-01T00:00:00Z")).await.json()["items"]
            .as_array()
            .unwrap()
            .len(),
        4
    );
    assert_eq!(scene.api.get(&admin, "/v1/audit?before=2025-01-01T00:00:00Z").await.json()["items"], json!([]));
    let builder = scene.api.post_json(&scene.builder, &path, &json!({"to": "dev"})).await;
    assert_eq!(builder.problem(403), "role-too-low");
}
