//! What can go wrong below: storage-agnostic, translated into answers at the edge of the server.

/// Why an operation on stored data failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store cannot be used now; the same call may succeed later. The outcome of a write is
    /// unknown.
    #[error("storage is unavailable: {0}")]
    Unavailable(String),
    /// The log takes no more for now: its memory is nearly full. Nothing was written.
    #[error("the log is full; the workers must catch up first")]
    Overloaded,
    /// What is stored breaks a rule of ours.
    #[error("stored data are corrupt: {0}")]
    Corrupt(String),
    /// The database was written by a newer version of Banter.
    #[error(
        "the database was written by a newer version of Banter \
         (schema {found}, this one knows {known}); run that version, or restore a backup"
    )]
    NewerSchema {
        /// The newest migration in the database.
        found: i64,
        /// The newest migration of this binary.
        known: i64,
    },
    /// A server that lacks what is needed.
    #[error("{server} {found} is too old; Banter needs {needed} or newer")]
    TooOld {
        /// Its kind.
        server: &'static str,
        /// The version that it says it is.
        found: String,
        /// The oldest version that will do.
        needed: &'static str,
    },
    /// Something is set up so that waiting does not help.
    #[error("{0}")]
    Settings(String),
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        match error {
            sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) => {
                Self::Corrupt(error.to_string())
            }
            sqlx::Error::Database(_) if is_refused_value(&error) => {
                Self::Corrupt(error.to_string())
            }
            sqlx::Error::PoolTimedOut => {
                Self::Unavailable("no connection to the database in time".to_owned())
            }
            other => Self::Unavailable(other.to_string()),
        }
    }
}

/// Result of an operation on stored data.
pub type Result<T> = std::result::Result<T, Error>;

/// Whether `PostgreSQL` will refuse the same values for ever: data exceptions (class 22) and broken
/// constraints (class 23).
fn is_refused_value(error: &sqlx::Error) -> bool {
    let code = error
        .as_database_error()
        .and_then(|e| e.try_downcast_ref::<sqlx::postgres::PgDatabaseError>())
        .map(sqlx::postgres::PgDatabaseError::code);
    code.is_some_and(|code| code.starts_with("22") || code.starts_with("23"))
}

/// Whether `error` is the violation of a unique constraint whose text names `column`. `SQLite`
/// names the columns (`accounts.username`), not the constraint.
pub(crate) fn is_conflict(error: &sqlx::Error, column: &str) -> bool {
    error
        .as_database_error()
        .is_some_and(|e| e.is_unique_violation() && e.message().contains(column))
}
