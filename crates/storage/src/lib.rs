//! What outlives a process: accounts, channels, entries, the log and the bus. The only crate that
//! names a database.

mod database;
mod error;
pub mod postgres;
mod redis;
mod sqlite;

pub use database::Database;
pub use error::{Error, Result};
pub use postgres::Postgres;
pub use redis::{DEADLINE as REDIS_DEADLINE, Durability, Redis};
pub use sqlite::Sqlite;

/// A directive for log filters: PostgreSQL notes at every start that the schema is there already.
pub const QUIETER: &str = "sqlx::postgres::notice=warn";

pub mod accounts;

pub mod sessions;

pub mod revocations;

pub mod keys;

pub mod login_failures;

pub mod channels;

pub mod webhooks;

pub mod entries;

pub mod log;

pub mod bus;

pub mod board;

pub mod gossip;

mod roll;

pub mod heartbeat;
