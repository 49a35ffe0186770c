//! Columns of a row as values of the protocol.

use sqlx::Row as _;
use sqlx::postgres::PgRow;
use uuid::Uuid;

use banter_protocol::text::Username;

use crate::error::{Error, Result};

/// The 16 bytes of an identifier.
pub(crate) fn id(row: &PgRow, column: &str) -> Result<[u8; 16]> {
    let id: Uuid = row.try_get(column)?;
    Ok(id.into_bytes())
}

/// The 16 bytes of an identifier, where there is one.
pub(crate) fn optional_id(row: &PgRow, column: &str) -> Result<Option<[u8; 16]>> {
    let id: Option<Uuid> = row.try_get(column)?;
    Ok(id.map(Uuid::into_bytes))
}

/// A number that is never negative.
pub(crate) fn unsigned(row: &PgRow, column: &str) -> Result<u64> {
    let number: i64 = row.try_get(column)?;
    u64::try_from(number).map_err(|_| Error::Corrupt(format!("{column}: negative")))
}

/// A username; every account that anything refers to is there for ever.
pub(crate) fn username(row: &PgRow, column: &str) -> Result<Username> {
    optional_username(row, column)?.ok_or_else(|| absent(column))
}

/// A username, where the account was found.
pub(crate) fn optional_username(row: &PgRow, column: &str) -> Result<Option<Username>> {
    let text: Option<&str> = row.try_get(column)?;
    Ok(text.map(Username::from_stored))
}

/// A required column was null.
pub(crate) fn absent(column: &str) -> Error {
    Error::Corrupt(format!("{column}: missing"))
}

/// A number as the database stores it. Beyond what it can store lies nothing.
pub(crate) fn stored(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
