//! What Ingot remembers: `PostgreSQL`, and nothing outside this folder speaks SQL. Each file holds the queries and row types
//! of one thing, under the thing's name. Start at [`Store`], then `accept` (how a run comes to be), `leases` (how a server
//! takes a build) and `journal` (how its owner writes).
//!
//! Locks are taken in one order: run, build, lease. Rows are locked `FOR NO KEY UPDATE`, because a plain `FOR UPDATE` would
//! also stop the foreign-key checks of journal writes, which hold the lease, and so turn the order around.
//!
//! A transaction that may change something begins with `Store::begin`; what only reads takes `Store::pool`. Where requests are
//! answered these are two pools for them, so that a reader never waits behind builds.

pub mod accept;
pub mod approved;
pub mod audit;
mod bundle_archive;
mod controls;
pub mod dedupe;
mod error;
pub mod idempotency;
pub mod images;
pub mod janitor;
pub mod janitor_findings;
pub mod janitor_sweeps;
pub mod journal;
mod journal_moves;
pub mod key_file;
pub mod leases;
pub mod page;
pub mod pipeline_numbers;
mod postgres_installation;
pub mod private_cluster;
pub mod resealing;
pub mod run_actions;
pub mod run_files;
pub mod run_steps;
pub mod runs;
pub mod schedule_firings;
pub mod schedules;
pub mod sealed;
pub mod stage_moves;
pub mod stages;
pub mod tag_sync;
pub mod templates;
#[doc(hidden)]
pub mod test_support;
mod text;
pub mod tokens;
mod transition;

#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use secrecy::{ExposeSecret, SecretString};
use sqlx::migrate::{Migrate, Migrator};
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::{Connection, Executor, Postgres, Transaction};
use tokio::sync::OnceCell;
use tracing::Instrument as _;
use uuid::{NoContext, Timestamp, Uuid};

use crate::domain::clock::Clock;
use crate::domain::error::{Error, Result};
use crate::domain::ids::DeploymentId;

pub use page::{Actor, Page};
pub use sealed::Sealer;

/// Migrations that this server does not know are a newer server's, and only ever add: while a deployment is being upgraded,
/// a server of the version before goes on, and can start again.
static MIGRATIONS: std::sync::LazyLock<Migrator> = std::sync::LazyLock::new(|| {
    let mut migrations = sqlx::migrate!("./migrations");
    migrations.set_ignore_missing(true);
    migrations
});

/// No query of a healthy server takes this long; one that does must not hold a lock for ever.
const STATEMENT_TIMEOUT: &str = "SET statement_timeout = '30s'; SET idle_in_transaction_session_timeout = '60s'";

/// A connection that was not used for so long may be dead without our knowing, and is tried before it is used again.
const TRIED_WHEN_IDLE_FOR: Duration = Duration::from_secs(1);

/// The database with what is needed to read it: the key of its secrets, and the time.
#[derive(Clone)]
pub struct Store {
    pub(super) pool: PgPool,
    /// For transactions that change something, and may have to wait for each other.
    changes: PgPool,
    /// What builds at work ask about themselves, put together.
    controls: controls::Controls,
    pub(super) sealer: Arc<Sealer>,
    pub(super) clock: Arc<dyn Clock>,
    deployment: Arc<OnceCell<DeploymentId>>,
}

impl Store {
    /// Connects. `max_connections` bounds the pool of this server.
    ///
    /// # Errors
    /// When the URL can't be read or the database does not answer within 10 seconds.
    pub async fn connect(
        url: &SecretString,
        max_connections: u32,
        sealer: Sealer,
        clock: Arc<dyn Clock>,
    ) -> Result<Self> {
        let options: PgConnectOptions = url.expose_secret().parse().map_err(|_| {
            Error::bad_request(
                "database-url-invalid",
                "The database URL can't be read; it should look like postgres://user:password@host:5432/ingot.",
            )
        })?;
        let pool = pool_options(max_connections).connect_with(options.application_name("ingot")).await?;
        Ok(Self::from_pool(pool, sealer, clock))
    }

    /// The same for requests: what they only read has a pool of its own of at most so many connections, which are opened
    /// when they are needed. What they change goes by the pool that is there.
    #[must_use]
    pub fn with_own_reads(&self, max_connections: u32) -> Self {
        let options = (*self.pool.connect_options()).clone();
        Self { pool: pool_options(max_connections).connect_lazy_with(options), ..self.clone() }
    }

    #[must_use]
    pub fn from_pool(pool: PgPool, sealer: Sealer, clock: Arc<dyn Clock>) -> Self {
        Self {
            changes: pool.clone(),
            controls: controls::Controls::new(pool.clone()),
            pool,
            sealer: Arc::new(sealer),
            clock,
            deployment: Arc::default(),
        }
    }

    /// Brings the schema up to date. Several servers may do so at once: an advisory lock lets one after the other in.
    ///
    /// # Errors
    /// When the database is away, a migration fails, or one that was applied had another text.
    pub async fn migrate(&self) -> Result<()> {
        // A connection of its own: a migration may take longer than a query may, and the lock belongs to the session.
        let mut connection = self.pool.acquire().await?.detach();
        connection.execute("SET statement_timeout = 0").await?;
        let done = MIGRATIONS.run_direct(None, &mut connection, false).await;
        connection.close().await.ok();
        done.map_err(error::migration)
    }

    /// Whether the schema is the one this server was built for (or a newer one).
    ///
    /// # Errors
    /// When the database is away.
    pub async fn migrations_current(&self) -> Result<bool> {
        let mut connection = self.pool.acquire().await?;
        let applied = match connection.list_applied_migrations(&MIGRATIONS.table_name).await {
            Ok(applied) => applied,
            Err(failure) if error::is_missing_table(&failure) => return Ok(false),
            Err(failure) => return Err(error::migration(failure)),
        };
        let applied: HashSet<i64> = applied.into_iter().map(|migration| migration.version).collect();
        Ok(MIGRATIONS.iter().all(|migration| applied.contains(&migration.version)))
    }

    /// Asks the database for a sign of life and says how long it took.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn ping(&self) -> Result<Duration> {
        let began = Instant::now();
        sqlx::query_scalar!(r#"SELECT 1 AS "one!""#).fetch_one(&self.pool).await?;
        Ok(began.elapsed())
    }

    /// The installation's id; made by whoever asks first.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn deployment(&self) -> Result<DeploymentId> {
        self.deployment
            .get_or_try_init(|| async {
                let now = self.now();
                sqlx::query!(
                    "INSERT INTO deployment (id, created_at) VALUES ($1, $2) ON CONFLICT DO NOTHING",
                    Uuid::new_v4(),
                    now
                )
                .execute(&self.pool)
                .await?;
                let id = sqlx::query_scalar!("SELECT id FROM deployment").fetch_one(&self.pool).await?;
                Ok(DeploymentId(id))
            })
            .await
            .copied()
    }

    /// Closes the pools after the queries under way.
    pub async fn close(&self) {
        self.pool.close().await;
        self.changes.close().await;
    }

    /// A transaction that may change something.
    pub(super) async fn begin(&self) -> sqlx::Result<Transaction<'static, Postgres>> {
        begun(&self.changes, "BEGIN").await
    }

    /// A transaction in which all reads see the same instant: a run's state and its builds' states belong together.
    pub(super) async fn snapshot(&self) -> sqlx::Result<Transaction<'static, Postgres>> {
        begun(&self.pool, "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY").await
    }

    pub(super) fn now(&self) -> DateTime<Utc> {
        self.clock.now()
    }
}

/// A transaction that is begun whether or not its caller still waits for it. Whoever gives up waiting (a time limit, a client
/// that is gone) while the answer to `BEGIN` is on its way would otherwise leave a connection in the pool whose transaction
/// is open and of which `SQLx` 0.9 does not know: the next one's writes there are answered and never committed, and its reads
/// see an instant long past. (`PgTransactionManager::begin` counts the transaction only after the answer, and rolls back what
/// it has counted.)
async fn begun(pool: &PgPool, statement: &'static str) -> sqlx::Result<Transaction<'static, Postgres>> {
    let pool = pool.clone();
    tokio::spawn(async move { pool.begin_with(statement).await }.in_current_span())
        .await
        .unwrap_or(Err(sqlx::Error::WorkerCrashed))
}

fn pool_options(max_connections: u32) -> PgPoolOptions {
    PgPoolOptions::new()
        .max_connections(max_connections)
        .acquire_timeout(Duration::from_secs(10))
        .after_connect(|connection, _| Box::pin(async move { connection.execute(STATEMENT_TIMEOUT).await.map(|_| ()) }))
        // Trying each before each use would double what a busy server asks of the database.
        .test_before_acquire(false)
        .before_acquire(|connection, used| {
            Box::pin(async move {
                if used.idle_for >= TRIED_WHEN_IDLE_FOR {
                    connection.ping().await?;
                }
                Ok(true)
            })
        })
}

/// A `UUIDv7` of this instant.
pub(super) fn new_id(at: DateTime<Utc>) -> Uuid {
    let seconds = u64::try_from(at.timestamp()).unwrap_or(0);
    Uuid::new_v7(Timestamp::from_unix(NoContext, seconds, at.timestamp_subsec_nanos()))
}
