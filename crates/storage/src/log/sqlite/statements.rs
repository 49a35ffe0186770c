//! The SQL of the embedded log. A batch goes in as one JSON array of texts with fixed-width heads
//! and is taken apart in SQL: a statement a row would cost five times as much.

use std::fmt::Write as _;

use banter_protocol::entry::{Kind, Level};
use banter_protocol::id::{ChannelId, Epoch, Seq, UserId};
use banter_protocol::text::Username;
use banter_protocol::time::Timestamp;
use sqlx::Row as _;
use sqlx::sqlite::{SqliteConnection, SqliteRow};

use crate::entries::Record;
use crate::error::Result;
use crate::log::{Act, Append, Receipt};
use crate::sqlite::Sqlite;

/// What the database knows of an entry that somebody wants to append.
#[derive(Debug, Default, Clone)]
pub(super) struct Known {
    /// The entry that made its user a member of its channel.
    pub(super) member: Option<Receipt>,
    /// The entry that has its id already; looked up for members only.
    pub(super) message: Option<Receipt>,
}

pub(super) async fn epoch(database: &Sqlite) -> Result<Epoch> {
    let epoch: i64 = sqlx::query_scalar("SELECT epoch FROM epoch")
        .fetch_one(database.readers())
        .await?;
    Ok(epoch.cast_unsigned())
}

/// Begins an epoch that none before was: `now`, or beyond the present one. Returns it.
pub(super) async fn begin_epoch(writer: &mut SqliteConnection, now: Timestamp) -> Result<Epoch> {
    let epoch: i64 =
        sqlx::query_scalar("UPDATE epoch SET epoch = max(epoch + 1, ?) RETURNING epoch")
            .bind(now.as_ms())
            .fetch_one(writer)
            .await?;
    Ok(epoch.cast_unsigned())
}

pub(super) async fn begin(writer: &mut SqliteConnection) -> Result<()> {
    sqlx::query("BEGIN IMMEDIATE").execute(writer).await?;
    Ok(())
}

pub(super) async fn commit(writer: &mut SqliteConnection) -> Result<()> {
    sqlx::query("COMMIT").execute(writer).await?;
    Ok(())
}

/// Ends a failed transaction. `SQLite` may have done so already, and then says so.
pub(super) async fn rollback(writer: &mut SqliteConnection) {
    let _ = sqlx::query("ROLLBACK").execute(writer).await;
}

/// Waits for the readers of the old part of the write-ahead log, so that it starts anew. Failing
/// only means that it grows a little longer.
pub(super) async fn checkpoint_restart(writer: &mut SqliteConnection) {
    let done = sqlx::query("PRAGMA wal_checkpoint(RESTART)")
        .execute(writer)
        .await;
    if let Err(error) = done {
        tracing::warn!(%error, "the write-ahead log could not be restarted");
    }
}

pub(super) async fn top(writer: &mut SqliteConnection, channel: ChannelId) -> Result<Seq> {
    let top: Option<i64> = sqlx::query_scalar("SELECT max(seq) FROM entries WHERE channel = ?")
        .bind(&channel.as_bytes()[..])
        .fetch_one(writer)
        .await?;
    Ok(top.unwrap_or(0).cast_unsigned())
}

/// Each text is 32 hex digits of channel, 32 of user, then the message's id (empty: no message).
pub(super) async fn lookup(
    writer: &mut SqliteConnection,
    appends: &[Append],
) -> Result<Vec<Known>> {
    let keys = appends.iter().map(|append| {
        let mut key = head(append.channel, append.user, 64);
        if let Act::Message { id, .. } = &append.act {
            key.push_str(id.as_str());
        }
        key
    });
    let rows = sqlx::query(
        "SELECT j.key, m.seq, m.epoch, m.since, e.seq, e.epoch, e.sent_at
         FROM json_each(?) AS j
         CROSS JOIN members AS m
           ON m.channel = unhex(substr(j.value, 1, 32)) AND m.user = unhex(substr(j.value, 33, 32))
         LEFT JOIN entries AS e INDEXED BY entries_once
           ON e.id = substr(j.value, 65) AND e.channel = m.channel AND e.user = m.user",
    )
    .bind(json(keys))
    .fetch_all(writer)
    .await?;
    let mut known = vec![Known::default(); appends.len()];
    for row in rows {
        let index = usize::try_from(row.try_get::<i64, _>(0)?).unwrap_or(usize::MAX);
        if let Some(known) = known.get_mut(index) {
            known.member = receipt(&row, 1)?;
            known.message = receipt(&row, 4)?;
        }
    }
    Ok(known)
}

fn receipt(row: &SqliteRow, column: usize) -> Result<Option<Receipt>> {
    let Some(seq) = row.try_get::<Option<i64>, _>(column)? else {
        return Ok(None);
    };
    Ok(Some(Receipt {
        seq: seq.cast_unsigned(),
        epoch: row.try_get::<i64, _>(column + 1)?.cast_unsigned(),
        sent_at: Timestamp::from_ms(row.try_get(column + 2)?),
        level: Level::Stored,
        fresh: false,
    }))
}

/// Writes the entries of a batch, all taken at `now` under `epoch`.
pub(super) async fn insert(
    writer: &mut SqliteConnection,
    records: &[Record],
    epoch: Epoch,
    now: Timestamp,
) -> Result<()> {
    insert_messages(writer, records, epoch, now).await?;
    for record in records {
        insert_membership(writer, record).await?;
    }
    Ok(())
}

/// Each text is 32 hex digits of channel, 32 of user, 16 digits of number, 2 of the id's length,
/// the id, the body.
async fn insert_messages(
    writer: &mut SqliteConnection,
    records: &[Record],
    epoch: Epoch,
    now: Timestamp,
) -> Result<()> {
    let mut rows = records.iter().filter_map(message_row).peekable();
    if rows.peek().is_none() {
        return Ok(());
    }
    sqlx::query(
        "INSERT INTO entries (channel, seq, epoch, sent_at, kind, user, id, body)
         SELECT unhex(substr(value, 1, 32)), CAST(substr(value, 65, 16) AS INTEGER), ?2, ?3, 1,
                unhex(substr(value, 33, 32)),
                substr(value, 83, CAST(substr(value, 81, 2) AS INTEGER)),
                substr(value, 83 + CAST(substr(value, 81, 2) AS INTEGER))
         FROM json_each(?1)",
    )
    .bind(json(rows))
    .bind(epoch.cast_signed())
    .bind(now.as_ms())
    .execute(writer)
    .await?;
    Ok(())
}

fn message_row(record: &Record) -> Option<String> {
    let Kind::Message { id, body, .. } = &record.entry.kind else {
        return None;
    };
    let mut row = head(record.entry.channel, record.user?, 82 + body.as_str().len());
    let _ = write!(row, "{:016}{:02}", record.entry.seq, id.as_str().len());
    row.push_str(id.as_str());
    row.push_str(body.as_str());
    Some(row)
}

async fn insert_membership(writer: &mut SqliteConnection, record: &Record) -> Result<()> {
    let (kind, by) = match &record.entry.kind {
        Kind::Joined { .. } => (2, None),
        Kind::Left { by, .. } => (3, by.as_ref()),
        Kind::Tombstone => (4, None),
        Kind::Message { .. } => return Ok(()),
    };
    sqlx::query(
        "INSERT INTO entries (channel, seq, epoch, sent_at, kind, user, by_user)
         VALUES (?, ?, ?, ?, ?, ?, (SELECT id FROM accounts WHERE username = ?))",
    )
    .bind(&record.entry.channel.as_bytes()[..])
    .bind(record.entry.seq.cast_signed())
    .bind(record.entry.epoch.cast_signed())
    .bind(record.entry.sent_at.as_ms())
    .bind(kind)
    .bind(record.user.as_ref().map(|user| &user.as_bytes()[..]))
    .bind(by.map(Username::as_str))
    .execute(writer)
    .await?;
    Ok(())
}

/// Adds a member; a channel that nobody owned belongs to them, unless they are a webhook.
pub(super) async fn add_member(
    writer: &mut SqliteConnection,
    channel: ChannelId,
    user: UserId,
    joined: &Receipt,
) -> Result<()> {
    const OWN: &str = "UPDATE channels SET owner = ?1 WHERE id = ?2 AND owner IS NULL \
                       AND ?1 NOT IN (SELECT account FROM webhooks)";
    sqlx::query("INSERT INTO members (channel, user, seq, epoch, since) VALUES (?, ?, ?, ?, ?)")
        .bind(&channel.as_bytes()[..])
        .bind(&user.as_bytes()[..])
        .bind(joined.seq.cast_signed())
        .bind(joined.epoch.cast_signed())
        .bind(joined.sent_at.as_ms())
        .execute(&mut *writer)
        .await?;
    sqlx::query(OWN)
        .bind(&user.as_bytes()[..])
        .bind(&channel.as_bytes()[..])
        .execute(writer)
        .await?;
    Ok(())
}

/// Removes a member; an owner's channel passes to the longest-standing member that is no webhook,
/// if there is one.
pub(super) async fn remove_member(
    writer: &mut SqliteConnection,
    channel: ChannelId,
    user: UserId,
) -> Result<()> {
    sqlx::query("DELETE FROM members WHERE channel = ? AND user = ?")
        .bind(&channel.as_bytes()[..])
        .bind(&user.as_bytes()[..])
        .execute(&mut *writer)
        .await?;
    sqlx::query(
        "UPDATE channels SET owner =
           (SELECT user FROM members WHERE channel = channels.id
              AND user NOT IN (SELECT account FROM webhooks WHERE channel = channels.id)
            ORDER BY seq LIMIT 1)
         WHERE id = ? AND owner = ?",
    )
    .bind(&channel.as_bytes()[..])
    .bind(&user.as_bytes()[..])
    .execute(writer)
    .await?;
    Ok(())
}

/// The head of a text of a batch, with room for `more` bytes behind it.
fn head(channel: ChannelId, user: UserId, more: usize) -> String {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    let mut text = String::with_capacity(64 + more);
    for byte in channel.as_bytes().iter().chain(user.as_bytes()) {
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
    text
}

fn json(texts: impl Iterator<Item = String>) -> String {
    // A list of texts always serializes.
    serde_json::to_string(&texts.collect::<Vec<_>>()).unwrap_or_default()
}
