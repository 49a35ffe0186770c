//! What can go wrong below: storage-agnostic, translated into answers at the edge of the server.

/// Why an operation on stored data failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store cannot be used now; the same call may succeed later. The outcome of a write is
    /// unknown.
    #[error("storage is unavailable: {0}")]
    Unavailable(String),
    /// The log is so full that it takes nothing more for now. Nothing was written.
    #[error("the log is full")]
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
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        match error {
            sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) => {
                Self::Corrupt(error.to_string())
            }
            other => Self::Unavailable(other.to_string()),
        }
    }
}

/// Result of an operation on stored data.
pub type Result<T> = std::result::Result<T, Error>;

/// Whether `error` is the violation of a unique constraint whose text names `column`. `SQLite`
/// names the columns (`accounts.username`), not the constraint.
pub(crate) fn is_conflict(error: &sqlx::Error, column: &str) -> bool {
    error
        .as_database_error()
        .is_some_and(|e| e.is_unique_violation() && e.message().contains(column))
}
