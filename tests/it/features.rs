//! What a template can ask for besides a plain AMI: copies, encryption, sharing, no AMI at all, files that come back, and
//! secrets that stay secret.

use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

use crate::support::ec2::Ec2;
use crate::support::server::{Run, Server};
use crate::support::template::{debian, shell, waits_for_go};
use crate::support::{sandbox, turn, unique};

const REGION: &str = "eu-west-1";

async fn remove_images(run: &Run<'_>, regions: &[&str]) {
    for region in regions {
        let ec2 = Ec2::new(region);
        for build in &run.builds {
            for image in ec2.images("tag:ingot:build-id", build).await {
                ec2.remove_image(&image).await;
            }
        }
    }
    sandbox::nothing_is_left(&run.builds).await;
}

#[tokio::test]
async fn encrypted_copies_in_other_regions_carry_all_tags() {
    let _turn = turn().await;
    let server = Server::start().await;
    let regions = ["eu-north-1", REGION, "eu-west-3"];
    let name = unique("copied");
    // The build's own region among them is not copied to.
    let options = format!(
        "  ami_regions   = [\"eu-west-3\", \"{REGION}\", \"eu-north-1\"]
  encrypt_boot  = true
  tags          = {{ Name = \"web\", Source = \"{{{{ .SourceAMIName }}}}\" }}
  snapshot_tags = {{ Kept = \"always\" }}
  run_tags      = {{ Purpose = \"build\" }}"
    );
    let run = server.build(&debian(REGION, &name, &shell(&["echo baked"])).with_options(&options).text()).await;
    let done = run.succeeded().await;
    let build = &done["builds"][0];
    assert_eq!(build["artifacts"].as_array().map(Vec::len), Some(3), "{done:#}");

    let mut artifact_id = Vec::new();
    for region in regions {
        let ec2 = Ec2::new(region);
        let image = ec2.image(&run.ami(region).await).await;
        artifact_id.push(format!("{region}:{}", image.id));
        assert_eq!(
            (image.name.as_str(), image.state.as_str(), image.encrypted),
            (name.as_str(), "available", true),
            "{region}"
        );
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let expected = [
            ("Name", "web".to_owned()),
            ("ingot:build-id", run.builds[0].clone()),
            ("ingot:run-id", run.id.clone()),
            ("ingot:family", text(&done["image"]["family"])),
            ("ingot:os", "Debian GNU/Linux 12".to_owned()),
            ("ingot:sha", "unknown".to_owned()),
        ];
        let (snapshot_tags, encrypted) = ec2.snapshot(&image.snapshots[0]).await;
        assert!(encrypted, "{region}");
        for tags in [&image.tags, &snapshot_tags] {
            for (key, value) in &expected {
                assert_eq!(tags.get(*key), Some(value), "{key} in {region}: {tags:#?}");
            }
            assert!(tags["Source"].starts_with("debian-12-amd64-"), "{tags:#?}");
            assert!(!tags.contains_key("ingot:temporary"), "{tags:#?}");
            assert_eq!(
                tags.get("Purpose").map(String::as_str),
                Some("build"),
                "run_tags go on, as in Packer: {tags:#?}"
            );
        }
        assert_eq!(snapshot_tags.get("Kept").map(String::as_str), Some("always"), "{region}");
        assert!(!image.tags.contains_key("Kept"), "{region}");
    }
    assert_eq!(build["artifact_id"], artifact_id.join(","));
    let entry = server.read(&format!("/v1/images/{}", run.ami("eu-north-1").await)).await;
    assert_eq!(entry["copies"].as_array().map(Vec::len), Some(3), "{entry:#}");
    remove_images(&run, &regions).await;
}

#[tokio::test]
async fn an_image_is_shared_with_those_whom_the_configuration_names() {
    let _turn = turn().await;
    let server = Server::start_with(&[("INGOT__POLICY__SHARE_ACCOUNTS", "210987654321,111122223333")]).await;
    let template = debian(REGION, &unique("shared"), "").with_options("  ami_users = [\"210987654321\"]");
    let run = server.build(&template.text()).await;
    run.succeeded().await;
    let ami = run.ami(REGION).await;
    assert_eq!(Ec2::new(REGION).may_launch(&ami).await, ["210987654321"]);
    for (account, sees) in [("210987654321", true), ("111122223333", false)] {
        assert_eq!(Ec2::of_account(REGION, account).await.sees(&ami).await, sees, "{account}");
    }
    remove_images(&run, &[REGION]).await;
}

#[tokio::test]
async fn a_build_without_an_image() {
    let _turn = turn().await;
    let server = Server::start().await;
    let template = debian(REGION, &unique("none"), &shell(&["echo tried"])).with_options("  skip_create_ami = true");
    let run = server.build(&template.text()).await;
    let done = run.succeeded().await;
    assert_eq!(done["builds"][0]["artifacts"], json!([]), "{done:#}");
    let log = run.log().await;
    assert!(log.contains(": tried\n") && !log.contains("Creating AMI"), "{log}");
    sandbox::nothing_is_left(&run.builds).await;
}

#[tokio::test]
async fn files_of_the_machine_become_files_of_the_run() {
    let _turn = turn().await;
    let server = Server::start().await;
    let steps = shell(&[
        "mkdir -p report/parts",
        "echo one > report/one.txt",
        "printf '\\000\\377' > report/parts/two.bin",
    ]) + "  provisioner \"file\" {\n    direction   = \"download\"\n    source      = \"report\"\n    destination = \"out\"\n  }\n"
        + "  provisioner \"file\" {\n    direction   = \"download\"\n    source      = \"/etc/hostname\"\n    destination = \"host/\"\n  }\n";
    let run = server.build(&debian(REGION, &unique("files"), &steps).text()).await;
    run.succeeded().await;
    let listed = server.read(&format!("{}/files", run.path())).await;
    let mut names: Vec<&str> =
        listed["items"].as_array().expect("files").iter().filter_map(|file| file["name"].as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["host/hostname", "out/report/one.txt", "out/report/parts/two.bin"], "{listed:#}");
    let path = |name: &str| format!("{}/files/{}/{name}", run.path(), run.builds[0]);
    assert_eq!(server.get(&path("out/report/one.txt")).await.text, "one\n");
    let request = server.request(reqwest::Method::GET, &path("out/report/parts/two.bin"));
    let answer = request.send().await.expect("the server answers");
    assert_eq!(answer.headers()["content-type"], "application/octet-stream");
    assert_eq!(answer.bytes().await.expect("bytes").as_ref(), [0, 255]);
    remove_images(&run, &[REGION]).await;
}

#[tokio::test]
async fn two_runs_of_a_stored_template_are_two_numbers_of_a_family() {
    let _turn = turn().await;
    let server = Server::start().await;
    let text = debian(REGION, "${var.prefix}-{{timestamp}}", &shell(&["echo ${var.prefix}"]))
        .with_preamble("variable \"prefix\" {\n  type = string\n}")
        .text();
    let request = server
        .request(reqwest::Method::POST, "/v1/templates")
        .json(&json!({"name": "web", "files": {"web.pkr.hcl": text}}));
    let stored = server.send(request).await;
    assert_eq!(stored.status, 201, "{}", stored.text);
    let mut runs = Vec::new();
    for label in ["one", "two"] {
        let prefix = unique(label);
        let request = json!({"template": "web", "variables": {"prefix": prefix}, "labels": {"which": label}, "family": "web-servers"});
        let answer = server.send(server.request(reqwest::Method::POST, "/v1/runs").json(&request)).await;
        runs.push((server.accepted(&answer), prefix));
    }
    for (number, (run, prefix)) in runs.iter().enumerate() {
        let done = run.succeeded().await;
        assert_eq!((&done["image"]["family"], &done["image"]["number"]), (&"web-servers".into(), &(number + 1).into()));
        assert!(run.log().await.contains(&format!(": {prefix}\n")));
    }
    let found = server.read("/v1/runs?template=web&label.which=two").await;
    assert_eq!(
        (found["items"].as_array().map(Vec::len), &found["items"][0]["id"]),
        (Some(1), &runs[1].0.id.clone().into())
    );
    for (run, _) in &runs {
        remove_images(run, &[REGION]).await;
    }
}

/// Every row of every table, as text; bytes stand there in hexadecimal.
async fn dump(server: &Server) -> String {
    let mut database = PgConnection::connect(server.database().expose_secret()).await.expect("the database answers");
    let tables: Vec<String> = sqlx::query_scalar("SELECT tablename::text FROM pg_tables WHERE schemaname = 'public'")
        .fetch_all(&mut database)
        .await
        .expect("tables can be listed");
    assert!(tables.iter().any(|table| table == "build_secrets"), "{tables:?}");
    let mut text = String::new();
    for table in tables {
        let rows = format!("SELECT string_agg(all_of_it::text, E'\\n') FROM \"{table}\" AS all_of_it");
        let rows: Option<String> =
            sqlx::query_scalar(AssertSqlSafe(rows)).fetch_one(&mut database).await.expect("a table can be read");
        text.push_str(&rows.unwrap_or_default());
    }
    text
}

fn holds(text: &str, secret: &str) -> bool {
    text.contains(secret) || text.contains(&hex::encode(secret))
}

#[tokio::test]
async fn a_sensitive_variable_is_told_nowhere() {
    let _turn = turn().await;
    let server = Server::start().await;
    let (password, first, second) = (unique("password"), unique("first"), unique("second"));
    let variables = "variable \"password\" {\n  type      = string\n  sensitive = true\n}\n\
        variable \"key\" {\n  type      = string\n  sensitive = true\n}";
    let steps = shell(&["echo the password is ${var.password}!", "echo \"${var.key}\" | tail -1"])
        + "  provisioner \"shell\" {\n    environment_vars = [\"PASSWORD=${var.password}\"]\n    inline = [\"echo $PASSWORD >&2\"]\n  }\n"
        + "  provisioner \"file\" {\n    content     = var.key\n    destination = \"/home/admin/key.pem\"\n  }\n"
        + &waits_for_go()
        + &shell(&["echo ${var.password} >&2; exit 9"]);
    let template = debian(REGION, &unique("secret"), &steps).with_preamble(variables).text();
    let key = format!("{first}\n{second}\n");
    let request = json!({"name": "secret", "files": {"secret.pkr.hcl": template}, "variables": {"password": password, "key": key}});
    let answer = server.send(server.request(reqwest::Method::POST, "/v1/runs").json(&request)).await;
    let run = server.accepted(&answer);
    let machine = sandbox::machine_of(&run.builds[0], 1).await;
    run.step_is("provision:4", "started").await;
    assert_eq!(machine.run("cat /home/admin/key.pem").await, key, "the machine itself has it");
    let at_work = dump(&server).await;
    machine.run("touch /tmp/go").await;
    run.failed().await;

    let mut told =
        vec![("answer", answer.text), ("database at work", at_work), ("database after", dump(&server).await)];
    told.push(("own log", server.own_log()));
    let (path, build) = (run.path(), format!("/v1/builds/{}", run.builds[0]));
    for path in [
        path.clone(),
        format!("{path}/log"),
        format!("{path}/builds"),
        format!("{path}/files"),
        build.clone(),
        format!("{build}/steps"),
        format!("{build}/plan"),
        format!("{build}/log"),
        "/v1/templates/secret/versions".to_owned(),
        "/v1/images".to_owned(),
        "/v1/audit".to_owned(),
        "/metrics".to_owned(),
    ] {
        let answer = server.get(&path).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text);
        told.push(("API", answer.text));
    }
    for (where_, text) in &told {
        for secret in [&password, &first, &second] {
            assert!(!holds(text, secret), "{where_} tells {secret}: {text}");
        }
    }
    let log = run.log().await;
    assert!(log.contains("the password is <sensitive>!") && log.contains(": <sensitive>\n"), "{log}");
    assert_eq!(run.now().await["variables"], json!({"password": "<sensitive>", "key": "<sensitive>"}));
    // The dump is the right one: the run is in it, and so are its sealed secrets.
    let (_, at_work) = &told[1];
    assert!(at_work.contains(&run.id) && at_work.contains("<sensitive>") && at_work.contains("key:1"), "{at_work}");
    sandbox::nothing_is_left(&run.builds).await;
}
