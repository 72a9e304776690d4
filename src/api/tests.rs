use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, header};
use serde_json::json;

use super::testing::{BOOTSTRAP, TEMPLATE, TestApi, request};
use crate::domain::role::Role;

#[tokio::test]
async fn tokens_are_asked_for_and_told_what_is_wrong() {
    let api = TestApi::new().await;
    let missing = api.send(Request::get("/v1/runs").body(Body::empty()).unwrap()).await;
    assert_eq!(missing.problem(401), "token-missing");
    assert_eq!(missing.headers[header::WWW_AUTHENTICATE], "Bearer realm=\"ingot\"");
    insta::assert_json_snapshot!("token_missing", missing.snapshot());
    let unknown = api.get("ingot_nobody", "/v1/runs").await;
    assert_eq!(unknown.problem(401), "token-unknown");
    assert!(unknown.headers[header::WWW_AUTHENTICATE].to_str().unwrap().contains("invalid_token"));
    let basic = Request::get("/v1/runs").header(header::AUTHORIZATION, "Basic eDp5").body(Body::empty()).unwrap();
    assert_eq!(api.send(basic).await.problem(401), "token-missing");

    let expiring = api.token(Role::Viewer, Some(Duration::from_hours(1))).await;
    assert_eq!(api.get(&expiring, "/v1/runs").await.status, 200);
    api.clock.advance(Duration::from_hours(1));
    let expired = api.get(&expiring, "/v1/runs").await;
    assert_eq!(expired.problem(401), "token-expired");
    assert!(
        expired.json()["detail"].as_str().unwrap().contains("expired on 2026-01-02T13:00:00Z"),
        "{}",
        expired.text()
    );
}

#[tokio::test]
async fn roles_reach_as_far_as_they_say() {
    let api = TestApi::new().await;
    let viewer = api.token(Role::Viewer, None).await;
    let builder = api.token(Role::Builder, None).await;
    let forbidden = api.post(&viewer, "/v1/runs?var.base=x", "application/hcl", TEMPLATE).await;
    assert_eq!(forbidden.problem(403), "role-too-low");
    assert_eq!(api.get(&builder, "/v1/audit").await.problem(403), "role-too-low");
    assert_eq!(api.get(&builder, "/v1/tokens").await.problem(403), "role-too-low");
    assert_eq!(api.get(&viewer, "/v1/tokens/self").await.json()["role"], "viewer");
    assert_eq!(api.get(&viewer, "/v1/server").await.json()["accounts"][1]["name"], "prod");
}

#[tokio::test]
async fn the_bootstrap_token_counts_until_there_is_an_admin() {
    let api = TestApi::new().await;
    let ask = json!({"name": "ci", "role": "builder", "expires_in": "30d"});
    let made = api.post_json(BOOTSTRAP, "/v1/tokens", &ask).await;
    assert_eq!(made.status, 201, "{}", made.text());
    let ci = made.json()["token"].as_str().unwrap().to_owned();
    assert!(ci.starts_with("ingot_"));
    assert_eq!(made.json()["expires_at"], "2026-02-01T12:00:00Z");
    assert_eq!(api.post_json(BOOTSTRAP, "/v1/tokens", &ask).await.problem(409), "token-name-taken");
    let admin = api.post_json(BOOTSTRAP, "/v1/tokens", &json!({"name": "root", "role": "admin"})).await.json();
    assert_eq!(api.get(BOOTSTRAP, "/v1/tokens").await.problem(401), "token-bootstrap-over");
    let admin = admin["token"].as_str().unwrap();
    let listed = api.get(admin, "/v1/tokens").await;
    assert!(listed.json()["items"].as_array().unwrap().len() == 2 && !listed.text().contains(&ci));
    assert_eq!(api.get(&ci, "/v1/tokens/self").await.json()["name"], "ci");

    let id = made.json()["id"].as_str().unwrap().to_owned();
    let revoke = request("DELETE", admin, &format!("/v1/tokens/{id}")).body(Body::empty()).unwrap();
    assert_eq!(api.send(revoke).await.status, 204);
    assert_eq!(api.get(&ci, "/v1/runs").await.problem(401), "token-revoked");
    let audit = api.get(admin, &format!("/v1/audit?subject=token/{id}")).await.json();
    // Both happened in the same millisecond of the test's clock, so their order says nothing.
    let deeds: std::collections::BTreeSet<(&str, &str)> = audit["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|deed| (deed["action"].as_str().unwrap(), deed["principal"].as_str().unwrap()))
        .collect();
    assert_eq!(deeds, [("token.create", "ingot:bootstrap"), ("token.revoke", "root")].into());
    for wrong in [
        json!({"name": "a b", "role": "viewer"}),
        json!({"name": "a", "role": "king"}),
        json!({"name": "a", "role": "viewer", "expires_in": "soon"}),
    ] {
        assert_eq!(api.post_json(admin, "/v1/tokens", &wrong).await.status, 422);
    }
}

#[tokio::test]
async fn wrong_paths_and_methods_are_problems_with_the_requests_id() {
    let api = TestApi::new().await;
    let wrong_path = Request::get("/v2/runs?secret=1").header("x-request-id", "mine-1").body(Body::empty()).unwrap();
    let wrong_path = api.send(wrong_path).await;
    assert_eq!(wrong_path.problem(404), "path-not-found");
    assert_eq!(
        (&wrong_path.json()["instance"], wrong_path.headers["x-request-id"].to_str().unwrap()),
        (&json!("urn:request:mine-1"), "mine-1")
    );
    let wrong_method = api.send(Request::put("/v1/runs").body(Body::empty()).unwrap()).await;
    assert_eq!(wrong_method.problem(405), "method-not-allowed");
    assert!(wrong_method.headers[header::ALLOW].to_str().unwrap().contains("POST"));
    for unreadable in ["/v1/images/%00", "/v1/images/%ff", "/v1/runs?template=%00"] {
        assert_eq!(api.get(BOOTSTRAP, unreadable).await.problem(400), "url-invalid", "{unreadable}");
    }
    assert_eq!(
        api.get(BOOTSTRAP, "/v1/images?created_after=-9999-01-01T00:00:00Z").await.problem(400),
        "query-invalid"
    );
    assert_eq!(api.post_json(BOOTSTRAP, "/v1/tokens", &json!(["ci", "admin"])).await.problem(400), "request-invalid");
    let odd_id = Request::get("/healthz").header("x-request-id", "a b").body(Body::empty()).unwrap();
    assert!(api.send(odd_id).await.headers["x-request-id"].to_str().unwrap().parse::<uuid::Uuid>().is_ok());
    assert_eq!(api.get("", "/readyz").await.text(), "ready\n");
    assert!(api.get("", "/openapi.yaml").await.text().starts_with("openapi: 3.1"));
}

#[tokio::test]
async fn templates_get_a_version_for_each_change() {
    let api = TestApi::new().await;
    let token = api.token(Role::Builder, None).await;
    let store = async |text: &str| {
        let body = json!({"name": "web", "description": "of the shop", "account": "prod", "files": {"web.pkr.hcl": text, "s/a.sh": "echo"}});
        api.post_json(&token, "/v1/templates", &body).await
    };
    let first = store(TEMPLATE).await;
    assert_eq!((first.status.as_u16(), &first.json()["version"]), (201, &json!(1)), "{}", first.text());
    assert_eq!(first.json()["outline"]["files"].as_array().unwrap().len(), 2);
    assert_eq!(store(TEMPLATE).await.status, 200);
    let changed = store(&format!("{TEMPLATE}\n# changed\n")).await;
    assert_eq!((changed.status.as_u16(), &changed.json()["version"]), (201, &json!(2)));
    assert_eq!(store("source {").await.problem(422), "template-invalid");
    let versions = api.get(&token, "/v1/templates/web/versions").await.json();
    assert_eq!(versions["items"].as_array().unwrap().len(), 2);
    assert_eq!(api.get(&token, "/v1/templates/web/versions/3").await.problem(404), "template-version-not-found");
    assert_eq!(api.get(&token, "/v1/templates?name=we").await.json()["items"][0]["account"], "prod");

    let bundle = api.get(&token, "/v1/templates/web/versions/1/bundle").await;
    let unpacked = super::body::unpack::tar_gz(&bundle.bytes, &api.state.limits).unwrap();
    assert_eq!(unpacked.get("web.pkr.hcl").unwrap().bytes, TEMPLATE.as_bytes());
    assert_eq!(unpacked.content_hash().0, first.json()["content_hash"].as_str().unwrap());
    // The template's account counts for its runs.
    let run =
        api.post_json(&token, "/v1/runs", &json!({"template": "web", "version": 1, "variables": {"base": "x"}})).await;
    assert_eq!(run.problem(422), "policy-violation");
}

#[tokio::test]
async fn a_rotated_token_has_a_new_secret_and_the_old_one_ends() {
    let api = TestApi::new().await;
    let made = api.post_json(BOOTSTRAP, "/v1/tokens", &json!({"name": "ci", "role": "builder"})).await.json();
    let old = made["token"].as_str().unwrap().to_owned();
    let rotate = async |body: serde_json::Value| api.post_json(BOOTSTRAP, "/v1/tokens/ci/rotate", &body).await;
    let rotated = rotate(json!({"keep_old_for": "1h", "expires_in": "90d"})).await;
    assert_eq!(rotated.status, 200, "{}", rotated.text());
    let rotated = rotated.json();
    let new = rotated["token"].as_str().unwrap().to_owned();
    assert_eq!((&rotated["id"], &rotated["expires_at"]), (&made["id"], &json!("2026-04-02T12:00:00Z")));
    assert_eq!(rotated["previous_valid_until"], "2026-01-02T13:00:00Z");
    for secret in [&old, &new] {
        assert_eq!(api.get(secret, "/v1/tokens/self").await.json()["name"], "ci");
    }
    api.clock.advance(Duration::from_hours(1));
    assert_eq!(api.get(&old, "/v1/runs").await.problem(401), "token-rotated");
    assert_eq!(api.get(&new, "/v1/runs").await.status, 200);
    // Without a time the secret ends at once.
    let newest = rotate(json!({})).await.json()["token"].as_str().unwrap().to_owned();
    assert_eq!(api.get(&new, "/v1/runs").await.problem(401), "token-unknown");
    assert_eq!(api.get(&newest, "/v1/runs").await.status, 200);
    assert_eq!(rotate(json!({"keep_old_for": "soon"})).await.problem(422), "expiry-invalid");
    assert_eq!(api.post_json(BOOTSTRAP, "/v1/tokens/nobody/rotate", &json!({})).await.problem(404), "token-not-found");
    // What stands in the wrong place is not passed over: the old secret would end at once.
    let misplaced = api.post_json(BOOTSTRAP, "/v1/tokens/ci/rotate?keep_old_for=1h", &json!({})).await;
    assert_eq!(misplaced.problem(400), "query-invalid");
    let delete = request("DELETE", BOOTSTRAP, &format!("/v1/tokens/{}", made["id"].as_str().unwrap()));
    assert_eq!(api.send(delete.body(Body::empty()).unwrap()).await.status, 204);
    let by_id = format!("/v1/tokens/{}/rotate", made["id"].as_str().unwrap());
    assert_eq!(api.post_json(BOOTSTRAP, &by_id, &json!({})).await.problem(409), "token-not-live");
}

#[tokio::test]
async fn requests_beyond_the_limit_are_refused_and_probes_are_not() {
    let mut api = TestApi::new().await;
    api.state.limits.max_requests = 0;
    let router = super::router(api.state.clone());
    let send = async |path: &str| {
        let request = request("GET", BOOTSTRAP, path).body(Body::empty()).unwrap();
        tower::ServiceExt::oneshot(router.clone(), request).await.unwrap()
    };
    let refused = send("/v1/runs").await;
    assert_eq!(refused.status(), 503);
    assert_eq!(send("/healthz").await.status(), 200);
    let worker = super::worker_router(api.state.clone());
    let ask = request("GET", BOOTSTRAP, "/v1/runs").body(Body::empty()).unwrap();
    assert_eq!(tower::ServiceExt::oneshot(worker.clone(), ask).await.unwrap().status(), 404);
    let ready = request("GET", BOOTSTRAP, "/readyz").body(Body::empty()).unwrap();
    assert_eq!(tower::ServiceExt::oneshot(worker, ready).await.unwrap().status(), 200);
}
