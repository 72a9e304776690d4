//! A build that reaches its machine through Session Manager, of which the sandbox plays service and agent.

use std::time::Duration;

use crate::support::promise::{assert_counted, numbers, only_image, removed};
use crate::support::server::Server;
use crate::support::template::{debian, shell, ticks_until_go};
use crate::support::{eventually, sandbox, turn, unique};

const REGION: &str = "eu-west-1";

const OPTIONS: &str = r#"  ssh_interface = "session_manager"
  temporary_iam_instance_profile_policy_document {
    Statement {
      Effect   = "Allow"
      Action   = ["ssm:UpdateInstanceInformation", "ssmmessages:*"]
      Resource = ["*"]
    }
  }"#;

#[tokio::test]
async fn a_machine_that_nobody_is_let_in_to_is_built_through_a_session() {
    let _turn = turn().await;
    let allowed = [("INGOT__ACCOUNTS__DEFAULT__TEMPORARY_INSTANCE_PROFILES", "true")];
    let server = Server::start_with(&allowed).await;
    // Half a megabyte, which is more than the data channel has under way.
    let noise = shell(&["head -c 500000 /dev/urandom | base64 > /tmp/noise", "cat /tmp/noise"]);
    let script = ticks_until_go() + &noise;
    let run = server.build(&debian(REGION, &unique("session"), &script).with_options(OPTIONS).text()).await;
    run.step_is("provision:1", "started").await;
    let machine = sandbox::machine_of(&run.builds[0], 1).await;
    for _ in 0..2 {
        let before = numbers(&run.log().await, "tick").len();
        assert_eq!(machine.cut_sessions().await, 1);
        // What was said meanwhile comes when the session is resumed.
        eventually("it goes on", Duration::from_secs(30), async || {
            (numbers(&run.log().await, "tick").len() > before + 3).then_some(())
        })
        .await;
    }
    machine.run("touch /tmp/go").await;
    let image = only_image(&run, REGION, 1).await;
    let log = run.log().await;
    assert_counted(&numbers(&log, "tick"), &log);
    assert!(log.contains("through Session Manager") && log.contains(": gone on\n"), "{log}");
    assert!(!log.contains("Authorizing port"), "nobody is let in: {log}");
    removed(&run, REGION, &image).await;
}
