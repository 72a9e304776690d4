//! Builds that can't succeed: each says why, and leaves nothing behind.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::ec2::Ec2;
use crate::support::server::{Run, Server};
use crate::support::template::{Template, debian, shell};
use crate::support::{eventually, sandbox, turn, unique};

const REGION: &str = "eu-west-1";

/// The error of a run's only build, after everything is gone.
async fn error_of(run: &Run<'_>) -> Value {
    let failed = run.failed().await;
    let build = &failed["builds"][0];
    assert_eq!((&build["state"], &build["cleanup"]), (&"failed".into(), &"done".into()), "{failed:#}");
    assert_eq!(failed["error"], build["error"], "the run's error is its build's");
    assert_eq!((&failed["image"]["state"], &build["artifacts"]), (&"incomplete".into(), &json!([])), "{failed:#}");
    sandbox::nothing_is_left(&run.builds).await;
    build["error"].clone()
}

/// That a build failed in its first step, before it made anything.
async fn nothing_was_begun(server: &Server, run: &Run<'_>) {
    let steps = server.read(&format!("/v1/builds/{}/steps", run.builds[0])).await;
    for step in steps["items"].as_array().expect("steps") {
        let state = step["state"].as_str().unwrap_or_default();
        let expected = if step["name"] == "check" { "failed" } else { "pending" };
        assert_eq!(state, expected, "{step:#}");
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

#[tokio::test]
async fn a_script_that_fails() {
    let _turn = turn().await;
    let server = Server::start().await;
    let script = shell(&["echo before", "echo trouble >&2; exit 3"]) + &shell(&["echo never"]);
    let run = server.build(&debian(REGION, &unique("fails"), &script).text()).await;
    let error = error_of(&run).await;
    assert_eq!((text(&error["class"]), text(&error["code"])), ("user", "provisioner-failed"), "{error:#}");
    assert_eq!(text(&error["step"]), "provision:1");
    assert!(text(&error["message"]).contains("exit status: 3"), "{error:#}");
    let log = run.log().await;
    assert!(log.contains(": before\n") && log.contains(": trouble\n") && !log.contains("never"), "{log}");
}

#[tokio::test]
async fn a_name_that_is_taken() {
    let _turn = turn().await;
    let server = Server::start().await;
    let template = debian(REGION, &unique("taken"), "").text();
    let first = server.build_with(&template, &[("name", "taken")]).await;
    first.succeeded().await;
    let ami = first.ami(REGION).await;

    let second = server.build_with(&template, &[("name", "taken")]).await;
    let error = error_of(&second).await;
    assert_eq!((text(&error["class"]), text(&error["code"])), ("user", "InvalidAMIName.Duplicate"), "{error:#}");
    assert!(text(&error["message"]).contains(&ami), "it says by what: {error:#}");
    nothing_was_begun(&server, &second).await;
    assert_eq!(second.now().await["image"]["number"], 2, "numbers are like a CI system's: gaps are normal");

    let ec2 = Ec2::new(REGION);
    ec2.remove_image(&ec2.image(&ami).await).await;
    sandbox::nothing_is_left(&first.builds).await;
}

/// A template whose source filter is this.
fn filtered(filter: &str) -> String {
    format!(
        "source \"amazon-ebs\" \"test\" {{
  ami_name      = \"{}\"
  instance_type = \"t3.micro\"
  region        = \"{REGION}\"
  ssh_username  = \"ubuntu\"
  source_ami_filter {{
{filter}
  }}
}}
build {{
  sources = [\"source.amazon-ebs.test\"]
}}
",
        unique("filtered")
    )
}

const STRANGER: &str = "ubuntu/images/hvm-ssd/ubuntu-jammy-22.04-amd64-server-29991231";

#[tokio::test]
async fn a_source_filter_that_does_not_say_which_image() {
    let _turn = turn().await;
    let server = Server::start().await;
    let cases = [
        (
            "filters = { name = \"no-such-image-*\" }\nowners = [\"amazon\"]\nmost_recent = true",
            "source-ami-not-found",
            "no-such-image-*",
        ),
        ("filters = { name = \"amzn2-ami-hvm-*\" }\nowners = [\"amazon\"]", "source-ami-ambiguous", "most_recent"),
        // The name is there, but it is a stranger's.
        (
            &format!("filters = {{ name = \"{STRANGER}\" }}\nowners = [\"099720109477\"]\nmost_recent = true"),
            "source-ami-not-found",
            "29991231",
        ),
    ];
    for (filter, code, word) in cases {
        let run = server.build(&filtered(filter)).await;
        let error = error_of(&run).await;
        assert_eq!((text(&error["class"]), text(&error["code"])), ("user", code), "{error:#}");
        assert!(error.to_string().contains(word), "{error:#}");
        nothing_was_begun(&server, &run).await;
    }

    for owners in ["", "owners = []"] {
        let answer = server.post_hcl(&filtered(&format!("filters = {{ name = \"{STRANGER}\" }}\n{owners}")), &[]).await;
        assert_eq!(answer.status, 422, "{}", answer.text);
        let complaint = &answer.json()["errors"][0];
        assert!(text(&complaint["message"]).contains("owner"), "{complaint:#}");
        assert!(complaint["line"].is_u64() && complaint["column"].is_u64(), "{complaint:#}");
    }
}

#[tokio::test]
async fn a_strangers_look_alike_is_never_picked() {
    let _turn = turn().await;
    let server = Server::start().await;
    // The stranger's is the newest of all that match by name.
    let filter = "filters = { name = \"ubuntu/images/hvm-ssd/ubuntu-jammy-22.04-amd64-server-*\" }\nowners = [\"099720109477\"]\nmost_recent = true";
    let run = server.build(&filtered(filter)).await;
    run.succeeded().await;
    let ami = run.ami(REGION).await;
    let source = server.read(&format!("/v1/images/{ami}")).await["source_image"].clone();
    assert_eq!(text(&source["owner_id"]), "099720109477", "{source:#}");
    assert!(text(&source["name"]).starts_with("ubuntu/") && text(&source["name"]) != STRANGER, "{source:#}");
    let ec2 = Ec2::new(REGION);
    ec2.remove_image(&ec2.image(&ami).await).await;
    sandbox::nothing_is_left(&run.builds).await;
}

#[tokio::test]
async fn ssh_that_never_comes() {
    let _turn = turn().await;
    let region = "us-west-1";
    let server = Server::start().await;
    sandbox::fault(json!({"action": "SandboxBoot", "region": region, "times": 1})).await;
    let template = debian(region, &unique("silent"), "").with_options("  ssh_timeout = \"5s\"");
    let run = server.build(&template.text()).await;
    let error = error_of(&run).await;
    assert_eq!((text(&error["code"]), text(&error["step"])), ("ssh-timeout", "connect"), "{error:#}");
    let message = text(&error["message"]);
    assert!(message.contains("within 5s") && message.contains("attempts: "), "it says what it met: {error:#}");
    let log = run.log().await;
    let (_, console) =
        log.split_once("The end of the instance's console output:").unwrap_or_else(|| panic!("no console: {log}"));
    let lines = console.lines().filter(|line| line.starts_with("amazon-ebs.test:   ")).count();
    assert!(lines > 0, "the console's own lines: {log}");
}

#[tokio::test]
async fn a_machine_that_dies_at_its_launch() {
    let _turn = turn().await;
    let region = "ap-south-1";
    let server = Server::start().await;
    // Its owner's first look takes a while, and by then it is dead.
    sandbox::fault(json!({"action": "DescribeInstances", "region": region, "delay": 8, "times": 1})).await;
    let run = server.build(&debian(region, &unique("dies"), "").text()).await;
    sandbox::machine_of(&run.builds[0], 1).await.kill().await;
    let error = error_of(&run).await;
    assert_eq!(text(&error["step"]), "wait_running", "{error:#}");
    assert!(error.to_string().contains("the host of the instance failed"), "EC2's own reason: {error:#}");
}

#[tokio::test]
async fn cancelling_ends_the_script_and_removes_everything() {
    let _turn = turn().await;
    let region = "ca-central-1";
    let server = Server::start().await;
    let script = shell(&["echo asleep", "sleep 601 & sudo sleep 602; wait"]);
    let run = server.build(&debian(region, &unique("cancelled"), &script).text()).await;
    let machine = sandbox::machine_of(&run.builds[0], 1).await;
    // The patterns don't match the search itself.
    let search = "grep -laE 'sleep.60[12]' /proc/[0-9]*/cmdline 2>/dev/null | wc -l";
    eventually("the script sleeps", Duration::from_mins(1), async || {
        let found = machine.run(search).await;
        found.trim().parse::<u32>().is_ok_and(|found| found >= 2).then_some(())
    })
    .await;
    // The machine's end takes a while to ask for, so that what cancelling does on it can be seen.
    sandbox::fault(json!({"action": "TerminateInstances", "region": region, "delay": 10, "times": 1})).await;
    let answer = run.ask("cancel").await;
    assert_eq!(answer.status, 202, "{}", answer.text);
    eventually("the script's processes end", Duration::from_secs(9), async || {
        let found = machine.try_run(search).await.expect("the machine must still be there to be looked at");
        (found.stdout.trim() == "0").then_some(())
    })
    .await;
    let run_now = run.over().await;
    assert_eq!(
        (text(&run_now["state"]), text(&run_now["builds"][0]["state"])),
        ("cancelled", "cancelled"),
        "{run_now:#}"
    );
    assert_eq!(text(&run_now["builds"][0]["error"]["class"]), "cancelled");
    sandbox::nothing_is_left(&run.builds).await;
    assert_eq!(run.ask("cancel").await.status, 409, "it is over");
}

#[tokio::test]
async fn a_retry_completes_the_same_image() {
    let _turn = turn().await;
    let region = "sa-east-1";
    let server = Server::start().await;
    let refused = json!({"action": "RunInstances", "region": region, "times": 1, "code": "UnauthorizedOperation",
        "message": "You are not authorized to perform this operation.", "status": 403});
    sandbox::fault(refused).await;
    let run = server.build(&debian(region, &unique("retried"), &shell(&["echo made"])).text()).await;
    let error = error_of(&run).await;
    assert_eq!((text(&error["code"]), text(&error["step"])), ("UnauthorizedOperation", "launch"), "{error:#}");
    let image = run.now().await["image"].clone();

    let answer = run.ask("retry").await;
    assert_eq!(answer.status, 202, "{}", answer.text);
    let done = run.succeeded().await;
    assert_eq!(done["builds"][0]["attempt"], 2);
    assert_eq!((&done["image"]["id"], &done["image"]["number"]), (&image["id"], &image["number"]));
    assert_eq!(text(&done["image"]["state"]), "built");
    assert_eq!(done["error"], Value::Null, "{done:#}");
    assert_eq!(run.ask("retry").await.status, 409, "nothing of it failed any more");

    let ec2 = Ec2::new(region);
    let image = ec2.image(&run.ami(region).await).await;
    assert_eq!(image.tags["ingot:attempt"], "2");
    ec2.remove_image(&image).await;
    sandbox::nothing_is_left(&run.builds).await;
}

#[tokio::test]
async fn one_build_that_fails_does_not_stop_the_other() {
    let _turn = turn().await;
    let server = Server::start().await;
    let name = unique("siblings");
    let source = |name: &str, ami: String| debian(REGION, &ami, "").source(name);
    let template = format!(
        "{}{}build {{\n  sources = [\"source.amazon-ebs.good\", \"source.amazon-ebs.bad\"]\n{}\
           provisioner \"shell\" {{\n    only   = [\"amazon-ebs.bad\"]\n    inline = [\"exit 7\"]\n  }}\n}}\n",
        source("good", format!("{name}-good")),
        source("bad", format!("{name}-bad")),
        shell(&["echo both of them"]),
    );
    let run = server.build(&template).await;
    let failed = run.failed().await;
    let build = |name: &str| {
        let builds = failed["builds"].as_array().expect("builds");
        builds.iter().find(|build| build["name"] == name).expect("the build").clone()
    };
    let (good, bad) = (build("amazon-ebs.good"), build("amazon-ebs.bad"));
    assert_eq!((text(&good["state"]), text(&bad["state"])), ("succeeded", "failed"), "{failed:#}");
    assert_eq!(text(&failed["image"]["state"]), "incomplete");
    assert_eq!(failed["error"], bad["error"]);
    let log = run.log().await;
    for name in ["amazon-ebs.good: both of them\n", "amazon-ebs.bad: both of them\n"] {
        assert!(log.contains(name), "{log}");
    }

    sandbox::nothing_is_left(&[text(&bad["id"]).to_owned()]).await;
    sandbox::only_artifacts_are_left(&run.builds).await;
    let ami = text(&good["artifacts"][0]["id"]);
    let entry = server.read(&format!("/v1/images/{ami}")).await;
    assert_eq!((text(&entry["state"]), entry["copies"].as_array().map(Vec::len)), ("incomplete", Some(1)), "{entry:#}");
    let ec2 = Ec2::new(REGION);
    ec2.remove_image(&ec2.image(ami).await).await;
    sandbox::nothing_is_left(&run.builds).await;
}

#[tokio::test]
async fn a_run_that_takes_longer_than_it_may() {
    let _turn = turn().await;
    let server = Server::start().await;
    let template = debian(REGION, &unique("slow"), &shell(&["sleep 603"])).text();
    let run = server.build_with(&template, &[("timeout", "10s")]).await;
    let error = error_of(&run).await;
    assert_eq!(text(&error["code"]), "run-timeout", "{error:#}");
}

#[tokio::test]
async fn sharing_needs_the_configurations_leave() {
    let _turn = turn().await;
    let server = Server::start().await;
    let template: Template = debian(REGION, &unique("shared"), "").with_options("  ami_users = [\"210987654321\"]");
    let answer = server.post_hcl(&template.text(), &[]).await;
    assert_eq!(answer.status, 422, "{}", answer.text);
    let complaint = &answer.json()["errors"][0];
    assert!(text(&complaint["message"]).contains("210987654321"), "{complaint:#}");
    assert!(text(&complaint["detail"]).contains("share_accounts"), "{complaint:#}");
}
