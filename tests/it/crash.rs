//! What a build must survive: `kill -9` of its server (another start on the same database finds the build when its lease
//! has run out, a minute later), lost connections to the database, lost answers of EC2. One image, nothing left over.

use std::time::Duration;

use secrecy::ExposeSecret as _;
use serde_json::json;
use sqlx::{Connection as _, PgConnection};

use crate::support::promise::{numbers, only_image, removed};
use crate::support::server::{Run, Server};
use crate::support::template::{debian, shell, waits_for_go};
use crate::support::{sandbox, turn, unique};

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
    let image = only_image(&run, region, 1).await;
    let log = run.log().await;
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
    let image = only_image(&run, region, 2).await;
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
    let image = only_image(&run, region, 1).await;
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

#[tokio::test]
async fn a_server_beside_it_takes_over() {
    let _turn = turn().await;
    let region = "eu-south-1";
    let mut first = Server::start().await;
    let run = first.build(&debian(region, &unique("beside"), &waits_for_go()).text()).await;
    sandbox::machine_of(&run.builds[0], 1).await;
    run.step_is("provision:1", "started").await;
    // Begun after the build had its owner, so it is not the owner.
    let second = Server::start_beside(&first).await;
    let run = same(&second, &run.id.clone(), &run.builds[0].clone());
    assert_eq!(run.now().await["state"], "running");
    first.kill();

    sandbox::machine_of(&run.builds[0], 2).await.run("touch /tmp/go").await;
    let image = only_image(&run, region, 2).await;
    removed(&run, region, &image).await;
}

/// Ends every connection to the server's database.
async fn cut_connections(server: &Server) {
    let mut database = PgConnection::connect(server.database().expose_secret()).await.expect("the database answers");
    let cut: i64 = sqlx::query_scalar(
        "SELECT count(*) FILTER (WHERE pg_terminate_backend(pid)) FROM pg_stat_activity
         WHERE datname = current_database() AND pid <> pg_backend_pid()",
    )
    .fetch_one(&mut database)
    .await
    .expect("connections can be ended");
    assert!(cut > 0, "the server has connections");
}

#[tokio::test]
async fn lost_database_connections_disturb_no_build() {
    let _turn = turn().await;
    let region = "eu-central-2";
    let server = Server::start().await;
    let script = shell(&["for i in $(seq 300); do echo line $i; sleep 0.01; done"]) + &waits_for_go();
    let run = server.build(&debian(region, &unique("cut"), &script).text()).await;
    for step in ["launch", "connect", "provision:1", "provision:2"] {
        run.step_begun(step).await;
        cut_connections(&server).await;
    }
    sandbox::machine_of(&run.builds[0], 1).await.run("touch /tmp/go").await;
    for step in ["stop", "create_image", "wait_image"] {
        run.step_begun(step).await;
        cut_connections(&server).await;
    }
    let image = only_image(&run, region, 1).await;
    let log = run.log().await;
    let expected: Vec<u32> = (1..=300).collect();
    assert_eq!(numbers(&log, "line"), expected, "no line of the log is lost, none is there twice");
    removed(&run, region, &image).await;
}

#[tokio::test]
async fn lost_answers_make_nothing_twice() {
    let _turn = turn().await;
    let region = "ap-northeast-2";
    let server = Server::start().await;
    // Each of these calls is carried out, and its answer is lost.
    let actions = [
        "ImportKeyPair",
        "CreateSecurityGroup",
        "AuthorizeSecurityGroupIngress",
        "RunInstances",
        "StopInstances",
        "CreateImage",
        "DeleteTags",
        "TerminateInstances",
        "DeleteSecurityGroup",
        "DeleteKeyPair",
    ];
    for action in actions {
        sandbox::fault(json!({"action": action, "region": region, "times": 1, "when": "after"})).await;
    }
    let run = server.build(&debian(region, &unique("lost"), &shell(&["echo once"])).text()).await;
    let image = only_image(&run, region, 1).await;
    assert_eq!(sandbox::faults_left(region).await, 0, "each of them was met");
    let log = run.log().await;
    assert_eq!(log.matches(": once\n").count(), 1, "{log}");
    removed(&run, region, &image).await;
}

#[tokio::test]
async fn no_room_in_one_zone_is_room_in_another() {
    let _turn = turn().await;
    let region = "ap-northeast-3";
    let server = Server::start().await;
    let full = json!({"action": "RunInstances", "region": region, "times": 1, "code": "InsufficientInstanceCapacity",
        "message": "We currently do not have sufficient capacity in the zone you requested.", "status": 500});
    sandbox::fault(full).await;
    let run = server.build(&debian(region, &unique("full"), "").text()).await;
    let image = only_image(&run, region, 1).await;
    let log = run.log().await;
    assert!(log.contains("InsufficientInstanceCapacity"), "it says that it went elsewhere: {log}");
    removed(&run, region, &image).await;
}
