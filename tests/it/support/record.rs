//! A build as the database has it: its journal, its log and its lease, with the epochs that the API does not show.

use secrecy::ExposeSecret as _;
use sqlx::{Connection as _, PgConnection};
use uuid::Uuid;

use super::server::Server;

/// A line of the journal.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct Entry {
    pub seq: i64,
    pub attempt: i32,
    pub step: Option<String>,
    pub event: String,
    /// The lease under which it was written.
    pub epoch: i64,
}

/// What the database holds of one build.
#[derive(Debug, Clone)]
pub struct Record {
    pub journal: Vec<Entry>,
    /// The numbers of its log's lines.
    pub log: Vec<i64>,
    /// Goes up by one with each owner.
    pub epoch: i64,
}

/// A connection to a server's database.
pub async fn connect(server: &Server) -> PgConnection {
    PgConnection::connect(server.database().expose_secret()).await.expect("the database answers")
}

/// Which server has a build now, and its epoch.
pub async fn lease(database: &mut PgConnection, build: &str) -> (Option<String>, i64) {
    sqlx::query_as("SELECT owner, epoch FROM build_leases WHERE build_id = $1")
        .bind(id(build))
        .fetch_one(database)
        .await
        .expect("the build has a lease")
}

fn id(build: &str) -> Uuid {
    build.parse().expect("a build's id")
}

/// The journal of a build.
pub async fn journal(database: &mut PgConnection, build: &str) -> Vec<Entry> {
    sqlx::query_as("SELECT seq, attempt, step, event, epoch FROM step_journal WHERE build_id = $1 ORDER BY seq")
        .bind(id(build))
        .fetch_all(database)
        .await
        .expect("the journal can be read")
}

impl Record {
    pub async fn of(database: &mut PgConnection, build: &str) -> Self {
        let (_, epoch) = lease(database, build).await;
        let log = sqlx::query_scalar("SELECT seq FROM build_log WHERE build_id = $1 ORDER BY seq")
            .bind(id(build))
            .fetch_all(&mut *database)
            .await
            .expect("the log can be read");
        Self { journal: journal(database, build).await, log, epoch }
    }

    /// What is wrong with the journal and the log of any build, whatever has happened to it.
    pub fn complaints(&self) -> Vec<String> {
        let mut found = Vec::new();
        let numbers: Vec<i64> = self.journal.iter().map(|entry| entry.seq).collect();
        if numbers != counted(numbers.len()) {
            found.push(format!("the journal has holes: {numbers:?}"));
        }
        if self.log != counted(self.log.len()) {
            found.push(format!("the log has holes: {:?}", self.log));
        }
        if self.journal.iter().filter(|entry| entry.event == "committed").count() > 1 {
            found.push("it committed twice".to_owned());
        }
        if self.journal.is_sorted_by_key(|entry| entry.epoch) {
            return found;
        }
        found.push(format!("an old owner wrote after a new one: {:?}", self.journal));
        found
    }

    /// How many lines the owner of an epoch wrote.
    pub fn written_under(&self, epoch: i64) -> usize {
        self.journal.iter().filter(|entry| entry.epoch == epoch).count()
    }
}

fn counted(to: usize) -> Vec<i64> {
    (1..).take(to).collect()
}
