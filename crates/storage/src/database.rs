//! The database in use, decided once at start; every store is made from it.

use crate::sqlite::Sqlite;

/// The database in use. Cloning shares it.
#[derive(Debug, Clone)]
pub enum Database {
    /// One file, in this process.
    Sqlite(Sqlite),
}

impl From<Sqlite> for Database {
    fn from(sqlite: Sqlite) -> Self {
        Self::Sqlite(sqlite)
    }
}
