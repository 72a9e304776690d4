use std::collections::BTreeMap;
use std::time::Duration;

use axum::body::Body;
use axum::http::header;
use flate2::Compression;
use flate2::write::GzEncoder;
use futures::StreamExt as _;
use serde_json::{Value, json};
use tar::{EntryType, Header};

use crate::api::testing::{TEMPLATE, TestApi, request};
use crate::domain::clock::Clock as _;
use crate::domain::journal::{Journal as _, LogLine, LogStream};
use crate::domain::role::Role;

const HCL: &str = "application/hcl";

async fn builder() -> (TestApi, String) {
    let api = TestApi::new().await;
    let token = api.token(Role::Builder, None).await;
    (api, token)
}

fn tar_gz(entries: &[(&str, EntryType, &[u8])]) -> Vec<u8> {
    let mut archive = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::best()));
    for (path, kind, content) in entries {
        let mut header = Header::new_gnu();
        header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
        header.set_entry_type(*kind);
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        header.set_cksum();
        archive.append(&header, *content).unwrap();
    }
    archive.into_inner().unwrap().finish().unwrap()
}

#[tokio::test]
async fn a_raw_template_becomes_a_queued_run() {
    let (api, token) = builder().await;
    let path = "/v1/runs?name=web&var.base=one&git_sha=abc1234&label.team=core";
    let answer = api.post(&token, path, HCL, TEMPLATE).await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    let run = answer.json();
    let id = run["id"].as_str().unwrap();
    assert_eq!(answer.headers[header::LOCATION], format!("/v1/runs/{id}").as_str());
    assert_eq!((&run["state"], &run["template"], &run["version"]), (&json!("queued"), &json!("web"), &json!(1)));
    assert_eq!(
        (&run["account"], &run["trigger"], &run["git_sha"]),
        (&json!("default"), &json!("api"), &json!("abc1234"))
    );
    assert_eq!((&run["image"]["family"], &run["image"]["number"]), (&json!("web"), &json!(1)));
    let builds = run["builds"].as_array().unwrap();
    assert_eq!((builds.len(), &builds[0]["type"], &builds[0]["state"]), (1, &json!("amazon-ebs"), &json!("queued")));
    assert_eq!(run["variables"]["password"], "<sensitive>");
    assert!(!answer.text().contains("hunter2"), "{}", answer.text());

    let read = api.get(&token, &format!("/v1/runs/{id}")).await;
    assert_eq!(read.json()["id"], *id);
    let tag = read.headers[header::ETAG].to_str().unwrap();
    let again = request("GET", &token, &format!("/v1/runs/{id}")).header(header::IF_NONE_MATCH, tag);
    assert_eq!(api.send(again.body(Body::empty()).unwrap()).await.status, 304);
    let listed = api.get(&token, "/v1/runs?label.team=core&state=queued").await.json();
    assert_eq!(listed["items"].as_array().unwrap().len(), 1);
    assert_eq!(api.get(&token, "/v1/runs?label.team=other").await.json()["items"], json!([]));
}

#[tokio::test]
async fn a_registry_block_names_the_family_and_labels() {
    let (api, token) = builder().await;
    let registry = "hcp_packer_registry {\n  bucket_name = \"golden-web\"\n  bucket_labels = { team = \"core\", os = \"debian\" }\n  \
        build_labels = { os = \"ubuntu\" }\n  description = \"golden\"\n  channels = [\"staging\", \"dev\", \"live\"]\n}\n";
    let path = "/v1/runs?name=web&var.base=one&label.team=web";
    let answer = api.post(&token, path, HCL, format!("{TEMPLATE}{registry}")).await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    let run = answer.json();
    assert_eq!((&run["template"], &run["image"]["family"]), (&json!("web"), &json!("golden-web")));
    assert_eq!(run["labels"], json!({"description": "golden", "team": "web", "os": "ubuntu"}), "the request's own win");
    // The servers of these tests let templates put images on dev.
    assert_eq!(run["channels"], json!(["dev"]));
    let warnings: Vec<&str> =
        run["warnings"].as_array().unwrap().iter().map(|one| one["message"].as_str().unwrap()).collect();
    let expected = ["channels: there is no stage \"live\"", "channels: this run may not put its image on \"staging\""];
    assert_eq!(warnings, expected);
    let promoter = api.token(Role::Promoter, None).await;
    let theirs = api.post(&promoter, path, HCL, format!("{TEMPLATE}{registry}")).await;
    assert_eq!(theirs.json()["channels"], json!(["dev", "staging"]));
    // The newest version of a stored template may be anybody's.
    for (version, expected) in [(json!(null), json!(["dev"])), (json!(1), json!(["dev", "staging"]))] {
        let wanted = json!({"template": "web", "version": version, "variables": {"base": "one"}});
        let run = api.post_json(&promoter, "/v1/runs", &wanted).await.json();
        assert_eq!((&run["version"], &run["channels"]), (&json!(1), &expected));
    }
    let own = api.post(&token, &format!("{path}&family=mine"), HCL, format!("{TEMPLATE}{registry}")).await;
    assert_eq!(own.json()["image"]["family"], "mine");
}

#[tokio::test]
async fn every_form_of_a_body_makes_a_run() {
    let (api, token) = builder().await;
    let inline = json!({"files": {"a.pkr.hcl": TEMPLATE}, "variables": {"base": "x"}, "timeout": "2h"});
    let run = api.post_json(&token, "/v1/runs", &inline).await;
    assert_eq!(run.status, 201, "{}", run.text());
    let run = run.json();
    let name = run["template"].as_str().unwrap();
    assert!(name.starts_with("inline-") && name.len() == "inline-".len() + 12, "{name}");
    assert_eq!(run["timeout_seconds"], 7200);

    let bundle = tar_gz(&[("./web.pkr.hcl", EntryType::Regular, TEMPLATE.as_bytes())]);
    let run = api.post(&token, "/v1/runs?name=web&var.base=y", "application/gzip", bundle).await;
    assert_eq!(run.status, 201, "{}", run.text());

    let form = format!("--b\r\nContent-Disposition: form-data; name=\"web.pkr.hcl\"\r\n\r\n{TEMPLATE}\r\n--b--\r\n");
    let run = api.post(&token, "/v1/runs?name=web&var.base=y", "multipart/form-data; boundary=b", form).await;
    assert_eq!(run.status, 201, "{}", run.text());

    let packer_json = json!({"builders": [{"type": "amazon-ebs", "region": "eu-central-1", "ami_name": "old",
        "instance_type": "t3.micro", "source_ami": "ami-0123456789abcdef0", "ssh_username": "ubuntu"}]});
    let media_type = "application/vnd.packer.template+json";
    let run = api.post(&token, "/v1/runs?name=old", media_type, packer_json.to_string()).await;
    assert_eq!(run.status, 201, "{}", run.text());

    let stored = api.post_json(&token, "/v1/runs", &json!({"template": "web", "variables": {"base": "z"}})).await;
    assert_eq!(stored.status, 201, "{}", stored.text());
    // The form's line ending makes another version than the bundle's file.
    assert_eq!(stored.json()["image"]["number"], 3);
}

#[tokio::test]
async fn wrong_templates_say_what_and_where() {
    let (api, token) = builder().await;
    let unparsable = api.post(&token, "/v1/runs", HCL, "source \"amazon-ebs\" {{").await;
    assert_eq!(unparsable.problem(422), "template-invalid");
    assert!(unparsable.json()["errors"][0]["line"].is_number());
    let missing = api.post(&token, "/v1/runs", HCL, TEMPLATE).await;
    assert_eq!(missing.problem(422), "template-invalid");
    insta::assert_json_snapshot!("missing_variable", missing.snapshot());
    let unknown = api.post(&token, "/v1/runs?var.base=x&var.bse=y", HCL, TEMPLATE).await;
    assert_eq!(unknown.problem(422), "template-invalid");
    insta::assert_json_snapshot!("unknown_variable", unknown.snapshot());
    let wrong_type = api.post(&token, "/v1/runs?var.base=x&var.count=many", HCL, TEMPLATE).await;
    assert_eq!(wrong_type.problem(422), "template-invalid");
    insta::assert_json_snapshot!("wrong_type", wrong_type.snapshot());
    let unselected = api.post(&token, "/v1/runs?var.base=x&only=nothing", HCL, TEMPLATE).await;
    assert_eq!(unselected.status, 422, "{}", unselected.text());
    let account = api.post(&token, "/v1/runs?var.base=x&account=nobody", HCL, TEMPLATE).await;
    assert_eq!(account.problem(422), "account-unknown");
    insta::assert_json_snapshot!("unknown_account", account.snapshot());
    let region = api.post(&token, "/v1/runs?var.base=x&account=prod", HCL, TEMPLATE).await;
    assert_eq!(region.problem(422), "policy-violation");
    assert!(region.text().contains("us-east-1"));
    assert_eq!(api.get(&token, "/v1/runs").await.json()["items"], json!([]), "nothing was written");
}

#[tokio::test]
async fn wrong_bodies_are_refused_by_name() {
    let (api, token) = builder().await;
    let malformed = api.post(&token, "/v1/runs", "application/json", "{\n \"template\": }").await;
    assert_eq!(malformed.problem(400), "json-invalid");
    insta::assert_json_snapshot!("malformed_json", malformed.snapshot());
    let unknown = api.post_json(&token, "/v1/runs", &json!({"templat": "x"})).await;
    assert_eq!(unknown.problem(400), "request-invalid");
    insta::assert_json_snapshot!("unknown_field", unknown.snapshot());
    assert_eq!(api.post_json(&token, "/v1/runs", &json!({})).await.problem(400), "request-invalid");
    let both = json!({"template": "x", "files": {"a": "b"}});
    assert_eq!(api.post_json(&token, "/v1/runs", &both).await.problem(400), "request-invalid");
    let media_type = api.post(&token, "/v1/runs", "text/plain", "x").await;
    assert_eq!(media_type.problem(415), "media-type-unsupported");
    insta::assert_json_snapshot!("media_type", media_type.snapshot());
    assert_eq!(api.post(&token, "/v1/runs?nme=x", HCL, TEMPLATE).await.problem(400), "query-invalid");
    assert_eq!(
        api.post_json(&token, "/v1/runs", &json!({"template": "none"})).await.problem(404),
        "template-not-found"
    );
    assert_eq!(api.post(&token, "/v1/runs?name=a/b&var.base=x", HCL, TEMPLATE).await.problem(422), "name-invalid");
}

#[tokio::test]
async fn bundles_that_could_do_harm_are_refused() {
    let (api, token) = builder().await;
    let gzip = "application/gzip";
    let large = api.post(&token, "/v1/runs", gzip, vec![0; 65 * 1024]).await;
    assert_eq!(large.problem(413), "body-too-large");
    let bomb = tar_gz(&[("zeros", EntryType::Regular, &vec![0; 4 << 20])]);
    assert!(bomb.len() < 64 * 1024);
    assert_eq!(api.post(&token, "/v1/runs", gzip, bomb).await.problem(413), "bundle-too-large");
    for (path, kind) in [
        ("../x", EntryType::Regular),
        ("/etc/x", EntryType::Regular),
        ("l", EntryType::Symlink),
        ("h", EntryType::Link),
    ] {
        let answer = api.post(&token, "/v1/runs", gzip, tar_gz(&[(path, kind, b"")])).await;
        assert_eq!(answer.problem(422), "bundle-refused", "{path}");
        assert!(answer.json()["detail"].as_str().unwrap().contains(path), "{}", answer.text());
    }
    assert_eq!(api.post(&token, "/v1/runs", gzip, "rubbish").await.problem(400), "bundle-unreadable");
}

#[tokio::test]
async fn the_same_key_makes_one_run() {
    let (api, token) = builder().await;
    let send = async |key: &str, base: &str| {
        let path = format!("/v1/runs?name=web&var.base={base}");
        let request = request("POST", &token, &path).header(header::CONTENT_TYPE, HCL).header("idempotency-key", key);
        api.send(request.body(Body::from(TEMPLATE)).unwrap()).await
    };
    let first = send("k1", "one").await;
    let second = send("k1", "one").await;
    assert_eq!((first.status.as_u16(), second.status.as_u16()), (201, 201));
    assert_eq!(first.json(), second.json());
    assert_eq!(second.headers["idempotency-replayed"], "true");
    assert_eq!(second.headers[header::LOCATION], first.headers[header::LOCATION]);
    assert_eq!(send("k1", "two").await.problem(422), "idempotency-key-reused");
    assert_ne!(send("k2", "one").await.json()["id"], first.json()["id"]);
    let (third, fourth) = tokio::join!(send("k3", "one"), send("k3", "one"));
    assert_eq!(third.json()["id"], fourth.json()["id"], "at the same time, too");
}

#[tokio::test]
async fn a_database_that_is_away_is_503_and_may_be_tried_again() {
    let (api, token) = builder().await;
    api.run(&token).await;
    api.state.store.close().await;
    // The token is still believed for a moment, so the request comes as far as the database.
    let answer = api.post(&token, "/v1/runs?var.base=x", HCL, TEMPLATE).await;
    assert_eq!(answer.problem(503), "database-unavailable");
    assert_eq!(answer.headers[header::RETRY_AFTER], "5");
    insta::assert_json_snapshot!("database_away", answer.snapshot());
    assert_eq!(api.get("other", "/v1/runs").await.problem(503), "database-unavailable");
    assert_eq!(api.get("", "/readyz").await.status, 503);
    assert_eq!(api.get("", "/healthz").await.status, 200);
}

#[tokio::test]
async fn pages_follow_each_other_and_cursors_stay_with_their_list() {
    let (api, token) = builder().await;
    let mut made = Vec::new();
    for _ in 0..3 {
        made.push(api.run(&token).await["id"].clone());
        api.clock.advance(Duration::from_secs(1));
    }
    made.reverse();
    let first = api.get(&token, "/v1/runs?limit=2").await.json();
    let cursor = first["next_cursor"].as_str().unwrap();
    let second = api.get(&token, &format!("/v1/runs?limit=2&cursor={cursor}")).await.json();
    let items = [first["items"].as_array().unwrap().clone(), second["items"].as_array().unwrap().clone()].concat();
    assert_eq!(items.iter().map(|run| run["id"].clone()).collect::<Vec<_>>(), made);
    assert_eq!(second["next_cursor"], Value::Null);
    let mismatch = api.get(&token, &format!("/v1/images?cursor={cursor}")).await;
    assert_eq!(mismatch.problem(400), "cursor-mismatch");
    insta::assert_json_snapshot!("cursor_mismatch", mismatch.snapshot());
    assert_eq!(
        api.get(&token, &format!("/v1/runs?state=failed&cursor={cursor}")).await.problem(400),
        "cursor-mismatch"
    );
    assert_eq!(api.get(&token, "/v1/runs?limit=0").await.problem(400), "query-invalid");
}

#[tokio::test]
async fn a_cancelled_run_is_over_and_its_live_log_ends() {
    let (api, token) = builder().await;
    let run = api.run(&token).await;
    let path = format!("/v1/runs/{}", run["id"].as_str().unwrap());
    let cancelled = api.send(request("POST", &token, &format!("{path}/cancel")).body(Body::empty()).unwrap()).await;
    assert_eq!((cancelled.status.as_u16(), &cancelled.json()["state"]), (202, &json!("cancelled")));
    let again = api.send(request("POST", &token, &format!("{path}/cancel")).body(Body::empty()).unwrap()).await;
    assert_eq!(again.problem(409), "run-is-over");

    let events = request("GET", &token, &format!("{path}/log")).header(header::ACCEPT, "text/event-stream");
    let events = api.send(events.body(Body::empty()).unwrap()).await;
    assert_eq!(events.headers["x-accel-buffering"], "no");
    let text = events.text();
    assert!(text.contains("event: state") && text.contains("event: end"), "{text}");
    assert_eq!(api.get(&token, &format!("{path}/log")).await.text(), "");
    assert_eq!(
        api.get(&token, &format!("{path}/log?last_event_id=x")).await.status,
        200,
        "plain text needs no position"
    );

    let retried = api.send(request("POST", &token, &format!("{path}/retry")).body(Body::empty()).unwrap()).await;
    assert_eq!((retried.status.as_u16(), &retried.json()["state"]), (202, &json!("queued")));
    assert_eq!(retried.json()["builds"][0]["attempt"], 2);
}

#[tokio::test]
async fn what_a_run_has_not_is_404() {
    let (api, token) = builder().await;
    let run = api.run(&token).await;
    let path = format!("/v1/runs/{}", run["id"].as_str().unwrap());
    let build = run["builds"][0]["id"].as_str().unwrap();
    assert_eq!(api.get(&token, &format!("{path}/manifest")).await.problem(404), "manifest-not-found");
    assert_eq!(api.get(&token, &format!("{path}/files/{build}/a/b.txt")).await.problem(404), "file-not-found");
    assert_eq!(api.get(&token, &format!("{path}/files")).await.json()["items"], json!([]));
    assert_eq!(api.get(&token, &format!("{path}/artifacts")).await.json()["items"], json!([]));
    assert_eq!(api.get(&token, "/v1/runs/nonsense").await.problem(404), "run-not-found");
    let steps = api.get(&token, &format!("/v1/builds/{build}/steps")).await.json();
    assert_eq!((&steps["items"][0]["name"], &steps["items"][0]["state"]), (&json!("check"), &json!("pending")));
    assert_eq!(api.get(&token, &format!("/v1/builds/{build}/plan")).await.json()["format"], 1);
    assert_eq!(api.get(&token, &format!("/v1/builds/{build}")).await.json()["run_id"], run["id"]);
    let image = api.get(&token, &format!("/v1/images/{}", run["image"]["id"].as_str().unwrap())).await.json();
    assert_eq!(
        (&image["state"], &image["stage"], &image["stob"]["sha"]),
        (&json!("building"), &Value::Null, &json!("unknown"))
    );
}

#[tokio::test]
async fn values_of_the_environment_are_kept_out_of_sight() {
    let (api, token) = builder().await;
    let template = format!("variable \"key\" {{\n  default = env(\"API_KEY\")\n}}\n{TEMPLATE}");
    let request =
        json!({"files": {"a.pkr.hcl": template}, "variables": {"base": "x"}, "env": {"API_KEY": "topsecretvalue"}});
    let answer = api.post_json(&token, "/v1/runs", &request).await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    assert!(!answer.text().contains("topsecretvalue"), "{}", answer.text());
    assert_eq!(answer.json()["variables"]["key"], "<sensitive>");
}

#[tokio::test]
async fn a_log_is_read_whole_and_resumed_where_a_listener_stopped() {
    let (api, token) = builder().await;
    let run = api.run(&token).await;
    let path = format!("/v1/runs/{}", run["id"].as_str().unwrap());
    let build = run["builds"][0]["id"].as_str().unwrap();
    let name = run["builds"][0]["name"].as_str().unwrap();
    let claimed = api.state.store.claim_queued("test", &BTreeMap::new()).await.unwrap().unwrap();
    let line = |seq| LogLine {
        seq,
        at: api.clock.now(),
        step: Some("launch".to_owned()),
        stream: LogStream::Say,
        text: format!("line {seq}"),
    };
    let lines: Vec<LogLine> = (1..=2500).map(line).collect();
    claimed.journal.append_log(&lines).await.unwrap();
    let text = api.get(&token, &format!("{path}/log")).await.text();
    assert_eq!((text.lines().count(), text.lines().next()), (2500, Some(format!("{name}: line 1").as_str())));
    let of_build = api.get(&token, &format!("/v1/builds/{build}/log")).await.text();
    assert!(of_build.starts_with("line 1\n") && of_build.ends_with("line 2500\n"));

    // The stream goes on until the server drains, as long as the run does.
    let drain = api.state.drain.clone();
    let listen = request("GET", &token, &format!("{path}/log"))
        .header(header::ACCEPT, "text/event-stream")
        .header("last-event-id", format!("{build}=2498"))
        .body(Body::empty())
        .unwrap();
    let mut events = api.open(listen).await;
    let mut heard = String::new();
    while !heard.contains("event: state") {
        heard.push_str(std::str::from_utf8(&events.next().await.unwrap().unwrap()).unwrap());
    }
    drain.cancel();
    assert!(!heard.contains("\"seq\":2498") && heard.contains("\"seq\":2499"), "{heard}");
    assert!(heard.contains(&format!("id: {build}=2500")), "{heard}");
    assert!(heard.contains("\"run_state\":\"running\"") && heard.contains("\"step\":\"launch\""), "{heard}");
    assert!(!heard.contains("event: end"));
    while let Some(rest) = events.next().await {
        assert!(!rest.unwrap().starts_with(b"event: end"), "the run goes on");
    }
    let listen = request("GET", &token, &format!("/v1/builds/{build}/log?last_event_id=x"))
        .header(header::ACCEPT, "text/event-stream");
    assert_eq!(api.send(listen.body(Body::empty()).unwrap()).await.problem(400), "event-id-invalid");
}
