//! Databases for tests. Each test process starts one throwaway `PostgreSQL` when the first test asks (or uses
//! `INGOT_TEST_DATABASE_URL`), and each test gets a fresh copy of a migrated template database. The throwaway cluster is
//! removed when the process ends, however it ends. For tests only: it panics when it can't.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use rustix::process::{Pid, Signal};
use secrecy::SecretString;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, Connection, Executor};
use uuid::Uuid;

use super::postgres_installation::{Installation, RunAs, run_to_end};
use super::{Sealer, Store, sealed};
use crate::domain::clock::Clock;

static SERVER: OnceLock<Server> = OnceLock::new();
static NEXT: AtomicU32 = AtomicU32::new(1);

struct Server {
    options: PgConnectOptions,
    /// How a URL to one of its databases begins and ends.
    url: Box<dyn Fn(&str) -> String + Send + Sync>,
    template: String,
}

/// A database of one test.
pub struct TestDatabase {
    name: String,
}

impl TestDatabase {
    /// A fresh, migrated database.
    ///
    /// # Panics
    /// When there is no `PostgreSQL` for tests.
    pub async fn new() -> Self {
        let server = SERVER.get_or_init(start_server);
        let name = database_name(&NEXT.fetch_add(1, Ordering::Relaxed).to_string());
        create_database(server, &name, &server.template).await;
        Self { name }
    }

    /// A fresh database without any table.
    ///
    /// # Panics
    /// When there is no `PostgreSQL` for tests.
    pub async fn empty() -> Self {
        let server = SERVER.get_or_init(start_server);
        let name = database_name(&NEXT.fetch_add(1, Ordering::Relaxed).to_string());
        create_database(server, &name, "template0").await;
        Self { name }
    }

    /// Where to connect.
    ///
    /// # Panics
    /// Never: a database exists only after its server.
    #[must_use]
    pub fn url(&self) -> SecretString {
        let server = SERVER.get().expect("a test database is made after its server");
        SecretString::from((server.url)(&self.name))
    }

    /// A store on this database, with a key of its own.
    ///
    /// # Panics
    /// When the database does not answer.
    pub async fn store(&self, clock: Arc<dyn Clock>) -> Store {
        self.store_with(clock, test_sealer("test", 1)).await
    }

    /// A store on this database with this key.
    ///
    /// # Panics
    /// When the database does not answer.
    pub async fn store_with(&self, clock: Arc<dyn Clock>, sealer: Sealer) -> Store {
        Store::connect(&self.url(), 30, sealer, clock).await.expect("the test database answers")
    }
}

/// A sealer whose key is one byte, repeated.
#[must_use]
pub fn test_sealer(id: &str, byte: u8) -> Sealer {
    Sealer::new((sealed::KeyId(id.to_owned()), [byte; 32]), vec![])
}

/// A clock that stands until it is moved.
pub struct TestClock {
    now: Mutex<(DateTime<Utc>, Duration)>,
}

impl TestClock {
    /// Stands at noon on 2 January 2026, UTC.
    #[must_use]
    pub fn new() -> Self {
        let start = DateTime::from_timestamp(1_767_355_200, 0).unwrap_or_default();
        Self { now: Mutex::new((start, Duration::from_secs(1000))) }
    }

    /// Sets calendar time, also back; time since boot goes on.
    pub fn set(&self, to: DateTime<Utc>) {
        self.now.lock().unwrap_or_else(PoisonError::into_inner).0 = to;
    }

    /// Moves both kinds of time.
    pub fn advance(&self, by: Duration) {
        let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        now.0 += TimeDelta::from_std(by).unwrap_or(TimeDelta::MAX);
        now.1 += by;
    }
}

impl Default for TestClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for TestClock {
    fn now(&self) -> DateTime<Utc> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner).0
    }

    fn since_boot(&self) -> Duration {
        self.now.lock().unwrap_or_else(PoisonError::into_inner).1
    }
}

/// Carries the process id, so that leftovers of dead test processes are known.
fn database_name(suffix: &str) -> String {
    format!("ingot_test_{}_{suffix}", std::process::id())
}

async fn connect(options: &PgConnectOptions, database: &str) -> Result<PgConnection, sqlx::Error> {
    PgConnection::connect_with(&options.clone().database(database)).await
}

async fn create_database(server: &Server, name: &str, template: &str) {
    let mut connection = connect(&server.options, "postgres").await.expect("the test server answers");
    connection
        .execute(AssertSqlSafe(format!("CREATE DATABASE {name} TEMPLATE {template} ENCODING 'UTF8'")))
        .await
        .expect("a test database can be made");
    connection.close().await.ok();
}

/// Runs apart from the test's own runtime, which may end before the next test asks.
fn start_server() -> Server {
    std::thread::spawn(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(prepare_server())
    })
    .join()
    .expect("a PostgreSQL for tests")
}

async fn prepare_server() -> Server {
    let template = database_name("template");
    let server = match std::env::var("INGOT_TEST_DATABASE_URL") {
        Ok(url) => given_server(&url, template),
        Err(_) => throwaway_server(template),
    };
    wait_until_ready(&server.options).await;
    drop_leftovers(&server.options).await;
    create_database(&server, &server.template, "template0").await;
    let url = SecretString::from((server.url)(&server.template));
    let store = Store::connect(&url, 1, test_sealer("test", 1), Arc::new(TestClock::new())).await;
    let store = store.expect("the template database answers");
    store.migrate().await.expect("the template database can be migrated");
    // A database with connections can't be a template.
    store.close().await;
    server
}

fn given_server(url: &str, template: String) -> Server {
    let options: PgConnectOptions = url.parse().expect("INGOT_TEST_DATABASE_URL is a PostgreSQL URL");
    let (before, after) = match url.split_once('?') {
        Some((before, after)) => (before, format!("?{after}")),
        None => (url, String::new()),
    };
    let authority = before.find("://").map_or(0, |at| at + 3);
    let path = before[authority..].find('/').map_or(before.len(), |at| authority + at);
    let before = before[..path].to_owned();
    Server { options, url: Box::new(move |name| format!("{before}/{name}{after}")), template }
}

fn throwaway_server(template: String) -> Server {
    let folder = PathBuf::from(format!("/tmp/ingot-test-{}", Uuid::new_v4().simple()));
    let installation = Installation::find(None).expect("PostgreSQL is installed, or INGOT_TEST_DATABASE_URL is set");
    let user = RunAs::choose().expect("a user for PostgreSQL");
    user.private_folder(&folder).expect("a folder for the test cluster");
    let spawned = folder.clone();
    // The cluster dies with the thread that starts it, so that thread lives as long as the process.
    std::thread::spawn(move || run_throwaway(&installation, &user, &spawned));
    let host = folder.display().to_string();
    let options = PgConnectOptions::new_without_pgpass().host(&host).port(5432).username("ingot");
    let host = host.replace('/', "%2F");
    Server { options, url: Box::new(move |name| format!("postgres://ingot@{host}:5432/{name}")), template }
}

/// A shell watches over the cluster: when this process ends it gets SIGTERM, kills `PostgreSQL` and removes the folder.
fn run_throwaway(installation: &Installation, user: &RunAs, folder: &Path) {
    const SCRIPT: &str = r#"
        trap 'kill -QUIT "$server" 2>/dev/null; wait "$server" 2>/dev/null; rm -rf "$1"; exit 0' TERM
        "$2" -D "$1/data" -k "$1" -h '' -p 5432 -F -N 500 -c synchronous_commit=off -c full_page_writes=off \
            -c shared_buffers=128MB -c max_wal_size=4GB >"$1/log" 2>&1 &
        server=$!
        wait "$server"
        rm -rf "$1"
    "#;
    init_cluster(installation, user, folder);
    let mut shell = user.command(Path::new("/bin/sh"), true).expect("a shell can be run");
    shell.args(["-c", SCRIPT, "sh"]).arg(folder).arg(installation.program("postgres"));
    // A group of its own: Ctrl-C must not end PostgreSQL before the tests.
    shell.process_group(0).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = shell.spawn().expect("the test cluster can be started");
    child.wait().expect("the test cluster can be waited for");
}

/// Makes a cluster in `data` of a folder, which goes away when that fails.
fn init_cluster(installation: &Installation, user: &RunAs, folder: &Path) {
    let mut initdb = user.command(&installation.program("initdb"), false).expect("initdb can be run");
    initdb.args(["--username=ingot", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync", "--pgdata"]);
    initdb.arg(folder.join("data"));
    if let Err(error) = run_to_end(initdb, "initdb") {
        fs::remove_dir_all(folder).ok();
        panic!("{}", error.public);
    }
}

/// A `PostgreSQL` of one test, which may stop and start it. It ends with the thread of its last start, and is removed when it
/// is dropped.
pub struct TestCluster {
    folder: PathBuf,
    installation: Installation,
    user: RunAs,
    process: Option<Child>,
}

impl TestCluster {
    /// A running server with an empty database `ingot`.
    ///
    /// # Panics
    /// When `PostgreSQL` is not installed or does not start.
    pub async fn start() -> Self {
        let folder = PathBuf::from(format!("/tmp/ingot-test-{}", Uuid::new_v4().simple()));
        let installation = Installation::find(None).expect("PostgreSQL is installed");
        let user = RunAs::choose().expect("a user for PostgreSQL");
        user.private_folder(&folder).expect("a folder for the test cluster");
        init_cluster(&installation, &user, &folder);
        let mut cluster = Self { folder, installation, user, process: None };
        cluster.start_again().await;
        let mut connection = connect(&cluster.options(), "postgres").await.expect("the test cluster answers");
        connection.execute("CREATE DATABASE ingot TEMPLATE template0 ENCODING 'UTF8'").await.expect("a database");
        connection.close().await.ok();
        cluster
    }

    /// Starts it on the data that it had.
    ///
    /// # Panics
    /// When it runs already, or does not answer within a minute.
    pub async fn start_again(&mut self) {
        assert!(self.process.is_none(), "it runs");
        let program = self.installation.program("postgres");
        let mut command = self.user.command(&program, true).expect("PostgreSQL can be run");
        command.arg("-D").arg(self.folder.join("data")).arg("-k").arg(&self.folder);
        command.args(["-h", "", "-p", "5432", "-F", "-N", "200"]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        self.process = Some(command.spawn().expect("PostgreSQL can be started"));
        wait_until_ready(&self.options()).await;
    }

    /// Stops it as a machine's end would: without a word to those that are connected.
    ///
    /// # Panics
    /// When it does not run.
    pub fn stop_at_once(&mut self) {
        let mut process = self.process.take().expect("it runs");
        rustix::process::kill_process(Pid::from_child(&process), Signal::QUIT).expect("it can be signalled");
        process.wait().expect("it can be waited for");
    }

    /// The socket that it listens on.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.folder.join(".s.PGSQL.5432")
    }

    /// Where its database `ingot` is.
    #[must_use]
    pub fn url(&self) -> SecretString {
        let host = self.folder.display().to_string().replace('/', "%2F");
        SecretString::from(format!("postgres://ingot@{host}:5432/ingot"))
    }

    /// Where it is by way of a port of this machine.
    #[must_use]
    pub fn url_by_port(port: u16) -> SecretString {
        SecretString::from(format!("postgres://ingot@127.0.0.1:{port}/ingot"))
    }

    fn options(&self) -> PgConnectOptions {
        let host = self.folder.display().to_string();
        PgConnectOptions::new_without_pgpass().host(&host).port(5432).username("ingot")
    }
}

impl Drop for TestCluster {
    fn drop(&mut self) {
        if self.process.is_some() {
            self.stop_at_once();
        }
        fs::remove_dir_all(&self.folder).ok();
    }
}

async fn wait_until_ready(options: &PgConnectOptions) {
    let began = Instant::now();
    loop {
        match connect(options, "postgres").await {
            Ok(connection) => {
                connection.close().await.ok();
                return;
            }
            Err(error) if began.elapsed() > Duration::from_mins(1) => panic!("no PostgreSQL for tests: {error}"),
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}

/// Drops databases of test processes of this machine that are gone.
async fn drop_leftovers(options: &PgConnectOptions) {
    let mut connection = connect(options, "postgres").await.expect("the test server answers");
    let names: Vec<String> =
        sqlx::query_scalar("SELECT datname::text FROM pg_database WHERE starts_with(datname::text, 'ingot_test_')")
            .fetch_all(&mut connection)
            .await
            .expect("databases can be listed");
    for name in names {
        let process = name.trim_start_matches("ingot_test_").split('_').next().unwrap_or_default();
        if process.parse::<u32>().is_ok() && !Path::new("/proc").join(process).exists() {
            // Another test process may be dropping it too.
            connection.execute(AssertSqlSafe(format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"))).await.ok();
        }
    }
    connection.close().await.ok();
}
