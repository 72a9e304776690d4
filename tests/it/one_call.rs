//! `curl` alone: one call posts a template and starts a build, another follows its log.

use std::process::{Command, Stdio};

use serde_json::Value;

use crate::support::ec2::Ec2;
use crate::support::server::{Server, TOKEN};
use crate::support::template::{debian, shell};
use crate::support::{sandbox, turn, unique};

/// What curl printed. It must end well.
fn curl(arguments: &[&str]) -> String {
    let authorization = format!("Authorization: Bearer {TOKEN}");
    let mut command = Command::new("curl");
    command.args(["-sS", "--max-time", "240", "--noproxy", "*", "-H", &authorization]).args(arguments);
    let output = command.stdin(Stdio::null()).output().expect("curl can be started");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

/// One server-sent event.
#[derive(Debug, Clone, PartialEq)]
struct Event {
    name: String,
    id: Option<String>,
    data: Value,
}

fn events(stream: &str) -> Vec<Event> {
    let event = |block: &str| {
        let field =
            |name: &str| block.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": ")).map(str::to_owned);
        Some(Event {
            name: field("event")?,
            id: field("id"),
            data: serde_json::from_str(&field("data")?).expect("JSON"),
        })
    };
    stream.split("\n\n").filter_map(event).collect()
}

fn log_of(events: &[Event]) -> Vec<Event> {
    events.iter().filter(|event| event.name == "log").cloned().collect()
}

#[tokio::test]
async fn curl_posts_a_template_and_follows_the_log() {
    let _turn = turn().await;
    let server = Server::start().await;
    let name = unique("one-call");
    let script = shell(&["for i in $(seq 20); do echo line $i; done", "echo to stderr >&2"]);
    let template = server.data_dir().join("one-call.pkr.hcl");
    std::fs::write(&template, debian("eu-west-1", &name, &script).text()).expect("a template");

    let body = format!("@{}", template.display());
    let url = format!("{}/v1/runs?name=web", server.url());
    let type_of_body = "Content-Type: application/hcl";
    let answer = curl(&["-w", "\n%{http_code}", "-H", type_of_body, "--data-binary", &body, &url]);
    let (run, status) = answer.rsplit_once('\n').expect("a body and a status");
    assert_eq!(status, "201", "{run}");
    let run: Value = serde_json::from_str(run).expect("JSON");
    assert_eq!(
        (&run["template"], &run["image"]["family"], &run["image"]["number"]),
        (&"web".into(), &"web".into(), &1.into())
    );

    let log = format!("{}/v1/runs/{}/log", server.url(), run["id"].as_str().expect("an id"));
    let live = events(&curl(&["-N", "-H", "Accept: text/event-stream", &log]));
    let last = live.last().expect("events");
    assert_eq!((last.name.as_str(), &last.data["state"]), ("end", &"succeeded".into()), "{last:?}");
    assert!(
        live.iter().any(|event| event.name == "state" && event.data["run_state"] == "running"),
        "it was followed live"
    );
    let lines = log_of(&live);
    let numbers: Vec<i64> = lines.iter().filter_map(|line| line.data["seq"].as_i64()).collect();
    assert_eq!(
        numbers,
        (1..=i64::try_from(lines.len()).expect("few")).collect::<Vec<_>>(),
        "nothing lost, nothing twice"
    );
    let said =
        |text: &str, stream: &str| lines.iter().any(|line| line.data["text"] == text && line.data["stream"] == stream);
    assert!(said("line 1", "stdout") && said("line 20", "stdout") && said("to stderr", "stderr"), "{lines:?}");

    // Whoever was cut off in the middle gets the rest.
    for seen in [0, lines.len() / 2, lines.len() - 1] {
        let header = format!("Last-Event-ID: {}", lines[seen].id.clone().expect("each line has an id"));
        let rest = events(&curl(&["-N", "-H", "Accept: text/event-stream", "-H", &header, &log]));
        let rest = log_of(&rest);
        assert_eq!(rest[..lines.len() - seen - 1], lines[seen + 1..], "after line {seen}");
    }

    let text = curl(&[&log]);
    let said: Vec<String> =
        lines.iter().map(|line| format!("amazon-ebs.test: {}", line.data["text"].as_str().expect("text"))).collect();
    assert_eq!(text.lines().take(said.len()).collect::<Vec<_>>(), said);

    let build = run["builds"][0]["id"].as_str().expect("an id").to_owned();
    let ec2 = Ec2::new("eu-west-1");
    for image in ec2.images("tag:ingot:build-id", &build).await {
        ec2.remove_image(&image).await;
    }
    sandbox::nothing_is_left(&[build]).await;
}

#[tokio::test]
async fn without_a_token_nothing_is_told() {
    let _turn = turn().await;
    let server = Server::start().await;
    for (token, status) in [("", 401), ("Bearer ingot_wrong", 401), ("Basic eDp5", 401)] {
        let mut request = sandbox::http().get(format!("{}/v1/runs", server.url()));
        if !token.is_empty() {
            request = request.header("authorization", token);
        }
        let answer = server.send(request).await;
        assert_eq!(answer.status, status, "{token:?}: {}", answer.text);
        assert!(
            answer.json()["type"].as_str().is_some_and(|kind| kind.starts_with("urn:ingot:problem:token-")),
            "{token:?}: {}",
            answer.text
        );
    }
}
