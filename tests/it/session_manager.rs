//! A build that reaches its machine through Session Manager, of which the sandbox plays service and agent.

use crate::support::ec2::Ec2;
use crate::support::server::Server;
use crate::support::template::{debian, shell};
use crate::support::{sandbox, turn, unique};

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
    // Half a megabyte each way, more than the data channel has under way.
    let script = shell(&["head -c 500000 /dev/urandom | base64 > /tmp/noise", "cat /tmp/noise", "echo baked"]);
    let run = server.build(&debian(REGION, &unique("session"), &script).with_options(OPTIONS).text()).await;
    run.succeeded().await;
    let log = run.log().await;
    assert!(log.contains("through Session Manager") && log.contains(": baked\n"), "{log}");
    assert!(!log.contains("Authorizing port"), "nobody is let in: {log}");
    let ec2 = Ec2::new(REGION);
    ec2.remove_image(&ec2.image(&run.ami(REGION).await).await).await;
    sandbox::nothing_is_left(&run.builds).await;
}
