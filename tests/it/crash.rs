//! `kill -9` of the server in the middle of a build. Another start on the same database finds the build when its lease has
//! run out (a minute), and carries it to its end: one image, nothing left over.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::ec2::{Ec2, Image};
use crate::support::server::{Run, Server};
use crate::support::template::{debian, shell, waits_for_go};
use crate::support::{sandbox, turn, unique};

/// The one image of a run that has survived.
async fn only_image(run: &Run<'_>, region: &str, attempt: u32) -> (Value, Image) {
    let done = run.succeeded().await;
    assert_eq!(done["builds"][0]["attempt"], attempt, "{done:#}\n{}", run.log().await);
    assert_eq!(done["image"]["state"], "built");
    let ec2 = Ec2::new(region);
    let mut images = ec2.images("tag:ingot:build-id", &run.builds[0]).await;
    assert_eq!(images.len(), 1, "{images:?}");
    let image = images.remove(0);
    assert_eq!(image.id, run.ami(region).await);
    assert_eq!(
        (image.state.as_str(), image.tags["ingot:attempt"].as_str()),
        ("available", attempt.to_string().as_str())
    );
    assert!(!image.tags.contains_key("ingot:temporary"));
    sandbox::only_artifacts_are_left(&run.builds).await;
    let left = sandbox::left_of(&run.builds).await;
    assert_eq!(left.len(), 1 + image.snapshots.len(), "{left:?}");
    (done, image)
}

async fn removed(run: &Run<'_>, region: &str, image: &Image) {
    Ec2::new(region).remove_image(image).await;
    sandbox::nothing_is_left(&run.builds).await;
}

/// The same run, asked of the server's next life.
fn same<'s>(server: &'s Server, id: &str, build: &str) -> Run<'s> {
    Run::of(server, id, &[build])
}

#[tokio::test]
async fn killed_while_the_machine_boots() {
    let _turn = turn().await;
    let region = "eu-west-2";
    let mut server = Server::start().await;
    // EC2 does not say for half a minute that the machine runs.
    sandbox::fault(json!({"action": "DescribeInstances", "region": region, "delay": 30, "times": 1})).await;
    let run = server.build(&debian(region, &unique("boots"), &shell(&["echo provisioned"])).text()).await;
    run.step_is("wait_running", "started").await;
    let (id, build) = (run.id.clone(), run.builds[0].clone());
    server.kill();

    server.start_again().await;
    let run = same(&server, &id, &build);
    let (_, image) = only_image(&run, region, 1).await;
    let log = run.log().await;
    assert_eq!(log.matches("Instance ID: i-").count(), 1, "launched once:\n{log}");
    assert_eq!(log.lines().filter(|line| line.ends_with(": provisioned")).count(), 1, "{log}");
    removed(&run, region, &image).await;
}

#[tokio::test]
async fn killed_while_a_script_runs() {
    let _turn = turn().await;
    let region = "eu-central-1";
    let mut server = Server::start().await;
    let run = server.build(&debian(region, &unique("script"), &waits_for_go()).text()).await;
    let first = sandbox::machine_of(&run.builds[0], 1).await;
    run.step_is("provision:1", "started").await;
    let (id, build) = (run.id.clone(), run.builds[0].clone());
    server.kill();

    // Nobody knows how far the script came: the attempt is undone, and the next one begins from the start.
    server.start_again().await;
    let run = same(&server, &id, &build);
    let second = sandbox::machine_of(&build, 2).await;
    assert_ne!(first.id, second.id);
    second.run("touch /tmp/go").await;
    let (_, image) = only_image(&run, region, 2).await;
    let log = run.log().await;
    assert!(log.contains("Nothing of this attempt is left; the next one follows."), "{log}");
    removed(&run, region, &image).await;
}

#[tokio::test]
async fn killed_while_the_image_is_pending() {
    let _turn = turn().await;
    let region = "us-west-2";
    let mut server = Server::start().await;
    let run = server.build(&debian(region, &unique("pending"), &waits_for_go()).text()).await;
    let machine = sandbox::machine_of(&run.builds[0], 1).await;
    run.step_is("provision:1", "started").await;
    // From here on EC2 takes half a minute to tell of the image.
    sandbox::fault(json!({"action": "DescribeImages", "region": region, "delay": 30, "times": 1})).await;
    machine.run("touch /tmp/go").await;
    run.step_is("wait_image", "started").await;
    let (id, build) = (run.id.clone(), run.builds[0].clone());
    server.kill();

    server.start_again().await;
    let run = same(&server, &id, &build);
    let (_, image) = only_image(&run, region, 1).await;
    let log = run.log().await;
    assert_eq!(log.matches("Creating AMI ").count(), 1, "{log}");
    removed(&run, region, &image).await;
}

#[tokio::test]
async fn a_server_that_is_told_to_stop_hands_its_builds_over_at_once() {
    let _turn = turn().await;
    let region = "us-east-2";
    let mut server = Server::start().await;
    // While it waits for a machine there is nothing that could not be handed over.
    sandbox::fault(json!({"action": "SandboxBoot", "region": region, "times": 1})).await;
    let template = debian(region, &unique("handed"), "").with_options("  ssh_timeout = \"10m\"");
    let run = server.build(&template.text()).await;
    run.step_is("connect", "started").await;
    let (id, build) = (run.id.clone(), run.builds[0].clone());
    let began = std::time::Instant::now();
    assert_eq!(server.stop().await, Some(0));
    assert!(began.elapsed() < Duration::from_secs(20), "it had nothing to wait for");

    server.start_again().await;
    let run = same(&server, &id, &build);
    // Cancelling needs an owner; without the hand-over there would be none for a minute.
    let began = std::time::Instant::now();
    assert_eq!(run.ask("cancel").await.status, 202);
    assert_eq!(run.over().await["state"], "cancelled");
    assert!(began.elapsed() < Duration::from_secs(45), "the next server had to wait for the lease to end");
    sandbox::nothing_is_left(&run.builds).await;
}
