//! A person steers a build: it holds where something failed or at a breakpoint, its machine can be reached with its key, and
//! it goes on as it is told; what was left in place goes when it is asked for.

use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::promise::{only_image, removed};
use crate::support::server::{Run, TOKEN, ingot};
use crate::support::template::{debian, shell};
use crate::support::{eventually, sandbox, turn, unique};

/// The hold of the first build, once there is one.
async fn held(run: &Run<'_>) -> Value {
    eventually("the build holds", Duration::from_mins(3), async || {
        let build = run.server().try_read(&format!("/v1/builds/{}", run.builds[0])).await?;
        (!build["hold"].is_null()).then(|| build["hold"].clone())
    })
    .await
}

async fn answer(run: &Run<'_>, action: &str, status: u16) -> Value {
    let path = format!("/v1/builds/{}/resume", run.builds[0]);
    run.server().post_json(&path, &json!({ "action": action }), status).await
}

#[tokio::test]
async fn a_failed_script_is_mended_on_its_machine_and_tried_again() {
    let _turn = turn().await;
    let region = "us-east-1";
    let server = crate::support::server::Server::start().await;
    let script = shell(&["echo begun"]) + &shell(&["test -e /tmp/mended", "echo mended"]);
    let template = debian(region, &unique("mended"), &script).text();
    let run = server.build_with(&template, &[("on_error", "ask"), ("hold_limit", "10m")]).await;
    let hold = held(&run).await;
    assert_eq!((&hold["step"], &hold["reason"]), (&json!("provision:2"), &json!("failure")), "{hold:#}");
    assert_eq!(hold["actions"], json!(["retry", "cleanup", "abort"]));
    assert_eq!(run.now().await["state"], "running", "a hold is no state");
    assert_eq!(answer(&run, "continue", 409).await["type"], "urn:ingot:problem:action-not-possible");

    // A person reaches the machine with what the build shows, by the command line and ssh.
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("key.pem");
    let shown = ingot()
        .args(["resume", &run.builds[0], "--key"])
        .arg(&key)
        .env("INGOT_SERVER", server.url())
        .env("INGOT_TOKEN", TOKEN)
        .output()
        .unwrap();
    let text = String::from_utf8(shown.stdout).unwrap();
    assert!(shown.status.success() && text.contains("retry"), "{text}{}", String::from_utf8_lossy(&shown.stderr));
    assert_eq!(std::fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
    let machine = &hold["machine"];
    let (user, host) = (machine["username"].as_str().unwrap(), machine["host"].as_str().unwrap());
    assert!(machine["usd_per_hour"].as_f64().unwrap() > 0.0, "{machine}");
    let there = Command::new("ssh")
        .args(["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "BatchMode=yes", "-i"])
        .arg(&key)
        .args(["-p", &machine["port"].to_string(), &format!("{user}@{host}"), "touch /tmp/mended"])
        .output()
        .unwrap();
    assert!(there.status.success(), "{}", String::from_utf8_lossy(&there.stderr));

    answer(&run, "retry", 202).await;
    let image = only_image(&run, region, 1).await;
    let log = run.log().await;
    assert_eq!(log.matches(": begun\n").count(), 1, "what had worked is not done again: {log}");
    assert!(log.contains(": mended\n"), "{log}");
    let gone = server.get(&format!("/v1/builds/{}/ssh-key", run.builds[0])).await;
    assert_eq!(gone.status, 409, "{}", gone.text);
    removed(&run, region, &image).await;
}

#[tokio::test]
async fn what_an_abort_leaves_in_place_goes_when_it_is_asked_for() {
    let _turn = turn().await;
    let server = crate::support::server::Server::start().await;
    let steps = shell(&["exit 3"])
        + "  error-cleanup-provisioner \"shell\" {\n    inline = [\"touch /tmp/saved; echo saved\"]\n  }\n";
    let template = debian("us-east-1", &unique("left"), &steps).text();
    let run = server.build_with(&template, &[("on_error", "run-cleanup-provisioner")]).await;
    let failed = run.failed().await;
    assert_eq!(failed["builds"][0]["cleanup"], "kept", "{failed:#}");
    assert_eq!(failed["builds"][0]["hold"]["reason"], "abort");
    let machine = sandbox::machine_of(&run.builds[0], 1).await;
    machine.run("test -e /tmp/saved").await;
    let retry = run.ask("retry").await;
    assert_eq!((retry.status, retry.json()["type"].as_str()), (409, Some("urn:ingot:problem:build-left-in-place")));

    answer(&run, "cleanup", 202).await;
    sandbox::nothing_is_left(&run.builds).await;
    let run_now = eventually("the clean-up is done", Duration::from_mins(1), async || {
        let now = run.now().await;
        (now["builds"][0]["cleanup"] == "done").then_some(now)
    })
    .await;
    assert_eq!(run_now["state"], "failed");
}

#[tokio::test]
async fn a_breakpoint_holds_until_it_is_passed() {
    let _turn = turn().await;
    let region = "us-east-1";
    let server = crate::support::server::Server::start().await;
    let steps = "  provisioner \"breakpoint\" {\n    note = \"look at it\"\n  }\n".to_owned() + &shell(&["echo after"]);
    let run = server.build(&debian(region, &unique("breakpoint"), &steps).text()).await;
    let hold = held(&run).await;
    assert_eq!((&hold["reason"], &hold["note"]), (&json!("breakpoint"), &json!("look at it")));
    assert!(!run.log().await.contains(": after\n"));
    answer(&run, "continue", 202).await;
    let image = only_image(&run, region, 1).await;
    removed(&run, region, &image).await;
}
