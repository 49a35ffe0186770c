//! Advisory locks: agreements of all processes on one database. The first number says what is
//! agreed upon, the second on which one.

use sqlx::postgres::PgConnection;

use crate::error::Result;

/// The order of revocations.
pub(crate) const REVOCATIONS: i32 = 1;
/// The memberships of one account.
pub(crate) const SEATS: i32 = 2;
/// The epochs of the log.
pub(crate) const EPOCHS: i32 = 3;

/// Waits for a lock, and holds it until the transaction has ended: others then see what it wrote.
pub(crate) async fn in_transaction(connection: &mut PgConnection, what: i32) -> Result<()> {
    sqlx::query("SELECT pg_advisory_xact_lock($1, 0)")
        .bind(what)
        .execute(connection)
        .await?;
    Ok(())
}
