//! Published templates as people write them (`templates/README.md` lists the repairs) become AMIs, and a machine booted
//! from each has what was baked.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;
use reqwest::Method;
use reqwest::multipart::{Form, Part};
use serde_json::Value;

use crate::support::ec2::{Ec2, Image};
use crate::support::sandbox::{self, Machine};
use crate::support::server::{Answer, Run, Server};
use crate::support::turn;

fn folder(seed: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/templates").join(seed)
}

fn read(seed: &str, file: &str) -> String {
    std::fs::read_to_string(folder(seed).join(file)).expect("a file of the fixture")
}

/// One raw template.
async fn post_raw(server: &Server, seed: &str, file: &str, query: &[(&str, &str)]) -> Answer {
    let mut all = vec![("name", seed)];
    all.extend_from_slice(query);
    server.post_hcl(&read(seed, file), &all).await
}

/// The folder as a tar.gz.
async fn post_bundle(server: &Server, seed: &str) -> Answer {
    let mut tar = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::default()));
    tar.append_dir_all(".", folder(seed)).expect("the folder can be packed");
    let mut packed = tar.into_inner().expect("the folder can be packed");
    packed.flush().expect("the folder can be packed");
    let body = packed.finish().expect("the folder can be packed");
    let request = server.request(Method::POST, "/v1/runs").query(&[("name", seed)]);
    server.send(request.header("content-type", "application/gzip").body(body)).await
}

/// The files as a form, each part named by its path.
async fn post_form(server: &Server, seed: &str, files: &[&str]) -> Answer {
    let mut form = Form::new();
    for file in files {
        form = form.part((*file).to_owned(), Part::text(read(seed, file)).file_name((*file).to_owned()));
    }
    server.send(server.request(Method::POST, "/v1/runs").query(&[("name", seed)]).multipart(form)).await
}

/// The AMI of a run that succeeded, looked at from all sides: in EC2, its snapshots, and the registry.
async fn checked_image(server: &Server, run: &Run<'_>, region: &str, os: &str, own_tags: &[(&str, &str)]) -> Image {
    let done = run.succeeded().await;
    assert_eq!((&done["image"]["state"], &done["image"]["number"]), (&"built".into(), &1.into()), "{done:#}");
    let build = &done["builds"][0];
    let id = run.ami(region).await;
    assert_eq!(build["artifact_id"], format!("{region}:{id}"));

    let ec2 = Ec2::new(region);
    let image = ec2.image(&id).await;
    assert_eq!(image.state, "available");
    expect_tags(&image.tags, &done, os, own_tags);
    assert!(!image.snapshots.is_empty());
    for snapshot in &image.snapshots {
        expect_tags(&ec2.snapshot(snapshot).await.0, &done, os, own_tags);
    }

    // An AMI's id works wherever an image's id does.
    let entry = server.read(&format!("/v1/images/{id}")).await;
    assert_eq!((&entry["id"], &entry["run_id"]), (&done["image"]["id"], &done["id"]));
    assert_eq!((&entry["state"], &entry["stob"]["os"]), (&"built".into(), &os.into()), "{entry:#}");
    assert_eq!(entry["stob"]["sha"].as_str(), Some(done["git_sha"].as_str().unwrap_or("unknown")));
    let copy = &entry["copies"][0];
    assert_eq!((&copy["ami_id"], &copy["region"]), (&Value::from(id.clone()), &region.into()));
    assert_eq!(copy["snapshot_ids"], serde_json::json!(image.snapshots));
    assert!(entry["source_image"]["ami_id"].as_str().is_some_and(|source| source.starts_with("ami-")), "{entry:#}");

    sandbox::only_artifacts_are_left(&run.builds).await;
    let log = run.log().await;
    for line in [
        "Prevalidating AMI name: ",
        "Found image ami-",
        "Connected to SSH!",
        "The machine runs ",
        "Provisioning with shell script: ",
        "Cleaning the machine",
        "Stopping the source instance",
        &format!("Creating AMI {} from instance i-", image.name),
        "AMIs were created:",
        &format!("{region}: {id}"),
        "Terminating the source instance i-",
    ] {
        assert!(log.contains(line), "the log does not say {line:?}:\n{log}");
    }
    image
}

/// The template's own tags, STOB and ownership, and no sign of being temporary.
fn expect_tags(tags: &BTreeMap<String, String>, run: &Value, os: &str, own: &[(&str, &str)]) {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut expected: BTreeMap<String, String> =
        own.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    let build = &run["builds"][0];
    let seconds = text(&run["created_at"])[..19].to_owned() + "Z";
    for (key, value) in [
        ("build-id", text(&build["id"])),
        ("run-id", text(&run["id"])),
        ("attempt", build["attempt"].to_string()),
        ("family", text(&run["image"]["family"])),
        ("number", run["image"]["number"].to_string()),
        ("sha", run["git_sha"].as_str().unwrap_or("unknown").to_owned()),
        ("time", seconds),
        ("os", os.to_owned()),
    ] {
        expected.insert(format!("ingot:{key}"), value);
    }
    let mut tags = tags.clone();
    let deployment = tags.remove("ingot:deployment").expect("the deployment's tag");
    let builder = tags.remove("ingot:builder").expect("the builder's tag");
    assert_eq!(builder, format!("ingot/{} ({deployment})", env!("CARGO_PKG_VERSION")));
    assert_eq!(tags, expected);
}

/// The seconds at the end of a name.
fn seconds_of(image: &Image) -> String {
    image.name.rsplit(['-', '.']).next().unwrap_or_default().to_owned()
}

/// What an image must not hold, seen on a machine that was booted from it without a key of its own.
async fn is_clean(machine: &Machine) {
    let keys = machine.run("cat /root/.ssh/authorized_keys /home/*/.ssh/authorized_keys 2>/dev/null; true").await;
    assert!(!keys.contains("ssh-ed25519") && !keys.contains("ingot"), "a key is still in the image: {keys}");
    let identity = machine.run("cat /etc/machine-id").await;
    assert!(identity.trim().len() == 32, "the machine has an identity of its own: {identity:?}");
    let left = machine.run("ls -A /root/.bash_history /home/*/.bash_history /tmp/script_* 2>/dev/null; true").await;
    assert_eq!(left, "", "left over in the image");
}

async fn ended(ec2: &Ec2, machines: &[&Machine], image: &Image, run: &Run<'_>) {
    for machine in machines {
        ec2.terminate(machine).await;
    }
    ec2.remove_image(image).await;
    sandbox::nothing_is_left(&run.builds).await;
}

#[tokio::test]
async fn seed_000_ubuntu_with_nginx() {
    let _turn = turn().await;
    let server = Server::start().await;
    let run = server.accepted(&post_raw(&server, "seed-000", "ubuntu.pkr.hcl", &[]).await);
    let ec2 = Ec2::new("us-east-1");
    let id = {
        run.succeeded().await;
        run.ami("us-east-1").await
    };
    let seconds = seconds_of(&ec2.image(&id).await);
    let tags = [("OS", "Ubuntu"), ("Ver", "22.04"), ("Build", seconds.as_str())];
    let image = checked_image(&server, &run, "us-east-1", "Ubuntu 22.04", &tags).await;
    assert_eq!(image.name, format!("ubuntu-2204-{seconds}"));
    assert!(seconds.len() == 10 && seconds.bytes().all(|byte| byte.is_ascii_digit()), "{seconds}");

    let machine = ec2.boot(&image.id).await;
    assert_eq!(machine.web_page().await.trim(), format!("Hello from Packer build {seconds}"));
    assert!(machine.run("systemctl is-enabled nginx").await.contains("enabled"));
    is_clean(&machine).await;
    // Two machines of one image are two machines.
    let second = ec2.boot(&image.id).await;
    for file in ["/etc/machine-id", "/etc/ssh/ssh_host_ed25519_key.pub"] {
        let read = format!("cat {file}");
        assert_ne!(machine.run(&read).await, second.run(&read).await, "{file}");
    }
    ended(&ec2, &[&machine, &second], &image, &run).await;
}

#[tokio::test]
async fn seed_001_amazon_linux_with_a_configured_nginx() {
    let _turn = turn().await;
    let server = Server::start().await;
    let run = server.accepted(&post_bundle(&server, "seed-001").await);
    assert_eq!(run.now().await["variables"]["ami_name_prefix"], "my-app");
    let region = "ap-southeast-1";
    let image = checked_image(&server, &run, region, "Amazon Linux 2", &[]).await;
    assert!(image.name.starts_with("my-app-1"), "{}", image.name);

    let ec2 = Ec2::new(region);
    let machine = ec2.boot(&image.id).await;
    assert_eq!(machine.run("cat /etc/nginx/conf.d/app.conf").await, read("seed-001", "app.conf"));
    machine.web_page().await;
    let ask = "exec 3<>/dev/tcp/127.0.0.1/8080; printf 'GET / HTTP/1.0\\r\\n\\r\\n' >&3; cat <&3";
    let page = machine.run(&format!("bash -c \"{}\"", ask.replace('"', "\\\""))).await;
    assert!(page.ends_with("my-app\n"), "{page}");
    is_clean(&machine).await;
    ended(&ec2, &[&machine], &image, &run).await;
}

#[tokio::test]
async fn seed_002_json_with_a_fixed_name() {
    let _turn = turn().await;
    let region = "ap-northeast-1";
    let ec2 = Ec2::new(region);
    // Its name is fixed; a run of these tests that was cut short may have left it behind.
    for image in ec2.images("name", "DevelopersIO-try").await {
        ec2.remove_image(&image).await;
    }
    let server = Server::start().await;
    let run = server.accepted(&post_form(&server, "seed-002", &["packer.json", "index.html"]).await);
    let image = checked_image(&server, &run, region, "Amazon Linux 2", &[]).await;
    assert_eq!(image.name, "DevelopersIO-try");
    let entry = server.read(&format!("/v1/images/{}", image.id)).await;
    assert_eq!(entry["source_image"]["ami_id"], "ami-00000000");

    let machine = ec2.boot(&image.id).await;
    assert_eq!(machine.run("cat /usr/share/nginx/html/index.html").await, read("seed-002", "index.html"));
    machine.run("nginx -v").await;
    is_clean(&machine).await;
    ended(&ec2, &[&machine], &image, &run).await;
}

#[tokio::test]
async fn seed_003_json_with_a_script() {
    let _turn = turn().await;
    let server = Server::start().await;
    let run = server.accepted(&post_bundle(&server, "seed-003").await);
    let ec2 = Ec2::new("us-east-1");
    let id = {
        run.succeeded().await;
        run.ami("us-east-1").await
    };
    let name = ec2.image(&id).await.name;
    let tags = [("Name", name.as_str()), ("source", "packer")];
    let image = checked_image(&server, &run, "us-east-1", "Ubuntu 22.04", &tags).await;
    assert!(name.starts_with("packer.my_test_machine.1"), "{name}");
    let log = run.log().await;
    assert!(log.contains("Provisioning with shell script: packer_provision.sh"), "{log}");
    assert!(log.contains("+ sudo apt -y install nginx"), "the script's own `set -x`: {log}");

    let machine = ec2.boot(&image.id).await;
    assert!(machine.web_page().await.contains("nginx"));
    is_clean(&machine).await;
    ended(&ec2, &[&machine], &image, &run).await;
}

#[tokio::test]
async fn seed_004_with_a_manifest_and_the_commit() {
    let _turn = turn().await;
    let server = Server::start().await;
    let sha = "0123456789abcdef0123456789abcdef01234567";
    let run = server.accepted(&post_raw(&server, "seed-004-first", "ubuntu-nginx.pkr.hcl", &[("git_sha", sha)]).await);
    let ec2 = Ec2::new("us-east-1");
    let id = {
        run.succeeded().await;
        run.ami("us-east-1").await
    };
    let seconds = seconds_of(&ec2.image(&id).await);
    let tags = [("Name", "ubuntu-nginx"), ("Built-By", "packer"), ("Git-SHA", sha), ("Build-Time", seconds.as_str())];
    let image = checked_image(&server, &run, "us-east-1", "Ubuntu 22.04", &tags).await;

    let manifest = server.get(&format!("{}/manifest", run.path())).await;
    assert_eq!(manifest.status, 200, "{}", manifest.text);
    let time = manifest.json()["builds"][0]["build_time"].as_i64().expect("a time");
    assert!(time >= seconds.parse::<i64>().expect("seconds"), "built after it was asked for");
    // Byte for byte as Packer writes it.
    let expected = format!(
        r#"{{
  "builds": [
    {{
      "name": "ubuntu",
      "builder_type": "amazon-ebs",
      "build_time": {time},
      "files": null,
      "artifact_id": "us-east-1:{ami}",
      "packer_run_uuid": "{run}",
      "custom_data": null
    }}
  ],
  "last_run_uuid": "{run}"
}}"#,
        ami = image.id,
        run = run.id,
    );
    assert_eq!(manifest.text, expected);
    let named = server.get(&format!("{}/manifest?output=manifest.json", run.path())).await;
    assert_eq!(named.text, expected);
    assert_eq!(server.get(&format!("{}/manifest?output=other.json", run.path())).await.status, 404);

    let machine = ec2.boot(&image.id).await;
    assert!(machine.web_page().await.contains("nginx"));
    assert!(machine.run("systemctl is-enabled nginx").await.contains("enabled"));
    is_clean(&machine).await;
    ended(&ec2, &[&machine], &image, &run).await;
}
