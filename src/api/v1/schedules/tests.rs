use axum::body::Body;
use axum::http::header;
use serde_json::{Value, json};

use crate::api::testing::{Answer, TEMPLATE, TestApi, request};
use crate::domain::role::Role;

async fn scene() -> (TestApi, String) {
    let api = TestApi::new().await;
    let token = api.token(Role::Builder, None).await;
    let stored = api.post(&token, "/v1/templates?name=web", "application/hcl", TEMPLATE).await;
    assert_eq!(stored.status, 201, "{}", stored.text());
    (api, token)
}

fn weekly() -> Value {
    json!({"name": "web-weekly", "template": "web", "cron": "0 6 * * 1", "time_zone": "Europe/Berlin",
           "variables": {"base": "one", "password": "hunter2-of-the-schedule"}, "env": {"TOKEN": "hunter3"}})
}

async fn patch(api: &TestApi, token: &str, path: &str, body: &Value) -> Answer {
    let request = request("PATCH", token, path).header(header::CONTENT_TYPE, "application/json");
    api.send(request.body(Body::from(body.to_string())).unwrap()).await
}

#[tokio::test]
async fn a_schedule_shows_its_next_times_and_no_secret() {
    let (api, token) = scene().await;
    let made = api.post_json(&token, "/v1/schedules", &weekly()).await;
    assert_eq!(made.status, 201, "{}", made.text());
    let schedule = made.json();
    assert_eq!(made.headers[header::LOCATION], format!("/v1/schedules/{}", schedule["id"].as_str().unwrap()).as_str());
    assert_eq!(
        (&schedule["version"], &schedule["overlap"], &schedule["catch_up"]),
        (&json!("newest"), &json!("skip"), &json!("last"))
    );
    // The test's clock stands on Friday, 2 January 2026.
    assert_eq!(schedule["next"][0], json!({"utc": "2026-01-05T05:00:00Z", "local": "2026-01-05T06:00:00+01:00"}));
    assert_eq!(schedule["next"].as_array().unwrap().len(), 5);
    assert!(!made.text().contains("hunter"), "{}", made.text());
    assert_eq!(schedule["variables"], json!({"base": "one", "password": "<sensitive>"}));
    let read = api.get(&token, "/v1/schedules/web-weekly").await;
    assert_eq!(read.json(), schedule);
    let tag = read.headers[header::ETAG].to_str().unwrap();
    let again = request("GET", &token, "/v1/schedules/web-weekly").header(header::IF_NONE_MATCH, tag);
    assert_eq!(api.send(again.body(Body::empty()).unwrap()).await.status, 304);
    assert_eq!(
        api.get(&token, "/v1/schedules?template=web&enabled=true").await.json()["items"].as_array().unwrap().len(),
        1
    );
    assert_eq!(api.post_json(&token, "/v1/schedules", &weekly()).await.problem(409), "schedule-name-taken");
}

#[tokio::test]
async fn what_is_wrong_is_told_when_the_schedule_is_made() {
    let (api, token) = scene().await;
    let wrong = async |change: Value| {
        let mut body = weekly();
        body.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        body.as_object_mut().unwrap().retain(|_, value| !value.is_null());
        let answer = api.post_json(&token, "/v1/schedules", &body).await;
        assert!(answer.status.is_client_error(), "{change}: {}", answer.text());
        let detail = answer.json()["detail"].as_str().unwrap().to_owned();
        (answer.problem(answer.status.as_u16()), detail)
    };
    let (code, detail) = wrong(json!({"cron": "0 25 * * 1"})).await;
    assert_eq!(code, "cron-invalid");
    insta::assert_snapshot!(detail, @r#"The cron line "0 25 * * 1" can't be used: hour: 25 is not from 0 to 23."#);
    let (code, detail) = wrong(json!({"time_zone": "berlin"})).await;
    assert_eq!(code, "time-zone-invalid");
    insta::assert_snapshot!(detail, @r#"The time zone can't be used: "berlin" is not a time zone; did you mean "Europe/Berlin"?"#);
    for (change, expected) in [
        (json!({"template": "api"}), "template-not-found"),
        (json!({"pinned_version": 7}), "template-version-not-found"),
        (json!({"variables": {}}), "template-invalid"),
        (json!({"variables": {"base": "x", "nobody": 1}}), "template-invalid"),
        (json!({"account": "nobody"}), "account-unknown"),
        (json!({"account": "prod"}), "policy-violation"),
        (json!({"overlap": "panic"}), "schedule-invalid"),
        (json!({"catch_up": "all"}), "schedule-invalid"),
        (json!({"jitter": "13h"}), "schedule-invalid"),
        (json!({"version": "newest", "pinned_version": 1}), "schedule-invalid"),
        (json!({"name": "preview"}), "name-invalid"),
        (json!({"name": "a b"}), "name-invalid"),
        (json!({"cron": null}), "request-invalid"),
        (json!({"crom": "x"}), "request-invalid"),
        (json!({"timeout": "soon"}), "timeout-invalid"),
        (json!({"cron": "0,".repeat(600) + "0 6 * * 1"}), "cron-invalid"),
        (json!({"env": {"A": "x".repeat(40 << 10)}}), "schedule-invalid"),
        (json!({"env": {"A": "a\0b"}}), "request-invalid"),
    ] {
        assert_eq!(wrong(change.clone()).await.0, expected, "{change}");
    }
    let viewer = api.token(Role::Viewer, None).await;
    assert_eq!(api.post_json(&viewer, "/v1/schedules", &weekly()).await.problem(403), "role-too-low");
}

#[tokio::test]
async fn a_schedule_is_changed_paused_triggered_and_deleted() {
    let (api, token) = scene().await;
    let id = api.post_json(&token, "/v1/schedules", &weekly()).await.json()["id"].as_str().unwrap().to_owned();
    let changed = patch(
        &api,
        &token,
        "/v1/schedules/web-weekly",
        &json!({"cron": "@weekly", "version": "pinned", "jitter": "10m", "git_sha": "abc"}),
    )
    .await;
    assert_eq!(changed.status, 200, "{}", changed.text());
    let changed = changed.json();
    assert_eq!(
        (&changed["pinned_version"], &changed["jitter_seconds"], &changed["git_sha"]),
        (&json!(1), &json!(600), &json!("abc"))
    );
    // What was not given stays, secrets included.
    assert_eq!((&changed["time_zone"], &changed["variables"]["base"]), (&json!("Europe/Berlin"), &json!("one")));
    let cleared = patch(
        &api,
        &token,
        &format!("/v1/schedules/{id}"),
        &json!({"jitter": null, "git_sha": null, "env": {}, "version": "newest"}),
    )
    .await
    .json();
    assert_eq!(
        (&cleared["jitter_seconds"], &cleared["git_sha"], &cleared["env"], &cleared["pinned_version"]),
        (&json!(0), &json!(null), &json!({}), &json!(null))
    );

    // What is shown for a secret, sent back, keeps it; where there is none it is refused.
    let kept = json!({"variables": {"base": "two", "password": "<sensitive>"}, "time_zone": null, "overlap": null});
    let kept = patch(&api, &token, "/v1/schedules/web-weekly", &kept).await;
    assert_eq!((&kept.json()["time_zone"], kept.status.as_u16()), (&json!("UTC"), 200), "{}", kept.text());
    let row = api.state.store.schedule("web-weekly").await.unwrap();
    let stored = api.state.store.schedule_request(row.id, row.revision).await.unwrap();
    let stored: Value = serde_json::from_slice(&stored).unwrap();
    assert_eq!(stored["variables"], json!({"base": "two", "password": "hunter2-of-the-schedule"}));
    let none = patch(&api, &token, "/v1/schedules/web-weekly", &json!({"env": {"NEW": "<sensitive>"}})).await;
    assert_eq!(none.problem(422), "schedule-invalid");
    let zone = json!({"time_zone": "Europe/Berlin"});
    assert_eq!(patch(&api, &token, "/v1/schedules/web-weekly", &zone).await.status, 200);

    let paused = api.post(&token, "/v1/schedules/web-weekly/pause", "application/json", "").await.json();
    assert_eq!((&paused["enabled"], &paused["next"]), (&json!(false), &json!([])));
    let triggered = request("POST", &token, "/v1/schedules/web-weekly/trigger").header("Idempotency-Key", "once");
    let triggered = api.send(triggered.body(Body::empty()).unwrap()).await;
    assert_eq!(triggered.status, 201, "{}", triggered.text());
    let run = triggered.json();
    assert_eq!((&run["trigger"], &run["schedule_id"], &run["slot"]), (&json!("schedule"), &json!(id), &json!(null)));
    assert!(!triggered.text().contains("hunter"));
    let again = request("POST", &token, "/v1/schedules/web-weekly/trigger").header("Idempotency-Key", "once");
    assert_eq!(api.send(again.body(Body::empty()).unwrap()).await.json()["id"], run["id"]);
    let resumed = api.post(&token, "/v1/schedules/web-weekly/resume", "application/json", "").await.json();
    assert_eq!(resumed["next"][0]["local"], "2026-01-04T00:00:00+01:00");
    let history = api.get(&token, "/v1/schedules/web-weekly/runs").await.json();
    assert_eq!(history["items"].as_array().unwrap().len(), 1);
    assert_eq!((&history["items"][0]["outcome"], &history["items"][0]["run"]["id"]), (&json!("started"), &run["id"]));
    assert_eq!(api.get(&token, "/v1/runs?schedule=web-weekly").await.json()["items"].as_array().unwrap().len(), 1);

    let delete = request("DELETE", &token, "/v1/schedules/web-weekly").body(Body::empty()).unwrap();
    assert_eq!(api.send(delete).await.status, 204);
    assert_eq!(api.get(&token, "/v1/schedules/web-weekly").await.problem(404), "schedule-not-found");
    let admin = api.token(Role::Admin, None).await;
    let audit = api.get(&admin, &format!("/v1/audit?subject=schedule/{id}")).await.json();
    let mut actions: Vec<_> =
        audit["items"].as_array().unwrap().iter().map(|deed| deed["action"].as_str().unwrap()).collect();
    actions.sort_unstable();
    assert_eq!(
        actions,
        [
            "schedule.create",
            "schedule.delete",
            "schedule.pause",
            "schedule.resume",
            "schedule.update",
            "schedule.update",
            "schedule.update",
            "schedule.update"
        ]
    );
    assert!(!audit.to_string().contains("hunter"), "{audit}");
}

#[tokio::test]
async fn a_line_can_be_looked_at_before() {
    let (api, token) = scene().await;
    let ask = json!({"cron": "30 2 * * *", "time_zone": "Europe/Berlin"});
    let preview = api.post_json(&token, "/v1/schedules/preview", &ask).await;
    assert_eq!(preview.json()["next"][0]["local"], "2026-01-03T02:30:00+01:00", "{}", preview.text());
    let bad = api.post_json(&token, "/v1/schedules/preview", &json!({"cron": "* * * *"})).await;
    assert_eq!(bad.problem(422), "cron-invalid");
}
