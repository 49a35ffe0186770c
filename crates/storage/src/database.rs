//! The database in use, decided once at start; every store is made from it.

use crate::postgres::Postgres;
use crate::sqlite::Sqlite;

/// The database in use. Cloning shares it.
#[derive(Debug, Clone)]
pub enum Database {
    /// One file, in this process.
    Sqlite(Sqlite),
    /// A server that all processes of a cluster share.
    Postgres(Postgres),
}

impl From<Sqlite> for Database {
    fn from(sqlite: Sqlite) -> Self {
        Self::Sqlite(sqlite)
    }
}

impl From<Postgres> for Database {
    fn from(postgres: Postgres) -> Self {
        Self::Postgres(postgres)
    }
}
