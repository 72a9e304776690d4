//! The sandbox that the tests share: what is left in it, what happens inside its machines, and failures on demand.
//! `deploy/sandbox/README.md` describes its control API.

use std::time::Duration;

use serde_json::{Value, json};

use super::eventually;

/// What costs money in EC2, as the sandbox calls it.
pub const KINDS: [&str; 8] = [
    "instances",
    "volumes",
    "network_interfaces",
    "key_pairs",
    "security_groups",
    "launch_templates",
    "images",
    "snapshots",
];

/// The sandbox's address.
pub fn url() -> String {
    let url = std::env::var("INGOT_SANDBOX_URL").unwrap_or_default();
    assert!(!url.is_empty(), "INGOT_SANDBOX_URL is not set, and these tests need a sandbox: run tests/run");
    url.trim_end_matches('/').to_owned()
}

/// A client that no proxy of this machine gets to see.
pub fn http() -> reqwest::Client {
    reqwest::Client::builder().no_proxy().build().expect("a client")
}

async fn get(path: &str) -> Value {
    let answer = http().get(format!("{}/_sandbox/{path}", url())).send().await.expect("the sandbox answers");
    assert!(answer.status().is_success(), "{path}: {}", answer.status());
    answer.json().await.expect("the sandbox answers with JSON")
}

/// Everything that is there and not a base image.
pub async fn leftovers() -> Value {
    get("leftovers").await
}

/// What carries the tag of one of these builds, as `kind id`.
pub async fn left_of(builds: &[String]) -> Vec<String> {
    let all = leftovers().await;
    let of = |kind: &'static str| {
        all[kind].as_array().into_iter().flatten().filter_map(move |thing| {
            let build = thing["tags"]["ingot:build-id"].as_str()?;
            builds.iter().any(|id| id == build).then(|| format!("{kind} {}", thing["id"].as_str().unwrap_or("?")))
        })
    };
    KINDS.into_iter().flat_map(of).collect()
}

/// Waits until nothing of these builds is left but images and snapshots.
pub async fn only_artifacts_are_left(builds: &[String]) {
    wait_for_the_rest_to_go(builds, &["images ", "snapshots "]).await;
}

/// Waits until nothing of these builds is left but what is of these kinds, with a blank after each.
pub async fn of_build_are_left(builds: &[String], kinds: &[&str]) {
    wait_for_the_rest_to_go(builds, kinds).await;
}

/// Waits until nothing at all of these builds is left.
pub async fn nothing_is_left(builds: &[String]) {
    wait_for_the_rest_to_go(builds, &[]).await;
}

async fn wait_for_the_rest_to_go(builds: &[String], may_stay: &[&str]) {
    let mut left = Vec::new();
    // A terminated instance takes its volumes and interfaces with it a moment later.
    let gone = async {
        loop {
            left = left_of(builds).await;
            left.retain(|thing| !may_stay.iter().any(|kind| thing.starts_with(kind)));
            if left.is_empty() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    let in_time = tokio::time::timeout(Duration::from_secs(30), gone).await.is_ok();
    assert!(in_time, "left over of {builds:?}: {left:?}");
}

/// A machine of the sandbox.
#[derive(Debug, Clone)]
pub struct Machine {
    pub id: String,
    pub address: String,
}

/// Waits for the running machine of one attempt of a build.
pub async fn machine_of(build: &str, attempt: u32) -> Machine {
    let attempt = attempt.to_string();
    let is_it = |instance: &Value| {
        instance["tags"]["ingot:build-id"] == build
            && instance["tags"]["ingot:attempt"] == attempt
            && instance["state"] == "running"
    };
    let what = format!("a machine of build {build}, attempt {attempt}");
    let id = eventually(&what, Duration::from_mins(3), async || {
        let all = leftovers().await;
        all["instances"].as_array()?.iter().find(|instance| is_it(instance))?["id"].as_str().map(str::to_owned)
    })
    .await;
    machine(&id).await
}

/// A machine by its id, once it runs.
pub async fn machine(id: &str) -> Machine {
    eventually(&format!("{id} runs"), Duration::from_mins(1), async || {
        let all = get("instances").await;
        let found = all["instances"].as_array()?.iter().find(|instance| instance["id"] == id)?.clone();
        let address = found["address"].as_str()?.to_owned();
        (found["state"] == "running").then(|| Machine { id: id.to_owned(), address })
    })
    .await
}

/// What a command on a machine came to.
#[derive(Debug)]
pub struct Output {
    pub code: i64,
    pub stdout: String,
}

impl Machine {
    /// Runs a command as root, beside SSH. `Err`: there is no such machine (any more).
    pub async fn try_run(&self, command: &str) -> Result<Output, String> {
        let url = format!("{}/_sandbox/instances/{}/exec", url(), self.id);
        let answer = http().post(url).json(&json!({ "command": command })).send().await.expect("the sandbox answers");
        let found = answer.status().is_success();
        let answer: Value = answer.json().await.expect("the sandbox answers with JSON");
        if !found {
            return Err(answer.to_string());
        }
        let stdout = answer["stdout"].as_str().unwrap_or_default().to_owned();
        Ok(Output { code: answer["exit_code"].as_i64().unwrap_or(-1), stdout })
    }

    /// The machine dies, and EC2 says that it is terminated.
    pub async fn kill(&self) {
        let url = format!("{}/_sandbox/instances/{}/kill", url(), self.id);
        let answer = http().post(url).json(&json!({})).send().await.expect("the sandbox answers");
        assert!(answer.status().is_success(), "{}", answer.text().await.unwrap_or_default());
    }

    /// The websockets of the machine's Session Manager sessions break. Answers how many there were.
    pub async fn cut_sessions(&self) -> u64 {
        let url = format!("{}/_sandbox/instances/{}/cut-sessions", url(), self.id);
        let answer = http().post(url).json(&json!({})).send().await.expect("the sandbox answers");
        let answer: Value = answer.json().await.expect("the sandbox answers with JSON");
        answer["cut"].as_u64().expect("a number")
    }

    /// The output of a command that succeeds.
    pub async fn run(&self, command: &str) -> String {
        let output = self.try_run(command).await.expect("the machine is there");
        assert_eq!(output.code, 0, "{command}: {}", output.stdout);
        output.stdout
    }

    /// The body that the machine's web server answers with, once it answers.
    pub async fn web_page(&self) -> String {
        let url = format!("http://{}/", self.address);
        let client = http();
        eventually(&format!("{url} answers"), Duration::from_secs(30), async || {
            let answer = client.get(&url).timeout(Duration::from_secs(5)).send().await.ok()?;
            answer.error_for_status().ok()?.text().await.ok()
        })
        .await
    }
}

/// Makes calls fail or slow; the README lists the fields. Always with a region of the test's own.
pub async fn fault(specification: Value) {
    assert!(specification["region"].is_string(), "a fault without a region would hit other tests");
    let answer = http().post(format!("{}/_sandbox/faults", url())).json(&specification).send().await;
    let answer = answer.expect("the sandbox answers");
    assert!(answer.status().is_success(), "{}", answer.text().await.unwrap_or_default());
}

/// How many calls the faults of a region will still hit.
pub async fn faults_left(region: &str) -> i64 {
    let faults = get("faults").await;
    let faults = faults["faults"].as_array().expect("faults").iter();
    faults.filter(|fault| fault["region"] == region).filter_map(|fault| fault["left"].as_i64()).sum()
}

/// How many calls of an action the faults of an account will still hit in a region.
pub async fn faults_left_of(account: &str, action: &str, region: &str) -> i64 {
    let faults = get("faults").await;
    let faults = faults["faults"].as_array().expect("faults").iter();
    let fits = |fault: &&Value| fault["account"] == account && fault["action"] == action && fault["region"] == region;
    faults.filter(fits).filter_map(|fault| fault["left"].as_i64()).sum()
}

/// How many calls of an action a region has answered after more than a minute.
pub async fn late_calls(region: &str, action: &str) -> usize {
    let calls = get(&format!("calls?action={action}")).await;
    let calls = calls["calls"].as_array().expect("calls").iter();
    calls.filter(|call| call["region"] == region && call["seconds"].as_f64() > Some(60.0)).count()
}
