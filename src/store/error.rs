//! The one place where database errors become Ingot's.

use sqlx::migrate::MigrateError;

use crate::domain::error::{Error, ErrorKind};
use crate::domain::journal::JournalError;

/// Whether waiting and trying again may help: SQLSTATE classes 08 (connection), 40 (deadlock, serialisation), 53 (out of
/// resources), 57 (shutdown, cancelled, timed out), and 25006 (a standby that has not been promoted yet).
fn is_transient(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed
        | sqlx::Error::Protocol(_)
        | sqlx::Error::BeginFailed => true,
        sqlx::Error::Database(database) => database.code().is_some_and(|code| {
            ["08", "40", "53", "57"].iter().any(|class| code.starts_with(class)) || code == "25006"
        }),
        _ => false,
    }
}

/// The message without the row: `PostgreSQL`'s detail line quotes values.
fn describe(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::Database(database) => {
            let code = database.code().unwrap_or_default();
            let constraint = database.constraint().map(|name| format!(", constraint {name}")).unwrap_or_default();
            format!("database: {} (SQLSTATE {code}{constraint})", database.message())
        }
        other => format!("database: {other}"),
    }
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        if is_transient(&error) {
            Self::database_unavailable(describe(&error))
        } else {
            Self::internal(describe(&error))
        }
    }
}

impl From<sqlx::Error> for JournalError {
    fn from(error: sqlx::Error) -> Self {
        if is_transient(&error) { Self::Unavailable(describe(&error)) } else { Self::Inconsistent(describe(&error)) }
    }
}

impl From<Error> for JournalError {
    fn from(error: Error) -> Self {
        match error.kind {
            ErrorKind::Unavailable => Self::Unavailable(error.for_log()),
            _ => Self::Inconsistent(error.for_log()),
        }
    }
}

/// The constraint that a unique violation names.
pub(super) fn violated_unique(error: &sqlx::Error) -> Option<&str> {
    match error {
        sqlx::Error::Database(database) if database.is_unique_violation() => database.constraint(),
        _ => None,
    }
}

pub(super) fn is_missing_table(error: &MigrateError) -> bool {
    matches!(error, MigrateError::Execute(sqlx::Error::Database(database)) if database.code().as_deref() == Some("42P01"))
}

pub(super) fn migration(error: MigrateError) -> Error {
    match error {
        MigrateError::Execute(error) if is_transient(&error) => error.into(),
        MigrateError::Execute(error) => {
            Error::internal(format!("the database schema can't be brought up to date: {}", describe(&error)))
        }
        other => Error::internal(format!("the database schema can't be brought up to date: {other}")),
    }
}
