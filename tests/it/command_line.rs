//! The `ingot` command as a user has it: what it prints, and its exit codes.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use crate::support::command::{Ended, end_of, folder, path};
use crate::support::ec2::Ec2;
use crate::support::server::{Server, TOKEN, ingot};
use crate::support::template::{debian, shell};
use crate::support::{sandbox, turn, unique};

const REGION: &str = "eu-west-1";

fn client(server: &Server, arguments: &[&str]) -> Command {
    let mut command = ingot();
    command.args(arguments).env("INGOT_SERVER", server.url()).env("INGOT_TOKEN", TOKEN);
    command
}

async fn ask(server: &Server, arguments: &[&str]) -> Ended {
    end_of(client(server, arguments)).await
}

async fn local(arguments: &[&str]) -> Ended {
    let mut command = ingot();
    command.args(arguments);
    end_of(command).await
}

/// A template in several files with a script beside it.
fn web(ami_name: &str) -> TempDir {
    let steps = "  provisioner \"shell\" {\n    script           = \"scripts/hello.sh\"\n    environment_vars = [\"GREETING=${var.greeting}\"]\n  }\n";
    let variables = "variable \"greeting\" {\n  type = string\n}\n";
    folder(&[
        ("web.pkr.hcl", &debian(REGION, ami_name, steps).text()),
        ("variables.pkr.hcl", variables),
        ("scripts/hello.sh", "#!/bin/sh\necho \"it says $GREETING\"\n"),
        ("prod.pkrvars.hcl", "greeting = \"from a file\"\n"),
    ])
}

#[tokio::test]
async fn build_follows_a_run_to_its_end() {
    let _turn = turn().await;
    let server = Server::start().await;
    // The script lies above the template's folder, and the image goes to a stage.
    let folder = web(&unique("cli"));
    let packer = folder.path().join("packer");
    fs::create_dir(&packer).expect("a folder");
    let template = fs::read_to_string(folder.path().join("web.pkr.hcl")).expect("a template");
    let template = template.replace("\"scripts/hello.sh\"", "\"${path.root}/../scripts/hello.sh\"");
    let registry = "hcp_packer_registry {\n  bucket_name = \"web\"\n  channels    = [\"dev\"]\n}\n";
    fs::write(packer.join("web.pkr.hcl"), template + registry).expect("a template");
    fs::rename(folder.path().join("variables.pkr.hcl"), packer.join("variables.pkr.hcl")).expect("variables");
    let arguments = ["build", "-var", "greeting=hello", "--name", "web", "--git-sha", "abc123", path(&packer)];
    let ended = ask(&server, &arguments).await;
    assert_eq!(ended.code, Some(0), "{}\n{}", ended.out, ended.complaint);
    let runs = server.read("/v1/runs").await;
    let run = &runs["items"][0];
    let ami = run["builds"][0]["artifacts"][0]["id"].as_str().expect("an AMI");
    for line in [
        "==> Sending the template's folder, ../scripts to ",
        "==> amazon-ebs.test: Connected to SSH!\n",
        "    amazon-ebs.test: it says hello\n",
        "==> Builds finished. The artifacts of successful builds are:\n--> amazon-ebs.test: AMIs were created:\n",
        &format!("{REGION}: {ami}\n"),
        &format!("==> Run {} succeeded; image web #1 is built", run["id"].as_str().expect("an id")),
        "==> Image web #1 was promoted to dev\n",
    ] {
        assert!(ended.out.contains(line), "{line:?} is not in:\n{}", ended.out);
    }
    assert!(!ended.out.contains('\u{1b}'), "no colours go to a pipe: {}", ended.out);
    assert_eq!((run["git_sha"].as_str(), run["template"].as_str()), (Some("abc123"), Some("web")));

    // What was built can be read again.
    let (id, build) = (run["id"].as_str().expect("an id"), run["builds"][0]["id"].as_str().expect("an id"));
    let listed = ask(&server, &["runs"]).await;
    assert!(listed.code == Some(0) && listed.out.contains(id) && listed.out.contains("1 succeeded"), "{}", listed.out);
    let shown = ask(&server, &["runs", "show", id, "--steps"]).await;
    assert!(shown.out.contains("create_image") && shown.out.contains(ami), "{}", shown.out);
    for id in [id, build] {
        let log = ask(&server, &["logs", id]).await;
        assert!(log.code == Some(0) && log.out.contains("it says hello\n"), "{}{}", log.out, log.complaint);
    }
    let followed = ask(&server, &["logs", "-f", id]).await;
    assert!(
        followed.code == Some(0) && followed.out.contains("    amazon-ebs.test: it says hello\n"),
        "{}",
        followed.out
    );
    let images = ask(&server, &["images"]).await;
    assert!(
        images.out.contains("web #1") && images.out.contains(ami) && images.out.contains("abc123"),
        "{}",
        images.out
    );
    let image = ask(&server, &["images", "show", ami]).await;
    assert!(image.out.contains("Debian GNU/Linux 12") && image.out.contains(REGION), "{}", image.out);
    let json = ask(&server, &["-o", "json", "images", "show", ami]).await;
    let json: Value = serde_json::from_str(&json.out).expect("JSON");
    assert_eq!(json["copies"][0]["ami_id"], ami);
    let unknown = ask(&server, &["runs", "show", "nonsense"]).await;
    assert!(unknown.code == Some(1) && unknown.complaint.contains("run-not-found"), "{}", unknown.complaint);

    let ec2 = Ec2::new(REGION);
    ec2.remove_image(&ec2.image(ami).await).await;
    sandbox::nothing_is_left(&[build.to_owned()]).await;
}

#[tokio::test]
async fn build_that_fails_is_exit_code_one() {
    let _turn = turn().await;
    let server = Server::start().await;
    let folder = folder(&[("bad.pkr.hcl", &debian(REGION, &unique("cli"), &shell(&["exit 5"])).text())]);
    let ended = ask(&server, &["build", path(folder.path())]).await;
    assert_eq!(ended.code, Some(1), "{}\n{}", ended.out, ended.complaint);
    for text in [
        "Some builds didn't complete successfully and had errors:",
        "--> amazon-ebs.test: Provisioner 1 (shell):",
        "step provision:1",
        "Builds finished but no artifacts were created.",
    ] {
        assert!(ended.out.contains(text), "{text:?} is not in:\n{}", ended.out);
    }

    // What the server refuses is shown with its place, from the files on this machine.
    let folder = web(&unique("cli"));
    let ended = ask(&server, &["build", path(folder.path())]).await;
    assert_eq!(ended.code, Some(1), "{}", ended.out);
    assert!(
        ended.complaint.contains("greeting") && ended.complaint.contains("variables.pkr.hcl"),
        "{}",
        ended.complaint
    );
    let run = &server.read("/v1/runs").await["items"];
    assert_eq!(run.as_array().map(Vec::len), Some(1), "a refused template is no run");
    sandbox::nothing_is_left(&[run[0]["builds"][0]["id"].as_str().expect("an id").to_owned()]).await;
}

#[tokio::test]
async fn validate_needs_no_server() {
    let good = web("web-{{timestamp}}");
    let root = path(good.path());
    let ended = local(&["validate", "-var", "greeting=x", root]).await;
    assert_eq!((ended.code, ended.out.as_str()), (Some(0), "The configuration is valid.\n"), "{}", ended.complaint);
    let file = good.path().join("prod.pkrvars.hcl");
    assert_eq!(local(&["validate", "-var-file", path(&file), root]).await.code, Some(0));
    let ended = local(&["validate", root]).await;
    assert!(ended.code == Some(1) && ended.complaint.contains("greeting"), "{}", ended.complaint);

    let bad =
        folder(&[("bad.pkr.hcl", &debian(REGION, "web", "").with_options("  instance_tpye = \"t3.micro\"").text())]);
    let ended = local(&["validate", path(bad.path())]).await;
    assert_eq!((ended.code, ended.out.as_str()), (Some(1), ""), "{}", ended.complaint);
    assert!(
        ended.complaint.contains("bad.pkr.hcl:") && ended.complaint.contains("instance_type"),
        "{}",
        ended.complaint
    );
    assert_eq!(local(&["validate", "/no/such/folder"]).await.code, Some(1));
    assert_eq!(local(&["validate"]).await.code, Some(2), "wrong usage");
}

#[tokio::test]
async fn tokens_are_made_listed_and_revoked() {
    let _turn = turn().await;
    let server = Server::start().await;
    let made = ask(&server, &["token", "create", "--name", "ci", "--role", "viewer", "--expires-in", "30d"]).await;
    assert_eq!(made.code, Some(0), "{}", made.complaint);
    let token = made.out.trim();
    assert!(token.starts_with("ingot_") && made.out.lines().count() == 1, "only the token, for scripts: {}", made.out);
    assert!(!made.complaint.contains(token) && made.complaint.contains("\"ci\""), "{}", made.complaint);

    let with = |arguments: &[&str]| {
        let mut command = client(&server, arguments);
        command.env("INGOT_TOKEN", token);
        command
    };
    assert_eq!(end_of(with(&["runs"])).await.code, Some(0));
    let refused = end_of(with(&["token", "list"])).await;
    assert!(refused.code == Some(1) && refused.complaint.contains("admin"), "{}", refused.complaint);

    let listed = ask(&server, &["token", "list"]).await;
    assert!(
        listed.out.contains("ci") && listed.out.contains("viewer") && !listed.out.contains(token),
        "{}",
        listed.out
    );
    let tokens = ask(&server, &["-o", "json", "token", "list"]).await;
    let tokens: Value = serde_json::from_str(&tokens.out).expect("JSON");
    let id = tokens[0]["id"].as_str().expect("an id");
    assert_eq!(ask(&server, &["token", "revoke", id]).await.code, Some(0));
    let revoked = end_of(with(&["runs"])).await;
    assert!(revoked.code == Some(1) && revoked.complaint.contains("401"), "{}", revoked.complaint);
}

#[tokio::test]
async fn nobody_there_is_exit_code_three() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", free.local_addr().expect("an address"));
    drop(free);
    let ended = local(&["--server", &url, "--token", "x", "token", "list"]).await;
    assert_eq!(ended.code, Some(3), "{}", ended.complaint);
    assert!(ended.complaint.contains(&url), "{}", ended.complaint);
}

#[tokio::test]
async fn the_api_description_is_the_committed_one() {
    let printed = local(&["openapi"]).await;
    assert_eq!(printed.code, Some(0), "{}", printed.complaint);
    let committed =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("openapi.yaml")).expect("openapi.yaml");
    assert!(
        printed.out == committed,
        "openapi.yaml is not what the code says; write it anew: ingot openapi > openapi.yaml"
    );
}

#[tokio::test]
async fn config_check_explains_mistakes() {
    let files = folder(&[
        ("good.toml", "[server]\nlisten = \"127.0.0.1:9000\"\n"),
        (
            "bad.toml",
            "[server]\nlisten = 9000\nmax_bundel_bytes = \"1MiB\"\n\n[database]\nurl = \"mysql://x:hunter2@y\"\n",
        ),
    ]);
    let good = files.path().join("good.toml");
    let ended = local(&["config", "check", "--config", path(&good)]).await;
    assert_eq!((ended.code, ended.out.as_str()), (Some(0), "The configuration is valid.\n"), "{}", ended.complaint);
    let shown = local(&["config", "show", "--config", path(&good)]).await;
    assert!(shown.out.contains("server.listen = 127.0.0.1:9000\n"), "{}", shown.out);

    let bad = files.path().join("bad.toml");
    let ended = local(&["config", "check", "--config", path(&bad)]).await;
    assert_eq!((ended.code, ended.out.as_str()), (Some(1), ""), "{}", ended.complaint);
    for text in ["bad.toml:2:", "server.listen", "bad.toml:3:", "max_bundle_bytes", "database.url"] {
        assert!(ended.complaint.contains(text), "{text:?} is not in:\n{}", ended.complaint);
    }

    let mut command = ingot();
    command.args(["config", "check"]).env("INGOT__WORKERS__MAX_BUILDS", "many");
    let ended = end_of(command).await;
    assert!(ended.code == Some(1) && ended.complaint.contains("INGOT__WORKERS__MAX_BUILDS"), "{}", ended.complaint);
    let missing = local(&["config", "check", "--config", "/no/such/file.toml"]).await;
    assert!(missing.code == Some(1) && missing.complaint.contains("/no/such/file.toml"), "{}", missing.complaint);
}

#[tokio::test]
async fn the_first_token_of_an_installation_needs_no_server() {
    let _turn = turn().await;
    let mut server = Server::start().await;
    let settings = server.settings_of_its_database();
    let mut command = ingot();
    command.args(["token", "create", "--local", "--name", "root", "--role", "admin"]).envs(settings);
    let made = end_of(command).await;
    assert_eq!(made.code, Some(0), "{}", made.complaint);
    let mut with = client(&server, &["token", "list"]);
    with.env("INGOT_TOKEN", made.out.trim());
    let listed = end_of(with).await;
    assert!(listed.code == Some(0) && listed.out.contains("root"), "{}{}", listed.out, listed.complaint);
    // The bootstrap token was for the time before there was an admin; a restart forgets what was still believed.
    server.stop().await;
    server.start_again().await;
    assert_eq!(server.get("/v1/runs").await.status, 401);
}
