//! Entries in the embedded database.

use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;

use banter_protocol::entry::{Entry, Kind};
use banter_protocol::id::{ChannelId, Epoch, Position, Seq, UserId};
use banter_protocol::text::Body;
use banter_protocol::time::Timestamp;

use super::Record;
use crate::error::{Error, Result};
use crate::sqlite::{Sqlite, row};

/// How `entries.kind` tells the kinds apart.
pub(crate) mod kind {
    pub(crate) const MESSAGE: i64 = 1;
    pub(crate) const JOINED: i64 = 2;
    pub(crate) const LEFT: i64 = 3;
    pub(crate) const TOMBSTONE: i64 = 4;
}

/// See [`super::Entries`].
#[derive(Debug, Clone)]
pub struct Entries {
    database: Sqlite,
}

impl Entries {
    pub(super) const fn new(database: Sqlite) -> Self {
        Self { database }
    }

    pub(super) async fn range(
        &self,
        channel: ChannelId,
        after: Seq,
        up_to: Seq,
        limit: u32,
    ) -> Result<Vec<Record>> {
        sqlx::query(
            "SELECT e.seq, e.epoch, e.sent_at, e.kind, e.id, e.body, e.user, \
                    u.username, b.username AS by_username \
             FROM entries AS e \
             LEFT JOIN accounts AS u ON u.id = e.user \
             LEFT JOIN accounts AS b ON b.id = e.by_user \
             WHERE e.channel = ?1 AND e.seq > ?2 AND e.seq <= ?3 ORDER BY e.seq LIMIT ?4",
        )
        .bind(&channel.as_bytes()[..])
        .bind(row::stored(after))
        .bind(row::stored(up_to))
        .bind(limit)
        .fetch_all(self.database.readers())
        .await?
        .iter()
        .map(|found| read_record(channel, found))
        .collect()
    }

    pub(super) async fn is_reachable(&self) -> bool {
        sqlx::query("SELECT 1")
            .execute(self.database.readers())
            .await
            .is_ok()
    }

    pub(super) async fn head(&self, channel: ChannelId) -> Result<Position> {
        let found = sqlx::query(
            "SELECT seq, epoch FROM (SELECT seq, epoch FROM entries WHERE channel = ?1 \
                                     ORDER BY seq DESC LIMIT 1) \
             UNION ALL SELECT 0, epoch FROM epoch LIMIT 1",
        )
        .bind(&channel.as_bytes()[..])
        .fetch_one(self.database.readers())
        .await?;
        Ok(Position {
            seq: row::unsigned(&found, "seq")?,
            epoch: row::unsigned(&found, "epoch")?,
        })
    }

    pub(super) async fn epoch_of(&self, channel: ChannelId, seq: Seq) -> Result<Option<Epoch>> {
        sqlx::query("SELECT epoch FROM entries WHERE channel = ?1 AND seq = ?2")
            .bind(&channel.as_bytes()[..])
            .bind(row::stored(seq))
            .fetch_optional(self.database.readers())
            .await?
            .map(|found| row::unsigned(&found, "epoch"))
            .transpose()
    }
}

fn read_record(channel: ChannelId, found: &SqliteRow) -> Result<Record> {
    let kind = match found.try_get("kind")? {
        kind::MESSAGE => Kind::Message {
            id: text(found, "id")?
                .parse()
                .map_err(|_| Error::Corrupt("entries.id: not a message id".into()))?,
            author: row::username(found, "username")?,
            body: Body::from_stored(text(found, "body")?),
        },
        kind::JOINED => Kind::Joined {
            user: row::username(found, "username")?,
        },
        kind::LEFT => Kind::Left {
            user: row::username(found, "username")?,
            by: row::optional_username(found, "by_username")?,
        },
        kind::TOMBSTONE => Kind::Tombstone,
        other => return Err(Error::Corrupt(format!("entries.kind: unknown {other}"))),
    };
    let entry = Entry {
        channel,
        seq: row::unsigned(found, "seq")?,
        epoch: row::unsigned(found, "epoch")?,
        sent_at: Timestamp::from_ms(found.try_get("sent_at")?),
        kind,
    };
    let user = row::optional_id(found, "user")?.map(UserId::from_bytes);
    Ok(Record { entry, user })
}

fn text<'r>(found: &'r SqliteRow, column: &str) -> Result<&'r str> {
    let text: Option<&str> = found.try_get(column)?;
    text.ok_or_else(|| row::absent(column))
}
