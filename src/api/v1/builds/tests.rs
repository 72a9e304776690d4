use serde_json::json;

use crate::api::testing::{TEMPLATE, TestApi};
use crate::domain::role::Role;

#[tokio::test]
async fn what_does_not_hold_can_not_be_answered() {
    let api = TestApi::new().await;
    let token = api.token(Role::Builder, None).await;
    let viewer = api.token(Role::Viewer, None).await;
    let run = api
        .post(
            &token,
            "/v1/runs?name=web&var.base=one&on_error=ask&priority=7&parallel_builds=1&force=true",
            "application/hcl",
            TEMPLATE,
        )
        .await;
    assert_eq!(run.status, 201, "{}", run.text());
    let run = run.json();
    assert_eq!(
        (&run["on_error"], &run["priority"], &run["hold_limit_seconds"]),
        (&json!("ask"), &json!(7), &json!(3600))
    );
    assert_eq!(run["parallel_builds"], 1);
    let build = run["builds"][0]["id"].as_str().unwrap().to_owned();
    assert!(run["builds"][0]["hold"].is_null());
    let path = format!("/v1/builds/{build}/resume");
    assert_eq!(api.post_json(&token, &path, &json!({"action": "retry"})).await.problem(409), "build-not-held");
    assert_eq!(api.post_json(&token, &path, &json!({"action": "explode"})).await.problem(422), "action-invalid");
    assert_eq!(api.post_json(&viewer, &path, &json!({"action": "retry"})).await.status, 403);
    assert_eq!(api.get(&token, &format!("/v1/builds/{build}/ssh-key")).await.problem(409), "build-not-held");
    assert_eq!(api.get(&viewer, &format!("/v1/builds/{build}/ssh-key")).await.status, 403);
    assert_eq!(api.post_json(&token, "/v1/builds/nonsense/resume", &json!({"action": "retry"})).await.status, 404);
}

#[tokio::test]
async fn wrong_options_are_told() {
    let api = TestApi::new().await;
    let token = api.token(Role::Builder, None).await;
    for (query, code) in [
        ("on_error=explode", "on-error-invalid"),
        ("priority=101", "priority-invalid"),
        ("hold_limit=8d", "hold-limit-invalid"),
        ("hold_limit=0s", "hold-limit-invalid"),
        ("step_timeout=soon", "step-timeout-invalid"),
        ("step_timeout=0s", "step-timeout-invalid"),
        ("dedupe=join&debug=true", "dedupe-invalid"),
        ("dedupe=reuse&on_error=ask", "dedupe-invalid"),
        ("dedupe=join&force=true", "dedupe-invalid"),
    ] {
        let path = format!("/v1/runs?name=web&var.base=one&{query}");
        let answer = api.post(&token, &path, "application/hcl", TEMPLATE).await;
        assert_eq!(answer.problem(422), code, "{query}: {}", answer.text());
    }
}
