//! A `PostgreSQL` of Ingot's own under its data directory, for one machine without a database: made when missing, started and
//! stopped with the server. It listens on a Unix socket in a private folder only, with a random password (file 0600).
//!
//! A server that is killed leaves it running; the next one adopts it and stops it at its end. A lock file keeps two servers
//! from sharing one data directory.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{Connection, Executor};
use uuid::Uuid;

use super::postgres_installation::{Installation, RunAs, file_error, run_to_end, unusable};
use crate::domain::error::{Error, Result};

/// A crash recovery may take a while; a start takes well under a second.
const START_LIMIT: Duration = Duration::from_mins(5);
/// A fast shutdown writes a checkpoint; after this it is cut short and recovers at the next start.
const STOP_LIMIT: Duration = Duration::from_mins(1);
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(50);
/// `sockaddr_un` holds 107 bytes and a zero.
const LONGEST_SOCKET: usize = 107;
const SOCKET_NAME: &str = ".s.PGSQL.5432";

/// A running private `PostgreSQL`. Dropping it leaves `PostgreSQL` running, to be adopted; [`PrivateCluster::stop`] ends it.
pub struct PrivateCluster {
    places: Places,
    password: SecretString,
    /// `None` when it was adopted.
    child: Option<Child>,
    _lock: File,
}

struct Places {
    cluster: PathBuf,
    socket: PathBuf,
    log: PathBuf,
    password: PathBuf,
}

impl PrivateCluster {
    /// Makes the cluster if there is none, starts it if it does not run, and waits until it answers.
    ///
    /// # Errors
    /// With what to do: `PostgreSQL` is not installed, its user can't reach the data directory, another server uses the same
    /// directory, or it does not start.
    pub async fn start(data_dir: &Path) -> Result<Self> {
        fs::create_dir_all(data_dir).map_err(|error| file_error("make", data_dir, &error))?;
        let data_dir = data_dir.canonicalize().map_err(|error| file_error("find", data_dir, &error))?;
        let lock = take_lock(&data_dir)?;
        let user = RunAs::choose()?;
        open_for(&user, &data_dir)?;
        let places = Places::below(&data_dir);
        let made_by = fs::read_to_string(places.cluster.join("PG_VERSION")).ok();
        let major = made_by.as_deref().and_then(|text| text.trim().parse().ok());
        let installation = Installation::find(major)?;
        if made_by.is_none() {
            initialise(&installation, &user, &places)?;
        }
        let password = SecretString::from(
            fs::read_to_string(&places.password).map_err(|error| file_error("read", &places.password, &error))?,
        );
        user.private_folder(&places.socket)?;
        let child = if let Some(pid) = running_postmaster(&places.cluster) {
            tracing::info!(pid = pid.as_raw_nonzero().get(), "adopting the private PostgreSQL that is still running");
            None
        } else {
            Some(spawn(&installation, &user, &places)?)
        };
        let mut cluster = Self { places, password, child, _lock: lock };
        cluster.wait_until_ready(&installation, &user).await?;
        Ok(cluster)
    }

    /// Where to connect.
    #[must_use]
    pub fn url(&self) -> SecretString {
        let host: String = self.places.socket.to_string_lossy().bytes().map(percent_encoded).collect();
        // The password is hexadecimal and needs no encoding.
        SecretString::from(format!("postgres://ingot:{}@{host}:5432/ingot", self.password.expose_secret()))
    }

    /// Stops `PostgreSQL`: connections are closed, and what they were doing is rolled back (fast shutdown). Close the pool first.
    ///
    /// # Errors
    /// When it can't be stopped.
    pub async fn stop(mut self) -> Result<()> {
        self.stop_postmaster().await?;
        // Empty now, and perhaps outside the data directory; the next start makes it again.
        fs::remove_dir(&self.places.socket).ok();
        Ok(())
    }

    #[cfg(test)]
    pub(super) fn socket_folder(&self) -> &Path {
        &self.places.socket
    }

    async fn stop_postmaster(&mut self) -> Result<()> {
        let Some(pid) = running_postmaster(&self.places.cluster) else { return Ok(()) };
        let mut signal = Signal::INT;
        let mut patience = STOP_LIMIT;
        loop {
            kill_process(pid, signal).map_err(|error| unusable(format!("PostgreSQL can't be stopped: {error}.")))?;
            let began = Instant::now();
            while began.elapsed() < patience {
                // Reaps it; a zombie would look alive.
                let reaped = self.child.as_mut().is_some_and(|child| child.try_wait().is_ok_and(|exit| exit.is_some()));
                if reaped || running_postmaster(&self.places.cluster) != Some(pid) {
                    return Ok(());
                }
                tokio::time::sleep(LOOK_AGAIN_AFTER).await;
            }
            if signal == Signal::QUIT {
                return Err(unusable("PostgreSQL does not stop."));
            }
            tracing::warn!("the private PostgreSQL does not stop in time and is cut short");
            (signal, patience) = (Signal::QUIT, Duration::from_secs(10));
        }
    }

    async fn wait_until_ready(&mut self, installation: &Installation, user: &RunAs) -> Result<()> {
        let began = Instant::now();
        loop {
            match create_database(&self.places, &self.password).await {
                Ok(()) => return Ok(()),
                Err(error) if is_hopeless(&error) => {
                    return Err(Error::from(error).with_internal("the private PostgreSQL refuses the connection"));
                }
                Err(error) if began.elapsed() > START_LIMIT => return Err(error.into()),
                Err(_) => {}
            }
            if let Some(child) = &mut self.child {
                if let Ok(Some(status)) = child.try_wait() {
                    let log = tail(&self.places.log);
                    return Err(unusable(format!(
                        "The private PostgreSQL did not start ({status}). Its log says: {log}"
                    )));
                }
            } else if running_postmaster(&self.places.cluster).is_none() {
                // The adopted one was on its way out.
                self.child = Some(spawn(installation, user, &self.places)?);
            }
            tokio::time::sleep(LOOK_AGAIN_AFTER).await;
        }
    }
}

impl Places {
    fn below(data_dir: &Path) -> Self {
        let near = data_dir.join("postgres-socket");
        let socket = if near.as_os_str().len() + 1 + SOCKET_NAME.len() <= LONGEST_SOCKET {
            near
        } else {
            let digest = hex::encode(&Sha256::digest(data_dir.as_os_str().as_encoded_bytes())[..8]);
            PathBuf::from(format!("/tmp/ingot-{digest}"))
        };
        Self {
            cluster: data_dir.join("postgres"),
            socket,
            log: data_dir.join("postgres.log"),
            password: data_dir.join("postgres.password"),
        }
    }
}

fn take_lock(data_dir: &Path) -> Result<File> {
    let path = data_dir.join("postgres.lock");
    let file = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&path);
    let file = file.map_err(|error| file_error("open", &path, &error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(unusable(format!(
            "Another `ingot serve` uses the data directory {}; give this one another INGOT__DATA_DIR, or both one \
             INGOT__DATABASE__URL.",
            data_dir.display()
        ))),
        Err(TryLockError::Error(error)) => Err(file_error("lock", &path, &error)),
    }
}

/// Lets `PostgreSQL`'s user pass through the data directory; the files in it keep their own modes.
fn open_for(user: &RunAs, data_dir: &Path) -> Result<()> {
    if matches!(user, RunAs::User { .. }) {
        let metadata = fs::metadata(data_dir).map_err(|error| file_error("read", data_dir, &error))?;
        let mode = metadata.permissions().mode();
        if mode & 0o001 == 0 {
            fs::set_permissions(data_dir, fs::Permissions::from_mode(mode | 0o001))
                .map_err(|error| file_error("open", data_dir, &error))?;
        }
    }
    user.check_reach(data_dir)
}

/// Makes the cluster beside its place and moves it there when it is complete: a killed `initdb` leaves only a draft.
fn initialise(installation: &Installation, user: &RunAs, places: &Places) -> Result<()> {
    let draft = places.cluster.with_extension("new");
    let password_draft = places.password.with_extension("password.new");
    if draft.exists() {
        fs::remove_dir_all(&draft).map_err(|error| file_error("remove", &draft, &error))?;
    }
    let password = format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple());
    write_private(&places.password, &password)?;
    write_private(&password_draft, &password)?;
    user.give(&password_draft)?;
    user.private_folder(&draft)?;
    let mut initdb = user.command(&installation.program("initdb"), false)?;
    initdb.args(["--username=ingot", "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--data-checksums"]);
    initdb.arg(format!("--pwfile={}", password_draft.display())).arg("--pgdata").arg(&draft);
    let made = run_to_end(initdb, "initdb");
    fs::remove_file(&password_draft).map_err(|error| file_error("remove", &password_draft, &error))?;
    made?;
    fs::rename(&draft, &places.cluster).map_err(|error| file_error("make", &places.cluster, &error))
}

fn write_private(path: &Path, text: &str) -> Result<()> {
    if path.exists() {
        fs::remove_file(path).map_err(|error| file_error("replace", path, &error))?;
    }
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .and_then(|mut file| file.write_all(text.as_bytes()).and_then(|()| file.sync_all()))
        .map_err(|error| file_error("write", path, &error))
}

fn spawn(installation: &Installation, user: &RunAs, places: &Places) -> Result<Child> {
    forget_stale_pid(&places.cluster)?;
    let log = File::create(&places.log).map_err(|error| file_error("write", &places.log, &error))?;
    let log_again = log.try_clone().map_err(|error| file_error("write", &places.log, &error))?;
    let mut postgres = user.command(&installation.program("postgres"), false)?;
    postgres.arg("-D").arg(&places.cluster);
    postgres.args(["-c", "listen_addresses=", "-c", "port=5432", "-c", "max_connections=200"]);
    postgres.args(["-c", "unix_socket_permissions=0700", "-c", "logging_collector=off"]);
    postgres.arg("-c").arg(format!("unix_socket_directories={}", places.socket.display()));
    // A group of its own: Ctrl-C at the terminal is for Ingot, which then stops PostgreSQL last.
    postgres.process_group(0).stdin(Stdio::null()).stdout(log).stderr(log_again);
    postgres.spawn().map_err(|error| unusable(format!("PostgreSQL can't be started: {error}.")))
}

/// The postmaster that works on this cluster: the one named by its pid file, if it is alive and stands in its folder.
fn running_postmaster(cluster: &Path) -> Option<Pid> {
    let text = fs::read_to_string(cluster.join("postmaster.pid")).ok()?;
    let pid = Pid::from_raw(text.lines().next()?.trim().parse().ok()?)?;
    let process = PathBuf::from(format!("/proc/{}", pid.as_raw_nonzero()));
    let is_ours = match fs::read_link(process.join("cwd")) {
        Ok(folder) => folder == cluster,
        // Where it stands can't be seen, as from another user namespace. To take a live one for dead would start a second
        // one on the same files, so its name decides.
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
            fs::read_to_string(process.join("comm")).is_ok_and(|name| name.trim() == "postgres")
        }
        Err(_) => false,
    };
    is_ours.then_some(pid)
}

/// After a restart of the machine or container, another process may have the dead postmaster's number, and `PostgreSQL` would
/// refuse to start because of it.
fn forget_stale_pid(cluster: &Path) -> Result<()> {
    let path = cluster.join("postmaster.pid");
    if running_postmaster(cluster).is_some() || !path.exists() {
        return Ok(());
    }
    fs::remove_file(&path).map_err(|error| file_error("remove", &path, &error))
}

async fn create_database(places: &Places, password: &SecretString) -> std::result::Result<(), sqlx::Error> {
    let options = PgConnectOptions::new_without_pgpass()
        .host(&places.socket.to_string_lossy())
        .port(5432)
        .username("ingot")
        .password(password.expose_secret())
        .database("postgres");
    let mut connection = PgConnection::connect_with(&options).await?;
    let made = connection.execute("CREATE DATABASE ingot").await;
    connection.close().await?;
    match made {
        Err(sqlx::Error::Database(error)) if error.code().as_deref() == Some("42P04") => Ok(()),
        other => other.map(|_| ()),
    }
}

/// Wrong password and the like: waiting does not help. 57P03 says that it is starting.
fn is_hopeless(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::Database(database) if database.code().is_some_and(|code| code.starts_with("28")))
}

fn tail(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().rev().take(5).collect();
    lines.into_iter().rev().collect::<Vec<_>>().join(" / ")
}

fn percent_encoded(byte: u8) -> String {
    if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
        char::from(byte).to_string()
    } else {
        format!("%{byte:02X}")
    }
}
