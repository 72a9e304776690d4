//! The pipeline around the builds: promotion with tags that follow, the approved AMI, schedules on several servers, and
//! servers that share the work.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::ec2::Ec2;
use crate::support::server::{Run, Server, TOKEN, ingot};
use crate::support::template::{debian, shell};
use crate::support::{eventually, sandbox, turn, unique};

const REGION: &str = "ap-southeast-1";
const COPY: &str = "ap-southeast-2";

/// What the command prints; it has to succeed.
async fn command(server: &Server, arguments: &[&str]) -> String {
    let mut command = ingot();
    command.args(arguments).env("INGOT_SERVER", server.url()).env("INGOT_TOKEN", TOKEN);
    let output = tokio::task::spawn_blocking(move || command.output().expect("ingot can be run")).await.unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{arguments:?}: {out}{err}");
    out.into_owned()
}

async fn stage_tag(region: &str, ami: &str) -> Option<String> {
    Ec2::new(region).image(ami).await.tags.get("ingot:stage").cloned()
}

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
async fn an_image_goes_to_prod_and_deployments_find_it() {
    let _turn = turn().await;
    let server = Server::start().await;
    let options = format!("  ami_regions = [\"{COPY}\"]\n  tags = {{ OS = \"Debian\", Team = \"shop\" }}");
    let template = |name: &str| debian(REGION, &unique(name), &shell(&["echo baked"])).with_options(&options).text();
    let query = [("name", "web")];
    let first = server.build_with(&template("web-1"), &query).await;
    let done = first.succeeded().await;
    let image = done["image"]["id"].as_str().unwrap().to_owned();
    let (here, there) = (first.ami(REGION).await, first.ami(COPY).await);

    let nothing = server.get("/v1/images/latest?family=web").await;
    assert_eq!(nothing.status, 404, "built is not approved: {}", nothing.text);
    for stage in ["dev", "staging", "prod"] {
        let said = command(&server, &["promote", "web#1", "--to", stage, "--comment", "tested"]).await;
        assert!(said.contains("web #1") && said.contains(stage), "{said}");
    }
    // As a deployment would, by tags.
    let found = command(&server, &["latest", "--region", COPY, "--tag", "OS=Debian", "--tag", "Team=shop"]).await;
    assert_eq!(found.trim(), there);
    let shown = eventually("the stage is on the AMIs", Duration::from_secs(30), async || {
        let shown = server.read(&format!("/v1/images/{image}")).await;
        (shown["tags_pending"] == false).then_some(shown)
    })
    .await;
    assert_eq!((&shown["stage"], &shown["stages"]), (&json!("prod"), &json!(["dev", "staging", "prod"])));
    for (region, ami) in [(REGION, &here), (COPY, &there)] {
        assert_eq!(stage_tag(region, ami).await.as_deref(), Some("prod"), "{region}");
    }

    // The next image takes dev alone; a rollback gives it back.
    let second = server.build_with(&template("web-2"), &query).await;
    second.succeeded().await;
    let ami = second.ami(REGION).await;
    server.post_json(&format!("/v1/images/{ami}/promote"), &json!({"to": "dev"}), 200).await;
    assert_eq!(
        command(&server, &["latest", "--family", "web", "--stage", "dev", "--region", REGION]).await.trim(),
        ami
    );
    assert_eq!(command(&server, &["latest", "--family", "web", "--region", REGION]).await.trim(), here);
    command(&server, &["rollback", "dev", "--family", "web", "--comment", "too new"]).await;
    assert_eq!(
        command(&server, &["latest", "--family", "web", "--stage", "dev", "--region", REGION]).await.trim(),
        here
    );
    eventually("the stage is off the AMI", Duration::from_secs(30), async || {
        stage_tag(REGION, &ami).await.is_none().then_some(())
    })
    .await;
    let history = command(&server, &["stages", "history", "dev", "--family", "web"]).await;
    assert!(history.contains("rollback") && history.contains("too new"), "{history}");
    let audit = command(&server, &["audit", "--action", "image.*", "-o", "json"]).await;
    assert_eq!(serde_json::from_str::<Vec<Value>>(&audit).unwrap().len(), 5);
    remove_images(&first, &[REGION, COPY]).await;
    remove_images(&second, &[REGION, COPY]).await;
}

/// The real clock: three servers on one database, and a schedule that is due within the minute.
#[tokio::test]
async fn a_minute_of_a_schedule_starts_one_run_on_three_servers() {
    let server = Server::start().await;
    let beside = [Server::start_beside(&server).await, Server::start_beside(&server).await];
    let template = debian(REGION, "never-built-{{timestamp}}", &shell(&["true"])).text();
    let stored = json!({"name": "clock", "files": {"clock.pkr.hcl": template}});
    server.post_json("/v1/templates", &stored, 201).await;
    let made = command(
        &server,
        &[
            "schedules",
            "create",
            "--name",
            "minutely",
            "--template",
            "clock",
            "--cron",
            "* * * * *",
            "--overlap",
            "cancel_running",
            "-o",
            "json",
        ],
    )
    .await;
    let made: Value = serde_json::from_str(&made).unwrap();
    let due = made["next"][0]["utc"].as_str().unwrap().to_owned();
    let run = eventually("the schedule has started a run", Duration::from_secs(90), async || {
        let runs = server.try_read("/v1/runs?schedule=minutely").await?;
        runs["items"].as_array()?.last().cloned()
    })
    .await;
    assert_eq!((&run["slot"], &run["trigger"]), (&json!(due), &json!("schedule")));
    command(&beside[0], &["schedules", "pause", "minutely"]).await;
    for other in &beside {
        let runs = other.read("/v1/runs?schedule=minutely").await;
        let slots: Vec<_> = runs["items"].as_array().unwrap().iter().map(|run| run["slot"].to_string()).collect();
        assert_eq!(slots.iter().collect::<BTreeSet<_>>().len(), slots.len(), "{slots:?}");
    }
    let runs = server.read("/v1/runs?schedule=minutely").await;
    for run in runs["items"].as_array().unwrap() {
        let builds: Vec<&str> =
            run["builds"].as_array().unwrap().iter().filter_map(|build| build["id"].as_str()).collect();
        let run = Run::of(&server, run["id"].as_str().unwrap(), &builds);
        // It may be over by itself, or past the point where it can be cancelled.
        run.ask("cancel").await;
        run.over().await;
        remove_images(&run, &[REGION]).await;
    }
}

#[tokio::test]
async fn a_server_that_answers_and_one_that_works() {
    let _turn = turn().await;
    let api = Server::start_with(&[("INGOT__SERVER__ROLE", "api")]).await;
    let run = api.build_with(&debian(REGION, &unique("shared"), &shell(&["true"])).text(), &[("name", "shared")]).await;
    assert_eq!(run.now().await["state"], "queued");
    let worker = Server::start_beside_with(&api, &[("INGOT__SERVER__ROLE", "worker")]).await;
    assert_eq!(worker.get("/readyz").await.status, 200);
    let refused = worker.get("/v1/runs").await;
    assert_eq!(refused.status, 404);
    assert!(refused.text.contains("worker"), "{}", refused.text);
    run.succeeded().await;
    let ami = run.ami(REGION).await;
    api.post_json(&format!("/v1/images/{ami}/promote"), &json!({"to": "dev"}), 200).await;
    eventually("the worker tags the AMI", Duration::from_secs(30), async || {
        (stage_tag(REGION, &ami).await.as_deref() == Some("dev")).then_some(())
    })
    .await;
    let metrics = worker.get("/metrics").await.text;
    for name in [
        "ingot_builds{account=\"default\",state=\"queued\"}",
        "ingot_build_duration_seconds_count{account=\"default\",outcome=\"succeeded\"} 1",
        "ingot_build_wait_seconds_count{account=\"default\"} 1",
        "ingot_step_duration_seconds_count{step=\"wait_image\",outcome=\"succeeded\"} 1",
        "ingot_schedules_late 0",
        "ingot_cloud_calls_total",
    ] {
        assert!(metrics.contains(name), "{name} is not in {metrics}");
    }
    remove_images(&run, &[REGION]).await;
}
