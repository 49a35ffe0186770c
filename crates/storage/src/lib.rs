//! What outlives a process: accounts, channels, entries, the log and the bus. The only crate that
//! names a database.

mod database;
mod error;
mod shard;
mod sqlite;

pub use database::Database;
pub use error::{Error, Result};
pub use shard::{SHARDS, Shard};
pub use sqlite::Sqlite;

pub mod accounts;

pub mod sessions;

pub mod revocations;

pub mod keys;

pub mod channels;

pub mod entries;

pub mod log;

pub mod bus;
