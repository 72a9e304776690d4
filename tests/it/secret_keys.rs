//! The key of the secrets changes while what it sealed stays readable.

use std::path::Path;

use reqwest::Method;
use serde_json::json;

use crate::support::server::{Server, ingot};

/// Runs `ingot secrets …` on the data directory of a server with a private cluster.
fn secrets(data_dir: &Path, args: &[&str]) -> (bool, String) {
    let output =
        ingot().arg("secrets").args(args).env("INGOT__DATA_DIR", data_dir).output().expect("it can be started");
    let text = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
    (output.status.success(), text)
}

fn said(data_dir: &Path, args: &[&str]) -> String {
    let (ok, text) = secrets(data_dir, args);
    assert!(ok, "{args:?}: {text}");
    text
}

fn ids(data_dir: &Path) -> Vec<String> {
    let file = std::fs::read_to_string(data_dir.join("secret.key")).expect("the key file");
    file.lines().filter_map(|line| Some(line.split_once(':')?.0.to_owned())).collect()
}

#[tokio::test]
async fn a_key_is_replaced_step_by_step() {
    let mut server = Server::start_with_private_cluster().await;
    let data = server.data_dir();
    let template = json!({"name": "keys", "files": {"t.pkr.hcl": "variable \"password\" {\n  default = \"\"\n}\n\
        source \"amazon-ebs\" \"a\" {\n  ami_name = \"keys\"\n  instance_type = \"t3.micro\"\n  region = \"us-east-1\"\n  source_ami = \"ami-12345678\"\n  ssh_username = \"u\"\n}\n\
        build {\n  sources = [\"source.amazon-ebs.a\"]\n}\n"}});
    let answer = server.send(server.request(Method::POST, "/v1/templates").json(&template)).await;
    assert_eq!(answer.status, 201, "{}", answer.text);
    let schedule =
        json!({"name": "weekly", "cron": "0 3 * * 0", "template": "keys", "variables": {"password": "swordfish"}});
    let answer = server.send(server.request(Method::POST, "/v1/schedules").json(&schedule)).await;
    assert_eq!(answer.status, 201, "{}", answer.text);
    assert_eq!(server.stop().await, Some(0));

    let old = ids(&data).remove(0);
    assert!(said(&data, &["add-key"]).contains("was added"));
    let new = ids(&data).remove(1);
    let (ok, refused) = secrets(&data, &["drop-key", &old]);
    assert!(!ok && refused.contains("still seals 0 secrets of builds and 1 of schedules"), "{refused}");
    said(&data, &["use", &new]);
    assert_eq!(ids(&data), [new.clone(), old.clone()]);
    let done = said(&data, &["reseal"]);
    assert!(done.starts_with("1 secrets were sealed anew") && done.contains(&format!("drop-key {old}")), "{done}");
    let table = said(&data, &["keys"]);
    let line = |id: &str| table.lines().find(|line| line.starts_with(id)).map(str::to_owned).unwrap_or_default();
    assert!(line(&new).contains("seals and opens") && line(&new).ends_with('1'), "{table}");
    assert!(line(&old).ends_with('0'), "{table}");
    said(&data, &["drop-key", &old]);
    assert_eq!(ids(&data), [new]);

    server.start_again().await;
    let answer =
        server.send(server.request(Method::PATCH, "/v1/schedules/weekly").json(&json!({"enabled": false}))).await;
    assert_eq!(answer.status, 200, "what was sealed anew opens: {}", answer.text);
}
