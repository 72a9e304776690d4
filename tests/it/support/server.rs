//! An `ingot serve` of a test's own: the real binary on a free port, with its own database and data directory.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use ingot::store::test_support::TestDatabase;
use reqwest::Method;
use rustix::process::{Pid, Signal, kill_process};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;
use tempfile::TempDir;

use super::{eventually, sandbox};

/// The binary under test.
pub const INGOT: &str = env!("CARGO_BIN_EXE_ingot");
/// The server's admin token.
pub const TOKEN: &str = "ingot_test_bootstrap_token_of_the_tests";
/// A template that installs packages takes a while; anything slower hangs.
const RUN_LIMIT: Duration = Duration::from_mins(5);

/// A server that may be killed and started again on the same database and data directory.
pub struct Server {
    data: TempDir,
    /// `None`: the server's private cluster.
    database: Option<SecretString>,
    settings: BTreeMap<String, String>,
    process: Option<Child>,
    starts: u32,
    url: String,
    http: reqwest::Client,
}

/// What a request came to.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub text: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }
}

impl Server {
    /// A running server with a fresh database.
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// The same with further settings (`INGOT__…`).
    pub async fn start_with(settings: &[(&str, &str)]) -> Self {
        let url = TestDatabase::empty().await.url();
        let endpoint = sandbox::url();
        let mut server = Self::prepare(Some(url), settings);
        server.settings.insert("INGOT__AWS__ENDPOINT_URL".into(), endpoint);
        server.start_again().await;
        server
    }

    /// A second server on another one's database, with the same key for its secrets.
    pub async fn start_beside(other: &Self) -> Self {
        Self::start_beside_with(other, &[]).await
    }

    /// The same with further settings.
    pub async fn start_beside_with(other: &Self, settings: &[(&str, &str)]) -> Self {
        let key = other.data_dir().join("secret.key").display().to_string();
        let mut server = Self::prepare(other.database.clone(), settings);
        server.settings.insert("INGOT__SECRETS__KEY_FILE".into(), key);
        server.settings.insert("INGOT__AWS__ENDPOINT_URL".into(), sandbox::url());
        server.start_again().await;
        server
    }

    /// A running server on a database of the test's own. `beside`: a server whose key for secrets it shares.
    pub async fn start_on(database: SecretString, beside: Option<&Self>, settings: &[(&str, &str)]) -> Self {
        let mut server = Self::prepare(Some(database), settings);
        if let Some(other) = beside {
            let key = other.data_dir().join("secret.key").display().to_string();
            server.settings.insert("INGOT__SECRETS__KEY_FILE".into(), key);
        }
        server.settings.insert("INGOT__AWS__ENDPOINT_URL".into(), sandbox::url());
        server.start_again().await;
        server
    }

    /// A running server that makes its own database.
    pub async fn start_with_private_cluster() -> Self {
        Self::start_with_private_cluster_and(&[]).await
    }

    /// The same with further settings; an empty value takes a setting away.
    pub async fn start_with_private_cluster_and(settings: &[(&str, &str)]) -> Self {
        let mut server = Self::prepare(None, settings);
        server.start_again().await;
        server
    }

    fn prepare(database: Option<SecretString>, settings: &[(&str, &str)]) -> Self {
        let data = tempfile::Builder::new().prefix("ingot-it-").tempdir().expect("a data directory");
        // A private cluster is another user's, who has to pass.
        fs::set_permissions(data.path(), fs::Permissions::from_mode(0o711)).expect("its mode can be set");
        let settings = settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let http = sandbox::http();
        Self { data, database, settings, process: None, starts: 0, url: String::new(), http }
    }

    /// Starts it on the database and data directory that it had.
    pub async fn start_again(&mut self) {
        assert!(self.process.is_none(), "it runs");
        self.starts += 1;
        // A test program that is killed takes its servers along.
        let mut command = without_settings("setpriv");
        command.args(["--pdeathsig=KILL", "--", INGOT, "serve"]);
        command.env("INGOT__DATA_DIR", self.data_dir()).env("INGOT__SERVER__LISTEN", "127.0.0.1:0");
        if let Some(url) = &self.database {
            command.env("INGOT__DATABASE__URL", url.expose_secret());
        }
        command.env("INGOT__AUTH__BOOTSTRAP_TOKEN", TOKEN).env("INGOT__LOG__LEVEL", "info,ingot=debug");
        // The sandbox has no limits like EC2's, and tests should not wait for them.
        command.env("INGOT__AWS__LAUNCH_RATE", "100/s").env("INGOT__AWS__CHANGE_RATE", "100/s");
        command.env("INGOT__AWS__REGION", "us-east-1").env("AWS_EC2_METADATA_DISABLED", "true");
        command.env("AWS_ACCESS_KEY_ID", "test").env("AWS_SECRET_ACCESS_KEY", "test");
        for (name, value) in &self.settings {
            if value.is_empty() {
                command.env_remove(name);
            } else {
                command.env(name, value);
            }
        }
        let file = |name: &str| File::create(self.output(name)).expect("a file for the server's output");
        command.stdin(Stdio::null()).stdout(file("stdout")).stderr(file("stderr"));
        let mut process = command.spawn().expect("the server can be started");
        let stdout = self.output("stdout");
        let began = std::time::Instant::now();
        self.url = loop {
            let said = fs::read_to_string(&stdout).unwrap_or_default();
            if let Some(url) = ready_url(&said) {
                break url;
            }
            let ended = process.try_wait().expect("the server can be asked for");
            if let Some(status) = ended {
                panic!("the server ended ({status}): {}", self.own_log());
            }
            assert!(began.elapsed() < Duration::from_mins(1), "the server is not ready: {}", self.own_log());
            tokio::time::sleep(Duration::from_millis(50)).await;
        };
        self.process = Some(process);
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        let mut process = self.process.take().expect("it runs");
        process.kill().expect("it can be killed");
        process.wait().expect("it can be waited for");
    }

    /// SIGSTOP: it lives, and does nothing.
    pub fn freeze(&self) {
        self.signal(Signal::STOP);
    }

    /// SIGCONT: it goes on as if no time had passed.
    pub fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        let process = self.process.as_ref().expect("it runs");
        kill_process(Pid::from_child(process), signal).expect("it can be signalled");
    }

    /// SIGTERM, and waits for the end. Returns the exit code.
    pub async fn stop(&mut self) -> Option<i32> {
        let mut process = self.process.take().expect("it runs");
        let pid = Pid::from_child(&process);
        kill_process(pid, Signal::TERM).expect("it can be told to stop");
        eventually("the server stops", Duration::from_mins(1), async || {
            process.try_wait().expect("it can be waited for")
        })
        .await
        .code()
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    pub fn data_dir(&self) -> PathBuf {
        self.data.path().join("data")
    }

    /// Where to connect for a look into its database.
    pub fn database(&self) -> &SecretString {
        self.database.as_ref().expect("it was given a database")
    }

    /// What another command needs to work on the same database and secrets.
    pub fn settings_of_its_database(&self) -> Vec<(&'static str, String)> {
        vec![
            ("INGOT__DATABASE__URL", self.database().expose_secret().to_owned()),
            ("INGOT__DATA_DIR", self.data_dir().display().to_string()),
        ]
    }

    fn output(&self, name: &str) -> PathBuf {
        self.data.path().join(format!("{name}.{}", self.starts))
    }

    /// What the server itself logged, over all its starts.
    pub fn own_log(&self) -> String {
        (1..=self.starts)
            .map(|start| fs::read(self.data.path().join(format!("stderr.{start}"))).unwrap_or_default())
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .collect()
    }

    /// A request with the admin token.
    pub fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.http.request(method, format!("{}{path}", self.url)).bearer_auth(TOKEN)
    }

    /// A POST of JSON that has to be answered with this status.
    pub async fn post_json(&self, path: &str, body: &Value, status: u16) -> Value {
        let answer = self.send(self.request(Method::POST, path).json(body)).await;
        assert_eq!(answer.status, status, "{path}: {}", answer.text);
        answer.json()
    }

    pub async fn send(&self, request: reqwest::RequestBuilder) -> Answer {
        let answer = request.send().await.expect("the server answers");
        Answer { status: answer.status().as_u16(), text: answer.text().await.expect("the server answers to the end") }
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send(self.request(Method::GET, path)).await
    }

    /// The JSON of something that is there.
    pub async fn read(&self, path: &str) -> Value {
        let answer = self.get(path).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text);
        answer.json()
    }

    /// The same for those who ask again: `None` when the database is away for the moment.
    pub async fn try_read(&self, path: &str) -> Option<Value> {
        let answer = self.get(path).await;
        assert!(matches!(answer.status, 200 | 503), "{path}: {} {}", answer.status, answer.text);
        (answer.status == 200).then(|| answer.json())
    }

    /// Posts a raw HCL template, with the query's further parameters.
    pub async fn post_hcl(&self, template: &str, query: &[(&str, &str)]) -> Answer {
        let request = self.request(Method::POST, "/v1/runs").query(query);
        self.send(request.header("content-type", "application/hcl").body(template.to_owned())).await
    }

    /// Starts a run of a template that is accepted.
    pub async fn build(&self, template: &str) -> Run<'_> {
        self.build_with(template, &[]).await
    }

    pub async fn build_with(&self, template: &str, query: &[(&str, &str)]) -> Run<'_> {
        self.accepted(&self.post_hcl(template, query).await)
    }

    /// The run that an answer tells of.
    pub fn accepted(&self, answer: &Answer) -> Run<'_> {
        assert_eq!(answer.status, 201, "{}", answer.text);
        let run = answer.json();
        let text = |value: &Value| value.as_str().expect("an id").to_owned();
        let builds = run["builds"].as_array().expect("builds").iter().map(|build| text(&build["id"])).collect();
        Run { server: self, id: text(&run["id"]), builds }
    }

    /// The ids of the processes of its private cluster.
    pub fn postgres_pid(&self) -> Option<i32> {
        postmaster(&self.data_dir())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- the server's log ---\n{}--- end of the server's log ---", self.own_log());
        }
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
        // A killed server leaves its private cluster running, to be adopted by the next one.
        if self.database.is_none()
            && let Some(pid) = self.postgres_pid().and_then(Pid::from_raw)
        {
            let _ = kill_process(pid, Signal::QUIT);
        }
    }
}

/// One run of a server.
pub struct Run<'s> {
    server: &'s Server,
    pub id: String,
    /// Ids, in the template's order.
    pub builds: Vec<String>,
}

impl<'s> Run<'s> {
    /// A run that is known from before, asked of this server.
    pub fn of(server: &'s Server, id: &str, builds: &[&str]) -> Self {
        Self { server, id: id.to_owned(), builds: builds.iter().map(|build| (*build).to_owned()).collect() }
    }
}

impl Run<'_> {
    /// The server that is asked about it.
    pub fn server(&self) -> &Server {
        self.server
    }

    pub fn path(&self) -> String {
        format!("/v1/runs/{}", self.id)
    }

    pub async fn now(&self) -> Value {
        self.server.read(&self.path()).await
    }

    /// The run when it is over.
    pub async fn over(&self) -> Value {
        let run = eventually(&format!("run {} is over", self.id), RUN_LIMIT, async || {
            let run = self.server.try_read(&self.path()).await?;
            let over = ["succeeded", "failed", "cancelled", "stuck"].iter().any(|state| run["state"] == *state);
            over.then_some(run)
        })
        .await;
        assert!(run["state"] != "stuck", "the run is stuck: {run:#}\n{}", self.log().await);
        run
    }

    /// The run when it is over and has ended well, its temporary things removed.
    pub async fn succeeded(&self) -> Value {
        let run = self.over().await;
        assert!(run["state"] == "succeeded", "the run did not succeed: {run:#}\n{}", self.log().await);
        eventually(&format!("run {} is cleaned up", self.id), Duration::from_mins(1), async || {
            let run = self.server.try_read(&self.path()).await?;
            let done = run["builds"].as_array()?.iter().all(|build| build["cleanup"] == "done");
            done.then_some(run)
        })
        .await
    }

    /// The run when it is over and has failed; everything it made is gone.
    pub async fn failed(&self) -> Value {
        let run = self.over().await;
        assert!(run["state"] == "failed", "the run did not fail: {run:#}\n{}", self.log().await);
        run
    }

    /// The log as text.
    pub async fn log(&self) -> String {
        let answer = self.server.get(&format!("{}/log", self.path())).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        answer.text
    }

    /// Cancels or retries.
    pub async fn ask(&self, verb: &str) -> Answer {
        self.server.send(self.server.request(Method::POST, &format!("{}/{verb}", self.path()))).await
    }

    /// A step of the present attempt of the first build.
    pub async fn step(&self, name: &str) -> Option<Value> {
        let steps = self.server.try_read(&format!("/v1/builds/{}/steps", self.builds[0])).await?;
        steps["items"].as_array()?.iter().rev().find(|step| step["name"] == name).cloned()
    }

    /// Waits until a step of the first build has this state.
    pub async fn step_is(&self, name: &str, state: &str) {
        eventually(&format!("step {name} is {state}"), RUN_LIMIT, async || {
            let step = self.step(name).await?;
            (step["state"] == state).then_some(())
        })
        .await;
    }

    /// Waits until a step of the first build has been begun.
    pub async fn step_begun(&self, name: &str) {
        eventually(&format!("step {name} has begun"), RUN_LIMIT, async || {
            let step = self.step(name).await?;
            (step["state"] != "pending").then_some(())
        })
        .await;
    }

    /// The id of the AMI that the first build made in a region.
    pub async fn ami(&self, region: &str) -> String {
        let run = self.now().await;
        let artifacts = run["builds"][0]["artifacts"].as_array().expect("artifacts").clone();
        let found = artifacts.iter().find(|artifact| artifact["region"] == region);
        found
            .and_then(|artifact| artifact["id"].as_str())
            .unwrap_or_else(|| panic!("no AMI in {region}: {run:#}"))
            .to_owned()
    }
}

/// The command without anything that is configured on this machine.
pub fn ingot() -> Command {
    without_settings(INGOT)
}

fn without_settings(program: &str) -> Command {
    let mut command = Command::new(program);
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default()).env("HOME", "/nonexistent");
    command
}

fn ready_url(said: &str) -> Option<String> {
    let (_, after) = said.split_once(" is ready on ")?;
    let (url, _) = after.split_once(": deployment")?;
    Some(url.to_owned())
}

/// The process of a private cluster.
fn postmaster(data_dir: &Path) -> Option<i32> {
    let text = fs::read_to_string(data_dir.join("postgres/postmaster.pid")).ok()?;
    text.lines().next()?.trim().parse().ok()
}
