//! The one place that wires everything: what the command line asks of a server's machine is carried out here, and
//! [`Server`] is put together from configuration, database, clouds, engine and API.

mod engine_runtime;
mod first_token;
mod secret_keys;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use engine_runtime::EngineRuntime;
use metrics_exporter_prometheus::PrometheusHandle;
use secrecy::SecretString;
use tokio::net::TcpListener;
use tokio_util::task::TaskTracker;

use crate::api::{self, ApiState, Limits};
use crate::auth::{Authenticator, PlainToken};
use crate::cli::complaint::{Complaint, Sources, count};
use crate::cli::exit::Exit;
use crate::cli::render::{Renderer, color_of_complaints};
use crate::cli::server::{ConfigAction, ConfigFile, ServeArgs, ServerCommand};
use crate::cli::token::CreateArgs;
use crate::cli::{self, ClientCommand, Command, Output};
use crate::cloud::Accounts;
use crate::cloud::aws::{AccountConfig, AwsAccounts, AwsConfig};
use crate::cloud::budget::Budgets;
use crate::config::{Config, units};
use crate::domain::clock::Clock;
use crate::domain::error::{Error, ErrorKind, Result};
use crate::domain::ids::{DeploymentId, TokenId};
use crate::domain::server_role::ServerRole;
use crate::engine::accept::{AcceptSettings, Random, new_id};
use crate::engine::channels::ChannelSettings;
use crate::engine::data_sources::DataSources;
use crate::engine::guarded_cloud::BudgetedAccounts;
use crate::engine::session::SshDialer;
use crate::engine::{self, EngineHandle, EngineParts, EngineSettings, pipeline_metrics};
use crate::lifecycle::{Drained, GRACE, Lifecycle, SystemClock};
use crate::steps::Steps;
use crate::store::approved::ApprovedImages;
use crate::store::private_cluster::PrivateCluster;
use crate::store::tokens::NewToken;
use crate::store::{Actor, Sealer, Store};
use crate::telemetry;
use crate::telemetry::metrics as names;

/// How long the evaluation of one template may take.
const EVALUATION_LIMIT: Duration = Duration::from_secs(10);
const PING_EVERY: Duration = Duration::from_secs(10);

/// The whole program.
#[must_use]
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match cli::parse(args) {
        Ok(cli) => cli,
        Err(exit) => return exit.into(),
    };
    let exit = match cli.command {
        Command::Server(command) => server_command(command),
        Command::Client(ClientCommand::Token(args)) if args.local().is_some() => {
            let create = args.local().cloned();
            create.map_or(Exit::Usage, |create| {
                with_config(&create.config.clone(), |config| block_on(create_token(config, create, cli.global.output)))
            })
        }
        Command::Client(command) => cli::run(cli.global, command, Arc::new(SystemClock)),
    };
    exit.into()
}

fn server_command(command: ServerCommand) -> Exit {
    match command {
        ServerCommand::Serve(ServeArgs { config: file, role }) => with_config(&file, |config| serve_as(config, role)),
        ServerCommand::Worker(file) => with_config(&file, |config| serve_as(config, Some(ServerRole::Worker))),
        ServerCommand::Migrate(file) => with_config(&file, |config| block_on(migrate(config))),
        ServerCommand::Config(args) => match args.action {
            ConfigAction::Check(file) => with_config(&file, |_| printed("The configuration is valid.\n")),
            ConfigAction::Show(file) => with_config(&file, |config| printed(&config.describe())),
        },
        ServerCommand::Secrets(args) => secret_keys::command(args.action),
        ServerCommand::Openapi => printed(&api::openapi_yaml()),
    }
}

/// Loads the configuration, or says each mistake with its place.
fn with_config(file: &ConfigFile, then: impl FnOnce(Config) -> Exit) -> Exit {
    let env =
        std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    match Config::load(file.path.as_deref(), env) {
        Ok(config) => then(config),
        Err(mistakes) => {
            let mut sources = Sources::new();
            if let Some(path) = &file.path
                && let Ok(text) = fs::read_to_string(path)
            {
                sources.insert(path.display().to_string(), text);
            }
            let mistakes: Vec<Complaint> = mistakes.iter().map(Complaint::from).collect();
            let renderer = Renderer { sources: &sources, color: color_of_complaints() };
            let closing = format!("The configuration is not valid: {}", count(&mistakes));
            eprint!("{}{}", renderer.all(&mistakes), renderer.closing(&closing));
            Exit::Failed
        }
    }
}

fn block_on(work: impl Future<Output = Result<Exit>>) -> Exit {
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&format!("no runtime: {error}")),
    };
    let outcome = runtime.block_on(work);
    // A template that is still being evaluated must not hold the process.
    runtime.shutdown_background();
    match outcome {
        Ok(exit) => exit,
        Err(error) => {
            eprintln!("error: {}", error.public);
            if let Some(internal) = &error.internal {
                eprintln!("  {}", internal.for_log());
            }
            if error.kind == ErrorKind::Unavailable { Exit::Unreachable } else { Exit::Failed }
        }
    }
}

fn failed(complaint: &str) -> Exit {
    eprintln!("error: {complaint}");
    Exit::Failed
}

fn printed(text: &str) -> Exit {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            failed(&format!("the output can't be written: {error}"))
        }
        _ => Exit::Success,
    }
}

async fn migrate(config: Config) -> Result<Exit> {
    let database = Database::open(&config).await?;
    let deployment = database.store.deployment().await?;
    database.close().await;
    Ok(printed(&format!("The database is at this version's schema (deployment {deployment}).\n")))
}

async fn create_token(config: Config, args: CreateArgs, output: Output) -> Result<Exit> {
    let clock = SystemClock;
    let expires_at = match &args.expires_in {
        None => None,
        Some(text) => {
            let wrong = |error: String| Error::unprocessable("expiry-invalid", format!("--expires-in: {error}."));
            let lifetime = units::parse_duration(text).map_err(wrong)?;
            let at = chrono::TimeDelta::from_std(lifetime)
                .ok()
                .and_then(|lifetime| clock.now().checked_add_signed(lifetime));
            Some(at.ok_or_else(|| wrong(format!("{text:?} is too long")))?)
        }
    };
    let random = random();
    let id = TokenId(new_id(clock.now(), &random));
    let description = args.description.unwrap_or_default();
    let new = NewToken { id, name: args.name, description, role: args.role, expires_at };
    let token = PlainToken::from_random(random());
    let database = Database::open(&config).await?;
    let made = database.store.insert_token(&new, token.hash().0, &local_actor()).await;
    database.close().await;
    let made = made?;
    let expires_at = made.expires_at.map(|at| at.to_rfc3339_opts(chrono::SecondsFormat::Secs, true));
    if output == Output::Json {
        let shown = serde_json::json!({"id": made.id, "name": made.name, "role": made.role, "expires_at": expires_at, "token": token.expose()});
        return Ok(printed(&format!("{shown:#}\n")));
    }
    cli::token::tell(&made.name, made.role.as_str(), &made.id.to_string(), expires_at.as_deref());
    Ok(printed(&format!("{}\n", token.expose())))
}

/// Serves, with the role that the command line gives, if it does.
fn serve_as(mut config: Config, role: Option<ServerRole>) -> Exit {
    config.server.role = role.unwrap_or(config.server.role);
    match telemetry::start_log(&config.log) {
        Ok(()) => block_on(serve(config)),
        Err(complaint) => failed(&complaint),
    }
}

async fn serve(config: Config) -> Result<Exit> {
    if config.policy.shell_local && config.server.role.works() {
        close_to_scripts()?;
    }
    let lifecycle = Lifecycle::from_signals().map_err(|error| Error::internal(format!("signals: {error}")))?;
    let server = Server::start(config, lifecycle.clone(), Arc::new(SystemClock)).await?;
    if printed(&format!("{}\n", server.ready_line())) != Exit::Success {
        lifecycle.soft_stop.cancel();
    }
    Ok(match server.run().await? {
        Drained::Complete | Drained::GraceOver => Exit::Success,
        Drained::Interrupted => Exit::Interrupted,
    })
}

/// Closes this process's environment and memory to others of its user, which scripts of templates are: its secrets are there.
fn close_to_scripts() -> Result<()> {
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)
        .map_err(|error| Error::internal(format!("the process can't be closed to scripts of templates: {error}")))
}

/// The database this server uses, and the private cluster when it is one.
struct Database {
    store: Store,
    /// The same as requests have it.
    requests: Store,
    cluster: Option<PrivateCluster>,
}

impl Database {
    /// Connects and migrates; starts the private cluster first when no URL is configured.
    async fn open(config: &Config) -> Result<Self> {
        fs::create_dir_all(&config.data_dir).map_err(|error| data_dir_error(&config.data_dir, &error))?;
        let (url, cluster) = if let Some(url) = &config.database.url {
            (url.clone(), None)
        } else {
            let cluster = PrivateCluster::start(&config.data_dir).await?;
            (cluster.url(), Some(cluster))
        };
        match Self::connect(config, &url).await {
            Ok((store, requests)) => Ok(Self { store, requests, cluster }),
            Err(error) => {
                stop_cluster(cluster).await;
                Err(error)
            }
        }
    }

    async fn connect(config: &Config, url: &SecretString) -> Result<(Store, Store)> {
        let sealer = Sealer::from_file_or_create(&config.key_file())?;
        let reads = if config.server.role.answers() { config.database.read_connections } else { 0 };
        let others = config.database.max_connections - reads;
        let store = Store::connect(url, others, sealer, Arc::new(SystemClock)).await?;
        store.migrate().await?;
        let requests = if reads > 0 { store.with_own_reads(reads) } else { store.clone() };
        Ok((store, requests))
    }

    async fn close(self) {
        self.requests.close().await;
        self.store.close().await;
        stop_cluster(self.cluster).await;
    }
}

async fn stop_cluster(cluster: Option<PrivateCluster>) {
    if let Some(cluster) = cluster
        && let Err(error) = cluster.stop().await
    {
        // The next start adopts it.
        tracing::warn!(error = error.for_log(), "the private PostgreSQL could not be stopped");
    }
}

/// A server that has begun: it listens, and its engine is at work.
pub struct Server {
    listener: TcpListener,
    state: ApiState,
    tasks: TaskTracker,
    lifecycle: Lifecycle,
    database: Database,
    deployment: DeploymentId,
    role: ServerRole,
    max_builds: usize,
    admin_token: Option<PathBuf>,
    engine_runtime: EngineRuntime,
}

impl Server {
    /// Opens the database, starts the engine and listens. Nothing is answered before [`Server::run`].
    ///
    /// # Errors
    /// When the address is taken, or the database or a file of the data directory can't be used.
    pub async fn start(config: Config, lifecycle: Lifecycle, clock: Arc<dyn Clock>) -> Result<Self> {
        // First, because a port that is taken is the commonest mistake and the cheapest to find.
        let listener = TcpListener::bind(config.server.listen).await.map_err(|error| {
            Error::bad_request(
                "listen-failed",
                format!("{} can't be listened on: {error}. See `listen` in [server].", config.server.listen),
            )
        })?;
        let random = random();
        let engine_runtime = EngineRuntime::start()?;
        let database = Database::open(&config).await?;
        match Self::assemble(&config, &lifecycle, clock, random, &database, &engine_runtime).await {
            Ok((state, tasks, deployment, admin_token)) => {
                let (role, max_builds) = (config.server.role, config.workers.max_builds);
                Ok(Self {
                    listener,
                    state,
                    tasks,
                    lifecycle,
                    database,
                    deployment,
                    role,
                    max_builds,
                    admin_token,
                    engine_runtime,
                })
            }
            Err(error) => {
                database.close().await;
                Err(error)
            }
        }
    }

    async fn assemble(
        config: &Config,
        lifecycle: &Lifecycle,
        clock: Arc<dyn Clock>,
        random: Random,
        database: &Database,
        engine_runtime: &EngineRuntime,
    ) -> Result<(ApiState, TaskTracker, DeploymentId, Option<PathBuf>)> {
        let (store, requests) = (&database.store, &database.requests);
        let deployment = store.deployment().await?;
        let role = config.server.role;
        // A worker lets nobody in, so it leaves this to a server that does.
        let admin_token = if role.answers() { first_token::make(config, store, &*clock, &random).await? } else { None };
        let metrics = start_metrics(config, deployment)?;
        tokio::spawn(watch_database(store.clone()));
        tokio::spawn(pipeline_metrics::report(store.clone(), clock.clone(), lifecycle.soft_stop.clone()));

        let tasks = TaskTracker::new();
        // Also on a server without an engine: requests that may join a run ask for its source AMI.
        let accounts = accounts(config, deployment).await;
        let accept = Arc::new(AcceptSettings {
            policies: config.policies(),
            builder_identity: format!("ingot/{} ({deployment})", env!("CARGO_PKG_VERSION")),
            lint: config.lint.clone(),
            evaluation_time_limit: EVALUATION_LIMIT,
            random: random.clone(),
            accounts: Some(accounts.clone()),
            data_sources: DataSources {
                accounts: Some(accounts.clone()),
                http_allow: config.data_sources.http_allow.clone(),
            },
            default_region: config.aws.region.clone().or_else(own_region),
            channels: ChannelSettings {
                stages: config.stages.order.clone(),
                from_templates: config.stages.from_templates.clone(),
            },
        });
        let stages = Arc::new(config.stages.order.clone());
        let engine = if role.works() {
            let parts = EngineParts {
                store: store.clone(),
                accounts,
                registry: Arc::new(Steps),
                dialer: Arc::new(SshDialer),
                clock: clock.clone(),
                accept: accept.clone(),
                stages: stages.clone(),
                settings: engine_settings(config, deployment),
                tasks: tasks.clone(),
                soft_stop: lifecycle.soft_stop.clone(),
            };
            engine_runtime.with(|| engine::start(parts))
        } else {
            EngineHandle::none()
        };
        let approved = ApprovedImages::new(requests.clone());
        if role.answers() {
            approved.refresh().await?;
        }
        let drain = lifecycle.soft_stop.clone();
        let draining = drain.clone();
        let state = ApiState {
            store: requests.clone(),
            accept,
            stage_order: stages,
            approved,
            limits: Limits {
                max_bundle_bytes: config.server.max_bundle_bytes,
                max_unpacked_bytes: config.server.max_unpacked_bytes,
                max_files: config.server.max_files,
                request_timeout: config.server.request_timeout,
                max_requests: config.server.max_requests,
            },
            clock,
            random,
            wake: Arc::new(move || engine.wake()),
            auth: Arc::new(Authenticator::new(config.auth.bootstrap_token.as_ref())),
            metrics: Some(Arc::new(move || metrics.render())),
            not_ready: Arc::new(move || draining.is_cancelled().then(|| "the server is stopping".to_owned())),
            drain,
        };
        Ok((state, tasks, deployment, admin_token))
    }

    /// What an operator reads when the server is ready.
    #[must_use]
    pub fn ready_line(&self) -> String {
        let address = self.listener.local_addr().map_or_else(|error| error.to_string(), |address| address.to_string());
        let builds = match self.max_builds {
            _ if !self.role.works() => "answers requests only".to_owned(),
            0 => "no builds".to_owned(),
            1 => "1 build at once".to_owned(),
            count => format!("up to {count} builds at once"),
        };
        let role = if self.role.answers() { "" } else { "worker, " };
        let token = self
            .admin_token
            .as_ref()
            .map_or_else(String::new, |path| format!("; the first admin token is in {}", path.display()));
        format!(
            "Ingot {} is ready on http://{address}: deployment {}, {role}{builds}{token}",
            env!("CARGO_PKG_VERSION"),
            self.deployment
        )
    }

    /// Where the API listens.
    ///
    /// # Errors
    /// When the listener is gone.
    pub fn address(&self) -> std::io::Result<std::net::SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until the soft stop, then drains.
    ///
    /// # Errors
    /// When the listener fails.
    pub async fn run(self) -> Result<Drained> {
        // The engine's runtime lives until the drain is over.
        let Self { listener, state, tasks, lifecycle, database, role, engine_runtime: _engine_runtime, .. } = self;
        let routes = if role.answers() { api::router(state) } else { api::worker_router(state) };
        let mut serving = tokio::spawn(api::serve(listener, routes, lifecycle.soft_stop.clone()));
        tokio::select! {
            outcome = &mut serving => {
                let why = match outcome {
                    Ok(Ok(())) => None,
                    Ok(Err(error)) => Some(error.to_string()),
                    Err(error) => Some(error.to_string()),
                };
                if let Some(why) = why {
                    lifecycle.soft_stop.cancel();
                    return Err(Error::internal(format!("the listener failed: {why}")));
                }
            }
            () = lifecycle.soft_stop.cancelled() => {}
        }
        metrics::gauge!(names::DRAINING).set(1);
        tasks.close();
        let work = async {
            if !serving.is_finished() {
                // Its outcome does not matter any more.
                let _ = (&mut serving).await;
            }
            tasks.wait().await;
        };
        let drained = lifecycle.drain(work, GRACE).await;
        match drained {
            Drained::Complete => tracing::info!("stopped; nothing was left to do"),
            Drained::GraceOver => tracing::warn!(
                grace_seconds = GRACE.as_secs(),
                "stopped at the end of the grace; what runs is carried on by the next server"
            ),
            Drained::Interrupted => tracing::warn!("stopped at once; what runs is carried on by the next server"),
        }
        if drained == Drained::Complete {
            database.close().await;
        } else {
            // Connections may be in use for as long as their tasks live, which is until the process ends.
            stop_cluster(database.cluster).await;
        }
        Ok(drained)
    }
}

fn engine_settings(config: &Config, deployment: DeploymentId) -> EngineSettings {
    EngineSettings {
        deployment,
        server_name: config.server.name.clone().unwrap_or_else(host_name),
        max_builds: config.workers.max_builds,
        build_limits: config.build_limits(),
        shell_local: config.policy.shell_local,
        source_cidrs: config.network.source_cidrs.iter().map(ToString::to_string).collect(),
        janitor: config.janitor.sweeps,
    }
}

/// Installs the recorder, with what does not change.
fn start_metrics(config: &Config, deployment: DeploymentId) -> Result<PrometheusHandle> {
    let metrics = telemetry::metrics::install().map_err(Error::internal)?;
    let version = env!("CARGO_PKG_VERSION");
    metrics::gauge!(names::INFO, "version" => version, "deployment" => deployment.to_string()).set(1);
    let max_builds = if config.server.role.works() { config.workers.max_builds } else { 0 };
    metrics::gauge!(names::MAX_BUILDS).set(f64::from(u32::try_from(max_builds).unwrap_or(u32::MAX)));
    metrics::gauge!(names::DRAINING).set(0);
    tokio::spawn(telemetry::metrics::upkeep(metrics.clone()));
    Ok(metrics)
}

/// The clouds, with one rate budget for all that this server asks of them.
async fn accounts(config: &Config, deployment: DeploymentId) -> Arc<dyn Accounts> {
    let budgets = Budgets::new(config.aws.rates);
    let aws = AwsAccounts::from_config(aws_config(config, deployment), &budgets).await;
    Arc::new(BudgetedAccounts::new(Arc::new(aws), budgets))
}

fn aws_config(config: &Config, deployment: DeploymentId) -> AwsConfig {
    let account = |account: &crate::config::Account| AccountConfig {
        account_id: account.account_id.clone(),
        role_arn: account.role_arn.clone(),
        external_id: account.external_id.clone(),
        regions: account.regions.clone(),
    };
    let accounts: BTreeMap<_, _> =
        config.accounts.iter().map(|(name, configured)| (name.clone(), account(configured))).collect();
    AwsConfig {
        endpoint_url: config.aws.endpoint_url.clone(),
        region: config.aws.region.clone(),
        accounts,
        deployment: deployment.to_string(),
    }
}

fn local_actor() -> Actor {
    Actor { principal: "ingot:local".to_owned(), request_id: None }
}

/// Pings the database for the metrics, for as long as the process lives.
async fn watch_database(store: Store) {
    let mut ticks = tokio::time::interval(PING_EVERY);
    loop {
        ticks.tick().await;
        let ping = store.ping().await;
        metrics::gauge!(names::DATABASE_UP).set(if ping.is_ok() { 1.0 } else { 0.0 });
        if let Ok(took) = ping {
            metrics::histogram!(names::DATABASE_PING_SECONDS).record(took.as_secs_f64());
        }
    }
}

/// Cryptographically random bytes of the operating system's making.
/// The region that AWS's own variables name.
fn own_region() -> Option<String> {
    let variable = |name: &str| std::env::var(name).ok().filter(|region| !region.is_empty());
    variable("AWS_REGION").or_else(|| variable("AWS_DEFAULT_REGION"))
}

fn random() -> Random {
    Arc::new(rand::random::<[u8; 32]>)
}

fn host_name() -> String {
    let kernel = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = kernel.trim();
    if name.is_empty() { format!("ingot-{}", std::process::id()) } else { name.to_owned() }
}

fn data_dir_error(path: &Path, error: &std::io::Error) -> Error {
    Error::bad_request(
        "data-dir",
        format!("{} can't be used: {error}. Set data_dir to a folder that this user may write.", path.display()),
    )
}

#[cfg(test)]
mod tests {
    use super::random;

    #[test]
    fn random_bytes_differ() {
        let random = random();
        assert_ne!(random(), random());
    }
}
